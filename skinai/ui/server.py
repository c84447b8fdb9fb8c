"""The app's server process: Streamlit, told beforehand which pages there are, and ready for its first visitor."""

from __future__ import annotations

import argparse
import importlib
import logging
import mimetypes
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from streamlit import file_util
from streamlit.runtime.pages_manager import PagesManager
from streamlit.starlette import App

from skinai.errors import SkinaiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("skinai.ui")

_PREPARING = "preparing"
_ELEMENTS = ("Html", "ButtonGroup", "Metric", "Table")
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
    PagesManager.uses_pages_directory = False
    script_context = logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context")
    script_context.addFilter(lambda record: record.threadName != _PREPARING)
    threading.Thread(target=_prepare, name=_PREPARING, daemon=True).start()
    middleware = [Middleware(PartsFirst), Middleware(FrontEndFromMemory)]
    App(options.script.resolve(), middleware=middleware).run(config={"server.port": options.port})


class PartsFirst:
    """Has the browser fetch with a page what Streamlit asks for only when the first of its elements comes up.

    For most pages that is the chart library, by far the largest part of the front end (4.7 MB). The report card's first
    section does without it, so there it would only be in the way: it gets its own kinds of elements, which would
    otherwise be asked for one after the other.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        static = Path(file_util.get_static_dir())
        self._chart = ", ".join(
            f"</{path.relative_to(static).as_posix()}>; rel=preload; as=script; crossorigin=anonymous"
            for path in sorted(static.glob("static/js/PlotlyChart.*.js"))
        )
        self._elements = ", ".join(
            f"</static/js/{name}>; rel=modulepreload; crossorigin=anonymous" for name in _find_modules(static)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_link(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if links and headers.get("content-type", "").startswith("text/html"):
                    headers.append("link", links)
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        opens_without_chart = scope["path"] == "/report" and b"section=" not in scope["query_string"]
        links = self._elements if opens_without_chart else self._chart
        await self._app(scope, receive, send_with_link)


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
    """Answers for the scripts, styles and fonts of the front end out of memory.

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
        self._answers: dict[str, tuple[Message, Message]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["path"] if scope["type"] == "http" and scope["method"] == "GET" else ""
        if asked not in self._files or Headers(scope=scope).get("range"):
            await self._app(scope, receive, send)
            return
        if asked not in self._answers:
            self._answers[asked] = _answer_with(self._files[asked])
        for message in self._answers[asked]:
            await send(message)


def _answer_with(path: Path) -> tuple[Message, Message]:
    content = path.read_bytes()
    headers = {
        "content-type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        "content-length": str(len(content)),
        "cache-control": "public, immutable, max-age=31536000",
    }
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    start = {"type": "http.response.start", "status": 200, "headers": raw}
    return start, {"type": "http.response.body", "body": content}


def _prepare() -> None:
    """Import and load what the report card needs, so that its first visitor does not wait for it."""
    for name in ("skinai.ui.evidence.documents", "scipy.optimize", "scipy.stats"):
        importlib.import_module(name)
    from skinai.ui import resources

    try:
        bundle = resources.load_bundle_in_use()
        resources.load_checks(bundle, resources.load_report(bundle))
    except SkinaiError as error:
        LOG.warning("The report card is not ready: %s", error)


if __name__ == "__main__":
    main()
