"""Two models are compared on the same lesions."""

import shutil

import numpy as np
import pytest

from skinai.data.predictions import read_predictions, write_predictions
from skinai.errors import DataError
from skinai.evaluation.comparison import compare_predictions
from skinai.labels import HAM10000


@pytest.fixture
def two(small_model, tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        shutil.copy(small_model / "predictions_valid.csv", folder)
    return folders


def test_a_model_compared_with_itself_differs_by_nothing(two):
    for a, b, difference in compare_predictions(*two).values():
        assert a == b
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_a_model_that_is_always_right_wins_with_an_interval_above_zero(two):
    table = read_predictions(two[1] / "predictions_valid.csv")
    columns = list(HAM10000.isic_order)
    table[columns] = np.eye(len(columns))[[columns.index(HAM10000.by_code(code).isic_code) for code in table["truth"]]]
    write_predictions(table, two[1] / "predictions_valid.csv")
    result = compare_predictions(*two)
    assert result["accuracy"][1] == 1
    assert result["accuracy"][2].low > 0
    assert result["log_loss"][1] == 0
    assert result["log_loss"][2].high < 0


def test_other_pictures_are_not_compared(two):
    table = read_predictions(two[1] / "predictions_valid.csv")
    write_predictions(table.iloc[1:], two[1] / "predictions_valid.csv")
    with pytest.raises(DataError, match="were not validated on the same pictures"):
        compare_predictions(*two)
