"""Every figure equals scikit-learn's, and what is undefined is NaN."""

import numpy as np
import pytest
from sklearn import metrics as reference

from skinai.evaluation import metrics


@pytest.fixture
def answers():
    rng = np.random.default_rng(8)
    truth = rng.choice(4, 500, p=[0.6, 0.25, 0.1, 0.05])
    chosen = np.where(rng.random(500) < 0.7, truth, rng.integers(0, 4, 500))
    return truth, chosen


def test_the_figures_equal_scikit_learns(answers):
    truth, chosen = answers
    confusion = metrics.confusion_matrix(truth, chosen, 4)
    assert (confusion == reference.confusion_matrix(truth, chosen)).all()
    precision, recall, f1, _ = reference.precision_recall_fscore_support(truth, chosen)
    np.testing.assert_allclose(metrics.precision(confusion), precision)
    np.testing.assert_allclose(metrics.recall(confusion), recall)
    np.testing.assert_allclose(metrics.f1_score(confusion), f1)
    assert metrics.accuracy(confusion) == pytest.approx(reference.accuracy_score(truth, chosen))
    assert metrics.balanced_accuracy(confusion) == pytest.approx(reference.balanced_accuracy_score(truth, chosen))
    assert metrics.macro_f1(confusion) == pytest.approx(reference.f1_score(truth, chosen, average="macro"))
    assert metrics.weighted_f1(confusion) == pytest.approx(reference.f1_score(truth, chosen, average="weighted"))


def test_the_truth_is_among_the_first_as_often_as_scikit_learn_finds_and_of_equals_the_first_counts():
    rng = np.random.default_rng(9)
    truth, probabilities = rng.integers(0, 6, 400), rng.dirichlet(np.ones(6), 400)
    for count in (1, 2, 3):
        expected = reference.top_k_accuracy_score(truth, probabilities, k=count)
        assert metrics.top_hits(probabilities, truth, count).mean() == pytest.approx(expected)
    alike = np.full((5, 5), 0.2)
    assert metrics.top_hits(alike, np.arange(5), 3).tolist() == [True, True, True, False, False]


