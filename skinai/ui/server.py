"""The app's server process: Streamlit, told beforehand which pages there are, and ready for its first visitor."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import mimetypes
import os
import re
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from streamlit import config, file_util
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.pages_manager import PagesManager
from streamlit.starlette import App
from streamlit.web.server.starlette import starlette_server

from skinai import wording
from skinai.errors import SkinaiError
from skinai.ui import signin
from skinai.ui.guard import Shield, SignedInOnly, UploadQuota
from skinai.ui.navigation import PAGES
from skinai.ui.upkeep import keep_for_good, keep_house, share_memory

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("skinai.ui")

_PREPARING = "preparing"
_HEAD_START_S = 6
# What can wait begins once nobody has asked for anything for so long, and after so long in any case.
_QUIET_S, _LONGEST_WAIT_S = 4, 60
_ELEMENTS = ("Html", "ButtonGroup")
_ICON = Path(__file__).with_name("icon.png")
# Grey bars stand for what is to come; drawing them sixty times a second takes the processor from it.
_STILL = "<style>[data-testid=stSkeleton]{animation:none!important}</style>"
_ICONS_LATER = (
    "document.fonts.load = (font, ...text) => font.includes('Material Symbols') ? Promise.resolve([]) "
    ": FontFaceSet.prototype.load.call(document.fonts, font, ...text)"
)
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_MODULE = re.compile(r"static/js/([\w.-]+\.js)")
_IMPORT = re.compile(r'(?:from|import)\s*"\./([\w.-]+\.js)"')


def main(arguments: list[str] | None = None) -> None:
    """Serve the app until the process is told to stop.

    Until a first visitor has run `app.py`, Streamlit takes every script in `pages/` for a page, as its older versions
    did, and greets a first visitor who comes by a deep link with "Page not found".
    """
    parser = argparse.ArgumentParser(prog="skinai.ui.server")
    parser.add_argument("script", type=Path)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    share_memory()
    have_a_home()
    PagesManager.uses_pages_directory = False
    script_context = logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context")
    script_context.addFilter(lambda record: record.threadName != _PREPARING)
    threading.Thread(target=_prepare, name=_PREPARING, daemon=True).start()
    most_bytes = wording.MAX_SESSION_MB * 1024 * 1024
    middleware = [
        Middleware(Shield, list_scripts=list_inline_scripts),
        Middleware(RequestClock),
        Middleware(PagesFromMemory),
        Middleware(FrontEndFromMemory),
        Middleware(SignedInOnly, answers=signin.answers_request),
        Middleware(UploadQuota, most_bytes=most_bytes, most_files=wording.MAX_SESSION_FILES),
    ]
    settings = {"server.port": options.port, **read_environment()}
    for file in settings.get("secrets.files", ()):
        # Streamlit would go on without, and so without sign-in.
        if not Path(file).is_file():
            parser.error(f"There is no {file}, which STREAMLIT_SECRETS_FILES names.")
    send_at_once()
    pass_by_components()
    App(options.script.resolve(), lifespan=_look_after, middleware=middleware).run(config=settings)


@contextlib.asynccontextmanager
async def _look_after(app: App) -> AsyncIterator[None]:
    """Look before the first request whether one has to sign in, and let go of ended visits for as long as it runs."""
    signin.begin()
    async with keep_house():
        yield


def read_environment() -> dict[str, str | list[str]]:
    """Return where the server is to listen and by which names, of Streamlit's own variables.

    Only its command line reads them; an application that is started as ours is has its configuration file.
    """
    settings: dict[str, str | list[str]] = {}
    if address := os.environ.get("STREAMLIT_SERVER_ADDRESS"):
        settings["server.address"] = address
    if names := os.environ.get("STREAMLIT_SERVER_ALLOWED_HOSTS", "").split():
        settings["server.allowedHosts"] = names
    if files := os.environ.get("STREAMLIT_SECRETS_FILES"):
        settings["secrets.files"] = files.split(os.pathsep)
    return settings


def have_a_home() -> None:
    """Give a user without a home the root folder as one, as containers do.

    Streamlit looks for settings in the home folder too, and ends with an error where there is none.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = os.sep


def send_at_once() -> None:
    """Have the server's connections send each part of an answer at once.

    Streamlit's socket does not say that it is TCP, and asyncio sees to this only of those that do
    (https://github.com/Kludex/uvicorn/issues/3149). The body of an answer then waits until the browser has confirmed
    its head, which takes 40 ms, for each of the front end's files. Connections take it over from the socket that they
    come in by.
    """
    bind = starlette_server._bind_socket

    def bind_without_delay(address: str, port: int, backlog: int) -> socket.socket:
        listening = bind(address, port, backlog)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening

    starlette_server._bind_socket = bind_without_delay


def pass_by_components() -> None:
    """Have the server not look through all installed packages for components of Streamlit.

    The pages bring their one themselves. Streamlit would read the facts of each package at every start, a third of a
    second, and serve the files of whichever says that it has a component.
    """
    manifest_scanner.scan_component_manifests = lambda max_workers=None: []


class RequestClock:
    """Remembers when the server was last asked for something, so that what can wait leaves the processor to visitors.

    Parameters
    ----------
    app : ASGI application
    """

    last = 0.0  # s, of the monotonic clock

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        RequestClock.last = time.monotonic()
        await self._app(scope, receive, send)


def wait_for_quiet() -> None:
    """Wait until nobody has asked the server for anything for some seconds, or for a minute."""
    latest = time.monotonic() + _LONGEST_WAIT_S
    while (now := time.monotonic()) < latest and now < RequestClock.last + _QUIET_S:
        time.sleep(min(latest, RequestClock.last + _QUIET_S) - now)


