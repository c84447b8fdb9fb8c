"""Whether a split is honest: lesions and near-duplicates on both sides, of the model's split or an uploaded one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.access import Role
from skinai.data.metadata import DataFolder
from skinai.data.split import SPLIT_FILE, read_near_duplicates
from skinai.data.split_audit import TOTAL, SplitAudit, audit_split, read_any_split
from skinai.errors import SkinaiError
from skinai.ui import components, resources, signin
from skinai.ui.exploring.explored import Explored, name_value

_MOST_MB = 10


def show(explored: Explored) -> None:
    """Show the audit of the model's split, or of one that the visitor brings."""
    st.markdown(wording.SPLIT_REMARK)
    given = None
    if signin.has_role(Role.REVIEWER):
        given = st.file_uploader(
            wording.SPLIT_UPLOAD, type=["csv", "txt", "tsv"], max_upload_size=_MOST_MB, key="split_file"
        )
    data = explored.data
    table = None if data is None else data.table
    try:
        if given is None:
            split = read_any_split(explored.bundle.folder / SPLIT_FILE)
        else:
            # The reader takes files; a folder of its own goes with everything in it.
            with tempfile.TemporaryDirectory() as place:
                file = Path(place, "split.csv")
                file.write_bytes(given.getvalue())
                split = read_any_split(file)
        pairs = read_near_duplicates(data.path if data is not None and data.path.is_dir() else None)
        if given is None and table is not None and not set(split["image_id"]) & set(table["image_id"]):
            table = None  # the model's split is about other data than the folder's
        audit = audit_split(split, table, pairs, lesions_known=data is None or data.lesions_known)
    except SkinaiError as error:
        st.error(components.plain(error))
        return
    st.subheader(
        wording.SPLIT_GIVEN
        if given is not None
        else wording.SPLIT_OWN.format(name=components.plain(explored.bundle.name))
    )
    _show(audit, explored, with_classes=table is not None)
    if data is not None and table is not None:
        _show_found(data, split, table)


def _show_found(data: DataFolder, split: pd.DataFrame, table: pd.DataFrame) -> None:
    """Say which of the pairs that nobody has published, and the audit found, the split divides."""
    found = resources.load_audit(data)
    if found is None or not found.near_searched:
        return
    new = found.across[~found.across["known"].astype(bool)]
    pairs = list(zip(new["image_a"], new["image_b"], strict=True))
    divided = audit_split(split, table, pairs).pairs
    if divided:
        names = components.plain(", ".join(divided))
        st.warning(wording.SPLIT_FOUND.format(count=len(pairs), divided=len(divided), names=names))


def _show(audit: SplitAudit, explored: Explored, *, with_classes: bool) -> None:
    if audit.is_clean and not audit.lesions_known:
        st.warning(wording.SPLIT_UNKNOWN)
    elif audit.is_clean:
        st.markdown(f"**{wording.SPLIT_CLEAN}**")
    else:
        st.error(wording.SPLIT_LEAKS.format(lesions=len(audit.lesions), pairs=len(audit.pairs)))
    rows = [
        {
            "Diagnosis": wording.SPLIT_ALL
            if row.dx == TOTAL
            else components.plain(name_value(explored.facets, "dx", row.dx)),
            "Subset": row.subset,
            "Pictures": f"{row.pictures:,}",
            "Lesion also in train": f"{row.by_lesion:,}",
            "Near-duplicate in train": f"{row.by_pair:,}",
            "Leaked": f"{row.share:.1%}",
            "Expected of a split by picture": f"{row.expected:.1%}",
        }
        for row in audit.leaks.itertuples()
    ]
    components.show_table(pd.DataFrame(rows), alt="Leaked pictures of each diagnosis and subset")
    st.caption(wording.SPLIT_EXPECTED)
    if not with_classes:
        st.caption(wording.SPLIT_NO_TABLE)
    for names, what in ((audit.lesions, wording.SPLIT_LESIONS), (audit.pairs, wording.SPLIT_PAIRS)):
        if names:
            with st.expander(what.format(count=len(names))):
                st.markdown(components.plain(", ".join(names[:500])))
    if audit.not_listed:
        st.caption(wording.SPLIT_NOT_LISTED.format(count=len(audit.not_listed)))
    if audit.not_split:
        st.caption(wording.SPLIT_NOT_SPLIT.format(count=len(audit.not_split)))
