"""Reports, checks, comparisons, scores and audits as plain text, for the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from skinai.data.audit import Audit
from skinai.data.split_audit import SplitAudit
from skinai.evaluation.checks import Check
from skinai.evaluation.comparison import Comparison
from skinai.evaluation.report import EvaluationReport
from skinai.evaluation.scoring import LEADERBOARD, ChallengeScore
from skinai.evaluation.units import name_unit, put_in_units

_CLASS_CELLS = ("precision", "recall", "specificity", "f1", "auc", "average_precision")
# With longer codes the columns of a confusion matrix are numbered.
_LONGEST_HEAD = 6


def format_report(report: EvaluationReport) -> str:
    """Return every figure of a report, a line each."""
    unit = name_unit(report.labels)
    lines = [
        f"{report.model_name} ({report.fingerprint or 'no fingerprint'}) on {report.subset}: "
        f"{report.pictures:,} pictures of {report.lesions:,} {unit}s",
        f"95 % intervals: bootstrap by {report.drawn}",
        "",
        f"{'':<42}{'':<28}always {report.baseline_code}",
    ]
    for name, one in {**report.overall, **report.applicable_scores}.items():
        baseline = _plain(report.baseline[name].value)
        if name == "top3_accuracy" and not math.isnan(one.value):
            baseline += " (the three most frequent)"
        lines.append(f"{name.replace('_', ' '):<42}{one!s:<28}{baseline}")
    if not report.labels.malignant_codes:
        lines.append("no class of this model is marked malignant")
    width = max([7, *(2 + len(code) for code in report.labels.codes)])
    head = "".join(f"{name.replace('_', ' '):<25}" for name in _CLASS_CELLS).rstrip()
    lines += ["", f"{'':<{width}}{'n':>5}  {head}"]
    for code, figures in report.classes.items():
        cells = "".join(f"{figures[name]!s:<25}" for name in _CLASS_CELLS)
        lines.append(f"{code:<{width}}{figures['recall'].n:>5}  {cells}".rstrip())
    if report.decision:
        wide = max([42, *(2 + len(name) for name in report.decision)])
        lines += ["", "rules fitted on valid"]
        lines += [f"{name:<{wide}}{one!s}" for name, one in report.decision.items()]
    lines += _format_parts(report, unit)
    lines += ["", *_format_confusion(report)]
    return "\n".join(lines)


def _format_parts(report: EvaluationReport, unit: str) -> list[str]:
    """Return a line a subgroup, with the figures that there are."""
    if not report.subgroups:
        return []
    names = [
        name for name in ("sensitivity", "specificity", "accuracy") if any(name in g.figures for g in report.subgroups)
    ]
    head = "".join(f"{name:<25}" for name in names).rstrip()
    lines = ["", f"{'part':<34}{'n':>6}{f'{unit}s':>9}  {head}"]
    for group in report.subgroups:
        shown = "".join(f"{group.figures[name]!s:<25}" for name in names).rstrip()
        few = f"  few {unit}s" if set(group.few) & set(names) else ""
        where = f"{put_in_units(group.column, unit)} {group.value}"
        lines.append(f"{where:<34}{group.pictures:>6,}{group.lesions:>9,}  {shown}{few}")
    return lines


def _format_confusion(report: EvaluationReport) -> list[str]:
    """Return the confusion matrix; where codes are long, columns are named by the number of their row."""
    codes = list(report.labels.codes)
    numbered = max(len(code) for code in codes) > _LONGEST_HEAD
    names = [f"{number:>2} {code}" for number, code in enumerate(codes, 1)] if numbered else codes
    heads = [str(number) for number in range(1, len(codes) + 1)] if numbered else codes
    width = max([7, *(2 + len(name) for name in names)])
    lines = [
        f"confusion (rows: truth, columns: answer{', by the numbers of the rows' if numbered else ''})",
        " " * width + "".join(f"{head:>7}" for head in heads),
    ]
    for name, row in zip(names, report.confusion, strict=True):
        lines.append(f"{name:<{width}}" + "".join(f"{count:>7}" for count in row))
    return lines


def format_audit(audit: Audit) -> str:
    """Return an audit of a data folder: counts, sizes, findings and every pair of different lesions."""
    published = audit.counts["published"].notna().all()
    width = max([8, *(2 + len(dx) for dx in audit.counts["dx"])])
    head = f"{'':<{width}}{'listed':>8}{'lesions':>9}{'present':>9}" + (
        f"{'published':>11}{'lesions':>9}" if published else ""
    )
    lines = [audit.source, "", head]
    for row in audit.counts.itertuples():
        line = f"{row.dx:<{width}}{row.listed:>8,}{row.lesions:>9,}{row.present:>9,}"
        lines.append(line + (f"{row.published:>11,.0f}{row.published_lesions:>9,.0f}" if published else ""))
    totals = audit.counts[["listed", "lesions", "present"]].sum()
    line = f"{'all':<{width}}{totals['listed']:>8,}{totals['lesions']:>9,}{totals['present']:>9,}"
    if published:
        line += f"{audit.counts['published'].sum():>11,.0f}{audit.counts['published_lesions'].sum():>9,.0f}"
    sizes = ", ".join(
        f"{row.width_px} x {row.height_px} ({row.pictures:,})" for row in audit.sizes.head(8).itertuples()
    )
    lines += [line, "", f"sizes: {sizes}{' and more' if len(audit.sizes) > 8 else ''}", ""]
    lines += [f"{finding.count:>7,}  {finding.code:<22}{finding.sentence}" for finding in audit.findings]
    if len(audit.across):
        lines += ["", "pairs of different lesions (look at each: two lesions can look alike)"]
        for pair in audit.across.itertuples():
            known = "published" if pair.known else ""
            lines.append(
                f"{pair.image_a:<16}{pair.image_b:<16}{pair.kind:<14}{pair.matches:>4} matches  "
                f"{pair.similarity:>6.3f}  {pair.dx_a} {pair.dx_b}  {known}".rstrip()
            )
    return "\n".join(lines)


def format_split_audit(audit: SplitAudit) -> str:
    """Return the leaks of a split by class and subset, and what is divided."""
    width = max([24, *(2 + len(dx) for dx in audit.leaks["dx"])])
    lines = [f"{'':<{width}}{'subset':<8}{'pictures':>9}{'by lesion':>11}{'by pair':>9}{'leaked':>9}{'by chance':>11}"]
    for row in audit.leaks.itertuples():
        lines.append(
            f"{row.dx or 'all':<{width}}{row.subset:<8}{row.pictures:>9,}{row.by_lesion:>11,}{row.by_pair:>9,}"
            f"{row.share:>9.1%}{row.expected:>11.1%}"
        )
    lines += [
        "",
        "leaked: the lesion, or a near-identical picture, is in train; by chance: the same for a random split by",
    ]
    lines += ["picture of these sizes."]
    if audit.is_clean and not audit.lesions_known:
        lines.append("Nothing says which pictures show the same lesion; no near-identical pair lies on two sides.")
    elif audit.is_clean:
        lines.append("No lesion and no near-identical pair lies on two sides.")
    else:
        lines.append(f"On two sides: {len(audit.lesions):,} lesions and {len(audit.pairs):,} near-identical pairs.")
        lines += [f"  {pair}" for pair in audit.pairs]
    if audit.not_listed:
        lines.append(f"{len(audit.not_listed):,} pictures of the split are not in the data; left out.")
    if audit.not_split:
        lines.append(f"{len(audit.not_split):,} pictures of the data are not in the split.")
    return "\n".join(lines)


def format_checks(checks: Sequence[Check]) -> str:
    """Return each check with its state, its finding and, for an issue, what to do."""
    lines = ["checks"]
    for check in checks:
        lines.append(f"{check.state:<16}{check.code}: {check.finding}{' ' + check.advice if check.advice else ''}")
    return "\n".join(lines)


def format_comparison(comparison: Comparison, first: str, second: str) -> str:
    """Return a comparison, a figure a line."""
    unit, width = comparison.unit, max([32, *(19 + len(code) for code in comparison.classes)])
    head = f"{comparison.pictures:,} pictures; difference: second less first, 95 %, bootstrap by {unit}"
    lines = [head, "", f"{'':<{width}}{first:<28}{second:<28}difference"]
    for code, figures in {"": comparison.overall, **comparison.classes}.items():
        for name, one in figures.items():
            title = f"{code} {name.replace('_', ' ')}".strip()
            lines.append(f"{title:<{width}}{_plain(one.first):<28}{_plain(one.second):<28}{one.difference}")
    test = comparison.mcnemar
    lines += [
        "",
        f"Of {test.lesions:,} {unit}s only the first is right on {test.only_first:,} and only the second on "
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
