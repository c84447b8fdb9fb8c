"""Report card: the holdout run's confusion matrix and figures, each with its n and interval."""

import math

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.errors import ModelError, SkinaiError
from skinai.evaluation.decision import COVERAGE
from skinai.evaluation.report import EvaluationReport
from skinai.labels import HAM10000
from skinai.model.bundle import Bundle
from skinai.model.gates import read_refused_counts
from skinai.ui import charts, components, resources


def main() -> None:
    st.title("Report card")
    try:
        bundle = resources.load_bundle_in_use()
        report = resources.load_report(bundle)
    except SkinaiError as error:
        components.stop_with(wording.REPORT_UNUSABLE, error)
    st.markdown(
        f"Holdout run of **{report.model_name}**: {report.pictures:,} pictures of {report.lesions:,} lesions. "
        f"{wording.HOLDOUT_REMARK if report.labels is HAM10000 else ''}"
    )
    st.markdown(f"{wording.INTERVAL_REMARK} {wording.SKIN_TONE_REMARK if report.labels is HAM10000 else ''}")
    show_overall(report)
    show_confusion(report)
    show_classes(report)
    show_scores(report)
    if "coverage" in report.decision:
        show_certainty(report)
        show_rules(report)
    show_gate(bundle, report)
    show_models(bundle, report)
    if report.labels is HAM10000:
        show_claim(report)


def show_overall(report: EvaluationReport) -> None:
    """Show melanoma recall and the overall figures beside the baseline; never accuracy without melanoma recall."""
    always = f"Always {name_of(report, report.baseline_code)}"
    figures = {name: (f"{report.baseline[name].value:.3f}", estimate) for name, estimate in report.overall.items()}
    if "mel" in report.classes:
        melanoma = (f"{float(report.baseline_code == 'mel'):.3f}", report.classes["mel"]["recall"])
        figures = {"melanoma_recall": melanoma} | figures
    for column, (name, (baseline, estimate)) in zip(st.columns(len(figures)), figures.items(), strict=True):
        with column:
            components.show_estimate(name, estimate, baseline=f"{always}: {baseline}")
    if not report.labels.malignant_codes:
        return
    malignant = [label.code for label in report.labels if label.malignant]
    benign = [label.code for label in report.labels if not label.malignant]
    missed, of_malignant = report.count_benign_first(*malignant)
    right, of_benign = report.count_benign_first(*benign)
    st.markdown(
        wording.GROUP_ERRORS.format(malignant=of_malignant, missed=missed, benign=of_benign, alarmed=of_benign - right)
    )


def name_of(report: EvaluationReport, code: str) -> str:
    """Return a class's name as it stands inside a sentence."""
    return report.labels.by_code(code).name.lower()


def show_confusion(report: EvaluationReport) -> None:
    """Show the confusion matrix in counts or row-normalised, as a chart and as a table."""
    st.header("Confusion matrix")
    st.caption("Each row is what the lesion was, each column what the model held most probable.")
    unit = st.segmented_control(
        "Show", ["counts", "share of each row"], default="counts", required=True, key="confusion", bind="query-params"
    )
    share = unit != "counts"
    codes = list(report.labels.codes)
    chart, table = st.columns(2, gap="medium")
    with chart:
        alt = f"Confusion matrix, {unit}; the table beside it holds the same numbers."
        components.show_figure(
            charts.draw_confusion(report, charts.palette(), share=share), alt=alt, key="confusion_chart"
        )
    with table:
        cells = pd.DataFrame(report.confusion, index=codes, columns=codes)
        if share:
            shares = cells.div(cells.sum(axis=1), axis=0)
            cells = shares.map(lambda value: "not applicable" if math.isnan(value) else f"{value:.1%}")
        rows = cells.rename_axis("truth").reset_index()
        rows.insert(1, "n", report.confusion.sum(axis=1))
        components.show_table(rows, alt=f"Confusion matrix, {unit}")
        st.caption(", ".join(f"{label.code}: {label.name}" for label in report.labels) + ".")


def show_classes(report: EvaluationReport) -> None:
    """Show precision, recall and F1 of each class with n and interval."""
    st.header("Each diagnosis")
    alt = "F1 of each diagnosis with its 95 % interval: " + ", ".join(
        f"{label.name} {report.classes[label.code]['f1']}" for label in report.labels
    )
    components.show_figure(charts.draw_class_f1(report, charts.palette()), alt=alt, key="class_f1")
    rows = []
    for label in report.labels:
        figures, lesions = report.classes[label.code], report.class_lesions[label.code]
        rows.append(
            {
                "Diagnosis": f"{label.name} ({figures['recall'].n:,} pictures, {lesions:,} lesions)",
                "Recall (sensitivity)": str(figures["recall"]),
                "F1": str(figures["f1"]),
                "Precision": f"{figures['precision']} of {figures['precision'].n:,} answers",
            }
        )
    components.show_table(pd.DataFrame(rows), alt="Recall, F1 and precision of each diagnosis")


def show_scores(report: EvaluationReport) -> None:
    """Show how well the probabilities rank and how well they are calibrated."""
    st.header(wording.SCORES_TITLE)
    figures = {wording.SCORES[name]: estimate for name, estimate in report.scores.items()}
    if "mel" in report.classes:
        figures = {wording.MELANOMA_AUC: report.classes["mel"]["auc"]} | figures
    if "calibration_error_before" in report.decision:
        figures[wording.CALIBRATION_BEFORE] = report.decision["calibration_error_before"]
    rows = [
        {"Figure": name, "Value": str(estimate), "n": estimate.n, "What it means": meaning}
        for (name, meaning), estimate in figures.items()
    ]
    components.show_table(pd.DataFrame(rows), alt="How well the probabilities rank and are calibrated")


