"""The layers before the page's server, without it: headers on every answer, and what a session may hold."""

import asyncio
import re
from types import SimpleNamespace

import pytest
from conftest import ROOT
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from streamlit import config
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from skinai import wording
from skinai.serving import assessment
from skinai.ui import guard
from skinai.ui.exploring import splits
from skinai.ui.guard import Shield, UploadQuota, hash_script

MIB = 1024 * 1024


def call(app, path="/", *, method="GET", headers=(), chunks=(b"",)):
    """Return status, headers and body of an answer, and the errors that came through."""
    sent, errors = [], []
    scope = {"type": "http", "path": path, "method": method, "headers": [*headers], "query_string": b""}
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    waiting[-1]["more_body"] = False

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    async def run():
        try:
            await app(scope, receive, send)
        except Exception as error:
            errors.append(error)

    asyncio.run(run())
    status = sent[0]["status"] if sent else None
    found = sent[0]["headers"] if sent else []
    return SimpleNamespace(
        status=status, headers=found, body=b"".join(one.get("body", b"") for one in sent), errors=errors
    )


@pytest.fixture(autouse=True)
def _names():
    before = config.get_option("server.allowedHosts")
    config.set_option("server.allowedHosts", ["localhost", "clinic.example"])
    yield
    config.set_option("server.allowedHosts", before)


@pytest.fixture
def shield():
    return Shield(PlainTextResponse("page"), list_scripts=lambda: ["one()"])


LOCAL = [(b"host", b"localhost:8501")]


@pytest.mark.parametrize(
    ("host", "sockets"),
    [
        (b"localhost:8501", "ws://localhost:8501 wss://localhost:8501"),
        (b"clinic.example", "ws://clinic.example wss://clinic.example"),
    ],
)
def test_a_page_may_connect_to_the_server_it_came_from_and_to_no_other(shield, host, sockets):
    policy = dict(call(shield, headers=[(b"host", host)]).headers)[b"content-security-policy"].decode()
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["connect-src"] == f"'self' {sockets} data:"
    assert parts["default-src"] == "'self'"
    assert {parts[name] for name in ("object-src", "frame-ancestors", "frame-src")} == {"'none'"}
    assert hash_script("one()") in parts["script-src"]
    assert not {"'unsafe-inline'", "'unsafe-eval'"} & set(parts["script-src"].split())
    assert "http:" not in policy
    assert "*" not in policy


@pytest.mark.parametrize("headers", [[], [(b"host", b"evil.example")], [(b"host", b"localhost@evil.example")]])
def test_a_name_that_is_not_the_servers_is_refused(shield, headers):
    answer = call(shield, headers=headers)
    assert (answer.status, answer.body.decode()) == (403, wording.HOST_UNKNOWN)
    assert (b"x-content-type-options", b"nosniff") in answer.headers


def test_made_up_names_take_no_memory(shield):
    for number in range(1000):
        call(shield, headers=[(b"host", b"%d.example" % number)])
    assert len(shield._headers) <= 64
    assert call(shield, headers=LOCAL).status == 200


