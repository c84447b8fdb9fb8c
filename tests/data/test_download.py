"""The promises of the download, kept against a server on this machine that misbehaves on command."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from email.utils import formatdate
from functools import partial
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError
from urllib.request import Request

import pytest

from skinai.data import download
from skinai.data.download import LICENCE_NOTE, DownloadResult, Patience, Progress, download_ham10000
from skinai.data.drawing import draw_lesion
from skinai.data.metadata import read_data_folder
from skinai.errors import DataError, UsageError
from tests.conftest import ROOT, encode, pack

NOW = 1_700_000_000
PART_1, PART_2, METADATA = "HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip", "HAM10000_metadata"
NUMBERS = {PART_1: 1, PART_2: 2, METADATA: 3, "ISIC2018_Task3_Test_Images.zip": 4}
HEADER = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"]


# A Dataverse with one small dataset


def draw_pictures(part: int) -> dict[str, bytes]:
    numbers = range(24306 + 4 * part, 24310 + 4 * part)
    return {f"ISIC_{number:07d}.jpg": encode(draw_lesion(number, width_px=64, height_px=48)) for number in numbers}


PICTURES = {part: draw_pictures(part) for part in (1, 2)}
ARCHIVES = {PART_1: pack(PICTURES[1], zipfile.ZIP_STORED), PART_2: pack(PICTURES[2], zipfile.ZIP_STORED)}
IMAGES = [name.removesuffix(".jpg") for part in PICTURES.values() for name in part]
ROWS = [
    [f"HAM_{number:07d}", image, "nv", "histo", "" if number == 3 else "45.0", "male", "back", "vidir_modern"]
    for number, image in enumerate(IMAGES)
]


def write_table(delimiter: str, quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows([HEADER, *ROWS])
    return buffer.getvalue().encode()


TABLE = write_table(",")


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def describe(label: str, number: int, content: bytes, *, ingested: bool) -> dict:
    about = {"id": number, "filename": label, "filesize": len(content), "md5": md5(content)}
    about["checksum"] = {"type": "MD5", "value": md5(content)}
    if ingested:
        changes = {"filesize": 77, "originalFileSize": len(content), "UNF": "UNF:6:x==", "tabularData": True}
        about |= {**changes, "originalFileFormat": "text/csv"}
    return {"label": label, "restricted": False, "dataFile": about}


class Dataverse:
    """What the server holds, what it was asked, and how it misbehaves: one behaviour a request, from a queue."""

    def __init__(self) -> None:
        self.contents = {1: ARCHIVES[PART_1], 2: ARCHIVES[PART_2], 3: TABLE, 4: b"not needed"}
        self.labels = {1: PART_1, 2: PART_2, 3: f"{METADATA}.tab", 4: "ISIC2018_Task3_Test_Images.zip"}
        self.plans: dict[int | str, list] = defaultdict(list)
        self.asked: list[tuple[int | str, str, dict]] = []
        self.released = threading.Event()
        self.address = ""

    def listing(self) -> dict:
        files = [
            describe(self.labels[number], number, content, ingested=self.labels[number].endswith(".tab"))
            for number, content in self.contents.items()
        ]
        return {"status": "OK", "data": {"latestVersion": {"files": files}}}

    def plan(self, name: str, *behaviours) -> None:
        self.plans[NUMBERS.get(name, name)].extend(behaviours)

    def ranges(self, name: str) -> list[str | None]:
        """The ranges that were asked for, one a request."""
        return [headers.get("Range") for key, _, headers in self.asked if key == NUMBERS.get(name, name)]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        dataverse: Dataverse = self.server.dataverse
        number = re.search(r"/datafile/(\d+)", self.path)
        key = int(number[1]) if number else "listing"
        dataverse.asked.append((key, self.path, dict(self.headers)))
        content = dataverse.contents[key] if number else json.dumps(dataverse.listing()).encode()
        behaviour = dataverse.plans[key].pop(0) if dataverse.plans[key] else serve
        behaviour(self, content)

    def answer(self, status: int, body: bytes, length: int | None = -1, **headers: str) -> None:
        """Send an answer; a length of -1 is the true one, None sends none."""
        self.send_response(status)
        headers = {"Content_Type": "application/octet-stream", **headers}
        if length is not None:
            headers["Content_Length"] = str(len(body) if length == -1 else length)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def tag(content: bytes) -> str:
    return f'"{md5(content)}"'


def serve(handler: Handler, content: bytes, *, at_most: int | None = None, ranges: bool = True, **headers: str) -> None:
    """Answer as a good server does; `at_most` cuts the body."""
    headers = {"ETag": tag(content), **headers}
    asked, condition = handler.headers.get("Range"), handler.headers.get("If-Range", headers["ETag"])
    if not asked or not ranges or condition != headers["ETag"]:
        handler.answer(200, content[:at_most], len(content), **headers)
        return
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    if start >= len(content):
        handler.answer(416, b"", Content_Range=f"bytes */{len(content)}")
        return
    rest = content[start:]
    span = f"bytes {start}-{len(content) - 1}/{len(content)}"
    handler.answer(206, rest[:at_most], len(rest), **{"Content_Range": span, **headers})


def fail(status: int, body: bytes = b"", **headers: str):
    return lambda handler, content: handler.answer(status, body, **headers)


def send(change, length=-1, **headers: str):
    """Answer 200 with a changed body, and a length that may lie."""
    return lambda handler, content: handler.answer(200, change(content), length, **headers)


def reset(handler: Handler, content: bytes) -> None:
    """Break the connection before any answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.wfile = handler.rfile = io.BytesIO()


def hang(handler: Handler, content: bytes) -> None:
    """Send 1,000 bytes, then nothing."""
    handler.answer(200, content[:1000], len(content), ETag=tag(content))
    handler.wfile.flush()
    handler.server.dataverse.released.wait(120)


def cut(at_most: int, **options):
    return partial(serve, at_most=at_most, **options)


def span(text: str, body: bytes = b"x" * 10):
    return lambda handler, content: handler.answer(206, body, Content_Range=text)


def truncated(content: bytes) -> bytes:
    return content[:-1]


