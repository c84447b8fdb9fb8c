"""Decision rules fitted on `valid`: thresholds of the summed malignant probability, conformal prediction sets, and by
how much a diagnosis must lead.

Each rule states what it reached on `valid`, where it was fitted; what it reaches on `test` is in the report.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skinai.artefacts import hash_file, predictions_file, write_json
from skinai.errors import DataError
from skinai.evaluation import metrics
from skinai.labels import HAM10000, LabelSet

DECISION_FILE = "decision.json"
SENSITIVITIES = (0.90, 0.95)
SPECIFICITY = 0.80
COVERAGE = 0.90
# A lead is clear where the top class is right this often on valid; without two classes that hold so much together,
# nothing is said to be in the lead at all.
CLEAR_ACCURACY = 0.90
LEAST_OF_TWO = 0.60
_LEAST_AHEAD = 30
CLEAR_LEAD, UNDECIDED, CANNOT_ASSESS = "clear_lead", "undecided", "cannot_assess"


@dataclass(frozen=True)
class OperatingPoint:
    """Call a picture suspicious when its summed malignant probability is at least `threshold`.

    Attributes
    ----------
    name : str
        What it was chosen for.
    threshold : float
    """

    name: str
    threshold: float


@dataclass(frozen=True)
class Decision:
    """The rules of one model.

    Attributes
    ----------
    fingerprint : str
    operating_points : tuple of OperatingPoint
        Empty where no class is malignant.
    coverage : float
        How often a prediction set is to hold the truth.
    quantiles : mapping of str to float
        A class is in the set when its probability is at least 1 less its quantile.
    clear_margin : float or None
        Least difference between the two greatest probabilities that is a clear lead; None where none was fitted.
    """

    fingerprint: str
    operating_points: tuple[OperatingPoint, ...]
    coverage: float
    quantiles: Mapping[str, float]
    clear_margin: float | None = None

    def tell_certainty(self, probabilities: np.ndarray, labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
        """Return how sure each row is, and between which two classes it is undecided.

        Without two classes that hold `LEAST_OF_TWO` together nothing can be said. A benign class never has a clear lead
        while a malignant one is plausible: when one is in the prediction set, or when the summed malignant probability
        reaches the first operating point. The second of the two is the most probable malignant class then.

        Parameters
        ----------
        probabilities : ndarray of shape (n, classes)
        labels : LabelSet

        Returns
        -------
        kinds : ndarray of shape (n,), str
            ``"clear_lead"``, ``"undecided"`` (between two) or ``"cannot_assess"``.
        leaders : ndarray of shape (n, 2), int
            The most probable class, and the second that counts.

        Raises
        ------
        ValueError
            If no margin was fitted.
        """
        if self.clear_margin is None:
            raise ValueError("No margin was fitted for this model.")
        order = np.argsort(-probabilities, axis=1, kind="stable")
        ordered = np.take_along_axis(probabilities, order, axis=1)
        first, second = ordered[:, 0], ordered[:, 1]
        spread_out = _millionths(first + second) < _millionths(np.array(LEAST_OF_TWO))
        leads = _millionths(first - second) >= _millionths(np.array(self.clear_margin))
        leaders = order[:, :2].copy()
        malignant = [labels.index(code) for code in labels.malignant_codes]
        if malignant:
            plausible = self.build_sets(probabilities, labels)[:, malignant].any(axis=1)
            if self.operating_points:
                summed = _millionths(probabilities[:, malignant].sum(axis=1))
                plausible |= summed >= _millionths(np.array(self.operating_points[0].threshold))
            held = plausible & ~np.isin(order[:, 0], malignant)
            worst = np.array(malignant)[probabilities[:, malignant].argmax(axis=1)]
            leaders[held, 1] = worst[held]
            leads &= ~held
        kinds = np.where(spread_out, CANNOT_ASSESS, np.where(leads, CLEAR_LEAD, UNDECIDED))
        return kinds, leaders

    def build_sets(self, probabilities: np.ndarray, labels: LabelSet) -> np.ndarray:
        """Return which classes are in each prediction set, shape (n, classes), bool; the top class always is."""
        limits = 1 - np.array([self.quantiles[code] for code in labels.codes])
        return (probabilities >= limits - 1e-9) | (probabilities == probabilities.max(axis=1, keepdims=True))


def fit_decision(
    folder: Path, *, fingerprint: str, labels: LabelSet = HAM10000, calibration: Mapping[str, Any] | None = None
) -> Decision:
    """Fit the rules on the stored predictions for `valid` and write ``decision.json``.

    The prediction sets are class-conditional (Vovk 2012, arXiv:1209.2673): each class has its own quantile of
    1 less the probability of the truth, so that rare classes are covered as often as naevi are.

    Parameters
    ----------
    folder : Path
        A model folder.
    fingerprint : str
        The model's.
    labels : LabelSet
    calibration : mapping, optional
        The model's calibration, fitted on `valid` and folded into its last layer; written down for the reader.
    """
    from skinai.data.predictions import probability_matrix, read_predictions  # pandas, which serving does without

    path = folder / predictions_file("valid")
    table = read_predictions(path, labels)
    truth = np.array([labels.index(code) for code in table["truth"]])
    probabilities = probability_matrix(table, labels)
    malignant = [labels.index(code) for code in labels.malignant_codes]
    positive, summed = np.isin(truth, malignant), probabilities[:, malignant].sum(axis=1)
    points = []
    if 0 < positive.sum() < len(positive):
        for wanted in SENSITIVITIES:
            threshold = _threshold_for_sensitivity(summed[positive], wanted)
            points.append(OperatingPoint(f"sensitivity_{wanted:.2f}", threshold))
        points.append(OperatingPoint(f"specificity_{SPECIFICITY:.2f}", _threshold_for(summed[~positive], SPECIFICITY)))
    quantiles = {
        code: round(conformal_quantile(1 - probabilities[truth == index, index], COVERAGE), 6)
        for index, code in enumerate(labels.codes)
    }
    margin = find_clear_margin(probabilities, truth)
    decision = Decision(fingerprint, tuple(points), COVERAGE, quantiles, margin)
    sets = decision.build_sets(probabilities, labels)
    described = []
    for point in points:
        reached = rates(positive, summed, point.threshold, np.ones(len(truth)))
        figures = {name: round(float(value), 4) for name, value in reached.items()}
        described.append({"name": point.name, "threshold": point.threshold} | figures)
    clear = decision.tell_certainty(probabilities, labels)[0] == CLEAR_LEAD
    right = probabilities.argmax(axis=1) == truth
    facts = {
        "fingerprint": fingerprint,
        "fitted_on": "valid",
        "predictions_sha256": hash_file(path),
        "pictures": len(table),
        "lesions": int(table["lesion"].nunique()),
        "operating_points": described,
        "conformal": {
            "coverage": COVERAGE,
            "quantiles": quantiles,
            "reached": round(float(sets[np.arange(len(truth)), truth].mean()), 4),
            "mean_size": round(float(sets.sum(axis=1).mean()), 4),
        },
        "clear_lead": {
            "margin": margin,
            "wanted_accuracy": CLEAR_ACCURACY,
            "share": round(float(clear.mean()), 4),
            "accuracy": round(float(right[clear].mean()), 4) if clear.any() else None,
        },
    }
    if calibration is not None:
        kept = {name: calibration[name] for name in ("temperature", "exponent", "offset")}
        facts["calibration"] = kept | {"where": "in the network's last layer"}
    write_json(folder / DECISION_FILE, facts)
    return decision


def read_decision(folder: Path, *, fingerprint: str, labels: LabelSet = HAM10000) -> Decision:
    """Read ``decision.json``.

    Raises
    ------
    DataError
        If it is missing or damaged, belongs to another model, or was fitted on other predictions.
    """
    path = folder / DECISION_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        points = tuple(
            OperatingPoint(str(point["name"]), float(point["threshold"])) for point in facts["operating_points"]
        )
        quantiles = {code: float(facts["conformal"]["quantiles"][code]) for code in labels.codes}
        coverage = float(facts["conformal"]["coverage"])
        margin = float(facts["clear_lead"]["margin"]) if "clear_lead" in facts else None
        decision = Decision(str(facts["fingerprint"]), points, coverage, quantiles, margin)
        hashed = facts["predictions_sha256"]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    if decision.fingerprint != fingerprint:
        raise DataError(f"{path} belongs to the model {decision.fingerprint}.")
    predictions = folder / predictions_file("valid")
    if not predictions.is_file() or hash_file(predictions) != hashed:
        raise DataError(f"{path} was not fitted on the {predictions.name} beside it.")
    return decision


def conformal_quantile(scores: np.ndarray, coverage: float) -> float:
    """Return the ceil((n + 1) coverage)-th smallest score; 1, which lets every class in, where there are too few.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        1 less the probability of the truth.
    coverage : float
    """
    rank = math.ceil((len(scores) + 1) * coverage)
    return 1.0 if rank > len(scores) else float(np.sort(scores)[rank - 1])


def find_clear_margin(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the least margin, in hundredths and from a tenth on, above which the top class is right often enough.

    A tenth is the least that is called a lead, and fewer than 30 pictures above a margin say nothing about it.

    Parameters
    ----------
    probabilities : ndarray of shape (n, classes)
    truth : ndarray of shape (n,), int

    Returns
    -------
    float
        Above 1, which nothing reaches, where no margin will do.
    """
    ordered = np.sort(probabilities, axis=1)[:, ::-1]
    lead = _millionths(ordered[:, 0] - ordered[:, 1])
    right = probabilities.argmax(axis=1) == truth
    for hundredths in range(10, 101):
        ahead = lead >= hundredths * 10_000
        if ahead.sum() >= _LEAST_AHEAD and right[ahead].mean() >= CLEAR_ACCURACY:
            return hundredths / 100
    return 1.01


