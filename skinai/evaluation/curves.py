"""Curves of a model's probabilities, each point with its interval: thresholds, calibration, coverage against risk.

One long table holds all of them, and every chart and every table shown is cut from it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from skinai.artefacts import read_gzip, write_gzip
from skinai.data.tables import refuse_torn_rows
from skinai.errors import DataError
from skinai.evaluation import metrics
from skinai.labels import LabelSet

CURVES_FILE = "curves.csv.gz"
# No class can be called so.
MALIGNANT, TOP = "*malignant", "*top"
THRESHOLD, CALIBRATION, RISK = "threshold", "calibration", "risk"
# Finer below a hundredth, where most benign lesions lie.
THRESHOLDS = (0.0, *(10 ** (power / 8 - 4) for power in range(16)), *(step / 100 for step in range(1, 100)), 0.995)
_BINS = 10
_COVERAGES = tuple(step / 20 for step in range(1, 21))
_COLUMNS = ["curve", "target", "at", "figure", "value", "low", "high", "n"]


@dataclass(frozen=True)
class Curves:
    """All curves of one table of predictions.

    Attributes
    ----------
    table : DataFrame
        ``curve`` (``"threshold"``, ``"calibration"`` or ``"risk"``), ``target`` (a code, `MALIGNANT` for the summed
        malignant probability, `TOP` for the most probable class), ``at`` (threshold, lower edge of the bin, or
        coverage), ``figure``, ``value``, ``low``, ``high`` (95 %, by lesion) and ``n``.
    """

    table: pd.DataFrame

    def frame(self, curve: str, target: str) -> pd.DataFrame:
        """Return one curve: a row a point, and ``FIGURE``, ``FIGURE_low``, ``FIGURE_high``, ``FIGURE_n`` for each
        figure.

        Raises
        ------
        KeyError
            If there is no such curve.
        """
        rows = self.table[(self.table["curve"] == curve) & (self.table["target"] == target)]
        if rows.empty:
            raise KeyError(f"There is no {curve} curve of {target}.")
        wide = pd.DataFrame({"at": sorted(rows["at"].unique())})
        for figure, points in rows.groupby("figure", sort=False):
            points = points.set_index("at").loc[wide["at"]]
            wide[figure] = points["value"].to_numpy()
            for bound in ("low", "high", "n"):
                wide[f"{figure}_{bound}"] = points[bound].to_numpy()
        return wide

    def targets(self, curve: str) -> list[str]:
        """Return whose curves of this kind there are."""
        return list(self.table.loc[self.table["curve"] == curve, "target"].unique())


def compute_curves(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, labels: LabelSet) -> Curves:
    """Compute every curve with its intervals.

    Parameters
    ----------
    truth : ndarray of shape (n,), int
    probabilities : ndarray of shape (n, classes)
    weights : ndarray of shape (1 + draws, n)
        Ones, then how often each picture is in each bootstrap draw.
    labels : LabelSet
    """
    malignant = [labels.index(code) for code in labels.malignant_codes]
    scored = {code: (truth == index, probabilities[:, index]) for index, code in enumerate(labels.codes)}
    if malignant:
        scored = {MALIGNANT: (np.isin(truth, malignant), probabilities[:, malignant].sum(axis=1))} | scored
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    parts = []
    for target, (positive, score) in scored.items():
        for figure, values, counts in _sweep(positive, score, weights, with_benefit=target == MALIGNANT):
            parts.append(_tidy(THRESHOLD, target, THRESHOLDS, figure, values, counts))
    for target, (hit, score) in ({TOP: (right, top)} | scored).items():
        edges = [step / _BINS for step in range(_BINS)]
        for figure, values, counts in _calibrate(hit, score, weights):
            parts.append(_tidy(CALIBRATION, target, edges, figure, values, counts))
    errors = _risk(~right, top, weights)
    answered = [max(round(coverage * len(truth)), 1) for coverage in _COVERAGES]
    parts.append(_tidy(RISK, TOP, _COVERAGES, "error", errors, np.array(answered)))
    return Curves(pd.concat(parts, ignore_index=True))


def write_curves(curves: Curves, folder: Path) -> None:
    """Write ``curves.csv.gz``; what is not applicable stays empty."""
    write_gzip(Path(folder) / CURVES_FILE, spell_curves(curves))


def spell_curves(curves: Curves) -> bytes:
    """Return the contents of ``curves.csv.gz``."""
    return curves.table.to_csv(index=False, lineterminator="\n").encode()


def read_curves(folder: Path) -> Curves:
    """Read ``curves.csv.gz``.

    Raises
    ------
    DataError
        If it is missing or is no such table.
    """
    path = Path(folder) / CURVES_FILE
    try:
        text = read_gzip(path).decode()
        refuse_torn_rows(path, text)
        table = pd.read_csv(
            io.StringIO(text),
            dtype={"curve": str, "target": str, "figure": str},
            keep_default_na=False,
            na_values=[""],
        )
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    if list(table.columns) != _COLUMNS:
        raise DataError(f"{path} has the columns {list(table.columns)}, not {_COLUMNS}.")
    return Curves(table)


def _sweep(
    positive: np.ndarray, score: np.ndarray, weights: np.ndarray, *, with_benefit: bool
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield each figure of ``score >= threshold``, its values, shape (1 + draws, thresholds), and its pictures."""
    limits = np.rint(np.array(THRESHOLDS) * 1e6)
    place = np.searchsorted(limits, np.rint(score * 1e6), side="right") - 1
    inside = np.eye(len(limits))[place]

    def reaching(chosen: np.ndarray) -> np.ndarray:
        counts = weights @ (inside * chosen[:, None])
        return counts[:, ::-1].cumsum(axis=1)[:, ::-1]

    found, needless = reaching(positive), reaching(~positive)
    positives, negatives = found[:, :1], needless[:, :1]
    spared, missed = negatives - needless, positives - found
    every = np.full(len(limits), positive.sum())
    yield "sensitivity", metrics.divide(found, np.broadcast_to(positives, found.shape)), every
    yield "specificity", metrics.divide(spared, np.broadcast_to(negatives, found.shape)), len(positive) - every
    yield "precision", metrics.divide(found, found + needless), (found + needless)[0]
    if not with_benefit:
        return
    yield "negative_predictive_value", metrics.divide(spared, spared + missed), (spared + missed)[0]
    # Net benefit (Vickers & Elkin 2006): found less needless, the latter weighed by the odds of the threshold.
    odds = np.array(THRESHOLDS) / (1 - np.array(THRESHOLDS))
    total = positives + negatives
    everybody = np.full(len(limits), len(positive))
    yield "net_benefit", (found - needless * odds) / total, everybody
    yield "net_benefit_of_all", (positives - negatives * odds) / total, everybody


