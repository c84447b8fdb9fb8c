"""What rules fitted on `valid` reach on other pictures: thresholds, prediction sets, certainty, gate, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from skinai.data.predictions import GATE_COLUMN, probability_matrix
from skinai.evaluation import metrics
from skinai.evaluation.decision import CANNOT_ASSESS, CLEAR_LEAD, UNDECIDED, Decision, fit_rules, rates
from skinai.evaluation.estimate import DRAWS, SEED, Estimate, estimate
from skinai.labels import LabelSet

# What is in `EvaluationReport.decision` whatever the rules are.
WITHOUT_RULES = ("refused", "calibration_error_before")


def try_rules(
    table: pd.DataFrame, labels: LabelSet, *, names: Sequence[str], coverage: float
) -> tuple[Decision, dict[str, Estimate]]:
    """Fit rules on predictions for `valid` and return what they reach on the same pictures, which flatters a little."""
    decision = fit_rules(table, labels, names=names, coverage=coverage)
    return decision, estimate_on(decision, table, labels)


def estimate_on(decision: Decision, table: pd.DataFrame, labels: LabelSet) -> dict[str, Estimate]:
    """Return what rules reach on a table of predictions; see :func:`estimate_decision`."""
    truth = np.array([labels.index(code) for code in table["truth"]])
    weights = metrics.resample_weights(table["group"].to_numpy(), draws=DRAWS, seed=SEED)
    weights = np.vstack([np.ones(len(truth)), weights])
    return estimate_decision(decision, truth, probability_matrix(table, labels), weights, labels)


def estimate_decision(
    decision: Decision, truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, labels: LabelSet
) -> dict[str, Estimate]:
    """Return what thresholds, prediction sets and words of certainty reach; see `EvaluationReport.decision`."""
    malignant = [labels.index(code) for code in labels.malignant_codes]
    positive, summed = np.isin(truth, malignant), probabilities[:, malignant].sum(axis=1)
    counts = {"sensitivity": int(positive.sum()), "specificity": int((~positive).sum())}
    result = {
        f"{point.name}:{name}": estimate(values, counts[name])
        for point in decision.operating_points
        for name, values in rates(positive, summed, point.threshold, weights).items()
    }
    sets = decision.build_sets(probabilities, labels)
    held = sets[np.arange(len(truth)), truth]
    result["coverage"] = estimate(weights @ held / weights.sum(axis=1), len(truth))
    for index, code in enumerate(labels.codes):
        inside = truth == index
        result[f"coverage:{code}"] = estimate(
            metrics.divide(weights @ (held & inside), weights @ inside), int(inside.sum())
        )
    if positive.any():
        slipped = ~sets[:, malignant].any(axis=1)
        result["malignant_without_malignant_set"] = estimate(
            metrics.divide(weights @ (slipped & positive), weights @ positive), int(positive.sum())
        )
    result["set_size"] = estimate(weights @ sets.sum(axis=1) / weights.sum(axis=1), len(truth))
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
        return estimate(metrics.divide(weights @ (hit & inside), weights @ inside), int(inside.sum()))

    result = {kind: estimate(weights @ (said == kind) / weights.sum(axis=1), len(truth)) for kind in _KINDS}
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


def estimate_gate(table: pd.DataFrame, weights: np.ndarray) -> dict[str, Estimate]:
    """Return the share of the pictures that the gate refuses; nothing without a gate."""
    if GATE_COLUMN not in table.columns:
        return {}
    refused = (table[GATE_COLUMN] != "").to_numpy()
    return {"refused": estimate(weights @ refused / weights.sum(axis=1), len(refused))}


def estimate_uncalibrated(
    calibration: Mapping[str, Any], truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> dict[str, Estimate]:
    """Return the calibration error of the probabilities that the network gave before it was calibrated."""
    # Six decimals are stored, so what was smaller is not known better than that.
    logits = np.log(np.maximum(probabilities, 1e-6)) * calibration["temperature"] - np.array(calibration["offset"])
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    raw = odds / odds.sum(axis=1, keepdims=True)
    right = raw.argmax(axis=1) == truth
    return {"calibration_error_before": estimate_calibration_error(right, raw.max(axis=1), weights)}


def estimate_calibration_error(right: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> Estimate:
    """Return the calibration error with an interval mirrored at it, which never ends below the error itself.

    Rough: of 150 simulated test sets of 1,600 pictures it held a true error of .055 in 83 %, and one of .003 in 63 %.
    """
    error = estimate(reflect(metrics.expected_calibration_error(right, probability, weights)), len(right))
    return replace(error, high=max(error.high, error.value))


def reflect(values: np.ndarray) -> np.ndarray:
    """Return draws mirrored at the first value: the basic bootstrap, for a figure that resampling itself makes greater.

    The calibration error is a sum of absolute gaps, and every draw adds noise to the gaps.
    """
    return np.concatenate([values[:1], np.maximum(2 * values[0] - values[1:], 0.0)])
