"""A crash or a full disk leaves the old file whole."""

import os
import signal
import subprocess
import sys
import time

import pytest

from skinai.artefacts import hash_file, remove_stale_temporaries, write_atomic, write_json


def test_a_failing_write_leaves_the_old_file_and_no_leftover(tmp_path):
    path = tmp_path / "model.bin"
    write_atomic(path, b"old")

    def fail(temporary):
        temporary.write_bytes(b"half")
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        write_atomic(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_kill_9_leaves_the_old_version_or_the_new_one(tmp_path):
    path = tmp_path / "artefact.bin"
    code = (
        "import sys; from pathlib import Path; from skinai.artefacts import write_atomic\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1; write_atomic(Path(sys.argv[1]), bytes([n % 256]) * 3_000_000)\n"
    )
    interrupted = 0
    for attempt in range(12):
        path.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", code, str(path)])
        deadline = time.monotonic() + 300
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.003 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        content = path.read_bytes()
        assert len(content) == 3_000_000
        assert len(set(content)) == 1
        interrupted += remove_stale_temporaries(tmp_path)
    assert interrupted > 0, "no write was ever interrupted, so nothing was tested"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "artefact.bin"
    write_atomic(path, b"old")
    code = (
        "import resource, signal, sys; from pathlib import Path; from skinai.artefacts import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "write_atomic(Path(sys.argv[1]), b'n' * 1_000_000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "File too large" in done.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nan_is_not_written_as_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "report.json", {"value": float("nan")})
    assert not list(tmp_path.iterdir())


def test_the_hash_is_sha256(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert hash_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