def lengthened(content: bytes) -> bytes:
    return content + b"!"


def spoiled(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def unchanged(content: bytes) -> bytes:
    return content


PAGE = {"Content_Type": "text/html; charset=utf-8"}
WEB_PAGE = send(lambda _: b"<html>Please come back later</html>", **PAGE)


@pytest.fixture
def dataverse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dataverse]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    # No test pulls a plug, and a thousand of these take seconds.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    state = Dataverse()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close, server.dataverse = True, False, state
    server.handle_error = lambda *_: None  # clients that hang up are part of the game
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    state.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Waits(list):
    """The waits that were taken, without waiting."""


def fetch(dataverse: Dataverse, to: Path, waits: list | None = None, **options) -> DownloadResult:
    attempts, timeout_s = options.pop("attempts", 6), options.pop("timeout_s", 120.0)
    patience = Patience(
        attempts=attempts,
        timeout_s=timeout_s,
        sleep=(Waits() if waits is None else waits).append,
        jitter=lambda: 1.0,
        now=lambda: NOW,
    )
    return download_ham10000(to, server=dataverse.address, patience=patience, **options)


def refuse(dataverse: Dataverse, to: Path, waits: list | None = None, **options) -> str:
    """Return the sentence with which the download gives up, the server's address and the folder being named."""
    with pytest.raises(DataError) as caught:
        fetch(dataverse, to, waits, **options)
    host = dataverse.address.removeprefix("http://")
    return str(caught.value).replace(host, "HOST").replace(str(to), "DIR").replace(BY_HAND, "BY HAND")


BY_HAND = (
    "By hand: fetch HAM10000_images_part_1.zip, HAM10000_images_part_2.zip and HAM10000_metadata from "
    "https://doi.org/10.7910/DVN/DBW86T with a browser, put them into DIR and run the command again."
)


def list_files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


FINISHED = sorted(
    ["HAM10000_metadata.csv"]
    + [f"HAM10000_images_part_{part}/{name}" for part, pictures in PICTURES.items() for name in pictures]
)
PARTS = [f".part-{PART_1}", f".part-{PART_1}.json"]


def assert_finished(folder: Path, also: tuple[str, ...] = ()) -> None:
    assert list_files(folder) == sorted([*FINISHED, *also])
    for part, pictures in PICTURES.items():
        for name, content in pictures.items():
            assert (folder / f"HAM10000_images_part_{part}" / name).read_bytes() == content


# From nothing to everything


def test_an_empty_folder_becomes_a_data_folder_in_kaggles_layout(dataverse: Dataverse, tmp_path: Path):
    to = tmp_path / "new" / "ham10000"
    result = fetch(dataverse, to)
    assert_finished(to)
    assert read_data_folder(to).remarks[0].code == "age_missing"
    assert len(read_data_folder(to).present) == 8
    size = sum(len(dataverse.contents[number]) for number in (1, 2, 3))
    assert result == DownloadResult(to, (METADATA, PART_1, PART_2), size, 8, 8)
    assert re.fullmatch(
        re.escape(str(to))
        + r" holds all 8 pictures of HAM10000 and HAM10000_metadata\.csv: fetched HAM10000_metadata, "
        r"HAM10000_images_part_1\.zip, HAM10000_images_part_2\.zip \(\d+\.\d kB\) and unpacked 8 pictures\.",
        result.sentence,
    )


def test_the_server_is_asked_once_for_the_list_and_once_for_each_needed_file(dataverse: Dataverse, tmp_path: Path):
    fetch(dataverse, tmp_path)
    assert [path for _, path, _ in dataverse.asked] == [
        "/api/datasets/:persistentId/?persistentId=doi:10.7910/DVN/DBW86T",
        "/api/access/datafile/3?format=original",
        "/api/access/datafile/1",
        "/api/access/datafile/2",
    ]
    assert {headers["Accept-Encoding"] for _, _, headers in dataverse.asked} == {"identity"}


def test_a_finished_folder_costs_no_request_and_says_so(dataverse: Dataverse, tmp_path: Path):
    fetch(dataverse, tmp_path)
    dataverse.asked.clear()
    result = fetch(dataverse, tmp_path)
    assert dataverse.asked == []
    assert result == DownloadResult(tmp_path, (), 0, 0, 8)
    assert result.sentence == (
        f"{tmp_path} holds all 8 pictures of HAM10000 and HAM10000_metadata.csv already; nothing was fetched."
    )


def test_archives_stay_where_they_are_asked_to(dataverse: Dataverse, tmp_path: Path):
    fetch(dataverse, tmp_path, keep_archives=True)
    assert_finished(tmp_path, (PART_1, PART_2))
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path, (PART_1, PART_2))


def test_progress_tells_bytes_rate_and_time_left(dataverse: Dataverse, tmp_path: Path):
    told: list[Progress] = []
    fetch(dataverse, tmp_path, on_progress=told.append)
    for step, total in (("fetch", len(ARCHIVES[PART_1])), ("check", len(ARCHIVES[PART_1]))):
        about = [progress for progress in told if (progress.step, progress.name) == (step, PART_1)]
        assert about[-1].done_bytes == about[-1].total_bytes == total
        assert about[-1].left_s == 0
        assert about[-1].rate_bytes_per_s > 0
        assert all(first.done_bytes < second.done_bytes for first, second in pairwise(about))
    unpacked = [progress.done_bytes for progress in told if (progress.step, progress.name) == ("unpack", PART_2)]
    assert unpacked[-1] == sum(map(len, PICTURES[2].values()))
    assert len(unpacked) == 4


def test_the_licence_is_named():
    assert "CC BY-NC 4.0" in LICENCE_NOTE


# The metadata


@pytest.mark.parametrize("content", [write_table("\t"), write_table("\t", csv.QUOTE_ALL), write_table(";")])
def test_a_table_with_tabs_or_quotes_gets_commas(dataverse: Dataverse, tmp_path: Path, content: bytes):
    dataverse.contents[3] = content
    fetch(dataverse, tmp_path)
    assert (tmp_path / "HAM10000_metadata.csv").read_bytes() == TABLE


