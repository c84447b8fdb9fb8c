"""A report is made from one table of predictions and says which."""

import json
import math
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from conftest import SHIPPED_REPORTS, make_photograph_predictions, make_predictions

from skinai.data.predictions import read_predictions
from skinai.errors import DataError
from skinai.evaluation.decision import fit_decision, read_decision
from skinai.evaluation.estimate import Estimate
from skinai.evaluation.report import (
    KINDS,
    SCORES,
    evaluate_predictions,
    evaluate_table,
    read_report,
    write_report,
)
from skinai.exports.text import format_report
from skinai.labels import HAM10000, build_label_set
from skinai.model.bundle import load_bundle, models_folder


@pytest.fixture
def report(small_model):
    return evaluate_predictions(
        small_model / "predictions_test.csv", model_name="small", fingerprint="abc", subset="test"
    )


def test_every_figure_has_its_n_and_its_interval(report):
    assert report.pictures == report.confusion.sum()
    for name, estimate in report.overall.items():
        assert estimate.n == report.pictures
        assert -1 <= estimate.low <= estimate.value <= estimate.high <= 1
        assert estimate.low >= 0 or name == "cohens_kappa"
    for code, figures in report.classes.items():
        index = HAM10000.index(code)
        assert figures["recall"].n == report.confusion[index].sum()
        assert figures["precision"].n == report.confusion[:, index].sum()
        assert report.class_lesions[code] <= figures["recall"].n


def test_the_report_is_read_back_as_it_was_written(report, small_model, tmp_path):
    shutil.copy(small_model / "predictions_test.csv", tmp_path)
    write_report(report, tmp_path)
    again = read_report(tmp_path)
    assert again.as_dict() == report.as_dict()
    for kind in KINDS:
        pd.testing.assert_frame_equal(again.frame(kind), report.frame(kind), check_dtype=False)
        assert again.figure(kind).to_json() == report.figure(kind).to_json()
    with pytest.raises(KeyError, match="There is no chart called pie"):
        report.frame("pie")


def test_the_same_predictions_give_the_same_report(report, small_model):
    again = evaluate_predictions(
        small_model / "predictions_test.csv", model_name="small", fingerprint="abc", subset="test"
    )
    assert again.as_dict() == report.as_dict()


def test_not_applicable_is_null_on_disk_and_words_on_screen():
    nothing = Estimate(math.nan, 0, math.nan, math.nan)
    assert nothing.as_dict() == {"value": None, "n": 0, "interval": None}
    assert str(nothing) == "not applicable"
    assert math.isnan(Estimate.from_dict(nothing.as_dict()).value)
    assert str(Estimate(0.5, 10, 0.4, 0.6)) == "0.500 (0.400 to 0.600)"


def test_a_report_of_other_predictions_is_refused(small_model, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "model")
    path = folder / "predictions_test.csv"
    path.write_text(path.read_text().replace("0.1", "0.2", 1))
    with pytest.raises(DataError, match=r"was not made from the predictions_test\.csv"):
        read_report(folder)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda facts: facts["order"].reverse(), "has the class order"),
        (lambda facts: facts.pop("overall"), "is damaged"),
        (lambda facts: facts.update(confusion=[[1]]), "is damaged"),
        (lambda facts: facts.pop("format"), "was written by another version of skinai; .* makes it anew"),
        (lambda facts: facts.update(curves_sha256="0"), r"curves.csv.gz in .* is not the one"),
    ],
)
def test_a_damaged_report_is_refused(small_model, tmp_path, edit, sentence):
    folder = shutil.copytree(small_model, tmp_path / "model")
    facts = json.loads((folder / "report.json").read_text())
    edit(facts)
    (folder / "report.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=sentence):
        read_report(folder)


def test_a_missing_report_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match="has not been evaluated yet"):
        read_report(tmp_path)


def test_benign_answers_to_malignant_pictures_are_counted(report):
    rows = [HAM10000.index(code) for code in ("akiec", "bcc", "mel")]
    columns = [HAM10000.index(code) for code in ("bkl", "df", "nv", "vasc")]
    expected = int(report.confusion[np.ix_(rows, columns)].sum()), int(report.confusion[rows].sum())
    assert report.count_benign_first("akiec", "bcc", "mel") == expected


