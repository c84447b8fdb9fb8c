"""Two processes train one network as one process does."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinai.__main__ import main
from skinai.errors import UsageError
from skinai.model.bundle import load_bundle
from skinai.training.peers import ALONE, MpiPeers

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("train_together.py")
MPIEXEC = Path(sys.executable).with_name("mpiexec")
TOGETHER = [str(MPIEXEC), "-n", "2", sys.executable]


class World:
    """What :class:`MpiPeers` asks of MPI, between threads of this process."""

    def __init__(self, number, boxes, barrier):
        self.number, self.boxes, self.barrier = number, boxes, barrier

    def Get_rank(self):  # noqa: N802
        return self.number

    def Get_size(self):  # noqa: N802
        return len(self.boxes)

    def allgather(self, value):
        self.boxes[self.number] = value
        self.barrier.wait(300)
        found = list(self.boxes)
        self.barrier.wait(300)
        return found

    def Allreduce(self, sent, total):  # noqa: N802
        total[:] = np.sum(self.allgather(sent), axis=0)

    def Barrier(self):  # noqa: N802
        self.barrier.wait(300)


def together(count, work):
    """Return what `work` returns for each of `count` peers."""
    boxes, barrier, found = [None] * count, threading.Barrier(count), [None] * count

    def run(number):
        found[number] = work(MpiPeers(World(number, boxes, barrier)))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    return found


@pytest.mark.parametrize(("count", "rows"), [(2, 7), (3, 2), (4, 16)])
def test_shares_are_joined_in_the_order_that_they_were_taken_from(count, rows):
    whole = np.arange(rows * 3).reshape(rows, 3)
    shares = together(count, lambda peers: peers.share(whole))
    assert sum(map(len, shares)) == rows
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    for joined in together(count, lambda peers: peers.join(peers.share(whole))):
        assert (joined == whole).all()


def test_the_mean_counts_each_process_by_its_pictures():
    """So that the gradient is the one of the whole batch, however it is shared out."""
    pictures = np.random.default_rng(3).normal(size=(7, 4, 2))

    def work(peers):
        own = peers.share(pictures)
        return peers.average([own.mean(axis=0), np.float32(own.mean())], weight=len(own))

    for arrays in together(3, work):
        assert arrays[0] == pytest.approx(pictures.mean(axis=0), abs=1e-6)
        assert arrays[1] == pytest.approx(pictures.mean(), abs=1e-6)
        assert arrays[1].shape == ()


def test_a_process_without_a_picture_does_not_count():
    (mean,) = together(2, lambda peers: peers.average([np.full(3, 5.0 - peers.number)], weight=1 - peers.number))[1]
    assert mean.tolist() == [5, 5, 5]


def test_processes_notice_that_they_do_not_agree():
    assert together(2, lambda peers: peers.agree("same")) == [True, True]
    assert together(2, lambda peers: peers.agree(peers.number)) == [False, False]


def test_the_first_goes_first():
    order = []

    def work(peers):
        with peers.first_goes_first():
            time.sleep(0.05 * (2 - peers.number))
            order.append(peers.number)

    together(3, work)
    assert order[0] == 0
    assert sorted(order) == [0, 1, 2]


def test_alone_nothing_is_shared():
    rows = np.arange(5)
    assert ALONE.share(rows).tolist() == rows.tolist()
    assert ALONE.join(rows) is rows
    assert ALONE.is_first


def test_all_processes_end_with_the_same_network(small_data):
    """With batch normalisation, augmentation and a last batch of which one process has no picture."""
    done = subprocess.run([*TOGETHER, str(PROGRAM), str(small_data)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert {first.pop("number"), second.pop("number")} == {0, 1}
    assert first == second
    assert first["loss"][-1] < first["loss"][0]


def test_where_one_is_killed_all_end_and_the_resumed_run_has_the_loss_curve_of_one_process(small_data, tmp_path):
    out = tmp_path / "model"
    arguments = ["train", "--data", str(small_data), "--architecture", "seed-cnn", "--epochs", "3", "--no-test"]
    command = [*TOGETHER, "-m", "skinai", *arguments, "--out", str(out), "--engine", "mpi"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint, deadline = out / "checkpoint.npz", time.monotonic() + 300
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(max(find_descendants(process.pid, "skinai")), signal.SIGKILL)
    assert process.wait(300) != 0
    assert checkpoint.exists()
    resumed = subprocess.run([*command, "--resume"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.count("Trained model") == 1
    assert load_bundle(out).facts["training"]["epochs"] == 3
    log = pd.read_csv(out / "training_log.csv")
    assert log["epoch"].tolist() == [1, 2, 3]
    assert main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    expected = pd.read_csv(tmp_path / "whole" / "training_log.csv")
    for name in ("loss", "valid_log_loss"):
        assert log[name].tolist() == pytest.approx(expected[name].tolist(), abs=0.05), name


def test_processes_that_see_other_pictures_do_not_train_together(small_data, tmp_path):
    command = [sys.executable, "-m", "skinai", "train", "--architecture", "seed-cnn", "--engine", "mpi", "--no-test"]
    command += ["--out", str(tmp_path / "model"), "--data", str(small_data)]
    done = subprocess.run(
        [str(MPIEXEC), "-n", "1", *command, "--seed", "1", ":", "-n", "1", *command, "--seed", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode != 0
    assert (
        "skinai: The processes that train together have other pictures, another split or configuration." in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_a_process_ends_the_others_once_its_sentence_has_been_read(monkeypatch):
    happened = []

    class Ended(World):
        def Abort(self, code):  # noqa: N802
            happened.append(("ended", code))

    def read():
        time.sleep(0.3)
        happened.append("read")
        happened.append(os.read(reader, 1000))

    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        thread = threading.Thread(target=read)
        thread.start()
        with MpiPeers(Ended(0, [None], None)).ending_together():
            raise UsageError("A sentence.")
        thread.join()
    os.close(reader)
    assert happened[0] == "read"
    assert sorted(happened[1:], key=str) == [("ended", 2), b"skinai: A sentence.\n"]


def test_without_mpiexec_the_engine_is_refused(small_data, tmp_path, capsys):
    command = ["train", "--data", str(small_data), "--architecture", "seed-cnn", "--out", str(tmp_path / "model")]
    assert main([*command, "--engine", "mpi"]) == 2
    assert "mpiexec -n 2 python -m skinai train" in capsys.readouterr().err


def test_without_mpi_it_is_a_sentence(small_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    command = ["train", "--data", str(small_data), "--architecture", "seed-cnn", "--out", str(tmp_path / "model")]
    assert main([*command, "--engine", "mpi"]) == 2
    assert "pip install -r requirements-mpi.txt" in capsys.readouterr().err


def find_descendants(parent, word):
    """Return the processes below one that run Python with this word in their command."""
    found, waiting = [], [parent]
    while waiting:
        one = waiting.pop()
        try:
            children = [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
            text = Path(f"/proc/{one}/cmdline").read_text()
        except OSError:
            continue
        waiting += children
        if text.startswith(sys.executable) and word in text:
            found.append(one)
    return found
