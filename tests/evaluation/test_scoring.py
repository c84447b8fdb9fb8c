"""The challenge's score is the one that its own scorer gives, and a broken pair is refused with its sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinai.data.predictions import read_predictions
from skinai.errors import DataError
from skinai.evaluation.report import read_report
from skinai.evaluation.scoring import read_pair, score_challenge, write_pair
from skinai.labels import HAM10000

# The package needs pandas below 3, so it has an environment of its own; `make test` sets it up.
SCORER = Path(sys.prefix) / "scorer" / "bin" / "python"


@pytest.fixture
def pair(shipped_model, tmp_path):
    return write_pair(read_predictions(shipped_model / "predictions_test.csv"), tmp_path)


@pytest.mark.shipped
@pytest.mark.skipif(not SCORER.exists() and not os.environ.get("CI"), reason="make test sets the scorer up")
@pytest.mark.parametrize("change", ["as it is", "weighted", "ties"])
def test_every_metric_agrees_with_the_official_scorer_to_1e_9(pair, change):
    predictions, truth = pair
    if change == "weighted":
        table = pd.read_csv(truth)
        table["score_weight"] = np.random.default_rng(1).choice([0.0, 1.0, 0.5], len(table))
        table["validation_weight"] = 1.0
        table.to_csv(truth, index=False)
    if change == "ties":
        table = pd.read_csv(predictions)
        table[list(HAM10000.isic_order)] = table[list(HAM10000.isic_order)].round(1)
        rest = 1 - table[list(HAM10000.isic_order)].sum(axis=1)
        table["NV"] = (table["NV"] + rest).clip(0, 1).round(1)
        table = table[np.isclose(table[list(HAM10000.isic_order)].sum(axis=1), 1)]
        table.to_csv(predictions, index=False)
        known = pd.read_csv(truth)
        known[known["image"].isin(table["image"])].to_csv(truth, index=False)
    command = [
        SCORER,
        "-W",
        "ignore",
        "-m",
        "isic_challenge_scoring",
        "-o",
        "json",
        "classification",
        truth,
        predictions,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    official = json.loads(done.stdout)
    score = score_challenge(*read_pair(predictions, truth))
    assert score.balanced_accuracy == pytest.approx(official["overall"], abs=1e-9)
    shared = [(metric, code, value) for metric, by in official["per_category"].items() for code, value in by.items()]
    assert len(shared) == 9 * 7
    for metric, code, value in shared:
        assert score.per_category.loc[code, metric] == pytest.approx(value, abs=1e-9), (metric, code)
    for metric, value in official["macro_average"].items():
        assert score.macro_average[metric] == pytest.approx(value, abs=1e-9), metric


@pytest.mark.shipped
def test_the_score_and_the_report_agree_where_they_measure_the_same(pair, shipped_model):
    score, report = score_challenge(*read_pair(*pair)), read_report(shipped_model)
    assert round(score.balanced_accuracy, 6) == report.overall["balanced_accuracy"].value
    for label in HAM10000:
        assert round(score.per_category.loc[label.isic_code, "auc"], 6) == report.classes[label.code]["auc"].value
        average = report.classes[label.code]["average_precision"].value
        assert round(score.per_category.loc[label.isic_code, "ap"], 6) == average
    assert not score.official


def drop_truth(predictions, truth):
    return predictions.iloc[1:], truth


def raise_above_1(predictions, truth):
    return predictions.assign(MEL=[1.2, *predictions["MEL"].iloc[1:]]), truth


def add_a_tenth(predictions, truth):
    return predictions.assign(BKL=[predictions["BKL"][0] + 0.1, *predictions["BKL"][1:]]), truth


def double_a_row(predictions, truth):
    return pd.concat([predictions, predictions.iloc[:1]]), truth


def add_a_class(predictions, truth):
    return predictions.assign(SCC=0.0), truth


@pytest.mark.shipped
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (drop_truth, r"Pictures of truth.csv without a row in predictions.csv: ISIC_0024307\."),
        (lambda p, t: (p, t.iloc[1:]), r"Pictures of predictions.csv that are not in truth.csv: ISIC_0024307\."),
        (raise_above_1, r"Probabilities that lie outside 0 to 1 in predictions.csv: ISIC_0024307\."),
        (add_a_tenth, "Probabilities that do not sum to 1 in predictions.csv: ISIC_0024307"),
        (double_a_row, r"Repeated pictures in predictions.csv: ISIC_0024307\."),
        (lambda p, t: (p, pd.concat([t, t.iloc[:1]])), r"Repeated pictures in truth.csv: ISIC_0024307\."),
        (add_a_class, r"Unknown columns in predictions.csv: \['SCC'\]. The classes are: \['MEL', 'NV'"),
        (lambda p, t: (p, t.assign(SCC=0.0)), r"Unknown columns in truth.csv: \['SCC'\]"),
        (lambda p, t: (p.drop(columns="DF"), t), r"Missing columns in predictions.csv: \['DF'\]"),
        (lambda p, t: (p, t.assign(NV=0.0)), "Rows of truth.csv that do not name one class: ISIC_0024307"),
        (lambda p, t: (p.assign(NV="much"), t), "holds? a value that is no number"),
        (lambda p, t: (p.iloc[:0], t), r"predictions.csv has no rows\."),
    ],
)
def test_a_broken_pair_is_refused_with_its_sentence(pair, change, sentence):
    predictions, truth = pair
    tables = change(pd.read_csv(predictions), pd.read_csv(truth))
    for path, table in zip(pair, tables, strict=True):
        table.to_csv(path, index=False)
    with pytest.raises(DataError, match=sentence):
        read_pair(predictions, truth)


@pytest.mark.shipped
def test_the_metadata_format_of_the_truth_is_read_with_its_lesions(pair, tmp_path):
    predictions, truth = pair
    known = pd.read_csv(truth)
    columns = list(HAM10000.isic_order)
    codes = [HAM10000.by_isic_code(columns[index]).code for index in known[columns].to_numpy().argmax(axis=1)]
    other = pd.DataFrame({"image_id": known["image"], "dx": codes, "lesion_id": ["L1", "L1", *known["image"][2:]]})
    other.to_csv(tmp_path / "metadata.csv", index=False)
    table, weights = read_pair(predictions, tmp_path / "metadata.csv")
    assert table["truth"].tolist() == codes
    assert table["lesion"].nunique() == len(table) - 1
    assert weights.sum() == len(table)
    other.assign(dx="scc").to_csv(tmp_path / "metadata.csv", index=False)
    with pytest.raises(DataError, match=r"Unknown diagnoses in metadata\.csv: scc"):
        read_pair(predictions, tmp_path / "metadata.csv")


@pytest.mark.shipped
@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("lesion_id", "", r"truth\.csv has rows without a lesion_id\."),
        ("score_weight", "much", r"A score_weight of truth\.csv is no number of 0 or more\."),
        ("score_weight", -1, r"A score_weight of truth\.csv is no number of 0 or more\."),
        ("score_weight", "", r"A score_weight of truth\.csv is no number of 0 or more\."),
    ],
)
def test_an_odd_truth_is_a_sentence(pair, column, value, sentence):
    predictions, truth = pair
    table = pd.read_csv(truth)
    start = table["image"] if column == "lesion_id" else 1
    table[column] = start
    table[column] = table[column].astype(object)
    table.loc[3, column] = value
    table.to_csv(truth, index=False)
    with pytest.raises(DataError, match=sentence):
        read_pair(predictions, truth)


@pytest.mark.shipped
def test_weights_of_zero_throughout_and_endings_of_file_names(pair):
    predictions, truth = pair
    table = pd.read_csv(truth)
    table.assign(image=table["image"] + ".jpg").to_csv(truth, index=False)
    assert read_pair(predictions, truth)[0]["image"].tolist() == sorted(table["image"])
    table.assign(score_weight=0.0).to_csv(truth, index=False)
    with pytest.raises(DataError, match="every score_weight is 0"):
        read_pair(predictions, truth)


def test_the_official_test_set_is_known_by_its_ids_and_one_picture_is_left_out(tmp_path):
    images = [f"ISIC_{number:07d}" for number in range(34524, 34524 + 1512)]
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"image": images})
    table[list(HAM10000.isic_order)] = rng.dirichlet(np.ones(7), len(images)).round(6)
    table["truth"] = rng.choice(HAM10000.codes, len(images))
    predictions, truth = write_pair(table, tmp_path)
    score = score_challenge(*read_pair(predictions, truth))
    assert score.official
    assert score.pictures == 1511


def test_a_class_that_does_not_occur_is_not_applicable_and_a_tie_is_wrong(tmp_path):
    """The package gives a perfect score for what cannot be computed; here it is NaN."""
    table = pd.DataFrame(0.0, index=range(4), columns=list(HAM10000.isic_order))
    table.insert(0, "image", list("abcd"))
    table["MEL"], table["NV"] = [0.9, 0.5, 0.2, 0.1], [0.1, 0.5, 0.8, 0.9]
    table["truth"] = ["mel", "mel", "nv", "nv"]
    score = score_challenge(table, np.ones(4))
    assert score.balanced_accuracy == pytest.approx(0.75)
    assert np.isnan(score.per_category.loc["DF", ["sensitivity", "ppv", "auc", "ap"]].to_numpy(dtype=float)).all()
    assert score.per_category.loc["DF", "specificity"] == 1
