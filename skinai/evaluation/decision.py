"""Decision rules fitted on `valid`: thresholds of the summed malignant probability, conformal prediction sets, and by
how much a diagnosis must lead.

Each rule states what it reached on `valid`, where it was fitted; what it reaches on `test` is in the report.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from skinai.artefacts import hash_file, predictions_file, write_atomic, write_json
from skinai.errors import DataError
from skinai.evaluation import metrics
from skinai.labels import HAM10000, LabelSet

DECISION_FILE = "decision.json"
OPERATING_POINTS = ("sensitivity_0.90", "sensitivity_0.95", "specificity_0.80")
COVERAGE = 0.90
# A lead is clear where the top class is right this often on valid; without two classes that hold so much together,
# nothing is said to be in the lead at all.
CLEAR_ACCURACY = 0.90
LEAST_OF_TWO = 0.60
_LEAST_AHEAD = 30
# No rule has a greater number in it: the margin where none will do.
_MOST = 1.01
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
    version : int
        How often the rules of this model have been fitted.
    """

    fingerprint: str
    operating_points: tuple[OperatingPoint, ...]
    coverage: float
    quantiles: Mapping[str, float]
    clear_margin: float | None = None
    version: int = 1

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
    folder: Path,
    *,
    fingerprint: str,
    labels: LabelSet = HAM10000,
    calibration: Mapping[str, Any] | None = None,
    names: Sequence[str] = OPERATING_POINTS,
    coverage: float = COVERAGE,
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
    names : sequence of str
        The operating points, such as ``"sensitivity_0.90"``; the first one decides what is called suspicious.
    coverage : float
        Of the prediction sets, from .5 to .99.

    Raises
    ------
    DataError
        If the predictions are missing or damaged, or an operating point or the coverage is none.
    """
    from skinai.data.predictions import probability_matrix, read_predictions  # pandas, which serving does without

    path = folder / predictions_file("valid")
    table = read_predictions(path, labels)
    version = _next_version(folder)
    decision = fit_rules(table, labels, names=names, coverage=coverage)
    decision = replace(decision, fingerprint=fingerprint, version=version)
    truth = np.array([labels.index(code) for code in table["truth"]])
    probabilities = probability_matrix(table, labels)
    malignant = [labels.index(code) for code in labels.malignant_codes]
    positive, summed = np.isin(truth, malignant), probabilities[:, malignant].sum(axis=1)
    sets = decision.build_sets(probabilities, labels)
    described = []
    for point in decision.operating_points:
        reached = rates(positive, summed, point.threshold, np.ones(len(truth)))
        figures = {name: round(float(value), 4) for name, value in reached.items()}
        described.append({"name": point.name, "threshold": point.threshold} | figures)
    clear = decision.tell_certainty(probabilities, labels)[0] == CLEAR_LEAD
    right = probabilities.argmax(axis=1) == truth
    facts = {
        "version": version,
        "fingerprint": fingerprint,
        "fitted_on": "valid",
        "predictions_sha256": hash_file(path),
        "pictures": len(table),
        "lesions": int(table["lesion"].nunique()),
        "operating_points": described,
        "conformal": {
            "coverage": coverage,
            "quantiles": dict(decision.quantiles),
            "reached": round(float(sets[np.arange(len(truth)), truth].mean()), 4),
            "mean_size": round(float(sets.sum(axis=1).mean()), 4),
        },
        "clear_lead": {
            "margin": decision.clear_margin,
            "wanted_accuracy": CLEAR_ACCURACY,
            "share": round(float(clear.mean()), 4),
            "accuracy": round(float(right[clear].mean()), 4) if clear.any() else None,
        },
    }
    if calibration is not None:
        kept = {name: calibration[name] for name in ("temperature", "exponent", "offset")}
        facts["calibration"] = kept | {"where": "in the network's last layer"}
    _keep_former(folder)
    write_json(folder / DECISION_FILE, facts)
    return decision


def fit_rules(
    table: Any, labels: LabelSet = HAM10000, *, names: Sequence[str] = OPERATING_POINTS, coverage: float = COVERAGE
) -> Decision:
    """Fit rules on a table of predictions for `valid`, without writing them; see :func:`fit_decision`."""
    from skinai.data.predictions import probability_matrix  # pandas, which serving does without

    if not 0.5 <= coverage <= 0.99:
        raise DataError(f"The coverage of prediction sets is from .5 to .99. Received: {coverage}.")
    truth = np.array([labels.index(code) for code in table["truth"]])
    probabilities = probability_matrix(table, labels)
    quantiles = {
        code: round(conformal_quantile(1 - probabilities[truth == index, index], coverage), 6)
        for index, code in enumerate(labels.codes)
    }
    points = tuple(find_thresholds(table, labels, names=names))
    return Decision("", points, coverage, quantiles, find_clear_margin(probabilities, truth))


def find_thresholds(table: Any, labels: LabelSet = HAM10000, *, names: Sequence[str]) -> list[OperatingPoint]:
    """Find the thresholds of operating points on a table of predictions; none where one group has no picture.

    Parameters
    ----------
    table : DataFrame
        Predictions for `valid`.
    labels : LabelSet
    names : sequence of str
        ``"sensitivity_S"``: the greatest threshold that finds the share S of the malignant pictures;
        ``"specificity_S"``: the least one that leaves the share S of the others below it. S is from .5 to .995.

    Raises
    ------
    DataError
        If a name is none of these.
    """
    from skinai.data.predictions import probability_matrix  # pandas, which serving does without

    malignant = [labels.index(code) for code in labels.malignant_codes]
    positive = table["truth"].isin(labels.malignant_codes).to_numpy()
    summed = probability_matrix(table, labels)[:, malignant].sum(axis=1)
    points: list[OperatingPoint] = []
    for name in dict.fromkeys(names):
        kind, _, text = name.partition("_")
        try:
            wanted = float(text)
        except ValueError:
            wanted = math.nan
        if kind not in ("sensitivity", "specificity") or not 0.5 <= wanted <= 0.995:
            raise DataError(
                f"An operating point is sensitivity_S or specificity_S with S from .5 to .995. Received: {name}."
            )
        if 0 < positive.sum() < len(positive):
            find = _threshold_for_sensitivity if kind == "sensitivity" else _threshold_for
            points.append(OperatingPoint(name, find(summed[positive if kind == "sensitivity" else ~positive], wanted)))
    return points


def _next_version(folder: Path) -> int:
    """Return the number of the rules about to be written: one more than any that there are."""
    kept = [int(path.suffixes[0][2:]) for path in folder.glob("decision.v*.json") if path.suffixes[0][2:].isdecimal()]
    if (folder / DECISION_FILE).exists():
        kept.append(_read_version(folder, default=max(kept, default=0) + 1))
    return max(kept, default=0) + 1


def _read_version(folder: Path, *, default: int) -> int:
    try:
        return int(json.loads((folder / DECISION_FILE).read_text(encoding="utf-8")).get("version", 1))
    except (OSError, ValueError, AttributeError, TypeError):
        return default


def _keep_former(folder: Path) -> None:
    """Keep the rules in force as ``decision.vN.json``, so that a record made under them can still be understood."""
    path = folder / DECISION_FILE
    if not path.is_file():
        return
    kept = folder / f"decision.v{_read_version(folder, default=_next_version(folder) - 1)}.json"
    if kept.exists() and kept.read_bytes() != path.read_bytes():
        kept = folder / f"decision.v{_next_version(folder)}.json"
    write_atomic(kept, path.read_bytes())


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
        version = int(facts.get("version", 1))
        decision = Decision(str(facts["fingerprint"]), points, coverage, quantiles, margin, version)
        hashed = facts["predictions_sha256"]
        numbers = [coverage, margin or 0.0, *quantiles.values(), *(point.threshold for point in points)]
        if not all(0 <= number <= _MOST for number in numbers):
            raise ValueError(f"a number is not from 0 to {_MOST}")
        if version < 1:
            raise ValueError("a version counts from 1")
        if len({point.name for point in points}) < len(points):
            raise ValueError("two operating points have one name")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
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
    return _MOST


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
