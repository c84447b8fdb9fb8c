"""Picture files inside a zip archive, read in memory and within limits."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from skinai.data.images import MAX_BYTES, SUFFIXES
from skinai.errors import DataError

MAX_FILES = 2000
# Together, unpacked; one picture has its own limit.
MAX_UNPACKED_BYTES = 400 * 1024 * 1024


def is_archive(content: bytes) -> bool:
    """Whether the bytes begin as a zip archive does.

    >>> is_archive(b"no")
    False
    """
    return content.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def list_archive(content: bytes) -> list[str]:
    """Return the names of the picture files in an archive, in order.

    Raises
    ------
    DataError
        If the archive is damaged, or has more files than are opened.
    """
    with _open(content) as archive:
        names = [info.filename for info in archive.infolist() if _is_wanted(info)]
    if len(names) > MAX_FILES:
        raise DataError(f"The archive has {len(names):,} pictures; at most {MAX_FILES:,} are opened.")
    return names


def read_archive(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each picture file; of one that is damaged, locked or too large, too few bytes or none.

    What is too large is cut one byte above the limit, so that the decoder refuses it by its size.

    Raises
    ------
    DataError
        If the archive is damaged, or the pictures are too large together.
    """
    list_archive(content)
    unpacked = 0
    with _open(content) as archive:
        for info in archive.infolist():
            if not _is_wanted(info):
                continue
            try:
                with archive.open(info) as stream:
                    data = stream.read(MAX_BYTES + 1)
            except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError):
                data = b""  # damaged, locked with a password, or packed in another way
            unpacked += len(data)
            if unpacked > MAX_UNPACKED_BYTES:
                raise DataError(f"The archive holds more than {MAX_UNPACKED_BYTES // 1024 // 1024} MB of pictures.")
            yield info.filename, data


def _open(content: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise DataError("The archive is damaged or incomplete and could not be read.") from error


def _is_wanted(info: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(info.filename)
    hidden = path.name.startswith(".") or "__MACOSX" in path.parts
    return not info.is_dir() and not hidden and path.suffix.lower() in SUFFIXES
