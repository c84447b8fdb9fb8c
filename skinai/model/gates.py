"""The gate before the answer: is this a picture of the model's kind, and one that can be judged? Imports no TensorFlow.

A small network with one hidden layer looks at what can be measured on the frame (:mod:`skinai.data.quality`) and at
where the frame lies among the training pictures in the big network's own space. It tells the model's kind of picture
from the kinds that are refused; the threshold is fitted on `valid`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skinai.data.quality import MEASURES, measure_frame
from skinai.errors import ModelError
from skinai.model.perceptron import Perceptron, read_arrays
from skinai.model.reference import ReferenceIndex

GATES_FILE, GATE_WEIGHTS_FILE = "gates.json", "gates.npz"
# A sentence for each kind that is refused.
SENTENCES = {
    "low_detail": "The picture shows too little detail: it looks like a small picture that was enlarged.",
    "blurred": "The picture is blurred.",
    "no_lesion": "No lesion stands in the middle of the picture: it is absent or cut off.",
    "colours": "Colours, contrast or brightness are not those of the dermoscopy pictures that the model knows.",
    "not_dermoscopy": "This does not look like a picture taken with a dermatoscope.",
    "photo_colours": "Colours, contrast or brightness are not those of the photographs that the model knows.",
    "not_photograph": "This does not look like a photograph of diseased skin.",
}
DERMOSCOPY, PHOTOGRAPH = "dermoscopy", "photograph"
# The kinds that a gate tells apart, by the kind that passes, which is the first.
KINDS = {
    DERMOSCOPY: (DERMOSCOPY, "low_detail", "blurred", "no_lesion", "colours", "not_dermoscopy"),
    PHOTOGRAPH: (PHOTOGRAPH, "low_detail", "blurred", "photo_colours", "not_photograph"),
}


@dataclass(frozen=True)
class Verdict:
    """What the gate says about one picture.

    Attributes
    ----------
    probability : float
        Of being a picture of the model's kind that can be judged, 0 to 1.
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
        Least probability of the kind that passes.
    network : Perceptron
    kinds : tuple of str
        One of the values of `KINDS`; the first one passes.
    """

    threshold: float
    network: Perceptron
    kinds: tuple[str, ...] = KINDS[DERMOSCOPY]

    def judge(self, features: np.ndarray) -> Verdict:
        """Return the verdict for the features of one picture, shape (features,)."""
        kinds = self.network.tell_kinds(features[None])[0]
        reason = None if kinds[0] >= self.threshold else self.kinds[1 + int(kinds[1:].argmax())]
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
        kinds, measures = tuple(facts["kinds"]), list(facts["measures"])
    except FileNotFoundError as error:
        if path.is_symlink():
            raise ModelError(f"{GATES_FILE} in {folder} is a link that leads nowhere.") from error
        return None
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, OSError) as error:
        raise ModelError(f"The gate in {folder} is damaged.") from error
    if owner != fingerprint:
        raise ModelError(f"{path} belongs to the model {owner}.")
    weights = folder / GATE_WEIGHTS_FILE
    network, _ = read_arrays(weights, sha256=expected)
    whole = kinds in KINDS.values() and measures == list(MEASURES) and network.fits(kinds=len(kinds))
    if not whole or not 0 <= threshold <= 1:
        raise ModelError(f"The gate in {folder} is damaged.")
    return Gates(threshold, network, kinds)


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
        "kinds": list(gates.kinds),
        "measures": list(MEASURES),
        "weights_sha256": weights_sha256,
    }
