"""What is odd in the data folder: counts, sizes, what is absent or unreadable, copies and near-duplicates."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.access import Role
from skinai.data.audit import Audit, audit_folder, count_classes, format_pairs
from skinai.data.metadata import DataFolder
from skinai.data.sources import describe_source
from skinai.data.split import read_near_duplicates
from skinai.errors import DataError, PictureError
from skinai.ui import components, resources, signin
from skinai.ui.exploring.explored import Explored
from skinai.ui.exploring.gallery import load_thumbnail

_PAIRS_SHOWN = 30


def show(explored: Explored) -> None:
    """Show the counts at once, and the audit of the pictures once it has been made."""
    data = explored.data
    if data is None:
        st.info(wording.AUDIT_NO_DATA)
        return
    st.markdown(wording.AUDIT_SOURCE.format(source=components.plain(describe_source(data))))
    _show_counts(data)
    audit = resources.load_audit(data)
    if audit is None or not audit.near_searched:
        st.markdown(wording.AUDIT_COMMAND)
    if audit is None:
        if not signin.has_role(Role.ADMIN):
            st.caption(wording.ROLE_NO_AUDIT)
            _show_remarks(data)
            return
        if not st.button(wording.AUDIT_QUICK, key="audit"):
            _show_remarks(data)
            return
        audit = _run(data)
        if audit is None:
            return
    _show_findings(audit)
    _show_sizes(audit)
    _show_pairs(audit, data)


def _run(data: DataFolder) -> Audit | None:
    """Make an audit without near-duplicates; None where another is being made or the pictures went away meanwhile."""
    if not resources.AUDITING.acquire(blocking=False):
        st.info(wording.AUDIT_BUSY)
        return None
    try:
        bar = st.progress(0.0, text=wording.AUDIT_READING)
        shown = 0.0

        def tell(step: str, share: float) -> None:
            nonlocal shown
            if step == "reading" and (share - shown > 0.01 or share >= 1):
                shown = share
                bar.progress(min(share, 1.0), text=wording.AUDIT_READING)

        source, known = describe_source(data), read_near_duplicates()
        audit = audit_folder(data, source=source, known=known, near=False, on_progress=tell)
        bar.empty()
    except DataError as error:
        bar.empty()
        st.warning(components.plain(error))
        return None
    finally:
        resources.AUDITING.release()
    resources.keep_audit(audit)
    return audit


def _show_counts(data: DataFolder) -> None:
    counts = count_classes(data)
    shown = pd.DataFrame(
        {
            "Diagnosis": [components.plain(data.labels.by_code(code).name) for code in counts["dx"]],
            "Listed": [f"{count:,}" for count in counts["listed"]],
            "Lesions": [f"{count:,}" for count in counts["lesions"]],
            "Present": [f"{count:,}" for count in counts["present"]],
        }
    )
    if counts["published"].notna().all():
        shown["Published"] = [f"{count:,.0f}" for count in counts["published"]]
        shown["Published lesions"] = [f"{count:,.0f}" for count in counts["published_lesions"]]
    components.show_table(shown, alt="Pictures of each diagnosis, as listed, as present and as published")


def _show_remarks(data: DataFolder) -> None:
    st.subheader(wording.AUDIT_REMARKS)
    st.markdown("\n".join(f"- {components.plain(remark.sentence)}" for remark in data.remarks) or wording.AUDIT_NOTHING)


def _show_findings(audit: Audit) -> None:
    st.subheader(wording.AUDIT_FINDINGS)
    rows = [{"Found": f"{finding.count:,}", "What": components.plain(finding.sentence)} for finding in audit.findings]
    components.show_table(pd.DataFrame(rows), alt="What the audit looked for and found")


def _show_sizes(audit: Audit) -> None:
    st.subheader(wording.AUDIT_SIZES)
    rows = [
        {"Width": f"{row.width_px} px", "Height": f"{row.height_px} px", "Pictures": f"{row.pictures:,}"}
        for row in audit.sizes.head(12).itertuples()
    ]
    components.show_table(pd.DataFrame(rows), alt="Sizes of the pictures")
    if len(audit.sizes) > len(rows):
        st.caption(wording.AUDIT_MORE_SIZES.format(count=len(audit.sizes) - len(rows)))


def _show_pairs(audit: Audit, data: DataFolder) -> None:
    pairs = audit.across
    st.subheader(wording.AUDIT_PAIRS)
    if pairs.empty:
        st.markdown(wording.AUDIT_NO_PAIRS if audit.near_searched else wording.AUDIT_NO_COPIES)
        return
    st.markdown(wording.AUDIT_PAIRS_REMARK.format(count=len(pairs), known=int(pairs["known"].sum())))
    st.download_button(
        wording.AUDIT_TAKE_PAIRS, format_pairs(audit), "near_duplicates.csv", "text/csv", on_click="ignore", key="pairs"
    )
    # Without the role for pictures, none is found.
    shown = signin.has_role(Role.REVIEWER)
    paths = dict(zip(data.table["image_id"], data.table["path"], strict=True)) if shown else {}
    for pair in pairs.head(_PAIRS_SHOWN).itertuples():
        left, right, said = st.columns([1, 1, 2], vertical_alignment="center")
        for column, image, code in ((left, pair.image_a, pair.dx_a), (right, pair.image_b, pair.dx_b)):
            text = f"{image}, {data.labels.by_code(code).name.lower() if code in data.labels.codes else code}"
            try:
                path = paths.get(image)
                if path is None:
                    column.caption(wording.NO_PICTURE if shown else wording.ROLE_NO_PICTURES)
                else:
                    column.image(load_thumbnail(path), width="stretch", alt=text)
            except (OSError, PictureError):
                column.caption(wording.NO_PICTURE)
            column.caption(components.plain(text))
        known = wording.AUDIT_KNOWN if pair.known else wording.AUDIT_NEW
        said.markdown(wording.AUDIT_PAIR.format(kind=pair.kind, matches=pair.matches, known=known))
