"""The app's server process: Streamlit, told beforehand that the pages are those of `st.navigation`."""

from __future__ import annotations

import importlib
import sys
import threading

from streamlit.runtime.pages_manager import PagesManager
from streamlit.web import cli


def main() -> None:
    """Run Streamlit with the arguments of this process.

    Until a first visitor has run `app.py`, Streamlit takes every script in `pages/` for a page, as its older versions
    did, and greets a first visitor who comes by a deep link with "Page not found".
    """
    PagesManager.uses_pages_directory = False
    threading.Thread(target=_load_libraries, daemon=True).start()
    cli.main(args=["run", *sys.argv[1:]], prog_name="streamlit")


def _load_libraries() -> None:
    """Import what the pages need, so that the first visitor does not wait for it."""
    for name in ("skinai.ui.evidence.documents", "skinai.ui.resources", "scipy.optimize", "scipy.stats"):
        importlib.import_module(name)


if __name__ == "__main__":
    main()
