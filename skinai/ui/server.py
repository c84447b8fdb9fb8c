"""The app's server process: Streamlit, told beforehand which pages there are, and ready for its first visitor."""

from __future__ import annotations

import argparse
import importlib
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from streamlit import file_util
from streamlit.runtime.pages_manager import PagesManager
from streamlit.starlette import App

from skinai.errors import SkinaiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("skinai.ui")

_PREPARING = "preparing"


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
    App(options.script.resolve(), middleware=[Middleware(ChartLibraryFirst)]).run(config={"server.port": options.port})


class ChartLibraryFirst:
    """Has the browser fetch the chart library with the page, and not when the first chart comes up.

    It is by far the largest part of the front end (4.7 MB), and Streamlit asks for it last.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        static = Path(file_util.get_static_dir())
        self._links = ", ".join(
            f"</{path.relative_to(static).as_posix()}>; rel=preload; as=script; crossorigin=anonymous"
            for path in sorted(static.glob("static/js/PlotlyChart.*.js"))
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_link(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers.append("link", self._links)
            await send(message)

        await self._app(scope, receive, send_with_link if scope["type"] == "http" and self._links else send)


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
