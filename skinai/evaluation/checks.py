"""Named checks: what would make a report a lie, looked for one by one. ``docs/evaluation.md`` describes each.

A check has passed, found an issue, or is not applicable because what it needs is not there. An issue of a `VOIDING`
check means that the figures are not what they say; the others are facts to know before reading them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinai.artefacts import hash_file, predictions_file
from skinai.data.predictions import probability_matrix, read_predictions
from skinai.data.split import SPLIT_FILE, find_leaks, read_near_duplicates, read_split
from skinai.data.tables import listed
from skinai.errors import DataError
from skinai.evaluation import metrics
from skinai.evaluation.comparison import subtract
from skinai.evaluation.decision import DECISION_FILE, fit_rules, read_decision
from skinai.evaluation.estimate import DRAWS, SEED, Estimate, estimate
from skinai.evaluation.report import EvaluationReport
from skinai.evaluation.subgroups import FEW_LESIONS, find_gaps
from skinai.evaluation.units import LESION, name_unit, put_in_units
from skinai.labels import CIRCULATING_ORDERS, LabelSet

PASSED, ISSUE, NOT_APPLICABLE = "passed", "issue", "not applicable"
# Code: title and what to do about an issue, both about lesions.
TITLES = {
    "lesion_leakage": (
        "No lesion on both sides of the split",
        "Split by lesion and train anew; every figure of this run is too good.",
    ),
    "near_duplicate_leakage": (
        "No near-identical pictures on both sides",
        "Keep the published pairs together when splitting and train anew.",
    ),
    "label_map": (
        "Columns and diagnoses agree",
        "Compare the order of the network's outputs with the headings of the table; no figure by class holds until "
        "then.",
    ),
    "better_than_baseline": (
        "Better than always giving the most frequent diagnosis",
        "Do not use accuracy to argue for this model.",
    ),
    "enough_lesions": (
        f"At least {FEW_LESIONS} lesions of each diagnosis",
        "Read the interval of these diagnoses, not the figure; more lesions are the only remedy.",
    ),
    "calibrated": (
        "Probabilities mean what they say",
        "Do not read the percentages as frequencies; calibrate anew on valid.",
    ),
    "valid_test_gap": (
        "Valid and test agree",
        "Expect figures like those of test; choices were fitted to valid more closely than it can bear.",
    ),
    "threshold_on_valid": (
        "Rules come from valid",
        "Fit the rules anew on valid; figures of rules that saw test are worth nothing.",
    ),
    "fingerprint": (
        "Report, rules and model belong together",
        "Run `python -m skinai evaluate` again, which makes the report from the stored predictions and the rules "
        "there.",
    ),
    "subgroup_gap": (
        "No part of the pictures fares much worse",
        "Trust the model less where it is named here, and say so to who uses it.",
    ),
}
VOIDING = ("lesion_leakage", "near_duplicate_leakage", "label_map", "threshold_on_valid", "fingerprint")
_MOST_ERROR = 0.03
# The stored rules have six decimals.
_TINY = 5e-7
_CHANCE_DRAWS = 200
_MOST_GAP = 0.02
# So many bootstrap draws must agree that the columns are permuted, of how many.
_LABEL_DRAWS, _LABEL_SHARE = 200, 0.95
# By so much AUC the moved columns must rank better once put right; and so many lesions it takes, of a class and in all.
_LABEL_GAIN, _LABEL_LESIONS, _LABEL_LEAST = 0.1, 5, 200


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes
    ----------
    code : str
        One of `TITLES`.
    state : str
        ``"passed"``, ``"issue"`` or ``"not applicable"``.
    finding : str
        One sentence with the figures it rests on.
    unit : str
        What is counted besides pictures; see :mod:`skinai.evaluation.units`.
    """

    code: str
    state: str
    finding: str
    unit: str = LESION

    @property
    def title(self) -> str:
        """What is promised when it has passed."""
        return put_in_units(TITLES[self.code][0], self.unit)

    @property
    def advice(self) -> str:
        """What to do about an issue; empty otherwise."""
        return put_in_units(TITLES[self.code][1], self.unit) if self.state == ISSUE else ""

    @property
    def voiding(self) -> bool:
        """Whether it makes the figures untrue."""
        return self.state == ISSUE and self.code in VOIDING

    def as_dict(self) -> dict[str, str]:
        """Return it for machines."""
        return {
            "code": self.code,
            "title": self.title,
            "state": self.state,
            "finding": self.finding,
            "advice": self.advice,
        }