def show_certainty(report: EvaluationReport) -> None:
    """Show how often each of the fixed words is said, and how often the answer is right then."""
    if "clear_lead" not in report.decision:
        return
    figures = {name: report.decision[name] for name in ("clear_lead", "undecided", "cannot_assess")}
    right = {"clear_lead": "clear_lead:right", "undecided": "undecided:either"}
    rows = [
        {
            "Said": wording.CERTAINTY_NAMES[name],
            "Share of the pictures": str(estimate),
            "Right": str(report.decision[right[name]]) if name in right else "",
        }
        for name, estimate in figures.items()
    ]
    components.show_table(pd.DataFrame(rows), alt="How sure the answers are, and how often they are right then")
    slipped = report.decision.get("malignant_with_benign_clear_lead")
    missed = wording.CERTAINTY_MISSED.format(n=slipped.n, share=slipped) if slipped is not None else ""
    st.markdown(f"{wording.CERTAINTY_REPORT} {missed}")


def show_rules(report: EvaluationReport) -> None:
    """Show what thresholds and prediction sets that were fitted on valid reach here."""
    st.header(wording.RULES_TITLE)
    names = [name.removesuffix(":sensitivity") for name in report.decision if name.endswith(":sensitivity")]
    rows = []
    for name in names:
        kind, _, share = name.partition("_")
        found, spared = (report.decision[f"{name}:{rate}"] for rate in ("sensitivity", "specificity"))
        rows.append(
            {
                "Fixed on valid for": f"{kind} {share}",
                f"Sensitivity (n {found.n})": str(found),
                f"Specificity (n {spared.n:,})": str(spared),
            }
        )
    if rows:
        st.markdown(wording.RULES_REMARK)
        components.show_table(pd.DataFrame(rows), alt="Thresholds fixed on valid")
    by_class = ", ".join(f"{label.name.lower()} {report.decision[f'coverage:{label.code}']}" for label in report.labels)
    reached, size = report.decision["coverage"], report.decision["set_size"]
    st.markdown(wording.SETS_REMARK.format(coverage=COVERAGE, reached=reached, size=size, by_class=by_class))


def show_gate(bundle: Bundle, report: EvaluationReport) -> None:
    """Show what the gate before the answer refuses, of the holdout pictures and of what it is to refuse."""
    try:
        counts = read_refused_counts(bundle.folder)
    except ModelError as error:
        st.warning(str(error))
        return
    if not counts:
        return
    st.header(wording.GATE_TITLE)
    st.markdown(wording.GATE_REMARK)
    rows = [
        {
            "Pictures": wording.GATE_KINDS.get(kind, kind),
            "n": f"{pictures:,}",
            "Refused": f"{refused / max(pictures, 1):.1%}",
        }
        for kind, (refused, pictures) in counts.items()
    ]
    if "refused" in report.decision:
        estimate = report.decision["refused"]
        share = f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"
        rows.insert(0, {"Pictures": wording.GATE_KINDS["test"], "n": f"{estimate.n:,}", "Refused": share})
    components.show_table(pd.DataFrame(rows), alt="Share of each kind of picture that the gate refuses")


def show_models(bundle: Bundle, report: EvaluationReport) -> None:
    """Show the same figures of every model beside this one that was tested under the same split."""
    reports = resources.list_reports(bundle)
    if len(reports) < 2:
        return
    st.header("Beside the other models here")
    rows = [
        {
            "Model": other.model_name + (" (in use)" if other.fingerprint == report.fingerprint else ""),
            "Pictures": other.pictures,
            **{wording.FIGURE_NAMES[name]: str(estimate) for name, estimate in other.overall.items()},
            "Melanoma recall": str(other.classes["mel"]["recall"]) if "mel" in other.classes else "",
        }
        for other in reports
    ]
    rows.append(
        {"Model": f"always {name_of(report, report.baseline_code)}", "Pictures": report.pictures}
        | {wording.FIGURE_NAMES[name]: str(estimate) for name, estimate in report.baseline.items()}
        | {"Melanoma recall": f"{float(report.baseline_code == 'mel'):.3f}" if "mel" in report.classes else ""}
    )
    components.show_table(pd.DataFrame(rows), alt="Figures of the models side by side")


def show_claim(report: EvaluationReport) -> None:
    """Show the original claim beside its network under both kinds of split, and beside this model."""
    st.header(wording.CLAIM_TITLE)
    shown = {wording.CLAIM_SPLITS[kind]: claimed for kind, claimed in resources.load_claim_reports().items()}
    shown["This model, lesion-grouped"] = report
    rows = []
    for figure, (name, value) in (wording.CLAIM | {"nv": wording.CLAIM_OTHERS}).items():
        row = {"Figure": name, "Claimed": value if isinstance(value, str) else f"{value:.3f}"}
        for title, one in shown.items():
            row[title] = str(one.overall[figure] if figure in one.overall else one.classes[figure]["f1"])
        rows.append(row)
    components.show_table(pd.DataFrame(rows), alt="The original claim beside what was measured")
    st.markdown(wording.CLAIM_REMARK)


main()