def test_a_table_with_commas_keeps_its_bytes(dataverse: Dataverse, tmp_path: Path):
    dataverse.contents[3] = TABLE.replace(b"\n", b"\r\n")
    fetch(dataverse, tmp_path)
    assert (tmp_path / "HAM10000_metadata.csv").read_bytes() == dataverse.contents[3]


@pytest.mark.parametrize("label", [METADATA, f"{METADATA}.csv", f"{METADATA}_lesion.tab", f"{METADATA.lower()}.tab"])
def test_the_metadata_are_found_under_other_names(dataverse: Dataverse, tmp_path: Path, label: str):
    dataverse.labels[3] = label
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)
    original = "?format=original" if label.endswith(".tab") else ""
    assert dataverse.asked[1][1] == f"/api/access/datafile/3{original}"


@pytest.mark.parametrize(
    "removed", [("md5", "checksum"), ("originalFileSize",), ("md5", "checksum", "originalFileSize")]
)
def test_a_table_may_be_listed_without_checksum_or_size(dataverse: Dataverse, tmp_path: Path, removed):
    listing = dataverse.listing()
    for name in removed:
        del listing["data"]["latestVersion"]["files"][2]["dataFile"][name]
    dataverse.listing = lambda: listing
    dataverse.plan(METADATA, cut(100))
    waits = Waits()
    fetch(dataverse, tmp_path, waits)
    assert_finished(tmp_path)
    assert (dataverse.ranges(METADATA), waits) == ([None, "bytes=100-"], [1.0])


def test_a_table_whose_length_nobody_knows_is_refused(dataverse: Dataverse, tmp_path: Path):
    listing = dataverse.listing()
    for name in ("md5", "checksum", "originalFileSize"):
        del listing["data"]["latestVersion"]["files"][2]["dataFile"][name]
    dataverse.listing = lambda: listing
    dataverse.plan(METADATA, send(unchanged, None), send(unchanged, None))
    assert refuse(dataverse, tmp_path) == (
        "HAM10000_metadata could not be fetched from HOST: neither its length nor its checksum is known, twice. BY HAND"
    )


def test_a_table_that_is_none_is_refused_and_forgotten(dataverse: Dataverse, tmp_path: Path):
    dataverse.contents[3] = b"image_id,dx\nISIC_1,nv\n"
    assert refuse(dataverse, tmp_path).startswith("The metadata that HOST sent cannot be read: Missing columns in ")
    assert list_files(tmp_path) == []


# Cuts, and going on


