"""The report card: every figure with its n and its interval, from one table of predictions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinai.artefacts import hash_file, predictions_file, write_json
from skinai.data.predictions import GATE_COLUMN, probability_matrix, read_predictions
from skinai.errors import DataError
from skinai.evaluation import metrics
from skinai.evaluation.decision import CANNOT_ASSESS, CLEAR_LEAD, UNDECIDED, Decision, rates
from skinai.labels import HAM10000, LabelSet

REPORT_FILE = "report.json"
DRAWS = 2000
SEED = 1
OVERALL = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "macro_f1": metrics.macro_f1,
    "weighted_f1": metrics.weighted_f1,
}
PER_CLASS = {"precision": metrics.precision, "recall": metrics.recall, "f1": metrics.f1_score}
CLASS_FIGURES = (*PER_CLASS, "auc")
# Figures of the probabilities themselves. The specificity is the one the ISIC challenges report sensitivity at.
SCORES = ("malignant_auc", "malignant_sensitivity_at_specificity_80", "expected_calibration_error", "log_loss")
_SPECIFICITY = 0.8


@dataclass(frozen=True)
class Estimate:
    """One figure.

    Attributes
    ----------
    value : float
        NaN where it is not applicable.
    n : int
        The pictures it rests on.
    low, high : float
        95 % interval, resampled by lesion; NaN where it is not applicable.
    """

    value: float
    n: int
    low: float
    high: float

    def as_dict(self) -> dict[str, Any]:
        """Return ``value``, ``n`` and ``interval``; null stands for not applicable."""
        interval = None if math.isnan(self.low) else [round(self.low, 4), round(self.high, 4)]
        return {"value": None if math.isnan(self.value) else round(self.value, 4), "n": self.n, "interval": interval}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Estimate:
        """Read what :meth:`as_dict` wrote."""
        low, high = facts["interval"] or (math.nan, math.nan)
        value = math.nan if facts["value"] is None else float(facts["value"])
        return cls(value, int(facts["n"]), float(low), float(high))

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "not applicable"
        return f"{self.value:.3f}" + ("" if math.isnan(self.low) else f" ({self.low:.3f} to {self.high:.3f})")


@dataclass(frozen=True)
class EvaluationReport:
    """All figures of one model on one subset.

    Attributes
    ----------
    model_name, fingerprint : str
    subset : str
    predictions_hash : str
        SHA-256 of the table it was made from.
    pictures, lesions : int
    labels : LabelSet
    overall : mapping of str to Estimate
        ``accuracy``, ``balanced_accuracy``, ``macro_f1``, ``weighted_f1``.
    baseline : mapping of str to Estimate
        The same figures for always answering the most frequent class.
    baseline_code : str
    classes : mapping of str to mapping of str to Estimate
        Code to ``precision`` (n: answers), ``recall``, ``f1`` and ``auc`` of this class against all others (n: pictures
        of the class).
    scores : mapping of str to Estimate
        ``malignant_auc`` and ``malignant_sensitivity_at_specificity_80`` of the summed malignant probability,
        ``expected_calibration_error`` of the top class, ``log_loss``.
    decision : mapping of str to Estimate
        What the rules fitted on `valid` reach here: ``NAME:sensitivity`` and ``NAME:specificity`` of each operating
        point; ``coverage`` of the prediction sets, ``coverage:CODE`` of each class, and ``set_size``, their mean size.
        ``malignant_without_malignant_set``: the share of the malignant pictures without a malignant class in their set.
        ``clear_lead``, ``undecided`` and ``cannot_assess``: the share of the pictures of which this is said;
        ``clear_lead:right``: how often the top class then is right, and ``clear_lead:right:CODE`` where it is this one;
        ``undecided:either``: how often one of the two is. ``malignant_with_benign_clear_lead``: the share of the
        malignant pictures that a benign class has a clear lead for.
        ``calibration_error_before``: the calibration error without calibration.
        ``refused``: the share of these pictures that the gate refuses; the other figures count them as answered.
        Empty without rules and gate.
    class_lesions : mapping of str to int
        Code to the number of its lesions.
    confusion : ndarray of shape (classes, classes), int
        Rows are the truth, columns the answer.
    """

    model_name: str
    fingerprint: str
    subset: str
    predictions_hash: str
    pictures: int
    lesions: int
    labels: LabelSet
    overall: Mapping[str, Estimate]
    baseline: Mapping[str, Estimate]
    baseline_code: str
    classes: Mapping[str, Mapping[str, Estimate]]
    scores: Mapping[str, Estimate]
    decision: Mapping[str, Estimate]
    class_lesions: Mapping[str, int]
    confusion: np.ndarray

    def frame(self) -> pd.DataFrame:
        """Return one row a class: name, n, lesions, and each figure with its interval."""
        rows = []
        for label in self.labels:
            row: dict[str, Any] = {
                "code": label.code,
                "diagnosis": label.name,
                "pictures": self.classes[label.code]["recall"].n,
                "lesions": self.class_lesions[label.code],
            }
            for name, estimate in self.classes[label.code].items():
                row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            rows.append(row)
        return pd.DataFrame(rows)

    def count_benign_first(self, *codes: str) -> tuple[int, int]:
        """Return how many pictures of these classes got a benign diagnosis as most probable, and of how many."""
        rows = self.confusion[[self.labels.index(code) for code in codes]]
        benign = [not label.malignant for label in self.labels]
        return int(rows[:, benign].sum()), int(rows.sum())

    def as_dict(self) -> dict[str, Any]:
        """Return the report as it is written into ``report.json``."""
        return {
            "model": self.model_name,
            "fingerprint": self.fingerprint,
            "subset": self.subset,
            "predictions_sha256": self.predictions_hash,
            "pictures": self.pictures,
            "lesions": self.lesions,
            "intervals": {"level": 0.95, "method": "percentile bootstrap by lesion", "draws": DRAWS, "seed": SEED},
            "order": list(self.labels.codes),
            "overall": {name: estimate.as_dict() for name, estimate in self.overall.items()},
            "baseline": {"always": self.baseline_code}
            | {name: estimate.as_dict() for name, estimate in self.baseline.items()},
            "classes": {
                code: {"lesions": self.class_lesions[code]}
                | {name: estimate.as_dict() for name, estimate in figures.items()}
                for code, figures in self.classes.items()
            },
            "scores": {name: estimate.as_dict() for name, estimate in self.scores.items()},
            "decision": {name: estimate.as_dict() for name, estimate in self.decision.items()},
            "confusion": self.confusion.tolist(),
        }


def evaluate_predictions(
    path: Path,
    *,
    model_name: str,
    fingerprint: str,
    subset: str,
    labels: LabelSet = HAM10000,
    decision: Decision | None = None,
    calibration: Mapping[str, Any] | None = None,
) -> EvaluationReport:
    """Compute the report of a stored table of predictions.

    Parameters
    ----------
    path : Path
        See :func:`skinai.data.predictions.read_predictions`, whose errors are raised.
    model_name, fingerprint, subset : str
        Written into the report.
    labels : LabelSet
    decision : Decision, optional
        The rules to evaluate.
    calibration : mapping, optional
        ``temperature`` and ``offset`` that the model's probabilities were calibrated with; the calibration error
        without them is then in the report too.
    """
    table = read_predictions(path, labels)
    truth = np.array([labels.index(code) for code in table["truth"]])
    probabilities = probability_matrix(table, labels)
    chosen = probabilities.argmax(axis=1)
    groups = table["group"].to_numpy()
    most_frequent = int(np.bincount(truth, minlength=len(labels)).argmax())
    overall, classes, confusion = _estimate_all(truth, chosen, groups, labels)
    weights = np.vstack([np.ones(len(truth)), metrics.resample_weights(groups, draws=DRAWS, seed=SEED)])
    areas, scores = _estimate_scores(truth, probabilities, weights, labels)
    for code, area in areas.items():
        classes[code]["auc"] = area
    baseline, _, _ = _estimate_all(truth, np.full_like(chosen, most_frequent), groups, labels)
    lesions = table.groupby("truth")["lesion"].nunique()
    return EvaluationReport(
        model_name=model_name,
        fingerprint=fingerprint,
        subset=subset,
        predictions_hash=hash_file(path),
        pictures=len(table),
        lesions=int(table["lesion"].nunique()),
        labels=labels,
        overall=overall,
        baseline=baseline,
        baseline_code=labels.codes[most_frequent],
        classes=classes,
        scores=scores,
        decision=({} if decision is None else _estimate_decision(decision, truth, probabilities, weights, labels))
        | _estimate_gate(table, weights)
        | ({} if calibration is None else _estimate_uncalibrated(calibration, truth, probabilities, weights)),
        class_lesions={code: int(lesions.get(code, 0)) for code in labels.codes},
        confusion=confusion,
    )


def write_report(report: EvaluationReport, folder: Path) -> None:
    """Write ``report.json`` into a model folder."""
    write_json(Path(folder) / REPORT_FILE, report.as_dict())


def read_report(folder: Path, labels: LabelSet = HAM10000) -> EvaluationReport:
    """Read ``report.json`` and check that it was made from the predictions beside it.

    Raises
    ------
    DataError
        If it is missing, damaged, has another class order, or belongs to other predictions.
    """
    path = Path(folder) / REPORT_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if tuple(facts["order"]) != labels.codes:
            raise DataError(f"{path} has the class order {facts['order']}, not {list(labels.codes)}.")
        report = EvaluationReport(
            model_name=facts["model"],
            fingerprint=facts["fingerprint"],
            subset=facts["subset"],
            predictions_hash=facts["predictions_sha256"],
            pictures=int(facts["pictures"]),
            lesions=int(facts["lesions"]),
            labels=labels,
            overall={name: Estimate.from_dict(facts["overall"][name]) for name in OVERALL},
            baseline={name: Estimate.from_dict(facts["baseline"][name]) for name in OVERALL},
            baseline_code=facts["baseline"]["always"],
            classes={
                code: {name: Estimate.from_dict(facts["classes"][code][name]) for name in CLASS_FIGURES}
                for code in labels.codes
            },
            scores={name: Estimate.from_dict(facts["scores"][name]) for name in SCORES},
            decision={name: Estimate.from_dict(values) for name, values in facts["decision"].items()},
            class_lesions={code: int(facts["classes"][code]["lesions"]) for code in labels.codes},
            confusion=np.array(facts["confusion"], dtype=np.int64).reshape(len(labels), len(labels)),
        )
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; this model has not been evaluated yet.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    predictions = Path(folder) / predictions_file(report.subset)
    if not predictions.is_file() or hash_file(predictions) != report.predictions_hash:
        raise DataError(f"{path} was not made from the {predictions.name} beside it.")
    return report


def _estimate_all(
    truth: np.ndarray, chosen: np.ndarray, groups: np.ndarray, labels: LabelSet
) -> tuple[dict[str, Estimate], dict[str, dict[str, Estimate]], np.ndarray]:
    confusion = metrics.confusion_matrix(truth, chosen, len(labels))
    draws = metrics.resample_confusion(truth, chosen, groups, len(labels), draws=DRAWS, seed=SEED)
    overall = {}
    for name, figure in OVERALL.items():
        low, high = metrics.percentile_interval(figure(draws))
        overall[name] = Estimate(float(figure(confusion)), len(truth), float(low), float(high))
    answers, occurrences = confusion.sum(axis=0), confusion.sum(axis=1)
    classes: dict[str, dict[str, Estimate]] = {code: {} for code in labels.codes}
    for name, figure in PER_CLASS.items():
        values = figure(confusion)
        low, high = metrics.percentile_interval(figure(draws))
        counts = answers if name == "precision" else occurrences
        for index, code in enumerate(labels.codes):
            classes[code][name] = Estimate(
                float(values[index]), int(counts[index]), float(low[index]), float(high[index])
            )
    return overall, classes, confusion


def _estimate_scores(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, labels: LabelSet
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Return the area under the curve of each class, and the figures named in `SCORES`."""
    areas = {
        code: _estimate(metrics.roc_auc(truth == index, probabilities[:, index], weights), int((truth == index).sum()))
        for index, code in enumerate(labels.codes)
    }
    malignant = [labels.index(code) for code in labels.malignant_codes]
    positive, summed = np.isin(truth, malignant), probabilities[:, malignant].sum(axis=1)
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    losses = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-6))  # six decimals are stored
    values = (
        (metrics.roc_auc(positive, summed, weights), int(positive.sum())),
        (
            metrics.sensitivity_at_specificity(positive, summed, weights, specificity=_SPECIFICITY),
            int(positive.sum()),
        ),
        (_reflect(metrics.expected_calibration_error(right, top, weights)), len(truth)),
        (weights @ losses / weights.sum(axis=1), len(truth)),
    )
    scores = {name: _estimate(*value) for name, value in zip(SCORES, values, strict=True)}
    # The mirrored interval of a small calibration error can lie below the figure, which is biased upwards itself.
    error = scores["expected_calibration_error"]
    scores["expected_calibration_error"] = replace(error, high=max(error.high, error.value))
    return areas, scores


