"""`skinai serve` ends with one sentence where it cannot start, and listens to this computer only unless told."""

import shutil
import socket
import subprocess
import sys

import pytest
from conftest import ROOT

from skinai.__main__ import main
from skinai.service.server import listen

PATIENCE_S = 120


def run(*arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


@pytest.mark.parametrize("package", ["fastapi", "prometheus_client"])
def test_without_its_packages_it_says_what_to_install(package, gated_model):
    code = f"import sys; sys.modules[{package!r}] = None; import skinai.__main__ as m; sys.exit(m.main(sys.argv[1:]))"
    done = run("-c", code, "serve", "--model", gated_model)
    assert done.returncode == 2
    assert done.stderr == f"skinai: The service needs {package}: pip install -r requirements-service.txt.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workers", "0"], "--workers is at least 1. Received: 0."),
        (["--queue", "15"], "--queue is at least 16, a request's most pictures. Received: 15."),
        (["--port", "70000"], "127.0.0.1, port 70000, cannot be listened on: bind(): port must be 0-65535."),
        (["--clinical", "absent"], "The model folder absent does not exist."),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(gated_model, capsys, arguments, sentence):
    assert main(["serve", "--model", str(gated_model), *arguments]) == 2
    assert capsys.readouterr().err == f"skinai: {sentence}\n"


def test_a_port_that_is_taken_is_told(gated_model, capsys):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--model", str(gated_model), "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"skinai: 127.0.0.1, port {port}, cannot be listened on: Address already in use.\n"
    )


def test_answers_are_sent_at_once():
    """What asyncio goes by; otherwise the second part of an answer waits until the first has been confirmed."""
    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_a_model_that_is_refused_while_it_is_loaded_ends_the_process_with_its_sentence(gated_model, tmp_path):
    folder = shutil.copytree(gated_model, tmp_path / "small")
    (folder / "decision.json").write_text("{}")
    done = run("-m", "skinai", "serve", "--port", "0", "--model", folder)
    assert done.returncode == 2
    assert done.stdout.startswith("http://127.0.0.1:")
    (sentence,) = (line for line in done.stderr.splitlines() if line.startswith("skinai: "))
    assert "decision.json" in sentence
    assert "Traceback" not in done.stderr
