"""Which pages there are, and which role each of them needs.

None lies directly in `pages/`: the first visitor of a deep link would then get it without `app.py` and its notice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from skinai import wording
from skinai.access import Role

if TYPE_CHECKING:
    from skinai.ui.signin import Visitor

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    ("pages/use/analyse.py", "Analyse", "analyse"),
    ("pages/use/batch.py", "Batch", "batch"),
    ("pages/data/explorer.py", "Explore the data", "data"),
    ("pages/evidence/report_card.py", "Report card", "report"),
    ("pages/evidence/about.py", "About", "about"),
)
# Pages that take pictures are for those who may give some.
LEAST_ROLE = {
    "pages/use/analyse.py": Role.REVIEWER,
    "pages/use/batch.py": Role.REVIEWER,
    "pages/data/explorer.py": Role.VIEWER,
    "pages/evidence/report_card.py": Role.VIEWER,
    "pages/evidence/about.py": Role.VIEWER,
}
# What opens first for who may not open the first page.
_FIRST_ELSE = "pages/evidence/report_card.py"


def build_pages(visitor: Visitor) -> list[Any]:
    """Return the pages in the order of the menu; the first one that the visitor may see opens by default.

    The others are not in the menu, and at their addresses a sentence stands for them; their scripts are not known to
    the session.
    """
    pages = []
    for index, (file, title, address) in enumerate(PAGES):
        if visitor.role >= LEAST_ROLE[file]:
            pages.append(st.Page(ROOT / file, title=title, url_path=address, default=index == 0))
        else:
            refuse = _write_refusal(title, LEAST_ROLE[file], visitor)
            pages.append(st.Page(refuse, title=title, url_path=address, visibility="hidden"))
        if index == 0 and visitor.role < LEAST_ROLE[file]:
            titles = {file: title for file, title, _ in PAGES}
            first = st.Page(ROOT / _FIRST_ELSE, title=titles[_FIRST_ELSE], default=True, visibility="hidden")
            pages.append(first)
    return pages


def build_closed_pages() -> list[Any]:
    """Return a page without content for each address."""
    first = st.Page(_show_nothing, title=wording.SIGN_IN_TITLE, default=True)
    return [first, *(st.Page(_show_nothing, title=title, url_path=address) for _, title, address in PAGES)]


def _write_refusal(title: str, needed: Role, visitor: Visitor) -> Callable[[], None]:
    def refuse() -> None:
        st.title(title)
        st.info(wording.ROLE_TOO_LOW.format(needed=needed, role=visitor.role))

    return refuse


def _show_nothing() -> None:
    """Stand for a page."""
