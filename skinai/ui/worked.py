"""What was worked out for the pictures of a visit, so that a click elsewhere on the page does not work it out again.

It lies in the visit's own state, never in a cache that visitors share, and the next pictures take its place.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from skinai.serving.routing import Desk

_KEY = "worked_out"
_Result = TypeVar("_Result")


class _Worked:
    def __init__(self, desk: Desk, pictures: str) -> None:
        # Weakly: a visit does not keep models that were replaced meanwhile.
        self.desk, self.pictures = weakref.ref(desk), pictures
        self.results: dict[str, object] = {}


def recall(desk: Desk, pictures: str, step: str, work: Callable[[], _Result]) -> _Result:
    """Return what `work` returns, which is called once for the same pictures, models and step.

    Parameters
    ----------
    desk : Desk
        The models at hand.
    pictures : str
        From :func:`skinai.ui.intake.identify`.
    step : str
    work : callable
        What it raises is passed on, and it is called again next time.
    """
    results = _find(desk, pictures).results
    if step not in results:
        results[step] = work()
    return results[step]  # type: ignore[return-value]


def is_known(desk: Desk, pictures: str, step: str) -> bool:
    """Whether :func:`recall` would have the result at once."""
    return step in _find(desk, pictures).results


def forget() -> None:
    """Let go of everything."""
    st.session_state.pop(_KEY, None)


def _find(desk: Desk, pictures: str) -> _Worked:
    worked: _Worked | None = st.session_state.get(_KEY)
    if worked is None or worked.desk() is not desk or worked.pictures != pictures:
        worked = st.session_state[_KEY] = _Worked(desk, pictures)
    return worked