@pytest.mark.parametrize("prefix", ["", "/clinic"])
@pytest.mark.parametrize(
    "path",
    [
        "/_stcore/metrics",
        "/_stcore/metrics/",
        "/_stcore/agent",
        "/_stcore/agent/interact",
        "/_stcore/agent/openapi.json",
        "/_stcore/agent/mcp",
        "/_stcore/script-health-check",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_what_only_programs_ask_for_is_not_there(shield, prefix, path, method):
    answer = call(shield, prefix + path, method=method, headers=LOCAL)
    assert (answer.status, answer.body.decode()) == (404, wording.ADDRESS_UNKNOWN)


@pytest.mark.parametrize("path", ["/_stcore/health", "/_stcore/stream", "/", "/metrics", "/_stcore/metricsx"])
def test_everything_else_is_passed_on(shield, path):
    assert call(shield, path, headers=LOCAL).body == b"page"


@pytest.mark.parametrize(("path", "kept"), [("/media/0a.jpg", [b"no-store"]), ("/static/js/index.js", [])])
def test_a_picture_is_not_kept_by_the_browser(shield, path, kept):
    headers = call(shield, path, headers=LOCAL).headers
    assert [value for name, value in headers if name == b"cache-control"] == kept


def test_an_answer_out_of_memory_is_not_changed(shield):
    start = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}

    async def answer(scope, receive, send):
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    for _ in range(3):
        headers = call(Shield(answer, list_scripts=list), headers=LOCAL).headers
        assert len(headers) == len({name for name, _ in headers}) > 5
    assert start["headers"] == [(b"a", b"b")]


def test_a_failure_has_the_headers_and_a_sentence_and_is_passed_on():
    async def fail(scope, receive, send):
        raise ZeroDivisionError("Jane Doe")

    answer = call(Shield(fail, list_scripts=list), headers=LOCAL)
    assert (answer.status, answer.body.decode()) == (500, wording.SERVER_FAILED)
    assert (b"x-frame-options", b"DENY") in answer.headers
    assert [str(error) for error in answer.errors] == ["Jane Doe"]


@pytest.fixture
def uploads(monkeypatch):
    """Where Streamlit keeps uploads."""
    manager = MemoryUploadedFileManager("/upload")
    monkeypatch.setattr(guard.runtime, "get_instance", lambda: SimpleNamespace(uploaded_file_mgr=manager))
    return manager


def keep(uploads, session, file_id, size):
    uploads.add_file(session, UploadedFileRec(file_id, "a.jpg", "image/jpeg", bytes(size)))


@pytest.fixture
def quota(uploads):
    """Ten bytes and three files for each session; what has arrived is kept as Streamlit does."""

    async def store(scope, receive, send):
        content, more = b"", True
        while more:
            message = await receive()
            content, more = content + message["body"], message["more_body"]
            await asyncio.sleep(0)
        session, file_id = scope["path"].split("/")[-2:]
        keep(uploads, session, file_id, len(content))
        await Response(status_code=204)(scope, receive, send)

    return UploadQuota(store, most_bytes=10, most_files=3)


def put(quota, session, file_id, *chunks, announced=False):
    """Return the status of an upload; 413 where it was refused."""
    length = [(b"content-length", str(sum(map(len, chunks))).encode())] if announced else []
    path = f"/_stcore/upload_file/{session}/{file_id}"
    answer = call(quota, path, method="PUT", headers=length, chunks=chunks)
    for error in answer.errors:
        assert isinstance(error, HTTPException)
        assert error.detail == "A visit holds at most 3 files and 0 MB. Remove some, or load the page anew."
    return answer.errors[0].status_code if answer.errors else answer.status


@pytest.mark.parametrize("announced", [True, False])
def test_a_session_holds_so_many_bytes_and_another_has_its_own(quota, uploads, announced):
    assert put(quota, "s", "a", b"12345", b"6", announced=announced) == 204
    assert put(quota, "s", "b", b"1234", b"5", announced=announced) == 413
    assert put(quota, "s", "b", b"1234", announced=announced) == 204
    assert put(quota, "s", "c", b"1", announced=announced) == 413
    assert put(quota, "t", "c", b"1234567890", announced=announced) == 204
    assert guard.list_uploads("s") == {"a": 6, "b": 4}
    assert quota._arriving == {}


def test_a_session_holds_so_many_files(quota):
    assert [put(quota, "s", name, b"") for name in "abcd"] == [204, 204, 204, 413]


def test_what_is_replaced_deleted_or_gone_with_its_session_counts_no_more(quota, uploads):
    assert put(quota, "s", "a", b"123456789") == 204
    assert put(quota, "s", "a", b"987654321") == 204
    assert put(quota, "s", "b", b"12") == 413
    uploads.remove_file("s", "a")
    assert put(quota, "s", "b", b"12") == 204
    uploads.remove_session_files("s")
    assert put(quota, "s", "c", b"1234567890") == 204


def test_what_is_still_arriving_counts_too(quota):
    async def main():
        ready, refused = [], []

        async def receive_slowly():
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"123", "more_body": len(ready) < 8 and not ready.append(0)}

        async def send(message):
            pass

        async def upload(name):
            scope = {"type": "http", "path": f"/_stcore/upload_file/s/{name}", "method": "PUT", "headers": []}
            try:
                await quota(scope, receive_slowly, send)
            except HTTPException:
                refused.append(name)

        await asyncio.gather(*map(upload, "ab"))
        return refused

    # Alone neither would be too large.
    assert asyncio.run(main())
    assert sum(guard.list_uploads("s").values()) <= 10
    assert quota._arriving == {}


def test_what_is_announced_to_be_too_much_is_not_read(quota):
    async def receive():
        pytest.fail("it is read")

    async def send(message):
        pass

    headers = [(b"content-length", b"11")]
    scope = {"type": "http", "path": "/_stcore/upload_file/s/a", "method": "PUT", "headers": headers}
    with pytest.raises(HTTPException, match="413"):
        asyncio.run(quota(scope, receive, send))
    assert quota._arriving == {}


def test_asking_for_a_session_makes_no_entry(quota, uploads):
    assert guard.list_uploads("nobody") == {}
    assert uploads.file_storage == {}


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_zero_in_the_name_of_a_file_is_taken_out_and_none_in_the_file(uploads, size):
    """Streamlit would end the page's script with an error."""
    form = b'--e\r\nContent-Disposition: form-data; filename="a\0b\0.jpg"\r\n\r\n\0\0\r\n\r\n\0\r\n--e--'
    read = bytearray()

    async def store(scope, receive, send):
        more = True
        while more:
            message = await receive()
            read.extend(message["body"])
            more = message["more_body"]
        await Response(status_code=204)(scope, receive, send)

    quota = UploadQuota(store, most_bytes=1000, most_files=3)
    chunks = [form[start : start + size] for start in range(0, len(form), size)]
    assert put(quota, "s", "a", *chunks, announced=True) == 204
    assert bytes(read) == form.replace(b"a\0b\0", b"a_b_")


def test_an_upload_that_the_server_refuses_unread_leaves_nothing_behind(uploads):
    quota = UploadQuota(PlainTextResponse("no", 403), most_bytes=1, most_files=1)
    keep(uploads, "s", "a", 5)
    assert put(quota, "s", "b", b"12345") == 403
    assert quota._arriving == {}


def test_a_visit_may_hold_all_that_the_pages_promise():
    """A batch, several pictures of one lesion, one picture, one of the camera, and a split."""
    page = (ROOT / "pages" / "use" / "batch.py").read_text()
    batch = int(re.search(r"^MOST_PICTURES = (\d+)$", page, re.MULTILINE)[1])
    pictures = assessment.MOST_PICTURES + 1 + 1
    assert batch + pictures + 1 <= wording.MAX_SESSION_FILES
    size_mb = wording.MAX_BATCH_MB + pictures * wording.MAX_UPLOAD_MB + splits._MOST_MB
    assert size_mb <= wording.MAX_SESSION_MB
    assert f"{wording.MAX_BATCH_MB} MB together" in wording.BATCH_LABEL
