"""One lesion's record: everything that a document about it may say, and nothing that names a patient or a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from skinai import __version__, wording
from skinai.data.images import hash_pixels
from skinai.evaluation.estimate import Estimate
from skinai.evaluation.report import EvaluationReport
from skinai.labels import Label
from skinai.serving.assessment import Agreement, Assessment
from skinai.serving.routing import Routing

SEXES = ("female", "male")
SITES = (
    *("abdomen", "acral", "back", "chest", "ear", "face", "foot", "genital", "hand", "lower extremity", "neck"),
    *("scalp", "trunk", "upper extremity"),
)
# Also the full-width forms, which some spreadsheets take for the same.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
CERTAINTIES = ("unsure", "fairly sure", "very sure")


@dataclass(frozen=True)
class PatientFacts:
    """What the user states of the patient; all may be missing, and the model uses none of it.

    Attributes
    ----------
    age_years : int or None
        0 to 120.
    sex, site : str or None
        One of `SEXES` and `SITES`.

    Raises
    ------
    ValueError
        If a value is none of these.
    """

    age_years: int | None = None
    sex: str | None = None
    site: str | None = None

    def __post_init__(self) -> None:
        if self.age_years is not None and not 0 <= self.age_years <= 120:
            raise ValueError(f"An age is from 0 to 120 years. Received: {self.age_years}.")
        if self.sex not in (None, *SEXES):
            raise ValueError(f"A sex is one of {list(SEXES)}. Received: {self.sex!r}.")
        if self.site not in (None, *SITES):
            raise ValueError(f"A site is one of {list(SITES)}. Received: {self.site!r}.")

    def as_dict(self) -> dict[str, Any]:
        """Return the facts by name, None where not stated."""
        return {"age_years": self.age_years, "sex": self.sex, "site": self.site}


@dataclass(frozen=True)
class OwnAnswer:
    """What the user said before seeing the model's answer.

    Attributes
    ----------
    label : Label
    certainty : str
        One of `CERTAINTIES`.
    """

    label: Label
    certainty: str


@dataclass(frozen=True)
class RecordedPicture:
    """One picture of the lesion, by what identifies its pixels.

    Attributes
    ----------
    pixels_sha256 : str
        Of the upright RGB pixels; the same picture without its metadata has the same one.
    width_px, height_px : int
    assessment : Assessment
    """

    pixels_sha256: str
    width_px: int
    height_px: int
    assessment: Assessment


@dataclass(frozen=True)
class Record:
    """What a document about one lesion says.

    Attributes
    ----------
    created : datetime
        In UTC.
    pictures : tuple of RecordedPicture
    answer : Assessment
        Of all pictures together.
    insisted : bool
        Whether the gate refused a picture and the user wanted the answer all the same.
    shown : bool
        Whether there is an answer to show: False where a picture was refused and nobody insisted.
    agreement : Agreement or None
        Of one picture as it is, mirrored and turned.
    patient : PatientFacts
    own : OwnAnswer or None
    holdout : mapping of str to Estimate
        What the rules reached on the holdout pictures; empty where the model was not tested.
    routing : Routing or None
        Which of several models answered, and whether the user chose another than the router; None where there is one.
    """

    created: datetime
    pictures: tuple[RecordedPicture, ...]
    answer: Assessment
    insisted: bool
    shown: bool
    agreement: Agreement | None
    patient: PatientFacts
    own: OwnAnswer | None
    holdout: Mapping[str, Estimate]
    routing: Routing | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences for which pictures were refused, each once."""
        return tuple(dict.fromkeys(s for one in self.pictures for _, s in one.assessment.reasons))

    def as_dict(self) -> dict[str, Any]:
        """Return the record as it is written as JSON."""
        prediction = self.answer.prediction
        labels = prediction.labels
        first = self.answer.calls[0] if self.answer.calls else None
        return {
            "format": 1,
            "notice": wording.RECORD_NOTICE,
            "created_utc": self.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "skinai": __version__,
            "model": {"name": prediction.model_name, "fingerprint": prediction.fingerprint, "labels": labels.name},
            "routing": None if self.routing is None else self.routing.as_dict(),
            "pictures": [
                {
                    "pixels_sha256": one.pixels_sha256,
                    "width_px": one.width_px,
                    "height_px": one.height_px,
                    "gate": one.assessment.gate,
                    "reasons": [{"code": code, "sentence": sentence} for code, sentence in one.assessment.reasons],
                    "malignant_probability": round(one.assessment.prediction.malignant_probability, 6)
                    if self.shown and labels.malignant_codes
                    else None,
                }
                for one in self.pictures
            ],
            "status": "answered" if self.shown else "refused",
            "insisted": self.insisted,
            "probabilities": {code: round(value, 6) for code, value in prediction.by_code.items()}
            if self.shown
            else None,
            "malignant_probability": round(prediction.malignant_probability, 6)
            if self.shown and labels.malignant_codes
            else None,
            "certainty": self.answer.certainty if self.shown else "cannot_assess",
            "plausible": [label.code for label in self.answer.plausible] if self.shown else None,
            "most_severe_plausible": self.answer.severest.code if self.shown and self.answer.severest else None,
            "threshold": None
            if first is None
            else {
                "name": first.name,
                "value": first.threshold,
                "reached": first.above if self.shown else None,
                "holdout": {
                    figure: self.holdout[f"{first.name}:{figure}"].as_dict()
                    for figure in ("sensitivity", "specificity")
                    if f"{first.name}:{figure}" in self.holdout
                },
            },
            "turned_versions": None
            if self.agreement is None or not self.shown
            else {
                "versions": len(self.agreement.tops),
                "same_most_probable": self.agreement.count_for(prediction.top),
                "malignant_probability": [round(value, 6) for value in self.agreement.malignant]
                if labels.malignant_codes
                else None,
            },
            "needs_dermoscopy": wording.say_dermoscopy(self.answer) if self.shown else None,
            "patient": self.patient.as_dict(),
            "own_answer_first": None
            if self.own is None
            else {"code": self.own.label.code, "certainty": self.own.certainty},
            "taken_together": wording.SEVERAL_REMARK if len(self.pictures) > 1 else None,
            "limits": list(wording.list_limits(labels)),
        }


