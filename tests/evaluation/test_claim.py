"""The leak and the mixed-up order are shown on the same network's figures."""

import pytest

from skinai.evaluation.claim import compare_splits, show_under_orders
from skinai.evaluation.report import read_report
from skinai.labels import CIRCULATING_ORDERS, HAM10000
from skinai.model.bundle import models_folder

pytestmark = pytest.mark.shipped


@pytest.fixture
def reports():
    return [read_report(models_folder() / name) for name in ("ham10000-seed-cnn", "ham10000-seed-cnn-by-picture")]


def test_every_order_in_circulation_has_all_seven_classes():
    assert CIRCULATING_ORDERS["alphabetical codes"] == HAM10000.codes
    assert tuple(code.lower() for code in HAM10000.isic_order) == CIRCULATING_ORDERS["ISIC challenge tables"]
    assert all(sorted(order) == sorted(HAM10000.codes) for order in CIRCULATING_ORDERS.values())


def test_under_kaggles_order_melanoma_shows_the_naevis_figure(reports):
    report = reports[0]
    shown = show_under_orders(report)
    right = {code: report.classes[code]["f1"] for code in HAM10000.codes}
    assert shown["alphabetical codes"] == right
    assert shown["Kaggle's hmnist tables"]["mel"] == right["nv"]
    assert shown["Kaggle's hmnist tables"]["bkl"] == right["bkl"]
    assert shown["Kaggle's hmnist tables"]["nv"] == right["vasc"]
    assert shown["pandas categories of the full names"]["nv"] == right["mel"]
    assert shown["ISIC challenge tables"]["akiec"] == right["mel"]


def test_the_split_by_picture_scores_melanoma_higher(reports):
    found = {(one.code, one.name): one for one in compare_splits(*reports)}
    melanoma = found["mel", "recall"]
    assert melanoma.difference.value == pytest.approx(melanoma.by_picture.value - melanoma.by_lesion.value, abs=1e-4)
    assert melanoma.difference.low > 0
    assert len(found) == 6 + 3 * len(HAM10000)
