"""The FastAPI application: its state, its routes, and what surrounds every request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from skinai import __version__, wording
from skinai.audit_log import AuditLog
from skinai.errors import AuditError, DataError, ModelError
from skinai.evaluation.report import EvaluationReport
from skinai.model.router import CLINICAL
from skinai.service.answer import Wishes, answer_upload, find_report
from skinai.service.jobs import JobQueue, QueueFullError
from skinai.service.keys import Keys
from skinai.service.metrics import CONTENT_TYPE_LATEST, Metrics
from skinai.service.problems import RequestError
from skinai.service.rates import RateLimit, name_caller
from skinai.service.schema import (
    ANSWERS_EXAMPLE,
    FORM,
    MODELS_EXAMPLE,
    NOTICE,
    Answers,
    Models,
    Options,
    ProblemFacts,
    State,
)
from skinai.service.upload import MAX_PICTURES, NO_PICTURE, NOT_A_FORM, TOO_LARGE, Memory, Upload

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from skinai.serving.routing import Desk

LOG = logging.getLogger("skinai.service")

PREDICT, MODEL, HEALTH, READY, METRICS = "/v1/predict", "/v1/model", "/healthz", "/readyz", "/metrics"
_ROUTES = {PREDICT, MODEL, HEALTH, READY, METRICS, "/openapi.json"}
_REQUEST_ID = "x-request-id"
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BROKEN = ("broken", "A worker has ended. The service has to be started anew.")
_TOO_OFTEN = ("too_often", "You have sent as many pictures as you may for now. Try again later.")
_KEYS_UNREADABLE = ("no_keys", "The service cannot read its keys, so it answers nobody.")
_NOT_WRITTEN = ("audit", wording.AUDIT_BROKEN)
_BEARER = HTTPBearer(
    scheme_name="key",
    description="A key that `skinai keys add` has made, where the service wants one.",
    auto_error=False,
)
_PROBLEMS = {
    401: ("no_key", "The service wants a key that it knows, as Authorization: Bearer KEY."),
    404: ("no_such_model", "There is no model for clinical photographs here."),
    408: ("slow", "The request did not arrive in full before its deadline."),
    413: ("too_large", TOO_LARGE),
    415: ("not_a_form", NOT_A_FORM),
    422: ("no_picture", NO_PICTURE),
    429: ("queue_full", "Too many pictures wait already. Try again later."),
    500: ("failed", wording.MODEL_UNUSABLE),
    503: ("stopping", "The service is being stopped and takes no new request."),
    504: ("deadline", "The deadline passed before every picture was answered."),
}


class Service:
    """What all requests share: the models, the queue, and whether pictures are taken.

    Parameters
    ----------
    workers : int
        How many pictures are looked at at once; at least 1.
    capacity : int
        How many can wait besides; at least `MAX_PICTURES`, or a full request would never be taken.
    keys : Keys, optional
        Whose requests are answered; everybody's without.
    pictures_per_minute : int, optional
        How many pictures are taken from each key, or without keys from each client address; any number without.
    audit : AuditLog, optional
        Where each answer is written down before it is given.

    Raises
    ------
    ValueError
        If there are fewer.
    """

    def __init__(
        self,
        *,
        workers: int,
        capacity: int,
        keys: Keys | None = None,
        pictures_per_minute: int | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        if workers < 1 or capacity < MAX_PICTURES:
            raise ValueError(f"At least 1 worker and {MAX_PICTURES} places. Received: {workers} and {capacity}.")
        self.keys, self.audit = keys, audit
        self.rate = None if pictures_per_minute is None else RateLimit(pictures_per_minute, burst=MAX_PICTURES)
        self.desk: Desk | None = None
        self.reports: dict[str, EvaluationReport | None] = {}
        self.stopping = False
        self.accepted = 0
        self.memory, self.metrics = Memory(), Metrics()
        self.jobs = JobQueue(workers=workers, capacity=capacity, on_done=self._note_job)
        self.metrics.watch("queue_pictures", "Pictures that wait for a worker.", lambda: self.jobs.waiting)
        self.metrics.watch("queue_capacity", "Pictures that can wait at most.", lambda: capacity)
        self.metrics.watch("workers", "Pictures that are looked at at once.", lambda: workers)
        self.metrics.watch("accepted_requests", "Requests that are being answered.", lambda: self.accepted)
        self.metrics.watch("upload_bytes", "Bytes of uploads that are held.", lambda: self.memory.held_bytes)
        self.metrics.watch("ready", "1 where pictures are taken.", lambda: self.find_obstacle() is None)

    def open(self, desk: Desk) -> None:
        """Take pictures from now on, for the models of this desk."""
        bundles = [assessor.predictor.bundle for assessor in desk.assessors.values()]
        self.reports = {bundle.fingerprint: find_report(bundle) for bundle in bundles}
        self.desk = desk

    def find_account(self, key: str) -> str:
        """Return the name that a request's key belongs to; empty where no key is wanted.

        Raises
        ------
        RequestError
            401 if the key is not known, 503 if the keys cannot be read.
        """
        if self.keys is None:
            return ""
        try:
            account = self.keys.find_account(key)
        except DataError as error:
            raise RequestError(503, *_KEYS_UNREADABLE) from error
        if not account:
            raise RequestError(401, *_PROBLEMS[401])
        return account

    def take_pictures(self, caller: str, count: int) -> None:
        """Count pictures of a caller; 0 only asks whether there is room for one.

        Raises
        ------
        RequestError
            429 if they are too many for now.
        """
        if self.rate is None:
            return
        wait_s = self.rate.take(caller, count) if count else self.rate.find_wait_s(caller, 1)
        if wait_s:
            raise RequestError(429, *_TOO_OFTEN, retry_after_s=wait_s)

    def give_back_pictures(self, caller: str, count: int) -> None:
        """Count pictures no more that found no place in the queue."""
        if self.rate is not None:
            self.rate.give_back(caller, count)

    def find_obstacle(self) -> RequestError | None:
        """Return why no picture is taken; None where they are."""
        if self.stopping:
            return RequestError(503, *_PROBLEMS[503])
        if self.desk is None:
            return RequestError(503, "loading", "The model is being loaded and tests itself.", retry_after_s=2)
        if not self.jobs.is_alive:
            return RequestError(503, *_BROKEN)
        return None

    def find_desk(self) -> Desk:
        """Return the models.

        Raises
        ------
        RequestError
            503 if no picture is taken.
        """
        if (obstacle := self.find_obstacle()) is not None:
            raise obstacle
        assert self.desk is not None
        return self.desk

    @contextlib.contextmanager
    def accept(self) -> Iterator[Desk]:
        """Count a request as accepted, so that the process is not stopped before it is answered; yield the models."""
        desk = self.find_desk()
        self.accepted += 1
        try:
            yield desk
        finally:
            self.accepted -= 1

    async def answer(
        self, desk: Desk, contents: Sequence[bytes], wishes: Wishes, *, deadline: float, account: str = ""
    ) -> list[dict[str, Any]]:
        """Return one item a picture, in order.

        Parameters
        ----------
        desk : Desk
        contents : sequence of bytes
        wishes : Wishes
        deadline : float
            By the event loop's clock.
        account : str
            Who asked.

        Raises
        ------
        RequestError
            429 if there are not enough free places, 504 if the deadline passes first, 500 if a model fails, 503 if an
            answer cannot be written down.
        """
        note = None if self.audit is None else partial(self.audit.append, account)
        works = [
            partial(answer_upload, desk, self.reports, number, content, wishes, note)
            for number, content in enumerate(contents, 1)
        ]
        try:
            jobs = self.jobs.put(works)
        except QueueFullError as error:
            raise RequestError(429, *_PROBLEMS[429], retry_after_s=error.retry_after_s) from error
        futures = [asyncio.wrap_future(job.future) for job in jobs]
        left_s = deadline - asyncio.get_running_loop().time()
        _, late = await asyncio.wait(futures, timeout=max(left_s, 0))
        if late:
            self.jobs.withdraw(jobs)
            raise RequestError(504, *_PROBLEMS[504])
        try:
            items = [future.result() for future in futures]
        except AuditError as error:
            LOG.error("%s", error)
            raise RequestError(503, *_NOT_WRITTEN) from error
        except ModelError as error:
            LOG.exception("A model failed.")
            raise RequestError(500, *_PROBLEMS[500]) from error
        for item in items:
            self.metrics.pictures.labels(item["status"]).inc()
        return items

    def _note_job(self, waited_s: float, took_s: float) -> None:
        self.metrics.waited_s.observe(waited_s)
        self.metrics.worked_s.observe(took_s)


def build_service(service: Service) -> FastAPI:
    """Return the application that answers for a service."""
    app = FastAPI(
        title="skinai",
        version=__version__,
        description=NOTICE,
        license_info={"name": "MIT; the models are for non-commercial use only"},
        # Their pages would fetch scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.add_middleware(Surround, service=service)
    app.add_exception_handler(RequestError, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_other)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    add = partial(app.add_api_route, response_model_exclude_unset=True)
    # A service without keys does not ask for one, and its description says so.
    known = [] if service.keys is None else [Depends(find_account)]
    add(
        PREDICT,
        predict,
        methods=["POST"],
        summary="Answer for pictures",
        response_model=Answers,
        responses=_describe(ANSWERS_EXAMPLE, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504),
        dependencies=known,
        openapi_extra={"requestBody": FORM},
    )
    add(
        MODEL,
        describe_models,
        summary="Say which models answer",
        response_model=Models,
        responses=_describe(MODELS_EXAMPLE, 401, 503),
        dependencies=known,
    )
    add(
        HEALTH,
        tell_health,
        summary="Say whether the process works",
        response_model=State,
        responses=_describe({"status": "alive"}, 503),
    )
    add(
        READY,
        tell_ready,
        summary="Say whether pictures are taken",
        response_model=State,
        responses=_describe({"status": "ready"}, 503),
    )
    text: dict[int | str, dict[str, Any]] = {
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format"}
    }
    add(
        METRICS,
        write_metrics,
        summary="Count what was done",
        response_class=Response,
        responses=text | _describe_problems(401, 503),
        dependencies=known,
    )
    return app


async def find_account(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> None:
    """Note whose key a request came with, as `request.state.account`; refuse one without."""
    service: Service = request.app.state.service
    request.state.account = service.find_account("" if given is None else given.credentials)


async def predict(request: Request, options: Annotated[Options, Query()]) -> dict[str, Any]:
    """Answer for each picture of the form as the page and `skinai predict --json` do.

    A picture that cannot be read, or that the gate refuses, is an item with its reason, and the status is 200 all the
    same. Nothing of an upload is kept, and none is written on disk.
    """
    service: Service = request.app.state.service
    caller = request.state.account or name_caller(request.client.host if request.client else "")
    deadline = request.state.arrived + options.deadline_ms / 1000
    with service.accept() as desk, Upload(service.memory) as upload:
        if options.chosen == CLINICAL and CLINICAL not in desk.assessors:
            raise RequestError(404, *_PROBLEMS[404])
        service.take_pictures(caller, 0)  # before megabytes are read
        try:
            async with asyncio.timeout_at(deadline):
                contents = await upload.read(request.headers, request.stream())
        except TimeoutError as error:
            raise RequestError(408, *_PROBLEMS[408]) from error
        except ClientDisconnect as error:
            raise RequestError(400, "gone", "The request broke off.") from error
        service.take_pictures(caller, len(contents))
        try:
            items = await service.answer(
                *(desk, contents, options.wishes), deadline=deadline, account=request.state.account
            )
        except RequestError as error:
            if error.status == 429:
                service.give_back_pictures(caller, len(contents))
            raise
    return {
        "request_id": request.state.request_id,
        "skinai": __version__,
        "notice": NOTICE,
        "pictures": items,
    }


async def describe_models(request: Request) -> dict[str, Any]:
    """Name the models, their classes in the order of the probabilities, their thresholds and their limits."""
    desk = request.app.state.service.find_desk()
    models = []
    for kind, assessor in desk.assessors.items():
        bundle = assessor.predictor.bundle
        points = assessor.decision.operating_points if assessor.decision is not None else ()
        models.append(
            {
                "kind": kind,
                "name": bundle.name,
                "fingerprint": bundle.fingerprint,
                "created_utc": bundle.facts["created_utc"],
                "licence": bundle.facts["licence"],
                "labels": [
                    {
                        "code": label.code,
                        "name": label.name,
                        "malignant": label.malignant,
                        "group": wording.describe_group(label, bundle.labels),
                    }
                    for label in bundle.labels
                ],
                "frame_px": [bundle.frame.width_px, bundle.frame.height_px],
                "thresholds": [{"name": point.name, "threshold": point.threshold} for point in points],
                "has_gate": assessor.gates is not None,
                "limits": list(wording.list_limits(bundle.labels)),
            }
        )
    return {"skinai": __version__, "notice": NOTICE, "has_router": desk.router is not None, "models": models}


async def tell_health(request: Request) -> dict[str, str]:
    """Say that the process answers and that its workers run; if not, it has to be started anew."""
    if not request.app.state.service.jobs.is_alive:
        raise RequestError(503, *_BROKEN)
    return {"status": "alive"}


async def tell_ready(request: Request) -> dict[str, str]:
    """Say that the models are loaded, passed their self-test, and that the process is not being stopped."""
    request.app.state.service.find_desk()
    return {"status": "ready"}


async def write_metrics(request: Request) -> Response:
    """Return counters, gauges and histograms; none says anything of a picture's content or of who sent it."""
    return Response(request.app.state.service.metrics.write(), media_type=CONTENT_TYPE_LATEST)


