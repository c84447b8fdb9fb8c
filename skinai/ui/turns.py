"""Whose turn it is: as many visitors are answered at once as there are processors, the others in their order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from skinai import wording

_TELL_EVERY_S = 1.0


class Line:
    """A line in front of a few places; safe to use from any thread.

    Parameters
    ----------
    places : int
        How many are served at once.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        # In the order they came; the first ones of them, so many as there are places, are being served.
        self._line: list[object] = []
        self._moved = Condition()

    @contextmanager
    def turn(self, tell: Callable[[int], object], *, every_s: float = _TELL_EVERY_S) -> Iterator[None]:
        """Wait for a place, and keep it inside the ``with`` block.

        Parameters
        ----------
        tell : callable
            Called with how many wait before this one, each time that so many seconds were waited for. What it raises
            gives up the place in the line.
        every_s : float
        """
        ticket = object()
        with self._moved:
            self._line.append(ticket)
        try:
            while not self._wait(ticket, every_s):
                tell(self._count_before(ticket))
            yield
        finally:
            with self._moved:
                self._line.remove(ticket)
                self._moved.notify_all()

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        with self._moved:
            return max(len(self._line) - self._places, 0)

    def _wait(self, ticket: object, seconds: float) -> bool:
        with self._moved:
            return self._moved.wait_for(lambda: self._line.index(ticket) < self._places, seconds)

    def _count_before(self, ticket: object) -> int:
        with self._moved:
            return max(self._line.index(ticket) - self._places, 0)


_LINE = Line(os.cpu_count() or 1)


def others_wait() -> bool:
    """Whether visitors wait for their turn, so that what can be asked later had better not be asked now."""
    return _LINE.waiting > 0


@contextmanager
def turn(box: DeltaGenerator | None = None) -> Iterator[None]:
    """Wait until it is this visitor's turn, and say meanwhile how many come before.

    Parameters
    ----------
    box : DeltaGenerator, optional
        An ``st.empty()`` where it is said; default: one here, once there is something to say.
    """
    boxes = [] if box is None else [box]

    def tell(before: int) -> None:
        if not boxes:
            boxes.append(st.empty())
        # Streamlit ends the script here where its visitor has gone, or wants something else by now.
        boxes[0].info(wording.say_place(before))

    with _LINE.turn(tell):
        if boxes:
            boxes[0].empty()
        yield
