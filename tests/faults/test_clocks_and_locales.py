"""Clocks that jump, time zones and languages change no answer and no file."""

import datetime
import json
import re
import shutil
import subprocess
import zipfile

import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import encode
from faulting import (
    SKINAI,
    ask_service,
    hash_files,
    require_no_traceback,
    run,
    serving_pages,
    serving_requests,
    succeed,
)
from page_visitor import Visitor

from skinai.audit_log import head_file, verify_log
from skinai.data.drawing import draw_lesion

LONG = pytest.mark.soak
UTC_TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)"
LESION = encode(draw_lesion(3), "PNG")
# Put before a process: its clock goes back an hour as soon as a file is there; or it stands still. Compiled packages do
# not bear another datetime, so only modules of skinai get it.
CLOCK = """
import datetime, os, sys, time
from importlib.machinery import PathFinder
_real, _file, _frozen = time.time, os.environ["JUMP_AT"], os.environ.get("FROZEN_AT")

def _now():
    return float(_frozen) if _frozen else _real() - (3600 if os.path.exists(_file) else 0)

class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(_now(), tz)

class _Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target) if name.startswith("skinai") else None
        if spec is not None and hasattr(spec.loader, "exec_module"):
            run = spec.loader.exec_module
            def exec_module(module):
                run(module)
                if getattr(module, "datetime", None) is datetime.datetime:
                    module.datetime = _Datetime
            spec.loader.exec_module = exec_module
        return spec

time.time, time.time_ns = _now, lambda: int(_now() * 1e9)
sys.meta_path.insert(0, _Finder)
"""
# The hour in which Berlin's clocks go back, and are at half past two twice.
TWICE = int(datetime.datetime(2026, 10, 25, 0, 30, tzinfo=datetime.UTC).timestamp())
ZONES = ("UTC", "Pacific/Kiritimati", "America/St_Johns", "Europe/Berlin")
PLAIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def clock(tmp_path):
    """Variables with which a process has another clock: back from when a file `JUMP_AT` is there, or `FROZEN_AT`."""
    folder = tmp_path / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK)
    return {"PYTHONPATH": str(folder), "JUMP_AT": str(tmp_path / "now")}


def test_the_clock_of_these_tests_really_goes_back(clock, tmp_path):
    code = (
        "import time, sys; from pathlib import Path; from skinai.audit_log import UTC, datetime\n"
        "a = time.time(), datetime.now(UTC); Path(sys.argv[1]).touch()\n"
        "b = time.time(), datetime.now(UTC); print(a[0] - b[0], (a[1] - b[1]).total_seconds())"
    )
    done = succeed(SKINAI[0], "-c", code, tmp_path / "now", env=clock)
    assert [round(float(part)) for part in done.out.split()] == [3600, 3600]


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02d}.jpg").write_bytes(encode(draw_lesion(number, width_px=128, height_px=96)))
    (folder / "Läsion TITLE İı.jpg").write_bytes(encode(draw_lesion(3, width_px=128, height_px=96)))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return folder


def test_a_clock_that_goes_back_an_hour_shortens_no_batch_and_disturbs_no_log(gated_model, pictures, tmp_path, clock):
    command = [*SKINAI, "predict", pictures, "--model", gated_model, "--part-size", 2]
    succeed(*command, "--out", tmp_path / "plain")
    # When the first part is there, an hour is taken back.
    first = next((tmp_path / "plain").glob("part-000000*")).name
    environment = clock | {"JUMP_AT": str(tmp_path / "out" / first)}
    done = succeed(*command, "--out", tmp_path / "out", env=environment)
    assert hash_files(tmp_path / "out") == hash_files(tmp_path / "plain")
    seconds = float(re.search(r"14 in ([-\d.]+) s", done.out)[1])
    assert 0 <= seconds < done.seconds + 0.1
    log = tmp_path / "audit.jsonl"
    environment = clock | {"SKINAI_AUDIT": str(log), "JUMP_AT": str(head_file(log))}  # after the first line
    assert run(*SKINAI, "predict", "--json", "--insist", pictures, "--model", gated_model, env=environment).code == 2
    assert verify_log(log).problems == ()
    times = [json.loads(line)["utc"] for line in log.read_text().splitlines()]
    assert len(times) == 13
    assert all(re.fullmatch(UTC_TIME, one) for one in times)
    assert times[1] < times[0]


