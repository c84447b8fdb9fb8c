"""The app's server process: Streamlit, told beforehand that the pages are those of `st.navigation`."""

from __future__ import annotations

import sys

from streamlit.runtime.pages_manager import PagesManager
from streamlit.web import cli


def main() -> None:
    """Run Streamlit with the arguments of this process.

    Until a first visitor has run `app.py`, Streamlit takes every script in `pages/` for a page, as its older versions
    did, and greets a first visitor who comes by a deep link with "Page not found".
    """
    PagesManager.uses_pages_directory = False
    cli.main(args=["run", *sys.argv[1:]], prog_name="streamlit")


if __name__ == "__main__":
    main()
