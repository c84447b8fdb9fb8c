"""Predictive values follow Bayes' theorem; cases like this one are counted by lesion."""

import math

import numpy as np
import pandas as pd
import pytest

from skinai.evaluation.decision_support import find_cases_like, predict_values
from skinai.labels import HAM10000


def test_predictive_values_of_a_worked_example():
    """1,000 lesions, 100 malignant: 90 found, 10 missed; of 900 benign ones 180 sent on."""
    values = predict_values(0.9, 0.8, 0.1)
    assert values.missed == pytest.approx(10)
    assert values.needless == pytest.approx(180)
    assert values.positive == pytest.approx(90 / 270)
    assert values.negative == pytest.approx(720 / 730)


def test_where_nobody_is_called_so_there_is_no_predictive_value():
    assert math.isnan(predict_values(0.0, 1.0, 0.3).positive)
    assert math.isnan(predict_values(1.0, 0.0, 0.3).negative)


def predictions(sums, truths, lesions):
    rows = pd.DataFrame(0.0, index=range(len(sums)), columns=list(HAM10000.isic_order))
    rows["MEL"], rows["NV"] = sums, 1 - np.array(sums)
    return rows.assign(truth=truths, lesion=lesions)


def test_the_nearest_lesions_are_counted_once_each():
    table = predictions([0.9, 0.9, 0.8, 0.01, 0.02], ["mel", "mel", "nv", "nv", "nv"], ["a", "a", "b", "c", "d"])
    like = find_cases_like(table, 0.85, count=2)
    assert (like.lesions, like.malignant) == (2, 1)
    assert (like.least, like.greatest) == pytest.approx((0.8, 0.9))
    assert like.low == pytest.approx(0.0945, abs=1e-3)  # Wilson's interval of 1 in 2
    assert like.high == pytest.approx(0.9055, abs=1e-3)


def test_few_lesions_are_all_taken_and_certainty_is_never_claimed():
    like = find_cases_like(predictions([0.0, 1.0], ["nv", "nv"], ["a", "b"]), 0.5, count=100)
    assert (like.lesions, like.malignant, like.low) == (2, 0, 0.0)
    assert like.high > 0.5
