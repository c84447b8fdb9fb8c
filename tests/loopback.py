"""A service that answers on this computer while a test runs."""

import contextlib
import threading
import time

from skinai.service.app import build_service
from skinai.service.server import Server, listen

PATIENCE_S = 120


@contextlib.contextmanager
def running(service):
    """Yield the address at which a service answers."""
    with listen("127.0.0.1", 0) as listening:
        server = Server(build_service(service), service)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until = time.monotonic() + PATIENCE_S
            while not server.started and time.monotonic() < until:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.stop()
            thread.join(PATIENCE_S)
            service.jobs.close()
            assert not thread.is_alive()
