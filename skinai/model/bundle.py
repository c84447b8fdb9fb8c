"""The model folder: what it holds, how it is described, and when it is refused. Imports no TensorFlow.

Training and serving meet only here. ``bundle.json`` states the label order, the frame rule and the hash of every
part; a folder whose parts disagree is refused with a sentence that names the part.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinai import labels as label_sets
from skinai.artefacts import hash_file, write_json
from skinai.data.images import FrameRule, Mark, check_mark
from skinai.errors import ModelError
from skinai.labels import LabelSet

BUNDLE_FILE = "bundle.json"
KERAS_FILE = "model.keras"
EXPORT_FILE = "model.tflite"
PROBE_FILE = "probe.png"
SEAL_FILE = "seal.json"
# What no hash in bundle.json covers, because it is written later or is bundle.json itself, and what answers depend on.
_SEALED = (BUNDLE_FILE, "decision.json", "gates.json", "gates.npz", "router.json", "router.npz")
# The outputs of the export, and the layers they come from.
PROBABILITIES, FEATURE_MAP, EMBEDDING = "probabilities", "feature_map", "embedding"
FORMAT = 1
DEFAULT_MODEL, CLINICAL_MODEL = "ham10000-ensemble", "clinical-efficientnet-lite0"
PROBE_TOLERANCE = 1e-3
_LABEL_SETS = {label_sets.HAM10000.name: label_sets.HAM10000}


@dataclass(frozen=True)
class Bundle:
    """A checked model folder.

    Attributes
    ----------
    folder : Path
    name : str
        The folder's name when it was made.
    fingerprint : str
        Twelve hexadecimal digits over weights, export, label order and frame rule.
    labels : LabelSet
        In the order of the network's outputs.
    frame : FrameRule
    probe : mapping of str to float
        Code to probability, as the network answered for ``probe.png`` when it was made.
    facts : mapping
        All of ``bundle.json``.
    mark : tuple of four float, or None
        What was covered in every picture of the data, see :func:`skinai.data.images.cover_mark`.
    """

    folder: Path
    name: str
    fingerprint: str
    labels: LabelSet
    frame: FrameRule
    probe: Mapping[str, float]
    facts: Mapping[str, Any]
    mark: Mark | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What else is to be known of the data, a sentence each."""
        return tuple(str(note) for note in self.facts.get("notes", ()))

    @property
    def views(self) -> tuple[str, ...]:
        """The views of a picture that the answers are averaged over."""
        return tuple(self.facts.get("training", {}).get("views", ("plain",)))


def models_folder() -> Path:
    """Return the folder that holds the models: ``models/`` beside the package."""
    return Path(__file__).resolve().parents[2] / "models"


def find_model_folder(given: str | Path | None = None) -> Path:
    """Return the model folder given, the one in ``SKINAI_MODEL``, or the default one."""
    name = given or os.environ.get("SKINAI_MODEL")
    return Path(name) if name else models_folder() / DEFAULT_MODEL


def find_clinical_folder() -> Path | None:
    """Return the folder of the model for clinical photographs that stands beside the model in use.

    It is the one in ``SKINAI_CLINICAL``; else, unless ``SKINAI_MODEL`` names a model, the one that is shipped, if it
    has a router. None where there is none: a model of one's own answers alone.
    """
    named = os.environ.get("SKINAI_CLINICAL")
    if named is not None:
        return Path(named) if named else None
    shipped = models_folder() / CLINICAL_MODEL
    return shipped if not os.environ.get("SKINAI_MODEL") and (shipped / "router.json").is_file() else None


