"""kill -9 at moments that are drawn once and for all: nothing half-written passes for whole, and work goes on.

The short tests kill a few times what ends within seconds. The long ones (`make soak`) kill fifty times, every other
time inside a write.
"""

import json
import random
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import encode
from faulting import (
    SKINAI,
    Moment,
    Tally,
    draw_moments,
    hash_files,
    kill_at,
    list_temporaries,
    require_old_or_new,
    run,
    serving_pictures,
    succeed,
)

from skinai.audit_log import head_file, verify_log
from skinai.data.drawing import draw_lesion
from skinai.errors import ModelError, SkinaiError
from skinai.evaluation.decision import read_decision
from skinai.evaluation.report import read_report
from skinai.model.bundle import check_seal, load_bundle, seal_folder
from skinai.serving.assessment import Assessor
from skinai.training.checkpoint import CHECKPOINT_FILE
from skinai.training.record import read_run
from tests.data.test_download import PICTURES, TABLE, assert_finished

LONG = pytest.mark.soak
PICTURES_COUNT, PART = 48, 4
# Of an epoch's figures those that two runs of the same seed agree on, but for the order in which threads add up.
FIGURES = ("valid_log_loss", "valid_accuracy", "valid_balanced_accuracy")


@pytest.fixture(scope="module", autouse=True)
def kills():
    """How many kills each test has made, and how many of them hit; told at the end."""
    told = {}
    yield told
    hits = sum(sum(tally.hits) for tally in told.values())
    count = sum(len(tally.hits) for tally in told.values())
    parts = ", ".join(f"{name} {sum(tally.hits)}/{len(tally.hits)}" for name, tally in told.items())
    print(f"\nkills that hit a running process: {hits} of {count} ({parts})")


@pytest.fixture
def tally(kills, request):
    return kills.setdefault(request.node.name, Tally())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    contents = [encode(draw_lesion(number, width_px=240, height_px=180)) for number in range(8)]
    for number in range(PICTURES_COUNT):
        (folder / f"{number:03d}.jpg").write_bytes(contents[number % 8])
    return folder


# Batches


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=LONG)], ids=["loop", "processes"])
def batch(request, pictures, gated_model, tmp_path_factory):
    """A command that lacks only its folder, what it writes undisturbed, and how much work it is."""
    command = [*SKINAI, "predict", pictures, "--model", gated_model, "--part-size", PART]
    command += ["--processes", request.param, "--out"]
    out = tmp_path_factory.mktemp("whole") / "out"
    done = succeed(*command, out)
    return command, hash_files(out), done.work_s, out


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=LONG)])
def test_a_batch_goes_on_and_has_each_picture_once(batch, count, tmp_path, tally, pictures):
    command, whole, work_s, reference = batch
    rng = random.Random(f"batch {count} {command[-2]}")
    for number, moment in enumerate(draw_moments(rng, tally, count, writes=6)):
        out = tmp_path / str(number)
        tally.add(kill_at(moment, [*command, out], folders=[out], work_s=work_s))
        if out.exists():
            require_old_or_new(out, {}, whole)
        done = succeed(*command, out)
        assert f"{PICTURES_COUNT} pictures in" in done.out
        assert hash_files(out) == whole
        assert not list_temporaries(out)
        names = pq.read_table(out)["file"].to_pylist()
        assert (
            names == pq.read_table(reference)["file"].to_pylist() == [str(path) for path in sorted(pictures.iterdir())]
        )
    tally.require(count)


# The download


def require_true_pictures(folder):
    """Require that whatever has its own name in a data folder is whole."""
    for part, pictures in PICTURES.items():
        for path in (folder / f"HAM10000_images_part_{part}").glob("*.jpg"):
            if not path.name.startswith("."):
                assert path.read_bytes() == pictures[path.name], path
    table = folder / "HAM10000_metadata.csv"
    assert not table.exists() or table.read_bytes() == TABLE


@pytest.mark.parametrize("count", [2, pytest.param(7, marks=LONG)])
def test_a_download_goes_on_and_ends_with_every_picture(count, tmp_path, tally):
    with serving_pictures() as address:
        kill_downloads(address, count, tmp_path, tally)
    tally.require(count)


