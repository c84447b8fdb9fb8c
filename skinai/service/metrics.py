"""What the service counts, for Prometheus. No figure says anything of a picture's content or of who sent it."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6)


class Metrics:
    """Counters, gauges and histograms of one service, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "skinai_requests", "Answered HTTP requests.", ["route", "status"], registry=self._registry
        )
        self.request_s = Histogram(
            "skinai_request_seconds",
            "From the arrival of a request to the end of its answer.",
            ["route"],
            buckets=_BOUNDS_S,
            registry=self._registry,
        )
        self.pictures = Counter(
            "skinai_pictures", "Pictures by what came of them.", ["status"], registry=self._registry
        )
        self.waited_s = Histogram(
            "skinai_picture_wait_seconds",
            "How long a picture waited for a worker.",
            buckets=_BOUNDS_S,
            registry=self._registry,
        )
        self.worked_s = Histogram(
            "skinai_picture_work_seconds",
            "How long a worker took for a picture.",
            buckets=_BOUNDS_S,
            registry=self._registry,
        )
        for status in ("answered", "refused", "unreadable"):
            self.pictures.labels(status)

    def watch(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read whenever the metrics are asked for."""
        Gauge(f"skinai_{name}", description, registry=self._registry).set_function(read)

    def write(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