def write_bundle(
    folder: Path,
    *,
    labels: LabelSet,
    frame: FrameRule,
    probe: Mapping[str, float],
    facts: Mapping[str, Any],
    parts: list[str],
) -> Bundle:
    """Describe a model folder whose parts have been written; the last step of a run.

    Parameters
    ----------
    folder : Path
    labels : LabelSet
    frame : FrameRule
    probe : mapping
        Code to probability for ``probe.png``.
    facts : mapping
        Data, split, training configuration, versions, licence.
    parts : list of str
        Names of all other files to hash.
    """
    own = {EXPORT_FILE, PROBE_FILE} | ({KERAS_FILE} if (folder / KERAS_FILE).exists() else set())
    hashes = {part: hash_file(folder / part) for part in sorted({*own, *parts})}
    description = {
        "format": FORMAT,
        "name": folder.name,
        "fingerprint": _fingerprint(hashes, labels.codes, frame),
        "labels": _describe_labels(labels),
        "frame": frame.as_dict(),
        "probe": {code: round(float(value), 6) for code, value in probe.items()},
        "files": hashes,
        **facts,
    }
    write_json(folder / BUNDLE_FILE, description)
    return load_bundle(folder)


def load_bundle(folder: Path) -> Bundle:
    """Read and check a model folder.

    Raises
    ------
    ModelError
        If the folder or a part is missing, a hash differs, or label set, order, frame or fingerprint do not agree.
    """
    folder = Path(folder)
    facts = _read_facts(folder)
    try:
        name, order, files = facts["name"], tuple(facts["labels"]["order"]), dict(facts["files"])
        set_name, fingerprint = facts["labels"]["set"], facts["fingerprint"]
        frame = FrameRule(**facts["frame"])
        probe = {str(code): float(value) for code, value in facts["probe"].items()}
        mark = facts.get("data", {}).get("mark")
        mark = None if mark is None else check_mark(mark)
        views, notes = facts.get("training", {}).get("views", []), facts.get("notes", [])
        if not (isinstance(views, list) and isinstance(notes, list) and isinstance(facts["files"], dict)):
            raise TypeError("views and notes are lists, files a mapping")
        if not all(isinstance(text, str) for text in (set_name, name, *views, *notes)):
            raise TypeError("names, views and notes are text")
        if not all(type(side) is int for side in (frame.width_px, frame.height_px)):
            raise TypeError("the sides of a frame are whole numbers")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelError(f"{BUNDLE_FILE} in {folder} lacks a part or has one of another kind: {error}.") from error
    if facts.get("format") != FORMAT:
        raise ModelError(
            f"{BUNDLE_FILE} in {folder} has the format {facts.get('format')}; this version reads {FORMAT}."
        )
    labels = _LABEL_SETS.get(set_name) or _own_labels(set_name, facts["labels"])
    if labels is None:
        raise ModelError(f"{BUNDLE_FILE} in {folder} names an unknown label set: {set_name!r}.")
    if order != labels.codes:
        raise ModelError(
            f"The class order in {folder} is {list(order)}; the label set {set_name} has {list(labels.codes)}."
        )
    if set(probe) != set(order):
        raise ModelError(f"The self-test in {folder} has the classes {sorted(probe)}, not {sorted(order)}.")
    if not all(0 <= value <= 1 for value in probe.values()):
        raise ModelError(f"The self-test in {folder} has a probability that is not from 0 to 1.")
    _check_files(folder, files)
    if fingerprint != _fingerprint(files, order, frame):
        raise ModelError(f"The fingerprint in {folder} does not belong to its weights, class order and frame rule.")
    return Bundle(folder, str(name), str(fingerprint), labels, frame, probe, facts, mark)


def seal_folder(folder: Path) -> None:
    """Write ``seal.json``: the hashes of the rules, the gate, the router and the description of a model that is done.

    From then on a folder is refused where one of them was changed, removed or added.
    """
    load_bundle(folder)
    write_json(folder / SEAL_FILE, {part: _find_hash(folder / part) for part in _SEALED})


def renew_seal(folder: Path) -> None:
    """Seal a folder anew that was sealed, once a part has been fitted anew."""
    if (folder / SEAL_FILE).exists():
        seal_folder(folder)


