"""The same figures for parts of the pictures: by patient, site, method, lesion and picture quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinai.data.predictions import SUBGROUPS
from skinai.evaluation import metrics
from skinai.evaluation.estimate import Estimate, estimate
from skinai.labels import HAM10000, LabelSet

FEW_LESIONS = 30
FIGURES = ("sensitivity", "specificity", "calibration_gap", "accuracy")
_DARK = 0.02
_THIRDS = ("least sharp third", "middle third", "sharpest third")
# A gap is tested against all other pictures; this many standard errors at least, and this large at least.
_LEAST_GAP = 0.05


@dataclass(frozen=True)
class Subgroup:
    """The figures of one part.

    Attributes
    ----------
    column, value : str
        What it is a part by, and which.
    pictures, lesions : int
    malignant_lesions, benign_lesions : int
        What has pictures of both kinds, as a patient may have, counts in both.
    figures : mapping of str to Estimate
        ``sensitivity`` and ``specificity`` of the first operating point; ``calibration_gap``: the mean summed malignant
        probability less the share that is malignant; ``accuracy`` of the most probable class. The first three are not
        applicable where no class is malignant.
    gaps : mapping of str to Estimate
        For sensitivity, specificity and accuracy: this part less all other pictures.
    """

    column: str
    value: str
    pictures: int
    lesions: int
    malignant_lesions: int
    benign_lesions: int
    figures: Mapping[str, Estimate]
    gaps: Mapping[str, Estimate]

    @property
    def few(self) -> tuple[str, ...]:
        """Which figures rest on fewer than 30 lesions."""
        rests_on = {
            "sensitivity": self.malignant_lesions,
            "specificity": self.benign_lesions,
            "calibration_gap": self.lesions,
            "accuracy": self.lesions,
        }
        return tuple(name for name in FIGURES if rests_on[name] < FEW_LESIONS)

    def as_dict(self) -> dict[str, Any]:
        """Return it as it is written into ``report.json``."""
        counts = ("column", "value", "pictures", "lesions", "malignant_lesions", "benign_lesions")
        return {name: getattr(self, name) for name in counts} | {
            part: {name: one.as_dict() for name, one in getattr(self, part).items()} for part in ("figures", "gaps")
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Subgroup:
        """Read what :meth:`as_dict` wrote."""
        figures, gaps = (
            {name: Estimate.from_dict(one) for name, one in facts[part].items()} for part in ("figures", "gaps")
        )
        return cls(
            column=str(facts["column"]),
            value=str(facts["value"]),
            pictures=int(facts["pictures"]),
            lesions=int(facts["lesions"]),
            malignant_lesions=int(facts["malignant_lesions"]),
            benign_lesions=int(facts["benign_lesions"]),
            figures=figures,
            gaps=gaps,
        )


def list_parts(table: pd.DataFrame, cases: pd.DataFrame | None, labels: LabelSet = HAM10000) -> dict[str, pd.Series]:
    """Return, for each column to divide by, the part of every picture.

    Parameters
    ----------
    table : DataFrame
        Predictions.
    cases : DataFrame, optional
        From :func:`skinai.data.cases.read_cases`; without it there is no picture quality.
    labels : LabelSet
        Nearly black pixels are dark corners where a class is malignant, and otherwise only black areas.
    """
    parts = {column: table[column].astype(str).replace("", "unknown") for column in SUBGROUPS}
    several = table.groupby("lesion")["image"].transform("size") > 1
    parts["lesion_pictures"] = several.map({True: "several pictures", False: "one picture"})
    if cases is not None and table["image"].isin(cases.index).all() and len(table) >= len(_THIRDS):
        known = cases.loc[table["image"]]
        ranks = known["sharpness"].rank(method="first").to_numpy()
        thirds = np.minimum(((ranks - 1) * len(_THIRDS) / len(table)).astype(int), len(_THIRDS) - 1)
        parts["sharpness"] = pd.Series([_THIRDS[third] for third in thirds], index=table.index)
        dark = known["share_black"].to_numpy() > _DARK
        column = "dark_corners" if labels.malignant_codes else "black_areas"
        parts[column] = pd.Series(np.where(dark, column.replace("_", " "), "none"), index=table.index)
    return parts


def compute_subgroups(
    table: pd.DataFrame,
    truth: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray,
    labels: LabelSet,
    *,
    threshold: float | None,
    cases: pd.DataFrame | None = None,
) -> tuple[Subgroup, ...]:
    """Compute the figures of every part; a column with one part only divides nothing and is left out.

    Parameters
    ----------
    table : DataFrame
        Predictions, see :mod:`skinai.data.predictions`.
    truth : ndarray of shape (n,), int
    probabilities : ndarray of shape (n, classes)
    weights : ndarray of shape (1 + draws, n)
    labels : LabelSet
    threshold : float or None
        Of the summed malignant probability; None where there is none.
    cases : DataFrame, optional
    """
    malignant = [labels.index(code) for code in labels.malignant_codes]
    positive, summed = np.isin(truth, malignant), probabilities[:, malignant].sum(axis=1)
    usable = threshold is not None and bool(malignant)
    called = np.rint(summed * 1e6) >= np.rint((threshold or 0) * 1e6)
    right = probabilities.argmax(axis=1) == truth
    columns = np.stack(
        [np.ones(len(truth)), right, positive, positive & called, ~positive & ~called, summed], axis=1
    ).astype(np.float64)
    everything = weights @ columns
    groups = []
    for column, values in list_parts(table, cases, labels).items():
        if values.nunique() < 2:
            continue
        for value in sorted(values.unique()):
            inside = (values == value).to_numpy()
            sums = weights @ (columns * inside[:, None])
            own, others = _rates(sums), _rates(everything - sums)
            counts = {
                "sensitivity": int((inside & positive).sum()),
                "specificity": int((inside & ~positive).sum()),
                "calibration_gap": int(inside.sum()),
                "accuracy": int(inside.sum()),
            }
            names = FIGURES if usable else ("accuracy",)
            lesions = table["lesion"]
            groups.append(
                Subgroup(
                    column=column,
                    value=value,
                    pictures=int(inside.sum()),
                    lesions=int(lesions[inside].nunique()),
                    malignant_lesions=int(lesions[inside & positive].nunique()),
                    benign_lesions=int(lesions[inside & ~positive].nunique()),
                    figures={name: estimate(own[name], counts[name]) for name in names},
                    gaps={
                        name: estimate(own[name] - others[name], counts[name])
                        for name in names
                        if name != "calibration_gap"
                    },
                )
            )
    return tuple(groups)


def find_gaps(groups: tuple[Subgroup, ...]) -> list[tuple[Subgroup, str, Estimate]]:
    """Return the gaps that are large and hardly chance, whatever the number of parts looked at.

    A gap counts where its figure rests on 30 lesions or more in the part and in all others, is at least .05 against the
    part, and its distance from 0 in standard errors (the width of its interval by 3.92) is beyond the limit for as many
    comparisons (Bonferroni, 5 %).
    """
    from statistics import NormalDist

    looked_at = [
        (group, name, gap)
        for group in groups
        for name, gap in group.gaps.items()
        if name not in group.few
        and name not in _few_others(group, groups)
        and np.isfinite([gap.value, gap.low, gap.high]).all()
    ]
    if not looked_at:
        return []
    limit = NormalDist().inv_cdf(1 - 0.025 / len(looked_at))
    found = []
    for group, name, gap in looked_at:
        error = max((gap.high - gap.low) / 3.92, 1e-9)
        if gap.value <= -_LEAST_GAP and -gap.value / error >= limit:
            found.append((group, name, gap))
    return found


def _few_others(group: Subgroup, groups: tuple[Subgroup, ...]) -> tuple[str, ...]:
    """Return which figures of all other parts of the same column rest on fewer than 30 lesions."""
    others = [one for one in groups if one.column == group.column and one.value != group.value]
    rests_on = {
        "sensitivity": sum(one.malignant_lesions for one in others),
        "specificity": sum(one.benign_lesions for one in others),
        "accuracy": sum(one.lesions for one in others),
    }
    return tuple(name for name, count in rests_on.items() if count < FEW_LESIONS)


def _rates(sums: np.ndarray) -> dict[str, np.ndarray]:
    pictures, right, positives, found, spared, summed = sums.T
    return {
        "sensitivity": metrics.divide(found, positives),
        "specificity": metrics.divide(spared, pictures - positives),
        "calibration_gap": metrics.divide(summed - positives, pictures),
        "accuracy": metrics.divide(right, pictures),
    }
