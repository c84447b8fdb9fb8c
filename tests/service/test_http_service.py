"""Over HTTP a picture gets the answer of the page and of `predict`, and a request that gets none is told why."""

import base64
import contextlib
import http.client
import io
import json
import logging
import re
import tempfile
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
import requests
from conftest import encode, write_dicom
from fhir.resources.diagnosticreport import DiagnosticReport
from loopback import running
from PIL import Image

from skinai import wording
from skinai.__main__ import main
from skinai.data.drawing import draw_lesion
from skinai.errors import ModelError
from skinai.exports import record as records
from skinai.exports.fhir import write_fhir
from skinai.model.bundle import models_folder
from skinai.model.router import Route
from skinai.service import app, upload
from skinai.service.app import Service
from skinai.serving.assessment import Assessor
from skinai.serving.routing import Desk

PATIENCE_S = 120
ADDED = ("picture", "status", "sentences")


@pytest.fixture(scope="module")
def desk(gated_model):
    return Desk.join(Assessor.load(gated_model, threads=1, copies=2), None)


@pytest.fixture
def serve():
    """A function that starts a service for a desk, None while it is loading, and returns it and its address."""
    with contextlib.ExitStack() as stack:

        def start(desk, *, workers=2, capacity=16):
            service = Service(workers=workers, capacity=capacity)
            if desk is not None:
                service.open(desk)
            return service, stack.enter_context(running(service))

        yield start


@pytest.fixture(scope="module")
def pictures():
    """A lesion, a blue square that the gate refuses, a file that is damaged, one that is empty, and a DICOM file."""
    blue = np.clip(np.array((40, 60, 190)) + np.random.default_rng(3).normal(0, 20, (240, 320, 3)), 0, 255)
    return {
        "Doe, Jane.jpg": encode(draw_lesion(1)),
        "blue.jpg": encode(blue.astype(np.uint8)),
        "broken.jpg": b"\xff\xd8\xff nothing",
        "empty.png": b"",
        "scope.dcm": write_dicom(draw_lesion(2)),
    }


def ask(address, contents, **options):
    """Post pictures, given by file name, and return the response."""
    files = [("pictures", (name, content)) for name, content in contents.items()]
    options = {"deadline_ms": 1000 * PATIENCE_S} | options
    return requests.post(f"{address}/v1/predict", files=files, timeout=PATIENCE_S, params=options)


@pytest.mark.parametrize("insist", [False, True])
def test_each_picture_gets_the_document_of_predict(serve, desk, pictures, gated_model, tmp_path, capsys, insist):
    _, address = serve(desk)
    items = ask(address, pictures, insist=insist).json()["pictures"]
    for name, content in pictures.items():
        (tmp_path / name).write_bytes(content)
    command = ["predict", *(str(tmp_path / name) for name in pictures), "--json", "--model", str(gated_model)]
    main(command + ["--insist"] * insist)
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["picture"] for item in items] == [1, 2, 3, 4, 5]
    refused = "answered" if insist else "refused"
    assert [item["status"] for item in items] == ["answered", refused, "unreadable", "unreadable", "answered"]
    for item, expected in zip(items, printed, strict=True):
        del expected["file"]
        assert {name: value for name, value in item.items() if name not in ADDED} == expected


def test_the_sentences_are_those_of_the_page(serve, desk, pictures):
    _, address = serve(desk)
    answered, refused, broken, empty, _ = (item["sentences"] for item in ask(address, pictures).json()["pictures"])
    assessment = desk.main.assess(np.array(Image.open(io.BytesIO(pictures["Doe, Jane.jpg"]))))
    assert answered[0] == wording.summarise(assessment, shown=True, insisted=False)
    assert re.match(r"The summed malignant probability, .*, (reaches|stays below) the threshold of ", answered[1])
    assert (wording.BENIGN_NOTE in answered) is not assessment.prediction.top.malignant
    assert answered[-1] == wording.RESULT_NOTE
    assert refused == ["This does not look like a picture taken with a dermatoscope.", wording.REFUSED_NOTE]
    assert broken == ["The picture is damaged or incomplete and could not be read."]
    assert empty == ["The file is empty."]
    insisted = ask(address, pictures, insist=True).json()["pictures"][1]["sentences"]
    assert insisted[0].startswith(wording.RECORD_INSISTED)
    assert wording.REFUSED_REMARK in insisted
    assert not [sentence for sentence in insisted if "threshold of" in sentence]


