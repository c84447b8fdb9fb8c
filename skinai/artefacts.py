"""Writing files so that a crash or a full disk leaves the old version whole, and hashing them.

Killing a process in the middle of a plain save leaves an unreadable file almost every time, so every artefact is
written under a temporary name in its own folder, flushed to disk and then renamed over the old one.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

TEMPORARY_PREFIX = ".tmp-"
# Below it nothing can be written, not even by root.
_NOWHERE = Path(os.devnull)


def cache_folder() -> Path:
    """Return the user's folder for what can be made again: ``SKINAI_CACHE``, or ``skinai`` in the system's one.

    A user without a home has one that cannot be written.
    """
    given = os.environ.get("SKINAI_CACHE")
    if given:
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skinai"
    except RuntimeError:
        return _NOWHERE / "skinai"


def predictions_file(subset: str) -> str:
    """Return the file name of a subset's predictions in a model folder."""
    return f"predictions_{subset}.csv"


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path with the same suffix; on success it replaces `path`, on failure it is removed.

    Only its owner can read and write a `private` file, also while it is written.

    Raises
    ------
    OSError
        With the name of `path`, and not with that of the temporary file.
    """
    path = Path(path)
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, 0o600 if private else 0o666 & ~_current_umask())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes | str | Callable[[Path], Any], *, private: bool = False) -> None:
    """Write `content` to `path`, or leave the old file untouched.

    Parameters
    ----------
    path : Path
    content : bytes, str or callable
        A callable receives the temporary path and writes the file itself.
    private : bool
        Whether only its owner can read and write it (mode 0600).
    """
    with replacing(path, private=private) as temporary:
        if callable(content):
            content(temporary)
        elif isinstance(content, str):
            temporary.write_text(content, encoding="utf-8", newline="\n")
        else:
            temporary.write_bytes(content)


def write_gzip(path: Path, content: bytes) -> None:
    """Write `content` compressed; the same content gives the same bytes."""
    write_atomic(path, gzip.compress(content, mtime=0))


def read_gzip(path: Path) -> bytes:
    """Read what :func:`write_gzip` wrote.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        return gzip.decompress(Path(path).read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"it cannot be unpacked ({error})") from error


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write `value` as indented JSON; NaN is not allowed, so say "not applicable" as null.

    Only its owner can read and write a `private` file.
    """
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", private=private)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def remove_stale_temporaries(folder: Path) -> int:
    """Remove what interrupted writes left in `folder`; return how many files went."""
    stale = list(Path(folder).glob(f"{TEMPORARY_PREFIX}*"))
    for path in stale:
        with contextlib.suppress(OSError):
            path.unlink()
    return len(stale)


@contextmanager
def holding(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a folder against every other process and thread that wants to hold it; yield whether it is held.

    The hold ends with the process, however that ends. Where a file system knows no locks, everybody holds.

    Parameters
    ----------
    folder : Path
        Nothing is held where it does not exist.
    wait : bool
        Wait until it is free; else False is yielded where it is not.
    """
    try:
        handle = -1 if sys.platform == "win32" else os.open(folder, os.O_RDONLY)
    except OSError:
        handle = -1
    try:
        yield handle < 0 or _lock(handle, wait=wait)
    finally:
        if handle >= 0:
            os.close(handle)


def _lock(handle: int, *, wait: bool) -> bool:
    if sys.platform != "win32":
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
    return True


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have an error that names no file, or a temporary one, name `path`."""
    try:
        yield
    except OSError as error:
        named = os.path.basename(os.fsdecode(error.filename or ""))
        if named and not named.startswith(TEMPORARY_PREFIX):
            raise
        reason = error.strerror or " ".join(str(error).split())
        raise OSError(error.errno or errno.EIO, reason, str(path)) from error


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
