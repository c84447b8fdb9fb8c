"""The process: a socket, uvicorn on it, the models loaded beside it, and an end that loses nothing it accepted."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import uvicorn

from skinai.audit_log import open_audit_log
from skinai.errors import UsageError
from skinai.service.app import Service, build_service
from skinai.service.keys import Keys
from skinai.service.schema import MAX_DEADLINE_MS
from skinai.serving.routing import Desk

LOG = logging.getLogger("skinai.service")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_BACKLOG = 256


def serve(
    folder: Path,
    clinical: Path | None,
    *,
    host: str,
    port: int,
    workers: int,
    capacity: int,
    keys: Path | None = None,
    pictures_per_minute: int | None = None,
) -> None:
    """Answer requests until the process is told to stop, and then those that it has accepted.

    The models are loaded while the process already listens, so that ``/healthz`` answers and ``/readyz`` says what it
    waits for.

    Parameters
    ----------
    folder : Path
        The model in use.
    clinical : Path or None
        The model for clinical photographs beside it.
    host : str
    port : int
        0 takes a free one; which one is printed.
    workers, capacity, pictures_per_minute : int
        See :class:`Service`.
    keys : Path, optional
        The file with the keys of those who are answered.

    Raises
    ------
    UsageError
        If the address cannot be listened on.
    DataError
        If the keys cannot be read.
    ModelError
        If a model folder is refused.
    """
    known = None if keys is None else Keys(keys)
    listening = listen(host, port)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    service = Service(
        workers=workers,
        capacity=capacity,
        keys=known,
        pictures_per_minute=pictures_per_minute,
        audit=open_audit_log(),
    )
    server = Server(build_service(service), service)
    loading = Loading(lambda: service.open(load_desk(folder, clinical, copies=workers)), on_error=server.stop)
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{listening.getsockname()[1]}", flush=True)
    loading.start()
    server.run(sockets=[listening])
    service.jobs.close()
    # A process that ends in the midst of an import can end with an abort in place of its exit code.
    loading.join()
    if loading.error is not None:
        raise loading.error


def is_this_computer(host: str) -> bool:
    """Whether nobody from another computer reaches an address.

    >>> [is_this_computer(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "clinic.example", "")]
    [True, True, True, False, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def load_desk(folder: Path, clinical: Path | None, *, copies: int) -> Desk:
    """Load the models, with so many interpreters of each as there are pictures at once, one thread each.

    Raises
    ------
    ModelError
        If a folder is refused.
    """
    import fhir.resources.diagnosticreport  # noqa: F401  the first picture that wants it would wait for it

    return Desk.load(folder, clinical, threads=1, copies=copies)


class Loading(threading.Thread):
    """Loads the models in a thread of its own, and keeps the error if it cannot."""

    def __init__(self, load: Callable[[], None], *, on_error: Callable[[], None]) -> None:
        super().__init__(name="loading", daemon=True)
        self._load, self._on_error = load, on_error
        self.error: Exception | None = None

    def run(self) -> None:
        """Load the models; on an error the process is to end with it."""
        try:
            self._load()
        except Exception as error:  # told by the main thread, once the server has ended
            self.error = error
            self._on_error()
        else:
            LOG.info("the models are loaded and passed their self-test")


class Server(uvicorn.Server):
    """uvicorn, but a signal first turns new requests away and ends the process once the accepted ones are answered.

    uvicorn itself would close its socket at once, so whoever asks meanwhile would be refused without a word, and it
    would end with the signal's exit code.
    """

    def __init__(self, app: Callable[..., object], service: Service) -> None:
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Longer than the minute after which proxies let go of an idle connection, so that it is never us.
            timeout_keep_alive=75,
            # For who does not read an answer to its end.
            timeout_graceful_shutdown=MAX_DEADLINE_MS // 1000,
        )
        super().__init__(config)
        self._service = service

    def stop(self) -> None:
        """Take no new request; the process ends once the accepted ones are answered."""
        self._service.stopping = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, and at a second Ctrl+C do not wait."""
        if self._service.stopping and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        self.stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the server runs; none is raised again afterwards, so the exit code is 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in _SIGNALS}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    async def on_tick(self, counter: int) -> bool:
        """Say ten times a second whether to end."""
        if self._service.stopping and self._service.accepted == 0:
            self.should_exit = True
        return await super().on_tick(counter)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    UsageError
        If the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only of a socket that says it is TCP does asyncio send the end of an answer at once; else every answer waits for
    # 40 ms until its first part has been confirmed.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise UsageError(f"{host}, port {port}, cannot be listened on: {reason}.") from error
    return listening
