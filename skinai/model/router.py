"""The router: is a picture dermoscopy, a clinical photograph, or neither? Imports no TensorFlow.

It lies in the folder of the model for clinical photographs and looks through that model's eyes: a small network over
what can be measured on the frame (:mod:`skinai.data.quality`) and over where the network's embedding lies along the
directions in which pictures of the three kinds differ most. Whether a picture of its kind can be judged is the gates'
question, not the router's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skinai.artefacts import hash_file
from skinai.data.quality import MEASURES, measure_frame
from skinai.errors import ModelError
from skinai.model.perceptron import Perceptron, read_arrays
from skinai.model.reference import locate

ROUTER_FILE, ROUTER_WEIGHTS_FILE = "router.json", "router.npz"
DERMOSCOPY, CLINICAL, NEITHER = "dermoscopy", "clinical", "neither"
ROUTES = (DERMOSCOPY, CLINICAL, NEITHER)
NEITHER_SENTENCE = "This looks neither like a dermoscopy picture nor like a photograph of diseased skin."


@dataclass(frozen=True)
class Route:
    """What the router says about one picture.

    Attributes
    ----------
    kind : str
        One of `ROUTES`.
    shares : mapping of str to float
        The router's probability of each.
    """

    kind: str
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Router:
    """A fitted router.

    Attributes
    ----------
    network : Perceptron
        Tells `ROUTES` apart, in their order.
    centre, directions : ndarray of shape (embedding_size,) and (dimensions, embedding_size)
        What an embedding of length 1 is projected on.
    thresholds : mapping of str to float
        Least probability of dermoscopy and of a clinical photograph; a picture that reaches neither is neither.
    """

    network: Perceptron
    centre: np.ndarray
    directions: np.ndarray
    thresholds: Mapping[str, float]

    def build_features(self, frame: np.ndarray, embedding: np.ndarray) -> np.ndarray:
        """Return what the router looks at, shape (features,), float32.

        Parameters
        ----------
        frame : ndarray of shape (height, width, 3), uint8
            As the model for clinical photographs is shown it.
        embedding : ndarray of shape (embedding_size,)
            That model's, for this frame.
        """
        return np.concatenate([measure_frame(frame), locate(embedding, self.centre, self.directions)])

    def choose(self, shares: np.ndarray) -> np.ndarray:
        """Return positions in `ROUTES`, shape (n,), for probabilities of shape (n, 3)."""
        reached = [shares[:, index] >= self.thresholds[kind] for index, kind in enumerate(ROUTES[:2])]
        likelier = shares[:, :2].argmax(axis=1)
        return np.where(reached[0] & reached[1], likelier, np.where(reached[0], 0, np.where(reached[1], 1, 2)))

    def route(self, features: np.ndarray) -> Route:
        """Return the route of one picture from its features, shape (features,)."""
        shares = self.network.tell_kinds(features[None])
        kind = ROUTES[int(self.choose(shares)[0])]
        return Route(kind, dict(zip(ROUTES, (float(value) for value in shares[0]), strict=True)))


def read_router(folder: Path, *, fingerprint: str, embedding_size: int) -> Router | None:
    """Read the router of a model; None where none was fitted.

    Parameters
    ----------
    folder : Path
    fingerprint : str
        The model's.
    embedding_size : int
        Length of the model's embedding.

    Raises
    ------
    ModelError
        If a part is missing or damaged, or the router belongs to another model.
    """
    facts = read_router_facts(folder)
    if facts is None:
        return None
    weights = folder / ROUTER_WEIGHTS_FILE
    network, others = read_arrays(weights, "centre", "directions")
    damaged = ModelError(f"The router in {folder} is damaged.")
    try:
        owner, expected = str(facts["fingerprint"]), facts["weights_sha256"]
        thresholds = {kind: float(facts["thresholds"][kind]) for kind in ROUTES[:2]}
        described = tuple(facts["routes"]) == ROUTES and list(facts["measures"]) == list(MEASURES)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged from error
    if owner != fingerprint:
        raise ModelError(f"{folder / ROUTER_FILE} belongs to the model {owner}.")
    router = Router(network, others["centre"], others["directions"], thresholds)
    fits = (
        router.directions.ndim == 2
        and router.centre.shape == (embedding_size,)
        and router.directions.shape[1] == embedding_size
        and network.mean.shape == (len(MEASURES) + len(router.directions) + 1,)
        and all(np.isfinite(array).all() for array in (router.centre, router.directions))
        and all(0 < value < 1 for value in thresholds.values())
        and network.fits(kinds=len(ROUTES))
    )
    if hash_file(weights) != expected or not described or not fits:
        raise damaged
    return router


def read_router_facts(folder: Path) -> dict[str, Any] | None:
    """Return what ``router.json`` says, with the counts of its fit under ``held_out``; None where there is none.

    Raises
    ------
    ModelError
        If it is damaged.
    """
    try:
        facts = json.loads((folder / ROUTER_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise ModelError(f"{ROUTER_FILE} in {folder} is damaged.") from error
    if not isinstance(facts, dict):
        raise ModelError(f"{ROUTER_FILE} in {folder} is damaged.")
    return facts


def expect_route(name: str) -> str:
    """Return where pictures of a kind that the fit counted belong.

    >>> expect_route("dermoscopy_marked"), expect_route("drawn_photographs"), expect_route("natural")
    ('dermoscopy', 'clinical', 'neither')
    """
    if name.startswith("dermoscopy") or name == "drawn_lesions":
        return DERMOSCOPY
    return CLINICAL if name.startswith("clinical") or name == "drawn_photographs" else NEITHER


def read_routed_counts(folder: Path) -> dict[str, dict[str, int]]:
    """Return where pictures that were held out from the fit went: their kind to ``pictures`` and a count a route.

    Empty without a router.

    Raises
    ------
    ModelError
        If ``router.json`` is damaged.
    """
    facts = read_router_facts(folder)
    if facts is None:
        return {}
    try:
        return {
            str(name): {key: int(counts[key]) for key in ("pictures", *ROUTES)}
            for name, counts in facts["held_out"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{ROUTER_FILE} in {folder} is damaged.") from error
