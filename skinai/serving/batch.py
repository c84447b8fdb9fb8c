"""Many pictures, one row each; what cannot be read is a row with its reason, and never stops the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from skinai.data.images import decode_picture
from skinai.errors import DataError, PictureError
from skinai.evaluation.decision import CANNOT_ASSESS
from skinai.labels import LabelSet
from skinai.serving.assessment import Assessment, Assessor
from skinai.serving.files import FileAnswer

COLUMNS = ("file", "status", "reason", "most_probable", "certainty", "malignant_probability", "threshold", "above")


@dataclass(frozen=True)
class BatchRow:
    """What came of one file.

    Attributes
    ----------
    name : str
        As the user called the file.
    picture : ndarray of shape (height, width, 3), uint8, or None
        None where the file cannot be read.
    assessment : Assessment or None
    sentence : str
        Why the file cannot be read, or why its picture is refused; empty where it is answered.
    unfit : bool
        Whether the picture can be read but neither model is fit for it, so that there is no assessment.
    """

    name: str
    picture: np.ndarray | None
    assessment: Assessment | None
    sentence: str
    unfit: bool = False

    @property
    def status(self) -> str:
        """``"answered"``, ``"refused"`` by the gate or the router, or ``"unreadable"``."""
        if self.assessment is None:
            return "refused" if self.unfit else "unreadable"
        return "refused" if self.assessment.refused else "answered"


def assess_files(assessor: Assessor, files: Iterable[tuple[str, bytes | DataError]]) -> Iterator[BatchRow]:
    """Yield one row a file, given as name and bytes, or as name and the error for which there are none, in order."""
    for name, content in files:
        try:
            if isinstance(content, DataError):
                raise content
            picture = decode_picture(content)
        except (PictureError, DataError) as error:
            yield BatchRow(name, None, None, str(error))
            continue
        assessment = assessor.assess(picture)
        yield BatchRow(name, picture, assessment, " ".join(sentence for _, sentence in assessment.reasons))


def build_row(answer: FileAnswer) -> BatchRow:
    """Return the row of a file's answer, without its picture."""
    sentence = " ".join(text for _, text in answer.reasons)
    unfit = answer.routing is not None and answer.routing.answered_by is None
    return BatchRow(str(answer.file), None, answer.assessment, sentence, unfit)


def name_probabilities(labels: LabelSet) -> tuple[str, ...]:
    """Return the column of each class, in the fixed order."""
    return tuple(f"probability_{code}" for code in labels.codes)


def describe_row(row: BatchRow, labels: LabelSet, *, insist: bool = False) -> dict[str, object]:
    """Return a row by column: those in `COLUMNS`, then a probability for each code; None where there is no answer."""
    answer = row.assessment if row.status == "answered" or insist else None
    facts: dict[str, object] = dict.fromkeys((*COLUMNS, *name_probabilities(labels)))
    facts |= {"file": row.name, "status": row.status, "reason": row.sentence}
    facts["certainty"] = None if row.status == "answered" else CANNOT_ASSESS
    if answer is None:
        return facts
    prediction = answer.prediction
    facts |= {"most_probable": prediction.top.code, "certainty": answer.certainty}
    shares = (round(value, 6) for value in prediction.probabilities)
    facts |= dict(zip(name_probabilities(labels), shares, strict=True))
    if labels.malignant_codes:
        facts["malignant_probability"] = round(prediction.malignant_probability, 6)
    if answer.calls:
        facts |= {"threshold": answer.calls[0].threshold, "above": answer.calls[0].above}
    return facts
