"""Many pictures become one folder of Parquet: the same bytes from any engine, each picture once, also after a kill."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, encode

from skinai import __version__
from skinai.__main__ import main
from skinai.bulk.job import build_job
from skinai.bulk.processes import score_here, score_in_processes
from skinai.bulk.run import score_pictures
from skinai.bulk.scorer import build_schema, describe_answer
from skinai.bulk.sources import list_pictures
from skinai.data.drawing import draw_lesion
from skinai.errors import ModelError, SkinaiError
from skinai.labels import HAM10000
from skinai.model.bundle import load_bundle
from skinai.model.router import CLINICAL, DERMOSCOPY, NEITHER, NEITHER_SENTENCE, Route
from skinai.serving.assessment import Assessment
from skinai.serving.batch import COLUMNS
from skinai.serving.files import FileAnswer
from skinai.serving.predictor import Prediction
from skinai.serving.routing import Routing
from skinai.wording import RECORD_NOTICE

PATIENCE_S = 300
FAST_MODEL = ROOT / "models" / "ham10000-efficientnet-lite0"


def wait_until(condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def read_folder(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def draw_pictures(folder, count, **size):
    """Fill a folder with so many pictures, of which ten differ."""
    folder.mkdir(exist_ok=True)
    contents = [encode(draw_lesion(number, **size)) for number in range(min(count, 10))]
    for number in range(count):
        (folder / f"{number:04d}.jpg").write_bytes(contents[number % 10])
    return folder


@pytest.fixture(autouse=True)
def _started(monkeypatch):
    """Worker processes begin with the module that was started; Streamlit's test runner leaves a page in its place."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Eleven pictures, of which one is refused, one cannot be read, and one is named with more than ASCII."""
    folder = draw_pictures(tmp_path_factory.mktemp("many") / "pictures", 8, width_px=128, height_px=96)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (folder / "Läsion.png").write_bytes(encode(draw_lesion(3, width_px=128, height_px=96), "PNG"))
    (folder / os.fsdecode(b"\xff.png")).write_bytes(encode(draw_lesion(4, width_px=128, height_px=96), "PNG"))
    return folder


@pytest.fixture(scope="module")
def plain(pictures, gated_model, tmp_path_factory):
    """What the plain loop writes, in parts of four."""
    out = tmp_path_factory.mktemp("plain") / "answers.parquet"
    assert main(["predict", str(pictures), "--model", str(gated_model), "--out", str(out), "--part-size", "4"]) == 0
    return out


def test_each_picture_is_a_row_with_the_columns_of_the_other_tables(plain, pictures, gated_model):
    table = pq.read_table(plain)
    bundle = load_bundle(gated_model)
    added = ["reason_code", "answered_by", "model", "fingerprint", "skinai"]
    floats = ["malignant_probability", "threshold", *(f"probability_{code}" for code in HAM10000.codes)]
    assert sorted(table.column_names) == sorted({*COLUMNS, *added, *floats})
    assert all(str(table.schema.field(name).type) == "double" for name in floats)
    assert table.schema.metadata[b"notice"].decode() == RECORD_NOTICE
    rows = table.to_pylist()
    names = [file.encode("utf-8", errors="backslashreplace").decode() for file in list_pictures([str(pictures)])]
    assert [row["file"] for row in rows] == names
    assert names[-1].endswith(r"/\udcff.png")
    assert {(row["model"], row["fingerprint"], row["skinai"]) for row in rows} == {
        (bundle.name, bundle.fingerprint, __version__)
    }
    (broken,) = (row for row in rows if row["file"].endswith("broken.jpg"))
    assert broken["status"] == broken["reason_code"] == "unreadable"
    assert broken["reason"] == "The picture is damaged or incomplete and could not be read."
    assert broken["most_probable"] is broken["probability_mel"] is broken["above"] is None


def test_it_says_what_the_table_of_few_pictures_says(plain, pictures, gated_model, tmp_path):
    out = tmp_path / "few.csv"
    assert main(["predict", str(pictures), "--model", str(gated_model), "--out", str(out), "--format", "csv"]) == 2
    few = pd.read_csv(out).drop(columns="notice")
    many = pd.read_parquet(plain)[few.columns]
    few, many = (
        table.astype(object).where(table.notna(), None).sort_values("file", ignore_index=True) for table in (few, many)
    )
    pd.testing.assert_frame_equal(few, many)


def test_two_processes_write_the_same_bytes_as_the_plain_loop(plain, pictures, gated_model, tmp_path, capsys):
    command = ["predict", str(pictures), "--model", str(gated_model), "--part-size", "4", "--processes", "2"]
    assert main([*command, "--out", str(tmp_path / "two")]) == 0
    assert read_folder(tmp_path / "two") == read_folder(plain)
    assert len(read_folder(plain)) == 3 + 2
    said = capsys.readouterr().out.splitlines()
    counts = json.loads((plain / "_summary.json").read_text())
    assert counts["pictures"] == 11
    assert said[0] == (
        f"11 pictures in {tmp_path / 'two'}: {counts['answered']} answered, {counts['refused']} refused, 1 unreadable."
    )
    assert said[1].startswith("Scored by this command: 11 in ")


