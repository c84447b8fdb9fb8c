"""Exponent and temperature are chosen on `valid` so that a probability means what it says."""

import numpy as np
import pytest

from skinai.training.calibration import EXPONENTS, fit_calibration, log_softmax, logit_offset, score_logits

PRIOR = np.array([0.7, 0.2, 0.1])


@pytest.fixture
def evidence():
    """Log likelihood ratios of three classes, and the truth."""
    rng = np.random.default_rng(1)
    truth = rng.choice(3, 4000, p=PRIOR)
    # For unit-variance evidence with means 1.5 apart, 1.5 x evidence is the log likelihood ratio.
    return 1.5 * (rng.normal(0, 1, (4000, 3)) + 1.5 * np.eye(3)[truth]), truth


def test_exponent_one_restores_the_posterior_and_zero_balances_it():
    prior = np.array([0.9, 0.1])
    # A network without evidence, trained with logit adjustment, gives equal logits.
    posterior = np.exp(log_softmax(np.zeros((1, 2)) + logit_offset(prior, exponent=1.0, removed=1.0)))
    balanced = np.exp(log_softmax(np.zeros((1, 2)) + logit_offset(prior, exponent=0.0, removed=1.0)))
    assert posterior[0] == pytest.approx([0.9, 0.1])
    assert balanced[0] == pytest.approx([0.5, 0.5])
    assert logit_offset(prior, exponent=1.0, removed=0.0) == pytest.approx([0, 0])


def test_scores_are_worked_by_hand():
    logits = np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]))
    scores = score_logits(logits, np.array([0, 1, 1, 2]))
    assert scores["accuracy"] == 0.75
    assert scores["balanced_accuracy"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert scores["log_loss"] == pytest.approx(-np.log([0.5, 0.8, 0.3, 0.6]).mean())


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_the_best_exponent_and_temperature_undo_what_was_done_to_the_logits(evidence, sharpness):
    logits, truth = evidence
    logits = sharpness * logits - (1 - sharpness) * np.log(PRIOR)
    _, table = fit_calibration(logits, truth, PRIOR, removed=1.0)
    best = min(table, key=lambda row: row["log_loss"])
    assert best["exponent"] == pytest.approx(1.0, abs=0.15)
    assert best["temperature"] == pytest.approx(sharpness, rel=0.15)


def test_of_the_exponents_near_the_best_one_the_most_balanced_is_chosen(evidence):
    calibration, table = fit_calibration(*evidence, PRIOR, removed=1.0)
    assert tuple(row["exponent"] for row in table) == EXPONENTS
    best = min(table, key=lambda row: row["log_loss"])
    limit = best["log_loss"] + 2 * best["log_loss_error"]
    allowed = {row["exponent"]: row["accuracy"] + row["balanced_accuracy"] for row in table if row["log_loss"] <= limit}
    assert 1 < len(allowed) < len(table)
    assert calibration.exponent in allowed
    assert allowed[calibration.exponent] == max(allowed.values())
    assert all(mean < max(allowed.values()) for exponent, mean in allowed.items() if exponent < calibration.exponent)


def test_applied_logits_score_what_the_table_says(evidence):
    logits, truth = evidence
    calibration, table = fit_calibration(logits, truth, PRIOR, removed=1.0)
    chosen = next(row for row in table if row["exponent"] == calibration.exponent)
    assert score_logits(calibration.apply(logits), truth)["log_loss"] == pytest.approx(chosen["log_loss"], abs=1e-4)