def _calibrate(hit: np.ndarray, score: np.ndarray, weights: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the mean probability and the share that came true in bins of equal width."""
    place = np.minimum((score * _BINS + 1e-9).astype(int), _BINS - 1)
    inside = np.eye(_BINS)[place]
    counts = weights @ inside
    yield "mean_probability", metrics.divide(weights @ (inside * score[:, None]), counts), counts[0]
    yield "share", metrics.divide(weights @ (inside * hit[:, None]), counts), counts[0]


def _risk(wrong: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of wrong answers among the most certain ones, shape (1 + draws, coverages)."""
    # Equally certain answers are given together, so that the order of the file does not matter.
    order = np.argsort(-score, kind="stable")
    _, starts = np.unique(-score[order], return_index=True)
    sorted_weights = np.take(weights, order, axis=1)
    nothing = np.zeros((len(weights), 1))
    answered = np.hstack([nothing, np.add.reduceat(sorted_weights, starts, axis=1).cumsum(axis=1)])
    failed_weights = sorted_weights * wrong[order]
    errors = np.hstack([nothing, np.add.reduceat(failed_weights, starts, axis=1).cumsum(axis=1)])
    risks = np.empty((len(weights), len(_COVERAGES)))
    for draw, (taken, failed) in enumerate(zip(answered, errors, strict=True)):
        wanted = np.maximum(np.round(np.array(_COVERAGES) * taken[-1]), 1)
        risks[draw] = np.interp(wanted, taken, failed) / wanted
    return risks


def _tidy(
    curve: str, target: str, at: tuple[float, ...] | list[float], figure: str, values: np.ndarray, counts: np.ndarray
) -> pd.DataFrame:
    low, high = metrics.percentile_interval(values[1:])
    undefined = np.isnan(values[0])
    bounds = [np.where(undefined, np.nan, bound).round(6) + 0.0 for bound in (low, high)]
    columns = [curve, target, np.round(at, 6), figure, values[0].round(6) + 0.0, *bounds, np.rint(counts).astype(int)]
    return pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True)))
