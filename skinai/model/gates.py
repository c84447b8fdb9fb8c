"""The gate before the answer: is this a dermoscopy picture, and one that can be judged? Imports no TensorFlow.

A small network with one hidden layer looks at what can be measured on the frame (:mod:`skinai.data.quality`) and at
where the frame lies among the training pictures in the big network's own space. It tells dermoscopy from the kinds of
picture that are refused; the threshold is fitted on `valid`.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skinai.artefacts import hash_file
from skinai.data.quality import MEASURES, measure_frame
from skinai.errors import ModelError
from skinai.model.reference import ReferenceIndex

GATES_FILE, GATE_WEIGHTS_FILE = "gates.json", "gates.npz"
# The kinds that the gate tells apart; the first one passes. A sentence for each of the others.
PASSES = "dermoscopy"
SENTENCES = {
    "low_detail": "The picture shows too little detail: it looks like a small picture that was enlarged.",
    "blurred": "The picture is blurred.",
    "no_lesion": "No lesion stands in the middle of the picture: it is absent or cut off.",
    "colours": "Colours, contrast or brightness are not those of the dermoscopy pictures that the model knows.",
    "not_dermoscopy": "This does not look like a picture taken with a dermatoscope.",
}
KINDS = (PASSES, *SENTENCES)


@dataclass(frozen=True)
class Verdict:
    """What the gate says about one picture.

    Attributes
    ----------
    probability : float
        Of being a dermoscopy picture that can be judged, 0 to 1.
    reason : str or None
        The kind, one of `SENTENCES`, for which the picture is refused; None if it passes.
    """

    probability: float
    reason: str | None

    @property
    def sentence(self) -> str | None:
        """The reason in one sentence."""
        return None if self.reason is None else SENTENCES[self.reason]


@dataclass(frozen=True)
class Gates:
    """A fitted gate.

    Attributes
    ----------
    threshold : float
        Least probability of dermoscopy that passes.
    mean, scale : ndarray of shape (features,)
        Features are brought to mean 0 and spread 1 by them.
    hidden, hidden_bias : ndarray of shape (features, units) and (units,)
    last, last_bias : ndarray of shape (units, len(KINDS)) and (len(KINDS),)
    """

    threshold: float
    mean: np.ndarray
    scale: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    last: np.ndarray
    last_bias: np.ndarray

    def tell_kinds(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of each kind, shape (n, len(KINDS)), for features of shape (n, features)."""
        hidden = np.maximum((features - self.mean) / self.scale @ self.hidden + self.hidden_bias, 0)
        logits = hidden @ self.last + self.last_bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def judge(self, features: np.ndarray) -> Verdict:
        """Return the verdict for the features of one picture, shape (features,)."""
        kinds = self.tell_kinds(features[None])[0]
        reason = None if kinds[0] >= self.threshold else KINDS[1 + int(kinds[1:].argmax())]
        return Verdict(float(kinds[0]), reason)


def build_features(frame: np.ndarray, embedding: np.ndarray, reference: ReferenceIndex) -> np.ndarray:
    """Return what the gate looks at, shape (features,), float32.

    Parameters
    ----------
    frame : ndarray of shape (height, width, 3), uint8
    embedding : ndarray of shape (channels,)
        The network's for this frame.
    reference : ReferenceIndex
        The model's.
    """
    return np.concatenate([measure_frame(frame), reference.locate(embedding)])


def count_features(reference: ReferenceIndex) -> int:
    """Return how many numbers :func:`build_features` gives."""
    return len(MEASURES) + len(reference.directions) + 1


def read_gates(folder: Path, *, fingerprint: str) -> Gates | None:
    """Read a model's gate; None where none was fitted.

    Raises
    ------
    ModelError
        If a part is missing or damaged, or the gate belongs to another model.
    """
    path = folder / GATES_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        owner, threshold, expected = str(facts["fingerprint"]), float(facts["threshold"]), facts["weights_sha256"]
        kinds, measures = list(facts["kinds"]), list(facts["measures"])
        weights = folder / GATE_WEIGHTS_FILE
        found = hash_file(weights)
        with weights.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = ("mean", "scale", "hidden", "hidden_bias", "last", "last_bias")
            gates = Gates(threshold, *(file[name].astype(np.float32) for name in names))
    except FileNotFoundError as error:
        if Path(str(error.filename)).name == GATES_FILE:
            return None
        raise ModelError(f"{GATE_WEIGHTS_FILE} is missing in {folder}.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise ModelError(f"The gate in {folder} is damaged.") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"The gate in {folder} is damaged.") from error
    if owner != fingerprint:
        raise ModelError(f"{path} belongs to the model {owner}.")
    if found != expected or kinds != list(KINDS) or measures != list(MEASURES) or not _fits_together(gates):
        raise ModelError(f"The gate in {folder} is damaged.")
    return gates


def read_refused_counts(folder: Path) -> dict[str, tuple[int, int]]:
    """Return how many pictures of each kind the gate refused when it was fitted, and of how many; empty without a gate.

    ``valid`` is dermoscopy that the threshold was fitted on; the other kinds were held out.

    Raises
    ------
    ModelError
        If ``gates.json`` is damaged.
    """
    try:
        facts = json.loads((folder / GATES_FILE).read_text(encoding="utf-8"))
        counts = {"valid": facts["valid"], **facts["held_out"]}
        return {kind: (int(count["refused"]), int(count["pictures"])) for kind, count in counts.items()}
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, OSError) as error:
        raise ModelError(f"The gate in {folder} is damaged.") from error


def describe_gates(gates: Gates, *, fingerprint: str, weights_sha256: str) -> dict[str, Any]:
    """Return what :func:`read_gates` expects in ``gates.json``; the weights lie in ``gates.npz``."""
    return {
        "fingerprint": fingerprint,
        "threshold": gates.threshold,
        "kinds": list(KINDS),
        "measures": list(MEASURES),
        "weights_sha256": weights_sha256,
    }


def _fits_together(gates: Gates) -> bool:
    arrays = (gates.mean, gates.scale, gates.hidden, gates.hidden_bias, gates.last, gates.last_bias)
    features, units = gates.hidden.shape if gates.hidden.ndim == 2 else (-1, -1)
    shapes = ((features,), (features,), (features, units), (units,), (units, len(KINDS)), (len(KINDS),))
    return all(array.shape == shape and np.isfinite(array).all() for array, shape in zip(arrays, shapes, strict=True))