def check_folder(folder: Path, report: EvaluationReport, *, fingerprint: str) -> tuple[Check, ...]:
    """Run every check on a model folder.

    Parameters
    ----------
    folder : Path
    report : EvaluationReport
        Of `test`.
    fingerprint : str
        Of the model, as its ``bundle.json`` has it.

    Raises
    ------
    DataError
        If the predictions cannot be read.
    """
    test = read_predictions(folder / predictions_file("test"), report.labels)
    valid_file = folder / predictions_file("valid")
    valid = read_predictions(valid_file, report.labels) if valid_file.is_file() else None
    found: dict[str, tuple[str, str]] = {}
    unit = name_unit(report.labels)
    try:
        split = read_split(folder / SPLIT_FILE, by_picture=True)  # a leak is to be named here, not refused
    except DataError as error:
        # A model folder has a split; without one that can be read, nothing shows that it does not leak.
        found = {"lesion_leakage": (ISSUE, str(error)), "near_duplicate_leakage": (ISSUE, str(error))}
    else:
        found["lesion_leakage"] = _check_lesions(test, split, unit)
        found["near_duplicate_leakage"] = _check_near_duplicates(split, read_near_duplicates())
    found |= {
        "valid_test_gap": _check_gap(report, valid),
        "threshold_on_valid": _check_thresholds(folder, report, valid),
        "fingerprint": _check_fingerprint(folder, report, fingerprint),
    }
    return _join(check_table(test, report), found, unit)


def check_table(
    table: pd.DataFrame,
    report: EvaluationReport,
    *,
    split: pd.DataFrame | None = None,
) -> tuple[Check, ...]:
    """Run the checks that need predictions and truth alone, and the leaks where a split is given.

    Parameters
    ----------
    table : DataFrame
        Predictions.
    report : EvaluationReport
        Made from them.
    split : DataFrame, optional
    """
    truth = np.array([report.labels.index(code) for code in table["truth"]])
    probabilities = probability_matrix(table, report.labels)
    weights = metrics.resample_weights(table["group"].to_numpy(), draws=DRAWS, seed=SEED)
    weights = np.vstack([np.ones(len(truth)), weights])
    unit = name_unit(report.labels)
    found = {
        "lesion_leakage": _check_lesions(table, split, unit),
        "near_duplicate_leakage": _check_near_duplicates(split, read_near_duplicates()),
        "label_map": _check_labels(table, truth, probabilities, weights, report.labels),
        "better_than_baseline": _check_baseline(truth, probabilities, weights, report),
        "enough_lesions": _check_lesion_counts(report),
        "calibrated": _check_calibration(truth, probabilities, weights, report),
        "subgroup_gap": _check_subgroups(report),
    }
    return _join((), found, unit)


def _join(checks: Sequence[Check], found: Mapping[str, tuple[str, str]], unit: str) -> tuple[Check, ...]:
    """Return all checks in their order, `found` before `checks`; those of neither are not applicable."""
    given = {check.code: check for check in checks}
    given |= {code: Check(code, *outcome, unit) for code, outcome in found.items()}
    nothing = (NOT_APPLICABLE, "What this check needs is not at hand.", unit)
    return tuple(given.get(code) or Check(code, *nothing) for code in TITLES)


def _check_lesions(table: pd.DataFrame, split: pd.DataFrame | None, unit: str) -> tuple[str, str]:
    if split is None:
        return NOT_APPLICABLE, "There is no split to look at."
    leaks = find_leaks(split)
    if leaks:
        word = f"{unit} lies" if len(leaks) == 1 else f"{unit}s lie"
        return ISSUE, f"{len(leaks):,} {word} in more than one subset: {listed(leaks)}."
    inside = split[split["subset"] == "test"]
    strange = sorted(set(table["image"]) - set(inside["image_id"]))
    if strange:
        word = "picture is" if len(strange) == 1 else "pictures are"
        return ISSUE, f"{len(strange):,} tested {word} not in test: {listed(strange)}."
    lesions = inside["lesion_id"].nunique()
    return PASSED, f"None of the {lesions:,} {unit}s of test is in train or valid."


