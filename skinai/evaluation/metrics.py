"""Figures that follow from a confusion matrix, for one matrix or for thousands of bootstrap draws at once.

Everywhere: rows are the truth, columns the answer, and an undefined figure is NaN, neither 0 nor 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# So many draws of some thousand pictures stay in the processor's cache; all would be fetched again at each step.
_DRAWS_AT_ONCE = 32


def confusion_matrix(truth: np.ndarray, chosen: np.ndarray, class_count: int) -> np.ndarray:
    """Count pictures by truth and answer.

    Parameters
    ----------
    truth, chosen : ndarray of shape (n,), int
        Class indices.
    class_count : int

    Returns
    -------
    ndarray of shape (class_count, class_count), int

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.bincount(truth * class_count + chosen, minlength=class_count**2)
    return cells.reshape(class_count, class_count)


def resample_confusion(
    truth: np.ndarray, chosen: np.ndarray, groups: np.ndarray, class_count: int, *, draws: int, seed: int
) -> np.ndarray:
    """Return confusion matrices of bootstrap draws that take or leave whole lesions.

    Pictures of one lesion are alike, so drawing pictures would make every interval too narrow.

    Parameters
    ----------
    truth, chosen : ndarray of shape (n,), int
    groups : ndarray of shape (n,)
        The lesion, or group of lesions, of each picture.
    class_count : int
    draws : int
    seed : int

    Returns
    -------
    ndarray of shape (draws, class_count, class_count), int
    """
    names, group = np.unique(groups, return_inverse=True)
    cells = np.zeros((len(names), class_count**2), dtype=np.int64)
    np.add.at(cells, (group, truth * class_count + chosen), 1)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return (drawn @ cells).reshape(draws, class_count, class_count)


def precision(confusion: np.ndarray) -> np.ndarray:
    """Return the share of right answers among all answers of each class, shape (..., class_count)."""
    return divide(_hits(confusion), confusion.sum(axis=-2))


def recall(confusion: np.ndarray) -> np.ndarray:
    """Return the share of each class that was found (its sensitivity), shape (..., class_count)."""
    return divide(_hits(confusion), confusion.sum(axis=-1))


def f1_score(confusion: np.ndarray) -> np.ndarray:
    """Return the harmonic mean of precision and recall, shape (..., class_count); NaN where a class never occurs."""
    return divide(2 * _hits(confusion), confusion.sum(axis=-2) + confusion.sum(axis=-1))


def specificity(confusion: np.ndarray) -> np.ndarray:
    """Return the share of the other classes' pictures that are not called this class, shape (..., class_count)."""
    total = confusion.sum(axis=(-2, -1))[..., None]
    others = total - confusion.sum(axis=-1)
    return divide(others - (confusion.sum(axis=-2) - _hits(confusion)), others)


