"""The engine of one machine: the plain loop, or several processes that take a part each."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from skinai.bulk.job import Job, Part
from skinai.bulk.scorer import Scorer
from skinai.errors import SkinaiError

# How often a part is given out whose worker ended over it.
TRIES = 3
# NumPy takes it from the environment once, when it is imported.
_THREADS = "OPENBLAS_NUM_THREADS"


def score_here(job: Job, parts: Iterable[Part]) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each part, scored one after the other in this process."""
    scorer = Scorer(job)
    for part in parts:
        yield part.number, scorer.score(part)


def score_in_processes(job: Job, parts: Iterable[Part], *, processes: int) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each part, scored by several processes, as they get done.

    A worker has the models loaded once and ends with this process, however it ends. A worker that dies is replaced,
    and its part given out again.

    Parameters
    ----------
    job : Job
    parts : iterable of Part
    processes : int
        At most so many workers; none is started without a part for it.

    Raises
    ------
    SkinaiError
        What a worker raised, or if workers died three times over the same part.
    """
    waiting, died = deque(parts), dict[int, int]()
    workers: dict[Connection, _Worker] = {}
    try:
        for _ in range(min(processes, len(waiting))):
            _start(workers, job, waiting.popleft())
        while workers:
            for connection in wait(list(workers)):
                assert isinstance(connection, Connection)
                worker = workers[connection]
                number = worker.part.number
                try:
                    answer = connection.recv()
                except (EOFError, ConnectionResetError):
                    code = _end(workers, connection)
                    died[number] = died.get(number, 0) + 1
                    if died[number] == TRIES:
                        raise SkinaiError(
                            f"A worker ended {TRIES} times over part {number}, the last time with code {code}; the "
                            "parts that are done stay."
                        ) from None
                    _start(workers, job, worker.part)
                    continue
                if isinstance(answer, SkinaiError):
                    raise answer
                # Its next part comes first, so that it does not wait until the file of this one is written.
                if waiting:
                    worker.part = waiting.popleft()
                    with contextlib.suppress(BrokenPipeError):  # it has died meanwhile, which is found above
                        connection.send(worker.part)
                else:
                    _end(workers, connection)
                yield number, answer
    finally:
        for connection in list(workers):
            workers[connection].process.terminate()
            _end(workers, connection)


@dataclass
class _Worker:
    process: SpawnProcess
    part: Part


def _start(workers: dict[Connection, _Worker], job: Job, part: Part) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(job, theirs))
    with _one_thread():
        process.start()
    theirs.close()  # so that the end of the worker is the end of the pipe
    workers[ours] = _Worker(process, part)
    with contextlib.suppress(BrokenPipeError):
        ours.send(part)


def _end(workers: dict[Connection, _Worker], connection: Connection) -> int | None:
    process = workers.pop(connection).process
    connection.close()
    process.join()
    return process.exitcode


def _work(job: Job, connection: Connection) -> None:
    """Score parts until the other end of the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches all processes; the first one ends the others
    with contextlib.suppress(EOFError, ConnectionError):
        try:
            scorer = Scorer(job)
            while True:
                connection.send(scorer.score(connection.recv()))
        except SkinaiError as error:
            connection.send(error)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Give processes that are started meanwhile one thread for their arrays, as their network has."""
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = before or "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
