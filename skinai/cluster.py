"""A Ray cluster, for batches and for the service: joined, or started on this machine alone."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
from typing import Any

from skinai.errors import SkinaiError, UsageError

_ADDRESS = "RAY_ADDRESS"
_PATIENCE_S = 5


def require_ray() -> None:
    """Refuse to go on without Ray.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("The engine ray needs Ray: pip install -r requirements-ray.txt.")


def join_cluster() -> Any:
    """Join the cluster that ``RAY_ADDRESS`` names, or start one of this machine alone, and return Ray.

    Raises
    ------
    SkinaiError
        If no cluster answers at the address.
    """
    address = os.environ.get(_ADDRESS)
    if address and not _is_heard(address):
        raise SkinaiError(f"No Ray cluster answers at {address}, which {_ADDRESS} names.")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address:
        # Ray would listen on every address of this machine, unless told that it cannot be part of a cluster.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray

    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise SkinaiError(f"Ray cannot be reached at {address}: {error}") from error
    return ray


def _is_heard(address: str) -> bool:
    """Return whether somebody listens at an address, which Ray itself would try for two minutes.

    One without a port, such as ``auto``, is Ray's to find.
    """
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not port.isdecimal():
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()
    except (OSError, OverflowError):
        return False
    return True
