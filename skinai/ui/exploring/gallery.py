"""The pictures of the filtered rows, all pictures of a lesion together, one page at a time."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.access import Role
from skinai.data.facets import TableFacets
from skinai.data.images import decode_picture, encode_preview
from skinai.errors import PictureError, SkinaiError
from skinai.evaluation.mistakes import add_answers
from skinai.ui import resources, signin
from skinai.ui.exploring.explored import Explored, name_value, show_filters

PAGE_SIZE = 24
_THUMBNAIL_PX = 200
_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));gap:1.2rem 1rem"
_IMAGE = "width:100%;border-radius:.5rem;display:block"
_CAPTION = "font-size:.85rem;line-height:1.4;padding-top:.35rem;overflow-wrap:anywhere"


def show(explored: Explored) -> None:
    """Show one page of thumbnails; only these are decoded."""
    facets, data = explored.facets, explored.data
    if not signin.has_role(Role.REVIEWER):
        st.info(wording.ROLE_NO_PICTURES)
        return
    if not isinstance(facets, TableFacets) or data is None:
        st.info(wording.GALLERY_NO_DATA)
        return
    rows = facets.rows(show_filters(explored))
    there = rows[rows["path"].notna()] if data.pixels is None else rows
    there = there.sort_values(["lesion_id", "image_id"], kind="stable")
    count = wording.GALLERY_COUNT if facets.lesions_known else wording.GALLERY_COUNT_ONLY
    absent = len(rows) - len(there)
    st.markdown(count.format(pictures=len(there), lesions=there["lesion_id"].nunique(), absent=absent))
    if there.empty:
        return
    pages = -(-len(there) // PAGE_SIZE)
    if st.session_state.get("page", 1) > pages:
        st.session_state["page"] = 1
    page = st.pagination(pages, key="page", bind="query-params")
    answers = _read_answers(explored)
    shown = there.iloc[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    # One piece with the pictures inside: drawn at once, and nothing of it stays on the server.
    st.html(f'<div style="{_GRID}">{"".join(_write_one(explored, row, answers) for row in shown.itertuples())}</div>')


def _write_one(explored: Explored, row: Any, answers: pd.DataFrame | None) -> str:
    """Return one picture and what is known of it as HTML."""
    name = name_value(explored.facets, "dx", row.dx)
    facts = [row.age_band if row.age_band != "unknown" else "", row.sex, row.localization, getattr(row, "subset", "")]
    lines = [f"<b>{html.escape(name)}</b>", html.escape(f"{row.image_id}, {row.lesion_id}")]
    if known := [fact for fact in facts if fact and fact != "unknown"]:
        lines.append(html.escape(", ".join(known)))
    if answers is not None and row.image_id in answers.index:
        answer = answers.loc[row.image_id]
        said = name_value(explored.facets, "dx", answer["answer"])
        verdict = wording.GALLERY_RIGHT if answer["answer"] == row.dx else wording.GALLERY_WRONG
        lines.append(html.escape(verdict.format(answer=said, certainty=answer["certainty"])))
    try:
        picture = base64.b64encode(_take_thumbnail(explored, row)).decode()
        alt = html.escape(f"{name}, {row.image_id}")
        image = f'<img src="data:image/jpeg;base64,{picture}" alt="{alt}" style="{_IMAGE}">'
    except OSError as error:
        image = f"<i>{html.escape(wording.GALLERY_UNREADABLE.format(reason=error.strerror or ''))}</i>"
    except PictureError as error:
        image = f"<i>{html.escape(wording.GALLERY_UNREADABLE.format(reason=error))}</i>"
    return f'<figure style="margin:0">{image}<figcaption style="{_CAPTION}">{"<br>".join(lines)}</figcaption></figure>'


def _take_thumbnail(explored: Explored, row: Any) -> bytes:
    data = explored.data
    if data is not None and data.pixels is not None:
        return encode_preview(data.pixels[row.Index], max_side_px=_THUMBNAIL_PX)
    return load_thumbnail(Path(row.path))


def load_thumbnail(path: Path) -> bytes:
    """Return a small JPEG of a picture of the data set.

    Raises
    ------
    OSError, PictureError
        If it is gone or cannot be read.
    """
    return _load_thumbnail(str(path), path.stat().st_mtime_ns)


@st.cache_data(max_entries=1500, show_spinner=False)
def _load_thumbnail(path: str, changed_at: int) -> bytes:
    """Return a small JPEG of a picture of the data set, some 10 kB; keyed on its path and time of change."""
    return encode_preview(decode_picture(Path(path).read_bytes()), max_side_px=_THUMBNAIL_PX)


def _read_answers(explored: Explored) -> pd.DataFrame | None:
    """Return the model's answer for each holdout picture of the data it was tested on, indexed by image id."""
    bundle = explored.bundle
    if bundle.labels.codes != explored.facets.labels.codes:
        return None
    try:
        table = resources.load_holdout(bundle, resources.load_report(bundle))
    except SkinaiError:
        return None
    return add_answers(table, bundle.labels).set_index("image")[["answer", "certainty"]]
