"""Two models are compared on the same lesions."""

import shutil

import numpy as np
import pytest
from conftest import make_photograph_predictions

from skinai.data.predictions import read_predictions, write_predictions
from skinai.errors import DataError
from skinai.evaluation.comparison import compare_predictions, subtract
from skinai.evaluation.estimate import Estimate
from skinai.labels import HAM10000
from skinai.model.bundle import DEFAULT_MODEL, models_folder


@pytest.fixture
def two(small_model, tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        shutil.copy(small_model / "predictions_valid.csv", folder)
    return folders


def test_a_model_compared_with_itself_differs_by_nothing(two):
    found = compare_predictions(*two)
    table = found.frame()
    assert len(table) == len(found.overall) + 5 * len(HAM10000)
    assert set(table["class"]) == {"", *HAM10000.codes}
    for one in [*found.overall.values(), *(one for figures in found.classes.values() for one in figures.values())]:
        assert one.first == one.second or np.isnan(one.first)
        assert (one.difference.value, one.difference.low, one.difference.high) == (0, 0, 0) or np.isnan(one.first)
    assert (found.mcnemar.only_first, found.mcnemar.only_second, found.mcnemar.p_value) == (0, 0, 1.0)


def test_a_model_that_is_always_right_wins_with_an_interval_above_zero(two):
    table = read_predictions(two[1] / "predictions_valid.csv")
    columns = list(HAM10000.isic_order)
    table[columns] = np.eye(len(columns))[[columns.index(HAM10000.by_code(code).isic_code) for code in table["truth"]]]
    write_predictions(table, two[1] / "predictions_valid.csv")
    result = compare_predictions(*two)
    assert result.overall["accuracy"].second == 1
    assert result.overall["accuracy"].difference.low > 0
    assert result.overall["log_loss"].second == 0
    assert result.overall["log_loss"].difference.high < 0
    assert result.classes["mel"]["recall"].second == 1
    assert result.mcnemar.only_first == 0
    # Exact and two-sided: all k lesions on one side come about by chance with 2 / 2^k.
    assert result.mcnemar.p_value == pytest.approx(min(1, 2 / 2**result.mcnemar.only_second))


def test_a_patient_with_two_diseases_is_compared_for_each_of_them(photographs, tmp_path):
    """Averaged over both, the answers would be right for one of them at most."""
    table = make_photograph_predictions(photographs)
    columns = list(photographs.isic_order)
    perfect = table.copy()
    perfect[columns] = np.eye(len(columns))[[photographs.index(code) for code in table["truth"]]]
    for name, one in (("a", table), ("b", perfect)):
        (tmp_path / name).mkdir()
        write_predictions(one, tmp_path / name / "predictions_valid.csv")
    found = compare_predictions(tmp_path / "a", tmp_path / "b", labels=photographs)
    pairs = table.groupby(["lesion", "truth"]).ngroups
    assert pairs > table["lesion"].nunique()
    assert found.mcnemar.lesions == pairs
    assert found.mcnemar.only_first == 0
    assert found.unit == "case"
    assert "malignant_auc" not in found.overall


def test_other_pictures_are_not_compared(two):
    table = read_predictions(two[1] / "predictions_valid.csv")
    write_predictions(table.iloc[1:], two[1] / "predictions_valid.csv")
    with pytest.raises(DataError, match="do not answer for the same pictures"):
        compare_predictions(*two)


def test_the_difference_of_two_test_sets_has_the_interval_worked_by_hand():
    """Each end is as far from the difference as the two intervals' ends are, in squares."""
    found = subtract(Estimate(0.9, 50, 0.86, 0.93), Estimate(0.8, 80, 0.7, 0.83))
    assert found == Estimate(0.1, 50, 0.05, round(0.1 + (0.03**2 + 0.1**2) ** 0.5, 6))
    assert np.isnan(subtract(Estimate(np.nan, 0, np.nan, np.nan), Estimate(0.8, 80, 0.7, 0.83)).low)


@pytest.mark.shipped
def test_the_ensemble_beats_the_first_network_on_the_same_lesions():
    found = compare_predictions(models_folder() / DEFAULT_MODEL, models_folder() / "ham10000-seed-cnn", subset="test")
    assert found.pictures == 1662
    assert found.overall["accuracy"].difference.high < 0
    assert found.mcnemar.only_first > found.mcnemar.only_second
    assert found.mcnemar.p_value < 0.001
