"""The workers of one run: a test that measures has the machine to itself, and what takes long is built once."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import json
import time

import pytest


def note(**facts):
    with open("notes", "a") as file:
        file.write(json.dumps(facts) + "\\n")


@pytest.fixture(autouse=True)
def timed(request):
    start = time.monotonic()
    yield
    note(alone=request.node.get_closest_marker("alone") is not None, start=start, end=time.monotonic())


@pytest.mark.parametrize("number", range(6))
def test_beside_others(number):
    time.sleep(0.2)


MARK
def test_alone(build_once):
    built = build_once("built", lambda folder: (folder / "part").write_text(str(time.monotonic())))
    note(built=(built / "part").read_text())
    time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """What was noted by two files of tests that two workers ran, a file each; one test of the first is marked."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = alone\n")
    for number, mark in enumerate(("@pytest.mark.alone", "")):
        (folder / f"test_{number}.py").write_text(TESTS.replace("MARK", mark))
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder"]
    command += ["--basetemp", str(folder / "temporary")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return [json.loads(line) for line in (folder / "notes").read_text().splitlines()]


def test_a_test_marked_alone_overlaps_no_other(notes):
    runs = [note for note in notes if "alone" in note]
    assert len(runs) == 14
    (alone,) = (run for run in runs if run["alone"])
    others = [run for run in runs if not run["alone"]]
    assert all(run["end"] <= alone["start"] or run["start"] >= alone["end"] for run in others)
    assert all(run["end"] <= alone["start"] for run in others)
    assert any(a["start"] < b["start"] < a["end"] for a in others for b in others), "none ran beside another"


def test_what_one_worker_has_built_the_other_takes(notes):
    first, second = (note["built"] for note in notes if "built" in note)
    assert first == second
