"""Two models on the same pictures: the difference of their figures, with an interval that pairs them by lesion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from skinai.artefacts import predictions_file
from skinai.data.predictions import probability_matrix, read_predictions
from skinai.errors import DataError
from skinai.evaluation import metrics
from skinai.evaluation.estimate import DRAWS, SEED, Estimate, estimate, rounded
from skinai.evaluation.report import OVERALL, PER_CLASS
from skinai.evaluation.units import name_unit
from skinai.labels import HAM10000, LabelSet


@dataclass(frozen=True)
class Difference:
    """One figure of two models.

    Attributes
    ----------
    first, second : float
        NaN where it is not applicable.
    difference : Estimate
        Second less first. The bootstrap draws the same lesions for both, so the interval is that of the difference.
    """

    first: float
    second: float
    difference: Estimate


@dataclass(frozen=True)
class McNemar:
    """For how many lesions only one of two models is right; a lesion's pictures are averaged.

    Attributes
    ----------
    lesions, only_first, only_second : int
        What has pictures of several classes, as a patient may have, counts once for each.
    p_value : float
        Exact and two-sided (McNemar 1947): how often chance alone would divide them as unequally.
    """

    lesions: int
    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """Two models, figure by figure.

    Attributes
    ----------
    pictures : int
    overall : mapping of str to Difference
        The figures of `OVERALL`, ``log_loss``, ``brier_score`` and, where a class is malignant, ``malignant_auc``.
    classes : mapping of str to mapping of str to Difference
        Code to ``precision``, ``recall``, ``specificity``, ``f1`` and ``auc``.
    mcnemar : McNemar
    unit : str
        What is counted besides pictures; see :mod:`skinai.evaluation.units`.
    """

    pictures: int
    overall: Mapping[str, Difference]
    classes: Mapping[str, Mapping[str, Difference]]
    mcnemar: McNemar
    unit: str

    def frame(self) -> pd.DataFrame:
        """Return one row a figure: ``class`` (empty for all together), ``figure``, both values and the difference."""
        rows = [("", name, one) for name, one in self.overall.items()]
        rows += [(code, name, one) for code, figures in self.classes.items() for name, one in figures.items()]
        return pd.DataFrame(
            {
                "class": code,
                "figure": name,
                "first": one.first,
                "second": one.second,
                "difference": one.difference.value,
                "difference_low": one.difference.low,
                "difference_high": one.difference.high,
            }
            for code, name, one in rows
        )


def compare_predictions(first: Path, second: Path, *, subset: str = "valid", labels: LabelSet = HAM10000) -> Comparison:
    """Compare the stored predictions of two model folders.

    Parameters
    ----------
    first, second : Path
    subset : str
    labels : LabelSet

    Raises
    ------
    DataError
        If a table is missing or damaged, or the two are not about the same pictures and truths.
    """
    tables = [read_predictions(Path(folder) / predictions_file(subset), labels) for folder in (first, second)]
    a, b = (table.sort_values("image", ignore_index=True) for table in tables)
    if not a[["image", "truth", "group"]].equals(b[["image", "truth", "group"]]):
        raise DataError(f"{first} and {second} do not answer for the same pictures of {subset}.")
    truth = np.array([labels.index(code) for code in a["truth"]])
    weights = np.vstack([np.ones(len(truth)), metrics.resample_weights(a["group"].to_numpy(), draws=DRAWS, seed=SEED)])
    answered = [_figures(truth, probability_matrix(table, labels), weights, labels) for table in (a, b)]
    differences = {
        key: Difference(_round(values[0]), _round(other[0]), estimate(other - values, len(truth)))
        for (key, values), other in zip(answered[0].items(), answered[1].values(), strict=True)
    }
    return Comparison(
        pictures=len(truth),
        overall={name: one for (code, name), one in differences.items() if not code},
        classes={
            label: {name: one for (code, name), one in differences.items() if code == label} for label in labels.codes
        },
        mcnemar=_test_lesions(a, b, labels),
        unit=name_unit(labels),
    )


def subtract(first: Estimate, second: Estimate) -> Estimate:
    """Return first less second for figures of different pictures.

    The interval is put together from both (Zou & Donner 2008, doi:10.1002/sim.3095), as if they were independent.

    >>> str(subtract(Estimate(0.8, 100, 0.7, 0.9), Estimate(0.6, 100, 0.5, 0.7)))
    '0.200 (0.059 to 0.341)'
    """
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return rounded(value, min(first.n, second.n), low, high)


def _figures(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, labels: LabelSet
) -> dict[tuple[str, str], np.ndarray]:
    """Return every figure by class and name, its value followed by the draws."""
    count = len(labels)
    cells = np.eye(count**2)[truth * count + probabilities.argmax(axis=1)]
    confusion = np.rint(weights @ cells).astype(np.int64).reshape(-1, count, count)
    found = {("", name): figure(confusion) for name, figure in OVERALL.items()}
    total = weights.sum(axis=1)
    found["", "log_loss"] = weights @ metrics.log_losses(probabilities, truth) / total
    found["", "brier_score"] = weights @ metrics.brier_scores(probabilities, truth) / total
    malignant = [labels.index(code) for code in labels.malignant_codes]
    if malignant:
        summed = probabilities[:, malignant].sum(axis=1)
        found["", "malignant_auc"] = metrics.roc_auc(np.isin(truth, malignant), summed, weights)
    by_class = {name: figure(confusion) for name, figure in PER_CLASS.items()}
    for index, code in enumerate(labels.codes):
        for name, values in by_class.items():
            found[code, name] = values[:, index]
        found[code, "auc"] = metrics.roc_auc(truth == index, probabilities[:, index], weights)
    return found


def _test_lesions(first: pd.DataFrame, second: pd.DataFrame, labels: LabelSet) -> McNemar:
    from scipy.stats import binomtest

    right = []
    for table in (first, second):
        means = pd.DataFrame(probability_matrix(table, labels)).groupby([table["lesion"], table["truth"]]).mean()
        truth = means.index.get_level_values("truth")
        answers = means.to_numpy().argmax(axis=1)
        right.append(answers == np.array([labels.index(code) for code in truth]))
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    apart = only_first + only_second
    p_value = float(binomtest(only_first, apart).pvalue) if apart else 1.0
    return McNemar(len(right[0]), only_first, only_second, p_value)


def _round(value: float) -> float:
    return float(np.round(value, 6))
