"""A full disk costs what could not be written and nothing else: one sentence, and the old files as they were."""

import json
import shutil
import subprocess

import pytest
from conftest import encode
from faulting import (
    SKINAI,
    ask_service,
    find_sentence,
    hash_files,
    limit_files,
    list_temporaries,
    require_no_traceback,
    run,
    serving_pages,
    serving_pictures,
    serving_requests,
    succeed,
)
from page_visitor import Visitor

from skinai import wording
from skinai.audit_log import verify_log
from skinai.data.drawing import draw_lesion
from skinai.model.bundle import load_bundle
from tests.data.test_download import assert_finished

LONG = pytest.mark.soak
LESION = encode(draw_lesion(3), "PNG")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.jpg").write_bytes(encode(draw_lesion(number, width_px=128, height_px=96)))
    return folder


@LONG
@pytest.mark.parametrize("most_bytes", [1_000, 300_000, 2_000_000])
def test_training_on_a_full_disk_is_a_sentence_and_goes_on_once_there_is_room(small_data, tmp_path, most_bytes):
    """From less than its record needs, to less than the network does."""
    out = tmp_path / "model"
    command = [*SKINAI, "train", "--data", small_data, "--architecture", "seed-cnn", "--epochs", 2, "--no-test"]
    said = find_sentence(run(*command, "--out", out, **limit_files(most_bytes)))
    assert "File too large" in said or "could not be written" in said, said
    assert not (out / "bundle.json").exists()
    assert not list_temporaries(tmp_path)
    if most_bytes == 2_000_000:
        succeed(*command, "--out", out, *(["--resume"] if (out / "checkpoint.npz").exists() else []))
        load_bundle(out)


