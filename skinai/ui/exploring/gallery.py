"""The pictures of the filtered rows, all pictures of a lesion together, one page at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.data.facets import TableFacets
from skinai.data.images import decode_picture, encode_preview
from skinai.errors import PictureError, SkinaiError
from skinai.evaluation.mistakes import add_answers
from skinai.ui import components, resources
from skinai.ui.exploring.explored import Explored, name_value, show_filters

PAGE_SIZE = 24
_THUMBNAIL_PX = 200


def show(explored: Explored) -> None:
    """Show one page of thumbnails; only these are decoded."""
    facets, data = explored.facets, explored.data
    if not isinstance(facets, TableFacets) or data is None:
        st.info(wording.GALLERY_NO_DATA)
        return
    rows = facets.rows(show_filters(explored))
    there = rows[rows["path"].notna()] if data.pixels is None else rows
    there = there.sort_values(["lesion_id", "image_id"], kind="stable")
    st.markdown(
        wording.GALLERY_COUNT.format(
            pictures=len(there), lesions=there["lesion_id"].nunique(), absent=len(rows) - len(there)
        )
    )
    if there.empty:
        return
    pages = -(-len(there) // PAGE_SIZE)
    if st.session_state.get("page", 1) > pages:
        st.session_state["page"] = 1
    page = st.pagination(pages, key="page", bind="query-params")
    answers = _read_answers(explored)
    grid = st.grid(min_column_width=180)
    for row in there.iloc[(page - 1) * PAGE_SIZE : page * PAGE_SIZE].itertuples():
        with grid.container():
            _show_one(explored, row, answers)


def _show_one(explored: Explored, row: Any, answers: pd.DataFrame | None) -> None:
    name = name_value(explored.facets, "dx", row.dx)
    facts = [row.age_band if row.age_band != "unknown" else "", row.sex, row.localization, getattr(row, "subset", "")]
    facts = [fact for fact in facts if fact and fact != "unknown"]
    plain = components.plain
    caption = f"{plain(name)}  \n{plain(row.image_id)}, {plain(row.lesion_id)}"
    caption += f"  \n{plain(', '.join(facts))}" if facts else ""
    if answers is not None and row.image_id in answers.index:
        answer = answers.loc[row.image_id]
        said = name_value(explored.facets, "dx", answer["answer"])
        right = wording.GALLERY_RIGHT if answer["answer"] == row.dx else wording.GALLERY_WRONG
        caption += f"  \n{right.format(answer=plain(said), certainty=answer['certainty'])}"
    try:
        picture = _take_thumbnail(explored, row)
    except (OSError, PictureError) as error:
        st.caption(f"{caption}  \n{wording.GALLERY_UNREADABLE.format(reason=plain(error))}")
        return
    st.image(picture, width="stretch", alt=f"{name}, {row.image_id}")
    st.caption(caption)


def _take_thumbnail(explored: Explored, row: Any) -> bytes:
    data = explored.data
    if data is not None and data.pixels is not None:
        return encode_preview(data.pixels[row.Index], max_side_px=_THUMBNAIL_PX)
    path = Path(row.path)
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
