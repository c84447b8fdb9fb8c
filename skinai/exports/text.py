"""A report, its checks, a comparison and a challenge score as plain text, for the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from skinai.evaluation.checks import Check
from skinai.evaluation.comparison import Comparison
from skinai.evaluation.report import EvaluationReport
from skinai.evaluation.scoring import LEADERBOARD, ChallengeScore

_CLASS_CELLS = ("precision", "recall", "specificity", "f1", "auc", "average_precision")


def format_report(report: EvaluationReport) -> str:
    """Return every figure of a report, a line each."""
    lines = [
        f"{report.model_name} ({report.fingerprint or 'no fingerprint'}) on {report.subset}: "
        f"{report.pictures:,} pictures of {report.lesions:,} lesions",
        "95 % intervals: bootstrap by lesion",
        "",
        f"{'':<42}{'':<28}always {report.baseline_code}",
    ]
    for name, one in {**report.overall, **report.scores}.items():
        lines.append(f"{name.replace('_', ' '):<42}{one!s:<28}{_plain(report.baseline[name].value)}")
    lines += ["", f"{'':<7}{'n':>5}  " + "".join(f"{name.replace('_', ' '):<25}" for name in _CLASS_CELLS).rstrip()]
    for code, figures in report.classes.items():
        cells = "".join(f"{figures[name]!s:<25}" for name in _CLASS_CELLS)
        lines.append(f"{code:<7}{figures['recall'].n:>5}  {cells}".rstrip())
    if report.decision:
        lines += ["", "rules fitted on valid"]
        lines += [f"{name:<42}{one!s}" for name, one in report.decision.items()]
    if report.subgroups:
        lines += ["", f"{'part':<34}{'n':>6}{'lesions':>9}  sensitivity              specificity              accuracy"]
    for group in report.subgroups:
        shown = [
            f"{figure!s:<25}" if figure is not None else f"{'not applicable':<25}"
            for figure in (group.figures.get(name) for name in ("sensitivity", "specificity", "accuracy"))
        ]
        few = "  few lesions" if group.few else ""
        where = f"{group.column} {group.value}"
        lines.append(f"{where:<34}{group.pictures:>6,}{group.lesions:>9,}  {''.join(shown).rstrip()}{few}")
    lines += [
        "",
        "confusion (rows: truth, columns: answer)",
        "       " + "".join(f"{code:>7}" for code in report.labels.codes),
    ]
    for code, row in zip(report.labels.codes, report.confusion, strict=True):
        lines.append(f"{code:<7}" + "".join(f"{count:>7}" for count in row))
    return "\n".join(lines)


def format_checks(checks: Sequence[Check]) -> str:
    """Return each check with its state, its finding and, for an issue, what to do."""
    lines = ["checks"]
    for check in checks:
        lines.append(f"{check.state:<16}{check.code}: {check.finding}{' ' + check.advice if check.advice else ''}")
    return "\n".join(lines)


def format_comparison(comparison: Comparison, first: str, second: str) -> str:
    """Return a comparison, a figure a line."""
    head = f"{comparison.pictures:,} pictures; difference: second less first, 95 %, bootstrap by lesion"
    lines = [head, "", f"{'':<32}{first:<28}{second:<28}difference"]
    for code, figures in {"": comparison.overall, **comparison.classes}.items():
        for name, one in figures.items():
            title = f"{code} {name.replace('_', ' ')}".strip()
            lines.append(f"{title:<32}{_plain(one.first):<28}{_plain(one.second):<28}{one.difference}")
    test = comparison.mcnemar
    lines += [
        "",
        f"Of {test.lesions:,} lesions only the first is right on {test.only_first:,} and only the second on "
        f"{test.only_second:,} (McNemar, exact, p = {test.p_value:.2g}).",
    ]
    return "\n".join(lines)


def format_score(score: ChallengeScore) -> str:
    """Return the challenge's score, beside published ones only where the pictures are the official test set."""
    table = score.per_category.map(_plain).to_string()
    lines = [
        f"ISIC 2018 Task 3: balanced accuracy {score.balanced_accuracy:.4f} on {score.pictures:,} pictures",
        "",
        table,
        f"\nmacro average: {', '.join(f'{name} {_plain(value)}' for name, value in score.macro_average.items())}",
    ]
    if score.official:
        lines += [f"{name}: {value}" for name, value in LEADERBOARD.items()]
    else:
        lines.append("Not the official test set, so published results of it are no measure here.")
    return "\n".join(lines)


def _plain(value: float) -> str:
    return "not applicable" if math.isnan(value) else f"{value:.3f}"