def test_a_finished_run_scores_nothing_again(plain, pictures, gated_model, capsys):
    before = {file: file.stat().st_mtime_ns for file in plain.glob("part-*")}
    command = ["predict", str(pictures), "--model", str(gated_model), "--out", str(plain), "--part-size", "4"]
    assert main([*command, "--processes", "2"]) == 0
    assert {file: file.stat().st_mtime_ns for file in plain.glob("part-*")} == before
    assert "Scored by this command: 0 in " in capsys.readouterr().out


def test_killed_half_way_and_started_again_every_picture_is_there_once(gated_model, tmp_path):
    pictures, out = draw_pictures(tmp_path / "pictures", 150), tmp_path / "out"
    command = [sys.executable, "-m", "skinai", "predict", str(pictures), "--model", str(gated_model)]
    command += ["--out", str(out), "--part-size", "3", "--processes", "2"]
    for _ in range(5):
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as running:
            wait_until(lambda: len(list(out.glob("part-*"))) >= 10)
            workers = _list_workers(running.pid)
            running.send_signal(signal.SIGKILL)
            code = running.wait(PATIENCE_S)
        wait_until(lambda workers=workers: not any(_lives(worker) for worker in workers))
        first, second, *others = sorted(out.glob("part-*"))
        if code == -signal.SIGKILL and len(workers) == 2 and len(others) < 45:
            break
        shutil.rmtree(out)  # the test was held up for longer than the run takes
    else:
        pytest.fail("it was never killed half way")
    assert len(others) >= 8
    kept = {file: file.stat().st_mtime_ns for file in others}
    # What a machine that loses power can leave behind.
    first.write_bytes(first.read_bytes()[:-9])
    second.write_bytes(b"")
    (out / ".tmp-one.parquet").write_bytes(b"PAR1")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert f"Scored by this command: {150 - 3 * len(others)} in" in done.stdout
    assert pq.read_table(out)["file"].to_pylist() == list_pictures([str(pictures)])
    assert {file: file.stat().st_mtime_ns for file in others} == kept
    assert not list(out.glob(".tmp-*"))


def _lives(process):
    state = _read(f"/proc/{process}/stat").rpartition(")")[2].split()
    return bool(state) and state[0] != "Z"


def test_a_run_goes_on_only_with_the_same_list_model_and_choices(plain, pictures, gated_model, tmp_path, capsys):
    out = shutil.copytree(plain, tmp_path / "out")
    other = shutil.copytree(gated_model, tmp_path / "other")
    (other / "decision.json").write_text((other / "decision.json").read_text() + "\n")
    fewer = str(pictures / "0001.jpg")
    same = {"--model": str(gated_model), "--out": str(out), "--part-size": "4"}
    for paths, changes, what in (
        ([fewer], {}, "list of pictures"),
        ([str(pictures)], {"--model": str(other)}, "model"),
        ([str(pictures)], {"--part-size": "5"}, "part size"),
        ([fewer], {"--model": str(other)}, "model and another list of pictures"),
    ):
        options = [word for pair in (same | changes).items() for word in pair]
        assert main(["predict", *paths, *options]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"skinai: {out} was begun with another {what}; give --out a new folder, or the same command as before to "
            "go on."
        )
    assert main(["predict", str(pictures), *[word for pair in same.items() for word in pair], "--insist"]) == 2
    assert "begun with another choice of --insist;" in capsys.readouterr().err
    assert read_folder(out) == read_folder(plain)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "parquet"], "Parquet needs --out FOLDER."),
        (["--processes", "2"], "Parquet needs --out FOLDER."),
        (["--out", "x.parquet", "--json"], "--json and Parquet do not go together."),
        (["--out", "x.parquet", "--processes", "0"], "--processes is at least 1. Received: 0."),
        (["--out", "x.parquet", "--part-size", "0"], "A part has at least 1 picture. Received: 0."),
        (["--out", "x.csv", "--format", "csv", "--engine", "ray"], "--engine goes with Parquet and not with "),
        (["--out", "{folder}/notes/x", "--format", "parquet"], "{folder}/notes holds something else"),
        (["--out", "{folder}/file.parquet"], "{folder}/file.parquet is a file; Parquet is written as a folder "),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(arguments, sentence, pictures, gated_model, tmp_path, capsys):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x").mkdir()
    (tmp_path / "notes" / "x" / "y").touch()
    (tmp_path / "file.parquet").touch()
    arguments = [argument.format(folder=tmp_path) for argument in arguments]
    assert main(["predict", str(pictures), "--model", str(gated_model), *arguments]) == 2
    said = capsys.readouterr().err
    assert re.sub(r"/notes/x holds", "/notes holds", said).startswith(f"skinai: {sentence.format(folder=tmp_path)}")
    assert said.count("\n") == 1
    assert not Path("x.parquet").exists()


def test_two_commands_do_not_write_into_one_folder(pictures, gated_model, tmp_path):
    job, files = build_job(gated_model, None), list_pictures([str(pictures)])

    def intrude(job, parts):
        with pytest.raises(SkinaiError, match=r"^Another process is writing into .*out\.$"):
            score_pictures(job, files, tmp_path / "out", engine=score_here)
        yield from score_here(job, parts)

    assert score_pictures(job, files, tmp_path / "out", engine=intrude).pictures == 11


