"""Pictures as arrays for training: decoded once, kept as uint8, handed out in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from skinai.data.images import FrameRule, decode_picture, frame_picture
from skinai.errors import PictureError


@dataclass(frozen=True)
class Frames:
    """Framed pictures in the order of their table rows.

    Attributes
    ----------
    table : DataFrame
        The rows whose picture could be read.
    pixels : ndarray of shape (len(table), height, width, 3), uint8
    hashes : list of str
        SHA-256 of each file.
    unreadable : dict
        `image_id` to the reason, for the rows left out.
    """

    table: pd.DataFrame
    pixels: np.ndarray
    hashes: list[str]
    unreadable: dict[str, str]


def load_frames(
    table: pd.DataFrame, rule: FrameRule, *, on_progress: Callable[[int], object] = lambda done: None
) -> Frames:
    """Decode and frame every picture of `table`.

    Parameters
    ----------
    table : DataFrame
        With `image_id` and `path`; rows without a path are not expected here.
    rule : FrameRule
    on_progress : callable
        Called with the number of pictures done.

    Returns
    -------
    Frames
        Pictures that cannot be read are left out of it and named in `unreadable`.
    """
    pixels = np.empty((len(table), rule.height_px, rule.width_px, 3), np.uint8)
    hashes: list[str] = [""] * len(table)
    unreadable: dict[str, str] = {}
    paths, image_ids = table["path"].tolist(), table["image_id"].tolist()

    def load(row: int) -> None:
        try:
            content = Path(paths[row]).read_bytes()
            pixels[row] = frame_picture(decode_picture(content), rule)
            hashes[row] = hashlib.sha256(content).hexdigest()
        except (PictureError, OSError) as error:
            unreadable[image_ids[row]] = str(error)

    with ThreadPoolExecutor() as pool:
        for done, _ in enumerate(pool.map(load, range(len(table))), start=1):
            on_progress(done)
    read = np.array([bool(digest) for digest in hashes], dtype=bool)
    if read.all():
        return Frames(table.reset_index(drop=True), pixels, hashes, unreadable)
    return Frames(table[read].reset_index(drop=True), pixels[read], [digest for digest in hashes if digest], unreadable)


class FrameBatches(keras.utils.PyDataset):
    """Batches of frames and one-hot truth, in an order that depends on seed and epoch alone."""

    def __init__(self, pixels: np.ndarray, truth: np.ndarray, *, batch_size: int, seed: int, epoch: int) -> None:
        super().__init__()
        self.pixels, self.truth, self.batch_size = pixels, truth, batch_size
        self.order = np.random.default_rng((seed, epoch)).permutation(len(pixels))

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.pixels[rows], self.truth[rows]