def cohens_kappa(confusion: np.ndarray) -> np.ndarray:
    """Return the agreement beyond chance, shape (...): 1 is perfect, 0 what chance gives (Cohen 1960).

    NaN where truth and answers are one and the same class throughout.
    """
    total = confusion.sum(axis=(-2, -1))
    by_chance = divide((confusion.sum(axis=-1) * confusion.sum(axis=-2)).sum(axis=-1), total**2)
    return divide(accuracy(confusion) - by_chance, 1 - by_chance)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the share of right answers, shape (...)."""
    return divide(_hits(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the mean recall over the classes that occur, shape (...)."""
    return _mean_defined(recall(confusion))


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Return the mean F1 over the classes that occur as truth or as answer, shape (...)."""
    return _mean_defined(f1_score(confusion))


def weighted_f1(confusion: np.ndarray) -> np.ndarray:
    """Return the mean F1 weighted by how often each class is the truth, shape (...)."""
    occurrences = confusion.sum(axis=-1)
    # A class that never occurs as truth weighs nothing, whatever its F1.
    weighted = np.where(occurrences > 0, occurrences * f1_score(confusion), 0.0)
    return divide(weighted.sum(axis=-1), occurrences.sum(axis=-1))


def percentile_interval(draws: np.ndarray, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile bootstrap interval over the first axis; draws in which a figure is undefined are left out.

    Parameters
    ----------
    draws : ndarray of shape (draws, ...)
    level : float

    Returns
    -------
    low, high : ndarray of shape (...)
        NaN where the figure is defined in fewer than half of the draws.
    """
    enough = np.isfinite(draws).mean(axis=0) >= 0.5
    filled = np.where(enough, draws, 0.0)
    tail = (1 - level) / 2
    # The one that leaves out what is undefined goes column by column, which takes three times as long.
    quantile = np.nanquantile if np.isnan(filled).any() else np.quantile
    low, high = quantile(filled, [tail, 1 - tail], axis=0)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def _hits(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return ``part / whole``, NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _mean_defined(values: np.ndarray) -> np.ndarray:
    defined = np.isfinite(values)
    return divide(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


# ---- figures of a score ------------------------------------------------------------------------------------------


def resample_weights(groups: np.ndarray, *, draws: int, seed: int) -> np.ndarray:
    """Return how often each picture is drawn when whole lesions are, shape (draws, n)."""
    names, group = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return np.take(drawn, group, axis=1)


def roc_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve: how often a positive scores higher than a negative, ties counted half.

    Parameters
    ----------
    positive : ndarray of shape (n,), bool
    score : ndarray of shape (n,)
    weights : ndarray of shape (..., n)
        How often each picture counts; ones for the plain figure.

    Returns
    -------
    ndarray of shape (...)
        NaN where there is no positive or no negative.
    """

    def area(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
        below = np.cumsum(negatives, axis=-1) - negatives / 2
        return divide((positives * below).sum(axis=-1), positives.sum(axis=-1) * negatives.sum(axis=-1))

    return _by_score(area, positive, score, weights)


def sensitivity_at_specificity(
    positive: np.ndarray, score: np.ndarray, weights: np.ndarray, *, specificity: float
) -> np.ndarray:
    """Return the greatest sensitivity of a rule ``score >= threshold`` whose specificity is at least `specificity`.

    Parameters
    ----------
    positive : ndarray of shape (n,), bool
    score : ndarray of shape (n,)
    weights : ndarray of shape (..., n)
    specificity : float

    Returns
    -------
    ndarray of shape (...)
        NaN where there is no positive or no negative.
    """

    def greatest(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
        total_positive, total_negative = positives.sum(axis=-1), negatives.sum(axis=-1)
        # With the threshold at the i-th value, everything below it is called negative.
        true_negative = np.cumsum(negatives, axis=-1) - negatives
        true_positive = total_positive[..., None] - (np.cumsum(positives, axis=-1) - positives)
        allowed = true_negative >= specificity * total_negative[..., None] - 1e-9
        best = np.where(allowed, true_positive, 0.0).max(axis=-1)
        return np.where(total_negative > 0, divide(best, total_positive), np.nan)

    return _by_score(greatest, positive, score, weights)


def specificity_at_sensitivity(
    positive: np.ndarray, score: np.ndarray, weights: np.ndarray, *, sensitivity: float
) -> np.ndarray:
    """Return the greatest specificity of a rule ``score >= threshold`` whose sensitivity is at least `sensitivity`.

    Parameters and result are those of :func:`sensitivity_at_specificity`.
    """
    return sensitivity_at_specificity(~positive, -score, weights, specificity=sensitivity)


def average_precision(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the precision at each step of sensitivity, averaged over the steps; pictures with one score are one step.

    Parameters
    ----------
    positive : ndarray of shape (n,), bool
    score : ndarray of shape (n,)
    weights : ndarray of shape (..., n)

    Returns
    -------
    ndarray of shape (...)
        NaN where there is no positive.
    """

    def average(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
        found, called = np.cumsum(positives, axis=-1), np.cumsum(positives + negatives, axis=-1)
        precisions = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
        return divide((precisions * positives).sum(axis=-1), positives.sum(axis=-1))

    return _by_score(average, positive, -score, weights)


def top_hits(probabilities: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """Return whether each truth is among the `count` most probable classes, shape (n,); of equals the first counts.

    >>> top_hits(np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]]), np.array([1, 2]), 2).tolist()
    [True, False]
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return (order[:, :count] == truth[:, None]).any(axis=1)


def log_losses(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return minus the logarithm of the probability of each truth, shape (n,); below a millionth nothing is known."""
    return -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-6))


def brier_scores(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the squared distance of each row from its truth, shape (n,), from 0 to 2 (Brier 1950, all classes)."""
    return ((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1)


def expected_calibration_error(
    right: np.ndarray, probability: np.ndarray, weights: np.ndarray, *, bins: int = 15
) -> np.ndarray:
    """Return the mean gap between the top class's probability and how often it is right, in bins of equal width.

    Parameters
    ----------
    right : ndarray of shape (n,) or that of `weights`, bool
        Whether the top class is the truth.
    probability : ndarray of shape (n,)
        Of the top class.
    weights : ndarray of shape (..., n)
    bins : int
        Guo et al. 2017, arXiv:1706.04599, use 15.

    Returns
    -------
    ndarray of shape (...)
    """
    place = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = (np.asarray(weights, dtype=np.float64) * (right - probability)) @ np.eye(bins)[place]
    return divide(np.abs(gaps).sum(axis=-1), np.asarray(weights).sum(axis=-1))


def _by_score(
    figure: Callable[[np.ndarray, np.ndarray], np.ndarray], positive: np.ndarray, score: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return a figure of the weights of positives and of negatives at each value of the score, the least first."""
    values, tie = np.unique(score, return_inverse=True)
    order = np.argsort(tie, kind="stable")
    starts = np.searchsorted(tie[order], np.arange(len(values)))
    is_positive = positive[order]
    draws = np.reshape(weights, (-1, len(score)))
    figures = []
    for first in range(0, len(draws), _DRAWS_AT_ONCE):
        # `take` leaves each draw in one piece of memory, which indexing does not.
        counts = np.take(draws[first : first + _DRAWS_AT_ONCE], order, axis=1).astype(np.float64)
        positives = counts * is_positive
        negatives = counts - positives
        if len(values) < len(score):
            positives, negatives = (np.add.reduceat(one, starts, axis=1) for one in (positives, negatives))
        figures.append(figure(positives, negatives))
    return np.concatenate(figures).reshape(np.shape(weights)[:-1])
