"""The benchmarks measure what they say; how fast it is, they only print."""

import json
import shutil
import subprocess
import sys
import time
from itertools import pairwise

import pytest
from conftest import ROOT

from benchmarks.memory import list_steps
from benchmarks.pipeline import encode_lesion, time_steps
from benchmarks.runtimes import LOADERS, write_frame
from benchmarks.timing import describe_machine, read_memory_mb, time_calls
from skinai.data.images import decode_picture
from skinai.model.bundle import models_folder


def test_a_call_is_timed_in_milliseconds_and_warm():
    calls = []

    def wait():
        calls.append(time.perf_counter())
        time.sleep(0.2 if len(calls) < 3 else 0.005)  # the first ones are slow, as a network's are

    timed = time_calls(wait, count=10)
    assert len(calls) == 15
    assert 5 <= timed["best_ms"] <= timed["median_ms"] <= timed["p95_ms"]
    assert timed["median_ms"] < 150


_HOLDS = """
import sys
import numpy as np
from benchmarks.timing import read_memory_mb
before = read_memory_mb()
held = np.ones(100_000_000, dtype=np.uint8)
print(before, read_memory_mb(), flush=True)
sys.stdin.read()
"""


def test_memory_is_that_of_the_process():
    """In a process of its own: one that has freed much, as a worker of the tests has, need not grow for 100 MB."""
    command = [sys.executable, "-c", _HOLDS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        before, after = (float(part) for part in child.stdout.readline().split())
        assert 90 < after - before < 110
        assert abs(read_memory_mb(child.pid) - after) < 10
        child.stdin.close()
    assert describe_machine()["cores"] >= 1


@pytest.mark.shipped
def test_the_steps_of_the_apps_start_add_up():
    steps = list_steps()
    for before, after in pairwise(steps):
        assert after["total_mb"] == pytest.approx(before["total_mb"] + after["mb"], abs=2)
    loaded = {step["step"]: step["mb"] for step in steps[1:]}
    assert loaded["ham10000-ensemble"] > loaded["ham10000-efficientnet-lite0"] > 5
    assert loaded["pandas"] > 5


def test_every_step_of_the_shipped_models_is_timed():
    assert decode_picture(encode_lesion()).shape == (450, 600, 3)
    rows = time_steps(count=2)
    steps = {(row["step"], row["model"]) for row in rows}
    for name in ("ham10000-ensemble", "ham10000-efficientnet-lite0", "clinical-efficientnet-lite0"):
        assert {("frame", name), ("network", name), ("decode to probabilities", name)} <= steps
    assert ("route between two models", "router") in steps
    assert all(0 < row["best_ms"] <= row["p95_ms"] for row in rows)


@pytest.mark.shipped
def test_a_runtime_is_timed_in_a_process_of_its_own_and_has_to_answer(tmp_path):
    shutil.copy(models_folder() / "ham10000-efficientnet-lite0" / "model.tflite", tmp_path / "litert-fp32.tflite")
    write_frame(tmp_path)
    assert "LiteRT, fp32" in LOADERS
    command = [sys.executable, "-m", "benchmarks.runtimes", "LiteRT, fp32", str(tmp_path), "3"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    row = json.loads(done.stdout)
    assert row["runtime"] == "LiteRT, fp32"
    assert row["median_ms"] > 0
    assert 10 < row["memory_mb"] < 500