def rates(positive: np.ndarray, score: np.ndarray, threshold: float, weights: np.ndarray) -> dict[str, Any]:
    """Return sensitivity and specificity of ``score >= threshold``; `weights` as in :mod:`metrics`, shape (..., n)."""
    # Stored probabilities have six decimals; sums of them differ from what is meant in the last binary digits.
    called = _millionths(score) >= _millionths(np.array(threshold))
    return {
        "sensitivity": metrics.divide(weights @ (positive & called), weights @ positive),
        "specificity": metrics.divide(weights @ (~positive & ~called), weights @ ~positive),
    }


def _threshold_for_sensitivity(positives: np.ndarray, sensitivity: float) -> float:
    """Return the greatest threshold, on six decimals, that finds at least this share of the positives."""
    rank = math.ceil(sensitivity * len(positives) - 1e-9)
    return int(np.sort(_millionths(positives))[::-1][rank - 1]) / 1e6


def _threshold_for(negatives: np.ndarray, specificity: float) -> float:
    """Return the least threshold, on six decimals, that leaves at least this share of the negatives below it."""
    rank = math.ceil(specificity * len(negatives) - 1e-9)
    return int(np.sort(_millionths(negatives))[rank - 1] + 1) / 1e6


def _millionths(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 1e6).astype(np.int64)
