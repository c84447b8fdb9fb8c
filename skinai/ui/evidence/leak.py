"""The leak: what a split by picture, and a mixed-up class order, make of the same network's figures."""

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.evaluation.claim import SPLIT_FIGURES, compare_splits, show_under_orders
from skinai.evaluation.report import EvaluationReport
from skinai.model.bundle import Bundle
from skinai.ui import charts, components, resources


def show(bundle: Bundle, report: EvaluationReport) -> None:
    """Show the claim beside what was measured, then what the leak and the order of classes do."""
    kept = resources.load_claim_reports()
    show_claim(report, kept)
    if len(kept) == 2:
        show_splits(kept["lesion"], kept["picture"])
    if "lesion" in kept:
        show_orders(kept["lesion"])


def show_claim(report: EvaluationReport, kept: dict[str, EvaluationReport]) -> None:
    """Show the original claim beside its network under both kinds of split, and beside this model."""
    st.header(wording.CLAIM_TITLE)
    shown = {wording.CLAIM_SPLITS[kind]: claimed for kind, claimed in kept.items()}
    shown["This model, lesion-grouped"] = report
    rows = []
    for figure, (name, value) in (wording.CLAIM | {"nv": wording.CLAIM_OTHERS}).items():
        row = {"Figure": name, "Claimed": value if isinstance(value, str) else f"{value:.3f}"}
        for title, one in shown.items():
            row[title] = str(one.overall[figure] if figure in one.overall else one.classes[figure]["f1"])
        rows.append(row)
    components.show_table(pd.DataFrame(rows), alt="The original claim beside what was measured")
    st.markdown(wording.CLAIM_REMARK)


def show_splits(by_lesion: EvaluationReport, by_picture: EvaluationReport) -> None:
    """Show the same network trained and tested under both kinds of split, figure by figure."""
    st.header(wording.LEAK_TITLE)
    st.markdown(wording.LEAK_REMARK)
    found = compare_splits(by_lesion, by_picture)
    name = st.segmented_control(
        "Figure",
        ["all together", *SPLIT_FIGURES],
        default="all together",
        format_func=lambda one: wording.FIGURE_NAMES.get(one, one),
        required=True,
        key="leak_figure",
    )
    chosen = [one for one in found if (one.name == name if one.code else name == "all together")]
    labels = by_lesion.labels
    titles = [labels.by_code(one.code).name if one.code else wording.FIGURE_NAMES[one.name] for one in chosen]
    rows = [
        {
            "Figure" if name == "all together" else "Diagnosis": title,
            "Split by lesion": str(one.by_lesion),
            "Split by picture (leaks)": str(one.by_picture),
            "Difference": str(one.difference),
        }
        for title, one in zip(titles, chosen, strict=True)
    ]
    components.show_table(pd.DataFrame(rows), alt="The same network under both kinds of split")
    if name != "all together":
        said = ", ".join(f"{title} {one.difference}" for title, one in zip(titles, chosen, strict=True))
        components.show_figure(
            charts.draw_leak(chosen, titles, name, charts.palette()), alt=f"Difference: {said}.", key="leak_chart"
        )


def show_orders(report: EvaluationReport) -> None:
    """Show the same predictions under the four class orders in circulation."""
    st.header(wording.ORDERS_TITLE)
    st.markdown(wording.ORDERS_REMARK)
    shown = show_under_orders(report)
    rows = []
    for figure, (name, value) in (wording.CLAIM | {"nv": wording.CLAIM_OTHERS}).items():
        row = {"Figure": name, "Claimed": value if isinstance(value, str) else f"{value:.3f}"}
        for order, figures in shown.items():
            row[wording.ORDER_NAMES[order]] = str(
                report.overall[figure] if figure in report.overall else figures[figure]
            )
        rows.append(row)
    components.show_table(pd.DataFrame(rows), alt="The same predictions under four class orders")
