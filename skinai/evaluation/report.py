"""The report card: every figure with its n and its interval, from one table of predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from skinai.artefacts import hash_file, predictions_file, write_json
from skinai.data.cases import read_cases
from skinai.data.predictions import probability_matrix, read_predictions
from skinai.data.split import SUBSETS
from skinai.errors import DataError
from skinai.evaluation import figures, metrics, rules
from skinai.evaluation.curves import (
    CALIBRATION,
    CURVES_FILE,
    MALIGNANT,
    RISK,
    THRESHOLD,
    TOP,
    Curves,
    compute_curves,
    read_curves,
    write_curves,
)
from skinai.evaluation.decision import DECISION_FILE, Decision
from skinai.evaluation.estimate import DRAWS, SEED, Estimate, estimate
from skinai.evaluation.subgroups import FIGURES, Subgroup, compute_subgroups
from skinai.evaluation.units import CASE, LESION, PICTURE, name_unit
from skinai.labels import HAM10000, LabelSet

REPORT_FILE = "report.json"
# Raised when the file gets other contents; an older report is made anew from the stored predictions.
_FORMAT = 3
_METHOD = "percentile bootstrap by "
OVERALL = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "macro_f1": metrics.macro_f1,
    "weighted_f1": metrics.weighted_f1,
    "cohens_kappa": metrics.cohens_kappa,
}
PER_CLASS = {
    "precision": metrics.precision,
    "recall": metrics.recall,
    "specificity": metrics.specificity,
    "f1": metrics.f1_score,
}
CLASS_FIGURES = (*PER_CLASS, "auc", "average_precision")
# The ISIC challenges report sensitivity at a specificity of .80.
_FIXED = (80, 90, 95)
# Of fewer classes than five the truth is too often among any three.
_TOP, _LEAST_FOR_TOP = 3, 5
SCORES = (
    "top3_accuracy",
    "malignant_auc",
    "malignant_average_precision",
    *(f"malignant_sensitivity_at_specificity_{share}" for share in _FIXED),
    *(f"malignant_specificity_at_sensitivity_{share}" for share in _FIXED),
    "expected_calibration_error",
    "log_loss",
    "brier_score",
)
# What can be shown as a table and drawn, the curves of a class among others.
KINDS = (
    "confusion",
    "classes",
    "roc",
    "precision_recall",
    "calibration",
    "coverage_risk",
    "decision_curve",
    "subgroups",
)


@dataclass(frozen=True)
class EvaluationReport:
    """All figures of one model on one subset.

    Attributes
    ----------
    model_name, fingerprint : str
    subset : str
    predictions_hash, decision_hash : str
        SHA-256 of the table and of the rules it was made from; the second is empty without rules.
    pictures, lesions : int
    drawn : str
        What the bootstrap draws: ``"lesion"`` or ``"case"``, or ``"picture"`` under a split by picture.
    labels : LabelSet
    overall : mapping of str to Estimate
        ``accuracy``, ``balanced_accuracy``, ``macro_f1``, ``weighted_f1``, ``cohens_kappa``.
    baseline : mapping of str to Estimate
        The same figures and the scores, for always answering the most frequent class with a probability of 1; its log
        loss is not applicable, as it is infinite. It has no second and third answer, so its ``top3_accuracy`` is the
        share of the pictures of the three most frequent classes.
    baseline_code : str
    classes : mapping of str to mapping of str to Estimate
        Code to ``precision`` (n: answers), ``recall`` (the sensitivity), ``specificity`` (n: all other pictures),
        ``f1``, ``auc`` and ``average_precision`` of this class against all others (n: pictures of the class).
    scores : mapping of str to Estimate
        ``top3_accuracy``: how often the truth is among the three most probable classes, not applicable with fewer than
        five classes. Of the summed malignant probability: ``malignant_auc``, ``malignant_average_precision``, and
        sensitivity at a specificity of 80, 90 and 95 % and the reverse; ``expected_calibration_error`` of the top
        class, ``log_loss``, ``brier_score`` (0 to 2).
    decision : mapping of str to Estimate
        Empty but for the last two where ``decision.json`` was changed after the report was made, and so are the
        subgroups. What the rules fitted on `valid` reach here: ``NAME:sensitivity`` and ``NAME:specificity`` of each
        operating point; ``coverage`` of the prediction sets, ``coverage:CODE`` of each class, and ``set_size``, their
        mean size. ``malignant_without_malignant_set``: the share of the malignant pictures without a malignant class in
        their set. ``clear_lead``, ``undecided`` and ``cannot_assess``: the share of the pictures of which this is said;
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
    subgroups : tuple of Subgroup
    curves : Curves
    """

    model_name: str
    fingerprint: str
    subset: str
    predictions_hash: str
    decision_hash: str
    pictures: int
    lesions: int
    drawn: str
    labels: LabelSet
    overall: Mapping[str, Estimate]
    baseline: Mapping[str, Estimate]
    baseline_code: str
    classes: Mapping[str, Mapping[str, Estimate]]
    scores: Mapping[str, Estimate]
    decision: Mapping[str, Estimate]
    class_lesions: Mapping[str, int]
    confusion: np.ndarray
    subgroups: tuple[Subgroup, ...]
    curves: Curves

    @property
    def applicable_scores(self) -> dict[str, Estimate]:
        """The scores but for those of the summed malignant probability where no class is malignant."""
        every = bool(self.labels.malignant_codes)
        return {name: one for name, one in self.scores.items() if every or not name.startswith("malignant_")}

    def frame(self, kind: str = "classes", target: str = "") -> pd.DataFrame:
        """Return the numbers behind one chart.

        Parameters
        ----------
        kind : str
            One of `KINDS`.
        target : str
            For a curve: a code, `MALIGNANT`, or for calibration also `TOP`; by default the broadest one. For
            subgroups the column they are parts of; by default all of them.

        Returns
        -------
        DataFrame
            One row a class, cell, threshold, bin or part; each figure beside its interval, ``FIGURE_low`` and
            ``_high``.

        Raises
        ------
        KeyError
            If there is no such chart of this report.
        """
        if kind == "classes":
            return self._frame_classes()
        if kind == "confusion":
            return self._frame_confusion()
        if kind == "subgroups":
            table = self._frame_subgroups()
            return table if not target else table[table["column"] == target].reset_index(drop=True)
        if kind in ("calibration", "coverage_risk"):
            return self.curves.frame(CALIBRATION if kind == "calibration" else RISK, target or TOP)
        if kind in ("roc", "precision_recall", "decision_curve"):
            return self.curves.frame(THRESHOLD, target or MALIGNANT)
        raise KeyError(f"There is no chart called {kind}. There are: {', '.join(KINDS)}.")

    def figure(
        self,
        kind: str,
        target: str = "",
        *,
        colours: figures.Palette = figures.LIGHT,
        option: str = "",
        at: float | None = None,
    ) -> go.Figure:
        """Draw what :meth:`frame` holds.

        Parameters
        ----------
        kind, target : str
        colours : Palette
        option : str
            Confusion: ``"counts"``, ``"rows"`` or ``"columns"``; classes and subgroups: the figure to draw.
        at : float, optional
            The threshold to mark on a curve.
        """
        table = self.frame(kind, target)
        if kind == "confusion":
            return figures.draw_confusion(table, list(self.labels.codes), colours, unit=option or "counts")
        if kind == "classes":
            return figures.draw_classes(table, colours, figure=option or "f1")
        if kind == "subgroups":
            offered = [name for name in FIGURES if name in table.columns]
            if not offered:
                raise KeyError(f"There are no parts of {target or 'any column'} to draw.")
            return figures.draw_subgroups(table, colours, figure=option or offered[0])
        draw = {
            "roc": figures.draw_roc,
            "precision_recall": figures.draw_precision_recall,
            "decision_curve": figures.draw_decision_curve,
        }
        if kind in draw:
            return draw[kind](table, colours, at=at)
        return figures.draw_calibration(table, colours) if kind == "calibration" else figures.draw_risk(table, colours)

    def _frame_classes(self) -> pd.DataFrame:
        rows = []
        for label in self.labels:
            row: dict[str, Any] = {
                "code": label.code,
                "diagnosis": label.name,
                "pictures": self.classes[label.code]["recall"].n,
                "lesions": self.class_lesions[label.code],
            }
            rows.append(row | _spread(self.classes[label.code]))
        return pd.DataFrame(rows)

    def _frame_confusion(self) -> pd.DataFrame:
        rows, columns = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        return pd.DataFrame(
            {
                "truth": true.code,
                "answer": answer.code,
                "truth_name": true.name,
                "answer_name": answer.name,
                "pictures": int(self.confusion[i, j]),
                "share_of_row": self.confusion[i, j] / rows[i] if rows[i] else np.nan,
                "share_of_column": self.confusion[i, j] / columns[j] if columns[j] else np.nan,
            }
            for i, true in enumerate(self.labels)
            for j, answer in enumerate(self.labels)
        )

    def _frame_subgroups(self) -> pd.DataFrame:
        names = ("column", "value", "pictures", "lesions", "malignant_lesions", "benign_lesions")
        rows = []
        for group in self.subgroups:
            row = {name: getattr(group, name) for name in names} | _spread(group.figures)
            row |= {f"{name}_n": one.n for name, one in group.figures.items()}
            rows.append(row | {f"{name}_few": name in group.few for name in FIGURES})
        return pd.DataFrame(rows)

    def count_benign_first(self, *codes: str) -> tuple[int, int]:
        """Return how many pictures of these classes got a benign diagnosis as most probable, and of how many."""
        rows = self.confusion[[self.labels.index(code) for code in codes]]
        benign = [not label.malignant for label in self.labels]
        return int(rows[:, benign].sum()), int(rows.sum())

    def as_dict(self) -> dict[str, Any]:
        """Return the report as it is written into ``report.json``; the curves have a file of their own."""
        return {
            "format": _FORMAT,
            "model": self.model_name,
            "fingerprint": self.fingerprint,
            "subset": self.subset,
            "predictions_sha256": self.predictions_hash,
            "decision_sha256": self.decision_hash,
            "pictures": self.pictures,
            "lesions": self.lesions,
            "intervals": {
                "level": 0.95,
                "method": f"{_METHOD}{self.drawn}",
                "draws": DRAWS,
                "seed": SEED,
            },
            "order": list(self.labels.codes),
            "overall": _plain(self.overall),
            "baseline": {"always": self.baseline_code} | _plain(self.baseline),
            "classes": {
                code: {"lesions": self.class_lesions[code]} | _plain(values) for code, values in self.classes.items()
            },
            "scores": _plain(self.scores),
            "decision": _plain(self.decision),
            "confusion": self.confusion.tolist(),
            "subgroups": [group.as_dict() for group in self.subgroups],
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
    """Compute the report of a stored table of predictions; of ``decision.json`` beside it, the hash is noted.

    Parameters
    ----------
    path : Path
        See :func:`skinai.data.predictions.read_predictions`, whose errors are raised. From the same folder the picture
        quality of ``cases_test.csv.gz`` is taken, where there is one.
    model_name, fingerprint, subset : str
        Written into the report.
    labels : LabelSet
    decision : Decision, optional
        The rules to evaluate.
    calibration : mapping, optional
        ``temperature`` and ``offset`` that the model's probabilities were calibrated with; the calibration error
        without them is then in the report too.
    """
    report = evaluate_table(
        read_predictions(path, labels),
        model_name=model_name,
        fingerprint=fingerprint,
        subset=subset,
        labels=labels,
        decision=decision,
        calibration=calibration,
        cases=read_cases(path.parent) if subset == "test" else None,
    )
    rules_file = path.parent / DECISION_FILE
    decision_hash = hash_file(rules_file) if decision is not None and rules_file.is_file() else ""
    return replace(report, predictions_hash=hash_file(path), decision_hash=decision_hash)


def evaluate_table(
    table: pd.DataFrame,
    *,
    model_name: str,
    fingerprint: str = "",
    subset: str = "",
    labels: LabelSet = HAM10000,
    decision: Decision | None = None,
    calibration: Mapping[str, Any] | None = None,
    cases: pd.DataFrame | None = None,
) -> EvaluationReport:
    """Compute the report of a checked table of predictions; parameters as in :func:`evaluate_predictions`."""
    truth = np.array([labels.index(code) for code in table["truth"]])
    probabilities = probability_matrix(table, labels)
    groups = table["group"].to_numpy()
    weights = np.vstack([np.ones(len(truth)), metrics.resample_weights(groups, draws=DRAWS, seed=SEED)])
    overall, classes, confusion = _estimate_choices(truth, probabilities.argmax(axis=1), weights, labels)
    for index, code in enumerate(labels.codes):
        one, count = (truth == index, probabilities[:, index], weights), int((truth == index).sum())
        classes[code]["auc"] = estimate(metrics.roc_auc(*one), count)
        classes[code]["average_precision"] = estimate(metrics.average_precision(*one), count)
    most_frequent = int(np.bincount(truth, minlength=len(labels)).argmax())
    constant = np.full(len(truth), most_frequent)
    baseline, _, _ = _estimate_choices(truth, constant, weights, labels)
    baseline |= _estimate_scores(truth, np.eye(len(labels))[constant], weights, labels)
    if len(labels) >= _LEAST_FOR_TOP:
        frequent = np.argsort(-np.bincount(truth, minlength=len(labels)), kind="stable")[:_TOP]
        hits = weights @ np.isin(truth, frequent) / weights.sum(axis=1)
        baseline["top3_accuracy"] = estimate(hits, len(truth))
    if baseline["accuracy"].value < 1:
        baseline["log_loss"] = estimate(np.full(len(weights), np.nan), len(truth))
    found = {} if decision is None else rules.estimate_decision(decision, truth, probabilities, weights, labels)
    found |= rules.estimate_gate(table, weights)
    if calibration is not None:
        found |= rules.estimate_uncalibrated(calibration, truth, probabilities, weights)
    points = () if decision is None else decision.operating_points
    lesions = table.groupby("truth")["lesion"].nunique()
    # As under a split by picture, which draws the pictures of a lesion one by one.
    by_picture = table["lesion"].nunique() < table["group"].nunique() == len(table)
    return EvaluationReport(
        model_name=model_name,
        fingerprint=fingerprint,
        subset=subset,
        predictions_hash="",
        decision_hash="",
        pictures=len(table),
        lesions=int(table["lesion"].nunique()),
        drawn=PICTURE if by_picture else name_unit(labels),
        labels=labels,
        overall=overall,
        baseline=baseline,
        baseline_code=labels.codes[most_frequent],
        classes=classes,
        scores=_estimate_scores(truth, probabilities, weights, labels),
        decision=found,
        class_lesions={code: int(lesions.get(code, 0)) for code in labels.codes},
        confusion=confusion,
        subgroups=compute_subgroups(
            table, truth, probabilities, weights, labels, threshold=points[0].threshold if points else None, cases=cases
        ),
        curves=compute_curves(truth, probabilities, weights, labels),
    )


def write_report(report: EvaluationReport, folder: Path) -> None:
    """Write ``report.json`` and ``curves.csv.gz`` into a model folder."""
    write_curves(report.curves, folder)
    hashed = hash_file(Path(folder) / CURVES_FILE)
    write_json(Path(folder) / REPORT_FILE, report.as_dict() | {"curves_sha256": hashed})


def read_report(folder: Path, labels: LabelSet = HAM10000) -> EvaluationReport:
    """Read ``report.json`` and ``curves.csv.gz``, and check that they were made from the predictions beside them.

    Raises
    ------
    DataError
        If one is missing, damaged or of another version, has another class order, or belongs to other predictions.
    """
    path = Path(folder) / REPORT_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts.get("format") != _FORMAT:
            raise DataError(
                f"{path} was written by another version of skinai; `python -m skinai evaluate {folder}` makes it anew "
                "from the stored predictions."
            )
        if tuple(facts["order"]) != labels.codes:
            raise DataError(f"{path} has the class order {facts['order']}, not {list(labels.codes)}.")
        report = EvaluationReport(
            model_name=facts["model"],
            fingerprint=facts["fingerprint"],
            subset=facts["subset"],
            predictions_hash=facts["predictions_sha256"],
            decision_hash=facts["decision_sha256"],
            pictures=int(facts["pictures"]),
            lesions=int(facts["lesions"]),
            drawn=facts["intervals"]["method"].removeprefix(_METHOD),
            labels=labels,
            overall=_estimates(facts["overall"], OVERALL),
            baseline=_estimates(facts["baseline"], (*OVERALL, *SCORES)),
            baseline_code=facts["baseline"]["always"],
            classes={code: _estimates(facts["classes"][code], CLASS_FIGURES) for code in labels.codes},
            scores=_estimates(facts["scores"], SCORES),
            decision=_estimates(facts["decision"], facts["decision"]),
            class_lesions={code: int(facts["classes"][code]["lesions"]) for code in labels.codes},
            confusion=np.array(facts["confusion"], dtype=np.int64).reshape(len(labels), len(labels)),
            subgroups=tuple(Subgroup.from_dict(one) for one in facts["subgroups"]),
            curves=read_curves(folder),
        )
        curves_hash = facts["curves_sha256"]
        names = (report.model_name, report.fingerprint, report.subset, report.predictions_hash, report.decision_hash)
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a name or a hash is none")
        if report.subset not in SUBSETS or report.baseline_code not in labels.codes:
            raise ValueError("a subset or a class is none")
        if report.drawn not in (LESION, CASE, PICTURE):
            raise ValueError("what the bootstrap draws is none")
        if min(report.pictures, report.lesions, report.confusion.min()) < 0:
            raise ValueError("a count is less than 0")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; this model has not been evaluated yet.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    if hash_file(Path(folder) / CURVES_FILE) != curves_hash:
        raise DataError(f"{CURVES_FILE} in {folder} is not the one that {REPORT_FILE} was written with.")
    predictions = Path(folder) / predictions_file(report.subset)
    if not predictions.is_file() or hash_file(predictions) != report.predictions_hash:
        raise DataError(f"{path} was not made from the {predictions.name} beside it.")
    rules_file = Path(folder) / DECISION_FILE
    if report.decision_hash and (not rules_file.is_file() or hash_file(rules_file) != report.decision_hash):
        # The rules in force are others: what the former ones reached would be read as theirs.
        kept = {name: one for name, one in report.decision.items() if name in rules.WITHOUT_RULES}
        report = replace(report, decision=kept, subgroups=())
    return report


def _estimate_choices(
    truth: np.ndarray, chosen: np.ndarray, weights: np.ndarray, labels: LabelSet
) -> tuple[dict[str, Estimate], dict[str, dict[str, Estimate]], np.ndarray]:
    """Return the figures that follow from the most probable class alone, and the confusion matrix."""
    count = len(labels)
    cells = np.eye(count**2)[truth * count + chosen]
    draws = np.rint(weights @ cells).astype(np.int64).reshape(-1, count, count)
    confusion = draws[0]
    overall = {name: estimate(figure(draws), len(truth)) for name, figure in OVERALL.items()}
    answers, occurrences = confusion.sum(axis=0), confusion.sum(axis=1)
    rests_on = {"precision": answers, "specificity": len(truth) - occurrences}
    classes: dict[str, dict[str, Estimate]] = {code: {} for code in labels.codes}
    for name, figure in PER_CLASS.items():
        values, counts = figure(draws), rests_on.get(name, occurrences)
        for index, code in enumerate(labels.codes):
            classes[code][name] = estimate(values[:, index], int(counts[index]))
    return overall, classes, confusion


def _estimate_scores(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, labels: LabelSet
) -> dict[str, Estimate]:
    """Return the figures named in `SCORES`."""
    malignant = [labels.index(code) for code in labels.malignant_codes]
    positive, summed = np.isin(truth, malignant), probabilities[:, malignant].sum(axis=1)
    right = probabilities.argmax(axis=1) == truth
    one = (positive, summed, weights)
    n, ill, total = len(truth), int(positive.sum()), weights.sum(axis=1)
    among = weights @ metrics.top_hits(probabilities, truth, _TOP) / total
    found = [estimate(among if len(labels) >= _LEAST_FOR_TOP else np.full(len(weights), np.nan), n)]
    found += [estimate(metrics.roc_auc(*one), ill), estimate(metrics.average_precision(*one), ill)]
    for share in _FIXED:
        found.append(estimate(metrics.sensitivity_at_specificity(*one, specificity=share / 100), ill))
    for share in _FIXED:
        found.append(estimate(metrics.specificity_at_sensitivity(*one, sensitivity=share / 100), n - ill))
    found.append(rules.estimate_calibration_error(right, probabilities.max(axis=1), weights))
    for losses in (metrics.log_losses(probabilities, truth), metrics.brier_scores(probabilities, truth)):
        found.append(estimate(weights @ losses / total, n))
    return dict(zip(SCORES, found, strict=True))


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: one.as_dict() for name, one in estimates.items()}


def _estimates(facts: Mapping[str, Any], names: Any) -> dict[str, Estimate]:
    return {name: Estimate.from_dict(facts[name]) for name in names}


def _spread(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Return each figure and the ends of its interval, as columns of a table."""
    spread: dict[str, float] = {}
    for name, one in estimates.items():
        spread |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    return spread
