"""What is to be scored: a job is what every worker of a run has to know, a part is what it takes at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from skinai import __version__
from skinai.artefacts import hash_file
from skinai.errors import UsageError
from skinai.evaluation.decision import DECISION_FILE
from skinai.labels import HAM10000
from skinai.model.bundle import BUNDLE_FILE, Bundle, load_bundle
from skinai.model.gates import GATES_FILE
from skinai.model.router import CLINICAL, DERMOSCOPY, ROUTER_FILE

PART_SIZE = 500


@dataclass(frozen=True)
class ModelFacts:
    """What tells one model with its rules from another.

    Attributes
    ----------
    answers_for : str
        ``"dermoscopy"``, as which the model in use counts whatever its classes, or ``"clinical"``.
    name, fingerprint : str
    rules_sha256 : str
        Over the files that state the hashes of all parts, the thresholds, the gate and the router.
    """

    answers_for: str
    name: str
    fingerprint: str
    rules_sha256: str


@dataclass(frozen=True)
class Part:
    """Pictures that one worker scores in one go and that become one file.

    Attributes
    ----------
    number : int
        From 0.
    files : tuple of str
        Paths and URLs, see :func:`skinai.bulk.sources.list_pictures`.
    """

    number: int
    files: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """What every worker of a run has to know.

    Attributes
    ----------
    folder : Path
        Of the model in use.
    clinical : Path or None
        Of the model for clinical photographs beside it.
    base : Path
        The folder that relative paths of pictures count from.
    models : tuple of ModelFacts
        What a worker must find in the two folders.
    chosen : str or None
        The kind whose model is to answer, whatever the router says.
    insist : bool
        Whether refused pictures are answered too.
    """

    folder: Path
    clinical: Path | None
    base: Path
    models: tuple[ModelFacts, ...]
    chosen: str | None = None
    insist: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return what decides how a picture is answered, as it is written beside the parts."""
        models = [asdict(model) for model in self.models]
        return {"skinai": __version__, "models": models, "as": self.chosen, "insist": self.insist}


def build_job(folder: Path, clinical: Path | None, *, chosen: str | None = None, insist: bool = False) -> Job:
    """Check the model folders and return the job; see :class:`Job` for the parameters.

    Raises
    ------
    ModelError
        If a folder is refused.
    """
    bundles = {DERMOSCOPY: load_bundle(folder)}
    if clinical is not None and bundles[DERMOSCOPY].labels is HAM10000:
        bundles[CLINICAL] = load_bundle(clinical)
    second = clinical.resolve() if clinical is not None and CLINICAL in bundles else None
    return Job(folder.resolve(), second, Path.cwd(), describe_models(bundles), chosen, insist)


def describe_models(bundles: Mapping[str, Bundle]) -> tuple[ModelFacts, ...]:
    """Return the facts of models by what they answer for."""
    return tuple(
        ModelFacts(kind, bundle.name, bundle.fingerprint, _hash_rules(bundle.folder))
        for kind, bundle in bundles.items()
    )


def cut_parts(files: Sequence[str], size: int) -> Iterator[Part]:
    """Yield a list in parts of `size` pictures; the last one may have fewer.

    Raises
    ------
    UsageError
        If the size is below 1.
    """
    if size < 1:
        raise UsageError(f"A part has at least 1 picture. Received: {size}.")
    for number, start in enumerate(range(0, len(files), size)):
        yield Part(number, tuple(files[start : start + size]))


def hash_list(files: Sequence[str]) -> str:
    """Return the SHA-256 of a list of pictures, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.encode("utf-8", errors="surrogateescape") + b"\0")
    return digest.hexdigest()


def _hash_rules(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (BUNDLE_FILE, DECISION_FILE, GATES_FILE, ROUTER_FILE):
        hashed = hash_file(folder / name) if (folder / name).exists() else "none"
        digest.update(f"{name} {hashed}\n".encode())
    return digest.hexdigest()