@LONG
def test_a_clock_that_goes_back_an_hour_makes_no_epoch_negative(small_data, tmp_path, clock):
    out = tmp_path / "model"
    command = [*SKINAI, "train", "--data", small_data, "--architecture", "seed-cnn", "--epochs", 4, "--no-test"]
    environment = clock | {"JUMP_AT": str(out / "checkpoint.npz")}
    done = succeed(*command, "--out", out, env=environment)
    seconds = pd.read_csv(out / "training_log.csv")["seconds"]
    assert len(seconds) == 4
    assert (seconds >= 0).all()
    assert seconds.sum() < done.seconds
    facts, record = (json.loads((out / name).read_text()) for name in ("bundle.json", "run.json"))
    assert 0 <= facts["training"]["fit_seconds"] <= done.seconds
    assert re.fullmatch(UTC_TIME, facts["created_utc"])
    assert re.fullmatch(UTC_TIME, record["started_utc"])
    # It did go back while the run was under way.
    assert facts["created_utc"] < record["started_utc"]


@LONG
def test_a_clock_that_goes_back_an_hour_lets_the_service_answer_as_before(gated_model, tmp_path, clock):
    """Deadlines, waits and rates count seconds that only go on."""
    with serving_requests("--model", gated_model, "--rate", 1000, env=clock) as (address, child):
        before = ask_service(address, LESION, insist="true", deadline_ms=20_000)
        (tmp_path / "now").touch()
        after = ask_service(address, LESION, insist="true", deadline_ms=20_000)
    assert before[0] == after[0] == 200
    assert before[1]["pictures"] == after[1]["pictures"]
    took = [int(one) for one in re.findall(r"/v1/predict 200 in (-?\d+) ms", child.said.err)]
    assert len(took) == 2
    assert all(0 <= one < 20_000 for one in took)
    require_no_traceback(child.said.err)


def write_everything(model, pictures, out, environment, *, short):
    """Write what the command line writes of a model and of pictures; return the hash of each file."""
    out.mkdir()
    predict = [*SKINAI, "predict", pictures, "--model", model, "--insist"]
    folder = shutil.copytree(model, out / "small")
    (folder / "report.json").unlink()
    (folder / "decision.json").unlink()
    commands = {
        "answers.json": [*predict, "--json"],
        "answers.csv.txt": [*predict, "--format", "csv", "--out", out / "answers.csv"],
    }
    if not short:
        commands |= {
            "answers.txt": predict,
            "parquet.txt": [*predict, "--out", out / "answers.parquet"],
            "isic.txt": [*predict[:-1], "--format", "isic", "--out", out / "isic.csv"],
            "report.txt": [*SKINAI, "evaluate", folder, "--bundle", out / "evidence.zip"],
            "record.txt": [*SKINAI, "record", pictures / "03.jpg", "--model", model, "--insist", "--out", out / "r"],
        }
    for name, command in commands.items():
        done = run(*command, env=environment)
        require_no_traceback(done.err)
        assert done.code in (0, 2), done.err
        text = (done.out + done.err).replace(str(out), "OUT")
        (out / name).write_text(re.sub(r"in \d+\.\d s, [\d.]+ a second", "in a while", text))
    if not short:
        with zipfile.ZipFile(out / "evidence.zip") as archive:
            assert archive.testzip() is None
        assert len(pq.read_table(out / "answers.parquet")) == 14
    return hash_files(out)


@LONG
def test_every_time_zone_gives_the_same_files_also_in_the_night_in_which_clocks_change(
    gated_model, pictures, tmp_path, clock
):
    written = {}
    for zone in ZONES:
        environment = clock | {"TZ": zone, "FROZEN_AT": str(TWICE)}
        written[zone] = write_everything(
            gated_model, pictures, tmp_path / zone.replace("/", "-"), environment, short=False
        )
    assert len(written["UTC"]) > 25
    for zone in ZONES:
        assert written[zone] == written["UTC"], zone
    record = json.loads((tmp_path / "UTC" / "r" / "record.json").read_text())
    assert re.fullmatch(UTC_TIME, record["created_utc"])
    assert record["created_utc"].startswith("2026-10-25T00:30")


