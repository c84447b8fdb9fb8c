"""Find pictures that show the same lesion twice: the same file, the same pixels, or nearly the same view.

A lesion that was photographed twice and listed twice is shifted, turned and lit differently in the second picture, so
one hash of the whole picture does not find it. Three steps do, each for what the one before left over:

1. a perceptual print of 32 x 24 grey values, compared under shifts as it is and less its broad light and dark, names
   the two dozen likeliest partners of each picture;
2. local features (SIFT, Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94) that agree on one shift, turn and scale
   (RANSAC, Fischler and Bolles 1981) confirm a pair;
3. where few agree, one picture is laid over the other as they say, and the pixels decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from PIL import Image

SAME_FILE, SAME_PIXELS, NEAR = "same file", "same pixels", "near"
# So many partners by the print as it is, and by the print less its broad light and dark.
PARTNERS = (16, 8)
_BROAD = 5.0  # standard deviation of what is taken off, in pixels of the print
_PRINT = (32, 24)
_SHIFTS = [(across, down) for down in range(-6, 7, 2) for across in range(-8, 9, 2)]
_BLOCK = 1024
_VIEW = (320, 240)
_SOFT_PX = 1.5
_OVERLAY = (80, 60)
_FEATURES = 400
_STRONGEST = 100
_FEWEST_STRONG = (
    22  # of the strongest features that find each other; 24 or more in known pairs, 22 or fewer in nine of ten others
)
_RATIO = 0.92  # of the nearest descriptor's distance to the second nearest one's, at most
_REACH_PX = 6.0
_SCALES = (0.6, 1.7)
SURE_MATCHES = 9  # known pairs have 9 or more; pairs of different lesions mostly 6 or fewer
FEW_MATCHES = 8
SURE_SIMILARITY = 0.9


@dataclass(frozen=True)
class Duplicate:
    """Two pictures of the same thing.

    Attributes
    ----------
    first, second : int
        Positions in the list searched; the first is the smaller.
    kind : str
        ``"same file"``, ``"same pixels"`` or ``"near"``.
    matches : int
        Local features that agree; 0 for the first two kinds.
    similarity : float
        Correlation of the grey values where the two overlap once one is laid over the other; 1 for the first two kinds.
    """

    first: int
    second: int
    kind: str
    matches: int = 0
    similarity: float = 1.0


@dataclass(frozen=True)
class Look:
    """What is kept of one picture for the comparison, about 110 kB.

    Attributes
    ----------
    file_hash, pixel_hash : str
    small : ndarray of shape (24, 32), float32
    overlay : ndarray of shape (60, 80), uint8
    points : ndarray of shape (n, 2), float32
        Where the local features are, in pixels of a view of 320 x 240, the strongest first.
    descriptors : ndarray of shape (n, 128), float16
        Of unit length.
    """

    file_hash: str
    pixel_hash: str
    small: np.ndarray
    overlay: np.ndarray
    points: np.ndarray
    descriptors: np.ndarray


def take_look(picture: np.ndarray, *, file_hash: str, pixel_hash: str, detailed: bool = True) -> Look:
    """Reduce one decoded picture to what the comparison needs.

    Parameters
    ----------
    picture : ndarray of shape (height, width, 3), uint8
    file_hash, pixel_hash : str
        Of the file and of the decoded pixels.
    detailed : bool
        Also describe what near-duplicates are found by; without it only exact copies can be found.
    """
    if not detailed:
        nothing = np.zeros((0, 128), np.float16)
        return Look(file_hash, pixel_hash, np.zeros(0, np.float32), np.zeros(0, np.uint8), nothing[:, :2], nothing)
    if picture.shape[0] > picture.shape[1]:
        picture = np.rot90(picture)
    grey = Image.fromarray(picture).convert("L")
    small = np.asarray(grey.resize(_PRINT, Image.Resampling.BOX), dtype=np.float32)
    overlay = np.asarray(grey.resize(_OVERLAY, Image.Resampling.BOX), dtype=np.uint8)
    view = np.asarray(grey.resize(_VIEW, Image.Resampling.BOX), dtype=np.uint8)
    even = cv2.createCLAHE(3.0, (8, 6)).apply(cv2.GaussianBlur(view, (0, 0), _SOFT_PX))
    sift = cv2.SIFT.create(nfeatures=_FEATURES, contrastThreshold=0.002, edgeThreshold=20)
    found, described = sift.detectAndCompute(even, None)
    if described is None or not found:
        points, rooted = np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    else:
        order = np.argsort([-point.response for point in found], kind="stable")
        points = np.array([found[index].pt for index in order], dtype=np.float32)
        # The square root of each entry makes descriptors comparable by the Hellinger distance (Arandjelovic and
        # Zisserman 2012, doi:10.1109/CVPR.2012.6248018).
        rooted = np.sqrt(described[order] / np.maximum(described[order].sum(axis=1, keepdims=True), 1e-6))
    return Look(file_hash, pixel_hash, small, overlay, points, rooted.astype(np.float16))


def find_duplicates(
    looks: Sequence[Look], *, near: bool = True, on_progress: Callable[[float], object] = lambda share: None
) -> list[Duplicate]:
    """Return the pairs that show the same thing, exact ones first, then by the number of matches.

    Parameters
    ----------
    looks : sequence of Look
    near : bool
        Also look for near-duplicates; the looks are detailed then.
    on_progress : callable
        Called with the share done, 0 to 1.

    Notes
    -----
    Comparing n pictures takes about n^2 x 60 multiplications of prints, so four times as long for twice as many.
    """
    exact = _find_exact(looks)
    if not near:
        return exact
    candidates = find_partners(looks, on_progress=lambda share: on_progress(share / 3))
    waiting = [pair for pair in candidates if looks[pair[0]].pixel_hash != looks[pair[1]].pixel_hash]
    found: list[Duplicate] = []
    with ThreadPoolExecutor() as pool:
        compared = pool.map(lambda pair: compare_looks(looks[pair[0]], looks[pair[1]]), waiting, chunksize=256)
        for done, ((first, second), (matches, similarity)) in enumerate(zip(waiting, compared, strict=True), start=1):
            if is_near(matches, similarity):
                found.append(Duplicate(first, second, NEAR, matches, similarity))
            if done % 256 == 0:
                on_progress(1 / 3 + 2 / 3 * done / len(waiting))
    on_progress(1.0)
    return exact + sorted(found, key=lambda pair: (-pair.matches, pair.first, pair.second))


def is_near(matches: int, similarity: float) -> bool:
    """Return whether so many matches, or fewer that the pixels bear out, mean the same lesion."""
    return matches >= SURE_MATCHES or (matches >= FEW_MATCHES and similarity >= SURE_SIMILARITY)


def find_partners(
    looks: Sequence[Look], *, on_progress: Callable[[float], object] = lambda share: None
) -> list[tuple[int, int]]:
    """Return the pairs in which one is among the other's likeliest partners by the perceptual print.

    The likeness of two prints is their greatest correlation over shifts of up to a quarter of each side.
    """
    if len(looks) < 2:
        return []
    plain = np.stack([look.small for look in looks])
    fine = np.stack([small - cv2.GaussianBlur(small, (0, 0), _BROAD) for small in plain])
    found: set[tuple[int, int]] = set()
    for turn, (prints, partners) in enumerate(zip((plain, fine), PARTNERS, strict=True)):

        def tell(share: float, turn: int = turn) -> None:
            on_progress((turn + share) / len(PARTNERS))

        found |= _find_partners(prints, partners, tell)
    return sorted(found)


def compare_looks(one: Look, other: Look) -> tuple[int, float]:
    """Return how many local features of two pictures agree on one shift, turn and scale, and how alike they are then.

    Returns
    -------
    matches : int
    similarity : float
        Correlation of the grey values where they overlap, -1 to 1; 0 where too few features agree to lay one over the
        other.
    """
    if min(len(one.points), len(other.points)) < 2:
        return 0, 0.0
    # Most pairs are told apart by their strongest features alone.
    mine, _ = _match(one.descriptors[:_STRONGEST], other.descriptors[:_STRONGEST])
    if len(mine) < min(_FEWEST_STRONG, len(one.points) // 4, len(other.points) // 4):
        return 0, 0.0
    mine, theirs = _match(one.descriptors, other.descriptors)
    if len(mine) < FEW_MATCHES:
        return 0, 0.0
    cv2.setRNGSeed(0)
    matrix, agree = cv2.estimateAffinePartial2D(
        one.points[mine], other.points[theirs], ransacReprojThreshold=_REACH_PX, maxIters=2000, confidence=0.999
    )
    if matrix is None or not _SCALES[0] < float(np.hypot(matrix[0, 0], matrix[1, 0])) < _SCALES[1]:
        return 0, 0.0
    matches = int(agree.sum())
    return matches, _overlap(one.overlay, other.overlay, matrix) if matches >= FEW_MATCHES else 0.0


def _find_partners(prints: np.ndarray, partners: int, on_progress: Callable[[float], object]) -> set[tuple[int, int]]:
    """Return the pairs in which one is among the other's likeliest partners by these prints."""
    count = len(prints)
    keep = min(partners, count - 1)
    scores = np.full((count, keep), -2.0, dtype=np.float32)
    names = np.zeros((count, keep), dtype=np.int32)
    blocks = [(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
    pairs = [(one, other) for index, one in enumerate(blocks) for other in blocks[index:]]
    for done, (one, other) in enumerate(pairs, start=1):
        likeness = _compare_prints(prints[slice(*one)], prints[slice(*other)])
        if one == other:
            np.fill_diagonal(likeness, -2.0)
        _keep_best(scores, names, likeness, one, other)
        if one != other:
            _keep_best(scores, names, likeness.T, other, one)
        on_progress(done / len(pairs))
    return {
        (min(row, int(name)), max(row, int(name)))
        for row in range(count)
        for name, score in zip(names[row], scores[row], strict=True)
        if score > -2.0
    }


def _find_exact(looks: Sequence[Look]) -> list[Duplicate]:
    pairs: dict[tuple[int, int], Duplicate] = {}
    for kind, attribute in ((SAME_FILE, "file_hash"), (SAME_PIXELS, "pixel_hash")):
        places: dict[str, list[int]] = {}
        for place, look in enumerate(looks):
            places.setdefault(getattr(look, attribute), []).append(place)
        for same in places.values():
            # Each with the one before it: n copies are n - 1 pairs, and not n squared.
            for first, second in pairwise(same):
                pairs.setdefault((first, second), Duplicate(first, second, kind))
    return sorted(pairs.values(), key=lambda pair: (pair.kind, pair.first, pair.second))


def _compare_prints(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the greatest correlation over all shifts, shape (len(one), len(other))."""
    width, height = _PRINT
    best = np.full((len(one), len(other)), -1.0, dtype=np.float32)
    for across, down in _SHIFTS:
        mine = one[:, max(down, 0) : height + min(down, 0), max(across, 0) : width + min(across, 0)]
        theirs = other[:, max(-down, 0) : height + min(-down, 0), max(-across, 0) : width + min(-across, 0)]
        np.maximum(best, _standardise(mine) @ _standardise(theirs).T, out=best)
    return best


def _standardise(prints: np.ndarray) -> np.ndarray:
    flat = prints.reshape(len(prints), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6)


def _keep_best(
    scores: np.ndarray, names: np.ndarray, likeness: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    """Merge the likeness of `rows` to `columns` into the best partners so far, in place."""
    keep = scores.shape[1]
    others = np.broadcast_to(np.arange(*columns, dtype=np.int32), likeness.shape)
    all_scores = np.concatenate([scores[slice(*rows)], likeness], axis=1)
    all_names = np.concatenate([names[slice(*rows)], others], axis=1)
    best = np.argpartition(-all_scores, keep - 1, axis=1)[:, :keep]
    scores[slice(*rows)] = np.take_along_axis(all_scores, best, axis=1)
    names[slice(*rows)] = np.take_along_axis(all_names, best, axis=1)


def _match(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the features that are each other's nearest, and clearly nearer than the next one."""
    likeness = one.astype(np.float32) @ other.astype(np.float32).T
    nearest, back = likeness.argmax(axis=1), likeness.argmax(axis=0)
    mutual = np.flatnonzero(back[nearest] == np.arange(len(one)))
    two = -np.partition(-likeness[mutual], 1, axis=1)[:, :2]
    distance = np.sqrt(np.maximum(2 - 2 * two, 0))
    taken = mutual[distance[:, 0] < _RATIO * distance[:, 1]]
    return taken, nearest[taken]


def _overlap(one: np.ndarray, other: np.ndarray, matrix: np.ndarray) -> float:
    """Return the correlation of `one`, laid over `other` by `matrix`, with it where they overlap."""
    smaller = matrix.copy()
    smaller[:, 2] *= _OVERLAY[0] / _VIEW[0]
    laid = cv2.warpAffine(one.astype(np.float32), smaller, _OVERLAY)
    inside = cv2.warpAffine(np.ones(one.shape, np.float32), smaller, _OVERLAY) > 0.99
    if inside.mean() < 0.3:
        return 0.0
    mine, theirs = laid[inside], other[inside].astype(np.float32)
    mine, theirs = mine - mine.mean(), theirs - theirs.mean()
    return float(mine @ theirs / (np.linalg.norm(mine) * np.linalg.norm(theirs) + 1e-6))
