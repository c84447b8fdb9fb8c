"""Which model answers for a picture: the one for dermoscopy, the one for clinical photographs, or neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from skinai.data.images import frame_picture
from skinai.errors import ModelError
from skinai.labels import HAM10000
from skinai.model.bundle import EMBEDDING, models_folder
from skinai.model.router import CLINICAL, DERMOSCOPY, NEITHER, ROUTER_FILE, Route, Router, read_router
from skinai.serving.assessment import Assessor
from skinai.serving.predictor import Predictor


@dataclass(frozen=True)
class Routing:
    """Which model answers for the pictures of one lesion, and who decided that.

    Attributes
    ----------
    routes : tuple of Route
        What the router says of each picture; empty where there is no router.
    answered_by : str or None
        ``"dermoscopy"`` or ``"clinical"``; None where neither model is fit and nobody overruled the router.
    """

    routes: tuple[Route, ...]
    answered_by: str | None

    @property
    def proposed(self) -> str | None:
        """The kind that the router finds all pictures to be; None where they differ or are neither."""
        return find_common(self.routes)

    @property
    def overruled(self) -> bool:
        """Whether the user chose a model that the router did not propose."""
        return bool(self.routes) and self.answered_by is not None and self.answered_by != self.proposed

    def as_dict(self) -> dict[str, Any]:
        """Return what a document says of it."""
        return {
            "answered_by": self.answered_by,
            "overruled": self.overruled,
            "pictures": [
                {"kind": route.kind} | {f"share_{kind}": round(share, 6) for kind, share in route.shares.items()}
                for route in self.routes
            ],
        }


class Desk:
    """The models at hand, and the router between them.

    Parameters
    ----------
    assessors : mapping of str to Assessor
        Under ``"dermoscopy"`` the model in use, whatever its classes, and under ``"clinical"`` the one for photographs,
        where both are at hand.
    router : Router or None
        None where there is one model only.
    second : Predictor or None
        The model for dermoscopy that the router looks through, beside the one for photographs.
    """

    def __init__(
        self, assessors: Mapping[str, Assessor], router: Router | None = None, second: Predictor | None = None
    ) -> None:
        self.assessors, self.router, self.second = dict(assessors), router, second

    @classmethod
    def load(cls, folder: Path, clinical: Path | None = None, *, threads: int = 2, copies: int = 1) -> Desk:
        """Load the model in use and, for HAM10000's classes, the model for clinical photographs with its router.

        Parameters
        ----------
        folder, clinical : Path
        threads, copies : int
            Of each model's interpreters, see :class:`skinai.model.session.Session`.

        Raises
        ------
        ModelError
            If a folder is refused.
        """
        load = partial(Assessor.load, threads=threads, copies=copies)
        return cls.join(load(folder), load(clinical) if clinical else None, threads=threads, copies=copies)

    @classmethod
    def join(cls, main: Assessor, clinical: Assessor | None, *, threads: int = 2, copies: int = 1) -> Desk:
        """Put two loaded models beside each other.

        `threads` and `copies` are for the model that the router looks through, where it is neither of them.

        Raises
        ------
        ModelError
            If the router of the second is damaged, or the model that it looks through is not at hand.
        """
        if clinical is None or main.predictor.bundle.labels is not HAM10000:
            return cls({DERMOSCOPY: main})
        bundle = clinical.predictor.bundle
        size = clinical.predictor.session.embedding_size
        router = read_router(bundle.folder, fingerprint=bundle.fingerprint, embedding_size=size)
        if router is None:
            raise ModelError(f"{bundle.name} has no router, so it cannot answer beside another model.")
        second = _find_second(router, main.predictor, bundle.folder, threads=threads, copies=copies)
        return cls({DERMOSCOPY: main, CLINICAL: clinical}, router, second)

    @property
    def main(self) -> Assessor:
        """The model in use."""
        return self.assessors[DERMOSCOPY]

    def route(self, pictures: Sequence[np.ndarray], *, chosen: str | None = None) -> Routing:
        """Say which model answers for pictures of one lesion.

        Parameters
        ----------
        pictures : sequence of ndarray of shape (height, width, 3), uint8
        chosen : str, optional
            The kind whose model the user wants, whatever the router says.
        """
        if self.router is None:
            return Routing((), DERMOSCOPY)
        routes = tuple(self._route_one(picture) for picture in pictures)
        return Routing(routes, chosen or find_common(routes))

    def _route_one(self, picture: np.ndarray) -> Route:
        assert self.router is not None
        assert self.second is not None
        looks = {CLINICAL: self.assessors[CLINICAL].predictor, DERMOSCOPY: self.second}
        frames = {kind: frame_picture(picture, predictor.bundle.frame) for kind, predictor in looks.items()}
        embeddings = {kind: looks[kind].session.run(frame)[EMBEDDING] for kind, frame in frames.items()}
        return self.router.route(self.router.build_features(frames[CLINICAL], embeddings))


def _find_second(router: Router, main: Predictor, folder: Path, *, threads: int, copies: int) -> Predictor:
    """Return the model for dermoscopy that the router in a folder looks through: the one in use, or one beside it."""
    if main.bundle.fingerprint == router.second_fingerprint:
        return main
    for place in (folder.parent, models_folder()):
        if (place / router.second_name).is_dir():
            second = Predictor.load(place / router.second_name, threads=threads, copies=copies)
            size = second.session.embedding_size
            if second.bundle.fingerprint == router.second_fingerprint and router.spaces[DERMOSCOPY].fits(size):
                return second
    raise ModelError(
        f"{ROUTER_FILE} in {folder} looks through the model {router.second_name} {router.second_fingerprint} too, "
        "which is not at hand."
    )


def find_common(routes: Sequence[Route]) -> str | None:
    """Return the kind that all pictures are; None where they differ, are neither, or there is none."""
    kinds = {route.kind for route in routes}
    return kinds.pop() if len(kinds) == 1 and kinds != {NEITHER} else None