def kill_downloads(address, count, tmp_path, tally):
    def fetch(to):
        return [*SKINAI, "data", "download", "--to", to, "--server", address]

    work_s = succeed(*fetch(tmp_path / "whole"), env={"http_proxy": None}).work_s
    rng = random.Random(f"download {count}")
    for number, moment in enumerate(draw_moments(rng, tally, count, writes=6)):
        to = tmp_path / str(number)
        folders = [to, to / "HAM10000_images_part_1", to / "HAM10000_images_part_2"]
        moment = moment if moment.write else Moment(share=0.55 + 0.45 * moment.share)  # most of it is its start
        tally.add(kill_at(moment, fetch(to), folders=folders, work_s=work_s))
        require_true_pictures(to)
        done = succeed(*fetch(to))
        assert "holds all 8 pictures" in done.out
        assert_finished(to)


# Evaluation, rules, seals and exports


def spoil(model, target, *parts):
    """Copy a model folder without some of its parts."""
    shutil.copytree(model, target)
    for part in parts:
        (target / part).unlink()
    return target


def is_refused_or_whole(read, *arguments, **options):
    """Whether a reader takes what is there, or refuses it with a sentence of ours."""
    try:
        read(*arguments, **options)
    except SkinaiError as error:
        return str(error).endswith(".")
    return True


@LONG
def test_an_evaluation_is_written_whole_or_made_anew(small_model, tmp_path, tally):
    count = 7
    parts = ("decision.json", "report.json", "curves.csv.gz")
    whole = spoil(small_model, tmp_path / "whole" / "small", *parts)
    work_s = succeed(*SKINAI, "evaluate", whole).work_s
    new, labels = hash_files(whole), load_bundle(whole).labels
    rng = random.Random(f"evaluate {count}")
    for number, moment in enumerate(draw_moments(rng, tally, count, writes=3)):
        folder = spoil(small_model, tmp_path / str(number) / "small", *parts)
        tally.add(kill_at(moment, [*SKINAI, "evaluate", folder], folders=[folder], work_s=work_s))
        require_old_or_new(folder, {name: digest for name, digest in new.items() if name not in parts}, new)
        assert is_refused_or_whole(read_report, folder, labels)
        assert is_refused_or_whole(read_decision, folder, fingerprint=load_bundle(folder).fingerprint, labels=labels)
        succeed(*SKINAI, "evaluate", folder)
        assert hash_files(folder) == new
        assert not list_temporaries(folder)
    tally.require(count)


# Presses the button of the workbench again and again, with other rules each time.
PRESS = """
import sys
from pathlib import Path
import streamlit as st
from skinai.model.bundle import load_bundle
from skinai.ui.evidence import workbench
bundle = load_bundle(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    workbench._write(bundle, ["sensitivity_0.90"], 0.80 + number % 20 / 100)
    assert "not written" not in st.session_state["rules_written"], st.session_state["rules_written"]
"""


@LONG
@pytest.mark.parametrize("count", [5])
def test_rules_that_the_workbench_writes_are_the_old_or_the_new_ones_and_the_seal_can_be_renewed(
    small_model, count, tmp_path, tally
):
    folder = shutil.copytree(small_model, tmp_path / "small")
    seal_folder(folder)
    bundle, python = load_bundle(folder), SKINAI[0]
    command = [python, "-c", PRESS, folder]
    work_s = succeed(*command, 1).work_s
    rng = random.Random(f"workbench {count}")
    for moment in draw_moments(rng, tally, count, writes=30):
        before = {path.name for path in folder.glob("decision*.json")}
        moment = moment if moment.write else Moment(share=1 + moment.share)
        tally.add(kill_at(moment, [*command, 10_000], folders=[folder], work_s=work_s))
        rules = [json.loads(path.read_text()) for path in folder.glob("decision*.json")]
        assert len(rules) >= len(before)
        # Every version that was in force is kept, and none has the number of another; the one that is being replaced
        # may be there under both names.
        kept = sorted(one["version"] for one in map(json.loads, {json.dumps(rule, sort_keys=True) for rule in rules}))
        assert kept == list(range(1, len(kept) + 1))
        read_decision(folder, fingerprint=bundle.fingerprint, labels=bundle.labels)
        assert is_refused_or_whole(Assessor.load, folder)
    succeed(*SKINAI, "decide", folder)
    check_seal(folder)
    Assessor.load(folder)
    assert not list_temporaries(folder)
    tally.require(count)