def test_map_neighbours_and_fhir_come_only_if_asked_for(serve, desk, pictures):
    _, address = serve(desk)
    for item in ask(address, pictures).json()["pictures"]:
        assert not {"map", "neighbours", "fhir", "routing"} & set(item)
    items = ask(address, pictures, map=True, neighbours=3, fhir=True).json()["pictures"]
    answered, refused, *unreadable, _ = items
    top = max(answered["probabilities"], key=answered["probabilities"].get)
    assert answered["map"] == {"code": top, "png_base64": None, "sentence": wording.WHY_NONE}
    near = answered["neighbours"]["pictures"]
    assert len(near) == len({one["lesion_id"] for one in near}) == 3
    assert near[0]["similarity"] >= near[1]["similarity"] >= near[2]["similarity"]
    assert answered["neighbours"]["sentences"][-1] == wording.SIMILAR_REMARK
    # As the `record` command does, a refused picture has a document, which names no condition.
    assert set(refused) & {"map", "neighbours", "fhir"} == {"fhir"}
    assert "no condition is named" in refused["fhir"]["conclusion"]
    assert not any({"map", "neighbours", "fhir"} & set(item) for item in unreadable)


@pytest.mark.shipped
def test_the_map_lies_over_the_picture_as_the_model_sees_it(serve):
    assessor = Assessor.load(models_folder() / "ham10000-efficientnet-lite0", threads=1)
    _, address = serve(Desk.join(assessor, None), workers=1)
    picture = draw_lesion(11)
    (item,) = ask(address, {"a.png": encode(picture, "PNG")}, map=True, insist=True).json()["pictures"]
    shown = Image.open(io.BytesIO(base64.b64decode(item["map"]["png_base64"])))
    expected = assessor.draw_overlay(picture, assessor.assess(picture), item["map"]["code"])
    np.testing.assert_array_equal(np.asarray(shown), expected)
    assert item["map"]["sentence"] == wording.WHY_REMARK


def test_the_fhir_document_is_that_of_the_record(serve, desk, pictures, monkeypatch):
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    monkeypatch.setattr(records, "datetime", SimpleNamespace(now=lambda zone: moment))
    _, address = serve(desk)
    picture = draw_lesion(5)
    found = ask(address, {"a.png": encode(picture, "PNG")}, fhir=True).json()["pictures"][0]["fhir"]
    assessment = desk.main.assess(picture)
    record = records.build_record([picture], [assessment], assessment, insisted=False, now=moment)
    assert found == json.loads(write_fhir(record))
    DiagnosticReport.model_validate(found)