def test_what_is_undefined_is_nan_and_neither_0_nor_1():
    confusion = np.array([[3, 1, 0], [2, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(metrics.precision(confusion), [0.6, 0.0, np.nan])
    np.testing.assert_array_equal(metrics.recall(confusion), [0.75, 0.0, np.nan])
    np.testing.assert_allclose(metrics.f1_score(confusion), [2 / 3, 0.0, np.nan])
    assert metrics.balanced_accuracy(confusion) == pytest.approx(0.375)
    assert metrics.macro_f1(confusion) == pytest.approx(1 / 3)
    assert metrics.weighted_f1(confusion) == pytest.approx(4 / 6 * 2 / 3)
    assert np.isnan(metrics.accuracy(np.zeros((2, 2), int)))


def test_always_naevus_scores_what_the_evidence_says():
    """.669 accuracy and .143 balanced accuracy on all of HAM10000."""
    counts = np.array([327, 514, 1099, 115, 1113, 6705, 142])
    confusion = np.zeros((7, 7), int)
    confusion[:, 5] = counts
    assert metrics.accuracy(confusion) == pytest.approx(0.669, abs=5e-4)
    assert metrics.balanced_accuracy(confusion) == pytest.approx(1 / 7)


def test_draws_keep_lesions_whole():
    """Two lesions of three pictures each: every draw holds 0, 3 or 6 pictures of a lesion."""
    truth = np.array([0, 0, 0, 1, 1, 1])
    chosen = np.array([0, 0, 1, 1, 1, 0])
    draws = metrics.resample_confusion(truth, chosen, np.array(list("aaabbb")), 2, draws=400, seed=1)
    assert draws.shape == (400, 2, 2)
    assert (draws.sum(axis=(1, 2)) == 6).all()
    assert {tuple(draw) for draw in draws.sum(axis=2)} == {(6, 0), (3, 3), (0, 6)}


def test_intervals_by_lesion_are_wider_where_lesions_have_several_pictures(answers):
    truth, chosen = answers
    truth, chosen = np.repeat(truth, 4), np.repeat(chosen, 4)
    lesions, pictures = np.repeat(np.arange(500), 4), np.arange(2000)

    def width(groups):
        draws = metrics.resample_confusion(truth, chosen, groups, 4, draws=2000, seed=2)
        low, high = metrics.percentile_interval(metrics.accuracy(draws))
        return high - low

    assert width(lesions) == pytest.approx(2 * width(pictures), rel=0.12)


def test_the_interval_covers_the_true_value_about_95_times_in_100():
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(300):
        chosen = (rng.random(150) < 0.8).astype(int)
        draws = metrics.resample_confusion(np.ones(150, int), chosen, np.arange(150), 2, draws=400, seed=trial)
        low, high = metrics.percentile_interval(metrics.accuracy(draws))
        covered += bool(low <= 0.8 <= high)
    assert 0.91 <= covered / 300 <= 0.98


def test_an_interval_is_undefined_where_the_figure_mostly_is():
    draws = np.array([[0.5, np.nan], [0.6, np.nan], [0.7, 0.1]])
    low, high = metrics.percentile_interval(draws)
    assert low[0] == pytest.approx(0.505)
    assert high[0] == pytest.approx(0.695)
    assert np.isnan([low[1], high[1]]).all()


@pytest.fixture
def scores():
    rng = np.random.default_rng(3)
    positive = rng.random(400) < 0.3
    score = np.round(rng.normal(positive * 1.2, 1.0), 1)  # rounded, so that there are ties
    return positive, score, rng.integers(0, 4, size=(5, 400))


def test_the_area_under_the_curve_equals_scikit_learns(scores):
    positive, score, weights = scores
    got = metrics.roc_auc(positive, score, weights)
    expected = [reference.roc_auc_score(positive, score, sample_weight=row) for row in weights]
    np.testing.assert_allclose(got, expected)
    assert metrics.roc_auc(positive, score, np.ones(400)) == pytest.approx(reference.roc_auc_score(positive, score))
    assert np.isnan(metrics.roc_auc(np.zeros(3, bool), np.arange(3.0), np.ones(3)))


def test_sensitivity_at_specificity_is_on_scikit_learns_curve(scores):
    positive, score, weights = scores
    for row in weights:
        false_positive, true_positive, _ = reference.roc_curve(
            positive, score, sample_weight=row, drop_intermediate=False
        )
        expected = true_positive[false_positive <= 0.2 + 1e-9].max()
        assert metrics.sensitivity_at_specificity(positive, score, row, specificity=0.8) == pytest.approx(expected)
    assert np.isnan(metrics.sensitivity_at_specificity(np.ones(3, bool), np.arange(3.0), np.ones(3), specificity=0.8))


def test_the_calibration_error_is_the_weighted_gap_of_the_bins():
    right = np.array([True, False, True, True])
    probability = np.array([0.55, 0.55, 0.9, 0.9])
    assert metrics.expected_calibration_error(right, probability, np.ones(4)) == pytest.approx((0.05 * 2 + 0.1 * 2) / 4)
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 0]])
    got = metrics.expected_calibration_error(right, probability, weights)
    assert got[1] == pytest.approx((0.45 * 2 + 0.1) / 3)
    assert metrics.expected_calibration_error(right, np.ones(4), np.ones(4)) == pytest.approx(0.25)


def test_weights_keep_lesions_whole_and_agree_with_the_confusions():
    groups = np.array(list("aabc"))
    weights = metrics.resample_weights(groups, draws=50, seed=4)
    assert (weights[:, 0] == weights[:, 1]).all()
    drawn = metrics.resample_confusion(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 2]), groups, 3, draws=50, seed=4)
    np.testing.assert_array_equal(drawn[:, 1, 1], weights[:, 2])


