"""A Ray cluster of two nodes on this computer; after a line on standard input the second one is killed.

That happens at a moment when it scores. Prints the cluster's address, and at the kill what the workers of the second
node are doing, a word each.
"""

import contextlib
import sys
import time
from pathlib import Path


def main():
    from ray._private import services  # pytest looks for doctests here, where there is no Ray
    from ray.cluster_utils import Cluster

    services.get_node = be_patient(services.get_node)
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False, "wait": False})
    second = cluster.add_node(**node, wait=False)
    cluster.wait_for_nodes(timeout=300)
    print(cluster.address, flush=True)
    sys.stdin.readline()
    raylet = second.all_processes["raylet"][0].process.pid
    until = time.monotonic() + 120
    while "MapBatches" not in (work := list_work(raylet)) and time.monotonic() < until:
        time.sleep(0.005)
    cluster.remove_node(second, allow_graceful=False)
    print(*work, flush=True)
    sys.stdin.readline()
    cluster.shutdown()


def be_patient(ask):
    """Return a question that is asked again for five minutes: Ray gives a node 30 s to start, however busy all is."""

    def ask_again(*arguments):
        until = time.monotonic() + 300
        while True:
            try:
                return ask(*arguments)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    return ask_again


def list_work(raylet):
    """Return what the title of each worker of a node says that it is doing."""
    titles = []
    for child in Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split():
        with contextlib.suppress(OSError):
            titles.append(Path(f"/proc/{child}/cmdline").read_text().split("\0")[0])
    return [title.removeprefix("ray::").split("(")[0] for title in titles if title.startswith("ray::")]


if __name__ == "__main__":
    main()