class PagesFromMemory:
    """Answers for the addresses of the pages with the front end's one HTML page, out of memory.

    The page names, last of all scripts, what Streamlit asks for only when the first of its elements comes up. For most
    pages that is the chart library, by far the largest part of the front end (4.7 MB). The report card's first section
    does without it, so there it would only be in the way: it gets its own kinds of elements, which would otherwise be
    asked for one after the other.

    The page also says where the server is. Left alone, the front end looks for it below the page's own address, waits,
    looks again one level up, and has the page's script run only then; told so, it connects first and looks meanwhile.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        static = Path(file_util.get_static_dir())
        charts = [path.name for path in sorted(static.glob("static/js/PlotlyChart.*.js"))]
        self._with_chart = _write_page(static, 'rel="preload" as="script"', charts)
        self._without_chart = _write_page(static, 'rel="modulepreload"', _find_modules(static))
        self._paths = {"/", *(f"/{address}" for _, _, address in PAGES[1:])}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        opens_without_chart = scope["path"] == "/report" and b"section=" not in scope["query_string"]
        for message in self._without_chart if opens_without_chart else self._with_chart:
            await send(message)


def _write_page(static: Path, relation: str, scripts: list[str]) -> tuple[Message, Message]:
    """Return the answer with a page that has the browser fetch these scripts and says where the server is."""
    told = f"<script>{_write_opening_script()}</script>"
    links = "".join(f'<link {relation} crossorigin href="./static/js/{name}">' for name in scripts)
    page = (static / "index.html").read_text(encoding="utf-8")
    page = page.replace("<head>", f"<head>{told}", 1).replace("</head>", f"{links}{_STILL}</head>", 1)
    return _write_answer("text/html; charset=utf-8", "no-cache", page.encode())


def _write_opening_script() -> str:
    """Return the script that says where the server is, and puts the font of the icons off.

    The front end loads that font before all else. A browser loads it by itself once an icon is shown, and the report
    card on a wide screen shows none.
    """
    # What the server itself answers to the same question, later.
    host = {"allowedOrigins": config.get_option("client.allowedOrigins"), "useExternalAuthToken": False}
    told = f'{{BACKEND_BASE_URL: new URL(".", location).href, HOST_CONFIG: {json.dumps(host)}}}'
    return f"window.__streamlit = {told}; {_ICONS_LATER}"


def list_inline_scripts() -> list[str]:
    """Return the scripts that stand in the HTML pages themselves: ours and those of the front end."""
    page = Path(file_util.get_static_dir(), "index.html").read_text(encoding="utf-8")
    return [_write_opening_script(), *_INLINE.findall(page)]


def _find_modules(static: Path) -> list[str]:
    """Return the scripts of the elements in the report card's first section, with all that they import."""
    asked_for_anyway = set(_MODULE.findall((static / "index.html").read_text(encoding="utf-8")))
    waiting = {path.name for kind in _ELEMENTS for path in static.glob(f"static/js/{kind}.*.js")}
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        path = static / "static/js" / name
        if name in found or name in asked_for_anyway or not path.is_file():
            continue
        found.add(name)
        waiting |= set(_IMPORT.findall(path.read_text(encoding="utf-8")))
    return sorted(found)


class FrontEndFromMemory:
    """Answers for the scripts, styles and fonts of the front end, and for the app's icon, out of memory.

    A visitor's browser asks for some ninety of them at once. Streamlit opens each anew, hands it over piece by piece
    and changes threads for each piece, and the browser spends most of the time until the first page shows waiting.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        static = Path(file_util.get_static_dir())
        # Their names carry a hash of their content, so what is asked for by name never changes. Nothing else is served.
        self._files = {
            f"/{path.relative_to(static).as_posix()}": path for path in static.glob("static/*/*") if path.is_file()
        }
        # Where the front end looks for an icon that the pages do not name: they would name it in each of their runs.
        self._answers = {"/favicon.png": _write_answer("image/png", "public, max-age=3600", _ICON.read_bytes())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["path"] if scope["type"] == "http" and scope["method"] == "GET" else ""
        if not (asked in self._files or asked in self._answers) or Headers(scope=scope).get("range"):
            await self._app(scope, receive, send)
            return
        if asked not in self._answers:
            self._answers[asked] = _answer_with(self._files[asked])
        for message in self._answers[asked]:
            await send(message)


def _answer_with(path: Path) -> tuple[Message, Message]:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return _write_answer(kind, "public, immutable, max-age=31536000", path.read_bytes())


def _write_answer(kind: str, kept: str, content: bytes) -> tuple[Message, Message]:
    headers = {"content-type": kind, "content-length": str(len(content)), "cache-control": kept}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    start = {"type": "http.response.start", "status": 200, "headers": raw}
    return start, {"type": "http.response.body", "body": content}


def _prepare() -> None:
    """Load what the first visitor needs, and then, once that visitor may have come, what the report card needs.

    All at once, the second would take the processor from the first; and so it waits while pages are being opened.
    """
    from skinai.ui import answer, resources  # noqa: F401  the first is what an answer is shown with

    try:
        resources.load_desk()
        time.sleep(_HEAD_START_S)
        wait_for_quiet()
        for name in ("skinai.ui.evidence.documents", "scipy.optimize", "scipy.stats"):
            importlib.import_module(name)
        bundle = resources.load_bundle_in_use()
        resources.load_checks(bundle, resources.load_report(bundle))
        keep_for_good()
    except SkinaiError as error:
        LOG.warning("Not everything is ready for the first visitor: %s", error)


if __name__ == "__main__":
    main()
