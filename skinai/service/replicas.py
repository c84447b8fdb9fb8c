"""The same application in several processes of a Ray cluster, as many as there is work for: Ray Serve."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import Any

from skinai.audit_log import open_audit_log
from skinai.cluster import join_cluster
from skinai.errors import ModelError, SkinaiError
from skinai.service.app import Service, build_service
from skinai.service.schema import MAX_DEADLINE_MS
from skinai.service.server import listen, load_desk

NAME = "skinai"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Replica:
    """One process: the models, their workers, and the application that answers with them.

    Parameters
    ----------
    folder, clinical, workers, capacity
        See :func:`skinai.service.server.serve`.

    Raises
    ------
    ModelError
        If a model folder is refused.
    """

    def __init__(self, folder: Path, clinical: Path | None, workers: int, capacity: int) -> None:
        self.service = Service(workers=workers, capacity=capacity, audit=open_audit_log())
        self.service.open(load_desk(folder, clinical, copies=workers))

    def __serve_build_asgi_app__(self) -> Any:
        """Return the application; Ray Serve asks for it by this name."""
        return build_service(self.service)

    def check_health(self) -> None:
        """Raise where Ray has to start this process anew.

        Raises
        ------
        RuntimeError
            If a worker has ended.
        """
        if not self.service.jobs.is_alive:
            raise RuntimeError("A worker has ended.")


def serve_on_ray(
    folder: Path, clinical: Path | None, *, host: str, port: int, workers: int, capacity: int, replicas: int
) -> None:
    """Answer requests on a Ray cluster until this process is told to stop, and then those that were accepted.

    It is the cluster that ``RAY_ADDRESS`` names, else one of this machine alone, which ends with this process. Every
    machine needs the model folders at the same path. One process answers at first; there are more while each has more
    pictures under way than workers, and fewer again after that.

    Parameters
    ----------
    folder, clinical, host, workers, capacity
        See :func:`skinai.service.server.serve`; `workers` and `capacity` are those of one process.
    port : int
        0 takes a free one.
    replicas : int
        So many processes at most.

    Raises
    ------
    UsageError
        If the address cannot be listened on.
    SkinaiError
        If no cluster answers at ``RAY_ADDRESS``, or no process can answer there.
    """
    with listen(host, port) as free:  # so that a mistake is one sentence; Ray's proxy listens itself
        port = free.getsockname()[1]
    # A model that is refused is a sentence here, and not only in the log of a process elsewhere.
    load_desk(folder, clinical, copies=1)
    stopped = threading.Event()
    ray = join_cluster()
    for one in _SIGNALS:  # only now: Ray sets its own, and ends at once
        signal.signal(one, lambda *_: stopped.set())
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        serve.start(http_options={"host": host, "port": port, "keep_alive_timeout_s": 75})
        deployment = serve.deployment(
            serve.ingress()(Replica),
            name=NAME,
            ray_actor_options={"num_cpus": workers},
            # What waits beyond it waits before the processes, for one that is free or new.
            max_ongoing_requests=capacity,
            autoscaling_config={
                "min_replicas": 1,
                "max_replicas": replicas,
                "target_ongoing_requests": 2 * workers,
                "upscale_delay_s": 3,
                "downscale_delay_s": 60,
            },
            graceful_shutdown_timeout_s=MAX_DEADLINE_MS / 1000,
        )
        arguments = (folder.resolve(), clinical and clinical.resolve(), workers, capacity)
        serve.run(deployment.bind(*arguments), name=NAME, route_prefix="/")
        shown = f"[{host}]" if ":" in host else host
        print(f"http://{shown}:{port}", flush=True)
        stopped.wait()
        serve.delete(NAME)  # waits until the processes have answered, which `shutdown` does not
        serve.shutdown()
    except (RuntimeError, ModelError) as error:
        raise SkinaiError(f"Ray cannot serve: {str(error).splitlines()[0]}") from error
    finally:
        ray.shutdown()