def test_of_two_models_the_router_chooses_and_the_caller_can_overrule_it(serve, desk, pictures):
    class ByColour:
        """Stands for a router: blue pictures are neither, all others clinical photographs."""

        def build_features(self, frame, embeddings):
            return frame.mean(axis=(0, 1))

        def route(self, features):
            kind = "neither" if features[2] > 150 else "clinical"
            return Route(kind, {"dermoscopy": 0.1, "clinical": 0.2, "neither": 0.2} | {kind: 0.7})

    two = Desk({"dermoscopy": desk.main, "clinical": desk.main}, ByColour())
    two.second = desk.main.predictor
    _, address = serve(two)
    lesion, blue, broken, *_ = ask(address, pictures).json()["pictures"]
    assert (lesion["status"], lesion["routing"]["answered_by"]) == ("answered", "clinical")
    assert lesion["routing"]["pictures"][0]["kind"] == "clinical"
    said = "The model for clinical photographs answers: the router takes this for a clinical photograph"
    assert [sentence for sentence in lesion["sentences"] if sentence.startswith(said)]
    assert (blue["status"], blue["probabilities"], blue["routing"]["answered_by"]) == ("refused", None, None)
    assert blue["gate"]["reasons"][0]["code"] == "neither"
    assert (
        blue["sentences"][-1] == "This looks neither like a dermoscopy picture nor like a photograph of diseased skin."
    )
    assert "routing" not in broken
    chosen = ask(address, pictures, **{"as": "dermoscopy"}).json()["pictures"][0]
    assert chosen["routing"]["overruled"]
    assert [sentence for sentence in chosen["sentences"] if sentence.startswith("You chose the model for dermoscopy")]
    kinds = [model["kind"] for model in requests.get(f"{address}/v1/model", timeout=PATIENCE_S).json()["models"]]
    assert kinds == ["dermoscopy", "clinical"]


def test_the_models_are_described_with_their_order_and_thresholds(serve, desk):
    _, address = serve(desk)
    facts = requests.get(f"{address}/v1/model", timeout=PATIENCE_S).json()
    (model,), bundle = facts["models"], desk.main.predictor.bundle
    assert facts["notice"] == f"{wording.NOTICE} {wording.NOT_A_DEVICE}"
    assert not facts["has_router"]
    assert (model["name"], model["fingerprint"]) == (bundle.name, bundle.fingerprint)
    assert [label["code"] for label in model["labels"]] == list(bundle.labels.codes)
    assert [one["name"] for one in model["thresholds"]] == [one.name for one in desk.main.decision.operating_points]
    assert model["has_gate"]
    assert model["limits"] == list(wording.RECORD_LIMITS)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"neighbours": 21}, "The query does not fit. neighbours: "),
        ({"deadline_ms": 0}, "The query does not fit. deadline_ms: "),
        ({"as": "histology"}, "The query does not fit. as: "),
        ({"map": "mel"}, "The query does not fit. map: "),
        ({"maps": "true"}, "The query does not fit. maps: "),
    ],
)
def test_options_that_do_not_fit_are_refused(serve, desk, pictures, options, sentence):
    _, address = serve(desk)
    answer = ask(address, pictures, **options)
    assert answer.status_code == 422
    assert answer.json()["sentence"].startswith(sentence)


def test_a_model_that_is_not_there_is_not_replaced_by_another(serve, desk, pictures):
    _, address = serve(desk)
    answer = ask(address, pictures, **{"as": "clinical"})
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_model")


def test_every_answer_has_a_request_id_and_is_not_kept(serve, desk):
    _, address = serve(desk)
    for path in ("/healthz", "/nothing", "/v1/model"):
        answer = requests.get(address + path, headers={"X-Request-ID": "ward-7.a"}, timeout=PATIENCE_S)
        assert answer.headers["x-request-id"] == "ward-7.a"
        assert answer.headers["cache-control"] == "no-store"
    odd = requests.post(f"{address}/v1/predict", headers={"X-Request-ID": "Doe, Jane"}, timeout=PATIENCE_S)
    assert re.fullmatch("[0-9a-f]{32}", odd.headers["x-request-id"])
    assert odd.json() == {
        "code": "not_a_form",
        "sentence": "Pictures are sent as multipart/form-data, in parts called pictures.",
        "request_id": odd.headers["x-request-id"],
    }
    assert requests.get(f"{address}/v1/predict", timeout=PATIENCE_S).status_code == 405


