"""What stands before the page's server: which requests it answers, with which headers, how much a visit may upload."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

from skinai import wording

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    RawHeaders = list[tuple[bytes, bytes]]

# Figures about the server, an interface for programs, and a check that runs the page's script.
_CLOSED = re.compile(r"(/.*)?/_stcore/(metrics|agent(/.*)?|script-health-check)/?")
_UPLOAD = re.compile(r"(?:/.*)?/_stcore/upload_file/([^/]+)/([^/]+)")
_MEDIA = re.compile(r"(?!/static/)(?:/.*)?/media/.*", re.DOTALL)
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:]+\])(:\d+)?", re.IGNORECASE)
# Of an upload's form: the file's name stands in it.
_HEAD_END, _MOST_HEAD_BYTES = b"\r\n\r\n", 16 * 1024
# Names under which the server is asked for, so that nobody fills the memory with made-up ones.
_MOST_HOSTS = 64

_MIB = 1024 * 1024


class Shield:
    """Sends every answer with the headers that bind a browser to this server alone, and refuses what nobody needs.

    It is the outermost layer, so that answers out of memory have the headers too. They are put together once for each
    name that the server is asked for.

    Parameters
    ----------
    app : ASGI application
    list_scripts : callable
        Returns the inline scripts of the pages; no other inline script may run.
    """

    def __init__(self, app: ASGIApp, *, list_scripts: Callable[[], Iterable[str]]) -> None:
        self._app = app
        self._scripts = " ".join(hash_script(script) for script in list_scripts())
        # None where the server must not be asked by that name.
        self._headers: dict[str | None, RawHeaders | None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = self._find_headers(Headers(scope=scope).get("host"))
        path = scope["path"]
        fresh = [(b"cache-control", b"no-store")] if "/media/" in path and "/static/" not in path else []
        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": [*message["headers"], *(headers or _COMMON), *fresh]}
            await send(message)

        if headers is None:
            await PlainTextResponse(wording.HOST_UNKNOWN, 403)(scope, receive, send_guarded)
        elif "/_stcore/" in path and _CLOSED.fullmatch(path):
            await PlainTextResponse(wording.ADDRESS_UNKNOWN, 404)(scope, receive, send_guarded)
        else:
            try:
                await self._app(scope, receive, send_guarded)
            except Exception:
                if not begun:  # Starlette would answer without the headers
                    await PlainTextResponse(wording.SERVER_FAILED, 500)(scope, receive, send_guarded)
                raise

    def _find_headers(self, host: str | None) -> RawHeaders | None:
        if host not in self._headers:
            if len(self._headers) >= _MOST_HOSTS:
                self._headers.clear()
            policy = (b"content-security-policy", self._write_policy(host))
            self._headers[host] = [*_COMMON, policy] if is_host_allowed(host) else None
        return self._headers[host]

    def _write_policy(self, host: str | None) -> bytes:
        # Not every browser counts a websocket of the same host as 'self'.
        sockets = f" ws://{host} wss://{host}" if host and _HOST.fullmatch(host) else ""
        return _POLICY.format(scripts=self._scripts, sockets=sockets).encode()


# What the front end does not do without: styles written into the page, WebAssembly for its messages, the paste box as a
# module that it makes itself (blob:), fonts and pictures of that kind, the camera's picture, which it fetches (data:).
_POLICY = (
    "default-src 'self'; script-src 'self' {scripts} 'wasm-unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'{sockets} data:; frame-src 'none'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_COMMON: list[tuple[bytes, bytes]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=(), display-capture=(), payment=(), usb=()"),
]


def hash_script(script: str) -> str:
    """Return what a content security policy names an inline script by.

    >>> hash_script("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


class SignedInOnly:
    """Refuses pictures, and uploads into a session, to browsers that may not have them.

    Streamlit itself gives a picture to whoever knows its address, and takes a file for whatever session it is told.

    Parameters
    ----------
    app : ASGI application
    answers : callable
        Takes the cookies of a request and the session that it would write into, or None; returns whether to answer it.
    """

    def __init__(self, app: ASGIApp, *, answers: Callable[[Mapping[str, str], str | None], bool]) -> None:
        self._app, self._answers = app, answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        upload = _UPLOAD.fullmatch(path)
        guarded = upload is not None or _MEDIA.fullmatch(path) is not None
        if guarded and not self._answers(HTTPConnection(scope).cookies, upload[1] if upload else None):
            await PlainTextResponse(wording.SIGNED_IN_ONLY, 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


@dataclass(eq=False)
class _Arriving:
    """An upload that is being read."""

    file_id: str
    taken_bytes: int = 0
    head: bytes = b""

    def take(self, body: bytes) -> bytes:
        """Count a part of the upload, and return it with ``_`` for zeros in the file's name.

        No name has one, but who sends one would have the page's script end with an error that no page can catch.
        """
        self.taken_bytes += len(body)
        before = len(self.head)
        if _HEAD_END in self.head or before >= _MOST_HEAD_BYTES:
            return body
        self.head += body[:_MOST_HEAD_BYTES]
        end = self.head.find(_HEAD_END)
        end = len(body) if end < 0 else max(end - before, 0)
        return body[:end].replace(b"\0", b"_") + body[end:]


class UploadQuota:
    """Bounds what the uploads of one session take in memory, those that are being read included.

    Zeros in the names of files are taken out on the way.

    What lies there is asked of Streamlit each time, so a file that is deleted, replaced, or gone with its session
    counts no more. The server's own checks (token, session, size of a file) come before: only when it begins to read
    the file is the quota looked at.

    Parameters
    ----------
    app : ASGI application
    most_bytes : int
        Of all files of a session together.
    most_files : int
        Of a session.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int, most_files: int) -> None:
        self._app, self._most_bytes, self._most_files = app, most_bytes, most_files
        self._arriving: defaultdict[str, list[_Arriving]] = defaultdict(list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _UPLOAD.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "PUT" else None
        if asked is None:
            await self._app(scope, receive, send)
            return
        session, upload = asked[1], _Arriving(asked[2])
        announced = Headers(scope=scope).get("content-length", "")
        begun = False

        async def receive_counted() -> Message:
            nonlocal begun
            if not begun:
                begun = True
                self._arriving[session].append(upload)
                self._check(session, int(announced) if announced.isdecimal() else 0)
            message = await receive()
            body = upload.take(message.get("body", b""))
            self._check(session, 0)
            return {**message, "body": body} if "body" in message else message

        try:
            await self._app(scope, receive_counted, send)
        finally:
            if begun:
                self._arriving[session].remove(upload)
                if not self._arriving[session]:
                    del self._arriving[session]

    def _check(self, session: str, announced: int) -> None:
        """Refuse what would be too much.

        Raises
        ------
        HTTPException
            413, which Streamlit lets through as it does its own.
        """
        arriving = self._arriving[session]
        replaced = {one.file_id for one in arriving}
        lying = [size for file_id, size in list_uploads(session).items() if file_id not in replaced]
        size = sum(lying) + sum(one.taken_bytes for one in arriving) + announced
        if size > self._most_bytes or len(lying) + len(replaced) > self._most_files:
            said = wording.UPLOADS_FULL.format(size=self._most_bytes // _MIB, files=self._most_files)
            raise HTTPException(413, said)


def list_uploads(session: str) -> dict[str, int]:
    """Return the bytes of each file that a session has uploaded and that is in memory still."""
    manager = runtime.get_instance().uploaded_file_mgr
    assert isinstance(manager, MemoryUploadedFileManager)
    # Asking the dictionary itself would make an entry. A copy, because other threads write into it.
    return {file_id: len(file.data) for file_id, file in list(manager.file_storage.get(session, {}).items())}
