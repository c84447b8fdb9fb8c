"""Compare: two models on the same lesions."""

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.errors import DataError
from skinai.evaluation.comparison import Comparison
from skinai.evaluation.figures import draw_differences
from skinai.evaluation.report import EvaluationReport
from skinai.model.bundle import Bundle
from skinai.ui import charts, components, resources

_FIGURES = ("recall", "precision", "specificity", "f1", "auc")


def show(bundle: Bundle, report: EvaluationReport) -> None:
    """Show the difference of two models, figure by figure, with its interval."""
    st.header(wording.speak_of(report.labels, wording.COMPARE_TITLE))
    names = [one.model_name for one in resources.list_reports(bundle)]
    if len(names) < 2:
        st.markdown(wording.COMPARE_EMPTY)
        return
    left, right = st.columns(2)
    first = left.selectbox(wording.COMPARE_FIRST, names, index=1, key="compare_first")
    second = right.selectbox(wording.COMPARE_SECOND, names, index=0, key="compare_second")
    if first == second:
        st.markdown(wording.COMPARE_SAME)
        return
    try:
        with st.spinner(wording.speak_of(report.labels, wording.COMPARE_WAIT)):
            found = resources.load_comparison(bundle, first, second)
    except DataError as error:
        st.warning(str(error))
        return
    _show_overall(found, report, first, second)
    _show_classes(found, report, first, second)


def _show_overall(found: Comparison, report: EvaluationReport, first: str, second: str) -> None:
    st.markdown(wording.describe_mcnemar(found.mcnemar, first, second, unit=found.unit))
    rows = [
        {
            "Figure": wording.FIGURE_NAMES[name],
            first: components.say_plain(one.first),
            second: components.say_plain(one.second),
            "Difference": str(one.difference),
        }
        for name, one in found.overall.items()
    ]
    components.show_table(pd.DataFrame(rows), alt=f"{second} less {first}")
    st.caption(wording.speak_of(report.labels, wording.COMPARE_REMARK).format(pictures=found.pictures))


def _show_classes(found: Comparison, report: EvaluationReport, first: str, second: str) -> None:
    figure = st.segmented_control(
        "By diagnosis",
        list(_FIGURES),
        default=_FIGURES[0],
        format_func=wording.FIGURE_NAMES.__getitem__,
        required=True,
        key="compare_figure",
    )
    table = found.frame()
    table = table[(table["class"] != "") & (table["figure"] == figure)].reset_index(drop=True)
    names = [label.name for label in report.labels]
    table.insert(0, "diagnosis", names)
    drawn = draw_differences(table, charts.palette(), figure=figure)
    one = {label.code: found.classes[label.code][figure] for label in report.labels}
    said = ", ".join(f"{label.name} {one[label.code].difference}" for label in report.labels)
    components.show_figure(drawn, alt=f"{second} less {first}: {said}.", key="compare_chart")
    rows = [
        {
            "Diagnosis": label.name,
            first: components.say_plain(one[label.code].first),
            second: components.say_plain(one[label.code].second),
            "Difference": str(one[label.code].difference),
        }
        for label in report.labels
    ]
    components.show_table(pd.DataFrame(rows), alt=f"{wording.FIGURE_NAMES[figure]} of each diagnosis")
