"""The ISIC 2018 Task 3 score: pairs of tables in the challenge's format, and its metrics as its scorer defines them.

The definitions are those of the package isic-challenge-scoring 5.6.0, with one difference: what is undefined is NaN
here, where the package gives a perfect score. A test holds both to 1e-9 of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from skinai.artefacts import write_atomic
from skinai.data.predictions import SUBGROUPS, check_probabilities, probability_matrix
from skinai.data.tables import listed, refuse_torn_rows
from skinai.errors import DataError
from skinai.labels import HAM10000, LabelSet

# Balanced accuracy on the official test set; BME Frontiers 2022, 9765307, table 2. The second figure is the best of the
# 2018 leaderboard without external data; later entries of the live board are higher.
LEADERBOARD = {"winner of 2018, with external data": 0.885, "best of 2018 without external data": 0.845}
# The official test set has 1,512 pictures between these two, of which the scorer leaves one out.
_OFFICIAL_FIRST, _OFFICIAL_LAST, _OFFICIAL_LEAST = "ISIC_0034524", "ISIC_0036064", 1500
_LEFT_OUT = "ISIC_0035068"
_WEIGHTS = ("score_weight", "validation_weight")


@dataclass(frozen=True)
class ChallengeScore:
    """What the challenge's scorer prints.

    Attributes
    ----------
    pictures : int
        Those that count.
    per_category : DataFrame
        Index: ISIC's codes. ``accuracy``, ``sensitivity``, ``specificity``, ``dice``, ``ppv`` and ``npv`` at a
        probability above .5, ``auc``, ``auc_sens_80`` (the area where sensitivity is at least .8) and ``ap``.
    macro_average : Series
        The mean of each over the categories.
    balanced_accuracy : float
        The challenge's rank is by it. A picture with two greatest probabilities counts as wrong.
    official : bool
        Whether the pictures are those of the official test set, judged by their ids.
    """

    pictures: int
    per_category: pd.DataFrame
    macro_average: pd.Series
    balanced_accuracy: float
    official: bool


def read_pair(predictions: Path, truth: Path, labels: LabelSet = HAM10000) -> tuple[pd.DataFrame, np.ndarray]:
    """Read predictions and their truth as one table.

    Parameters
    ----------
    predictions : Path
        ``image`` and one column a class, by ISIC's codes; more columns are let pass only where they are those of a
        model folder's own table.
    truth : Path
        Either ISIC's: ``image``, one column a class with a single 1 in each row, optionally ``score_weight``; or the
        metadata's: ``image_id``, ``dx``. A ``lesion_id`` is used where there is one.
    labels : LabelSet

    Returns
    -------
    table : DataFrame
        As :func:`skinai.data.predictions.read_predictions` gives it; without lesion ids each picture is its own lesion.
    weights : ndarray of shape (n,)
        How much each picture counts in the challenge's score.

    Raises
    ------
    DataError
        If a file cannot be read, columns or pictures are missing, unknown or repeated, a probability lies outside 0 to
        1, a row does not sum to 1, or a row of the truth does not name one class.
    """
    known = read_truth(truth, labels)
    answers = _read_table(predictions)
    _check_columns(answers, predictions.name, labels, allowed=(*SUBGROUPS, "truth", "lesion", "group", "gate"))
    answers["image"] = _name_images(answers, predictions.name)
    check_probabilities(answers, predictions.name, labels)
    missing = sorted(set(known["image"]) - set(answers["image"]))
    if missing:
        raise DataError(f"Pictures of {truth.name} without a row in {predictions.name}: {listed(missing)}.")
    extra = sorted(set(answers["image"]) - set(known["image"]))
    if extra:
        raise DataError(f"Pictures of {predictions.name} that are not in {truth.name}: {listed(extra)}.")
    table = answers[["image", *labels.isic_order]].merge(known, on="image").sort_values("image", ignore_index=True)
    return table.drop(columns="weight"), table["weight"].to_numpy(dtype=np.float64)


def read_truth(path: Path, labels: LabelSet = HAM10000) -> pd.DataFrame:
    """Read a table of truths; see :func:`read_pair`.

    Returns
    -------
    DataFrame
        ``image``, ``truth``, ``lesion``, ``group``, the subgroup columns (empty where unknown) and ``weight``.
    """
    table = _read_table(path)
    if {"image_id", "dx"} <= set(table.columns):
        table = table.rename(columns={"image_id": "image"})
        codes = table["dx"].fillna("").str.strip().str.lower()
        unknown = sorted(set(codes) - set(labels.codes))
        if unknown:
            raise DataError(f"Unknown diagnoses in {path.name}: {listed(unknown)}. Known are: {list(labels.codes)}.")
    else:
        _check_columns(table, path.name, labels, allowed=(*_WEIGHTS, "lesion_id"))
        values = probability_matrix(table, labels)
        odd = ~(((values == 0) | (values == 1)).all(axis=1) & (values.sum(axis=1) == 1))
        if odd.any():
            raise DataError(f"Rows of {path.name} that do not name one class: {listed(table.loc[odd, 'image'])}.")
        codes = pd.Series([labels.codes[index] for index in values.argmax(axis=1)], index=table.index)
    images = _name_images(table, path.name)
    lesions = table["lesion_id"].str.strip() if "lesion_id" in table.columns else images
    if lesions.isna().any() or (lesions == "").any():
        raise DataError(f"{path.name} has rows without a lesion_id.")
    found = pd.DataFrame({"image": images, "truth": codes, "lesion": lesions, "group": lesions})
    for column in SUBGROUPS:
        found[column] = table[column].fillna("").astype(str) if column in table.columns else ""
    found["weight"] = _read_weights(table, path.name)
    found.loc[found["image"] == _LEFT_OUT, "weight"] = 0.0
    if not (found["weight"] > 0).any():
        raise DataError(f"No picture of {path.name} counts: every score_weight is 0.")
    return found


def _read_weights(table: pd.DataFrame, name: str) -> pd.Series:
    if "score_weight" not in table.columns:
        return pd.Series(1.0, index=table.index)
    weights = pd.to_numeric(table["score_weight"], errors="coerce")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise DataError(f"A score_weight of {name} is no number of 0 or more.")
    return weights.astype(float)


def _name_images(table: pd.DataFrame, name: str) -> pd.Series:
    """Return the pictures' ids without an ending; each has one, and only once."""
    images = table["image"].fillna("").str.strip().str.replace(r"\.jpg$", "", case=False, regex=True)
    if (images == "").any():
        raise DataError(f"{name} has rows without a picture.")
    repeated = images[images.duplicated()]
    if len(repeated):
        raise DataError(f"Repeated pictures in {name}: {listed(repeated)}.")
    return images


