"""Which pages there are.

None lies directly in `pages/`: the first visitor of a deep link would then get it without `app.py` and its notice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

ROOT = Path(__file__).resolve().parents[2]
ICON = str(Path(__file__).with_name("icon.png"))
PAGES = (
    ("pages/use/analyse.py", "Analyse", "analyse"),
    ("pages/use/batch.py", "Batch", "batch"),
    ("pages/data/explorer.py", "Explore the data", "data"),
    ("pages/evidence/report_card.py", "Report card", "report"),
    ("pages/evidence/about.py", "About", "about"),
)


def build_pages() -> list[Any]:
    """Return the pages in the order of the menu; the first one opens by default."""
    return [
        st.Page(ROOT / file, title=title, url_path=address, default=index == 0)
        for index, (file, title, address) in enumerate(PAGES)
    ]
