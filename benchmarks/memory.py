"""``python -m benchmarks.memory``: what each step of the app's start adds to its memory, and takes of a processor."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.timing import read_memory_mb
from skinai.model.bundle import EXPORT_FILE, find_clinical_folder, find_model_folder, models_folder
from skinai.model.session import Session

_MODULES = (
    "pandas",
    "streamlit",
    "skinai.ui.server",
    "skinai.ui.resources",
    "skinai.ui.answer",
    "fhir.resources.diagnosticreport",
    "scipy.optimize",
    "scipy.stats",
)


def list_steps() -> list[dict[str, object]]:
    """Return the steps as a process of its own makes them: megabytes and processor seconds each, and megabytes then."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.memory"], capture_output=True, text=True, check=True)
    steps: list[dict[str, object]] = json.loads(done.stdout)
    return steps


def main() -> None:
    """Make the steps in this process."""
    steps: list[dict[str, object]] = [{"step": "Python, NumPy, LiteRT", "total_mb": read_memory_mb()}]
    kept = []

    def make(name: str, call: Callable[[], object]) -> None:
        before, start = read_memory_mb(), time.process_time()
        kept.append(call())
        after = read_memory_mb()
        seconds = time.process_time() - start
        steps.append({"step": name, "mb": round(after - before, 1), "seconds": round(seconds, 2), "total_mb": after})

    for name in _MODULES:
        make(name, partial(importlib.import_module, name))
    clinical = find_clinical_folder()
    folders = [find_model_folder(), *([clinical] if clinical else []), models_folder() / "ham10000-efficientnet-lite0"]
    for folder in folders:
        make(folder.name, partial(_load, folder))
    print(json.dumps(steps))


def _load(folder: Path) -> Session:
    """Return a model that has answered once, which is when it takes its memory."""
    session = Session(folder / EXPORT_FILE)
    session.run(np.zeros(session.input_shape[1:], np.uint8))
    return session


if __name__ == "__main__":
    main()
