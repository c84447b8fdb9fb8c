"""Fetch HAM10000 from Harvard's Dataverse into a folder in Kaggle's layout, so that a cut or a kill costs little.

Each file grows under the name ``.part-NAME``, goes on where it was cut, and gets its own name only when its size and
checksum are those that the dataset lists. Then the pictures are unpacked, each of them whole or not at all. Every
step looks at what is there already, so calling again is always right.

Of a table that Dataverse ingested, the listed checksum is that of the file as it was uploaded
(https://github.com/IQSS/dataverse/issues/7275), so that is the file which is asked for.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import random
import re
import shutil
import socket
import ssl
import stat
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from skinai.artefacts import remove_stale_temporaries, write_atomic, write_json
from skinai.data.images import MAX_BYTES
from skinai.data.metadata import COLUMNS, METADATA_FILE, PICTURE_FOLDERS, find_metadata, read_metadata
from skinai.data.tables import listed, read_text_table
from skinai.errors import DataError, UsageError

if sys.platform != "win32":
    import fcntl

SERVER = "https://dataverse.harvard.edu"
DOI = "doi:10.7910/DVN/DBW86T"
DOI_LINK = "https://doi.org/10.7910/DVN/DBW86T"
LICENCE_NOTE = (
    "HAM10000 (Tschandl, Rosendahl and Kittler, https://doi.org/10.7910/DVN/DBW86T) is licensed CC BY-NC 4.0: use it "
    "for no commercial purpose and name its authors (https://creativecommons.org/licenses/by-nc/4.0/)."
)
ARCHIVES = tuple(f"{folder}.zip" for folder in PICTURE_FOLDERS)
PART_PREFIX = ".part-"

_METADATA = "HAM10000_metadata"
_ENDINGS = {_METADATA: ("", ".tab", ".csv", ".tsv", ".txt"), **dict.fromkeys(ARCHIVES, ("", ".zip"))}
_HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
_BLOCK_BYTES = 256 * 1024
_MAX_LISTING_BYTES = 16 * 1024 * 1024
_MAX_MEMBERS = 20_000
# For file systems' own needs, above what is counted.
_SPARE_BYTES = 50_000_000
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_ABSENT = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)
_MEMBER = re.compile(r"(?:HAM10000_images_part_[12]/)?(ISIC_[0-9A-Za-z_]{1,40}\.jpg)", re.ASCII)
# A folder's own entry, and what macOS adds to archives.
_IGNORED = re.compile(r"HAM10000_images_part_[12]/|__MACOSX/.*|(?:.*/)?\.DS_Store", re.ASCII | re.DOTALL)
_Value = TypeVar("_Value")


# What the caller gives and gets


@dataclass(frozen=True)
class Progress:
    """How far one step is.

    Attributes
    ----------
    step : str
        ``"fetch"``, ``"check"`` (the checksum), ``"unpack"`` or ``"wait"`` (before another attempt).
    name : str
        The file that it is about.
    done_bytes : int
    total_bytes : int or None
        None where the server did not tell.
    rate_bytes_per_s : float or None
        Of this call alone; None at its beginning.
    left_s : float or None
        Time left at that rate.
    wait_s : float
        In the step ``"wait"``: how long.
    reason : str
        In the step ``"wait"``: why.
    """

    step: str
    name: str
    done_bytes: int = 0
    total_bytes: int | None = None
    rate_bytes_per_s: float | None = None
    left_s: float | None = None
    wait_s: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Patience:
    """How long and how often a server is asked.

    Attributes
    ----------
    attempts : int
        How many attempts in a row may bring nothing.
    timeout_s : float
        How long one attempt waits for the next bytes.
    first_wait_s : float
        The wait after the first failure; it doubles with each that follows, and up to half of it is taken off by lot.
    longest_wait_s : float
        No wait is longer, whatever the server asks for.
    sleep, jitter, now : callable
        `time.sleep`, a number from 0 to 1 by lot, and the seconds since 1970; tests give their own.
    """

    attempts: int = 6
    timeout_s: float = 30.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 300.0
    sleep: Callable[[float], object] = time.sleep
    jitter: Callable[[], float] = random.random
    now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.timeout_s <= 0 or self.first_wait_s < 0 or self.longest_wait_s < 0:
            raise UsageError("Patience needs at least one attempt, a time-out above 0 and no negative wait.")

    def wait_s(self, failures: int) -> float:
        """Return the wait after so many failures in a row.

        >>> [Patience(jitter=lambda: 1.0).wait_s(failures) for failures in (1, 2, 3)]
        [1.0, 2.0, 4.0]
        """
        return min(self.first_wait_s * 2.0 ** (failures - 1), self.longest_wait_s) * (0.5 + 0.5 * self.jitter())

    def asked_wait_s(self, retry_after: str | None) -> float | None:
        """Return the wait that a ``Retry-After`` asks for, in seconds or as a date; None where it asks for none.

        >>> Patience().asked_wait_s("7"), Patience().asked_wait_s("86400"), Patience().asked_wait_s("soon")
        (7.0, 300.0, None)
        """
        text = (retry_after or "").strip()
        if re.fullmatch(r"[0-9]{1,12}", text):
            seconds = float(text)
        else:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - self.now()
            except (TypeError, ValueError, OverflowError):
                return None
        return min(max(seconds, 0.0), self.longest_wait_s)


@dataclass(frozen=True)
class DownloadResult:
    """What one call of :func:`download_ham10000` did.

    Attributes
    ----------
    folder : Path
    fetched : tuple of str
        The files that this call completed over the network.
    fetched_bytes : int
        What came over the network for them, repeated parts included.
    unpacked : int
        The pictures that this call wrote.
    pictures : int
        The pictures that are there now: all that the metadata list.
    """

    folder: Path
    fetched: tuple[str, ...]
    fetched_bytes: int
    unpacked: int
    pictures: int

    @property
    def sentence(self) -> str:
        """What was done, for the user."""
        there = f"{self.folder} holds all {self.pictures:,} pictures of HAM10000 and {METADATA_FILE}"
        if not self.fetched and not self.unpacked:
            return f"{there} already; nothing was fetched."
        fetched = f"fetched {listed(self.fetched)} ({_size(self.fetched_bytes)})" if self.fetched else "fetched nothing"
        return f"{there}: {fetched} and unpacked {self.unpacked:,} pictures."


def download_ham10000(
    to: Path,
    *,
    server: str = SERVER,
    on_progress: Callable[[Progress], object] = lambda progress: None,
    keep_archives: bool = False,
    patience: Patience | None = None,
) -> DownloadResult:
    """Take a folder from whatever it holds of HAM10000 to all of it, in Kaggle's layout.

    A finished folder costs no request. Files that were fetched by hand and put into the folder under their own names
    are used as they are. The caller shows :data:`LICENCE_NOTE` first. Proxies are taken from the environment.

    Parameters
    ----------
    to : Path
        Made where it is absent.
    server : str
        Address of a Dataverse; only where it begins with ``http://`` is anything unencrypted allowed.
    on_progress : callable
        Called with a :class:`Progress` after each block of data and before each wait.
    keep_archives : bool
        Whether the two zip archives stay; else they go once all listed pictures are unpacked.
    patience : Patience, optional

    Raises
    ------
    UsageError
        If `server` is no web address, or another download into the folder is running.
    DataError
        If the server cannot be reached, refuses, or sends something else than it lists; if the disk is too small or
        cannot be written; if an archive is damaged or holds something else than pictures. What has arrived is kept.
    """
    server, to = _read_server(server), Path(to)
    with _writing(to):
        to.mkdir(parents=True, exist_ok=True)
    with _alone(to):
        for folder in (to, *(to / part for part in PICTURE_FOLDERS)):
            remove_stale_temporaries(folder)
        dataverse = _Dataverse(server, to, patience or Patience(), on_progress)
        _provide_metadata(to, dataverse)
        unpacked = _provide_pictures(to, dataverse, keep_archives)
        for part in to.glob(f"{PART_PREFIX}HAM10000_*"):
            with _writing(part):
                part.unlink(missing_ok=True)
    pictures = len(read_metadata(to / METADATA_FILE))
    return DownloadResult(to, tuple(dataverse.fetched), dataverse.fetched_bytes, unpacked, pictures)


# The two things that a folder needs


def _provide_metadata(to: Path, dataverse: _Dataverse) -> None:
    by_hand = find_metadata(to)
    if by_hand == to / METADATA_FILE:
        return
    if by_hand is not None:
        _write_metadata(to, _read_with_commas(by_hand))
        return
    part = dataverse.fetch(_METADATA)
    try:
        content = _read_with_commas(part.path)
    except DataError as error:
        part.clear()
        raise DataError(f"The metadata that {dataverse.host} sent cannot be read: {error} {_by_hand(to)}") from error
    _write_metadata(to, content)
    part.clear()


def _read_with_commas(source: Path) -> bytes:
    """Return the table with commas; one that has commas already keeps its bytes, and so its hash."""
    table = read_text_table(source, columns=COLUMNS, filled=("image_id", "lesion_id"), also=("dataset",))
    content = source.read_bytes()
    header = next(csv.reader([content.splitlines()[0].decode("utf-8-sig", errors="replace")]), [])
    return content if set(COLUMNS) <= set(header) else table.to_csv(index=False, lineterminator="\n").encode()


def _write_metadata(to: Path, content: bytes) -> None:
    with _writing(to / METADATA_FILE):
        write_atomic(to / METADATA_FILE, content)


def _provide_pictures(to: Path, dataverse: _Dataverse, keep_archives: bool) -> int:
    """Fetch and unpack what is missing; return how many pictures were written."""
    if not _find_missing(to):
        return 0
    lacking = [name for name in ARCHIVES if not (to / name).is_file()]
    _check_space(to, lacking, dataverse)
    for name in lacking:
        part = dataverse.fetch(name)
        with _writing(to / name):
            part.finish(to / name)
    unpacked = 0
    for name, folder in zip(ARCHIVES, PICTURE_FOLDERS, strict=True):
        unpacked += _unpack(to / name, to / folder, dataverse.on_progress)
    if missing := _find_missing(to):
        raise DataError(f"{METADATA_FILE} lists pictures that are in neither archive: {listed(missing)}.")
    for name in () if keep_archives else ARCHIVES:
        with _writing(to / name):
            (to / name).unlink()
    return unpacked


def _find_missing(to: Path) -> list[str]:
    """Return the ids of the listed pictures that are in neither folder."""
    there = {file.stem for file in _list_pictures(to) if file.stat().st_size}
    return [image_id for image_id in read_metadata(to / METADATA_FILE)["image_id"] if image_id not in there]


def _list_pictures(to: Path) -> list[Path]:
    return [file for folder in PICTURE_FOLDERS for file in (to / folder).glob("*.jpg")]


def _check_space(to: Path, lacking: list[str], dataverse: _Dataverse) -> None:
    """Refuse to begin what cannot end: JPEG does not shrink in an archive, so pictures need as much as archives."""
    fetched = sum((to / name).stat().st_size for name in ARCHIVES if name not in lacking)
    listed_bytes = sum(dataverse.size_bytes(name) for name in lacking)
    arrived = sum(dataverse.part(name).size for name in lacking)
    unpacked = sum(file.stat().st_size for file in _list_pictures(to))
    needed = listed_bytes - arrived + max(0, fetched + listed_bytes - unpacked) + _SPARE_BYTES
    free = shutil.disk_usage(to).free
    if free < needed:
        raise DataError(f"HAM10000 needs {_size(needed)} more in {to}, and {_size(free)} are free: make room first.")


# The server


@dataclass(frozen=True)
class _Remote:
    """A file as the dataset lists it."""

    name: str
    url: str
    size_bytes: int | None
    hash_name: str | None
    checksum: str | None


class _AgainError(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _UnfitError(Exception):
    """What the server sent is not the file; `spoilt` says that the part on disk is not it either."""

    def __init__(self, reason: str, *, spoilt: bool = False) -> None:
        super().__init__(reason)
        self.spoilt = spoilt


class _Part:
    """A file on its way: its bytes so far and, in a JSON file beside them, what they are a part of."""

    def __init__(self, to: Path, remote: _Remote) -> None:
        self.remote = remote
        self.path = to / f"{PART_PREFIX}{remote.name}"
        self.note = to / f"{PART_PREFIX}{remote.name}.json"
        self.total_bytes = remote.size_bytes
        self.etag, self.modified = self._read_note()
        self.size = self.path.stat().st_size if self.path.is_file() else 0
        too_long = self.total_bytes is not None and self.size > self.total_bytes
        if too_long or (self.size and not self.note.is_file()):
            self.clear()

    @property
    def is_whole(self) -> bool:
        return self.total_bytes is not None and self.size == self.total_bytes

    @property
    def validator(self) -> str | None:
        """What ``If-Range`` takes: a strong ETag, else a date (RFC 9110, 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def begin(self, total_bytes: int | None, etag: str | None, modified: str | None) -> None:
        """Start from nothing, with the note written before the first byte."""
        self.clear()
        self.total_bytes, self.etag, self.modified = total_bytes, etag, modified
        with _writing(self.note):
            write_json(self.note, {**asdict(self.remote), "etag": etag, "modified": modified})

    def clear(self) -> None:
        """Forget what has arrived, the bytes before the note."""
        with _writing(self.path):
            self.path.unlink(missing_ok=True)
            self.note.unlink(missing_ok=True)
        self.size, self.etag, self.modified = 0, None, None
        self.total_bytes = self.remote.size_bytes

    def finish(self, target: Path) -> None:
        """Give a verified file its own name."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(self.path, target)
        self.note.unlink(missing_ok=True)

    def _read_note(self) -> tuple[str | None, str | None]:
        """Return ETag and date; a note about another file, or none that can be read, is removed."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            fits = all(note[name] == value for name, value in asdict(self.remote).items())
        except FileNotFoundError:
            return None, None
        except (OSError, ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            self.note.unlink(missing_ok=True)
            return None, None
        return note.get("etag"), note.get("modified")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to storage hosts, but never from an encrypted server to something unencrypted."""

    def __init__(self, unencrypted: bool) -> None:
        self.unencrypted = unencrypted

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        target = urlsplit(newurl)
        if target.scheme != "https" and not (target.scheme == "http" and self.unencrypted):
            fp.close()
            raise DataError(
                f"{req.host} redirects to {target.scheme}://{target.hostname}, which is not encrypted: refused."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass
class _Tries:
    """Counts what failed since something last arrived, waits between attempts, and gives up with a sentence."""

    name: str
    dataverse: _Dataverse
    most: int = 0
    failures: int = 0
    unfit: int = 0

    def run(self, action: Callable[[], _Value], *, clear: Callable[[], object] = lambda: None) -> _Value:
        """Return what `action` returns, trying again as long as that makes sense."""
        while True:
            try:
                return action()
            except _AgainError as error:
                self._count_failure(error)
            except _UnfitError as error:
                if error.spoilt:
                    clear()
                self._count_unfit(error)

    def note_arrival(self, size: int) -> None:
        """Forget the failures if there is now more than there ever was."""
        if size > self.most:
            self.most, self.failures = size, 0

    def _count_failure(self, error: _AgainError) -> None:
        self.failures += 1
        patience, host = self.dataverse.patience, self.dataverse.host
        if self.failures < patience.attempts:
            self._wait(patience.wait_s(self.failures) if error.wait_s is None else error.wait_s, error)
            return
        if not self.dataverse.reached:
            raise self.dataverse.unreachable(str(error)) from error
        raise DataError(
            f"{self.name} could not be fetched from {host}: {error}, {self.failures} attempts in a row. "
            "What has arrived is kept; run the command again later to go on."
        ) from error

    def _count_unfit(self, error: _UnfitError) -> None:
        self.unfit += 1
        if self.unfit > 1:
            raise DataError(
                f"{self.name} could not be fetched from {self.dataverse.host}: {error}, twice. "
                f"{_by_hand(self.dataverse.to)}"
            ) from error
        self._wait(self.dataverse.patience.wait_s(1), error)

    def _wait(self, seconds: float, reason: Exception) -> None:
        self.dataverse.on_progress(Progress("wait", self.name, wait_s=seconds, reason=str(reason)))
        self.dataverse.patience.sleep(seconds)


class _Dataverse:
    """One conversation with a server about one dataset."""

    def __init__(self, server: str, to: Path, patience: Patience, on_progress: Callable[[Progress], object]) -> None:
        self.server, self.to, self.patience, self.on_progress = server, to, patience, on_progress
        self.host = urlsplit(server).netloc.rpartition("@")[2]
        self.reached = False
        self.fetched: list[str] = []
        self.fetched_bytes = 0
        self._listing: dict[str, _Remote] | None = None
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
            _Redirects(server.startswith("http://")),
        ):
            self._opener.add_handler(handler)

    def part(self, name: str) -> _Part:
        """Return the part of a file that is there."""
        return _Part(self.to, self._list()[name])

    def size_bytes(self, name: str) -> int:
        """Return the listed size of a file; 0 where it is not listed."""
        return self._list()[name].size_bytes or 0

    def fetch(self, name: str) -> _Part:
        """Return a file that is whole and verified, under its part's name."""
        part = self.part(name)
        tries = _Tries(name, self, most=part.size)
        before = self.fetched_bytes
        tries.run(lambda: self._complete(part, tries), clear=part.clear)
        if self.fetched_bytes > before:
            self.fetched.append(name)
        return part

    def unreachable(self, reason: str) -> DataError:
        """Return the error of somebody who is offline."""
        return DataError(f"{self.host} could not be reached: {reason}. {_by_hand(self.to)}")

    # The listing

    def _list(self) -> dict[str, _Remote]:
        if self._listing is None:
            files = _Tries("The list of files", self).run(self._read_files)
            self._listing = {name: _find_remote(name, files, self.server) for name in (_METADATA, *ARCHIVES)}
        return self._listing

    def _read_files(self) -> list[dict[str, Any]]:
        url = f"{self.server}/api/datasets/:persistentId/?persistentId={quote(DOI, safe=':/')}"
        unfit = _UnfitError("the answer is not the listing of a dataset")
        with self._open(url, {}, "The list of files") as response:
            try:
                content = response.read(_MAX_LISTING_BYTES + 1)
            except (OSError, HTTPException) as error:
                raise _AgainError(self._describe(error)) from error
            announced = _read_number(response.headers.get("Content-Length"))
        if announced is not None and len(content) < min(announced, _MAX_LISTING_BYTES):
            raise _AgainError("the connection was cut")
        try:
            files = json.loads(content)["data"]["latestVersion"]["files"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise unfit from error
        if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
            raise unfit
        return files

    # One file

    def _complete(self, part: _Part, tries: _Tries) -> None:
        if not part.is_whole:
            self._receive(part, tries)
        self._verify(part)

    def _receive(self, part: _Part, tries: _Tries) -> None:
        headers = {"Range": f"bytes={part.size}-"} if part.size else {}
        if part.size and part.validator:
            headers["If-Range"] = part.validator
        with self._open(part.remote.url, headers, part.remote.name) as response:
            if response.status == 416:
                raise _UnfitError(f"the server's copy ends before byte {part.size:,}", spoilt=True)
            _refuse_other_content(response.headers)
            if response.status == 206:
                _check_range(part, response.headers)
            else:
                total = _check_length(part.remote, response.headers)
                part.begin(total, response.headers.get("ETag"), response.headers.get("Last-Modified"))
            self._stream(part, response, tries)

    def _stream(self, part: _Part, response: Any, tries: _Tries) -> None:
        meter = _Meter("fetch", part.remote.name, part.total_bytes, part.size, self.on_progress)
        with _writing(part.path):
            file = part.path.open("ab")
        try:
            while block := self._read_block(part, response):
                if part.total_bytes is not None and part.size + len(block) > part.total_bytes:
                    raise _UnfitError(f"it is longer than {part.total_bytes:,} bytes", spoilt=True)
                with _writing(part.path):
                    file.write(block)
                    file.flush()
                part.size += len(block)
                self.fetched_bytes += len(block)
                tries.note_arrival(part.size)
                meter.show(part.size)
        finally:
            with _writing(part.path):  # what a full disk did not take is tried once more
                file.close()
        if part.total_bytes is not None and not part.is_whole:
            raise _AgainError(f"the connection was cut after {part.size:,} of {part.total_bytes:,} bytes")

    def _read_block(self, part: _Part, response: Any) -> bytes:
        try:
            return response.read1(_BLOCK_BYTES)
        except (OSError, HTTPException) as error:
            if part.is_whole:
                return b""
            raise _AgainError(self._describe(error)) from error

    def _verify(self, part: _Part) -> None:
        remote = part.remote
        if remote.hash_name is None or remote.checksum is None:
            return
        digest = hashlib.new(remote.hash_name, usedforsecurity=False)
        meter = _Meter("check", remote.name, part.size, 0, self.on_progress)
        done = 0
        with part.path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                done += len(block)
                meter.show(done)
        if digest.hexdigest() != remote.checksum:
            raise _UnfitError(
                f"its {remote.hash_name.upper()} checksum is {digest.hexdigest()} and not {remote.checksum}",
                spoilt=True,
            )

    # One request

    def _open(self, url: str, headers: dict[str, str], name: str) -> Any:
        """Return the answer to one request if its status is 200, 206 or 416.

        Raises
        ------
        _AgainError
            If it failed in a way that may pass.
        DataError
            If it failed for good.
        """
        sent = {"Accept-Encoding": "identity", "User-Agent": "skinai data download", **headers}
        request = urllib.request.Request(url, headers=sent)  # noqa: S310 - _read_server lets http and https pass
        try:
            response = self._opener.open(request, timeout=self.patience.timeout_s)
        except urllib.error.HTTPError as error:
            self.reached = True
            if error.code == 416 and "Range" in headers:
                return error
            raise self._refusal(error, name) from error
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a host that cannot be one
            raise self._failure(error) from error
        self.reached = True
        return response

    def _refusal(self, error: urllib.error.HTTPError, name: str) -> Exception:
        with error:
            said = f"HTTP {error.code}{_read_message(error)}"
            if error.code in _AGAIN:
                asked = error.headers.get("Retry-After") if error.code in (429, 503) else None
                return _AgainError(f"the server answered {said}", self.patience.asked_wait_s(asked))
        return DataError(f"{name} is not given out by {self.host} ({said}). {_by_hand(self.to)}")

    def _failure(self, error: Exception) -> Exception:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        cause = cause if isinstance(cause, Exception) else error
        reason = self._describe(cause)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return self.unreachable(reason)
        offline = isinstance(cause, (socket.gaierror, ConnectionRefusedError)) or (
            isinstance(cause, OSError) and cause.errno in _ABSENT
        )
        return self.unreachable(reason) if offline and not self.reached else _AgainError(reason)

    def _describe(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"nothing came for {self.patience.timeout_s:g} seconds"
        if isinstance(error, socket.gaierror):
            return "its address was not found"
        if isinstance(error, ConnectionRefusedError):
            return "it refused the connection"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({error.verify_message})"
        if isinstance(error, (ConnectionError, HTTPException)):
            return "the connection was cut"
        return " ".join(str(error).split()) or type(error).__name__


@dataclass
class _Meter:
    """Tells how far a step is and how fast it goes."""

    step: str
    name: str
    total_bytes: int | None
    start_bytes: int
    on_progress: Callable[[Progress], object]
    start_s: float = field(default_factory=time.monotonic)

    def show(self, done: int) -> None:
        """Tell that so many bytes are done."""
        elapsed = time.monotonic() - self.start_s
        rate = (done - self.start_bytes) / elapsed if elapsed > 0 else None
        left = (self.total_bytes - done) / rate if rate and self.total_bytes is not None else None
        self.on_progress(Progress(self.step, self.name, done, self.total_bytes, rate, left))


def _find_remote(name: str, files: list[dict[str, Any]], server: str) -> _Remote:
    """Return a file of the listing, which may have another ending than its usual one."""
    stem = name.removesuffix(".zip")
    pattern = re.compile(re.escape(stem) + r"(_lesion\w*)?(\.\w+)?", re.IGNORECASE)
    labels = {str(file.get("label") or ""): file for file in files}
    fitting = [
        label for label in labels if (match := pattern.fullmatch(label)) and (match[2] or "").lower() in _ENDINGS[name]
    ]
    if not fitting:
        raise DataError(f"The dataset {DOI} has no file {name}; it has: {listed(sorted(labels)) or 'none'}.")
    return _read_remote(name, labels[min(fitting, key=len)], server)


def _read_remote(name: str, file: dict[str, Any], server: str) -> _Remote:
    about = file.get("dataFile")
    about = about if isinstance(about, dict) else {}
    ingested = bool(about.get("originalFileFormat") or about.get("tabularData"))
    number, size = about.get("id"), about.get("originalFileSize" if ingested else "filesize")
    size = size if isinstance(size, int) and size > 0 else None
    checksum = about.get("checksum")
    kind, value = (checksum.get("type"), checksum.get("value")) if isinstance(checksum, dict) else ("MD5", None)
    value = value or about.get("md5")
    hash_name = _HASHES.get(str(kind)) if isinstance(value, str) else None
    if not isinstance(number, int) or (name in ARCHIVES and (size is None or hash_name is None)):
        raise DataError(f"The dataset {DOI} lists {name} without its number, size or checksum.")
    url = f"{server}/api/access/datafile/{number}" + ("?format=original" if ingested else "")
    return _Remote(name, url, size, hash_name, str(value).lower() if hash_name else None)


def _refuse_other_content(headers: HTTPMessage) -> None:
    if headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise _UnfitError("it was sent in another encoding than was asked for")
    if headers.get_content_type() == "text/html":
        raise _UnfitError("a web page came instead of it")


def _check_length(remote: _Remote, headers: HTTPMessage) -> int | None:
    """Return how many bytes are to come, unless that is not what the dataset lists; None where nothing tells."""
    announced = _read_number(headers.get("Content-Length"))
    if remote.size_bytes is None and announced is None and remote.checksum is None:
        raise _UnfitError("neither its length nor its checksum is known")
    if remote.size_bytes is not None and announced not in (None, remote.size_bytes):
        raise _UnfitError(f"it was sent with {announced:,} bytes and not {remote.size_bytes:,}")
    return announced if remote.size_bytes is None else remote.size_bytes


def _check_range(part: _Part, headers: HTTPMessage) -> None:
    """Refuse an answer that does not go on exactly where the part ends."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", "").strip(), re.ASCII)
    if not part.size or match is None or int(match[1]) != part.size:
        raise _UnfitError("another part of it came than was asked for", spoilt=True)
    if part.total_bytes is None and match[3] != "*":
        part.total_bytes = int(match[3])
    changed = bool(part.etag) and headers.get("ETag", part.etag) != part.etag
    if changed or match[3] not in ("*", str(part.total_bytes)):
        raise _UnfitError("it changed while it was fetched", spoilt=True)


def _read_message(error: urllib.error.HTTPError) -> str:
    """Return what Dataverse says about an error, in front of which a colon stands; empty where it says nothing."""
    try:
        message = json.loads(error.read(4096))["message"]
    except (OSError, HTTPException, ValueError, KeyError, TypeError, RecursionError):
        return ""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(message)).split())
    return f": {text[:200]}" if text else ""


def _read_number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,15}", text.strip()) else None


def _read_server(server: str) -> str:
    if not re.fullmatch(r"https?://[0-9A-Za-z.\[\]:@_-]+(/[^\s?#]*)?", server, re.ASCII):
        raise UsageError(f"A server's address looks like {SERVER}. Received: {server!r}.")
    return server.rstrip("/")


# The archives


def _unpack(archive: Path, folder: Path, on_progress: Callable[[Progress], object]) -> int:
    """Unpack the pictures that are not there yet; return how many were written.

    Raises
    ------
    DataError
        If the archive is damaged or holds something else than pictures; nothing is written under a wrong name.
    """
    with _reading(archive):
        opened = zipfile.ZipFile(archive)
    with opened:
        members = _list_members(opened, archive.name)
        meter = _Meter("unpack", archive.name, sum(info.file_size for info in members.values()), 0, on_progress)
        written = done = 0
        for name, info in members.items():
            if not _is_unpacked(folder / name, info):
                with _reading(archive):
                    content = _read_member(opened, info, archive.name)
                with _writing(folder / name):
                    write_atomic(folder / name, content)
                written += 1
            done += info.file_size
            meter.show(done)
    return written


def _list_members(opened: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    """Return the pictures by plain name, after a look at every member of the archive."""
    members: dict[str, zipfile.ZipInfo] = {}
    offsets = set()
    if len(opened.infolist()) > _MAX_MEMBERS:
        raise DataError(f"{name} lists {len(opened.infolist()):,} files; at most {_MAX_MEMBERS:,} are unpacked.")
    for info in opened.infolist():
        if _IGNORED.fullmatch(info.filename):
            continue
        match = _MEMBER.fullmatch(info.filename)
        if match is None or stat.S_ISLNK(info.external_attr >> 16) or match[1] in members:
            raise DataError(
                f"{name} holds {info.filename[:100]!r}, which is no plain ISIC_*.jpg; nothing was unpacked from it."
            )
        if not 0 < info.file_size <= MAX_BYTES or info.header_offset in offsets:
            raise DataError(f"{name} holds {match[1]} of an impossible size; nothing was unpacked from it.")
        offsets.add(info.header_offset)
        members[match[1]] = info
    return members


def _is_unpacked(file: Path, info: zipfile.ZipInfo) -> bool:
    if not file.is_file() or file.stat().st_size != info.file_size:
        return False
    return zlib.crc32(file.read_bytes()) == info.CRC


def _read_member(opened: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    """Return a picture's bytes; zipfile stops at the listed size and compares the checksum there."""
    with opened.open(info) as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) != info.file_size or not content.startswith(b"\xff\xd8\xff"):
        raise DataError(f"{name} holds {info.filename}, which is no JPEG picture. {_remove(name)}")
    return content


# The disk


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # zipfile raises many types on damaged archives
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{archive.name} is damaged ({reason}). {_remove(archive.name)}") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what a disk answers into a sentence."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} could not be written: {error.strerror or error}.") from error


@contextmanager
def _alone(to: Path) -> Iterator[None]:
    """Hold the folder; the lock ends with the process, however that ends. Windows has none that is as simple."""
    if sys.platform == "win32":
        yield
        return
    handle = os.open(to, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"Another download into {to} is running.") from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


# Wording


def _by_hand(to: Path) -> str:
    return (
        f"By hand: fetch {ARCHIVES[0]}, {ARCHIVES[1]} and {_METADATA} from {DOI_LINK} with a browser, "
        f"put them into {to} and run the command again."
    )


def _remove(name: str) -> str:
    return f"Remove {name} and run the command again to fetch it anew."


def _size(count: int) -> str:
    """Return a number of bytes as people say it.

    >>> _size(2_770_088_655), _size(690_218), _size(12)
    ('2.8 GB', '690.2 kB', '12 bytes')
    """
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
