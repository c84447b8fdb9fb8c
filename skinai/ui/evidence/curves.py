"""Curves: ROC, precision-recall, calibration, coverage against risk, decision curve; a threshold moves along them."""

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.errors import DataError
from skinai.evaluation.curves import MALIGNANT, THRESHOLD, TOP
from skinai.evaluation.decision import read_decision
from skinai.evaluation.report import EvaluationReport
from skinai.model.bundle import Bundle
from skinai.ui import charts, components, signin

_FIGURES = ("sensitivity", "specificity", "precision", "negative_predictive_value", "net_benefit")


@signin.fragment
def show(bundle: Bundle, report: EvaluationReport) -> None:
    """Show the curves of one target, and what a threshold does on them."""
    st.header(wording.CURVES_TITLE)
    targets = report.curves.targets(THRESHOLD)
    target = st.selectbox(wording.TARGET_LABEL, targets, format_func=lambda name: _name(name, report), key="target")
    table = report.frame("roc", target)
    at = _ask_threshold(table, bundle, report)
    _show_point(table, at, report)
    left, right = st.columns(2, gap="medium")
    with left:
        _show_curve(report, "roc", target, at)
        _show_curve(report, "calibration", target)
    with right:
        _show_curve(report, "precision_recall", target, at)
        _show_curve(report, "coverage_risk", TOP)
    if target == MALIGNANT:
        _show_curve(report, "decision_curve", target, at)


def _ask_threshold(table: pd.DataFrame, bundle: Bundle, report: EvaluationReport) -> float:
    """Return the threshold that the visitor looks at; the first operating point at first."""
    thresholds = table["at"].tolist()
    try:
        points = read_decision(bundle.folder, fingerprint=bundle.fingerprint, labels=bundle.labels).operating_points
    except DataError:
        points = ()
    start = points[0].threshold if points else 0.5
    nearest = min(thresholds, key=lambda value: abs(value - start))
    at = st.select_slider(
        wording.THRESHOLD_LABEL, thresholds, value=nearest, format_func=lambda value: f"{value:.2%}", key="threshold"
    )
    fixed = ", ".join(f"{wording.POINT_NAMES.get(point.name, point.name)} {point.threshold:.1%}" for point in points)
    if report.labels.malignant_codes:
        st.caption(wording.THRESHOLD_REMARK.format(fixed=fixed or "none"))
    else:
        st.caption(wording.OTHER_THRESHOLD_REMARK)
    return at


def _show_point(table: pd.DataFrame, at: float, report: EvaluationReport) -> None:
    row = table[table["at"] == at].iloc[0]
    rows = [
        {
            "Figure": wording.CURVE_FIGURES[name],
            "At this threshold": components.say_figure(row, name),
            "n": f"{int(row[f'{name}_n']):,}",
        }
        for name in _FIGURES
        if name in table.columns
    ]
    components.show_table(pd.DataFrame(rows), alt=f"What a threshold of {at:.2%} reaches on the holdout pictures")


def _show_curve(report: EvaluationReport, kind: str, target: str, at: float | None = None) -> None:
    title, remark = wording.CURVES[kind]
    st.subheader(title)
    figure = report.figure(kind, target, colours=charts.palette(), at=at)
    components.show_figure(figure, alt=_describe(report, kind, target), key=f"curve_{kind}")
    st.caption(remark)
    _show_table(report.frame(kind, target), kind)


def _show_table(table: pd.DataFrame, kind: str) -> None:
    with st.expander(wording.TABLE_LABEL):
        st.dataframe(
            table.rename(columns=lambda name: name.replace("_", " ")),
            hide_index=True,
            width="stretch",
            height=280,
            alt=f"The numbers behind the chart: {wording.CURVES[kind][0]}",
        )


def _describe(report: EvaluationReport, kind: str, target: str) -> str:
    """Return a chart in words."""
    name = _name(target, report)
    if kind == "roc":
        auc = report.scores["malignant_auc"] if target == MALIGNANT else report.classes[target]["auc"]
        return f"ROC curve of {name}: area under the curve {auc}."
    if kind == "precision_recall":
        found = "malignant_average_precision"
        area = report.scores[found] if target == MALIGNANT else report.classes[target]["average_precision"]
        return f"Precision-recall curve of {name}: average precision {area}."
    table = report.frame(kind, target)
    if kind == "coverage_risk":
        rows = table[table["at"].isin([0.5, 0.8, 1.0])]
        said = ", ".join(f"{row.error:.1%} wrong at {row.at:.0%} answered" for row in rows.itertuples())
        return f"Coverage against risk: {said}."
    if kind == "calibration":
        rows = table.dropna(subset=["share"])
        said = ", ".join(
            f"said {row.mean_probability:.0%}, came true {row.share:.0%} (n {row.share_n})" for row in rows.itertuples()
        )
        return f"Calibration of {name}: {said}."
    row = table.iloc[(table["at"] - 0.1).abs().argmin()]
    return (
        f"Decision curve: at a threshold of {row['at']:.0%} the net benefit of the model is {row['net_benefit']:.3f}, "
        f"of acting on everybody {row['net_benefit_of_all']:.3f}, of acting on nobody 0."
    )


def _name(target: str, report: EvaluationReport) -> str:
    if target in (MALIGNANT, TOP):
        return wording.TARGET_NAMES[target]
    return report.labels.by_code(target).name