def build_record(
    pictures: Sequence[np.ndarray],
    assessments: Sequence[Assessment],
    answer: Assessment,
    *,
    insisted: bool,
    agreement: Agreement | None = None,
    patient: PatientFacts | None = None,
    own: OwnAnswer | None = None,
    report: EvaluationReport | None = None,
    routing: Routing | None = None,
    now: datetime | None = None,
) -> Record:
    """Return the record of a lesion.

    Parameters
    ----------
    pictures : sequence of ndarray of shape (height, width, 3), uint8
    assessments : sequence of Assessment
        One a picture.
    answer : Assessment
        Of all together.
    insisted : bool
        Whether the user wants the answer also for refused pictures.
    agreement, patient, own : optional
    report : EvaluationReport, optional
        The model's holdout report.
    routing : Routing, optional
        Where there are several models.
    now : datetime, optional
        In UTC; default: the present.
    """
    recorded = tuple(
        RecordedPicture(hash_pixels(picture), picture.shape[1], picture.shape[0], assessment)
        for picture, assessment in zip(pictures, assessments, strict=True)
    )
    refused = any(one.refused for one in assessments)
    return Record(
        created=now or datetime.now(UTC),
        pictures=recorded,
        answer=answer,
        insisted=refused and insisted,
        shown=insisted or not refused,
        agreement=agreement,
        patient=patient or PatientFacts(),
        own=own,
        holdout=report.decision if report is not None else {},
        routing=routing if routing is not None and routing.routes else None,
    )


def write_json(record: Record) -> bytes:
    """Return the record as JSON."""
    return (json.dumps(record.as_dict(), indent=1, ensure_ascii=False) + "\n").encode()


def write_csv(record: Record) -> bytes:
    """Return the record as a table of two columns, name and value."""
    rows = [("name", "value"), *_flatten("", record.as_dict())]
    return write_table(rows[0], rows[1:])


def write_rows(facts: Sequence[Mapping[str, Any]], *, model_name: str, fingerprint: str) -> bytes:
    """Return rows of a batch, one mapping of column to value a file, as a table; each row names the model."""
    columns = [*facts[0], "model", "fingerprint", "notice"]
    tail = [model_name, fingerprint, wording.RECORD_NOTICE]
    return write_table(columns, [[*fact.values(), *tail] for fact in facts])


def write_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a comma-separated table; cells that a spreadsheet would run as a formula get an apostrophe before them.

    >>> write_table(["file"], [["=1+1.jpg"]])
    b'"file"\\n"\\'=1+1.jpg"\\n'
    """
    text = io.StringIO()
    # Quoted throughout: a spreadsheet may split cells at semicolons too.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue().encode("utf-8", errors="backslashreplace")


def escape_cell(text: str) -> str:
    """Return text with an apostrophe before it if a spreadsheet would run it as a formula.

    >>> escape_cell("=1"), escape_cell("a")
    ("'=1", 'a')
    """
    return "'" + text if text.startswith(_FORMULA_STARTS) else text


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return escape_cell(value) if isinstance(value, str) else value


def _flatten(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [row for key, part in value.items() for row in _flatten(f"{name}.{key}" if name else str(key), part)]
    if isinstance(value, list):
        return [row for number, part in enumerate(value, 1) for row in _flatten(f"{name}.{number}", part)]
    return [(name, value)]