def score_challenge(table: pd.DataFrame, weights: np.ndarray, labels: LabelSet = HAM10000) -> ChallengeScore:
    """Score a table of predictions as the challenge does.

    Parameters
    ----------
    table : DataFrame
        From :func:`read_pair`.
    weights : ndarray of shape (n,)
    labels : LabelSet
    """
    counted = weights > 0
    probabilities, kept = probability_matrix(table, labels)[counted], weights[counted]
    truth = np.array([labels.index(code) for code in table["truth"]])[counted]
    rows = {
        code: _score_category(truth == index, probabilities[:, index], kept)
        for code in labels.isic_order
        for index in [labels.index(labels.by_isic_code(code).code)]
    }
    per_category = pd.DataFrame.from_dict(rows, orient="index")
    greatest = probabilities.max(axis=1, keepdims=True)
    decided = (probabilities == greatest).sum(axis=1) == 1
    right = decided & (probabilities.argmax(axis=1) == truth)
    recalls = [np.average(right[truth == index], weights=kept[truth == index]) for index in np.unique(truth)]
    images = table["image"]
    official = bool(images.between(_OFFICIAL_FIRST, _OFFICIAL_LAST).all() and len(images) >= _OFFICIAL_LEAST)
    return ChallengeScore(
        int(counted.sum()), per_category, per_category.mean(axis=0), float(np.mean(recalls)), official
    )


def write_pair(table: pd.DataFrame, folder: Path, labels: LabelSet = HAM10000) -> tuple[Path, Path]:
    """Write a table of predictions as the two files of the challenge, ``predictions.csv`` and ``truth.csv``."""
    columns = list(labels.isic_order)
    answers, known = table[["image", *columns]], table[["image"]].copy()
    for code in columns:
        known[code] = (table["truth"] == labels.by_isic_code(code).code).astype(float)
    paths = Path(folder) / "predictions.csv", Path(folder) / "truth.csv"
    write_atomic(paths[0], answers.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    write_atomic(paths[1], known.to_csv(index=False, float_format="%.1f", lineterminator="\n"))
    return paths


def _score_category(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    called = score > 0.5

    def count(mask: np.ndarray) -> float:
        return float(weights[mask].sum())

    hits, misses = count(positive & called), count(positive & ~called)
    alarms, spared = count(~positive & called), count(~positive & ~called)
    both = 0 < positive.sum() < len(positive)
    return {
        "accuracy": _share(hits + spared, hits + misses + alarms + spared),
        "sensitivity": _share(hits, hits + misses),
        "specificity": _share(spared, spared + alarms),
        "dice": _share(2 * hits, 2 * hits + alarms + misses),
        "ppv": _share(hits, hits + alarms),
        "npv": _share(spared, spared + misses),
        "auc": float(roc_auc_score(positive, score, sample_weight=weights)) if both else np.nan,
        "auc_sens_80": _area_above(positive, score, weights, 0.8) if both else np.nan,
        "ap": float(average_precision_score(positive, score, sample_weight=weights)) if positive.any() else np.nan,
    }


def _area_above(positive: np.ndarray, score: np.ndarray, weights: np.ndarray, least: float) -> float:
    """Return the area under the ROC curve from where sensitivity reaches `least` on."""
    alarms, found, _ = roc_curve(positive, score, sample_weight=weights, drop_intermediate=False)
    first = int(np.searchsorted(found, least, side="left"))
    start = np.interp(least, found[first - 1 : first + 1], alarms[first - 1 : first + 1])
    return float(np.trapezoid([least, *found[first:]], [start, *alarms[first:]]))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else np.nan


def _read_table(path: Path) -> pd.DataFrame:
    path = Path(path)
    try:
        table = pd.read_csv(path, dtype={"image": str, "image_id": str, "lesion_id": str, "dx": str}, index_col=False)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
        raise DataError(f"{path.name} is not a comma-separated UTF-8 table.") from error
    refuse_torn_rows(path)
    if table.empty:
        raise DataError(f"{path.name} has no rows.")
    return table


def _check_columns(table: pd.DataFrame, name: str, labels: LabelSet, *, allowed: tuple[str, ...]) -> None:
    needed = ["image", *labels.isic_order]
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise DataError(f"Missing columns in {name}: {missing}.")
    strange = [str(column) for column in table.columns if column not in (*needed, *allowed)]
    if strange:
        raise DataError(
            f"Unknown columns in {name}: [{listed(map(repr, strange))}]. The classes are: {list(labels.isic_order)}."
        )
