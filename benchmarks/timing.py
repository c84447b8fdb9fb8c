"""Repeated timing, and the memory of a process."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_WARM_UP = 5
_IDLE_S = 0.02


def time_calls(call: Callable[[], object], *, count: int) -> dict[str, float]:
    """Return median, 95th percentile and least time of a call in milliseconds, after a few that do not count."""
    for _ in range(_WARM_UP):
        call()
    times = np.empty(count)
    for number in range(count):
        start = time.perf_counter()
        call()
        times[number] = (time.perf_counter() - start) * 1000
    median, high = np.percentile(times, (50, 95))
    return {"median_ms": round(median, 2), "p95_ms": round(high, 2), "best_ms": round(times.min(), 2)}


def read_memory_mb(process: int | None = None) -> float:
    """Return the resident memory of a process in MB, from Linux' own account; of this one by default."""
    status = Path(f"/proc/{process or os.getpid()}/status").read_text(encoding="utf-8")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return round(int(kilobytes) / 1024, 1)


def wait_until_idle(browser: Any) -> None:
    """Wait until none of a browser's processes has done anything for half a second, or for a minute.

    A new window of Chromium first loads pages of its own, those below its address bar: over a second of a processor,
    which would be counted against the page that the window is told to open.

    Parameters
    ----------
    browser : playwright.sync_api.Browser
        A Chromium.
    """
    session = browser.new_browser_cdp_session()
    deadline, spent = time.monotonic() + 60, -np.inf
    while time.monotonic() < deadline:
        before, spent = spent, sum(one["cpuTime"] for one in session.send("SystemInfo.getProcessInfo")["processInfo"])
        if 0 <= spent - before < _IDLE_S:
            break
        time.sleep(0.5)
    session.detach()


def describe_machine() -> dict[str, object]:
    """Return what the timings depend on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": platform.system(),
        "python": platform.python_version(),
    }
