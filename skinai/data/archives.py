"""Picture files inside a zip archive, read in memory and within limits."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from skinai.data.images import MAX_BYTES, SUFFIXES
from skinai.errors import DataError

MAX_FILES = 2000
# Together, unpacked; one picture has its own limit.
MAX_UNPACKED_BYTES = 400 * 1024 * 1024
# Of the list of contents, which is parsed whole before anything else is known.
MAX_ENTRIES = 10_000
MAX_LIST_BYTES = 2 * 1024 * 1024
# What bzip2 and LZMA unpack cannot be bounded while they are read.
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END = b"PK\x05\x06"
_DAMAGED = "The archive is damaged or incomplete and could not be read."


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
    names = [info.filename for info in _list_wanted(_open(content))]
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
    archive = _open(content)
    for info in _list_wanted(archive):
        data = bytearray()
        try:
            if info.compress_type not in _BOUNDED:
                raise zipfile.BadZipFile
            with archive.open(info) as stream:
                while len(data) <= MAX_BYTES and (part := stream.read(1024 * 1024)):
                    data += part
                    # Counted before the checksum is, which may fail.
                    unpacked += len(part)
                    if unpacked > MAX_UNPACKED_BYTES:
                        most = MAX_UNPACKED_BYTES // 1024 // 1024
                        raise DataError(f"The archive holds more than {most} MB of pictures.")
        except DataError:
            raise
        except Exception:  # damaged, locked with a password, or packed in another way; zipfile raises many types
            data.clear()
        yield info.filename, bytes(data[: MAX_BYTES + 1])


def _open(content: bytes) -> zipfile.ZipFile:
    # The end record, at most 64 KiB before the end of the file (APPNOTE.TXT, 4.3.16).
    at = content.rfind(_END, max(0, len(content) - 65_557))
    if at < 0 or len(content) < at + 22:
        raise DataError(_DAMAGED)
    entries, list_bytes = struct.unpack("<HI", content[at + 10 : at + 16])
    if entries > MAX_ENTRIES or list_bytes > MAX_LIST_BYTES:
        raise DataError(f"The archive lists more than is read; at most {MAX_ENTRIES:,} files can be in it.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        if len(archive.infolist()) > MAX_ENTRIES:
            raise DataError(_DAMAGED)
    except DataError:
        raise
    except Exception as error:  # zipfile raises many types on damaged archives
        raise DataError(_DAMAGED) from error
    return archive


def _list_wanted(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the picture files, none of which shares its bytes with another, as those of a bomb do."""
    wanted = [info for info in archive.infolist() if _is_wanted(info)]
    if len({info.header_offset for info in wanted}) < len(wanted):
        raise DataError(_DAMAGED)
    return wanted


def _is_wanted(info: zipfile.ZipInfo) -> bool:
    if not info.filename:
        return False
    path = PurePosixPath(info.filename)
    hidden = path.name.startswith(".") or "__MACOSX" in path.parts
    return not info.is_dir() and not hidden and path.suffix.lower() in SUFFIXES