def _check_near_duplicates(split: pd.DataFrame | None, pairs: Iterable[tuple[str, str]]) -> tuple[str, str]:
    if split is None:
        return NOT_APPLICABLE, "There is no split to look at."
    subset = dict(zip(split["image_id"], split["subset"], strict=True))
    known = [pair for pair in pairs if pair[0] in subset and pair[1] in subset]
    if not known:
        return NOT_APPLICABLE, "None of the published pairs is among these pictures."
    apart = [f"{a} and {b}" for a, b in known if subset[a] != subset[b]]
    if apart:
        return ISSUE, f"{len(apart):,} published pairs of near-identical pictures are divided: {listed(apart)}."
    return PASSED, f"All {len(known):,} published pairs of near-identical pictures lie in one subset each."


def _check_labels(
    table: pd.DataFrame, truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, labels: LabelSet
) -> tuple[str, str]:
    lesions, unit = table.groupby("truth")["group"].nunique(), name_unit(labels)
    present = np.array([index for index, code in enumerate(labels.codes) if lesions.get(code, 0) >= _LABEL_LESIONS])
    if len(present) < 2 or lesions.sum() < _LABEL_LEAST:
        return NOT_APPLICABLE, (
            f"There are too few {unit}s to tell: {_LABEL_LEAST} are needed, and {_LABEL_LESIONS} of two diagnoses."
        )
    weights = weights[: 1 + _LABEL_DRAWS]
    members = np.eye(len(labels))[truth][:, present]
    sums = np.stack([(one[:, None] * members).T @ probabilities[:, present] for one in weights])
    best = np.stack([assign_columns(matrix) for matrix in sums])
    codes = [labels.codes[index] for index in present]
    unseen = [code for code in labels.codes if code not in codes]
    aside = f" Too few {unit}s to look at {', '.join(unseen)}." if unseen else ""
    passed = PASSED, f"Each column answers most like the diagnosis that it is named after, looked at together.{aside}"
    unclear = NOT_APPLICABLE, f"The columns answer too much alike to tell whether they are in their places.{aside}"
    moved = np.flatnonzero(best[0] != np.arange(len(present)))
    if not len(moved):
        return passed
    if (best[1:] == np.arange(len(present))).all(axis=1).mean() > 1 - _LABEL_SHARE:
        return unclear
    # A network without skill has columns that answer like anything; a permuted one ranks well once they are put right.
    gain = np.zeros(len(weights))
    for row in moved:
        positive = truth == present[row]
        put_right = metrics.roc_auc(positive, probabilities[:, present[best[0, row]]], weights)
        gain += (put_right - metrics.roc_auc(positive, probabilities[:, present[row]], weights)) / len(moved)
    if np.nanquantile(gain[1:], 1 - _LABEL_SHARE) < _LABEL_GAIN:
        return unclear
    found = {codes[column]: codes[row] for row, column in enumerate(best[0])}
    parts = [f"the column of {column} answers like {row}" for column, row in found.items() if column != row]
    return ISSUE, f"The labels look permuted: {', '.join(parts)}{_name_permutation(found)}."


def assign_columns(matrix: np.ndarray) -> np.ndarray:
    """Return, for each diagnosis, the column that answers most like it when every column is used once.

    Parameters
    ----------
    matrix : ndarray of shape (classes, classes)
        Summed probabilities: rows are the truth, columns the answer. Rows are made equal before columns are, so that
        neither a frequent class nor a frequent answer counts more.
    """
    from scipy.optimize import linear_sum_assignment

    rows = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-12)
    shares = rows / np.maximum(rows.sum(axis=0, keepdims=True), 1e-12)
    return linear_sum_assignment(-np.log(np.maximum(shares, 1e-9)))[1]


