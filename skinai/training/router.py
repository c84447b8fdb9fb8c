"""Fit the router: dermoscopy pictures, clinical photographs, and pictures that are neither."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from skinai.artefacts import hash_file, write_json
from skinai.data.images import Mark, cover_mark, frame_picture
from skinai.data.metadata import DataFolder
from skinai.data.quality import MEASURES, measure_frame
from skinai.data.split import SPLIT_FILE, read_split
from skinai.errors import UsageError
from skinai.labels import HAM10000
from skinai.model.bundle import EMBEDDING, EXPORT_FILE, Bundle, load_bundle
from skinai.model.gates import DERMOSCOPY as DERMOSCOPY_GATE
from skinai.model.gates import PHOTOGRAPH
from skinai.model.perceptron import write_arrays
from skinai.model.router import (
    CLINICAL,
    DERMOSCOPY,
    NEITHER,
    ROUTER_FILE,
    ROUTER_WEIGHTS_FILE,
    ROUTES,
    SPACES,
    Router,
    Space,
    build_features,
    choose_route,
    name_arrays,
    read_router,
)
from skinai.model.session import Session
from skinai.training.gates import (
    WRECKS,
    cut_part,
    decode_files,
    draw_documents,
    draw_examples,
    fit_perceptron,
    list_runs,
    list_samples,
    wreck_picture,
)
from skinai.training.run import log_look, with_labels_of

_DIMENSIONS = 80
_PENALTY = 1.0  # on the weights of the small networks
_UNITS, _MEMBERS = 64, 4
# Shares of valid that may go elsewhere. Wanted are .02 and .05 at most on pictures that no choice was made on.
_MISSED_ON_VALID = {DERMOSCOPY: 0.015, CLINICAL: 0.02}
_CROPS = 16
_DERMOSCOPY_FITTED = 1500
_TESTED = 600  # pictures of test of each kind, at most
_AT_ONCE = 64
_SPOILED = 400
_THRESHOLDS = [round(0.02 * step, 2) for step in range(1, 46)]
_RUNS = 4  # of so many runs of pictures that are neither, one is held out


def fit_router(
    folder: Path,
    clinical: DataFolder,
    dermoscopy: DataFolder,
    *,
    dermoscopy_model: Path,
    neither: Path | None = None,
    seed: int = 0,
    say: Callable[[str], object] = print,
) -> Router:
    """Fit the router and write ``router.json`` and ``router.npz`` into the folder of the clinical model.

    It is fitted on `train` of both models' splits, as it is and spoiled, pictures drawn by program, natural pictures
    that come with scikit-image and scikit-learn, documents and patterns drawn, and the pictures in `neither`. Where the
    photographs carry their owner's mark, it is learned from them and laid over half of the other pictures, so that it
    tells nothing. The thresholds are fitted on `valid`. What becomes of pictures that were held out is counted: 600 of
    `test` of each split (logged as a look, though no diagnosis is looked at), crops of every other natural picture,
    newly drawn documents, and pictures in `neither`; with and without the mark.

    Parameters
    ----------
    folder : Path
        The model folder for clinical photographs.
    clinical, dermoscopy : DataFolder
        What the two models were trained on.
    dermoscopy_model : Path
        Model folder whose split divides `dermoscopy`. The router looks through its eyes too, so it has to be at hand
        wherever the router is used; a quick one costs each picture little.
    neither : Path, optional
        A folder of pictures that are neither; its subfolders are searched. Every fourth run of neighbours is held out.
    seed : int
    say : callable
        Receives one sentence at a time.

    Raises
    ------
    UsageError
        If a model is of the other kind, or the data are not those of the models.
    """
    from sklearn.decomposition import PCA

    bundle, other = load_bundle(folder), load_bundle(dermoscopy_model)
    if bundle.labels is HAM10000 or other.labels is not HAM10000:
        raise UsageError(
            "The router goes into a folder for clinical photographs, and the other model has HAM10000's classes."
        )
    clinical, dermoscopy = with_labels_of(bundle, clinical), with_labels_of(other, dermoscopy)
    paths = {CLINICAL: _divide(clinical, bundle), DERMOSCOPY: _divide(dermoscopy, other)}
    rng = np.random.default_rng(seed)
    eyes = _Eyes({CLINICAL: bundle, DERMOSCOPY: other})
    overlay = learn_overlay(paths[CLINICAL]["train"], clinical.mark) if clinical.mark else None

    def see(pictures: Iterable[np.ndarray], *, marked: bool | None = None) -> _Seen:
        """Look at pictures; `marked` lays the mark over all or none of them, and by default over every other one."""

        def lay() -> Iterator[np.ndarray]:
            for number, picture in enumerate(pictures):
                wanted = number % 2 == 1 if marked is None else marked
                yield overlay.lay_over(picture) if overlay is not None and wanted else picture

        return eyes.look(lay())

    say("Looking at dermoscopy pictures.")
    train = [paths[DERMOSCOPY]["train"][row] for row in rng.permutation(len(paths[DERMOSCOPY]["train"]))]
    seen: list[tuple[str, _Seen]] = [(DERMOSCOPY, see(decode_files(train[:_DERMOSCOPY_FITTED])))]
    seen.append((DERMOSCOPY, see(draw_examples(DERMOSCOPY_GATE, seed=1000))))
    valid = {DERMOSCOPY: see(decode_files(paths[DERMOSCOPY]["valid"][::2]))}
    # A picture that cannot be judged still goes to the model for its kind, whose gate says why.
    spoiled = decode_files(train[-_SPOILED:])
    seen.append((DERMOSCOPY, see(_spoil(spoiled, DERMOSCOPY_GATE, rng))))
    seen.append((DERMOSCOPY, see(_spoil(draw_examples(DERMOSCOPY_GATE, seed=3000), DERMOSCOPY_GATE, rng))))
    say("Looking at clinical photographs.")
    for name in _VIEWS:
        seen.append((CLINICAL, eyes.look(_show(paths[CLINICAL]["train"], name, clinical.mark, rng))))
    seen.append((CLINICAL, see(draw_examples(PHOTOGRAPH, seed=1000))))
    chosen = [paths[CLINICAL]["train"][row] for row in rng.permutation(len(paths[CLINICAL]["train"]))[:_SPOILED]]
    spoiled = _show(chosen, "covered", clinical.mark, rng)
    seen.append((CLINICAL, see(_spoil(spoiled, PHOTOGRAPH, rng))))
    seen.append((CLINICAL, see(_spoil(draw_examples(PHOTOGRAPH, seed=3000), PHOTOGRAPH, rng))))
    shown = (view for name in _VIEWS for view in _show(paths[CLINICAL]["valid"], name, clinical.mark, rng))
    valid[CLINICAL] = eyes.look(shown)
    say("Looking at other pictures.")
    natural = list_samples()
    runs = list_runs(neither, one_in=_RUNS) if neither else [[], []]
    fitted, held_natural = natural[0::2], natural[1::2]
    seen.append((NEITHER, see(_crop(fitted, rng))))
    seen.append((NEITHER, see(draw_documents(rng))))
    if neither:
        seen.append((NEITHER, see(_crop(decode_files(runs[0]), rng, count=4))))

    spaces = {}
    for kind in SPACES:
        embeddings = np.concatenate([one.embeddings[kind] for _, one in seen])
        pca = PCA(min(_DIMENSIONS, *np.subtract(embeddings.shape, 1)), svd_solver="randomized", random_state=0)
        pca.fit(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
        halved = (values.astype(np.float16).astype(np.float32) for values in (pca.mean_, pca.components_))
        spaces[kind] = Space(*halved)
    truth = np.concatenate([np.full(len(one.measures), ROUTES.index(kind)) for kind, one in seen])
    features = np.concatenate([one.build_features(spaces) for _, one in seen])
    network = fit_perceptron(features, truth, seed=seed, penalty=_PENALTY, units=_UNITS, members=_MEMBERS)
    half = network.hidden.astype(np.float16)
    network = replace(network, hidden=half.astype(np.float32))  # as it is read again
    thresholds = set_thresholds(
        {kind: network.tell_kinds(valid[kind].build_features(spaces)) for kind in valid},
        network.tell_kinds(features[truth == ROUTES.index(NEITHER)]),
    )
    router = Router(network, spaces, thresholds, other.name, other.fingerprint)

    def count(one: _Seen) -> dict[str, int]:
        chosen = router.choose(network.tell_kinds(one.build_features(spaces)))
        return {"pictures": len(chosen)} | {kind: int((chosen == index).sum()) for index, kind in enumerate(ROUTES)}

    say("Looking at pictures that were held out.")
    test = {kind: _draw(paths[kind]["test"], rng) for kind in ROUTES[:2]}
    log_look(
        folder,
        bundle,
        pictures=sum(map(len, test.values())),
        purpose="what the router makes of test; no diagnosis was looked at",
    )
    held: dict[str, _Seen] = {}
    for marked in (False, True) if overlay is not None else (False,):
        note = "_marked" if marked else ""
        held["dermoscopy" + note] = see(decode_files(test[DERMOSCOPY]), marked=marked)
        others = [see(_crop(held_natural, rng), marked=marked), see(draw_documents(rng), marked=marked)]
        held["natural" + note], held["documents_and_patterns" + note] = others
        if neither:
            held["other_pictures" + note] = see(_crop(decode_files(runs[1]), rng, count=2), marked=marked)
    for name in _VIEWS:
        held[f"clinical_{name}"] = eyes.look(_show(test[CLINICAL], name, clinical.mark, rng))
    held["drawn_lesions"] = see(draw_examples(DERMOSCOPY_GATE, seed=2000), marked=False)
    held["drawn_photographs"] = see(draw_examples(PHOTOGRAPH, seed=2000), marked=False)

    (folder / ROUTER_FILE).unlink(missing_ok=True)
    arrays = [array for kind in SPACES for array in (spaces[kind].centre, spaces[kind].directions)]
    halves = (array.astype(np.float16) for array in arrays)
    write_arrays(
        folder / ROUTER_WEIGHTS_FILE, replace(network, hidden=half), **dict(zip(name_arrays(), halves, strict=True))
    )
    facts: dict[str, Any] = {
        "fingerprint": bundle.fingerprint,
        "routes": list(ROUTES),
        "measures": list(MEASURES),
        "thresholds": thresholds,
        "weights_sha256": hash_file(folder / ROUTER_WEIGHTS_FILE),
        "second": {"name": other.name, "fingerprint": other.fingerprint},
        "fitted_on": {kind: int((truth == index).sum()) for index, kind in enumerate(ROUTES)},
        "valid": {kind: count(one) for kind, one in valid.items()},
        "held_out": {name: count(one) for name, one in held.items()},
    }
    write_json(folder / ROUTER_FILE, facts)
    for name, counts in facts["held_out"].items():
        shares = ", ".join(f"{counts[kind]} {kind}" for kind in ROUTES if counts[kind])
        say(f"{name.replace('_', ' ')}, {counts['pictures']}: {shares}.")
    found = read_router(folder, fingerprint=bundle.fingerprint, embedding_size=eyes.find_size(CLINICAL))
    assert found is not None
    return found


def set_thresholds(valid: Mapping[str, np.ndarray], neither: np.ndarray) -> dict[str, float]:
    """Return the thresholds of the two kinds, at which most of what is neither is told.

    Of `valid` at most `_MISSED_ON_VALID` may go elsewhere; where no thresholds do that, those that come nearest to it
    are taken. Of equal ones the least, which lose fewest pictures of kinds that `valid` lacks.

    Parameters
    ----------
    valid : mapping of str to ndarray of shape (n, 3)
        Probabilities of `ROUTES` for pictures of `valid`, by their kind.
    neither : ndarray of shape (n, 3)
        Those of pictures that are neither; from the fit, as only the order of thresholds is asked of them.
    """

    def judge(pair: tuple[float, float]) -> tuple[float, float, float]:
        thresholds = dict(zip(ROUTES, pair, strict=False))
        beyond = 0.0
        for index, kind in enumerate(ROUTES[:2]):
            missed = float((choose_route(valid[kind], thresholds) != index).mean())
            beyond = max(beyond, missed - _MISSED_ON_VALID[kind])
        told = float((choose_route(neither, thresholds) == ROUTES.index(NEITHER)).mean())
        return -beyond, told, -sum(pair)

    best = max(((first, second) for first in _THRESHOLDS for second in _THRESHOLDS), key=judge)
    return dict(zip(ROUTES, best, strict=False))


# How a clinical photograph is shown: as it is, with its owner's mark; with the mark covered; a part without it.
_VIEWS = ("as_it_is", "covered", "part")


class Overlay:
    """The owner's mark as it lies over photographs.

    Parameters
    ----------
    cover : ndarray of shape (height, width, 1)
        How much of each pixel it hides, 0 to 1.
    """

    def __init__(self, cover: np.ndarray) -> None:
        self.cover = cover

    def lay_over(self, picture: np.ndarray) -> np.ndarray:
        """Return a picture of any size with the mark over it, in white."""
        height, width = picture.shape[:2]
        cover = cv2.resize(self.cover, (width, height), interpolation=cv2.INTER_AREA)[..., None]
        return np.clip(picture * (1 - cover) + 255 * cover, 0, 255).astype(np.uint8)


def learn_overlay(paths: Sequence[Path], mark: Mark, *, count: int = 600) -> Overlay:
    """Learn a white mark from photographs that all carry it: where their mean is lighter than its surroundings.

    Parameters
    ----------
    paths : sequence of Path
    mark : tuple of float
        Left, top, right and bottom of the rectangle in which it lies, in shares of width and height.
    count : int
        So many of the photographs are looked at.
    """
    width, height = 320, 240
    total, seen = np.zeros((height, width, 3)), 0
    for picture in decode_files(paths[:: max(len(paths) // count, 1)]):
        total += cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        seen += 1
    mean = (total / max(seen, 1)).mean(axis=2).astype(np.float32)
    around = cv2.medianBlur(mean.astype(np.uint8), 41).astype(np.float32)
    cover = np.clip((mean - around - 2) / np.maximum(255 - around, 1), 0, 1)
    inside = np.zeros_like(cover)
    left, top, right, bottom = mark
    inside[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = 1
    return Overlay((cover * inside)[..., None])


class _Seen:
    """What is kept of pictures: measures of their frames, shape (n, measures), and embeddings, shape (n, channels)."""

    def __init__(self, measures: np.ndarray, embeddings: Mapping[str, np.ndarray]) -> None:
        self.measures, self.embeddings = measures, embeddings

    def build_features(self, spaces: Mapping[str, Space]) -> np.ndarray:
        """Return what the router looks at, shape (n, features)."""
        rows = zip(self.measures, *(self.embeddings[kind] for kind in SPACES), strict=True)
        return np.stack([build_features(row[0], dict(zip(SPACES, row[1:], strict=True)), spaces) for row in rows])


class _Eyes:
    """The networks that the router looks through."""

    def __init__(self, bundles: Mapping[str, Bundle]) -> None:
        self.frames = {kind: bundle.frame for kind, bundle in bundles.items()}
        copies = os.cpu_count() or 1
        self.sessions = {
            kind: Session(bundle.folder / EXPORT_FILE, threads=1, copies=copies) for kind, bundle in bundles.items()
        }

    def find_size(self, kind: str) -> int:
        """Return the length of a model's embedding."""
        return self.sessions[kind].embedding_size

    def look(self, pictures: Iterable[np.ndarray]) -> _Seen:
        seen: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
        waiting = iter(pictures)
        with ThreadPoolExecutor() as pool:
            while some := list(islice(waiting, _AT_ONCE)):
                seen += pool.map(self._look_at, some)
        embeddings = {kind: np.stack([places[kind] for _, places in seen]) for kind in SPACES}
        return _Seen(np.stack([measures for measures, _ in seen]), embeddings)

    def _look_at(self, picture: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        frames = {kind: frame_picture(picture, self.frames[kind]) for kind in SPACES}
        return measure_frame(frames[CLINICAL]), {
            kind: self.sessions[kind].run(frames[kind])[EMBEDDING] for kind in SPACES
        }


def _divide(data: DataFolder, bundle: Bundle) -> dict[str, list[Path]]:
    """Return the picture files of each subset of a model's split."""
    subset_of = read_split(bundle.folder / SPLIT_FILE).set_index("image_id")["subset"]
    subsets = data.present["image_id"].map(subset_of)
    paths = {str(name): [Path(path) for path in rows] for name, rows in data.present["path"].groupby(subsets)}
    if set(paths) != {"train", "valid", "test"}:
        raise UsageError(f"{data.path} does not hold the pictures that {bundle.name} was trained and tested on.")
    return paths


def _show(paths: Iterable[Path], view: str, mark: Mark | None, rng: np.random.Generator) -> Iterator[np.ndarray]:
    for picture in decode_files(paths):
        if view == "covered" and mark:
            yield cover_mark(picture, mark)
        elif view == "part":
            yield cut_part(picture, rng)
        else:
            yield picture


def _draw(paths: Sequence[Path], rng: np.random.Generator) -> list[Path]:
    return [paths[row] for row in rng.permutation(len(paths))[:_TESTED]]


def _spoil(pictures: Iterable[np.ndarray], kind: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield pictures spoiled in all ways in turn."""
    ways = list(WRECKS[kind])
    for number, picture in enumerate(pictures):
        yield wreck_picture(picture, ways[number % len(ways)], rng)


def _crop(pictures: Iterable[np.ndarray], rng: np.random.Generator, *, count: int = _CROPS) -> Iterator[np.ndarray]:
    """Yield each picture whole, then parts of it."""
    for picture in pictures:
        yield picture
        for _ in range(count - 1):
            yield cut_part(picture, rng)
