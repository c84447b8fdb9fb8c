"""Visitors are answered in the order they came, and read how many come before them."""

import contextlib
import threading
import time

import pytest

from skinai import wording
from skinai.ui.turns import Line

PATIENCE_S = 120


class Visitor(threading.Thread):
    """Somebody in the line, who keeps a place until told to leave."""

    def __init__(self, line, served):
        super().__init__(daemon=True)
        self._line, self._served, self._leave = line, served, threading.Event()
        self.told, self.gives_up = [], False

    def _tell(self, before):
        self.told.append(before)
        if self.gives_up:
            raise InterruptedError

    def run(self):
        with contextlib.suppress(InterruptedError), self._line.turn(self._tell, every_s=0.01):
            self._served.append(self)
            self._leave.wait(PATIENCE_S)

    def leave(self):
        self._leave.set()
        self.join(PATIENCE_S)


def wait_until(condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.fixture
def served():
    return []


@pytest.fixture
def visitors(served):
    """Six visitors of two places, who have come one after the other."""
    line, visitors = Line(2), []
    for _ in range(6):
        visitor = Visitor(line, served)
        visitor.start()
        wait_until(lambda visitor=visitor: visitor in served or visitor.told)
        visitors.append(visitor)
    yield visitors
    for visitor in visitors:
        visitor.leave()


def test_so_many_are_served_at_once_as_there_are_places(visitors, served):
    time.sleep(0.05)
    assert served == visitors[:2]
    assert [visitor.told[-1:] for visitor in visitors] == [[], [], [0], [1], [2], [3]]


def test_it_is_known_how_many_wait():
    line, served = Line(2), []
    assert line.waiting == 0
    visitors = [Visitor(line, served) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    wait_until(lambda: line.waiting == 2)
    for left in range(4):
        served[left].leave()
        wait_until(lambda left=left: len(served) == min(left + 3, 4))
        assert line.waiting == max(1 - left, 0)
    for visitor in visitors:
        visitor.leave()


def test_the_others_follow_in_the_order_they_came(visitors, served):
    visitors[1].leave()
    wait_until(lambda: len(served) == 3)
    wait_until(lambda: visitors[5].told[-1] == 2)
    # One at a time: of two who are called at once, either may be the first to write it down.
    for count, visitor in enumerate((visitors[0], *visitors[2:4]), 4):
        visitor.leave()
        wait_until(lambda count=count: len(served) == count)
    assert served == visitors


def test_who_gives_up_makes_way(visitors, served):
    visitors[2].gives_up = True
    visitors[2].join(PATIENCE_S)
    wait_until(lambda: visitors[3].told[-1] == 0)
    visitors[0].leave()
    wait_until(lambda: len(served) == 3)
    assert served[2] is visitors[3]


def test_who_fails_while_being_served_makes_way():
    line = Line(1)
    with pytest.raises(ZeroDivisionError), line.turn(pytest.fail):
        raise ZeroDivisionError
    with line.turn(pytest.fail):
        pass


@pytest.mark.parametrize(
    ("before", "said"), [(0, "yours is next."), (1, "1 visitor comes before you."), (4, "4 visitors come before you.")]
)
def test_the_place_is_said_in_words(before, said):
    assert wording.say_place(before).endswith(said)
