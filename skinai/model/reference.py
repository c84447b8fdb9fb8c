"""The reference index: where the training pictures lie in the network's own space. Imports no TensorFlow.

An embedding is scaled to length 1 and projected onto the directions in which the training pictures differ most, so
that thousands of pictures take a megabyte or two. The index names pictures and holds none.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from skinai.artefacts import write_atomic
from skinai.errors import ModelError

REFERENCE_FILE = "reference.npz"
DIMENSIONS = 64
_PRINT_BYTES = 32
# Of 256 bits. Of 300 HAM10000 pictures coded anew at JPEG quality 50, 95 % came back within 14; of 1,500 the nearest
# picture of another lesion was at least 14 away, in all but one case more than 14.
SAME_BITS = 14


@dataclass(frozen=True)
class ReferenceIndex:
    """Projected embeddings of the training pictures.

    Attributes
    ----------
    image_ids, lesion_ids, codes : ndarray of shape (n,), str
        Picture, lesion and diagnosis of each row.
    vectors : ndarray of shape (n, dimensions), float32
        Of length 1 each.
    mean : ndarray of shape (channels,), float32
    directions : ndarray of shape (dimensions, channels), float32
    prints : ndarray of shape (n, 32), uint8
        Difference hash of each frame, 256 bits; of shape (0, 32) in folders of version 0.1.0.
    methods : ndarray of shape (n,), str
        How each diagnosis was established, in the data set's own words; of shape (0,) where nobody stated it.
    """

    image_ids: np.ndarray
    lesion_ids: np.ndarray
    codes: np.ndarray
    vectors: np.ndarray
    mean: np.ndarray
    directions: np.ndarray
    prints: np.ndarray = field(default_factory=lambda: np.empty((0, _PRINT_BYTES), np.uint8))
    methods: np.ndarray = field(default_factory=lambda: np.empty(0, dtype="U1"))

    def find_same(self, frame: np.ndarray) -> str | None:
        """Return the id of the training picture whose frame this is, also re-coded or resized; else None.

        Parameters
        ----------
        frame : ndarray of shape (height, width, 3), uint8
        """
        if not len(self.prints):
            return None
        apart = np.bitwise_count(self.prints ^ take_print(frame)).sum(axis=1)
        nearest = int(apart.argmin())
        return str(self.image_ids[nearest]) if apart[nearest] <= SAME_BITS else None

    def project(self, embeddings: np.ndarray) -> np.ndarray:
        """Return embeddings of shape (n, channels) as vectors of length 1, shape (n, dimensions)."""
        return _to_length_1((_to_length_1(embeddings) - self.mean) @ self.directions.T)

    def locate(self, embedding: np.ndarray) -> np.ndarray:
        """Return where one embedding lies among the training pictures.

        Parameters
        ----------
        embedding : ndarray of shape (channels,)

        Returns
        -------
        ndarray of shape (dimensions + 1,), float32
            Its coordinates along the directions, and its distance from what the directions span.
        """
        return locate(embedding, self.mean, self.directions)

    def find_nearest(self, embedding: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows nearest to one embedding, at most one a lesion, and their cosine similarities.

        Parameters
        ----------
        embedding : ndarray of shape (channels,)
        count : int

        Returns
        -------
        rows : ndarray of shape (at most count,), int
        similarities : ndarray of the same shape
            From -1 to 1, the greatest first.
        """
        similarities = self.vectors @ self.project(embedding[None])[0]
        order = np.argsort(-similarities, kind="stable")
        _, first = np.unique(self.lesion_ids[order], return_index=True)
        rows = order[np.sort(first)[:count]]
        return rows, similarities[rows]


def locate(embedding: np.ndarray, mean: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return the coordinates of one embedding, brought to length 1, along directions, and its distance from their span.

    Parameters
    ----------
    embedding, mean : ndarray of shape (channels,)
    directions : ndarray of shape (dimensions, channels)
        At right angles, of length 1.

    Returns
    -------
    ndarray of shape (dimensions + 1,), float32
    """
    away = _to_length_1(embedding[None])[0] - mean
    along = directions @ away
    rest = np.sqrt(max(float(away @ away - along @ along), 0.0))
    return np.append(along, rest).astype(np.float32)


def take_print(frame: np.ndarray) -> np.ndarray:
    """Return the difference hash of a frame, shape (32,), uint8: where lightness falls from left to right, 16 x 16.

    Copies of a picture, re-coded or resized, differ in few bits; two pictures in about half of the 256.
    """
    small = Image.fromarray(frame).convert("L").resize((17, 16), Image.Resampling.BOX)
    light = np.asarray(small, dtype=np.int16)
    return np.packbits(light[:, 1:] < light[:, :-1])


def build_reference(
    embeddings: np.ndarray,
    image_ids: np.ndarray,
    lesion_ids: np.ndarray,
    codes: np.ndarray,
    prints: np.ndarray | None = None,
    methods: np.ndarray | None = None,
) -> ReferenceIndex:
    """Fit the projection on the embeddings, shape (n, channels), and project them."""
    from sklearn.decomposition import PCA  # scikit-learn takes a second to import, and serving does without it

    unit = _to_length_1(embeddings)
    dimensions = min(DIMENSIONS, len(unit) - 1, unit.shape[1])
    fitted = PCA(dimensions, svd_solver="randomized", random_state=0).fit(unit)
    half = [values.astype(np.float16).astype(np.float32) for values in (fitted.mean_, fitted.components_)]
    index = ReferenceIndex(image_ids, lesion_ids, codes, np.empty((0, dimensions), np.float32), half[0], half[1])
    if prints is None:
        prints = index.prints
    if methods is None:
        methods = index.methods
    return ReferenceIndex(image_ids, lesion_ids, codes, index.project(embeddings), half[0], half[1], prints, methods)


def write_reference(index: ReferenceIndex, path: Path) -> None:
    """Write an index; vectors are kept in 16 bits."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        image_ids=index.image_ids.astype(str),
        lesion_ids=index.lesion_ids.astype(str),
        codes=index.codes.astype(str),
        vectors=index.vectors.astype(np.float16),
        mean=index.mean.astype(np.float16),
        directions=index.directions.astype(np.float16),
        prints=index.prints,
        methods=index.methods.astype(str),
    )
    write_atomic(path, buffer.getvalue())


def read_reference(path: Path) -> ReferenceIndex:
    """Read an index.

    Raises
    ------
    ModelError
        If it is missing or damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = [file[name] for name in ("image_ids", "lesion_ids", "codes")]
            vectors, mean, directions = (file[name].astype(np.float32) for name in ("vectors", "mean", "directions"))
            prints = file["prints"] if "prints" in file else np.empty((0, _PRINT_BYTES), np.uint8)
            methods = file["methods"] if "methods" in file else np.empty(0, dtype="U1")
    except FileNotFoundError as error:
        raise ModelError(f"{path.name} is missing in {path.parent}.") from error
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, OSError, EOFError) as error:
        raise ModelError(f"{path} is damaged.") from error
    rows = {len(values) for values in (*names, vectors)}
    if len(rows) > 1 or vectors.ndim != 2 or directions.shape != (vectors.shape[1], len(mean)):
        raise ModelError(f"{path} is damaged.")
    if prints.dtype != np.uint8 or prints.shape not in ((len(vectors), _PRINT_BYTES), (0, _PRINT_BYTES)):
        raise ModelError(f"{path} is damaged.")
    if methods.shape not in ((len(vectors),), (0,)):
        raise ModelError(f"{path} is damaged.")
    return ReferenceIndex(names[0], names[1], names[2], vectors, mean, directions, prints, methods)


def _to_length_1(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
