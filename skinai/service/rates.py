"""How many pictures a caller may send: a bucket of tokens for each, a token a picture, filled at a steady rate."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

# Whoever has not asked for longest is forgotten first. A bucket is some 200 bytes.
MOST_CALLERS = 10_000
# One machine has as many addresses of IPv6 as it likes within such a network.
_OWN_BITS = 64


class RateLimit:
    """A bucket for each caller, full at first; used by one thread only.

    Parameters
    ----------
    per_minute : int
        Tokens a minute that a bucket is filled with; at least 1.
    burst : int
        Tokens that a bucket holds; what is taken at once is at most this many.
    most_callers : int
        How many buckets are kept.
    now : callable
        Returns the seconds of a clock that never goes back.

    Raises
    ------
    ValueError
        If a bucket would never be filled or never hold anything.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        burst: int,
        most_callers: int = MOST_CALLERS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if min(per_minute, burst, most_callers) < 1:
            raise ValueError(f"All are at least 1. Received: {per_minute}, {burst} and {most_callers}.")
        self._per_s, self._burst, self._most_callers, self._now = per_minute / 60, burst, most_callers, now
        # Tokens and when they were counted, the caller of the latest request last.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def callers(self) -> int:
        """How many buckets are kept."""
        return len(self._buckets)

    def find_wait_s(self, caller: str, count: int) -> int:
        """Return after how many seconds so many tokens are there; 0 if they are there now. Nothing is taken."""
        lacking = count - self._count(caller)
        # What is left of adding up fractions is no token.
        return math.ceil(lacking / self._per_s - 1e-6) if lacking > 1e-9 else 0

    def take(self, caller: str, count: int) -> int:
        """Take so many tokens and return 0; if there are fewer, take none and return the seconds until there are."""
        wait_s = self.find_wait_s(caller, count)
        if not wait_s:
            self._keep(caller, max(self._count(caller) - count, 0.0))
        return wait_s

    def give_back(self, caller: str, count: int) -> None:
        """Give tokens back that were taken for pictures nobody looked at."""
        self._keep(caller, min(self._count(caller) + count, self._burst))

    def _count(self, caller: str) -> float:
        tokens, counted_at = self._buckets.get(caller, (float(self._burst), 0.0))
        return min(tokens + (self._now() - counted_at) * self._per_s, self._burst)

    def _keep(self, caller: str, tokens: float) -> None:
        self._buckets[caller] = tokens, self._now()
        self._buckets.move_to_end(caller)
        if len(self._buckets) > self._most_callers:
            self._buckets.popitem(last=False)


def name_caller(address: str) -> str:
    """Return what stands for a client address: itself, of IPv6 its network of 64 bits.

    >>> name_caller("192.0.2.7"), name_caller("2001:db8::1:7")
    ('192.0.2.7', '2001:db8::/64')
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed.packed, _OWN_BITS), strict=False))
