"""The router: is a picture dermoscopy, a clinical photograph, or neither? Imports no TensorFlow.

It lies in the folder of the model for clinical photographs and looks through the eyes of two models, that one and one
for dermoscopy: a small network over what can be measured on the frame (:mod:`skinai.data.quality`) and over where each
model's embedding lies along the directions in which pictures of the three kinds differ most. Whether a picture of its
kind can be judged is the gates' question, not the router's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skinai.data.quality import MEASURES, measure_frame
from skinai.errors import ModelError
from skinai.model.perceptron import Perceptron, read_arrays
from skinai.model.reference import locate

ROUTER_FILE, ROUTER_WEIGHTS_FILE = "router.json", "router.npz"
DERMOSCOPY, CLINICAL, NEITHER = "dermoscopy", "clinical", "neither"
ROUTES = (DERMOSCOPY, CLINICAL, NEITHER)
SPACES = (CLINICAL, DERMOSCOPY)
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
class Space:
    """What embeddings of one model are projected on.

    Attributes
    ----------
    centre, directions : ndarray of shape (embedding_size,) and (dimensions, embedding_size)
        Of embeddings of length 1.
    """

    centre: np.ndarray
    directions: np.ndarray

    def fits(self, embedding_size: int) -> bool:
        """Return whether the arrays belong together, are finite, and suit embeddings of this length."""
        return (
            self.directions.ndim == 2
            and self.centre.shape == (embedding_size,)
            and self.directions.shape[1] == embedding_size
            and all(np.isfinite(array).all() for array in (self.centre, self.directions))
        )


@dataclass(frozen=True)
class Router:
    """A fitted router.

    Attributes
    ----------
    network : Perceptron
        Tells `ROUTES` apart, in their order.
    spaces : mapping of str to Space
        For embeddings of the model for clinical photographs (``"clinical"``) and of the one for dermoscopy
        (``"dermoscopy"``).
    thresholds : mapping of str to float
        Least probability of dermoscopy and of a clinical photograph; a picture that reaches neither is neither.
    second_name, second_fingerprint : str
        The model for dermoscopy that the router looks through.
    """

    network: Perceptron
    spaces: Mapping[str, Space]
    thresholds: Mapping[str, float]
    second_name: str
    second_fingerprint: str

    def build_features(self, frame: np.ndarray, embeddings: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what the router looks at, shape (features,), float32.

        Parameters
        ----------
        frame : ndarray of shape (height, width, 3), uint8
            As the model for clinical photographs is shown it.
        embeddings : mapping of str to ndarray of shape (embedding_size,)
            Of each of the two models, for the frame that it is shown.
        """
        return build_features(measure_frame(frame), embeddings, self.spaces)

    def choose(self, shares: np.ndarray) -> np.ndarray:
        """Return positions in `ROUTES`, shape (n,), for probabilities of shape (n, 3)."""
        return choose_route(shares, self.thresholds)

    def route(self, features: np.ndarray) -> Route:
        """Return the route of one picture from its features, shape (features,)."""
        shares = self.network.tell_kinds(features[None])
        kind = ROUTES[int(self.choose(shares)[0])]
        return Route(kind, dict(zip(ROUTES, (float(value) for value in shares[0]), strict=True)))


def choose_route(shares: np.ndarray, thresholds: Mapping[str, float]) -> np.ndarray:
    """Return positions in `ROUTES`, shape (n,), for probabilities of shape (n, 3) and the two kinds' thresholds.

    A picture is of the kind whose threshold it reaches, of the likelier one if it reaches both, and else neither.

    >>> shares = np.array([[0.5, 0.4, 0.1], [0.5, 0.2, 0.3], [0.1, 0.3, 0.6]])
    >>> [ROUTES[index] for index in choose_route(shares, {"dermoscopy": 0.3, "clinical": 0.25})]
    ['dermoscopy', 'dermoscopy', 'clinical']
    """
    reached = [shares[:, index] >= thresholds[kind] for index, kind in enumerate(ROUTES[:2])]
    likelier = shares[:, :2].argmax(axis=1)
    return np.where(reached[0] & reached[1], likelier, np.where(reached[0], 0, np.where(reached[1], 1, 2)))


def build_features(
    measures: np.ndarray, embeddings: Mapping[str, np.ndarray], spaces: Mapping[str, Space]
) -> np.ndarray:
    """Return what a router looks at, shape (features,), from the measures of a frame, shape (measures,)."""
    places = [locate(embeddings[kind], spaces[kind].centre, spaces[kind].directions) for kind in SPACES]
    return np.concatenate([measures, *places])


def read_router(folder: Path, *, fingerprint: str, embedding_size: int) -> Router | None:
    """Read the router of a model; None where none was fitted.

    Parameters
    ----------
    folder : Path
    fingerprint : str
        The model's.
    embedding_size : int
        Length of the model's embedding. Whether the second model's suits the router is left to whoever loads it.

    Raises
    ------
    ModelError
        If a part is missing or damaged, or the router belongs to another model.
    """
    facts = read_router_facts(folder)
    if facts is None:
        return None
    damaged = ModelError(f"The router in {folder} is damaged.")
    try:
        owner, expected = str(facts["fingerprint"]), facts["weights_sha256"]
        thresholds = {kind: float(facts["thresholds"][kind]) for kind in ROUTES[:2]}
        described = tuple(facts["routes"]) == ROUTES and list(facts["measures"]) == list(MEASURES)
        second = str(facts["second"]["name"]), str(facts["second"]["fingerprint"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise damaged from error
    if owner != fingerprint:
        raise ModelError(f"{folder / ROUTER_FILE} belongs to the model {owner}.")
    network, arrays = read_arrays(folder / ROUTER_WEIGHTS_FILE, *name_arrays(), sha256=expected)
    spaces = {kind: Space(*(arrays[name] for name in name_arrays(kind))) for kind in SPACES}
    fits = (
        spaces[CLINICAL].fits(embedding_size)
        and spaces[DERMOSCOPY].fits(spaces[DERMOSCOPY].centre.size)
        and network.mean.shape == (len(MEASURES) + sum(len(space.directions) + 1 for space in spaces.values()),)
        and all(0 < value < 1 for value in thresholds.values())
        and network.fits(kinds=len(ROUTES))
        and second[0] not in ("", ".", "..")
        and Path(second[0]).name == second[0]
    )
    if not described or not fits:
        raise damaged
    return Router(network, spaces, thresholds, *second)


def name_arrays(*kinds: str) -> list[str]:
    """Return what the arrays of spaces are called in the file; of both by default.

    >>> name_arrays("clinical")
    ['clinical_centre', 'clinical_directions']
    """
    return [f"{kind}_{part}" for kind in kinds or SPACES for part in ("centre", "directions")]


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
    except (ValueError, RecursionError, OSError) as error:
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