def test_a_cut_file_goes_on_where_it_was_cut(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan(PART_1, cut(1000), cut(500))
    waits, told = Waits(), []
    result = fetch(dataverse, tmp_path, waits, on_progress=told.append)
    assert_finished(tmp_path)
    assert dataverse.ranges(PART_1) == [None, "bytes=1000-", "bytes=1500-"]
    assert dataverse.asked[3][2]["If-Range"] == tag(ARCHIVES[PART_1])
    assert waits == [1.0, 1.0]
    assert result.fetched_bytes == sum(len(dataverse.contents[number]) for number in (1, 2, 3))
    reason = f"the connection was cut after 1,000 of {len(ARCHIVES[PART_1]):,} bytes"
    assert Progress("wait", PART_1, wait_s=1.0, reason=reason) in told


def test_the_next_call_goes_on_too(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan(PART_1, cut(1000), fail(500))
    size = len(ARCHIVES[PART_1])
    assert refuse(dataverse, tmp_path, attempts=1) == (
        f"HAM10000_images_part_1.zip could not be fetched from HOST: the connection was cut after 1,000 of {size:,} "
        "bytes, 1 attempts in a row. What has arrived is kept; run the command again later to go on."
    )
    assert list_files(tmp_path) == [*PARTS, "HAM10000_metadata.csv"]
    dataverse.plans.clear()
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)
    assert dataverse.ranges(PART_1) == [None, "bytes=1000-"]
    assert dataverse.ranges(METADATA) == [None]


def test_whatever_arrives_renews_the_patience(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan(PART_1, *[cut(200)] * 20)
    waits = Waits()
    fetch(dataverse, tmp_path, waits, attempts=2)
    assert_finished(tmp_path)
    assert len(dataverse.ranges(PART_1)) == min(21, 1 + len(ARCHIVES[PART_1]) // 200)
    assert set(waits) == {1.0}


def test_a_server_that_starts_over_each_time_does_not_keep_us_for_ever(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan(PART_1, *[cut(1000, ranges=False)] * 9)
    waits = Waits()
    assert ", 3 attempts in a row." in refuse(dataverse, tmp_path, waits, attempts=3)
    assert dataverse.ranges(PART_1) == [None, "bytes=1000-", "bytes=1000-"]
    assert waits == [1.0, 2.0]
    assert list_files(tmp_path) == [*PARTS, "HAM10000_metadata.csv"]


def test_an_ignored_range_starts_the_file_over(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan(PART_1, cut(1000), partial(serve, ranges=False))
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)
    assert dataverse.ranges(PART_1) == [None, "bytes=1000-"]


def test_a_body_without_a_length_that_ends_early_goes_on(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan(PART_1, send(lambda content: content[:700], None))
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)
    assert dataverse.ranges(PART_1) == [None, "bytes=700-"]
    assert "If-Range" not in dataverse.asked[3][2]


def test_a_weak_etag_gives_way_to_the_date(dataverse: Dataverse, tmp_path: Path):
    date = formatdate(NOW, usegmt=True)
    dataverse.plan(PART_1, lambda handler, content: handler.answer(200, content[:9], 9999, ETag='W/"x"'))
    dataverse.plan(
        PART_1,
        lambda handler, content: handler.answer(
            200, content[:700], len(content), ETag='W/"x"', Last_Modified=date, Content_Type="application/zip"
        ),
    )
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)
    assert dataverse.asked[4][2]["If-Range"] == date


def test_a_silent_server_is_left_after_the_time_out(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan(PART_1, hang)
    waits, told = Waits(), []
    fetch(dataverse, tmp_path, waits, timeout_s=5.0, on_progress=told.append)
    assert_finished(tmp_path)
    assert dataverse.ranges(PART_1) == [None, "bytes=1000-"]
    assert [progress.reason for progress in told if progress.step == "wait"] == ["nothing came for 5 seconds"]


def test_a_broken_connection_is_tried_again(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan("listing", reset)
    dataverse.plan(PART_1, reset, reset)
    waits = Waits()
    fetch(dataverse, tmp_path, waits)
    assert_finished(tmp_path)
    assert waits == [1.0, 1.0, 2.0]


def test_a_part_that_was_whole_already_is_only_checked(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan(PART_1, cut(1000))
    refuse(dataverse, tmp_path, attempts=1)
    (tmp_path / PARTS[0]).write_bytes(ARCHIVES[PART_1])
    dataverse.asked.clear()
    result = fetch(dataverse, tmp_path)
    assert_finished(tmp_path)
    assert dataverse.ranges(PART_1) == []
    assert result.fetched == (PART_2,)


@pytest.mark.parametrize("content", [spoiled(ARCHIVES[PART_1]), ARCHIVES[PART_1] + b"more", b"x"])
def test_a_part_that_is_wrong_does_not_pass_for_whole(dataverse: Dataverse, tmp_path: Path, content: bytes):
    dataverse.plan(PART_1, cut(1000))
    refuse(dataverse, tmp_path, attempts=1)
    (tmp_path / PARTS[0]).write_bytes(content)
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)


@pytest.mark.parametrize("note", [None, "{", "[]", '{"name": "HAM10000_images_part_1.zip", "size_bytes": 5}'])
def test_a_part_of_something_unknown_is_started_over(dataverse: Dataverse, tmp_path: Path, note: str | None):
    (tmp_path / PARTS[0]).write_bytes(ARCHIVES[PART_1][:1000])
    if note is not None:
        (tmp_path / PARTS[1]).write_text(note)
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)
    assert dataverse.ranges(PART_1) == [None]


# Answers that ask for patience, and those that end it


# What a server asks for and how long we wait; what asks for nothing leaves it to us, from the seventh failure on.
RETRY_AFTER = {
    "7": 7.0,
    "0": 0.0,
    "86400": 300.0,
    formatdate(NOW + 20, usegmt=True): 20.0,
    formatdate(NOW - 20, usegmt=True): 0.0,
    formatdate(NOW + 86400, usegmt=True): 300.0,
    "soon": 64.0,
    "-5": 128.0,
}


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_within_five_minutes(dataverse: Dataverse, tmp_path: Path, status: int):
    dataverse.plan("listing", *[fail(status, Retry_After=asked) for asked in RETRY_AFTER])
    waits = Waits()
    fetch(dataverse, tmp_path, waits, attempts=9)
    assert waits == list(RETRY_AFTER.values())


def test_waits_double_while_the_server_is_ill(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan(PART_2, fail(408), fail(429), fail(500), fail(502), fail(503), fail(504))
    waits = Waits()
    fetch(dataverse, tmp_path, waits, attempts=7)
    assert_finished(tmp_path)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]


def test_a_server_that_stays_ill_is_left_in_peace(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan(PART_2, *[fail(500)] * 9)
    waits = Waits()
    assert refuse(dataverse, tmp_path, waits) == (
        "HAM10000_images_part_2.zip could not be fetched from HOST: the server answered HTTP 500, 6 attempts in a row. "
        "What has arrived is kept; run the command again later to go on."
    )
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert len(dataverse.ranges(PART_2)) == 6
    assert list_files(tmp_path) == [PART_1, "HAM10000_metadata.csv"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final(dataverse: Dataverse, tmp_path: Path, status: int):
    dataverse.plan(PART_1, fail(status, b'{"status": "ERROR", "message": "You may\\nnot."}'))
    waits = Waits()
    assert refuse(dataverse, tmp_path, waits) == (
        f"HAM10000_images_part_1.zip is not given out by HOST (HTTP {status}: You may not.). BY HAND"
    )
    assert (waits, len(dataverse.ranges(PART_1))) == ([], 1)
    assert list_files(tmp_path) == ["HAM10000_metadata.csv"]


@pytest.mark.parametrize("body", [b"<html>", b"[" * 4096, b'{"message": ""}', b"null", b""])
def test_a_refusal_may_say_anything(dataverse: Dataverse, tmp_path: Path, body: bytes):
    dataverse.plan("listing", fail(403, body))
    assert refuse(dataverse, tmp_path) == "The list of files is not given out by HOST (HTTP 403). BY HAND"
    assert list_files(tmp_path) == []


# Answers that are not the file

SIZE = len(ARCHIVES[PART_1])
UNFIT = {
    "too short by its own length": (send(truncated), f"it was sent with {SIZE - 1:,} bytes and not {SIZE:,}"),
    "too long by its own length": (send(lengthened), f"it was sent with {SIZE + 1:,} bytes and not {SIZE:,}"),
    "too long without a length": (send(lengthened, None), f"it is longer than {SIZE:,} bytes"),
    "a web page": (WEB_PAGE, "a web page came instead of it"),
    "a web page of the right length": (send(unchanged, **PAGE), "a web page came instead of it"),
    "packed": (send(unchanged, Content_Encoding="gzip"), "it was sent in another encoding than was asked for"),
    "another checksum": (
        send(spoiled),
        f"its MD5 checksum is {md5(spoiled(ARCHIVES[PART_1]))} and not {md5(ARCHIVES[PART_1])}",
    ),
    "a part that nobody asked for": (span("bytes 0-9/10"), "another part of it came than was asked for"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_is_not_the_file_is_asked_for_once_more(dataverse: Dataverse, tmp_path: Path, case: str):
    dataverse.plan(PART_1, UNFIT[case][0])
    waits = Waits()
    fetch(dataverse, tmp_path, waits)
    assert_finished(tmp_path)
    assert (waits, dataverse.ranges(PART_1)) == ([1.0], [None, None])


@pytest.mark.parametrize("case", UNFIT)
def test_what_is_not_the_file_twice_is_refused(dataverse: Dataverse, tmp_path: Path, case: str):
    behaviour, reason = UNFIT[case]
    dataverse.plan(PART_1, behaviour, behaviour)
    assert refuse(dataverse, tmp_path) == (
        f"HAM10000_images_part_1.zip could not be fetched from HOST: {reason}, twice. BY HAND"
    )
    assert list_files(tmp_path) == ["HAM10000_metadata.csv"]
    assert len(dataverse.ranges(PART_1)) == 2


def test_a_web_page_does_not_cost_what_has_arrived(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan(PART_1, cut(1000), WEB_PAGE)
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)
    assert dataverse.ranges(PART_1) == [None, "bytes=1000-", "bytes=1000-"]


RANGES = {
    "another start": (span(f"bytes 999-{SIZE - 1}/{SIZE}"), "another part of it came than was asked for"),
    "no range": (lambda handler, _: handler.answer(206, b"x"), "another part of it came than was asked for"),
    "nonsense": (span("bytes 1000-"), "another part of it came than was asked for"),
    "another total": (span(f"bytes 1000-1009/{SIZE + 7}"), "it changed while it was fetched"),
    "another ETag": (partial(serve, ETag='"new"'), "it changed while it was fetched"),
    "no such range": (fail(416), "the server's copy ends before byte 1,000"),
    "no such range, with a page": (fail(416, b"<html>", **PAGE), "the server's copy ends before byte 1,000"),
}


@pytest.mark.parametrize("case", RANGES)
def test_a_part_that_does_not_go_on_starts_the_file_over(dataverse: Dataverse, tmp_path: Path, case: str):
    behaviour, reason = RANGES[case]
    if case == "another ETag":
        behaviour = ignore_condition(behaviour)
    dataverse.plan(PART_1, cut(1000), behaviour)
    waits, told = Waits(), []
    fetch(dataverse, tmp_path, waits, on_progress=told.append)
    assert_finished(tmp_path)
    assert dataverse.ranges(PART_1) == [None, "bytes=1000-", None]
    assert [progress.reason for progress in told if progress.step == "wait"][1] == reason
    assert waits == [1.0, 1.0]


@pytest.mark.parametrize("case", RANGES)
def test_a_part_that_does_not_go_on_twice_is_refused(dataverse: Dataverse, tmp_path: Path, case: str):
    behaviour, reason = RANGES[case]
    if case == "another ETag":
        behaviour = ignore_condition(behaviour)
    dataverse.plan(PART_1, cut(1000), behaviour, cut(1000), behaviour)
    assert refuse(dataverse, tmp_path).endswith(f"from HOST: {reason}, twice. BY HAND")
    assert list_files(tmp_path) == ["HAM10000_metadata.csv"]


def ignore_condition(behaviour):
    def answer(handler: Handler, content: bytes) -> None:
        del handler.headers["If-Range"]
        behaviour(handler, content)

    return answer


def test_a_file_that_changed_between_two_calls_is_fetched_anew(dataverse: Dataverse, tmp_path: Path):
    old = spoiled(ARCHIVES[PART_1])
    dataverse.plan(PART_1, lambda handler, _: serve(handler, old, at_most=1000))
    refuse(dataverse, tmp_path, attempts=1)
    assert json.loads((tmp_path / PARTS[1]).read_text())["etag"] == tag(old)
    waits = Waits()
    fetch(dataverse, tmp_path, waits)
    assert_finished(tmp_path)
    assert (dataverse.ranges(PART_1), waits) == ([None, "bytes=1000-"], [])


def test_a_file_that_is_listed_anew_is_fetched_anew(dataverse: Dataverse, tmp_path: Path):
    dataverse.contents[1] = spoiled(ARCHIVES[PART_1])
    dataverse.plan(PART_1, cut(1000))
    refuse(dataverse, tmp_path, attempts=1)
    dataverse.contents[1] = ARCHIVES[PART_1]
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)
    assert dataverse.ranges(PART_1) == [None, None]


# Redirects


def redirect(target: str):
    return lambda handler, content: handler.answer(302, b"", Location=target)


def test_a_redirect_to_the_storage_is_followed_with_the_range(dataverse: Dataverse, tmp_path: Path):
    storage = f"{dataverse.address}/storage/datafile/1?signature=secret"
    dataverse.plan(PART_1, redirect(storage), cut(1000), redirect(storage))
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)
    assert dataverse.ranges(PART_1) == [None, None, "bytes=1000-", "bytes=1000-"]


@pytest.mark.parametrize("target", ["ftp://elsewhere.test/x", "file:///etc/passwd"])
def test_a_redirect_elsewhere_than_to_the_web_is_refused(dataverse: Dataverse, tmp_path: Path, target: str):
    dataverse.plan(PART_1, redirect(target))
    sentence = refuse(dataverse, tmp_path)
    assert sentence in {
        "HOST redirects to ftp://elsewhere.test, which is not encrypted: refused.",
        "HAM10000_images_part_1.zip is not given out by HOST (HTTP 302). BY HAND",
    }


def test_an_encrypted_server_may_not_redirect_to_an_unencrypted_one():
    handler, answer = download._Redirects(unencrypted=False), io.BytesIO()
    request = Request("https://dataverse.test/api")
    ask = partial(handler.redirect_request, request, answer, 302, "Found", HTTPMessage())
    assert ask("https://storage.test/x").full_url == "https://storage.test/x"
    with pytest.raises(DataError) as caught:
        ask("http://storage.test/x?signature=secret")
    assert str(caught.value) == ("dataverse.test redirects to http://storage.test, which is not encrypted: refused.")
    assert answer.closed


def test_redirects_in_a_circle_end(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan(PART_1, *[redirect(f"{dataverse.address}/api/access/datafile/1")] * 30)
    assert refuse(dataverse, tmp_path) == ("HAM10000_images_part_1.zip is not given out by HOST (HTTP 302). BY HAND")
    assert len(dataverse.ranges(PART_1)) < 12


# The list of files


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (send(lambda _: b'{"data": '), "the answer is not the listing of a dataset"),
        (send(lambda _: b"[" * 100_000), "the answer is not the listing of a dataset"),
        (send(lambda _: b'{"status": "ERROR"}'), "the answer is not the listing of a dataset"),
        (send(lambda _: b'{"data": {"latestVersion": {"files": {}}}}'), "the answer is not the listing of a dataset"),
        (send(lambda _: b'{"data": {"latestVersion": {"files": [1]}}}'), "the answer is not the listing of a dataset"),
        (send(lambda _: b"\xff\xfe\xfd"), "the answer is not the listing of a dataset"),
        (WEB_PAGE, "the answer is not the listing of a dataset"),
    ],
)
def test_a_list_that_is_none_is_asked_for_once_more(dataverse: Dataverse, tmp_path: Path, behaviour, reason: str):
    dataverse.plan("listing", behaviour)
    waits = Waits()
    fetch(dataverse, tmp_path / "first", waits)
    assert waits == [1.0]
    dataverse.plan("listing", behaviour, behaviour)
    sentence = refuse(dataverse, tmp_path / "second")
    assert sentence == f"The list of files could not be fetched from HOST: {reason}, twice. BY HAND"
    assert list_files(tmp_path / "second") == []


def test_a_list_that_was_cut_is_asked_for_again(dataverse: Dataverse, tmp_path: Path):
    dataverse.plan("listing", cut(100), cut(200))
    waits = Waits()
    fetch(dataverse, tmp_path, waits)
    assert waits == [1.0, 2.0]


def test_a_list_without_a_needed_file_is_refused(dataverse: Dataverse, tmp_path: Path):
    dataverse.labels[2] = "HAM10000_images_part_2_masks.png"
    assert refuse(dataverse, tmp_path) == (
        "The dataset doi:10.7910/DVN/DBW86T has no file HAM10000_images_part_2.zip; it has: "
        "HAM10000_images_part_1.zip, HAM10000_images_part_2_masks.png, HAM10000_metadata.tab, "
        "ISIC2018_Task3_Test_Images.zip."
    )
    assert len(dataverse.asked) == 1


@pytest.mark.parametrize(
    "change", [{"id": None}, {"id": "1/../2"}, {"filesize": -1}, {"checksum": {"type": "CRC", "value": "x"}}]
)
def test_a_list_without_number_size_or_checksum_is_refused(dataverse: Dataverse, tmp_path: Path, change: dict):
    listing = dataverse.listing()
    listing["data"]["latestVersion"]["files"][0]["dataFile"].update(change)
    dataverse.listing = lambda: listing
    assert refuse(dataverse, tmp_path) == (
        "The dataset doi:10.7910/DVN/DBW86T lists HAM10000_images_part_1.zip without its number, size or checksum."
    )
    assert list_files(tmp_path) == []


def test_other_checksums_than_md5_are_known(dataverse: Dataverse, tmp_path: Path):
    listing = dataverse.listing()
    digest = hashlib.sha256(ARCHIVES[PART_1]).hexdigest().upper()
    listing["data"]["latestVersion"]["files"][0]["dataFile"]["checksum"] = {"type": "SHA-256", "value": digest}
    dataverse.listing = lambda: listing
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)


# Offline


def test_who_is_offline_reads_what_to_do_by_hand(dataverse: Dataverse, tmp_path: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dataverse.address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        waits = Waits()
        assert refuse(dataverse, tmp_path, waits) == "HOST could not be reached: it refused the connection. BY HAND"
    assert waits == []
    assert list_files(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "reason", "attempts"),
    [
        (URLError(socket.gaierror(-2, "Name or service not known")), "its address was not found", 1),
        (URLError(OSError(101, "Network is unreachable")), "[Errno 101] Network is unreachable", 1),
        (URLError(ssl.SSLCertVerificationError("bad")), "its certificate is not trusted (self-signed)", 1),
        (URLError(TimeoutError()), "nothing came for 5 seconds", 3),
        (ConnectionResetError(), "the connection was cut", 3),
        (URLError("unknown"), "<urlopen error unknown>", 3),
    ],
)
def test_each_way_of_being_offline_has_its_sentence(dataverse, tmp_path, monkeypatch, error, reason, attempts):
    if isinstance(getattr(error, "reason", None), ssl.SSLError):
        error.reason.verify_message = "self-signed"
    opened = []

    def open_nothing(*_: object, **__: object) -> None:
        opened.append(1)
        raise error

    monkeypatch.setattr(download.urllib.request.OpenerDirector, "open", open_nothing)
    assert refuse(dataverse, tmp_path, attempts=3, timeout_s=5.0) == f"HOST could not be reached: {reason}. BY HAND"
    assert len(opened) == attempts


def test_files_fetched_by_hand_need_no_server(dataverse: Dataverse, tmp_path: Path):
    (tmp_path / PART_1).write_bytes(ARCHIVES[PART_1])
    (tmp_path / PART_2).write_bytes(ARCHIVES[PART_2])
    (tmp_path / "HAM10000_metadata.tab").write_bytes(write_table("\t", csv.QUOTE_ALL))
    result = fetch(dataverse, tmp_path)
    assert_finished(tmp_path, ("HAM10000_metadata.tab",))
    assert dataverse.asked == []
    assert result.sentence.endswith("fetched nothing and unpacked 8 pictures.")


def test_an_archive_that_a_browser_left_half_is_named(dataverse: Dataverse, tmp_path: Path):
    fetch(dataverse, tmp_path, keep_archives=True)
    shutil.rmtree(tmp_path / "HAM10000_images_part_1")
    (tmp_path / PART_1).write_bytes(ARCHIVES[PART_1][:3000])
    assert refuse(dataverse, tmp_path) == (
        "HAM10000_images_part_1.zip is damaged (File is not a zip file). "
        "Remove HAM10000_images_part_1.zip and run the command again to fetch it anew."
    )


# Unpacking

JPEG = PICTURES[1]["ISIC_0024310.jpg"]


def link(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def corrupt(content: bytes) -> bytes:
    """Change one byte of the first picture, the list of contents staying right."""
    return content[:200] + bytes([content[200] ^ 255]) + content[201:]


def repeat(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, JPEG)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(name, JPEG)
    return buffer.getvalue()


ODD = "HAM10000_images_part_1.zip holds {}, which is no plain ISIC_*.jpg; nothing was unpacked from it."
GONE = "Remove HAM10000_images_part_1.zip and run the command again to fetch it anew."
BAD_ARCHIVES = {
    "a way up": (pack({"../ISIC_0024310.jpg": JPEG}), ODD.format("'../ISIC_0024310.jpg'")),
    "a way from the root": (pack({"/tmp/ISIC_0024310.jpg": JPEG}), ODD.format("'/tmp/ISIC_0024310.jpg'")),
    "another folder": (pack({"x/ISIC_0024310.jpg": JPEG}), ODD.format("'x/ISIC_0024310.jpg'")),
    "a text": (pack({**PICTURES[1], "readme.txt": b"hello"}), ODD.format("'readme.txt'")),
    "a line end": (pack({"ISIC_0024310.jpg\n": JPEG}), ODD.format("'ISIC_0024310.jpg\\n'")),
    "a link": (link("ISIC_0024310.jpg"), ODD.format("'ISIC_0024310.jpg'")),
    "a name twice": (repeat("ISIC_0024310.jpg"), ODD.format("'ISIC_0024310.jpg'")),
    "an empty picture": (
        pack({"ISIC_0024310.jpg": b""}),
        "HAM10000_images_part_1.zip holds ISIC_0024310.jpg of an impossible size; nothing was unpacked from it.",
    ),
    "a bomb": (
        pack({"ISIC_0024310.jpg": bytes(21 * 1024 * 1024)}),
        "HAM10000_images_part_1.zip holds ISIC_0024310.jpg of an impossible size; nothing was unpacked from it.",
    ),
    "no picture": (
        pack({"ISIC_0024310.jpg": b"<html>"}),
        f"HAM10000_images_part_1.zip holds ISIC_0024310.jpg, which is no JPEG picture. {GONE}",
    ),
    "a changed byte": (
        corrupt(pack(PICTURES[1], zipfile.ZIP_STORED)),
        f"HAM10000_images_part_1.zip is damaged (Bad CRC-32 for file 'ISIC_0024310.jpg'). {GONE}",
    ),
    "no archive": (b"nothing" * 100, f"HAM10000_images_part_1.zip is damaged (File is not a zip file). {GONE}"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_a_bad_archive_is_refused_and_nothing_of_it_stays(dataverse: Dataverse, tmp_path: Path, case: str):
    to = tmp_path / "data"
    dataverse.contents[1], sentence = BAD_ARCHIVES[case]
    assert refuse(dataverse, to) == sentence
    assert list_files(tmp_path) == [f"data/{PART_1}", f"data/{PART_2}", "data/HAM10000_metadata.csv"]


def test_more_files_than_ham10000_has_are_refused(dataverse: Dataverse, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(download, "_MAX_MEMBERS", 3)
    sentence = refuse(dataverse, tmp_path)
    assert sentence == "HAM10000_images_part_1.zip lists 4 files; at most 3 are unpacked."


def test_a_changed_byte_inside_packed_data_is_a_sentence_too(dataverse: Dataverse, tmp_path: Path):
    dataverse.contents[1] = corrupt(pack(PICTURES[1]))
    assert re.fullmatch(r"HAM10000_images_part_1\.zip is damaged \(.+\)\. Remove .+", refuse(dataverse, tmp_path))
    assert not list((tmp_path / "HAM10000_images_part_1").glob("*"))


def test_pictures_may_lie_in_a_folder_of_the_archives_name(dataverse: Dataverse, tmp_path: Path):
    inside = {f"HAM10000_images_part_1/{name}": content for name, content in PICTURES[1].items()}
    clutter = {"HAM10000_images_part_1/": b"", "__MACOSX/._ISIC_0024310.jpg": b"x", ".DS_Store": b"x"}
    dataverse.contents[1] = pack({**clutter, **inside})
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)


def test_an_interrupted_unpacking_goes_on(dataverse: Dataverse, tmp_path: Path):
    def stop(progress: Progress) -> None:
        if progress.step == "unpack" and progress.done_bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(dataverse, tmp_path, on_progress=stop)
    there = len(list(tmp_path.glob("HAM10000_images_part_1/*.jpg")))
    assert there == 1
    dataverse.asked.clear()
    result = fetch(dataverse, tmp_path)
    assert_finished(tmp_path)
    assert (dataverse.asked, result.unpacked) == ([], 8 - there)


def test_a_picture_that_is_not_the_archives_is_written_anew(dataverse: Dataverse, tmp_path: Path):
    fetch(dataverse, tmp_path, keep_archives=True)
    first, second, third, _ = sorted((tmp_path / "HAM10000_images_part_1").iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-10])
    third.write_bytes(spoiled(third.read_bytes()))
    assert fetch(dataverse, tmp_path).unpacked == 3
    assert_finished(tmp_path)


def test_an_empty_picture_does_not_pass_for_one(dataverse: Dataverse, tmp_path: Path):
    fetch(dataverse, tmp_path)
    (tmp_path / "HAM10000_images_part_2" / "ISIC_0024314.jpg").write_bytes(b"")
    assert fetch(dataverse, tmp_path).fetched == (PART_1, PART_2)
    assert_finished(tmp_path)


def test_a_listed_picture_in_neither_archive_is_told(dataverse: Dataverse, tmp_path: Path):
    dataverse.contents[3] = TABLE + b"HAM_9,ISIC_0000009,nv,histo,45.0,male,back,vidir_modern\n"
    assert refuse(dataverse, tmp_path) == (
        "HAM10000_metadata.csv lists pictures that are in neither archive: ISIC_0000009."
    )
    assert (tmp_path / PART_1).is_file()


# The disk, and other calls


def test_a_small_disk_is_noticed_before_anything_large_is_fetched(dataverse, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    assert refuse(dataverse, tmp_path) == "HAM10000 needs 50.0 MB more in DIR, and 1.0 MB are free: make room first."
    assert dataverse.ranges(PART_1) == []
    assert list_files(tmp_path) == ["HAM10000_metadata.csv"]


def test_what_has_arrived_is_not_counted_twice(dataverse: Dataverse, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(download, "_SPARE_BYTES", 0)
    first, second = (len(ARCHIVES[name]) for name in (PART_1, PART_2))

    def free(count: int) -> None:
        monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=count))

    free(2 * (first + second) - 1)
    assert "make room first" in refuse(dataverse, tmp_path)
    free(2 * (first + second))
    dataverse.plan(PART_1, cut(1000))
    refuse(dataverse, tmp_path, attempts=1)
    free(2 * (first + second) - 1000)
    fetch(dataverse, tmp_path, keep_archives=True)
    (tmp_path / "HAM10000_images_part_2" / "ISIC_0024314.jpg").unlink()
    free(len(PICTURES[2]["ISIC_0024314.jpg"]) - 1 + first + second - sum(map(len, all_pictures())))
    assert "make room first" in refuse(dataverse, tmp_path)


def all_pictures() -> list[bytes]:
    return [content for pictures in PICTURES.values() for content in pictures.values()]


def test_a_disk_that_cannot_be_written_is_a_sentence(dataverse: Dataverse, tmp_path: Path):
    (tmp_path / f".part-{PART_1}").mkdir()
    assert refuse(dataverse, tmp_path) == f"DIR/.part-{PART_1} could not be written: Is a directory."
    (tmp_path / "file").write_text("")
    assert refuse(dataverse, tmp_path / "file") == "DIR could not be written: File exists."


def test_a_disk_that_fills_up_is_a_sentence_and_what_came_is_kept(dataverse, tmp_path: Path, monkeypatch):
    dataverse.plan(PART_1, cut(1000))
    refuse(dataverse, tmp_path, attempts=1)
    real = Path.open

    class Full:
        def __init__(self, file) -> None:
            self.file = file

        def close(self) -> None:
            self.file.close()

        def write(self, _: bytes) -> None:
            raise OSError(28, "No space left on device")

    def open_full(path: Path, mode: str = "r", *arguments, **options):
        file = real(path, mode, *arguments, **options)
        return Full(file) if mode == "ab" else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        sentence = refuse(dataverse, tmp_path)
    assert sentence == f"DIR/.part-{PART_1} could not be written: No space left on device."
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)
    assert dataverse.ranges(PART_1) == [None, "bytes=1000-", "bytes=1000-"]


def test_what_a_killed_write_left_is_swept(dataverse: Dataverse, tmp_path: Path):
    (tmp_path / "HAM10000_images_part_1").mkdir()
    (tmp_path / ".tmp-x.json").write_text("{")
    (tmp_path / "HAM10000_images_part_1" / ".tmp-x.jpg").write_bytes(JPEG[:100])
    fetch(dataverse, tmp_path)
    assert_finished(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
def test_two_downloads_into_one_folder_do_not_meet(dataverse: Dataverse, tmp_path: Path):
    refused = []

    def call_again(_: Progress) -> None:
        with pytest.raises(UsageError) as caught:
            fetch(dataverse, tmp_path)
        refused.append(str(caught.value))

    fetch(dataverse, tmp_path, on_progress=call_again)
    assert set(refused) == {f"Another download into {tmp_path} is running."}
    assert_finished(tmp_path)


@pytest.mark.parametrize(
    "server", ["dataverse.harvard.edu", "ftp://x.test", "file:///etc", "https://", "https://a b", ""]
)
def test_a_server_that_is_no_web_address_is_refused(tmp_path: Path, server: str):
    with pytest.raises(UsageError) as caught:
        download_ham10000(tmp_path / "new", server=server)
    assert str(caught.value) == (f"A server's address looks like https://dataverse.harvard.edu. Received: {server!r}.")
    assert not (tmp_path / "new").exists()


def test_patience_has_at_least_one_attempt():
    with pytest.raises(UsageError, match="at least one attempt"):
        Patience(attempts=0)
    waits = [Patience().wait_s(1) for _ in range(50)]
    assert 0.5 <= min(waits) < max(waits) <= 1


# A process that is killed

KILLED = """
import os, signal, sys
from pathlib import Path
from skinai.data.download import download_ham10000

step, name, done = sys.argv[3:]

def die(progress):
    if (progress.step, progress.name) == (step, name) and progress.done_bytes >= int(done):
        os.kill(os.getpid(), signal.SIGKILL)

download_ham10000(Path(sys.argv[1]), server=sys.argv[2], on_progress=die)
"""
MOMENTS = {
    "fetching": ("fetch", PART_1, 1000),
    "checking": ("check", PART_2, 1),
    "unpacking": ("unpack", PART_2, 1),
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_leaves_nothing_half_and_the_next_goes_on(dataverse: Dataverse, tmp_path: Path):
    slow = partial(serve, at_most=1000)

    def dribble(handler: Handler, content: bytes) -> None:
        slow(handler, content)
        handler.wfile.flush()
        dataverse.released.wait(120)

    processes = {}
    dataverse.plan(PART_1, dribble)
    for moment, (step, name, done) in MOMENTS.items():
        command = [sys.executable, "-c", KILLED, str(tmp_path / moment), dataverse.address, step, name, str(done)]
        processes[moment] = subprocess.Popen(command, cwd=ROOT)
        if moment == "fetching":
            assert processes[moment].wait(300) == -signal.SIGKILL
    for moment, process in processes.items():
        assert process.wait(300) == -signal.SIGKILL, moment
    pictures = [f"HAM10000_images_part_1/{name}" for name in PICTURES[1]]
    assert list_files(tmp_path / "fetching") == [*PARTS, "HAM10000_metadata.csv"]
    assert (tmp_path / "fetching" / PARTS[0]).read_bytes() == ARCHIVES[PART_1][:1000]
    checked = [f".part-{PART_2}", f".part-{PART_2}.json", PART_1, "HAM10000_metadata.csv"]
    assert list_files(tmp_path / "checking") == checked
    unpacked = set(list_files(tmp_path / "unpacking"))
    assert {PART_1, PART_2, "HAM10000_metadata.csv", *pictures} < unpacked < {PART_1, PART_2, *FINISHED}
    dataverse.asked.clear()
    for moment, ranges in {"fetching": ["bytes=1000-"], "checking": [], "unpacking": []}.items():
        fetch(dataverse, tmp_path / moment)
        assert_finished(tmp_path / moment)
        assert dataverse.ranges(PART_1) == ranges, moment
        dataverse.asked.clear()
