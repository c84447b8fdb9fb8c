"""Nothing in the audit log is changed, cut or moved unseen, and it holds nothing about the patient."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT, encode

from skinai.__main__ import main
from skinai.audit_log import AuditLog, head_file, verify_log
from skinai.data.drawing import draw_lesion
from skinai.data.images import decode_picture, hash_pixels
from skinai.errors import AuditError

ANSWER = {
    "model": "small",
    "fingerprint": "0123456789ab",
    "routing": {"overruled": True},
    "probabilities": {"mel": 0.25, "nv": 0.75},
    "malignant_probability": 0.25,
    "plausible": ["nv", "mel"],
    "certainty": "clear_lead",
    "needs_dermoscopy": False,
    "calls": {"sensitivity_0.90": {"threshold": 0.1844, "above": True}},
    "gate": {"status": "refused", "reasons": [{"code": "blurred", "sentence": "Too blurred."}], "insisted": True},
}
KEY = b"secret"


@pytest.fixture
def log(tmp_path):
    return AuditLog(tmp_path / "audit.jsonl")


def fill(log, count):
    for number in range(count):
        log.append(f"account {number}", f"{number:064x}", ANSWER)
    return log.path.read_bytes().splitlines(keepends=True)


def find_problems(log, lines=None, key=b""):
    if lines is not None:
        log.path.write_bytes(b"".join(lines))
    return verify_log(log.path, key).problems


def test_an_entry_says_who_asked_what_of_which_model_and_what_was_overruled(log):
    (line,) = fill(log, 1)
    entry = json.loads(line)
    assert entry.pop("utc").endswith("+00:00")
    assert entry.pop("hash") == verify_log(log.path).last_hash
    assert entry == {
        "number": 1,
        "account": "account 0",
        "pixels_sha256": "0" * 64,
        "model": "small",
        "fingerprint": "0123456789ab",
        "thresholds": {"sensitivity_0.90": 0.1844},
        "answer": {
            "probabilities": {"mel": 0.25, "nv": 0.75},
            "malignant_probability": 0.25,
            "plausible": ["nv", "mel"],
            "certainty": "clear_lead",
            "needs_dermoscopy": False,
            "above": {"sensitivity_0.90": True},
            "gate": "refused",
            "reasons": ["blurred"],
        },
        "overrides": {"insisted": True, "model_chosen": True},
        "previous": "0" * 64,
    }
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


def test_a_whole_log_has_no_problem(log):
    fill(log, 5)
    verdict = verify_log(log.path)
    assert (verdict.entries, verdict.problems) == (5, ())


@pytest.mark.parametrize("at", [0, 2, 4])
def test_every_change_of_a_byte_is_found(log, at):
    lines = fill(log, 5)
    for position in range(0, len(lines[at]), 7):
        changed = bytearray(lines[at])
        changed[position] ^= 1
        assert find_problems(log, [*lines[:at], bytes(changed), *lines[at + 1 :]]), position


def test_what_only_looks_the_same_is_found(log):
    """Another way of writing the same values, or a second value of the same name, of which readers take one."""
    lines = fill(log, 3)
    spaced = json.dumps(json.loads(lines[1]), separators=(",", ":")).encode() + b"\n"
    doubled = b'{"account": "somebody else", ' + lines[1][1:]
    for other in (spaced, doubled):
        assert find_problems(log, [lines[0], other, lines[2]]) == (
            "Line 2 was changed, or was written with another key.",
        )


def test_cuts_insertions_and_reordering_are_found(log):
    lines = fill(log, 6)
    assert find_problems(log, [*lines[:2], *lines[3:]])
    assert find_problems(log, [*lines[:2], lines[3], lines[2], *lines[4:]])
    assert find_problems(log, [*lines[:2], lines[1], *lines[2:]])
    assert find_problems(log, lines[1:])
    assert find_problems(log, lines[:4]) == ("2 of 6 lines are missing at the end.",)
    assert find_problems(log, []) == ("6 of 6 lines are missing at the end.",)
    assert find_problems(log, [*lines[:5], lines[5][:-20]])
    assert find_problems(log, lines) == ()


def test_a_log_written_anew_is_found_by_its_key_or_by_a_hash_kept_elsewhere(tmp_path):
    keyed = AuditLog(tmp_path / "keyed.jsonl", KEY)
    fill(keyed, 3)
    assert find_problems(keyed, key=KEY) == ()
    assert len(find_problems(keyed, key=b"other")) == 3
    assert len(find_problems(keyed)) == 3
    log = AuditLog(tmp_path / "audit.jsonl")
    fill(log, 3)
    kept = verify_log(log.path).last_hash
    fill(log, 2)
    assert verify_log(log.path, expected=kept).problems == ()
    log.path.unlink()
    head_file(log.path).unlink()
    fill(log, 5)
    assert find_problems(log) == ()
    assert verify_log(log.path, expected=kept).problems == ("The expected hash is not in it.",)


@pytest.mark.parametrize("damage", ["line", "end", "head", "gone"])
def test_nothing_is_answered_once_the_log_is_not_as_it_was_left(log, damage):
    lines = fill(log, 3)
    if damage == "line":
        log.path.write_bytes(b"".join(lines).replace(b"account 2", b"account 7"))
    elif damage == "end":
        log.path.write_bytes(b"".join(lines[:2]))
    elif damage == "gone":
        log.path.unlink()
    else:
        head_file(log.path).write_text('{"entries": 9, "hash": "x"}')
    with pytest.raises(AuditError, match="is not as it was left; nothing is answered"):
        log.append("", "0" * 64, ANSWER)


def test_a_crash_between_line_and_head_or_inside_a_line_is_no_damage(log):
    fill(log, 1)
    before = head_file(log.path).read_bytes()
    fill(log, 1)
    head_file(log.path).write_bytes(before)
    assert find_problems(log) == ()
    with log.path.open("ab") as file:
        file.write(b'{"number": 3, "utc"')
    log.append("after", "0" * 64, ANSWER)
    verdict = verify_log(log.path)
    assert (verdict.entries, verdict.problems) == (3, ())


def test_a_log_that_cannot_be_written_is_a_sentence(tmp_path):
    with pytest.raises(AuditError, match=r"cannot be written \(Is a directory\); nothing is answered"):
        AuditLog(tmp_path).append("", "0" * 64, ANSWER)


def test_where_the_disk_is_full_nothing_is_answered(log, monkeypatch):
    def fail(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(AuditError, match=r"cannot be written \(No space left on device\); nothing is answered"):
        log.append("", "0" * 64, ANSWER)


def _append_many(path):
    log = AuditLog(path)
    for number in range(25):
        log.append("", f"{number:064x}", ANSWER)


def test_threads_and_processes_write_into_one_chain(log):
    code = (
        "import sys; from pathlib import Path; from skinai.audit_log import AuditLog\n"
        "log = AuditLog(Path(sys.argv[1]))\n"
        f"for number in range(25): log.append('', f'{{number:064x}}', {ANSWER!r})"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(log.path)], cwd=ROOT) for _ in range(2)]
    threads = [threading.Thread(target=_append_many, args=(log.path,)) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(300)
    assert [one.wait(300) for one in processes] == [0, 0]
    assert not any(one.is_alive() for one in threads)
    verdict = verify_log(log.path)
    assert (verdict.entries, verdict.problems) == (100, ())


def test_kill_9_at_any_moment_leaves_a_log_that_passes_and_goes_on(log):
    code = (
        "import sys; from pathlib import Path; from skinai.audit_log import AuditLog\n"
        f"answer = {ANSWER!r}\n"
        "log = AuditLog(Path(sys.argv[1]))\n"
        "while True: log.append('', '0' * 64, answer)"
    )
    size = 0
    for moment in range(8):
        process = subprocess.Popen([sys.executable, "-c", code, str(log.path)], cwd=ROOT)
        until = time.monotonic() + 30
        while time.monotonic() < until and not (log.path.exists() and log.path.stat().st_size > size):
            time.sleep(0.01)
        time.sleep(0.013 * moment)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        log.append("", "0" * 64, ANSWER)
        assert verify_log(log.path).problems == ()
        assert log.path.stat().st_size > size
        size = log.path.stat().st_size


def test_the_command_line_writes_and_verifies(gated_model, tmp_path, monkeypatch, capsys):
    path = tmp_path / "audit.jsonl"
    monkeypatch.setenv("SKINAI_AUDIT", str(path))
    picture = tmp_path / "Jane Doe.jpg"
    picture.write_bytes(encode(draw_lesion(3, width_px=128, height_px=96)))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    command = ["--model", str(gated_model), "--insist"]
    main(["predict", "--json", str(tmp_path / "broken.jpg"), str(picture), *command])
    said = json.loads(capsys.readouterr().out.splitlines()[1])
    main(["record", str(picture), "--out", str(tmp_path / "out"), *command])
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(entries) == 2
    for entry in entries:
        assert entry["pixels_sha256"] == hash_pixels(decode_picture(picture.read_bytes()))
        assert entry["answer"]["probabilities"] == said["probabilities"]
        assert entry["overrides"]["insisted"] == said["gate"]["insisted"]
    assert "Jane" not in path.read_text()
    capsys.readouterr()
    assert main(["audit", "verify", str(path), "--expect", entries[0]["hash"]]) == 0
    assert "2 answers" in capsys.readouterr().out
    path.write_text(path.read_text().replace('"insisted": ', '"insisted":  '))
    assert main(["audit", "verify", str(path)]) == 1
    assert "Line 1 was changed" in capsys.readouterr().out
    assert main(["predict", str(picture), *command]) == 2
    assert "nothing is answered" in capsys.readouterr().err
    assert main(["audit", "verify", str(tmp_path / "absent")]) == 2