def test_a_figure_is_drawn_from_the_frame_and_nothing_else(report):
    """What a chart shows is what its table says, so that page, file and paper cannot disagree."""
    classes = report.frame("classes")
    assert list(report.figure("classes", option="recall").data[0].x) == pytest.approx(
        classes["recall"].tolist(), nan_ok=True
    )
    cells = report.frame("confusion")
    texts = [note.text for note in report.figure("confusion").layout.annotations]
    assert texts == [f"{count:,}" for count in cells["pictures"]]
    assert cells["pictures"].sum() == report.pictures
    roc = report.frame("roc", "nv")
    assert list(report.figure("roc", "nv").data[0].y) == pytest.approx(roc["sensitivity"].tolist())
    risk = report.frame("coverage_risk")
    assert risk["error"].iloc[-1] == pytest.approx(1 - report.overall["accuracy"].value, abs=1e-3)


def test_rules_that_were_changed_after_the_report_are_not_shown_as_its_own(small_model, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "model")
    before = read_report(folder)
    assert before.decision["coverage"].n == before.pictures
    fit_decision(folder, fingerprint=before.fingerprint, names=["sensitivity_0.80"])
    after = read_report(folder)
    assert set(after.decision) <= {"refused", "calibration_error_before"}
    assert after.subgroups == ()
    assert after.overall == before.overall


@pytest.mark.shipped
def test_the_shipped_report_follows_from_the_shipped_predictions(shipped_model):
    bundle = load_bundle(shipped_model)
    stored = read_report(shipped_model)
    made = evaluate_predictions(
        shipped_model / "predictions_test.csv",
        model_name=bundle.name,
        fingerprint=bundle.fingerprint,
        subset="test",
        decision=read_decision(shipped_model, fingerprint=bundle.fingerprint),
        calibration=bundle.facts["calibration"],
    )
    assert made.as_dict() == stored.as_dict()
    assert stored.fingerprint == bundle.fingerprint


@pytest.mark.alone
@pytest.mark.shipped
def test_a_report_of_1500_pictures_takes_under_10_seconds(shipped_model):
    """2,000 draws of whole lesions for every figure; on an idle machine it takes about 4 s."""
    start = time.perf_counter()
    report = evaluate_predictions(
        shipped_model / "predictions_test.csv", model_name="x", fingerprint="x", subset="test"
    )
    assert time.perf_counter() - start < 10
    assert report.pictures > 1500


@pytest.mark.shipped
def test_the_shipped_model_keeps_its_promise(shipped_model):
    report = read_report(shipped_model)
    assert report.overall["balanced_accuracy"].value >= 0.69
    assert report.overall["accuracy"].value >= 0.83
    assert report.scores["malignant_auc"].value >= 0.92
    assert report.pictures >= 1_600
    assert np.isfinite([estimate.low for estimate in report.overall.values()]).all()


@pytest.mark.shipped
def test_every_look_at_test_is_in_the_log(shipped_model):
    log = (shipped_model.parent / "TEST_LOG.md").read_text().splitlines()
    for name in SHIPPED_REPORTS:
        fingerprint = read_report(shipped_model.parent / name).fingerprint
        looks = [line for line in log if f"| {fingerprint} |" in line]
        # The probabilities were looked at once; a gate that is fitted anew looks again, for its refusals alone.
        assert sum("| the gate was fitted " not in line for line in looks) == 1
        assert all("probabilities are the same" in line for line in looks[1:])


@pytest.mark.shipped
def test_calibration_brought_the_error_down_to_what_was_promised(shipped_model):
    report = read_report(shipped_model)
    before, after = report.decision["calibration_error_before"], report.scores["expected_calibration_error"]
    assert after.high <= 0.03
    assert before.low > after.high
    calibration = load_bundle(shipped_model).facts["calibration"]
    kept = json.loads((shipped_model / "decision.json").read_text())["calibration"]
    assert (kept["temperature"], kept["offset"]) == (calibration["temperature"], list(calibration["offset"]))


