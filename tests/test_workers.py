"""The workers of one run: a file of tests stays with one of them, and what takes long is built once."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import json
import os
import time

import pytest


def note(**facts):
    with open("notes", "a") as file:
        file.write(json.dumps(facts) + "\\n")


@pytest.fixture(autouse=True)
def timed():
    start = time.monotonic()
    yield
    note(file=__file__, worker=os.environ["PYTEST_XDIST_WORKER"], start=start, end=time.monotonic())


def test_the_other_file_runs_meanwhile():
    open(os.path.basename(__file__) + ".runs", "w").close()
    until = time.monotonic() + 120
    while not all(os.path.exists(f"test_{number}.py.runs") for number in range(2)):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("number", range(5))
def test_more_of_the_same_file(number):
    pass


def test_build(build_once):
    built = build_once("built", lambda folder: (folder / "part").write_text(str(time.monotonic())))
    note(built=(built / "part").read_text())
"""


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """What was noted by two files of tests, run as `make test` does, but by two workers."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "pytest.ini").write_text("[pytest]\n")
    for number in range(2):
        (folder / f"test_{number}.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    command += ["--basetemp", str(folder / "temporary")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return [json.loads(line) for line in (folder / "notes").read_text().splitlines()]


def test_a_file_stays_with_one_worker_and_runs_beside_another(notes):
    runs = [note for note in notes if "worker" in note]
    assert len(runs) == 14
    workers = {(run["file"], run["worker"]) for run in runs}
    assert len(workers) == len(dict(workers)) == len({worker for _, worker in workers}) == 2
    assert any(a["start"] < b["start"] < a["end"] for a in runs for b in runs), "none ran beside another"


def test_what_measures_has_the_machine_to_itself_and_nothing_is_left_out():
    """`make test` is two runs: the first on several workers, the second without any."""
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    runs = dict(re.findall(r'-m pytest( -n \d)?.* -m "([^"]+)"', makefile))
    assert runs == {" -n 3": "not soak and not alone", "": "alone and not soak"}


def test_what_one_worker_has_built_the_other_takes(notes):
    first, second = (note["built"] for note in notes if "built" in note)
    assert first == second