def _name_permutation(found: Mapping[str, str]) -> str:
    """Return which two class orders in circulation make this permutation."""
    for shown, heading in CIRCULATING_ORDERS.items():
        for trained, inside in CIRCULATING_ORDERS.items():
            mixed = dict(zip(heading, inside, strict=True))
            if set(found) == set(mixed) and all(mixed[column] == row for column, row in found.items()):
                return f"; so it would if the order of {trained} were read as that of {shown}"
    return ""


def _check_baseline(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, report: EvaluationReport
) -> tuple[str, str]:
    always = report.labels.index(report.baseline_code)
    right = (probabilities.argmax(axis=1) == truth).astype(float) - (truth == always)
    gain = estimate(weights @ right / weights.sum(axis=1), len(truth))
    balanced = report.overall["balanced_accuracy"]
    chance = report.baseline["balanced_accuracy"].value
    sentence = (
        f"Accuracy is {gain} above that of always {report.baseline_code}; balanced accuracy is {balanced}, "
        f"against {chance:.3f}."
    )
    return (PASSED if gain.low > 0 and balanced.low > chance else ISSUE), sentence


def _check_lesion_counts(report: EvaluationReport) -> tuple[str, str]:
    few = [f"{code} ({count})" for code, count in report.class_lesions.items() if count < FEW_LESIONS]
    unit = name_unit(report.labels)
    if few:
        return ISSUE, f"Fewer than {FEW_LESIONS} {unit}s of {', '.join(few)}."
    return PASSED, f"The rarest diagnosis has {min(report.class_lesions.values())} {unit}s."


def _check_calibration(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, report: EvaluationReport
) -> tuple[str, str]:
    error = report.scores["expected_calibration_error"]
    by_chance = _error_by_chance(probabilities)
    wrong = error.value > max(_MOST_ERROR, by_chance)
    sentences = [f"The calibration error is {error.value:.3f}; perfect probabilities show up to {by_chance:.3f} here"]
    malignant = [report.labels.index(code) for code in report.labels.malignant_codes]
    if malignant:
        excess = probabilities[:, malignant].sum(axis=1) - np.isin(truth, malignant)
        gap = estimate(weights @ excess / weights.sum(axis=1), len(truth))
        sentences.append(f"the summed malignant probability is {gap} above the share that is malignant")
        wrong |= abs(gap.value) > _MOST_ERROR and (gap.low > 0 or gap.high < 0)
    return (ISSUE if wrong else PASSED), f"{'; '.join(sentences)}; up to {_MOST_ERROR} is let pass."


def _error_by_chance(probabilities: np.ndarray) -> float:
    """Return the calibration error that perfect probabilities stay below in 97.5 % of as many pictures.

    The error is a sum of absolute gaps, so that it is never 0 and greater for few pictures.
    """
    rng = np.random.default_rng(SEED)
    drawn = rng.random((_CHANCE_DRAWS, len(probabilities), 1)) > probabilities.cumsum(axis=1)[None, :, :-1]
    right = drawn.sum(axis=2) == probabilities.argmax(axis=1)
    errors = metrics.expected_calibration_error(right, probabilities.max(axis=1), np.ones(right.shape))
    return float(np.quantile(errors, 0.975))


def _check_gap(report: EvaluationReport, valid: pd.DataFrame | None) -> tuple[str, str]:
    if valid is None:
        return NOT_APPLICABLE, "There are no predictions for valid."
    truth = np.array([report.labels.index(code) for code in valid["truth"]])
    chosen = probability_matrix(valid, report.labels).argmax(axis=1)
    groups = valid["group"].to_numpy()
    count = len(report.labels)
    draws = metrics.resample_confusion(truth, chosen, groups, count, draws=DRAWS, seed=SEED)
    draws = np.concatenate([metrics.confusion_matrix(truth, chosen, count)[None], draws])
    parts, wrong = [], False
    figures: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "accuracy": metrics.accuracy,
        "balanced_accuracy": metrics.balanced_accuracy,
    }
    for name, figure in figures.items():
        there, here = estimate(figure(draws), len(truth)), report.overall[name]
        drop = subtract(there, here)
        parts.append(f"{name.replace('_', ' ')} {there.value:.3f} on valid and {here.value:.3f} here, less by {drop}")
        wrong |= drop.value > _MOST_GAP and drop.low > 0
    return (ISSUE if wrong else PASSED), f"{'; '.join(parts)}."


