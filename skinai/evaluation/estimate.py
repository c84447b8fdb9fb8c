"""One figure with what it rests on: its n and its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skinai.evaluation import metrics

DRAWS = 2000
SEED = 1
_DECIMALS = 6


@dataclass(frozen=True)
class Estimate:
    """One figure.

    Attributes
    ----------
    value : float
        NaN where it is not applicable.
    n : int
        The pictures it rests on.
    low, high : float
        95 % interval, resampled by lesion; NaN where it is not applicable.
    """

    value: float
    n: int
    low: float
    high: float

    def as_dict(self) -> dict[str, Any]:
        """Return ``value``, ``n`` and ``interval``; null stands for not applicable."""
        interval = None if math.isnan(self.low) else [self.low, self.high]
        return {"value": None if math.isnan(self.value) else self.value, "n": self.n, "interval": interval}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Estimate:
        """Read what :meth:`as_dict` wrote."""
        low, high = facts["interval"] or (math.nan, math.nan)
        value = math.nan if facts["value"] is None else float(facts["value"])
        return cls(value, int(facts["n"]), float(low), float(high))

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "not applicable"
        return f"{self.value:.3f}" + ("" if math.isnan(self.low) else f" ({self.low:.3f} to {self.high:.3f})")


def estimate(values: np.ndarray, n: int) -> Estimate:
    """Return the first value, with the percentile interval of the others, which are bootstrap draws.

    All are rounded here, once, to six decimals: page, command line and files then show the same digits.

    Parameters
    ----------
    values : ndarray of shape (1 + draws,)
    n : int
    """
    low, high = metrics.percentile_interval(values[1:])
    return rounded(float(values[0]), n, float(low), float(high))


def rounded(value: float, n: int, low: float, high: float) -> Estimate:
    """Return an estimate on six decimals, without an interval where there is no value."""
    if math.isnan(value):
        low = high = math.nan
    value, low, high = (round(number, _DECIMALS) + 0.0 for number in (value, low, high))
    return Estimate(value, n, low, high)
