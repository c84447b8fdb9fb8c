"""Find picture files and answer for each, also for the ones that cannot be read."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skinai.data.images import SUFFIXES, read_picture
from skinai.errors import PictureError, UsageError
from skinai.evaluation.decision import CANNOT_ASSESS
from skinai.model.router import DERMOSCOPY, NEITHER, NEITHER_SENTENCE
from skinai.serving.assessment import Assessment, describe_assessment
from skinai.serving.predictor import Prediction
from skinai.serving.routing import Desk, Routing


@dataclass(frozen=True)
class FileAnswer:
    """What came of one file.

    Attributes
    ----------
    file : Path
    model_name, fingerprint : str
    assessment : Assessment or None
        None where the file could not be read, or where neither model is fit for it.
    reasons : tuple of (code, sentence)
        Why the file could not be read, or why its picture is refused.
    insist : bool
        Whether the answer for a refused picture is given all the same.
    routing : Routing or None
        Which model answered, and why; None where the file could not be read.
    """

    file: Path
    model_name: str
    fingerprint: str
    assessment: Assessment | None
    reasons: tuple[tuple[str, str], ...] = ()
    insist: bool = False
    routing: Routing | None = None

    @property
    def prediction(self) -> Prediction | None:
        """The probabilities; None where the file could not be read, or is refused and nobody insists."""
        if self.assessment is None or (self.assessment.refused and not self.insist):
            return None
        return self.assessment.prediction

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``predict --json`` prints."""
        return {"file": str(self.file)} | self.describe()

    def describe(self) -> dict[str, Any]:
        """Return what ``predict --json`` prints, without the name of the file."""
        head: dict[str, Any] = {"model": self.model_name, "fingerprint": self.fingerprint}
        if self.routing is not None and self.routing.routes:
            head["routing"] = self.routing.as_dict()
        if self.assessment is not None:
            return head | describe_assessment(self.assessment, insist=self.insist)
        reasons = [{"code": code, "sentence": sentence} for code, sentence in self.reasons]
        names = ("probabilities", "malignant_probability", "plausible", "certainty", "needs_dermoscopy", "calls")
        nothing: dict[str, Any] = dict.fromkeys(names) | {"certainty": CANNOT_ASSESS}
        return head | nothing | {"gate": {"status": "refused", "reasons": reasons, "insisted": False}}


def find_picture_files(paths: Iterable[str]) -> list[Path]:
    """Return the files named by files, folders (searched below) and globs, each once, in order.

    A file that is named outright is returned whatever its ending, and also if it does not exist: the answer will say
    so.

    Raises
    ------
    UsageError
        If a folder or a glob holds no picture file.
    """
    found: dict[Path, None] = {}
    for name in paths:
        if glob.has_magic(name) and not os.path.lexists(name):
            files = [file for match in sorted(glob.glob(name, recursive=True)) for file in _files_below(Path(match))]
        else:
            path = Path(name)
            files = _files_below(path) if os.path.isdir(path) else [path]
        if not files:
            raise UsageError(f"No {', '.join(SUFFIXES)} file in {name!r}.")
        found |= dict.fromkeys(files)
    return list(found)


def _files_below(path: Path) -> list[Path]:
    """Return the picture files at or below `path`, by their ending."""
    candidates = path.rglob("*") if path.is_dir() else [path]
    return sorted(file for file in candidates if file.suffix.lower() in SUFFIXES and file.is_file())


def predict_files(
    desk: Desk, files: Iterable[Path], *, chosen: str | None = None, insist: bool = False
) -> Iterator[FileAnswer]:
    """Yield one answer a file, in order.

    Parameters
    ----------
    desk : Desk
    files : iterable of Path
    chosen : str, optional
        ``"dermoscopy"`` or ``"clinical"``: the kind whose model is to answer, whatever the router says.
    insist : bool
        Answer also for pictures that the gate refuses, and with the model in use for those that neither is fit for.
    """
    for file in files:
        try:
            picture = read_picture(file)
        except PictureError as error:
            yield refuse_file(desk, file, error)
            continue
        yield answer_picture(desk, file, picture, chosen=chosen, insist=insist)


def refuse_file(desk: Desk, file: Path, error: PictureError) -> FileAnswer:
    """Return the answer for a file that cannot be read."""
    bundle = desk.main.predictor.bundle
    return FileAnswer(file, bundle.name, bundle.fingerprint, None, ((error.code, str(error)),))


def answer_picture(
    desk: Desk, file: Path, picture: np.ndarray, *, chosen: str | None = None, insist: bool = False
) -> FileAnswer:
    """Return the answer for the picture in a file; see :func:`predict_files`.

    Parameters
    ----------
    desk : Desk
    file : Path
        What the answer calls it; it is not opened.
    picture : ndarray of shape (height, width, 3), uint8
    chosen, insist : optional
    """
    routing = desk.route([picture], chosen=chosen)
    if routing.answered_by is None and insist:
        routing = Routing(routing.routes, DERMOSCOPY)
    if routing.answered_by is None:
        bundle, reasons = desk.main.predictor.bundle, ((NEITHER, NEITHER_SENTENCE),)
        return FileAnswer(file, bundle.name, bundle.fingerprint, None, reasons, insist, routing)
    assessor = desk.assessors[routing.answered_by]
    bundle, assessment = assessor.predictor.bundle, assessor.assess(picture)
    return FileAnswer(file, bundle.name, bundle.fingerprint, assessment, assessment.reasons, insist, routing)