def _check_thresholds(folder: Path, report: EvaluationReport, valid: pd.DataFrame | None) -> tuple[str, str]:
    facts = _read_json(folder / DECISION_FILE)
    if facts is None or valid is None:
        return NOT_APPLICABLE, "There are no rules to look at."
    if facts.get("predictions_sha256") == report.predictions_hash:
        return ISSUE, f"{DECISION_FILE} was fitted on the predictions for {report.subset}."
    if facts.get("predictions_sha256") != hash_file(folder / predictions_file("valid")):
        return ISSUE, f"{DECISION_FILE} was not fitted on the predictions for valid beside it."
    try:
        stated = read_decision(folder, fingerprint=str(facts["fingerprint"]), labels=report.labels)
        names = [point.name for point in stated.operating_points]
        again = fit_rules(valid, report.labels, names=names, coverage=stated.coverage)
    except (DataError, KeyError) as error:
        return ISSUE, f"{DECISION_FILE} cannot be fitted again: {error}"
    truths = set(valid["truth"])
    if not names and truths & set(report.labels.malignant_codes) and truths - set(report.labels.malignant_codes):
        return ISSUE, f"{DECISION_FILE} has no threshold, although a class is malignant."
    other = [
        point.name
        for point, fitted in zip(stated.operating_points, again.operating_points, strict=True)
        if abs(point.threshold - fitted.threshold) > _TINY
    ]
    other += [
        f"quantile of {code}"
        for code in report.labels.codes
        if abs(stated.quantiles[code] - again.quantiles[code]) > _TINY
    ]
    if stated.clear_margin is not None and abs(stated.clear_margin - (again.clear_margin or 0)) > _TINY:
        other.append("margin of a clear lead")
    if other:
        return ISSUE, f"Fitted on valid again, these differ from {DECISION_FILE}: {listed(other)}."
    what = f"All {len(names)} thresholds, the" if names else "The"
    return PASSED, f"{what} prediction sets and the margin come out the same, fitted on valid again."


def _check_fingerprint(folder: Path, report: EvaluationReport, fingerprint: str) -> tuple[str, str]:
    owners = {"the report": report.fingerprint}
    for name in (DECISION_FILE, "gates.json"):
        facts = _read_json(folder / name)
        if facts is not None:
            owners[name] = str(facts.get("fingerprint"))
    strange = [f"{name} belongs to {owner}" for name, owner in owners.items() if owner != fingerprint]
    rules_file = folder / DECISION_FILE
    if report.decision_hash and not rules_file.is_file():
        strange.append(f"{DECISION_FILE} is missing")
    elif report.decision_hash and hash_file(rules_file) != report.decision_hash:
        strange.append(f"{DECISION_FILE} was changed after the report was made")
    if strange:
        return ISSUE, f"The model is {fingerprint}, but {listed(strange)}."
    return PASSED, f"{', '.join(owners).capitalize()} and the model share the fingerprint {fingerprint}."


def _check_subgroups(report: EvaluationReport) -> tuple[str, str]:
    if not any(group.gaps for group in report.subgroups):
        return NOT_APPLICABLE, "There are no parts to compare."
    gaps = find_gaps(report.subgroups)
    if not gaps:
        unit = name_unit(report.labels)
        return PASSED, f"No part with {FEW_LESIONS} {unit}s or more is worse than the rest by .05 and beyond chance."
    worst = sorted(gaps, key=lambda found: found[2].value)
    named = [f"{group.column} {group.value}: {name} by {_minus(gap)}" for group, name, gap in worst]
    return ISSUE, f"Worse than all other pictures together: {listed(named)}."


def _minus(gap: Estimate) -> str:
    return f"{-gap.value:.3f} ({-gap.high:.3f} to {-gap.low:.3f})"


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return a file of facts; None where there is none, and nothing in it where it is damaged."""
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