@pytest.fixture(scope="session")
def locales(tmp_path_factory):
    """Locales by name, with the variables that have them used; those that cannot be had here are left out."""
    folder = tmp_path_factory.mktemp("locales")
    found = {name: {"LC_ALL": name} for name in ("C", "C.UTF-8", "POSIX")}
    for name, source in (("de_DE", "de_DE"), ("tr_TR", "tr_TR"), ("ar", "ar_SA")):
        path = folder / f"{name}.UTF-8"
        command = ["localedef", "--no-archive", "-i", source, "-f", "UTF-8", str(path)]
        if shutil.which("localedef") and subprocess.run(command, capture_output=True, check=False).returncode == 0:
            found[name] = {"LC_ALL": path.name, "LOCPATH": str(folder)}
    return found


def test_the_plainest_locale_gives_the_same_answers(gated_model, pictures, tmp_path, locales):
    """Without its own help Python would read names and write text as ASCII there."""
    expected = write_everything(gated_model, pictures, tmp_path / "utf8", locales["C.UTF-8"], short=True)
    environment = locales["C"] | PLAIN
    assert write_everything(gated_model, pictures, tmp_path / "plain", environment, short=True) == expected
    assert "Läsion TITLE İı.jpg" in (tmp_path / "plain" / "answers.csv").read_text()


@LONG
def test_every_locale_gives_the_same_answers_tables_and_reports(gated_model, pictures, tmp_path, locales, clock):
    frozen = clock | {"FROZEN_AT": str(TWICE)}
    expected = write_everything(gated_model, pictures, tmp_path / "C.UTF-8", frozen | locales["C.UTF-8"], short=False)
    print(f"locales: {', '.join(locales)}")
    for name, variables in locales.items():
        environment = frozen | PLAIN | variables
        found = write_everything(gated_model, pictures, tmp_path / f"plain {name}", environment, short=False)
        assert found == expected, name


@LONG
def test_data_are_read_the_same_in_every_locale(small_data, tmp_path, locales):
    """Letters that Turkish lowers in its own way, and numbers that German writes with a comma."""
    data = shutil.copytree(small_data, tmp_path / "Daten İ")
    table = (data / "HAM10000_metadata.csv").read_text()
    (data / "HAM10000_metadata.csv").write_text(table.replace("trunk", "TRUNK").replace("histo", "HISTO"))
    said = {}
    for name, variables in locales.items():
        split = tmp_path / f"{name}.csv"
        environment = PLAIN | variables
        audit = run(*SKINAI, "data", "audit", "--data", data, "--json", "--quick", env=environment)
        require_no_traceback(audit.err)
        succeed(*SKINAI, "split", "--data", data, "--out", split, env=environment)
        said[name] = (audit.out, split.read_bytes())
    assert len(set(said.values())) == 1, {name: hash(one) for name, one in said.items()}


@LONG
@pytest.mark.parametrize("name", ["C", "tr_TR"])
def test_app_and_service_answer_in_other_locales(gated_model, locales, name):
    if name not in locales:
        pytest.skip(f"the locale {name} cannot be had here")
    plain = {"SKINAI_MODEL": str(gated_model), "SKINAI_CLINICAL": ""}
    environments = {"plain": plain, "other": PLAIN | locales[name] | plain}
    answers, said = {}, {}
    for kind, variables in environments.items():
        with serving_requests("--model", gated_model, env=variables) as (address, child):
            answers[kind] = ask_service(address, LESION, insist="true")[1]["pictures"]
        require_no_traceback(child.said.err)
    assert answers["plain"] == answers["other"]
    for kind, variables in environments.items():
        with serving_pages(env=variables) as (address, child), Visitor(address) as visitor:
            said[kind] = visitor.upload(LESION).text
        require_no_traceback(child.said.err + child.said.out)
    assert said["plain"] == said["other"]