def test_a_part_that_comes_twice_is_written_once(pictures, gated_model, tmp_path):

    def repeat(job, parts):
        for answer in score_here(job, parts):
            yield from (answer, (answer[0], b"another"))

    job, files = build_job(gated_model, None), list_pictures([str(pictures)])
    done = score_pictures(job, files, tmp_path / "out", engine=repeat, part_size=4)
    assert (done.pictures, done.scored) == (11, 11)


def test_a_worker_that_finds_another_model_ends_the_run(pictures, gated_model, tmp_path):
    model = shutil.copytree(gated_model, tmp_path / "model")
    job = build_job(model, None)
    (model / "decision.json").write_text((model / "decision.json").read_text() + "\n")
    with pytest.raises(ModelError, match="holds another model than when the run was started"):
        score_pictures(
            job,
            list_pictures([str(pictures)]),
            tmp_path / "out",
            engine=lambda job, parts: score_in_processes(job, parts, processes=2),
        )


def test_a_worker_that_dies_is_replaced_until_it_died_three_times_over_a_part(gated_model, tmp_path):
    """A worker waits for a pipe that nobody writes into, so that it can be killed."""
    os.mkfifo(draw_pictures(tmp_path / "pictures", 2, width_px=128, height_px=96) / "wait.jpg")
    (tmp_path / "list.txt").write_text("pictures/0000.jpg\npictures/0001.jpg\npictures/wait.jpg\n")
    command = [sys.executable, "-m", "skinai", "predict", str(tmp_path / "list.txt"), "--model", str(gated_model)]
    command += ["--out", str(tmp_path / "out"), "--part-size", "1", "--processes", "2"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        wait_until(lambda: len(list((tmp_path / "out").glob("part-*"))) == 2)
        for _ in range(3):
            wait_until(lambda: len(_list_workers(running.pid)) == 1)
            (worker,) = _list_workers(running.pid)
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda worker=worker: not _lives(worker))
        _, said = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 2
    assert said.splitlines()[-1] == (
        "skinai: A worker ended 3 times over part 2, the last time with code -9; the parts that are done stay."
    )


def _list_workers(process):
    """Return the processes that another one has started to score."""
    children = _read(f"/proc/{process}/task/{process}/children").split()
    return [int(child) for child in children if "spawn_main" in _read(f"/proc/{child}/cmdline")]


def _read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def test_a_row_has_the_probabilities_of_the_model_that_answered(photographs):
    labels = {DERMOSCOPY: HAM10000, CLINICAL: photographs}
    columns = build_schema(list(labels.values())).names
    assert {f"probability_{code}" for code in (*HAM10000.codes, *photographs.codes)} <= set(columns)
    shares = (0.5, 0.5, *[0.0] * 10)
    assessment = Assessment(Prediction(photographs, shares, "second", "abc"), None, None, (), (), {})
    route = Route(CLINICAL, {})
    answer = FileAnswer(Path("a"), "second", "abc", assessment, (), False, Routing((route,), CLINICAL))
    row = describe_answer("s3://bucket/a", answer, labels)
    assert set(row) <= set(columns)
    assert (row["file"], row["status"], row["answered_by"], row["model"]) == (
        *("s3://bucket/a", "answered", CLINICAL, "second"),
    )
    assert (row["probability_acne"], row.get("probability_mel"), row["malignant_probability"]) == (0.5, None, None)


def test_what_neither_model_is_fit_for_is_refused_and_not_unreadable(photographs):
    routing = Routing((Route(NEITHER, {}),), None)
    answer = FileAnswer(Path("a"), "first", "abc", None, ((NEITHER, NEITHER_SENTENCE),), False, routing)
    row = describe_answer("a", answer, {DERMOSCOPY: HAM10000, CLINICAL: photographs})
    assert (row["status"], row["reason"], row["reason_code"]) == ("refused", NEITHER_SENTENCE, NEITHER)
    assert row["answered_by"] is row["most_probable"] is None


@pytest.mark.soak
@pytest.mark.alone
@pytest.mark.shipped
def test_the_second_worker_is_worth_four_fifths_of_the_first(tmp_path, record_property):
    """From when every worker has handed over its first part, so that nobody's start counts; decoding does."""
    pictures = draw_pictures(tmp_path / "pictures", 240)
    figures = {}
    for processes in (1, 2):
        out = tmp_path / f"{processes}.parquet"
        command = ["predict", str(pictures), "--model", str(FAST_MODEL), "--out", str(out), "--part-size", "6"]
        assert main([*command, "--processes", str(processes)]) == 0
        written = sorted(file.stat().st_mtime_ns for file in out.glob("part-*"))
        figures[processes] = 6 * (40 - processes) / (written[-1] - written[processes - 1]) * 1e9
        record_property(f"pictures_per_s_{processes}", round(figures[processes], 1))
    print(figures)
    assert figures[2] >= 1.6 * figures[1], figures
