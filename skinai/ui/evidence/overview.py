"""Overview: the figures of the holdout run, of all pictures together and of each diagnosis."""

import math
from functools import partial

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.errors import DataError, SkinaiError
from skinai.evaluation.decision import read_decision
from skinai.evaluation.estimate import Estimate
from skinai.evaluation.report import EvaluationReport
from skinai.evaluation.units import name_unit
from skinai.labels import HAM10000
from skinai.model.bundle import DEFAULT_MODEL, Bundle
from skinai.model.gates import read_refused_counts
from skinai.model.router import read_routed_counts
from skinai.ui import charts, components, markup, resources


def show(bundle: Bundle, report: EvaluationReport) -> None:
    """Show the figures, then what the rules fixed on valid reach; what cannot be read is said in its place."""
    written: list[str] = []
    for write in (
        partial(write_source, bundle, report),
        partial(write_overall, report),
        partial(write_classes, report),
        partial(write_scores, report),
        partial(write_certainty, report),
        partial(write_rules, bundle, report),
        partial(write_gate, bundle, report),
        partial(write_router, bundle),
        partial(write_models, bundle, report),
    ):
        try:
            written.append(write())
        except SkinaiError as error:
            _show_written(written)
            st.warning(str(error))
            written.clear()
    _show_written(written)


def _show_written(written: list[str]) -> None:
    if any(written):
        st.html(markup.STYLE + "".join(written))


def write_source(bundle: Bundle, report: EvaluationReport) -> str:
    """Return what the pictures are that the figures come from, and how to read the intervals."""
    is_ham10000 = report.labels is HAM10000
    leak = next(check for check in resources.load_checks(bundle, report) if check.code == "lesion_leakage")
    source = wording.SOURCE_REMARK if is_ham10000 else wording.SAME_SOURCE_REMARK
    holdout = [wording.HOLDOUT_REMARK] if bundle.name == DEFAULT_MODEL else []
    tone = wording.SKIN_TONE_REMARK if is_ham10000 else wording.SKIN_TONE_GAP
    return markup.write_text(" ".join([leak.finding, source, *holdout])) + markup.write_text(
        f"{wording.explain_intervals(report.labels)} {tone}"
    )


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


