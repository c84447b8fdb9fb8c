"""With keys the service answers only to who has one, with a rate nobody takes it all, and others are told why."""

import http.client
import re
import signal
import subprocess
import sys
import time

import pytest
import requests
from conftest import ROOT
from loopback import running

from skinai.__main__ import main
from skinai.service import app, server
from skinai.service.app import Service
from skinai.service.jobs import QueueFullError
from skinai.service.keys import Keys, add_key, remove_key
from skinai.service.server import load_desk
from skinai.service.upload import MAX_PICTURES

PATIENCE_S = 120
CLOSED = [("POST", "/v1/predict"), ("GET", "/v1/model"), ("GET", "/metrics")]
OPEN = [("/healthz", 200), ("/readyz", 503), ("/openapi.json", 200)]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.json"


@pytest.fixture
def key(file):
    return add_key(file, "ward-7")


@pytest.fixture
def closed(file, key):
    """A service with keys that has loaded no model."""
    with running(Service(workers=1, capacity=16, keys=Keys(file))) as address:
        yield address


@pytest.fixture(scope="module")
def desk(gated_model):
    return load_desk(gated_model, None, copies=1)


def ask(method, url, authorization=None):
    headers = {} if authorization is None else {"Authorization": authorization}
    return requests.request(method, url, headers=headers, timeout=PATIENCE_S)


def send(address, count, **headers):
    """Post so many pictures, which cannot be read and count all the same."""
    files = [("pictures", (f"{number}.jpg", b"\xff\xd8\xff nothing")) for number in range(count)]
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{address}/v1/predict?deadline_ms={1000 * PATIENCE_S}"
    return requests.post(url, files=files, headers=headers, timeout=PATIENCE_S)


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_without_a_known_key_there_is_no_answer_and_a_sentence_says_how_to_ask(closed, key, method, path):
    wrong = [None, "", "Bearer", "Bearer ", f"Bearer {key[:-1]}", f"Bearer {key}x", f"Basic {key}", key]
    for authorization in [*wrong, f"Bearer {key}, Bearer {key}", "Bearer \xe9"]:
        answer = ask(method, closed + path, authorization)
        assert answer.status_code == 401, authorization
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json() == {
            "code": "no_key",
            "sentence": "The service wants a key that it knows, as Authorization: Bearer KEY.",
            "request_id": answer.headers["x-request-id"],
        }


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_known_key_passes(closed, key, method, path, scheme):
    answer = ask(method, closed + path, f"{scheme} {key}")
    # Without a model the other two say that they load it.
    expected = (200, None) if path == "/metrics" else (503, "loading")
    assert (answer.status_code, None if path == "/metrics" else answer.json()["code"]) == expected


@pytest.mark.parametrize(("path", "status"), OPEN)
def test_whether_it_works_is_told_to_everybody(closed, path, status):
    assert ask("GET", closed + path).status_code == status


def test_a_key_that_is_removed_is_refused_without_a_restart(closed, file, key):
    other = add_key(file, "ward-8")
    assert ask("GET", f"{closed}/metrics", f"Bearer {other}").status_code == 200
    remove_key(file, "ward-7")
    assert ask("GET", f"{closed}/metrics", f"Bearer {key}").status_code == 401
    assert ask("GET", f"{closed}/metrics", f"Bearer {other}").status_code == 200


