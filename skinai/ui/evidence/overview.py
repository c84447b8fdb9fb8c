"""Overview: the figures of the holdout run, of all pictures together and of each diagnosis."""

import math

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.errors import DataError, ModelError
from skinai.evaluation.decision import read_decision
from skinai.evaluation.estimate import Estimate
from skinai.evaluation.report import EvaluationReport
from skinai.evaluation.units import name_unit
from skinai.labels import HAM10000
from skinai.model.bundle import DEFAULT_MODEL, Bundle
from skinai.model.gates import read_refused_counts
from skinai.model.router import read_routed_counts
from skinai.ui import charts, components, resources


def show(bundle: Bundle, report: EvaluationReport) -> None:
    """Show the figures, then what the rules fixed on valid reach."""
    is_ham10000 = report.labels is HAM10000
    leak = next(check for check in resources.load_checks(bundle, report) if check.code == "lesion_leakage")
    is_default = bundle.name == DEFAULT_MODEL
    source = wording.SOURCE_REMARK if is_ham10000 else wording.SAME_SOURCE_REMARK
    st.markdown(" ".join([leak.finding, source, *([wording.HOLDOUT_REMARK] if is_default else [])]))
    tone = wording.SKIN_TONE_REMARK if is_ham10000 else wording.SKIN_TONE_GAP
    st.markdown(f"{wording.explain_intervals(report.labels)} {tone}")
    show_overall(report)
    show_classes(report)
    show_scores(report)
    if "coverage" in report.decision:
        show_certainty(report)
        show_rules(bundle, report)
    elif report.decision_hash:
        st.warning(wording.RULES_CHANGED.format(folder=components.name_folder(bundle)))
    show_gate(bundle, report)
    show_router(bundle)
    show_models(bundle, report)


def list_overall(report: EvaluationReport) -> dict[str, tuple[Estimate, str]]:
    """Return the figures of all pictures together, each beside the baseline's; never accuracy without melanoma recall.

    HAM10000's top-3 accuracy stands below, among the scores: three of seven, of which one is two thirds, say little.
    """
    figures = {name: (one, f"{report.baseline[name].value:.3f}") for name, one in report.overall.items()}
    if "mel" in report.classes:
        melanoma = (report.classes["mel"]["recall"], f"{float(report.baseline_code == 'mel'):.3f}")
        figures = {"melanoma_recall": melanoma} | figures
    among = report.scores["top3_accuracy"]
    if report.labels is not HAM10000 and not math.isnan(among.value):
        figures["top3_accuracy"] = (among, f"{report.baseline['top3_accuracy'].value:.3f}")
    return figures


def show_overall(report: EvaluationReport) -> None:
    """Show the figures of all pictures together, and how many malignant ones got a benign answer."""
    figures = list_overall(report)
    for column, (name, (estimate, baseline)) in zip(st.columns(len(figures)), figures.items(), strict=True):
        title = wording.THREE_MOST_FREQUENT if name == "top3_accuracy" else always(report)
        with column:
            components.show_estimate(name, estimate, baseline=f"{title}: {baseline}")
    if not report.labels.malignant_codes:
        return
    malignant = [label.code for label in report.labels if label.malignant]
    benign = [label.code for label in report.labels if not label.malignant]
    missed, of_malignant = report.count_benign_first(*malignant)
    right, of_benign = report.count_benign_first(*benign)
    st.markdown(
        wording.GROUP_ERRORS.format(malignant=of_malignant, missed=missed, benign=of_benign, alarmed=of_benign - right)
    )


def describe_n(estimate: Estimate) -> str:
    """Return an estimate with its n."""
    return f"{estimate}, n {estimate.n:,}"


def always(report: EvaluationReport) -> str:
    """Return what the baseline is called."""
    return f"Always {name_of(report, report.baseline_code)}"


def name_of(report: EvaluationReport, code: str) -> str:
    """Return a class's name as it stands inside a sentence."""
    return report.labels.by_code(code).name.lower()


def show_classes(report: EvaluationReport) -> None:
    """Show precision, recall and F1 of each class with n and interval."""
    st.header("Each diagnosis")
    alt = "F1 of each diagnosis with its 95 % interval: " + ", ".join(
        f"{label.name} {report.classes[label.code]['f1']}" for label in report.labels
    )
    st.html(charts.write_intervals(report.frame("classes"), "f1", charts.palette(), alt=alt))
    rows, unit = [], name_unit(report.labels)
    for label in report.labels:
        figures, lesions = report.classes[label.code], report.class_lesions[label.code]
        rows.append(
            {
                "Diagnosis": f"{label.name} ({figures['recall'].n:,} pictures, {lesions:,} {unit}s)",
                "Recall (sensitivity)": str(figures["recall"]),
                "F1": str(figures["f1"]),
                "Precision": f"{figures['precision']} of {figures['precision'].n:,} answers",
            }
        )
    components.show_table(pd.DataFrame(rows), alt="Recall, F1 and precision of each diagnosis")
    others = [
        {
            "Diagnosis": label.name,
            "Specificity": f"{figures['specificity']} of {figures['specificity'].n:,}",
            "AUC": str(figures["auc"]),
            "Average precision": str(figures["average_precision"]),
        }
        for label, figures in ((label, report.classes[label.code]) for label in report.labels)
    ]
    components.show_table(pd.DataFrame(others), alt="Specificity, AUC and average precision of each diagnosis")