def test_specificity_and_kappa_are_those_worked_by_hand_and_scikit_learns(answers):
    confusion = np.array([[40, 10], [5, 45]])
    np.testing.assert_allclose(metrics.specificity(confusion), [45 / 50, 40 / 50])
    # Observed .85; by chance .5 x .45 + .5 x .55 = .5.
    assert metrics.cohens_kappa(confusion) == pytest.approx(0.7)
    truth, chosen = answers
    confusion = metrics.confusion_matrix(truth, chosen, 4)
    assert metrics.cohens_kappa(confusion) == pytest.approx(reference.cohen_kappa_score(truth, chosen))
    for index, value in enumerate(metrics.specificity(confusion)):
        expected = reference.recall_score(truth != index, chosen != index)
        assert value == pytest.approx(expected)
    assert np.isnan(metrics.cohens_kappa(np.array([[7, 0], [0, 0]])))
    assert np.isnan(metrics.specificity(np.array([[7, 0], [0, 0]]))[0])


def test_average_precision_is_scikit_learns_also_with_ties_and_weights():
    rng = np.random.default_rng(3)
    positive = rng.random(300) < 0.2
    score = np.round(rng.random(300) * 0.5 + 0.3 * positive, 1)
    weights = rng.integers(0, 3, 300).astype(float)
    both = np.vstack([np.ones(300), weights])
    found = metrics.average_precision(positive, score, both)
    for value, weight in zip(found, both, strict=True):
        assert value == pytest.approx(reference.average_precision_score(positive, score, sample_weight=weight))
    assert np.isnan(metrics.average_precision(np.zeros(3, bool), np.arange(3.0), np.ones(3)))
    # By hand: found at ranks 1 and 3, precision 1 and 2/3, half of the positives each.
    hand = metrics.average_precision(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]), np.ones(4))
    assert hand == pytest.approx((1 + 2 / 3) / 2)


def test_specificity_at_a_sensitivity_is_the_one_worked_by_hand():
    positive = np.array([True, True, True, True, False, False, False, False])
    score = np.array([0.9, 0.8, 0.6, 0.2, 0.7, 0.5, 0.3, 0.1])
    ones = np.ones(8)
    # Three of four are found from .6 on, with one of four benign ones above; all four from .2 on, with three.
    assert metrics.specificity_at_sensitivity(positive, score, ones, sensitivity=0.75) == pytest.approx(0.75)
    assert metrics.specificity_at_sensitivity(positive, score, ones, sensitivity=1.0) == pytest.approx(0.25)
    assert np.isnan(metrics.specificity_at_sensitivity(np.ones(3, bool), score[:3], np.ones(3), sensitivity=0.8))


def test_log_loss_and_brier_score_are_scikit_learns():
    rng = np.random.default_rng(4)
    probabilities = rng.dirichlet(np.ones(4), 200)
    truth = rng.integers(0, 4, 200)
    assert metrics.log_losses(probabilities, truth).mean() == pytest.approx(reference.log_loss(truth, probabilities))
    by_hand = metrics.brier_scores(np.array([[0.7, 0.2, 0.1]]), np.array([1]))
    assert by_hand[0] == pytest.approx(0.49 + 0.64 + 0.01)
    assert metrics.brier_scores(np.array([[0.0, 1.0]]), np.array([0]))[0] == 2


def test_the_95_percent_interval_holds_the_truth_in_93_to_97_percent_of_simulations():
    """400 lesions of one to four pictures that are alike: what pictures drawn one by one would get wrong.

    The true accuracy is .8 by construction.
    """
    rng = np.random.default_rng(12)
    held = {True: [], False: []}
    for run in range(1000):
        sizes = rng.integers(1, 5, 400)
        difficulty = rng.beta(4, 1, 400)  # its mean is .8
        lesions = np.repeat(np.arange(400), sizes)
        right = rng.random(len(lesions)) < difficulty[lesions]
        for by_lesion in (True, False) if run < 200 else (True,):
            groups = lesions if by_lesion else np.arange(len(lesions))
            weights = metrics.resample_weights(groups, draws=600, seed=run)
            low, high = metrics.percentile_interval(weights @ right / weights.sum(axis=1))
            held[by_lesion].append(low <= 0.8 <= high)
    assert 0.93 <= np.mean(held[True]) <= 0.97
    assert np.mean(held[False]) < np.mean(held[True][:200])