def test_a_large_picture_stays_in_memory_and_one_that_is_too_large_is_told_so(serve, desk, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("something is written on disk")

    for name in ("SpooledTemporaryFile", "NamedTemporaryFile", "TemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    _, address = serve(desk)
    noise = np.random.default_rng(1).integers(0, 256, (1400, 1400, 3)).astype(np.uint8)
    large, too_large = encode(noise, "PNG"), b"\xff\xd8\xff" + bytes(21 * 1024 * 1024)
    assert len(large) > 5_000_000
    first, second = ask(address, {"a": large, "b": too_large}).json()["pictures"]
    assert first["status"] in ("answered", "refused")
    assert second["sentences"] == ["The file has 21 MB; at most 20 MB can be read."]


def test_a_body_that_announces_too_much_is_not_read(serve, desk):
    _, address = serve(desk)
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE_S)
    connection.putrequest("POST", "/v1/predict")
    connection.putheader("Content-Type", "multipart/form-data; boundary=edge")
    connection.putheader("Content-Length", str(upload.MAX_BODY_BYTES + 1))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "too_large")
    connection.close()


@pytest.fixture
def held(monkeypatch):
    """Hold every picture at the door of the models; yields the event that lets them in, and a count of those held."""
    go_on, begun, answer = threading.Event(), threading.Semaphore(0), app.answer_upload

    def hold(*arguments):
        begun.release()
        assert go_on.wait(PATIENCE_S)
        return answer(*arguments)

    monkeypatch.setattr(app, "answer_upload", hold)
    yield go_on, begun
    go_on.set()