def write_overall(report: EvaluationReport) -> str:
    """Return the figures of all pictures together, and how many malignant ones got a benign answer."""
    figures = list_overall(report)
    cards = []
    for name, (estimate, baseline) in figures.items():
        title = wording.THREE_MOST_FREQUENT if name == "top3_accuracy" else always(report)
        interval = "no interval" if math.isnan(estimate.low) else f"{estimate.low:.3f} to {estimate.high:.3f}"
        below = (f"95 %: {interval}, n = {estimate.n:,}.", f"{title}: {baseline}.")
        cards.append((wording.FIGURE_NAMES[name], wording.FIGURE_HELP[name], components.say_value(estimate), below))
    written = markup.write_cards(cards)
    if not report.labels.malignant_codes:
        return written
    malignant = [label.code for label in report.labels if label.malignant]
    benign = [label.code for label in report.labels if not label.malignant]
    missed, of_malignant = report.count_benign_first(*malignant)
    right, of_benign = report.count_benign_first(*benign)
    return written + markup.write_text(
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


def write_classes(report: EvaluationReport) -> str:
    """Return precision, recall and F1 of each class with n and interval."""
    alt = "F1 of each diagnosis with its 95 % interval: " + ", ".join(
        f"{label.name} {report.classes[label.code]['f1']}" for label in report.labels
    )
    chart = markup.write_intervals(report.frame("classes"), "f1", charts.palette(), alt=alt)
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
    first = markup.write_table(pd.DataFrame(rows), alt="Recall, F1 and precision of each diagnosis")
    others = [
        {
            "Diagnosis": label.name,
            "Specificity": f"{figures['specificity']} of {figures['specificity'].n:,}",
            "AUC": str(figures["auc"]),
            "Average precision": str(figures["average_precision"]),
        }
        for label, figures in ((label, report.classes[label.code]) for label in report.labels)
    ]
    second = markup.write_table(pd.DataFrame(others), alt="Specificity, AUC and average precision of each diagnosis")
    return markup.write_heading("Each diagnosis") + chart + first + second


def write_scores(report: EvaluationReport) -> str:
    """Return how well the probabilities rank and how well they are calibrated."""
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
    shares = [report.classes[code]["recall"].n / report.pictures for code in report.labels.codes]
    by_shares = -sum(share * math.log(share) for share in shares if share)
    return (
        markup.write_heading(wording.SCORES_TITLE)
        + markup.write_table(pd.DataFrame(rows), alt="How well the probabilities rank and are calibrated")
        + markup.write_meanings(
            wording.SCORES_MEANING, {name: meaning.format(by_shares=by_shares) for name, meaning in figures}
        )
    )


def write_certainty(report: EvaluationReport) -> str:
    """Return how often each of the fixed words is said, and how often the answer is right then."""
    if "clear_lead" not in report.decision:
        return ""
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
    table = markup.write_table(pd.DataFrame(rows), alt="How sure the answers are, and how often they are right then")
    slipped = report.decision.get("malignant_with_benign_clear_lead")
    missed = wording.CERTAINTY_MISSED.format(n=slipped.n, share=slipped) if slipped is not None else ""
    remark = wording.CERTAINTY_REPORT if report.labels.malignant_codes else wording.OTHER_CERTAINTY_REPORT
    return table + markup.write_text(f"{remark} {missed}")


def write_rules(bundle: Bundle, report: EvaluationReport) -> str:
    """Return what thresholds and prediction sets that were fitted on valid reach here.

    Raises
    ------
    DataError
        If the rules are not those that the report was made with, or cannot be read.
    """
    if "coverage" not in report.decision:
        if report.decision_hash:
            raise DataError(wording.RULES_CHANGED.format(folder=components.name_folder(bundle)))
        return ""
    coverage = read_decision(bundle.folder, fingerprint=bundle.fingerprint, labels=bundle.labels).coverage
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
    table = markup.write_table(pd.DataFrame(rows), alt="Thresholds fixed on valid")
    thresholds = markup.write_text(wording.RULES_REMARK) + table if rows else ""
    by_class = ", ".join(
        f"{label.name.lower()} {describe_n(report.decision[f'coverage:{label.code}'])}" for label in report.labels
    )
    reached, size = report.decision["coverage"], report.decision["set_size"]
    sets = wording.SETS_REMARK.format(coverage=coverage, reached=reached, size=size, by_class=by_class)
    return markup.write_heading(wording.RULES_TITLE) + thresholds + markup.write_text(sets)


def write_gate(bundle: Bundle, report: EvaluationReport) -> str:
    """Return what the gate before the answer refuses, of the holdout pictures and of what it is to refuse.

    Raises
    ------
    ModelError
        If the gate cannot be read.
    """
    counts = read_refused_counts(bundle.folder)
    if not counts:
        return ""
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
    return (
        markup.write_heading(wording.GATE_TITLE)
        + markup.write_text(wording.GATE_REMARK if report.labels is HAM10000 else wording.OTHER_GATE_REMARK)
        + markup.write_table(pd.DataFrame(rows), alt="Share of each kind of picture that the gate refuses")
    )


def write_router(bundle: Bundle) -> str:
    """Return where the router sends pictures that were held out from its fit, in the folder that it lies in.

    Raises
    ------
    ModelError
        If the router cannot be read.
    """
    counts = read_routed_counts(bundle.folder)
    if not counts:
        return ""
    rows = pd.DataFrame(wording.spell_routes(counts), columns=list(wording.ROUTER_COLUMNS))
    return (
        markup.write_heading(wording.ROUTER_TITLE)
        + markup.write_text(wording.ROUTER_REMARK)
        + markup.write_table(rows, alt="Where the router sends pictures of each kind")
    )


def write_models(bundle: Bundle, report: EvaluationReport) -> str:
    """Return the same figures of every model beside this one that was tested under the same split."""
    reports = resources.list_reports(bundle)
    if len(reports) < 2:
        return ""
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
    table = markup.write_table(pd.DataFrame(rows), alt="Figures of the models side by side")
    return markup.write_heading("Beside the other models here") + table