def _estimate_decision(
    decision: Decision, truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, labels: LabelSet
) -> dict[str, Estimate]:
    malignant = [labels.index(code) for code in labels.malignant_codes]
    positive, summed = np.isin(truth, malignant), probabilities[:, malignant].sum(axis=1)
    counts = {"sensitivity": int(positive.sum()), "specificity": int((~positive).sum())}
    result = {
        f"{point.name}:{name}": _estimate(values, counts[name])
        for point in decision.operating_points
        for name, values in rates(positive, summed, point.threshold, weights).items()
    }
    sets = decision.build_sets(probabilities, labels)
    held = sets[np.arange(len(truth)), truth]
    result["coverage"] = _estimate(weights @ held / weights.sum(axis=1), len(truth))
    for index, code in enumerate(labels.codes):
        inside = truth == index
        result[f"coverage:{code}"] = _estimate(
            metrics.divide(weights @ (held & inside), weights @ inside), int(inside.sum())
        )
    if positive.any():
        slipped = ~sets[:, malignant].any(axis=1)
        result["malignant_without_malignant_set"] = _estimate(
            metrics.divide(weights @ (slipped & positive), weights @ positive), int(positive.sum())
        )
    result["set_size"] = _estimate(weights @ sets.sum(axis=1) / weights.sum(axis=1), len(truth))
    if decision.clear_margin is not None:
        result |= _estimate_certainty(decision, truth, probabilities, weights, labels)
    return result


