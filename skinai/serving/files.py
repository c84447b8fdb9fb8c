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
from skinai.serving.predictor import Prediction, Predictor


@dataclass(frozen=True)
class FileAnswer:
    """What came of one file.

    Attributes
    ----------
    file : Path
    model_name, fingerprint : str
    prediction : Prediction or None
        None where the file could not be read.
    reasons : tuple of (code, sentence)
        Why there is no answer.
    """

    file: Path
    model_name: str
    fingerprint: str
    prediction: Prediction | None
    reasons: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``predict --json`` prints."""
        answered = self.prediction is not None
        return {
            "file": str(self.file),
            "model": self.model_name,
            "fingerprint": self.fingerprint,
            "probabilities": {code: round(value, 6) for code, value in self.prediction.by_code.items()}
            if self.prediction
            else None,
            "malignant_probability": round(self.prediction.malignant_probability, 6) if self.prediction else None,
            "gate": {
                "status": "passed" if answered else "refused",
                "reasons": [{"code": code, "sentence": sentence} for code, sentence in self.reasons],
            },
        }


def find_picture_files(paths: Iterable[str]) -> list[Path]:
    """Return the files named by files, folders (searched below) and globs, each once, in order.

    A file that is named outright is returned whatever its ending, and also if it does not exist: the answer will say
    so.

    Raises
    ------
    UsageError
        If a folder or a glob holds no .jpg, .jpeg or .png file.
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


def predict_files(predictor: Predictor, files: Iterable[Path]) -> Iterator[FileAnswer]:
    """Yield one answer a file, in order."""
    name, fingerprint = predictor.bundle.name, predictor.bundle.fingerprint
    for file in files:
        try:
            yield FileAnswer(file, name, fingerprint, predictor.predict(read_picture(file)))
        except PictureError as error:
            yield FileAnswer(file, name, fingerprint, None, ((error.code, str(error)),))
