"""What the container would hold answers without TensorFlow, by a user who may write nothing, without an engine.

`make test` installs the image's lock into `.venv/runtime`; the paths that the image copies are copied here.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from conftest import encode, free_port

from skinai.data.drawing import draw_lesion

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = Path(sys.prefix) / "runtime" / "bin" / "python"
LINES = (ROOT / "Containerfile").read_text().splitlines()
NOBODY = 65534
PATIENCE_S = 300


def read_pins(file):
    return set(re.findall(r"^([\w.-]+==[\d.]+)$", (ROOT / file).read_text(), re.MULTILINE))


def test_the_runtime_has_the_tested_versions_of_all_but_what_trains():
    assert read_pins("requirements.txt") - read_pins("requirements-runtime.txt") == {
        pin for pin in read_pins("requirements.txt") if pin.startswith(("tensorflow==", "keras=="))
    }
    assert read_pins("requirements-runtime.txt") < read_pins("requirements.txt")
    assert read_pins("requirements-ray.txt") < read_pins("requirements-runtime.txt")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The working folder of the image."""
    folder = tmp_path_factory.mktemp("image") / "skinai"
    folder.mkdir()
    copies = [shlex.split(line)[1:] for line in LINES if line.startswith("COPY ")]
    assert copies
    for *sources, target in copies:
        for source in sources:
            place = folder / (source if target == "./" else target)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, place)
    for path in folder.parents:  # pytest's folders are closed to others
        if path.stat().st_uid == os.getuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in (folder, *(part for part in folder.rglob("*") if part.is_dir())):
        path.chmod(0o755)


@pytest.fixture(scope="module")
def start(image):
    """Start the image's entry point with arguments, as nobody where the tests run as root."""
    settings = {}
    for line in LINES:
        if line.startswith("ENV "):
            settings |= dict(part.split("=", 1) for part in shlex.split(line)[1:])
    (entry,) = (json.loads(line.split(" ", 1)[1]) for line in LINES if line.startswith("ENTRYPOINT "))
    assert settings["STREAMLIT_SERVER_ADDRESS"] == "0.0.0.0"
    # A test listens to this machine alone, though not at the address at which the app would listen anyway.
    settings |= {"STREAMLIT_SERVER_ADDRESS": "127.0.0.2", "STREAMLIT_SERVER_ALLOWED_HOSTS": "127.0.0.2"}
    (packages,) = RUNTIME.parents[1].glob("lib/python3*/site-packages")
    python, identity = str(RUNTIME), {}
    other = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin")
    if os.getuid() == 0 and other:  # nobody may be kept out of the folder in which our own Python lies
        python, identity = other, {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    environment = settings | {"PATH": os.environ["PATH"], "PYTHONPATH": str(packages), "HOME": "/nonexistent"}

    def run(*arguments):
        return subprocess.Popen(
            [python, *entry[1:], *arguments],
            cwd=image,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
            **identity,
        )

    return run


def stop(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    return process.communicate(timeout=PATIENCE_S)


def wait_for(process, address):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return urllib.request.urlopen(address, timeout=PATIENCE_S).read()
        except OSError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "nobody answers"
            time.sleep(0.1)


def test_there_is_no_tensorflow_in_it():
    names = "tensorflow", "keras", "torch", "pytest"
    code = f"import importlib.util as u; print([name for name in {names} if u.find_spec(name)])"
    done = subprocess.run([RUNTIME, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_answers_for_a_picture(start, tmp_path):
    path = tmp_path / "lesion.jpg"
    path.write_bytes(encode(draw_lesion(3)))
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    out, errors = start("predict", str(path), "--json").communicate(timeout=PATIENCE_S)
    assert out, errors
    answer = json.loads(out)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert "Traceback" not in errors


def test_the_app_starts_and_passes_the_image_s_own_health_check(start):
    port = free_port()
    process = start("app", "--port", str(port))
    try:
        assert wait_for(process, f"http://127.0.0.2:{port}/_stcore/health") == b"ok"
        (line,) = (line for line in LINES if line.startswith("HEALTHCHECK "))
        check = json.loads(line.split(" CMD ")[1])
        check[0], check[2] = str(RUNTIME), check[2].replace("127.0.0.1:8501", f"127.0.0.2:{port}")
        # As what runs a container does, it asks again.
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run(check, check=False, timeout=PATIENCE_S).returncode != 0:
            assert time.monotonic() < deadline, "it is never healthy"
    finally:
        stop(process)
    check[2] = check[2].replace("8600", str(free_port()))
    assert subprocess.run(check, capture_output=True, timeout=PATIENCE_S, check=False).returncode != 0


def test_the_service_starts_as_the_containerfile_says(start):
    port = free_port()
    (line,) = (line for line in LINES if line.startswith("#") and " skinai serve " in line)
    assert " -p 127.0.0.1:8600:8600 " in line, "others reach it"
    arguments = shlex.split(line)[shlex.split(line).index("serve") :]
    assert arguments[arguments.index("--host") + 1] == "0.0.0.0"
    arguments[arguments.index("--host") + 1] = "127.0.0.1"  # a test listens to this machine alone
    process = start(*arguments, "--port", str(port))
    try:
        assert wait_for(process, f"http://127.0.0.1:{port}/readyz")
    finally:
        stop(process)
    assert process.returncode == 0


def test_in_a_container_the_service_is_not_open_unless_told(start):
    _, errors = start("serve", "--host", "0.0.0.0").communicate(timeout=PATIENCE_S)
    assert errors.startswith("skinai: Others reach 0.0.0.0: ")
