"""Processes that train one network together, each on its share of every batch, on one machine or on many.

Between them is MPI (mpi4py), which schedulers of clusters start and which is asked for with ``train --engine mpi``.
Keras' own ``fit`` cannot run under TensorFlow's strategy for several machines, and its JAX backend computes depthwise
convolutions many times more slowly on a processor.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import numpy as np

from skinai.errors import SkinaiError, UsageError

_THREADS = "TF_NUM_INTRAOP_THREADS"
_FAILED = 2
_READ_AFTER_S = 10.0  # at most


class Peers:
    """One process that trains alone.

    Attributes
    ----------
    number : int
        Of this process, from 0.
    count : int
        How many there are.
    """

    number, count = 0, 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.number == 0

    def share(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows that are this process's own: every `count`-th."""
        return rows[self.number :: self.count]

    def join(self, own: np.ndarray) -> np.ndarray:
        """Return the rows of all processes in the order that :meth:`share` took them from."""
        return own

    def average(self, arrays: Sequence[np.ndarray], *, weight: float) -> list[np.ndarray]:
        """Return the mean of each array over the processes, this one's with a weight of its own, in float32."""
        return list(arrays)

    def agree(self, value: object) -> bool:
        """Return whether all processes have the same value."""
        return True

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Let the first process do something before the others do it."""
        yield

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """End all processes where one fails."""
        yield


ALONE = Peers()


class MpiPeers(Peers):
    """The processes that ``mpiexec`` has started.

    Parameters
    ----------
    world : mpi4py.MPI.Comm
    """

    def __init__(self, world: Any) -> None:
        self._world = world
        self.number, self.count = world.Get_rank(), world.Get_size()

    def join(self, own: np.ndarray) -> np.ndarray:
        """Return the rows of all processes in the order that :meth:`share` took them from."""
        shares = self._world.allgather(own)
        rows = np.empty((sum(map(len, shares)), *own.shape[1:]), own.dtype)
        for number, share in enumerate(shares):
            rows[number :: self.count] = share
        return rows

    def average(self, arrays: Sequence[np.ndarray], *, weight: float) -> list[np.ndarray]:
        """Return the mean of each array over the processes, this one's with a weight of its own, in float32."""
        # The weights travel with the arrays, as the last number.
        sent = np.concatenate([*(np.ravel(array) for array in arrays), [1.0]]).astype(np.float32) * np.float32(weight)
        total = np.empty_like(sent)
        self._world.Allreduce(sent, total)
        ends = np.cumsum([np.size(array) for array in arrays])
        parts = np.split(total[:-1] / total[-1], ends[:-1])
        return [part.reshape(np.shape(array)) for part, array in zip(parts, arrays, strict=True)]

    def agree(self, value: object) -> bool:
        """Return whether all processes have the same value."""
        return len(set(self._world.allgather(repr(value)))) == 1

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Let the first process do something before the others do it."""
        if not self.is_first:
            self._world.Barrier()
        yield
        if self.is_first:
            self._world.Barrier()

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """End all processes where one fails; the others would wait for it forever."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, SkinaiError):
                print(f"skinai: {error}", file=sys.stderr)
            else:
                traceback.print_exc()
            sys.stderr.flush()
            _wait_until_read(sys.stderr)
            self._world.Abort(_FAILED)


def _wait_until_read(stream: TextIO) -> None:
    """Wait until a pipe is empty; mpiexec throws away what it has not read of a process that aborts."""
    import fcntl
    import termios

    deadline = time.monotonic() + _READ_AFTER_S
    try:
        while any(fcntl.ioctl(stream.fileno(), termios.FIONREAD, bytes(4))) and time.monotonic() < deadline:
            time.sleep(0.01)
    except OSError:  # a file, or what cannot say how much of it is unread
        return


def open_peers(engine: str | None) -> Peers:
    """Return the processes that train together; to be called before TensorFlow is imported.

    The cores of a machine are shared out among its processes, unless ``TF_NUM_INTRAOP_THREADS`` says otherwise.

    Parameters
    ----------
    engine : str, optional
        ``"mpi"``; None is this process alone.

    Raises
    ------
    UsageError
        If there is no MPI, or this process was not started by ``mpiexec`` with others.
    """
    if engine is None:
        return ALONE
    if importlib.util.find_spec("mpi4py") is None:
        raise UsageError("The engine mpi needs MPI: pip install -r requirements-mpi.txt.")
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise UsageError(f"MPI cannot be loaded: {str(error).splitlines()[0]}") from error
    world = MPI.COMM_WORLD
    if world.Get_size() == 1:
        raise UsageError("The engine mpi trains with several processes: mpiexec -n 2 python -m skinai train ...")
    here = world.Split_type(MPI.COMM_TYPE_SHARED).Get_size()
    os.environ.setdefault(_THREADS, str(max((os.cpu_count() or 1) // here, 1)))
    return MpiPeers(world)