@LONG
def test_training_on_a_small_disk_that_gets_full_is_a_sentence(small_data, tmp_path):
    """Not a limit of one process: a file system of 3 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        command = [*SKINAI, "train", "--data", small_data, "--architecture", "seed-cnn", "--epochs", 1, "--no-test"]
        said = find_sentence(run(*command, "--out", disk / "model"))
        assert "No space left on device" in said
        assert not (disk / "model" / "bundle.json").exists()
        assert not list_temporaries(disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("command", ["decide", pytest.param("evaluate", marks=LONG), pytest.param("seal", marks=LONG)])
def test_rules_report_and_seal_stay_the_old_ones(small_model, tmp_path, command):
    folder = shutil.copytree(small_model, tmp_path / "small")
    if command == "evaluate":
        succeed(*SKINAI, "decide", folder, "--coverage", "0.8")  # so that there is something to write
    before = hash_files(folder)
    said = find_sentence(run(*SKINAI, command, folder, **limit_files(100)))
    assert said.startswith(str(folder)), said
    assert said.endswith(": File too large."), said
    assert hash_files(folder) == before
    assert not list_temporaries(folder)
    succeed(*SKINAI, command, folder)
    assert hash_files(folder) != before


def test_a_download_says_so_and_goes_on(tmp_path):
    with serving_pictures() as address:
        command = [*SKINAI, "data", "download", "--to", tmp_path / "ham", "--server", address]
        said = find_sentence(run(*command, **limit_files(2_000)))
        assert said.endswith("could not be written: File too large."), said
        assert not list_temporaries(tmp_path)
        succeed(*command)
    assert_finished(tmp_path / "ham")


@pytest.mark.parametrize("form", ["parquet", pytest.param("csv", marks=LONG), pytest.param("record", marks=LONG)])
def test_answers_that_cannot_be_written_are_a_sentence(gated_model, pictures, tmp_path, form):
    out = tmp_path / f"out.{form}"
    command = [*SKINAI, "predict", pictures, "--model", gated_model, "--out", out, "--insist"]
    if form == "csv":
        command += ["--format", "csv"]
    if form == "record":
        command = [*SKINAI, "record", pictures / "1.jpg", "--model", gated_model, "--out", out, "--insist"]
    said = find_sentence(run(*command, **limit_files(900)))
    assert said.startswith(str(out)), said
    assert said.endswith(": File too large."), said
    assert not list_temporaries(tmp_path)
    done = run(*command)
    assert done.code in (0, 2), done.err
    assert out.exists()


def test_nothing_is_answered_that_the_audit_log_has_no_room_for_and_the_log_stays_sound(
    gated_model, pictures, tmp_path
):
    log = tmp_path / "audit.jsonl"
    command = [*SKINAI, "predict", "--json", "--insist", "--model", gated_model, pictures]
    done = run(*command, env={"SKINAI_AUDIT": str(log)}, **limit_files(6_000))
    assert find_sentence(done) == "The audit log cannot be written (File too large); nothing is answered."
    given = len(done.out.splitlines())
    assert 1 < given < 12
    verdict = verify_log(log)
    assert (verdict.entries, verdict.problems) == (given, ())
    succeed(*command, env={"SKINAI_AUDIT": str(log)})
    verdict = verify_log(log)
    assert (verdict.entries, verdict.problems) == (given + 12, ())


def test_a_head_that_cannot_be_written_takes_its_line_with_it(tmp_path, monkeypatch):
    """A line can still fit where a new file does not: again and again, and the log must not fall behind its head."""
    from skinai import audit_log
    from skinai.errors import AuditError

    log = audit_log.AuditLog(tmp_path / "audit.jsonl")
    answer = {"model": "a", "fingerprint": "b", "gate": {"status": "passed", "reasons": [], "insisted": False}}
    log.append("", "0" * 64, answer)
    with monkeypatch.context() as patch:
        patch.setattr(audit_log, "head_file", lambda path: path / "no folder" / "head")
        for _ in range(3):
            with pytest.raises(AuditError):
                log.append("", "0" * 64, answer)
    log.append("", "0" * 64, answer)
    assert (verify_log(log.path).entries, verify_log(log.path).problems) == (2, ())


def test_the_service_refuses_what_it_cannot_write_down_and_goes_on(gated_model, tmp_path):
    log = tmp_path / "audit.jsonl"
    environment = {"SKINAI_AUDIT": str(log)}
    with serving_requests("--model", gated_model, env=environment) as (address, child):
        answers = [ask_service(address, LESION) for _ in range(2)]
        _limit(child, log.stat().st_size + 100)
        answers += [ask_service(address, LESION) for _ in range(3)]
        _limit(child, 1 << 30)
        answers += [ask_service(address, LESION) for _ in range(2)]
    assert [status for status, _ in answers] == [200, 200, 503, 503, 503, 200, 200]
    assert {facts["sentence"] for status, facts in answers if status == 503} == {wording.AUDIT_BROKEN}
    assert (verify_log(log).entries, verify_log(log).problems) == (4, ())
    require_no_traceback(child.said.err)


def _limit(child, most_bytes):
    """Change how large the files of a running process may become."""
    import resource

    resource.prlimit(child.process.pid, resource.RLIMIT_FSIZE, (most_bytes, 1 << 40))


@LONG
def test_the_page_refuses_what_it_cannot_write_down_and_goes_on(gated_model, tmp_path):
    log, model = tmp_path / "audit.jsonl", shutil.copytree(gated_model, tmp_path / "small")
    before = hash_files(model)
    environment = {"SKINAI_AUDIT": str(log), "SKINAI_MODEL": str(model), "SKINAI_CLINICAL": ""}
    other = encode(draw_lesion(4), "PNG")
    with serving_pages(env=environment) as (address, child):
        with Visitor(address) as visitor:
            assert wording.AUDIT_BROKEN not in visitor.upload(LESION).text
        _limit(child, log.stat().st_size + 10)
        with Visitor(address) as visitor:
            assert wording.AUDIT_BROKEN in visitor.upload(other).text
        _limit(child, 1 << 30)
        with Visitor(address) as visitor:
            assert wording.AUDIT_BROKEN not in visitor.upload(other).text
    assert (verify_log(log).entries, verify_log(log).problems) == (2, ())
    assert hash_files(model) == before
    assert [json.loads(line)["number"] for line in log.read_text().splitlines()] == [1, 2]