def show_scores(report: EvaluationReport) -> None:
    """Show how well the probabilities rank and how well they are calibrated."""
    st.header(wording.SCORES_TITLE)
    figures = {}
    if "mel" in report.classes:
        figures[wording.MELANOMA_AUC] = (report.classes["mel"]["auc"], "0.500")
    for name, one in report.applicable_scores.items():
        if name not in list_overall(report):
            figures[wording.SCORES[name]] = (one, components.say_value(report.baseline[name]))
    if "calibration_error_before" in report.decision:
        figures[wording.CALIBRATION_BEFORE] = (report.decision["calibration_error_before"], "")
    rows = [
        {"Figure": name, "Value": str(one), "n": f"{one.n:,}", always(report): baseline}
        for (name, _), (one, baseline) in figures.items()
    ]
    components.show_table(pd.DataFrame(rows), alt="How well the probabilities rank and are calibrated")
    with st.expander(wording.SCORES_MEANING):
        shares = [report.classes[code]["recall"].n / report.pictures for code in report.labels.codes]
        by_shares = -sum(share * math.log(share) for share in shares if share)
        meanings = (f"- **{name}**: {meaning.format(by_shares=by_shares)}" for name, meaning in figures)
        st.markdown("\n".join(meanings))


def show_certainty(report: EvaluationReport) -> None:
    """Show how often each of the fixed words is said, and how often the answer is right then."""
    if "clear_lead" not in report.decision:
        return
    figures = {name: report.decision[name] for name in ("clear_lead", "undecided", "cannot_assess")}
    right = {"clear_lead": "clear_lead:right", "undecided": "undecided:either"}
    rows = [
        {
            "Said": wording.CERTAINTY_NAMES[name],
            f"Share of the pictures (n {report.pictures:,})": str(estimate),
            "Right": describe_n(report.decision[right[name]]) if name in right else "",
        }
        for name, estimate in figures.items()
    ]
    components.show_table(pd.DataFrame(rows), alt="How sure the answers are, and how often they are right then")
    slipped = report.decision.get("malignant_with_benign_clear_lead")
    missed = wording.CERTAINTY_MISSED.format(n=slipped.n, share=slipped) if slipped is not None else ""
    remark = wording.CERTAINTY_REPORT if report.labels.malignant_codes else wording.OTHER_CERTAINTY_REPORT
    st.markdown(f"{remark} {missed}")


def show_rules(bundle: Bundle, report: EvaluationReport) -> None:
    """Show what thresholds and prediction sets that were fitted on valid reach here."""
    st.header(wording.RULES_TITLE)
    figures = [name for name in report.decision if name.endswith(":sensitivity") and "_0." in name]
    names = [name.removesuffix(":sensitivity") for name in figures]
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
    by_class = ", ".join(
        f"{label.name.lower()} {describe_n(report.decision[f'coverage:{label.code}'])}" for label in report.labels
    )
    reached, size = report.decision["coverage"], report.decision["set_size"]
    try:
        coverage = read_decision(bundle.folder, fingerprint=bundle.fingerprint, labels=bundle.labels).coverage
    except DataError as error:
        st.warning(str(error))
        return
    st.markdown(wording.SETS_REMARK.format(coverage=coverage, reached=reached, size=size, by_class=by_class))


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
    st.markdown(wording.GATE_REMARK if report.labels is HAM10000 else wording.OTHER_GATE_REMARK)
    rows = [
        {
            "Pictures": wording.name_gate_kind(kind, report.labels),
            "n": f"{pictures:,}",
            "Refused": wording.say_of(refused, pictures),
        }
        for kind, (refused, pictures) in counts.items()
    ]
    if "refused" in report.decision:
        estimate = report.decision["refused"]
        share = f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"
        test = wording.name_gate_kind("test", report.labels)
        rows.insert(0, {"Pictures": test, "n": f"{estimate.n:,}", "Refused": share})
    components.show_table(pd.DataFrame(rows), alt="Share of each kind of picture that the gate refuses")


def show_router(bundle: Bundle) -> None:
    """Show where the router sends pictures that were held out from its fit, in the folder that it lies in."""
    try:
        counts = read_routed_counts(bundle.folder)
    except ModelError as error:
        st.warning(str(error))
        return
    if not counts:
        return
    st.header(wording.ROUTER_TITLE)
    st.markdown(wording.ROUTER_REMARK)
    rows = pd.DataFrame(wording.spell_routes(counts), columns=list(wording.ROUTER_COLUMNS))
    components.show_table(rows, alt="Where the router sends pictures of each kind")


def show_models(bundle: Bundle, report: EvaluationReport) -> None:
    """Show the same figures of every model beside this one that was tested under the same split."""
    reports = resources.list_reports(bundle)
    if len(reports) < 2:
        return
    st.header("Beside the other models here")
    rows = [
        {
            "Model": other.model_name + (" (in use)" if other.fingerprint == report.fingerprint else ""),
            **{wording.FIGURE_NAMES[name]: str(estimate) for name, (estimate, _) in list_overall(other).items()},
            "Pictures": f"{other.pictures:,}",
        }
        for other in reports
    ]
    baseline = {"Model": always(report), "Pictures": f"{report.pictures:,}"}
    rows.append(
        baseline
        | {
            wording.FIGURE_NAMES[name]: str(report.baseline.get(name, plain))
            for name, (_, plain) in list_overall(report).items()
        }
    )
    components.show_table(pd.DataFrame(rows), alt="Figures of the models side by side")
