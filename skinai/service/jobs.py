"""A bounded queue and the threads that empty it.

A job is one picture. Every thread that is free takes the picture that has waited longest, so as many are looked at at
once as there are threads, and a lone one waits for nobody. Pictures are not joined into one run of the network, because
on a CPU that brings nothing: on one core the smaller shipped network took 11.3 ms for a picture alone, 11.6 ms for each
of two and 12.3 ms for each of four that were run together, and an ensemble's export cannot be resized at all.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

# The newest job's weight in the mean time that a job takes.
_NEWEST = 0.1


class QueueFullError(Exception):
    """There are fewer free places than jobs.

    Attributes
    ----------
    retry_after_s : int
        After which so many places are likely to be free; at least 1.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"The queue is full; places are likely to be free in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


@dataclass(eq=False)
class Job:
    """One piece of work that waits, is done, or is over.

    Attributes
    ----------
    work : callable
        Without arguments; what it returns or raises is the future's.
    future : Future
    put_at : float
        By the monotonic clock.
    """

    work: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)
    put_at: float = field(default_factory=time.monotonic)


class JobQueue:
    """Jobs that wait, first come, first served, and threads that do them.

    Parameters
    ----------
    workers : int
        How many threads; at least 1.
    capacity : int
        How many jobs can wait at most, besides those being done.
    on_done : callable, optional
        Called by the thread after each job with the seconds that it waited and the seconds that it took.
    """

    def __init__(
        self, *, workers: int, capacity: int, on_done: Callable[[float, float], None] = lambda waited, took: None
    ) -> None:
        self.capacity, self._on_done = capacity, on_done
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._mean_s = 0.1  # until the first job is done
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(1, workers + 1)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def workers(self) -> int:
        """How many threads there are."""
        return len(self._threads)

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    @property
    def is_alive(self) -> bool:
        """Whether every thread runs."""
        return all(thread.is_alive() for thread in self._threads)

    def put(self, works: Sequence[Callable[[], Any]]) -> list[Job]:
        """Take all of these jobs, or none.

        Raises
        ------
        QueueFullError
            If there are fewer free places than jobs.
        """
        with self._changed:
            lacking = len(self._waiting) + len(works) - self.capacity
            if lacking > 0:
                raise QueueFullError(max(math.ceil(lacking * self._mean_s / self.workers), 1))
            jobs = [Job(work) for work in works]
            self._waiting.extend(jobs)
            self._changed.notify(len(jobs))
        return jobs

    def withdraw(self, jobs: Iterable[Job]) -> None:
        """Free the places of those among these jobs that nobody has begun; their futures are cancelled."""
        with self._changed:
            for job in jobs:
                if job in self._waiting:
                    self._waiting.remove(job)
                    job.future.cancel()

    def close(self) -> None:
        """Do what waits, then end the threads; returns when they have ended."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._take()) is not None:
            begun = time.monotonic()
            try:
                tell: Callable[[], None] = partial(job.future.set_result, job.work())
            except Exception as error:  # belongs to whoever waits for the job; the thread goes on
                tell = partial(job.future.set_exception, error)
            took = time.monotonic() - begun
            self._mean_s += _NEWEST * (took - self._mean_s)
            # Before the answer, so that whoever has it finds it counted.
            self._on_done(begun - job.put_at, took)
            tell()

    def _take(self) -> Job | None:
        """Wait for a job and return it; None once the queue is closed and empty."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            job = self._waiting.popleft()
            job.future.set_running_or_notify_cancel()
            return job
