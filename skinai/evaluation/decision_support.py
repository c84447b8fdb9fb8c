"""From a threshold's record and a score to what they mean in a clinic: predictive values and cases like this one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinai.data.predictions import probability_matrix
from skinai.labels import HAM10000, LabelSet


@dataclass(frozen=True)
class PredictiveValues:
    """What a threshold does to 1,000 lesions of a clinic.

    Attributes
    ----------
    positive, negative : float
        Positive and negative predictive value; NaN where no lesion is called so.
    missed, needless : float
        Malignant lesions below the threshold, and benign ones above it, in 1,000 lesions.
    """

    positive: float
    negative: float
    missed: float
    needless: float


def predict_values(sensitivity: float, specificity: float, prevalence: float) -> PredictiveValues:
    """Return the predictive values of a threshold at a prevalence, all as shares from 0 to 1 (Bayes' theorem).

    >>> round(predict_values(0.9, 0.8, 0.1).positive, 3)
    0.333
    """
    found, missed = sensitivity * prevalence, (1 - sensitivity) * prevalence
    needless, spared = (1 - specificity) * (1 - prevalence), specificity * (1 - prevalence)
    return PredictiveValues(
        positive=found / (found + needless) if found + needless > 0 else float("nan"),
        negative=spared / (spared + missed) if spared + missed > 0 else float("nan"),
        missed=1000 * missed,
        needless=1000 * needless,
    )


@dataclass(frozen=True)
class CasesLikeThis:
    """The holdout lesions whose summed malignant probability is nearest to a given one.

    Attributes
    ----------
    lesions, malignant : int
    low, high : float
        95 % interval of the share that is malignant (Wilson).
    least, greatest : float
        Between which sums they lie.
    """

    lesions: int
    malignant: int
    low: float
    high: float
    least: float
    greatest: float


def find_cases_like(
    table: pd.DataFrame, malignant_probability: float, labels: LabelSet = HAM10000, *, count: int = 100
) -> CasesLikeThis:
    """Count the malignant ones among the `count` holdout lesions with the nearest summed malignant probability.

    Parameters
    ----------
    table : DataFrame
        Predictions for `test`, see :mod:`skinai.data.predictions`. The pictures of a lesion are averaged.
    malignant_probability : float
        0 to 1.
    labels : LabelSet
    count : int
    """
    from scipy.stats import binomtest

    malignant = [labels.index(code) for code in labels.malignant_codes]
    rows = pd.DataFrame(
        {
            "lesion": table["lesion"],
            "sum": probability_matrix(table, labels)[:, malignant].sum(axis=1),
            "malignant": table["truth"].isin(labels.malignant_codes),
        }
    )
    lesions = rows.groupby("lesion").agg({"sum": "mean", "malignant": "max"})
    distance = np.abs(_log_odds(lesions["sum"].to_numpy()) - _log_odds(np.array([malignant_probability])))
    nearest = lesions.iloc[np.argsort(distance, kind="stable")[:count]]
    found = int(nearest["malignant"].sum())
    interval = binomtest(found, len(nearest)).proportion_ci(0.95, method="wilson")
    return CasesLikeThis(
        lesions=len(nearest),
        malignant=found,
        low=float(interval.low),
        high=float(interval.high),
        least=float(nearest["sum"].min()),
        greatest=float(nearest["sum"].max()),
    )


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))
