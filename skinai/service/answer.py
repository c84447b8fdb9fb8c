"""From the bytes of one picture to what the service answers for it, by the code that the page and `predict` use."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from skinai import wording
from skinai.data.images import decode_picture, hash_pixels
from skinai.errors import DataError, PictureError
from skinai.evaluation.report import EvaluationReport, read_report
from skinai.exports.fhir import write_fhir
from skinai.exports.record import build_record
from skinai.labels import HAM10000
from skinai.model.bundle import Bundle
from skinai.serving.assessment import Assessment, Assessor
from skinai.serving.files import FileAnswer, answer_picture, refuse_file
from skinai.serving.routing import Desk

MOST_NEIGHBOURS = 20


@dataclass(frozen=True)
class Wishes:
    """What is wanted for each picture of a request.

    Attributes
    ----------
    with_map : bool
        The class activation map of the most probable class, laid over the picture.
    neighbours : int
        How many similar training pictures; 0 to `MOST_NEIGHBOURS`.
    fhir : bool
        The record as a FHIR R5 DiagnosticReport.
    insist : bool
        The answer also for a refused picture.
    chosen : str or None
        The kind whose model is to answer, whatever the router says.
    """

    with_map: bool = False
    neighbours: int = 0
    fhir: bool = False
    insist: bool = False
    chosen: str | None = None


def find_report(bundle: Bundle) -> EvaluationReport | None:
    """Return the report of a model's holdout run; None where it has none of its own."""
    try:
        report = read_report(bundle.folder, bundle.labels)
    except DataError:
        return None
    return report if (report.fingerprint, report.subset) == (bundle.fingerprint, "test") else None


def answer_upload(
    desk: Desk,
    reports: Mapping[str, EvaluationReport | None],
    number: int,
    content: bytes,
    wishes: Wishes,
    note: Callable[[str, dict[str, Any]], object] | None = None,
) -> dict[str, Any]:
    """Return what is said of one picture of a request.

    Parameters
    ----------
    desk : Desk
    reports : mapping of str to EvaluationReport or None
        The holdout report of each model of the desk, by its fingerprint.
    number : int
        Of the picture in the request, from 1; its file's name is not known here.
    content : bytes
    wishes : Wishes
    note : callable, optional
        Called with the hash of the picture's pixels and the answer before it is given.

    Raises
    ------
    ModelError
        If a model's answer makes no sense.
    AuditError
        If `note` raises it.
    """
    name = Path(str(number))
    try:
        picture = decode_picture(content)
    except PictureError as error:
        answer = refuse_file(desk, name, error)
        return {"picture": number, "status": "unreadable"} | answer.describe() | {"sentences": [str(error)]}
    answer = answer_picture(desk, name, picture, chosen=wishes.chosen, insist=wishes.insist)
    if note is not None:
        note(hash_pixels(picture), answer.describe())
    status = "refused" if answer.prediction is None else "answered"
    sentences = say_answer(answer, reports.get(answer.fingerprint))
    item = {"picture": number, "status": status} | answer.describe() | {"sentences": sentences}
    return item if answer.assessment is None else item | _add(desk, reports, answer, answer.assessment, picture, wishes)


def say_answer(answer: FileAnswer, report: EvaluationReport | None) -> list[str]:
    """Return what the page says of an answer, a few sentences a string."""
    routed = answer.routing is not None and answer.routing.routes
    said = [wording.say_routing(answer.routing)] if answer.routing is not None and routed else []
    assessment, reasons = answer.assessment, [sentence for _, sentence in answer.reasons]
    if assessment is None or answer.prediction is None:
        return [*said, *reasons] if assessment is None else [*said, *reasons, wording.REFUSED_NOTE]
    labels = answer.prediction.labels
    said = [wording.summarise(assessment, shown=True, insisted=assessment.refused), *reasons, *said]
    if assessment.refused:
        said.append(wording.REFUSED_REMARK)
    else:
        said += [_say_call(assessment)] if assessment.calls else []
    if remark := wording.say_dermoscopy(assessment):
        said.append(remark)
    if assessment.gate == "none":
        said.append(wording.NO_GATE)
    if labels.malignant_codes and not answer.prediction.top.malignant:
        said.append(wording.BENIGN_NOTE)
        if labels is HAM10000 and report is not None:
            missed, n = report.count_benign_first("mel")
            said.append(wording.MISSED_NOTE.format(missed=missed, n=n))
    return [*said, wording.RESULT_NOTE]


def _say_call(assessment: Assessment) -> str:
    call = assessment.calls[0]
    said = wording.CALL_ABOVE if call.above else wording.CALL_BELOW
    return said.format(sum=wording.say_share(assessment.prediction.malignant_probability), threshold=call.threshold)


def _add(
    desk: Desk,
    reports: Mapping[str, EvaluationReport | None],
    answer: FileAnswer,
    assessment: Assessment,
    picture: np.ndarray,
    wishes: Wishes,
) -> dict[str, Any]:
    """Return the parts of an answer that are there only if they are wanted."""
    assert answer.routing is not None
    assert answer.routing.answered_by is not None
    assessor = desk.assessors[answer.routing.answered_by]
    shown = answer.prediction is not None
    added: dict[str, Any] = {}
    if wishes.with_map and shown:
        added["map"] = _draw_map(assessor, picture, assessment)
    if wishes.neighbours and shown:
        added["neighbours"] = _list_neighbours(assessor, picture, assessment, wishes.neighbours)
    if wishes.fhir:
        record = build_record(
            [picture],
            [assessment],
            assessment,
            insisted=wishes.insist,
            report=reports.get(answer.fingerprint),
            routing=answer.routing,
        )
        added["fhir"] = json.loads(write_fhir(record))
    return added


def _draw_map(assessor: Assessor, picture: np.ndarray, assessment: Assessment) -> dict[str, Any]:
    code = assessment.prediction.top.code
    if assessor.kernel is None:
        return {"code": code, "png_base64": None, "sentence": wording.WHY_NONE}
    overlay = assessor.draw_overlay(picture, assessment, code)
    if overlay is None:
        return {"code": code, "png_base64": None, "sentence": wording.WHY_NOTHING}
    buffer = io.BytesIO()
    Image.fromarray(overlay).save(buffer, format="PNG")
    views = wording.WHY_VIEWS if len(assessor.predictor.bundle.views) > 1 else ""
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return {"code": code, "png_base64": encoded, "sentence": wording.WHY_REMARK + views}


def _list_neighbours(assessor: Assessor, picture: np.ndarray, assessment: Assessment, count: int) -> dict[str, Any]:
    cases, known = assessor.find_similar(assessment, count), assessor.find_same(picture)
    sentences = [wording.SIMILAR_REMARK] if cases else []
    return {
        "pictures": [
            {
                "image_id": case.image_id,
                "lesion_id": case.lesion_id,
                "code": case.label.code,
                "similarity": round(case.similarity, 6),
                "method": case.method,
            }
            for case in cases
        ],
        "same_as": known,
        "sentences": sentences if known is None else [wording.SIMILAR_KNOWN.format(image=known), *sentences],
    }
