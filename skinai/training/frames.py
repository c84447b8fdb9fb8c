"""Pictures as arrays for training: decoded once, kept as uint8, handed out in batches."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import PIL

from skinai.artefacts import TEMPORARY_PREFIX, cache_folder, replacing, write_json
from skinai.data.images import FrameRule, Mark, cover_mark, decode_picture, frame_picture
from skinai.errors import PictureError

# Changes when decoding or framing changes, so that old entries are not found again.
_CACHE_FORMAT = 1
# A whole HAM10000 takes 1.5 GB at 256 x 192.
_CACHE_ENTRIES = 4
_STALE_SECONDS = 24 * 3600


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
    table: pd.DataFrame,
    rule: FrameRule,
    *,
    mark: Mark | None = None,
    cache: Path | None = None,
    on_progress: Callable[[int], object] = lambda done: None,
) -> Frames:
    """Decode and frame every picture of `table`, or read what an earlier call decoded.

    Parameters
    ----------
    table : DataFrame
        With `image_id` and `path`; rows without a path are not expected here.
    rule : FrameRule
    mark : tuple of four float, optional
        What is covered in every picture, see :func:`skinai.data.images.cover_mark`.
    cache : Path, optional
        Folder of decoded pictures. An entry is found again only while the frame rule, the mark and every file's name,
        size and time of change are the same. Without it nothing is kept.
    on_progress : callable
        Called with the number of pictures done.

    Returns
    -------
    Frames
        Pictures that cannot be read are left out of it and named in `unreadable`. Cached pixels are mapped from disk,
        read-only.
    """
    entry = cache / _cache_key(table, rule, mark) if cache else None
    found = _read_entry(entry, len(table)) if entry else None
    if found is None:
        found = _decode_pictures(table, rule, mark, on_progress)
        if entry:
            _write_entry(entry, found)
    else:
        on_progress(len(table))
    read = np.array([bool(digest) for digest in found.hashes], dtype=bool)
    return Frames(
        table[read].reset_index(drop=True),
        found.pixels,
        [digest for digest in found.hashes if digest],
        {table["image_id"].iat[row]: reason for row, reason in found.unreadable.items()},
    )


def frame_cache() -> Path:
    """Return the folder of decoded pictures: ``SKINAI_CACHE``, or ``skinai/frames`` in the user's cache folder."""
    return cache_folder() if os.environ.get("SKINAI_CACHE") else cache_folder() / "frames"


@dataclass(frozen=True)
class _Decoded:
    """Pixels of the readable rows; a hash for each row, empty where unreadable; row number to reason."""

    pixels: np.ndarray
    hashes: list[str]
    unreadable: dict[int, str]
    lasting: bool = True


def _decode_pictures(
    table: pd.DataFrame, rule: FrameRule, mark: Mark | None, on_progress: Callable[[int], object]
) -> _Decoded:
    pixels = np.empty((len(table), rule.height_px, rule.width_px, 3), np.uint8)
    hashes: list[str] = [""] * len(table)
    unreadable: dict[int, str] = {}
    failed_reads = []
    paths = table["path"].tolist()

    def load(row: int) -> None:
        try:
            content = Path(paths[row]).read_bytes()
            picture = decode_picture(content)
            pixels[row] = frame_picture(picture if mark is None else cover_mark(picture, mark), rule)
            hashes[row] = hashlib.sha256(content).hexdigest()
        except PictureError as error:
            unreadable[row] = str(error)
        except OSError as error:
            unreadable[row] = str(error)
            failed_reads.append(row)

    with ThreadPoolExecutor() as pool:
        for done, _ in enumerate(pool.map(load, range(len(table))), start=1):
            on_progress(done)
    if unreadable:
        pixels = pixels[np.array([bool(digest) for digest in hashes], dtype=bool)]
    return _Decoded(pixels, hashes, dict(sorted(unreadable.items())), lasting=not failed_reads)


def _cache_key(table: pd.DataFrame, rule: FrameRule, mark: Mark | None) -> str:
    facts = [_CACHE_FORMAT, PIL.__version__, rule.as_dict(), *([] if mark is None else [mark])]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for path in table["path"]:
        try:
            state = os.stat(path)
            digest.update(f"{path}\t{state.st_size}\t{state.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{path}\tabsent\n".encode())
    return digest.hexdigest()[:32]


def _read_entry(entry: Path, rows: int) -> _Decoded | None:
    """Return what lies in a cache entry, or None: a cache that cannot be read is decoded again."""
    try:
        facts = json.loads(entry.with_suffix(".json").read_text(encoding="utf-8"))
        pixels = np.load(entry.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        hashes = [str(digest) for digest in facts["hashes"]]
        unreadable = {int(row): str(reason) for row, reason in facts["unreadable"].items()}
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if len(hashes) != rows or len(pixels) != rows - len(unreadable):
        return None
    with contextlib.suppress(OSError):  # only the order of eviction depends on it
        os.utime(entry.with_suffix(".json"))
    return _Decoded(pixels, hashes, unreadable)


def _write_entry(entry: Path, decoded: _Decoded) -> None:
    """Write pixels first and their description last; a full disk costs the cache, not the run."""
    if not decoded.lasting:
        return
    try:
        with replacing(entry.with_suffix(".npy")) as temporary:
            np.save(temporary, decoded.pixels)
        facts = {"hashes": decoded.hashes, "unreadable": {str(row): why for row, why in decoded.unreadable.items()}}
        write_json(entry.with_suffix(".json"), facts)
        _evict(entry.parent)
    except OSError as error:
        print(f"The decoded pictures could not be kept in {entry.parent}: {error.strerror or error}.", file=sys.stderr)


def _evict(cache: Path) -> None:
    """Leave the entries used last, and what an interrupted write left only while it may still be at work."""
    described = [path for path in cache.glob("*.json") if not path.name.startswith(TEMPORARY_PREFIX)]
    described.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for old in described[_CACHE_ENTRIES:]:
        old.unlink(missing_ok=True)
    kept = {path.stem for path in described[:_CACHE_ENTRIES]}
    for pixels in cache.glob("*.npy"):
        if pixels.stem not in kept and (pixels.stem in {old.stem for old in described} or _is_stale(pixels)):
            pixels.unlink(missing_ok=True)


def _is_stale(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _STALE_SECONDS


class FrameBatches(keras.utils.PyDataset):
    """Batches of frames and one-hot truth, in an order that depends on seed and epoch alone.

    Parameters
    ----------
    pixels : ndarray of shape (n, height, width, 3), uint8
    truth : ndarray of shape (n, classes)
        One-hot.
    batch_size, seed, epoch : int
    chances : ndarray of shape (classes,), optional
        How often a picture of each class is drawn, relatively; n are drawn with repetition. Default: each once.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        truth: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        chances: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.pixels, self.truth, self.batch_size = pixels, truth, batch_size
        rng = np.random.default_rng((seed, epoch))
        if chances is None:
            self.order = rng.permutation(len(pixels))
        else:
            weights = truth.astype(np.float64) @ chances
            self.order = rng.choice(len(pixels), size=len(pixels), p=weights / weights.sum())

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.pixels[rows], self.truth[rows]