@LONG
def test_a_seal_and_an_export_are_there_whole_or_not_at_all(small_model, tmp_path, tally):
    whole = shutil.copytree(small_model, tmp_path / "whole" / "small")
    commands = {"seal": [*SKINAI, "seal"], "export": [*SKINAI, "evaluate", "--bundle", tmp_path / "evidence.zip"]}
    work_s = {name: succeed(*command, whole).work_s for name, command in commands.items()}
    sealed, evidence = (whole / "seal.json").read_bytes(), tmp_path / "evidence.zip"
    exported = evidence.read_bytes()
    rng = random.Random("seal and export")
    for number, moment in enumerate(draw_moments(rng, tally, 3, writes=1)):
        folder = shutil.copytree(small_model, tmp_path / str(number) / "small")
        tally.add(kill_at(moment, [*commands["seal"], folder], folders=[folder], work_s=work_s["seal"]))
        assert not (folder / "seal.json").exists() or (folder / "seal.json").read_bytes() == sealed
        check_seal(folder)
        succeed(*commands["seal"], folder)
        assert (folder / "seal.json").read_bytes() == sealed
    for moment in draw_moments(rng, tally, 3, writes=1):
        evidence.unlink()
        tally.add(kill_at(moment, [*commands["export"], whole], folders=[tmp_path], work_s=work_s["export"]))
        if evidence.exists():
            assert evidence.read_bytes() == exported
        succeed(*commands["export"], whole)
        assert evidence.read_bytes() == exported
    tally.require(6)


@LONG
def test_a_lighter_form_is_a_model_whole_or_not_at_all(small_model, small_data, tmp_path, tally):
    command = [*SKINAI, "slim", small_model, "--data", small_data, "--out"]
    work_s = succeed(*command, tmp_path / "whole" / "light").work_s
    expected = hash_files(tmp_path / "whole" / "light")
    rng, out = random.Random("slim"), tmp_path / "again" / "light"
    for moment in draw_moments(rng, tally, 3, writes=3):
        moment = moment if moment.write else Moment(share=0.55 + 0.45 * moment.share)
        shutil.rmtree(out, ignore_errors=True)
        tally.add(kill_at(moment, [*command, out], folders=[out], work_s=work_s))
        if (out / "bundle.json").exists():
            Assessor.load(out)
        else:
            with pytest.raises(ModelError, match=r"is no model folder|does not exist"):
                Assessor.load(out)
            succeed(*command, out)
        Assessor.load(out)
        same = {"bundle.json"}  # which says when it was made
        assert {name: one for name, one in hash_files(out).items() if name not in same} == {
            name: one for name, one in expected.items() if name not in same
        }
        assert not list_temporaries(out)
    tally.require(3)


# Training


@LONG
def test_a_training_run_goes_on_to_the_same_figures_however_often_it_is_killed(small_data, tmp_path, tally):
    """At any moment of it, and inside the writes of checkpoints, logs and parts; a run that ends is begun anew."""
    command = [*SKINAI, "train", "--data", small_data, "--architecture", "seed-cnn", "--epochs", 6]
    command += ["--set", "precision=float32", "--no-test", "--out"]
    whole, out = tmp_path / "whole" / "model", tmp_path / "killed" / "model"
    work_s = succeed(*command, whole).work_s
    expected = pd.read_csv(whole / "training_log.csv")
    rng, reached = random.Random("train"), 0
    for moment in draw_moments(rng, tally, 10, writes=5):
        again = ["--resume"] if (out / CHECKPOINT_FILE).exists() else []
        moment = moment if moment.write else Moment(share=0.25 + moment.share / 2)
        folders = [out, out / "tensorboard"]
        tally.add(kill_at(moment, [*command, out, *again], folders=folders, work_s=work_s))
        if (out / "bundle.json").exists():
            require_same_run(out, expected)
            shutil.rmtree(out)
            reached = 0
        now = require_sound_run(out)
        assert now >= reached, "epochs were lost"
        reached = now
    if reached:
        succeed(*command, out, "--resume")
        require_same_run(out, expected)
        assert not list_temporaries(out)
    tally.require(10)


