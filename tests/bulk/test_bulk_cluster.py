"""On Ray, which has an environment of its own: the same bytes, and each picture once also when a node is lost."""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import object_store
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, encode
from ray_machine import PATIENCE_S, PYTHON, list_addresses, needs_ray, ray_environment

from skinai.__main__ import main
from skinai.data.drawing import draw_lesion

pytestmark = needs_ray


@pytest.fixture
def environment(tmp_path):
    """What Ray's processes are started with."""
    with ray_environment(tmp_path) as environment:
        yield environment | object_store.KEYS


def wait_until(condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def fill(objects, count):
    """Add so many pictures, of which five differ."""
    contents = [encode(draw_lesion(number)) for number in range(5)]
    objects |= {f"pictures/{number:04d}.jpg": contents[number % 5] for number in range(count)}


@contextlib.contextmanager
def start(*arguments, environment):
    """Yield the command on Ray while it runs."""
    command = [str(PYTHON), "-m", "skinai", "predict", *map(str, arguments), "--engine", "ray"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes) as running:
        try:
            yield running
        finally:
            running.kill()


def read_folder(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.soak
def test_on_this_machine_ray_writes_the_same_bytes_and_listens_to_it_only(small_model, environment, tmp_path):
    pictures = tmp_path / "pictures with a space"
    pictures.mkdir()
    for number in range(6):
        (pictures / f"{number}.jpg").write_bytes(encode(draw_lesion(number, width_px=128, height_px=96)))
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (pictures / os.fsdecode(b"\xff.png")).write_bytes(encode(draw_lesion(4, width_px=128, height_px=96), "PNG"))
    command = [pictures, (pictures / "1.jpg").as_uri(), "--model", small_model, "--part-size", "2", "--out"]
    heard = set()
    with start(*command, tmp_path / "ray", environment=environment) as running:
        while running.poll() is None:
            heard |= list_addresses(environment["RAY_TMPDIR"])
            time.sleep(0.2)
        assert running.returncode == 0, running.stdout.read()
    assert main(["predict", *map(str, command), str(tmp_path / "plain")]) == 0
    assert read_folder(tmp_path / "ray") == read_folder(tmp_path / "plain")
    rows = pq.read_table(tmp_path / "ray").to_pylist()
    assert [row["reason"] for row in rows if row["status"] == "unreadable"] == [
        "The picture is damaged or incomplete and could not be read."
    ]
    assert len(rows) == 9
    assert heard
    assert all(address.startswith("127.") for address in heard), heard


@contextlib.contextmanager
def two_nodes(environment):
    """Yield the address of a cluster of two nodes, and what kills the second one and returns its workers' titles."""
    command = [str(PYTHON), str(Path(__file__).with_name("two_nodes.py"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes) as cluster:

        def kill():
            cluster.stdin.write("\n")
            cluster.stdin.flush()
            return cluster.stdout.readline().split()

        try:
            yield cluster.stdout.readline().strip(), kill
        finally:
            with contextlib.suppress(BrokenPipeError):
                cluster.stdin.close()
            cluster.wait(PATIENCE_S)


@pytest.mark.alone
def test_when_one_of_two_nodes_is_killed_half_way_every_picture_is_there_once(small_model, environment, tmp_path):
    objects, out = {}, tmp_path / "out"
    fill(objects, 360)
    objects["pictures/broken.jpg"] = b"\xff\xd8\xff nothing"
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    with object_store.running(objects) as url, two_nodes(environment) as (address, kill):
        assert address, "the two nodes did not start"
        command = [url.format("/pictures"), "--model", small_model, "--part-size", "3", "--out", out]
        with start(*command, environment=environment | {"RAY_ADDRESS": address}) as running:
            wait_until(lambda: len(list(out.glob("part-*"))) >= 20 or running.poll() is not None)
            lost = kill()
            done_before = len(list(out.glob("part-*")))
            said, _ = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == 0, said
        assert "MapBatches" in lost  # it was scoring
        assert 20 <= done_before < 115
        rows = pq.read_table(out).to_pylist()
        assert [row["file"] for row in rows] == [url.format(f"/{key}") for key in sorted(objects)]
        assert {row["status"] for row in rows if "broken" not in row["file"]} <= {"answered", "refused"}
        assert rows[-1]["status"] == "unreadable"
        assert "Scored by this command: 361 in" in said
        # A run that goes on scores what is missing only; the plain loop on one machine takes over from the cluster.
        for file in sorted(out.glob("part-*"))[:2]:
            file.unlink()
        done = subprocess.run(
            [sys.executable, "-m", "skinai", "predict", *map(str, command)],
            **{"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "check": True},
        )
        assert "Scored by this command: 6 in" in done.stdout
        assert pq.read_table(out).to_pylist() == rows


def test_without_ray_it_says_what_to_install(small_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["predict", str(tmp_path), "--model", str(small_model), "--out", str(tmp_path / "out")]
    assert main([*command, "--engine", "ray"]) == 2
    assert capsys.readouterr().err == "skinai: The engine ray needs Ray: pip install -r requirements-ray.txt.\n"


def test_an_address_at_which_nobody_answers_is_one_sentence(small_model, environment, tmp_path):
    (tmp_path / "a.png").write_bytes(encode(draw_lesion(4, width_px=128, height_px=96), "PNG"))
    command = [tmp_path / "a.png", "--model", small_model, "--out", tmp_path / "out"]
    with start(*command, environment=environment | {"RAY_ADDRESS": "127.0.0.1:1"}) as running:
        said, _ = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, said) == (
        *(2, "skinai: No Ray cluster answers at 127.0.0.1:1, which RAY_ADDRESS names.\n"),
    )


def test_a_machine_of_a_cluster_has_the_versions_that_are_pinned_and_no_tensorflow():
    pins, ours = (
        dict(re.findall(r"^([\w-]+)(?:\[data,serve\])?==([\d.]+)$", (ROOT / file).read_text(), re.MULTILINE))
        for file in ("requirements-ray.txt", "requirements.txt")
    )
    assert {name: version for name, version in pins.items() if name != "ray"}.items() <= ours.items()
    code = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True)
    installed = dict(one.split("==") for one in done.stdout.split())
    assert pins.items() <= installed.items()
    assert not installed.keys() & {"tensorflow", "keras", "streamlit", "bentoml"}