def test_a_damaged_file_refuses_everybody_until_it_is_mended(closed, file, key):
    kept = file.read_bytes()
    file.write_bytes(kept[: len(kept) // 2])
    for authorization in (None, f"Bearer {key}"):
        answer = ask("GET", f"{closed}/metrics", authorization)
        assert (answer.status_code, answer.json()["code"]) == (503, "no_keys")
        assert answer.json()["sentence"] == "The service cannot read its keys, so it answers nobody."
    assert ask("GET", f"{closed}/healthz").status_code == 200
    file.write_bytes(kept)
    assert ask("GET", f"{closed}/metrics", f"Bearer {key}").status_code == 200


def test_a_body_is_not_read_before_the_key_is_known(closed):
    connection = http.client.HTTPConnection(closed.removeprefix("http://"), timeout=PATIENCE_S)
    connection.putrequest("POST", "/v1/predict?neighbours=99")
    connection.putheader("Content-Type", "multipart/form-data; boundary=edge")
    connection.putheader("Content-Length", "50000000")
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()


@pytest.mark.parametrize("with_keys", [False, True])
def test_the_name_of_the_key_is_at_hand_for_what_comes_later(desk, file, key, monkeypatch, with_keys):
    service, seen = Service(workers=1, capacity=16, keys=Keys(file) if with_keys else None), []
    describe = app.describe_models

    async def look(request: app.Request) -> dict:
        seen.append(request.state.account)
        return await describe(request)

    monkeypatch.setattr(app, "describe_models", look)
    service.open(desk)
    with running(service) as address:
        assert ask("GET", f"{address}/v1/model", f"Bearer {key}").status_code == 200
    assert seen == ["ward-7" if with_keys else ""]


def test_neither_key_nor_name_is_in_the_log(desk, file, key, caplog):
    caplog.set_level("INFO")
    service = Service(workers=1, capacity=16, keys=Keys(file))
    service.open(desk)
    with running(service) as address:
        assert send(address, 1, Authorization=f"Bearer {key}").status_code == 200
        assert send(address, 1, Authorization=f"Bearer {key[1:]}").status_code == 401
    assert "POST /v1/predict 401" in caplog.text
    assert key[1:] not in caplog.text


def test_whoever_sends_too_often_waits_and_others_do_not(desk, file, key):
    other = add_key(file, "ward-8")
    service = Service(workers=1, capacity=16, keys=Keys(file), pictures_per_minute=1)
    service.open(desk)
    with running(service) as address:
        begun = time.monotonic()
        assert send(address, MAX_PICTURES - 1, Authorization=f"Bearer {key}").status_code == 200
        refused = send(address, 2, Authorization=f"Bearer {key}")
        assert (refused.status_code, refused.json()["code"]) == (429, "too_often")
        # A place a minute, since the first of them was taken.
        assert 59 - (time.monotonic() - begun) <= int(refused.headers["retry-after"]) <= 60
        assert refused.json()["sentence"] == "You have sent as many pictures as you may for now. Try again later."
        assert send(address, 1, Authorization=f"Bearer {key}").status_code == 200
        assert send(address, 1, Authorization=f"Bearer {key}").status_code == 429
        assert send(address, MAX_PICTURES, Authorization=f"Bearer {other}").status_code == 200
        assert ask("GET", f"{address}/v1/model", f"Bearer {key}").status_code == 200


def test_without_keys_each_address_has_its_own_rate(desk):
    """A proxy on this machine says who asks; uvicorn believes nobody else."""
    service = Service(workers=1, capacity=16, pictures_per_minute=1)
    service.open(desk)
    with running(service) as address:
        assert send(address, MAX_PICTURES, X_Forwarded_For="192.0.2.1").status_code == 200
        assert send(address, 1, X_Forwarded_For="192.0.2.1").status_code == 429
        assert send(address, 1, X_Forwarded_For="192.0.2.2").status_code == 200


def test_a_request_that_is_refused_for_its_rate_is_not_read(desk):
    service = Service(workers=1, capacity=16, pictures_per_minute=1)
    service.open(desk)
    with running(service) as address:
        assert send(address, MAX_PICTURES).status_code == 200
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE_S)
        connection.putrequest("POST", "/v1/predict")
        connection.putheader("Content-Type", "multipart/form-data; boundary=edge")
        connection.putheader("Content-Length", "50000000")
        connection.endheaders()
        assert connection.getresponse().status == 429
        connection.close()


def test_pictures_that_found_no_place_in_the_queue_are_not_counted(desk, monkeypatch):
    service = Service(workers=1, capacity=16, pictures_per_minute=1)
    service.open(desk)
    put = service.jobs.put

    def refuse(works):
        raise QueueFullError(3)

    with running(service) as address:
        monkeypatch.setattr(service.jobs, "put", refuse)
        for _ in range(3):
            refused = send(address, MAX_PICTURES)
            assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
        monkeypatch.setattr(service.jobs, "put", put)
        assert send(address, MAX_PICTURES).status_code == 200


def test_the_description_names_the_key_only_where_one_is_wanted(file, key):
    documents = []
    for keys in (Keys(file), None):
        service = Service(workers=1, capacity=16, keys=keys)
        service.jobs.close()
        documents.append(app.build_service(service).openapi())
    closed, opened = documents
    assert closed["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert "securitySchemes" not in opened["components"]
    for method, path in CLOSED:
        assert closed["paths"][path][method.lower()]["security"] == [{"key": []}]
        assert "security" not in opened["paths"][path][method.lower()]
        assert "WWW-Authenticate" in closed["paths"][path][method.lower()]["responses"]["401"]["headers"]
    for path, _ in OPEN[:2]:
        assert "security" not in closed["paths"][path]["get"]
    assert "too_often" in closed["paths"]["/v1/predict"]["post"]["responses"]["429"]["description"]


@pytest.fixture
def started(monkeypatch):
    """What `serve` was called with; it returns at once."""
    called = []
    monkeypatch.setattr(server, "serve", lambda *folders, **options: called.append(options))
    return called


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "clinic.example", ""])
def test_another_address_wants_keys_or_the_word_open(gated_model, started, capsys, file, key, host):
    command = ["serve", "--model", str(gated_model), "--host", host]
    assert main(command) == 2
    assert re.fullmatch(r"skinai: Others reach .*: name their keys with --keys FILE .*\.\n", capsys.readouterr().err)
    assert started == []
    assert main([*command, "--open"]) == 0
    assert main([*command, "--keys", str(file)]) == 0
    assert [(one["host"], one["keys"]) for one in started] == [(host, None), (host, file)]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_this_computer_alone_needs_neither(gated_model, started, host):
    assert main(["serve", "--model", str(gated_model), "--host", host, "--rate", "30"]) == 0
    assert (started[0]["keys"], started[0]["pictures_per_minute"]) == (None, 30)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rate", "0"], "--rate is at least 1. Received: 0."),
        (["--open", "--keys", "{file}"], "--open is for a service without --keys."),
        (
            ["--keys", "{file}", "--engine", "ray"],
            "--keys and --rate do not go with --engine ray: put a proxy before it that has them.",
        ),
        (
            ["--rate", "9", "--engine", "ray"],
            "--keys and --rate do not go with --engine ray: put a proxy before it that has them.",
        ),
    ],
)
def test_options_of_access_that_do_not_fit_are_one_sentence(gated_model, started, capsys, file, arguments, sentence):
    arguments = [argument.format(file=file) for argument in arguments]
    assert main(["serve", "--model", str(gated_model), *arguments]) == 2
    assert capsys.readouterr().err == f"skinai: {sentence}\n"
    assert started == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "The keys in {file} cannot be read: No such file or directory."), (b"{}", "{file} is damaged: ")],
)
def test_keys_that_cannot_be_read_are_told_at_the_start(gated_model, capsys, file, content, sentence):
    if content is not None:
        file.write_bytes(content)
    assert main(["serve", "--model", str(gated_model), "--port", "0", "--keys", str(file)]) == 2
    out, error = capsys.readouterr()
    assert error.startswith(f"skinai: {sentence.format(file=file)}")
    assert out == "", "it listens"


def test_a_process_with_keys_follows_the_commands_for_them(gated_model, file, key, capsys):
    command = [sys.executable, "-m", "skinai", "serve", "--port", "0", "--workers", "1", "--model", str(gated_model)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "--keys", str(file), "--rate", "60"], cwd=ROOT, text=True, **pipes) as process:
        try:
            address = process.stdout.readline().strip()
            assert ask("GET", f"{address}/metrics").status_code == 401
            assert ask("GET", f"{address}/metrics", f"Bearer {key}").status_code == 200
            assert main(["keys", "add", "ward-8", "--file", str(file)]) == 0
            other = capsys.readouterr().out.strip()
            assert main(["keys", "remove", "ward-7", "--file", str(file)]) == 0
            assert ask("GET", f"{address}/metrics", f"Bearer {key}").status_code == 401
            assert ask("GET", f"{address}/metrics", f"Bearer {other}").status_code == 200
            # Most often while it still loads.
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