def require_same_run(out, expected):
    """Require that a run has ended with the figures of one that was not disturbed."""
    log = pd.read_csv(out / "training_log.csv")
    assert log["epoch"].tolist() == expected["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    for name in FIGURES:
        assert log[name].tolist() == pytest.approx(expected[name].tolist(), abs=0.01)
    Assessor.load(out)


def require_sound_run(out):
    """Require that a killed run is what it says; return after how many epochs it goes on."""
    if not out.exists():
        return 0
    with pytest.raises(ModelError, match="is no model folder"):
        load_bundle(out)
    if (out / "run.json").exists():
        read_run(out)
    if not (out / CHECKPOINT_FILE).exists():
        return 0
    with np.load(out / CHECKPOINT_FILE, allow_pickle=False) as file:
        assert all(np.isfinite(file[name]).all() for name in file.files if "/" in name)
        return len(json.loads(str(file["facts"]))["history"])


# The audit log


@pytest.mark.parametrize("count", [2, pytest.param(6, marks=LONG)])
def test_what_was_answered_before_a_kill_is_in_the_audit_log_and_the_log_goes_on(
    gated_model, pictures, count, tmp_path, tally
):
    log = tmp_path / "audit.jsonl"
    command = [*SKINAI, "predict", "--json", "--insist", "--model", gated_model, pictures]
    work_s = succeed(*command, env={"SKINAI_AUDIT": str(tmp_path / "whole.jsonl")}).work_s
    rng = random.Random(f"audit {count}")
    for moment in draw_moments(rng, tally, count, writes=30):
        moment = moment if moment.write else Moment(share=0.5 + moment.share / 2)
        before, ended = count_lines(log), []
        environment = {"SKINAI_AUDIT": str(log)}
        tally.add(kill_at(moment, command, folders=[tmp_path], work_s=work_s, env=environment, ended=ended))
        given = sum(line.endswith("\n") for line in ended[0].out.splitlines(keepends=True))
        # Each answer is written down before it is given.
        assert given <= count_lines(log) - before <= given + 1
    succeed(*command, env={"SKINAI_AUDIT": str(log)})
    verdict = verify_log(log)
    assert verdict.problems == ()
    assert verdict.entries >= PICTURES_COUNT
    tally.require(count)


def count_lines(log):
    """Return how many whole lines a log has; what a kill has left of one is none."""
    lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
    numbers = [json.loads(line)["number"] for line in lines if line.endswith(b"\n")]
    assert numbers == list(range(1, len(numbers) + 1))
    return len(numbers)


# Writes two lines into a log, and is killed between the second line and its head.
CUT = """
import os, signal, sys
from pathlib import Path
from skinai.audit_log import AuditLog
log, answer = AuditLog(Path(sys.argv[1])), {answer!r}
real = log._write_head
log._write_head = lambda number, last: os.kill(os.getpid(), signal.SIGKILL) if number >= {fatal} else real(number, last)
for _ in range({fatal}):
    log.append("", "0" * 64, answer)
"""


def test_a_log_outlives_two_kills_in_a_row_between_a_line_and_its_head(tmp_path):
    answer = {"model": "small", "fingerprint": "0" * 12, "gate": {"status": "passed", "reasons": [], "insisted": False}}
    log = tmp_path / "audit.jsonl"
    for fatal in (2, 3):
        assert run(SKINAI[0], "-c", CUT.format(answer=answer, fatal=fatal), log).code == -9
    assert json.loads(head_file(log).read_text())["entries"] == 2
    succeed(SKINAI[0], "-c", CUT.format(answer=answer, fatal=9).replace("range(9)", "range(1)"), log)
    assert verify_log(log).problems == ()
    assert verify_log(log).entries == 4
