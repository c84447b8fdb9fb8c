"""Ray on this computer, in the environment of its own that `make test` sets up."""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import pytest

PYTHON = Path(sys.prefix) / "ray" / "bin" / "python"
PATIENCE_S = 900
needs_ray = pytest.mark.skipif(not PYTHON.exists() and not os.environ.get("CI"), reason="make test sets Ray up")


@contextlib.contextmanager
def ray_environment(home):
    """Yield what Ray's processes are started with: they listen to this computer only, with short names of sockets."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        yield os.environ | {"RAY_TMPDIR": folder, "HOME": str(home)}


def list_addresses(folder, without=""):
    """Return the addresses at which processes with this RAY_TMPDIR listen, those of version 4 and mapped to it.

    Processes whose command begins with `without` are left out.
    """
    sockets = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == "0A":  # it listens
                word = cells[1].split(":")[0][-8:]
                sockets[f"socket:[{cells[9]}]"] = ".".join(str(byte) for byte in reversed(bytes.fromhex(word)))
    found = set()
    for process in list_processes(folder):
        with contextlib.suppress(OSError):
            if without and (process / "cmdline").read_text().startswith(without):
                continue
            links = [os.readlink(handle) for handle in (process / "fd").iterdir()]
            found |= {sockets[link] for link in links if link in sockets}
    return found


def list_processes(folder):
    """Return the entries in /proc of the processes with this RAY_TMPDIR."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"RAY_TMPDIR={folder}\0".encode() in (process / "environ").read_bytes():
                found.append(process)
    return found
