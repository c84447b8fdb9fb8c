"""Find picture files and answer for each, also for the ones that cannot be read."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinai.data.images import SUFFIXES, read_picture
from skinai.errors import PictureError, UsageError
from skinai.evaluation.decision import CANNOT_ASSESS
from skinai.serving.assessment import Assessment, Assessor, describe_assessment
from skinai.serving.predictor import Prediction


@dataclass(frozen=True)
class FileAnswer:
    """What came of one file.

    Attributes
    ----------
    file : Path
    model_name, fingerprint : str
    assessment : Assessment or None
        None where the file could not be read.
    reasons : tuple of (code, sentence)
        Why the file could not be read, or why its picture is refused.
    insist : bool
        Whether the answer for a refused picture is given all the same.
    """

    file: Path
    model_name: str
    fingerprint: str
    assessment: Assessment | None
    reasons: tuple[tuple[str, str], ...] = ()
    insist: bool = False

    @property
    def prediction(self) -> Prediction | None:
        """The probabilities; None where the file could not be read, or is refused and nobody insists."""
        if self.assessment is None or (self.assessment.refused and not self.insist):
            return None
        return self.assessment.prediction

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``predict --json`` prints."""
        head = {"file": str(self.file), "model": self.model_name, "fingerprint": self.fingerprint}
        if self.assessment is not None:
            return head | describe_assessment(self.assessment, insist=self.insist)
        reasons = [{"code": code, "sentence": sentence} for code, sentence in self.reasons]
        names = ("probabilities", "malignant_probability", "plausible", "certainty", "calls")
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


def predict_files(assessor: Assessor, files: Iterable[Path], *, insist: bool = False) -> Iterator[FileAnswer]:
    """Yield one answer a file, in order; with `insist` also for pictures that the gate refuses."""
    bundle = assessor.predictor.bundle
    for file in files:
        try:
            assessment = assessor.assess(read_picture(file))
            yield FileAnswer(file, bundle.name, bundle.fingerprint, assessment, assessment.reasons, insist)
        except PictureError as error:
            yield FileAnswer(file, bundle.name, bundle.fingerprint, None, ((error.code, str(error)),))
