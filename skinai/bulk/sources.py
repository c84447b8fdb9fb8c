"""Where pictures come from: files, folders, globs, lists of them, and URLs of object stores."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

import numpy as np
from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType

from skinai.data.images import MAX_BYTES, SUFFIXES, decode_picture, read_picture
from skinai.errors import DataError, PictureError, UsageError
from skinai.serving.files import find_picture_files

LIST_SUFFIXES = (".txt", ".csv")
# The columns of a list with a header that name the picture, best first.
_LIST_COLUMNS = ("file", "path", "url")


def list_pictures(names: Iterable[str]) -> list[str]:
    """Return the pictures of all sources, each once and sorted, so that the same sources give the same list.

    Parameters
    ----------
    names : iterable of str
        Files, folders (searched below), globs, URLs of a picture or of a folder, and lists: a ``.txt`` with a path or
        URL a line, or a ``.csv`` with it in the column ``file``, ``path`` or ``url``, or in the first column where
        there is no header. A relative path of a list counts from the list's own folder.

    Raises
    ------
    UsageError
        If a source has no picture, or a URL cannot be listed.
    """
    found: set[str] = set()
    for name in names:
        pictures = _list_source(name)
        if not pictures:
            raise UsageError(f"No {', '.join(SUFFIXES)} file in {name!r}.")
        found.update(pictures)
    return sorted(found)


def read_source(name: str, base: Path) -> np.ndarray:
    """Read the picture of a list.

    Parameters
    ----------
    name : str
        As :func:`list_pictures` returns it.
    base : Path
        The folder that a relative path counts from.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8

    Raises
    ------
    PictureError
        If there is no such picture, or it cannot be read safely: that is this picture's own fault, and stays so.
    DataError
        If the store of a URL does not answer: that says nothing about the picture, so no row is to be made of it.
    """
    if not is_url(name):
        return read_picture(base / name)
    if urlsplit(name).scheme == "file":
        return read_picture(_to_path(name))
    store, place = _open(name)
    try:
        with store.open_input_stream(place, compression=None) as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        sentence = f"The file could not be opened ({os.strerror(errno.ENOENT)})."
        raise PictureError("unreadable", sentence) from error
    except (OSError, ArrowException) as error:
        raise DataError(f"{name} cannot be read: {_shorten(error)}") from error
    return decode_picture(content)


def is_url(name: str) -> bool:
    """Return whether a source is a URL.

    >>> is_url("s3://bucket/folder"), is_url("folder/a.jpg")
    (True, False)
    """
    return "://" in name


def _list_source(name: str) -> Sequence[str]:
    if is_url(name):
        parts = urlsplit(name)
        if parts.password is not None:
            raise UsageError("Keys belong into the environment and not into a URL, which every row would repeat.")
        return _list_url(name)
    if name.lower().endswith(LIST_SUFFIXES) and not os.path.isdir(name):
        return _read_list(name, Path(name).read_bytes(), Path(name).parent)
    return [str(file) for file in find_picture_files([name])]


def _list_url(url: str) -> Sequence[str]:
    if urlsplit(url).scheme == "file":
        path = _to_path(url)
        if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
            return _read_list(url, path.read_bytes(), path.parent)
        return [file.as_uri() for file in find_picture_files([str(path)])]
    try:
        store, place = _open(url)
        root = store.get_file_info(place.rstrip("/"))
        if root.type == FileType.Directory:
            below = store.get_file_info(FileSelector(root.path, recursive=True))
            inside = [info.path.removeprefix(root.path) for info in below if info.type == FileType.File]
            return [_append(url, place) for place in inside if place.lower().endswith(SUFFIXES)]
        if root.type == FileType.File and root.path.lower().endswith(LIST_SUFFIXES):
            with store.open_input_stream(root.path, compression=None) as stream:
                return _read_list(url, stream.read(), None)
    except (OSError, ArrowException) as error:
        raise UsageError(f"{url} cannot be listed: {_shorten(error)}") from error
    return [url] if root.type == FileType.File else []


def _read_list(name: str, content: bytes, folder: Path | None) -> Sequence[str]:
    """Return the pictures that a list names; whether they are there is left to who reads them."""
    text = content.decode("utf-8-sig", errors="surrogateescape")
    if urlsplit(name).path.lower().endswith(".csv"):
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        header = [cell.strip().lower() for cell in rows[0]] if rows else []
        column = next((header.index(known) for known in _LIST_COLUMNS if known in header), None)
        lines = [row[column or 0] for row in (rows if column is None else rows[1:]) if len(row) > (column or 0)]
    else:
        lines = text.splitlines()
    named = [line.strip() for line in lines if line.strip()]
    if folder is None and (local := next((line for line in named if not is_url(line)), None)):
        raise UsageError(f"{name} is a list in an object store, so it has URLs only. Received: {local!r}.")
    return [line if is_url(line) or folder is None else str(folder / line) for line in named]


def _append(url: str, place: str) -> str:
    """Return the URL of a place below that of a folder; what follows a question mark stays at the end."""
    head, mark, query = url.partition("?")
    return head.rstrip("/") + quote(place) + mark + query


def _to_path(url: str) -> Path:
    return Path(url2pathname(urlsplit(url).path))


def _open(url: str) -> tuple[FileSystem, str]:
    """Return the store of a URL and the place in it; a store is opened once a process, with its connections."""
    parts = urlsplit(url)
    store, root = _open_store(parts.scheme, parts.netloc, parts.query)
    return store, root + unquote(parts.path)


@lru_cache(maxsize=8)
def _open_store(scheme: str, host: str, query: str) -> tuple[FileSystem, str]:
    store, place = FileSystem.from_uri(f"{scheme}://{host}/x{'?' if query else ''}{query}")
    return store, place.removesuffix("/x")


def _shorten(error: Exception) -> str:
    """Return the first line of an error as the end of a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ") + "."
