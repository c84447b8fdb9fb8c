"""The model card, written from a run as Markdown: nothing in it is typed by hand that the run knows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from skinai import __version__, wording
from skinai.data.split import SUBSETS
from skinai.evaluation.estimate import Estimate
from skinai.evaluation.units import name_unit
from skinai.exports.checklists import Item, fill_clear_derm, fill_tripod
from skinai.exports.facts import CardFacts

# Kind and target of the report's charts, by the name of the file each is drawn into.
FIGURES = {
    "confusion": ("confusion", ""),
    "f1": ("classes", ""),
    "roc": ("roc", ""),
    "precision_recall": ("precision_recall", ""),
    "calibration": ("calibration", ""),
    "coverage_risk": ("coverage_risk", ""),
    "decision_curve": ("decision_curve", ""),
}
FLOW = "flow"


def write_card(facts: CardFacts) -> str:
    """Return the card as Markdown; figures are named as ``figures/NAME.svg``."""
    parts = [
        *_head(facts),
        *_use(facts),
        *_data(facts),
        *_model(facts),
        *_results(facts),
        *_subgroups(facts),
        *_checks(facts),
        *_checklist("CLEAR Derm", fill_clear_derm(facts)),
        *_checklist("TRIPOD+AI", fill_tripod(facts)),
    ]
    return "\n\n".join(parts) + "\n"


def list_figures(facts: CardFacts) -> dict[str, tuple[str, str]]:
    """Return the charts of this report: file name to kind and target."""
    malignant = {"roc", "precision_recall", "decision_curve"}
    skipped = set() if facts.bundle.labels.malignant_codes else malignant
    return {name: chart for name, chart in FIGURES.items() if name not in skipped}


def _head(facts: CardFacts) -> list[str]:
    bundle, report, unit = facts.bundle, facts.report, name_unit(facts.report.labels)
    shown = {wording.FIGURE_NAMES[name]: one for name, one in report.overall.items()}
    if report.labels.malignant_codes:
        shown = {wording.FIGURE_NAMES["malignant_auc"]: report.scores["malignant_auc"], **shown}
    if "mel" in report.classes:
        shown = {wording.FIGURE_NAMES["melanoma_recall"]: report.classes["mel"]["recall"], **shown}
    shown[wording.FIGURE_NAMES["top3_accuracy"]] = report.scores["top3_accuracy"]
    issues = [f"- `{check.code}`: {check.finding}" for check in facts.checks if check.state == "issue"]
    voiding = [f"**{wording.CHECK_VOIDS} {check.finding} {check.advice}**" for check in facts.checks if check.voiding]
    return [
        f"# Model card: {_escape(bundle.name)}",
        f"**{wording.NOTICE}** {wording.NOT_A_DEVICE}",
        *voiding,
        _table(
            ["Fact", "Value"],
            [
                ("Fingerprint", f"`{bundle.fingerprint}`"),
                ("Made (UTC)", bundle.facts["created_utc"]),
                ("Diagnoses", ", ".join(bundle.labels.names)),
                ("Licence of the weights", bundle.facts["licence"]),
                ("Written by", f"skinai {__version__}"),
            ],
        ),
        f"Holdout run: {report.pictures:,} pictures of {report.lesions:,} {unit}s. Brackets hold 95 % intervals, from "
        f"a bootstrap that draws whole {unit}s 2,000 times.",
        _table(["Figure", "Value", "n"], [(name, str(one), f"{one.n:,}") for name, one in shown.items()]),
        "Checks that found an issue:" if issues else "No check found an issue.",
        "\n".join(issues),
    ]


def _use(facts: CardFacts) -> list[str]:
    not_for = "\n".join(f"- {_escape(one)}" for one in facts.not_for)
    return ["## Use", _escape(facts.use), f"### {wording.NOT_FOR_TITLE}", not_for]


def _data(facts: CardFacts) -> list[str]:
    summary, used, unit = facts.summary, facts.summary.used, name_unit(facts.bundle.labels)
    rows = []
    for label in facts.bundle.labels:
        counts = used[used["dx"] == label.code].set_index("subset")[["pictures", "lesions"]]
        counts = counts.reindex(SUBSETS, fill_value=0)
        cells = [
            f"{pictures:,} ({lesions:,})" for pictures, lesions in zip(counts.pictures, counts.lesions, strict=True)
        ]
        rows.append((label.name, *cells))
    remarks = [f"- {_escape(remark)}" for remark in summary.remarks]
    parts = [
        "## Data",
        _figure(FLOW, f"From the listed pictures to {unit}s and subsets"),
        f"Pictures, {unit}s in brackets:",
        _table(["Diagnosis", *SUBSETS], rows),
    ]
    if remarks:
        parts += ["What was odd about the data folder:", "\n".join(remarks)]
    parts.append(facts.check("lesion_leakage").finding)
    if facts.is_ham10000:
        parts.append(f"{wording.SOURCE_REMARK} {wording.SKIN_TONE_REMARK}")
    else:
        parts.append(f"{wording.SAME_SOURCE_REMARK} {wording.SKIN_TONE_GAP}")
    parts += [_escape(note) for note in facts.bundle.notes]
    return parts


def _model(facts: CardFacts) -> list[str]:
    bundle, training = facts.bundle, facts.bundle.facts["training"]
    configurations = facts.configurations
    alone = [{"name": bundle.name, "fingerprint": bundle.fingerprint}]
    names = [f"{member['name']} ({member['fingerprint']})" for member in bundle.facts.get("members", alone)]
    varied = [
        name
        for name in configurations[0]
        if len({str(configuration.get(name)) for configuration in configurations}) > 1
    ]
    shared = [(name, str(value)) for name, value in configurations[0].items() if name not in varied]
    calibration = bundle.facts["calibration"]
    parts = [
        "## Model",
        _table(
            ["Fact", "Value"],
            [
                ("Networks", f"{len(configurations)}: {', '.join(names)}"),
                ("Parameters", f"{training['parameters']:,}"),
                ("Input", f"{bundle.frame.width_px} x {bundle.frame.height_px} pixels"),
                ("Views", ", ".join(bundle.views)),
                ("Seconds of training", f"{training['fit_seconds']:,}"),
                ("Temperature", f"{calibration['temperature']:.4f}"),
                ("Power of the class prior", f"{calibration['exponent']:.1f}"),
                *[(f"Version of {name}", str(version)) for name, version in bundle.facts["versions"].items()],
            ],
        ),
        "Training configuration:",
        _table(["Entry", "Value"], shared),
    ]
    if varied:
        rows = [(name, *(str(one.get(name, "")) for one in configurations)) for name in varied]
        parts += ["In which the networks differ:", _table(["Entry", *names], rows)]
    points = [(point.name.replace("_", " "), f"{point.threshold:.6f}") for point in facts.decision.operating_points]
    if points:
        parts += [
            f"Rules fitted on valid, version {facts.decision.version}:",
            _table(["Fixed for", "Threshold"], points),
        ]
    return parts


def _results(facts: CardFacts) -> list[str]:
    report, unit = facts.report, name_unit(facts.report.labels)
    rows = [
        (wording.FIGURE_NAMES[name], str(one), f"{one.n:,}", str(report.baseline[name]))
        for name, one in report.overall.items()
    ]
    rows += [
        (wording.SCORES[name][0], str(one), f"{one.n:,}", str(report.baseline[name]))
        for name, one in report.applicable_scores.items()
    ]
    names = ("recall", "precision", "specificity", "f1", "auc", "average_precision")
    titles = ["Recall", "Precision", "Specificity", "F1", "AUC", "Average precision"]
    classes = [
        (
            f"{label.name} ({report.classes[label.code]['recall'].n:,} pictures, {report.class_lesions[label.code]:,} "
            f"{unit}s)",
            *(str(report.classes[label.code][name]) for name in names),
        )
        for label in report.labels
    ]
    parts = [
        "## Results on the holdout pictures",
        wording.explain_intervals(report.labels),
        _table(["Figure", "Value", "n", f"Always {report.baseline_code}"], rows),
        *([] if math.isnan(report.scores["top3_accuracy"].value) else [wording.BASELINE_OF_THREE]),
        _table(["Diagnosis", *titles], classes),
    ]
    if report.decision_hash and not any(name.startswith("coverage") for name in report.decision):
        parts.append(f"**Gap:** {wording.RULES_CHANGED.format(folder=facts.bundle.name)}")
    elif report.decision:
        parts += ["What the rules fitted on valid reach here:", _table(["Rule", "Value", "n"], _spell(report.decision))]
    drawn = [_figure(name, _title(name)) for name in list_figures(facts)]
    refused = [
        (wording.name_gate_kind(kind, report.labels), f"{pictures:,}", wording.say_of(part, pictures))
        for kind, (part, pictures) in facts.refused.items()
    ]
    if refused:
        remark = wording.GATE_REMARK if facts.is_ham10000 else wording.OTHER_GATE_REMARK
        drawn += [f"### {wording.GATE_TITLE}", remark, _table(["Pictures", "n", "Refused"], refused)]
    if facts.routed:
        table = _table(list(wording.ROUTER_COLUMNS), wording.spell_routes(facts.routed))
        drawn += [f"### {wording.ROUTER_TITLE}", wording.ROUTER_REMARK, table]
    return parts + drawn


def _spell(estimates: Mapping[str, Estimate]) -> list[tuple[str, str, str]]:
    return [(name.replace("_", " "), str(one), f"{one.n:,}") for name, one in estimates.items()]


def _subgroups(facts: CardFacts) -> list[str]:
    groups = facts.report.subgroups
    if not groups:
        return ["## Subgroups", f"**Gap:** {wording.PARTS_EMPTY.format(folder=facts.bundle.name)}"]
    names, unit = wording.name_parts(facts.report.labels), name_unit(facts.report.labels)
    figures = [name for name in wording.PART_FIGURES if name in groups[0].figures]
    rows = []
    for group in groups:
        few = ", ".join(wording.PART_FIGURES[name].lower() for name in group.few if name in figures)
        rows.append(
            (
                f"{names[group.column]}: {group.value}",
                f"{group.pictures:,} ({group.lesions:,})",
                *(str(group.figures[name]) for name in figures),
                few,
            )
        )
    head = ["Part", f"Pictures ({unit}s)", *(wording.PART_FIGURES[name] for name in figures), f"Too few {unit}s for"]
    remark = wording.explain_parts(facts.report.labels, thresholds="sensitivity" in figures)
    return ["## Subgroups", remark, _table(head, rows)]


def _checks(facts: CardFacts) -> list[str]:
    rows = [(check.state, f"{check.title} (`{check.code}`)", check.finding, check.advice) for check in facts.checks]
    return ["## Checks", _table(["State", "Promise", "Finding", "What to do"], rows)]


def _checklist(name: str, items: Sequence[Item]) -> list[str]:
    gaps = sum(bool(item.gap) for item in items)
    rows = [(item.number, item.subject, item.answer, f"**{item.gap}**" if item.gap else "") for item in items]
    return [
        f"## {name}",
        f"{len(items)} items in our words, filled from the run; {gaps} have a gap.",
        _table(["Item", "Subject", "Answer", "Gap"], rows),
    ]


def _title(name: str) -> str:
    return {"confusion": "Confusion matrix", "f1": "F1 of each diagnosis"}.get(name) or wording.CURVES[name][0]


def _figure(name: str, title: str) -> str:
    return f"![{title}](figures/{name}.svg)"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return _escape(str(text)).replace("|", "\\|").replace("\n", " ")


def _escape(text: str) -> str:
    """Keep a value from being read as a link or a picture, which would be fetched."""
    return text.replace("[", "\\[").replace("<", "&lt;")
