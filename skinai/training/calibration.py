"""What is done to the logits after training, fitted on `valid`: the strength of the class prior and the temperature."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

EXPONENTS = tuple(round(0.1 * step, 1) for step in range(13))
_TEMPERATURES = (0.2, 5.0)


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities: ``softmax((logits + offset) / temperature)``.

    Attributes
    ----------
    exponent : float
        The probabilities follow ``prior ** exponent``: 1 is the true posterior, 0 pretends that all classes are
        equally frequent.
    temperature : float
        Guo et al. 2017, arXiv:1706.04599; below 1 makes the answers more decided.
    offset : tuple of float
        Added to the logits, by class.
    """

    exponent: float
    temperature: float
    offset: tuple[float, ...]

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Return the calibrated logits, same shape."""
        return (logits + np.array(self.offset, dtype=np.float32)) / np.float32(self.temperature)

    def as_dict(self) -> dict[str, Any]:
        """Return the calibration as it is written into ``bundle.json``."""
        return asdict(self)


def logit_offset(prior: np.ndarray, *, exponent: float, removed: float) -> np.ndarray:
    """Return what is added to a network's logits so that its probabilities follow ``prior ** exponent``.

    A network whose training took ``prior ** removed`` out gives the true posterior as
    ``softmax(logits + removed * log(prior))``.
    """
    return ((exponent - 1 + removed) * np.log(prior)).astype(np.float32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the logarithm of the softmax over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def score_logits(logits: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return log loss, accuracy and balanced accuracy of logits.

    Parameters
    ----------
    logits : ndarray of shape (n, classes)
    truth : ndarray of shape (n,)
        Class indices; balanced accuracy is the mean recall over the classes that occur.
    """
    chosen = logits.argmax(axis=1)
    recalls = [float((chosen[truth == index] == index).mean()) for index in np.unique(truth)]
    return {
        "log_loss": float(_losses(logits, truth).mean()),
        "accuracy": float((chosen == truth).mean()),
        "balanced_accuracy": float(np.mean(recalls)),
    }


def fit_calibration(
    logits: np.ndarray, truth: np.ndarray, prior: np.ndarray, *, removed: float
) -> tuple[Calibration, list[dict[str, float]]]:
    """Fit exponent and temperature on `valid`.

    For each exponent the temperature with the least log loss is fitted. The least log loss makes a probability mean
    what it says, and exponents within two standard errors of it can hardly be told from it. Among those the one with
    the greatest mean of accuracy and balanced accuracy is chosen, because the two pull apart and both count: accuracy
    weighs every picture alike, balanced accuracy every class.

    Parameters
    ----------
    logits : ndarray of shape (n, classes)
    truth : ndarray of shape (n,)
        Class indices.
    prior : ndarray of shape (classes,)
        Shares of the classes in `train`; none is 0.
    removed : float
        The exponent of the prior that training took out of the logits.

    Returns
    -------
    calibration : Calibration
    table : list of dict
        ``exponent``, ``temperature``, the scores of :func:`score_logits` and ``log_loss_error``, the standard error of
        the log loss.
    """
    table = []
    for exponent in EXPONENTS:
        shifted = logits + logit_offset(prior, exponent=exponent, removed=removed)
        temperature = _fit_temperature(shifted, truth)
        error = float(_losses(shifted / temperature, truth).std(ddof=1) / np.sqrt(len(truth)))
        scores = score_logits(shifted / temperature, truth)
        table.append({"exponent": exponent, "temperature": temperature} | scores | {"log_loss_error": error})
    best = min(table, key=lambda row: row["log_loss"])
    limit = best["log_loss"] + 2 * best["log_loss_error"]
    allowed = [row for row in table if row["log_loss"] <= limit]
    # Of exponents that score alike, the smallest finds most of the rare classes.
    chosen = max(allowed, key=lambda row: (row["accuracy"] + row["balanced_accuracy"], -row["exponent"]))
    offset = logit_offset(prior, exponent=chosen["exponent"], removed=removed)
    return Calibration(chosen["exponent"], chosen["temperature"], tuple(float(value) for value in offset)), table


def _fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    found = minimize_scalar(
        lambda temperature: _losses(logits / temperature, truth).mean(), bounds=_TEMPERATURES, method="bounded"
    )
    return round(float(found.x), 4)


def _losses(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return -log_softmax(logits)[np.arange(len(truth)), truth]
