"""What a leaking split and a mixed-up class order do to figures, shown on the same network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skinai.evaluation.comparison import subtract
from skinai.evaluation.estimate import Estimate
from skinai.evaluation.report import EvaluationReport
from skinai.labels import CIRCULATING_ORDERS

SPLIT_FIGURES = ("recall", "f1", "auc")


@dataclass(frozen=True)
class SplitDifference:
    """One figure of one network under two kinds of split.

    Attributes
    ----------
    code : str
        The class; empty for all together.
    name : str
    by_lesion, by_picture : Estimate
    difference : Estimate
        By picture less by lesion. The two test sets share pictures, which the interval takes no notice of.
    """

    code: str
    name: str
    by_lesion: Estimate
    by_picture: Estimate
    difference: Estimate


def compare_splits(by_lesion: EvaluationReport, by_picture: EvaluationReport) -> list[SplitDifference]:
    """Return every figure of a network under a split by lesion and under one by picture."""
    pairs = [("", name, by_lesion.overall[name], by_picture.overall[name]) for name in by_lesion.overall]
    pairs.append(("", "malignant_auc", by_lesion.scores["malignant_auc"], by_picture.scores["malignant_auc"]))
    for code in by_lesion.labels.codes:
        pairs += [(code, name, by_lesion.classes[code][name], by_picture.classes[code][name]) for name in SPLIT_FIGURES]
    return [SplitDifference(code, name, first, second, subtract(second, first)) for code, name, first, second in pairs]


def show_under_orders(report: EvaluationReport) -> Mapping[str, Mapping[str, Estimate]]:
    """Return the F1 that would be shown beside each diagnosis had the network been trained in another class order.

    A network trained in one order and displayed in the alphabetical one has every figure right and every name wrong:
    accuracy and weighted F1 do not change, and no one notices.

    Returns
    -------
    mapping of str to mapping of str to Estimate
        Order in circulation to code to the F1 shown beside it.
    """
    shown = CIRCULATING_ORDERS["alphabetical codes"]
    return {
        name: {heading: report.classes[inside]["f1"] for heading, inside in zip(shown, order, strict=True)}
        for name, order in CIRCULATING_ORDERS.items()
    }