_KINDS = (CLEAR_LEAD, UNDECIDED, CANNOT_ASSESS)


def _estimate_certainty(
    decision: Decision, truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, labels: LabelSet
) -> dict[str, Estimate]:
    said, leaders = decision.tell_certainty(probabilities, labels)
    right = leaders[:, 0] == truth
    either = (leaders == truth[:, None]).any(axis=1)

    def share(hit: np.ndarray, inside: np.ndarray) -> Estimate:
        return _estimate(metrics.divide(weights @ (hit & inside), weights @ inside), int(inside.sum()))

    result = {kind: _estimate(weights @ (said == kind) / weights.sum(axis=1), len(truth)) for kind in _KINDS}
    clear = said == CLEAR_LEAD
    result["clear_lead:right"] = share(right, clear)
    for index, code in enumerate(labels.codes):
        inside = clear & (leaders[:, 0] == index)
        if inside.any():
            result[f"clear_lead:right:{code}"] = share(right, inside)
    result["undecided:either"] = share(either, said == UNDECIDED)
    malignant = np.isin(truth, [labels.index(code) for code in labels.malignant_codes])
    if malignant.any():
        benign = ~np.isin(leaders[:, 0], [labels.index(code) for code in labels.malignant_codes])
        result["malignant_with_benign_clear_lead"] = share(clear & benign, malignant)
    return result