@pytest.mark.parametrize("name", SHIPPED_REPORTS)
def test_every_interval_holds_its_figure(name):
    report = read_report(models_folder() / name)
    figures = [*report.overall.values(), *report.scores.values(), *report.decision.values()]
    figures += [estimate for of_class in report.classes.values() for estimate in of_class.values()]
    assert len(figures) > 40
    for estimate in figures:
        assert np.isnan(estimate.value) or estimate.low <= estimate.value <= estimate.high


def test_top_3_accuracy_is_the_one_worked_by_hand_and_its_baseline_is_the_three_most_frequent():
    labels = build_label_set("five", ["a", "b", "c", "d", "e"])
    rows = {"a": 5, "b": 4, "c": 1, "d": 2, "e": 3}
    truths = [code for code, count in rows.items() for _ in range(count)]
    table = make_predictions(truths, mel=np.zeros(len(truths)))
    # b, c and d are the most probable ones of every picture; a and e never are.
    for code, value in zip(labels.isic_order, (0.1, 0.3, 0.25, 0.3, 0.05), strict=True):
        table[code] = value
    report = evaluate_table(table, model_name="x", labels=labels)
    found, baseline = report.scores["top3_accuracy"], report.baseline["top3_accuracy"]
    assert (found.value, found.n) == (pytest.approx(7 / 15, abs=1e-6), 15)
    assert (baseline.value, baseline.n) == (pytest.approx(12 / 15, abs=1e-6), 15)
    assert report.baseline_code == "a"
    for one in (found, baseline):
        assert 0 <= one.low < one.value < one.high <= 1
    again = report.as_dict()
    assert again["scores"]["top3_accuracy"]["value"] == found.value
    assert again["baseline"]["top3_accuracy"]["value"] == baseline.value


def test_top_3_accuracy_is_not_applicable_with_fewer_than_five_classes():
    labels = build_label_set("four", ["a", "b", "c", "d"])
    table = make_predictions(["a", "b", "c", "d"] * 3, mel=np.zeros(12))
    for code in labels.isic_order:
        table[code] = 0.25
    report = evaluate_table(table, model_name="x", labels=labels)
    for figures in (report.scores, report.baseline):
        assert str(figures["top3_accuracy"]) == "not applicable"


def test_a_top_3_accuracy_is_at_least_the_accuracy_and_drawn_by_lesion(report):
    assert report.overall["accuracy"].value <= report.scores["top3_accuracy"].value <= 1
    assert report.scores["top3_accuracy"].n == report.pictures


def test_twelve_classes_of_which_none_is_malignant_have_every_figure_but_the_malignant_ones(photographs):
    table = make_photograph_predictions(photographs)
    report = evaluate_table(table, model_name="x", labels=photographs)
    shown = report.applicable_scores
    assert set(SCORES) - set(shown) == {name for name in SCORES if name.startswith("malignant_")}
    assert all(np.isnan(report.scores[name].value) for name in set(SCORES) - set(shown))
    assert np.isfinite([one.low for one in [*shown.values(), *report.overall.values()]]).all()
    assert report.as_dict()["intervals"]["method"] == "percentile bootstrap by case"
    assert (report.pictures, report.lesions) == (300, table["lesion"].nunique())
    # A patient with two diseases is a case of both.
    assert sum(report.class_lesions.values()) > report.lesions
    for kind in ("confusion", "classes", "calibration", "coverage_risk", "subgroups"):
        assert report.figure(kind).data
    with pytest.raises(KeyError):
        report.frame("decision_curve")


@pytest.mark.shipped
def test_under_a_split_by_picture_the_intervals_say_what_they_draw(shipped_model):
    folder = shipped_model.parent / "ham10000-seed-cnn-by-picture"
    stored = read_report(folder)
    assert stored.drawn == "picture"
    table = read_predictions(folder / "predictions_test.csv")
    assert evaluate_table(table, model_name="x").drawn == "picture"
    assert "95 % intervals: bootstrap by picture" in format_report(stored)


def test_a_matrix_of_long_codes_is_higher_and_its_heads_are_turned(photographs, report):
    table = make_photograph_predictions(photographs)
    long = evaluate_table(table, model_name="x", labels=photographs)
    small, large = (one.figure("confusion").layout for one in (report, long))
    assert small.xaxis.tickangle is None
    assert large.xaxis.tickangle < 0
    assert large.height / 12 >= small.height / 7
    assert long.figure("classes").layout.height / 12 > 40
