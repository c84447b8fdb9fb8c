"""Each point of a curve is what a threshold, a bin or a coverage does, worked by hand."""

import numpy as np
import pandas as pd
import pytest

from skinai.artefacts import read_gzip, write_gzip
from skinai.errors import DataError
from skinai.evaluation.curves import MALIGNANT, TOP, Curves, compute_curves, read_curves, write_curves
from skinai.evaluation.figures import LIGHT, draw_decision_curve, draw_precision_recall
from skinai.labels import build_label_set

LABELS = build_label_set("two", ["bad", "good"], malignant=["bad"])
# Five pictures: the probability of `bad` and what they are.
BAD = np.array([0.92, 0.61, 0.35, 0.12, 0.04])
TRUTH = np.array([0, 1, 0, 1, 1])


@pytest.fixture
def curves():
    weights = np.vstack([np.ones(5), np.random.default_rng(0).integers(0, 3, (200, 5)) + (np.arange(5) == 0)])
    return compute_curves(TRUTH, np.stack([BAD, 1 - BAD], axis=1), weights, LABELS)


def at(table, place):
    return table.iloc[(table["at"] - place).abs().argmin()]


def test_a_threshold_counts_what_reaches_it(curves):
    table = curves.frame("threshold", MALIGNANT)
    row = at(table, 0.35)
    assert (row["sensitivity"], row["specificity"], row["precision"]) == pytest.approx((1, 0.6667, 0.6667), abs=1e-4)
    assert row["negative_predictive_value"] == 1
    assert (row["sensitivity_n"], row["specificity_n"], row["precision_n"]) == (2, 3, 3)
    row = at(table, 0.36)
    assert (row["sensitivity"], row["specificity"]) == pytest.approx((0.5, 0.6667), abs=1e-4)
    assert table["at"].is_monotonic_increasing
    assert table["sensitivity"].is_monotonic_decreasing
    assert np.isnan(at(table, 0.99)["precision"])
    assert np.isnan(at(table, 0.99)["precision_low"])


def test_a_threshold_is_marked_only_where_the_chart_has_it(curves):
    table = curves.frame("threshold", MALIGNANT)
    for at, marks in ((0.3, 1), (0.91, 0)):
        names = [trace.name for trace in draw_decision_curve(table, LIGHT, at=at).data]
        assert names.count("threshold") == marks
    nothing = table.assign(sensitivity=np.nan, precision=np.nan)
    assert "threshold" not in [trace.name for trace in draw_precision_recall(nothing, LIGHT, at=0.3).data]


def test_net_benefit_weighs_false_alarms_by_the_odds_of_the_threshold(curves):
    table = curves.frame("threshold", MALIGNANT)
    # At .2: two found and one false alarm of five; acting on everybody, two and three.
    assert at(table, 0.2)["net_benefit"] == pytest.approx(2 / 5 - 1 / 5 * 0.25, abs=1e-4)
    assert at(table, 0.2)["net_benefit_of_all"] == pytest.approx(2 / 5 - 3 / 5 * 0.25, abs=1e-4)


def test_calibration_bins_hold_what_was_said_and_what_came_true(curves):
    table = curves.frame("calibration", MALIGNANT)
    assert table["share_n"].tolist() == [1, 1, 0, 1, 0, 0, 1, 0, 0, 1]
    assert table["mean_probability"].dropna().tolist() == [0.04, 0.12, 0.35, 0.61, 0.92]
    assert table["share"].dropna().tolist() == [0, 0, 1, 0, 1]
    assert curves.frame("calibration", TOP)["share_n"].sum() == 5


def test_risk_is_the_share_of_wrong_answers_among_the_most_certain(curves):
    """Certainties .96 (right), .92 (right), .88 (right), .65 (wrong), .61 (wrong)."""
    table = curves.frame("risk", TOP)
    assert at(table, 0.6)["error"] == 0
    assert at(table, 0.8)["error"] == 0.25
    assert at(table, 1.0)["error"] == 0.4
    assert at(table, 1.0)["error_n"] == 5


def test_intervals_hold_their_figures_and_a_missing_curve_is_named(curves):
    known = curves.table.dropna(subset=["low"])
    assert (known["low"] <= known["high"]).all()
    with pytest.raises(KeyError, match="There is no threshold curve of ugly"):
        curves.frame("threshold", "ugly")


def test_no_malignant_class_means_no_malignant_curve():
    labels = build_label_set("two", ["a", "b"])
    weights = np.ones((3, 5))
    found = compute_curves(TRUTH, np.stack([BAD, 1 - BAD], axis=1), weights, labels)
    assert found.targets("threshold") == ["a", "b"]


def test_curves_are_read_back_as_written_and_damage_is_named(curves, tmp_path):
    write_curves(curves, tmp_path)
    pd.testing.assert_frame_equal(read_curves(tmp_path).table, curves.table, check_dtype=False)
    assert isinstance(read_curves(tmp_path), Curves)
    write_gzip(tmp_path / "curves.csv.gz", b"a,b\n1,2\n")
    with pytest.raises(DataError, match="has the columns"):
        read_curves(tmp_path)
    (tmp_path / "curves.csv.gz").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is damaged"):
        read_curves(tmp_path)
    (tmp_path / "curves.csv.gz").unlink()
    with pytest.raises(DataError, match="does not exist"):
        read_curves(tmp_path)


def test_a_row_with_a_value_too_many_or_too_few_is_a_sentence(curves, tmp_path):
    write_curves(curves, tmp_path)
    header, first, *rest = read_gzip(tmp_path / "curves.csv.gz").decode().splitlines()
    for torn in (f"{first},1", first.rpartition(",")[0]):
        write_gzip(tmp_path / "curves.csv.gz", "\n".join([header, torn, *rest]).encode())
        with pytest.raises(DataError, match=r"Row 2 of curves\.csv\.gz has \d values and its header 8 names"):
            read_curves(tmp_path)


def test_equally_certain_answers_count_alike_whatever_their_order():
    weights = np.ones((2, 4))
    sure = np.array([[1.0, 0.0]] * 4)
    for truth in ([0, 0, 1, 1], [1, 1, 0, 0]):
        table = compute_curves(np.array(truth), sure, weights, LABELS).frame("risk", TOP)
        assert (table["error"] == 0.5).all()


def test_classes_called_malignant_and_top_have_curves_of_their_own():
    labels = build_label_set("odd", ["malignant", "top"], malignant=["malignant"])
    found = compute_curves(TRUTH, np.stack([BAD, 1 - BAD], axis=1), np.ones((3, 5)), labels)
    assert found.targets("threshold") == [MALIGNANT, "malignant", "top"]
    assert len(found.targets("calibration")) == 4