def _estimate_gate(table: pd.DataFrame, weights: np.ndarray) -> dict[str, Estimate]:
    if GATE_COLUMN not in table.columns:
        return {}
    refused = (table[GATE_COLUMN] != "").to_numpy()
    return {"refused": _estimate(weights @ refused / weights.sum(axis=1), len(refused))}


def _estimate_uncalibrated(
    calibration: Mapping[str, Any], truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> dict[str, Estimate]:
    """Return the calibration error of the probabilities that the network gave before it was calibrated."""
    # Six decimals are stored, so what was smaller is not known better than that.
    logits = np.log(np.maximum(probabilities, 1e-6)) * calibration["temperature"] - np.array(calibration["offset"])
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    raw = odds / odds.sum(axis=1, keepdims=True)
    right = raw.argmax(axis=1) == truth
    values = _reflect(metrics.expected_calibration_error(right, raw.max(axis=1), weights))
    return {"calibration_error_before": _estimate(values, len(truth))}


def _reflect(values: np.ndarray) -> np.ndarray:
    """Return draws mirrored at the first value: the basic bootstrap, for a figure that resampling itself makes greater.

    The calibration error is a sum of absolute gaps, and every draw adds noise to the gaps.
    """
    return np.concatenate([values[:1], np.maximum(2 * values[0] - values[1:], 0.0)])


def _estimate(values: np.ndarray, n: int) -> Estimate:
    """Return the first value, with the interval of the others, which are bootstrap draws."""
    low, high = metrics.percentile_interval(values[1:])
    return Estimate(float(values[0]), n, float(low), float(high))