class Surround:
    """What surrounds every request: its id, its headers, its line in the log, its figures, and the last resort.

    The line has the route, never the address as it was asked for, and neither a query nor the name of a file.
    """

    def __init__(self, app: ASGIApp, *, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrived, status = time.monotonic(), 0
        given = Headers(scope=scope).get(_REQUEST_ID, "")
        request_id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {}).update(request_id=request_id, arrived=arrived, account="")

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[_REQUEST_ID] = request_id
                headers["cache-control"] = "no-store"
                headers["x-content-type-options"] = "nosniff"
                if self._service.stopping:
                    headers["connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception:
            LOG.exception("%s failed", request_id)
            if status:  # half an answer is out already
                raise
            await _write_problem(RequestError(500, *_PROBLEMS[500]), request_id)(scope, receive, send_marked)
        finally:
            took_s = time.monotonic() - arrived
            route = scope["path"] if scope["path"] in _ROUTES else "other"
            self._service.metrics.requests.labels(route, status).inc()
            self._service.metrics.request_s.labels(route).observe(took_s)
            LOG.info("%s %s %s %d in %.0f ms", request_id, scope["method"], route, status, 1000 * took_s)


def _write_problem(problem: RequestError, request_id: str) -> Response:
    facts = {"code": problem.code, "sentence": problem.sentence, "request_id": request_id}
    headers = {} if problem.retry_after_s is None else {"retry-after": str(problem.retry_after_s)}
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(json.dumps(facts), problem.status, headers, media_type="application/json")


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _write_problem(error, request.state.request_id)


async def _answer_other(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "no_such_address" if error.status_code == 404 else "no_such_method"
    answer = _write_problem(RequestError(error.status_code, code, f"{error.detail}."), request.state.request_id)
    answer.headers.update(error.headers or {})
    return answer


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    return _write_problem(RequestError(422, "option", f"The query does not fit. {found}."), request.state.request_id)


def _describe(example: dict[str, Any], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the answers of a route for its OpenAPI description, each with an example."""
    return {200: {"content": {"application/json": {"example": example}}}} | _describe_problems(*statuses)


def _describe_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        code, sentence = _PROBLEMS[status]
        facts = {"code": code, "sentence": sentence, "request_id": ANSWERS_EXAMPLE["request_id"]}
        described[status] = {
            "model": ProblemFacts,
            "description": sentence,
            "content": {"application/json": {"example": facts}},
        }
        if status == 429:
            described[status]["description"] = f"{sentence} Or (`{_TOO_OFTEN[0]}`): {_TOO_OFTEN[1]}"
            described[status]["headers"] = {
                "Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds"}
            }
        if status == 401:
            described[status]["headers"] = {
                "WWW-Authenticate": {"schema": {"type": "string", "enum": ["Bearer"]}, "description": "How to ask"}
            }
    return described