def start(function, *arguments, **options):
    """Call a function in a thread; return the thread and the list that its result goes into."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments, **options)))
    thread.start()
    return thread, results


def wait_until(condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_full_queue_answers_429_and_loses_nothing_that_it_took(serve, desk, pictures, held):
    go_on, begun = held
    service, address = serve(desk, workers=1)
    lesion = {"a.jpg": pictures["Doe, Jane.jpg"]}
    first = start(ask, address, lesion)
    assert begun.acquire(timeout=PATIENCE_S)
    second = start(ask, address, {f"{number}.jpg": lesion["a.jpg"] for number in range(16)})
    wait_until(lambda: service.jobs.waiting == 16)
    refused = ask(address, lesion)
    assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    go_on.set()
    for thread, _ in (first, second):
        thread.join(PATIENCE_S)
    assert [len(results[0].json()["pictures"]) for _, results in (first, second)] == [1, 16]
    assert ask(address, lesion).status_code == 200


def test_a_deadline_that_passes_answers_504_and_frees_the_places(serve, desk, pictures, held):
    go_on, begun = held
    service, address = serve(desk, workers=1)
    lesion = {"a.jpg": pictures["Doe, Jane.jpg"]}
    thread, results = start(ask, address, lesion)
    assert begun.acquire(timeout=PATIENCE_S)
    late, deadline_ms = ask(address, lesion, deadline_ms=50), 50
    while late.status_code == 408:  # it was not even read by then
        deadline_ms *= 2
        late = ask(address, lesion, deadline_ms=deadline_ms)
    assert (late.status_code, late.json()["code"]) == (504, "deadline")
    assert service.jobs.waiting == 0
    go_on.set()
    thread.join(PATIENCE_S)
    assert results[0].status_code == 200


def test_a_request_that_comes_in_too_slowly_answers_408(serve, desk):
    service, address = serve(desk)
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE_S)
    connection.putrequest("POST", "/v1/predict?deadline_ms=50")
    connection.putheader("Content-Type", "multipart/form-data; boundary=edge")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"--edge\r\n")
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (408, "slow")
    connection.close()
    wait_until(lambda: (service.accepted, service.memory.held_bytes) == (0, 0))


def test_a_request_that_breaks_off_holds_nothing(serve, desk):
    service, address = serve(desk)
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE_S)
    connection.putrequest("POST", f"/v1/predict?deadline_ms={1000 * PATIENCE_S}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=edge")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"--edge\r\n")
    wait_until(lambda: service.memory.held_bytes == 8)
    connection.close()
    wait_until(lambda: (service.accepted, service.memory.held_bytes) == (0, 0))


def test_while_it_loads_and_while_it_stops_it_is_alive_and_not_ready(serve, desk, pictures, held):
    go_on, begun = held
    service, address = serve(None)
    get = lambda path: requests.get(address + path, timeout=PATIENCE_S)  # noqa: E731
    assert (get("/healthz").status_code, get("/readyz").status_code, get("/v1/model").status_code) == (200, 503, 503)
    loading = ask(address, pictures)
    assert (loading.status_code, loading.json()["code"], loading.headers["retry-after"]) == (503, "loading", "2")
    service.open(desk)
    assert get("/readyz").json() == {"status": "ready"}
    thread, results = start(ask, address, {"a.jpg": pictures["Doe, Jane.jpg"]})
    assert begun.acquire(timeout=PATIENCE_S)
    service.stopping = True
    assert get("/healthz").status_code == 200
    assert get("/readyz").json()["code"] == "stopping"
    refused = ask(address, pictures)
    assert (refused.status_code, refused.json()["code"], refused.headers["connection"]) == (503, "stopping", "close")
    go_on.set()
    thread.join(PATIENCE_S)
    assert results[0].json()["pictures"][0]["status"] == "answered"


@pytest.mark.parametrize("error", [ModelError("The network answers nonsense."), ZeroDivisionError("Doe, Jane")])
def test_a_failure_is_a_safe_sentence_outside_and_a_traceback_in_the_log(
    serve, desk, pictures, monkeypatch, caplog, error
):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(app, "answer_upload", fail)
    _, address = serve(desk)
    answer = ask(address, pictures)
    assert (answer.status_code, answer.json()["sentence"]) == (500, wording.MODEL_UNUSABLE)
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert str(error) in caplog.text
    assert "Traceback" in caplog.text
    monkeypatch.undo()
    assert ask(address, pictures).status_code == 200


def test_the_log_and_the_metrics_say_what_was_done_and_name_nothing(serve, desk, pictures, caplog):
    caplog.set_level(logging.INFO)
    _, address = serve(desk)
    answer = ask(address, pictures, neighbours=1)
    requests.get(f"{address}/patients/Doe", timeout=PATIENCE_S)
    (line,) = (one.getMessage() for one in caplog.records if "POST" in one.getMessage())
    assert re.fullmatch(rf"{answer.headers['x-request-id']} POST /v1/predict 200 in \d+ ms", line)
    metrics = requests.get(f"{address}/metrics", timeout=PATIENCE_S)
    assert metrics.headers["content-type"].startswith("text/plain")
    for figure in (
        'skinai_requests_total{route="/v1/predict",status="200"} 1.0',
        'skinai_requests_total{route="other",status="404"} 1.0',
        'skinai_pictures_total{status="answered"} 2.0',
        'skinai_pictures_total{status="refused"} 1.0',
        'skinai_pictures_total{status="unreadable"} 2.0',
        "skinai_picture_work_seconds_count 5.0",
        "skinai_picture_wait_seconds_count 5.0",
        "skinai_queue_pictures 0.0",
        "skinai_queue_capacity 16.0",
        "skinai_workers 2.0",
        "skinai_upload_bytes 0.0",
        "skinai_ready 1.0",
    ):
        assert figure in metrics.text
    for private in ("Doe", "jpg", "neighbours", "127.0.0.1"):
        assert private not in metrics.text
        assert private not in "\n".join(one.getMessage() for one in caplog.records if one.name == "skinai.service")


@pytest.mark.parametrize(("workers", "capacity"), [(0, 16), (1, 15)])
def test_a_service_without_workers_or_with_too_few_places_is_refused(workers, capacity):
    with pytest.raises(ValueError, match=f"Received: {workers} and {capacity}"):
        Service(workers=workers, capacity=capacity)
