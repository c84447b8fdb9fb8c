"""Report card: the holdout run's confusion matrix and figures, each with its n and interval."""

import pandas as pd
import streamlit as st

from skinai.errors import SkinaiError
from skinai.evaluation.report import EvaluationReport
from skinai.model.bundle import Bundle
from skinai.ui import charts, components, resources, wording


def main() -> None:
    st.title("Report card")
    try:
        bundle = resources.load_bundle_in_use()
        report = resources.load_report(bundle.folder)
    except SkinaiError as error:
        components.stop_with(wording.REPORT_UNUSABLE, error)
    st.markdown(
        f"Holdout run of **{report.model_name}**: {report.pictures:,} pictures of {report.lesions:,} lesions. "
        f"{wording.HOLDOUT_REMARK}"
    )
    st.caption(f"{wording.INTERVAL_REMARK} {wording.SKIN_TONE_REMARK}")
    show_overall(report)
    show_confusion(report)
    show_classes(report)
    show_models(bundle, report)
    show_claim(report)


def show_overall(report: EvaluationReport) -> None:
    """Show the overall figures beside the always-naevus baseline."""
    for column, (name, estimate) in zip(st.columns(4), report.overall.items(), strict=True):
        with column:
            components.show_estimate(name, estimate, report.baseline[name])


def show_confusion(report: EvaluationReport) -> None:
    """Show the confusion matrix in counts or row-normalised, as a chart and as a table."""
    st.subheader("Confusion matrix")
    st.caption("Each row is what the lesion was, each column what the model held most probable.")
    unit = st.segmented_control(
        "Show", ["counts", "share of the truth"], default="counts", required=True, key="confusion", bind="query-params"
    )
    share = unit != "counts"
    codes = list(report.labels.codes)
    chart, table = st.columns(2, gap="medium")
    with chart:
        alt = f"Confusion matrix, {unit}; the table beside it holds the same numbers."
        components.show_figure(charts.draw_confusion(report, share=share), alt=alt, key="confusion_chart")
    with table:
        cells = pd.DataFrame(report.confusion, index=codes, columns=codes)
        if share:
            cells = cells.div(cells.sum(axis=1), axis=0).map(lambda value: f"{value:.1%}")
        rows = cells.rename_axis("truth").reset_index()
        rows.insert(1, "n", report.confusion.sum(axis=1))
        components.show_table(rows, alt=f"Confusion matrix, {unit}")
        st.caption(", ".join(f"{label.code}: {label.name}" for label in report.labels) + ".")


def show_classes(report: EvaluationReport) -> None:
    """Show precision, recall and F1 of each class with n and interval."""
    st.subheader("Each diagnosis")
    alt = "F1 of each diagnosis with its 95 % interval: " + ", ".join(
        f"{label.name} {report.classes[label.code]['f1']}" for label in report.labels
    )
    components.show_figure(charts.draw_class_f1(report, charts.palette()), alt=alt, key="class_f1")
    rows = [
        {
            "Diagnosis": label.name,
            "Pictures": report.classes[label.code]["recall"].n,
            "Lesions": report.class_lesions[label.code],
            "Precision": str(report.classes[label.code]["precision"]),
            "Recall (sensitivity)": str(report.classes[label.code]["recall"]),
            "F1": str(report.classes[label.code]["f1"]),
            "Answers": report.classes[label.code]["precision"].n,
        }
        for label in report.labels
    ]
    components.show_table(pd.DataFrame(rows), alt="Precision, recall and F1 of each diagnosis")


def show_models(bundle: Bundle, report: EvaluationReport) -> None:
    """Show the same figures of every model beside this one, where they were tested on the same pictures."""
    reports = resources.list_reports(bundle.folder)
    if len(reports) < 2:
        return
    st.subheader("Beside the other models here")
    rows = [
        {
            "Model": other.model_name + (" (in use)" if other.fingerprint == report.fingerprint else ""),
            "Pictures": other.pictures,
            **{wording.FIGURE_NAMES[name]: str(estimate) for name, estimate in other.overall.items()},
            "Melanoma recall": str(other.classes["mel"]["recall"]),
        }
        for other in reports
    ]
    rows.append(
        {"Model": "always naevus", "Pictures": report.pictures}
        | {wording.FIGURE_NAMES[name]: str(estimate) for name, estimate in report.baseline.items()}
        | {"Melanoma recall": "0.000"}
    )
    components.show_table(pd.DataFrame(rows), alt="Figures of the models side by side")


def show_claim(report: EvaluationReport) -> None:
    """Show the original claim beside what this model reaches."""
    st.subheader(wording.CLAIM_TITLE)
    reached = {
        "accuracy": report.overall["accuracy"],
        "F1": report.overall["weighted_f1"],
        "melanoma F1": report.classes["mel"]["f1"],
        "benign keratosis F1": report.classes["bkl"]["f1"],
        "dermatofibroma F1": report.classes["df"]["f1"],
    }
    rows = [
        {"Figure": name, "Claimed, not reproduced": f"{value:.3f}", "This model, lesion-grouped": str(reached[name])}
        for name, value in wording.CLAIM.items()
    ]
    components.show_table(pd.DataFrame(rows), alt="The original claim beside this model's figures")
    st.caption(f"{wording.CLAIM_REMARK} The claimed F1 is set beside our weighted F1.")


main()
