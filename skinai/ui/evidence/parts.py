"""Parts: the same figures by patient, site, method, lesion and picture quality."""

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.evaluation.report import EvaluationReport
from skinai.evaluation.subgroups import FIGURES, Subgroup
from skinai.evaluation.units import name_unit
from skinai.labels import HAM10000, LabelSet
from skinai.model.bundle import Bundle
from skinai.ui import charts, components


def show(bundle: Bundle, report: EvaluationReport) -> None:
    """Show one column's parts as a chart and as a table."""
    st.header(wording.PARTS_TITLE)
    if not report.subgroups:
        st.markdown(wording.PARTS_EMPTY.format(folder=components.name_folder(bundle)))
        return
    remark = wording.explain_parts(report.labels, thresholds="sensitivity" in report.subgroups[0].figures)
    tone = wording.SKIN_TONE_REMARK if report.labels is HAM10000 else wording.SKIN_TONE_GAP
    st.markdown(f"{remark} {tone}")
    columns = list(dict.fromkeys(group.column for group in report.subgroups))
    named = wording.name_parts(report.labels)
    column = st.segmented_control(
        "By", columns, default=columns[0], format_func=named.__getitem__, required=True, key="part", bind="query-params"
    )
    groups = [group for group in report.subgroups if group.column == column]
    offered = [name for name in FIGURES if name in groups[0].figures]
    figure = st.segmented_control(
        "Chart",
        offered,
        default=offered[0],
        format_func=wording.PART_FIGURES.__getitem__,
        required=True,
        key="part_figure",
    )
    drawn = report.figure("subgroups", column, colours=charts.palette(), option=figure)
    said = ", ".join(f"{group.value} {group.figures[figure]} (n {group.figures[figure].n})" for group in groups)
    alt = f"{wording.PART_FIGURES[figure]} by {named[column].lower()}: {said}."
    components.show_figure(drawn, alt=alt, key="parts_chart")
    st.caption(wording.speak_of(report.labels, wording.PARTS_HOLLOW))
    components.show_table(
        pd.DataFrame([_describe(group, named[column], offered, report.labels) for group in groups]),
        alt=f"All figures by {named[column].lower()}",
    )
    if column == "dx_type" and report.labels is HAM10000:
        st.caption(wording.PARTS_METHOD)


def _describe(group: Subgroup, title: str, offered: list[str], labels: LabelSet) -> dict[str, str]:
    counts = f"{group.pictures:,} pictures, {group.lesions:,} {name_unit(labels)}s"
    if "sensitivity" in offered:
        counts += f" ({group.malignant_lesions:,} malignant)"
    row = {title: f"**{group.value}**: {counts}"}
    for name in offered:
        few = f", {wording.speak_of(labels, wording.PARTS_FEW)}" if name in group.few else ""
        row[wording.PART_FIGURES[name]] = f"{group.figures[name]}, n {group.figures[name].n:,}{few}"
    return row