def check_seal(folder: Path) -> None:
    """Compare a folder with its seal, if it has one.

    Raises
    ------
    ModelError
        If a part differs, or the seal is damaged.
    """
    if not os.path.lexists(folder / SEAL_FILE):
        return
    try:
        seal = json.loads((folder / SEAL_FILE).read_text(encoding="utf-8"))
        changed = [part for part in _SEALED if seal[part] != _find_hash(folder / part)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{SEAL_FILE} in {folder} is damaged.") from error
    if changed:
        raise ModelError(f"{changed[0]} in {folder} is not the one that {SEAL_FILE} describes.")


def check_probe(bundle: Bundle, probabilities: Mapping[str, float]) -> None:
    """Compare the answer for the probe picture with the stored one: the label-map self-test.

    Raises
    ------
    ModelError
        If a class differs by more than `PROBE_TOLERANCE`.
    """
    for code, expected in bundle.probe.items():
        got = probabilities[code]
        if not abs(got - expected) <= PROBE_TOLERANCE:
            raise ModelError(
                f"The model in {bundle.folder} fails its self-test: {code} should be {expected:.4f} and is {got:.4f}."
            )


def _read_facts(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ModelError(f"The model folder {folder} does not exist.")
    try:
        facts = json.loads((folder / BUNDLE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder} is no model folder: {BUNDLE_FILE} is missing.") from error
    except OSError as error:
        raise ModelError(f"{BUNDLE_FILE} in {folder} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of thousands of digits
        raise ModelError(f"{BUNDLE_FILE} in {folder} is damaged.") from error
    if not isinstance(facts, dict):
        raise ModelError(f"{BUNDLE_FILE} in {folder} is damaged.")
    return facts


def _describe_labels(labels: LabelSet) -> dict[str, Any]:
    """Name a label set of ours; spell out a user's own."""
    facts: dict[str, Any] = {"set": labels.name, "order": list(labels.codes)}
    if labels.name in _LABEL_SETS:
        return facts
    facts["malignant"] = list(labels.malignant_codes)
    if labels.names != labels.codes:
        facts["names"] = dict(zip(labels.codes, labels.names, strict=True))
    if labels.dermoscopy_codes:
        facts["dermoscopy"] = list(labels.dermoscopy_codes)
    return facts


def _own_labels(name: str, facts: Mapping[str, Any]) -> LabelSet | None:
    if "malignant" not in facts:
        return None
    names, dermoscopy = facts.get("names", {}), facts.get("dermoscopy", [])
    try:
        if not (isinstance(names, dict) and isinstance(dermoscopy, list)):
            raise TypeError("names are a mapping and dermoscopy is a list.")
        if not all(isinstance(text, str) for text in [*names.values(), *dermoscopy]):
            raise TypeError("names and codes are text.")
        return label_sets.build_label_set(
            str(name),
            [str(code) for code in facts["order"]],
            names=names,
            malignant=[str(code) for code in facts["malignant"]],
            dermoscopy=dermoscopy,
        )
    except (ValueError, TypeError) as error:
        raise ModelError(f"{BUNDLE_FILE} describes impossible classes: {error}") from error


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for part in (EXPORT_FILE, PROBE_FILE):
        if part not in files:
            raise ModelError(f"{BUNDLE_FILE} in {folder} has no hash for {part}.")
    for part, expected in files.items():
        if not part or Path(part).name != part:
            raise ModelError(f"{BUNDLE_FILE} in {folder} names a file outside its folder: {part!r}.")
        try:
            if not (folder / part).is_file():
                raise ModelError(f"{part} is missing in {folder}.")
            found = hash_file(folder / part)
        except OSError as error:
            raise ModelError(f"{part} in {folder} cannot be read ({error.strerror}).") from error
        if found != expected:
            raise ModelError(f"{part} in {folder} is not the file that {BUNDLE_FILE} describes (its hash differs).")


def _find_hash(path: Path) -> str | None:
    return hash_file(path) if os.path.lexists(path) else None


def _fingerprint(files: Mapping[str, str], order: tuple[str, ...], frame: FrameRule) -> str:
    # An ensemble has no Keras file of its own.
    text = json.dumps([files.get(KERAS_FILE), files[EXPORT_FILE], list(order), frame.as_dict()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
