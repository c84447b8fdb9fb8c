"""The service on Ray Serve: the same answers, from as many processes as there is work for."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
from urllib.parse import urlsplit

import pytest
from conftest import ROOT, encode
from loopback import running
from ray_machine import PATIENCE_S, PYTHON, list_addresses, list_processes, needs_ray, ray_environment

from skinai.__main__ import main
from skinai.data.drawing import draw_lesion
from skinai.service.app import Service
from skinai.service.replicas import Replica
from skinai.service.server import load_desk

WORKER = "ray::ServeReplica:skinai:skinai"


def send(url, pictures, query=""):
    """Return status and answer of a request with these pictures."""
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="pictures"; filename="a"\r\n\r\n' + picture + b"\r\n"
        for picture in pictures
    ]
    body = b"".join(parts) + b"--x--\r\n"
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/predict" + query, body, {"content-type": "multipart/form-data; boundary=x"})
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content.startswith(b"{") else content


def ask(url, path):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def list_replicas(folder):
    """Return the numbers of the processes that answer."""
    found = []
    for process in list_processes(folder):
        with contextlib.suppress(OSError):
            if (process / "cmdline").read_text().startswith(WORKER):
                found.append(int(process.name))
    return found


def wait_until(condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@needs_ray
@pytest.mark.soak
def test_on_ray_the_service_answers_the_same_from_more_processes_as_more_is_asked(gated_model, tmp_path):
    pictures = [encode(draw_lesion(number, width_px=128, height_px=96)) for number in range(4)]
    pictures += [b"\xff\xd8\xff nothing"]
    service = Service(workers=1, capacity=16)
    service.open(load_desk(gated_model, None, copies=1))
    with running(service) as url:
        expected = {query: send(url, pictures, query)[1]["pictures"] for query in ("", "?neighbours=3&map=true")}
    with ray_environment(tmp_path) as environment:
        folder = environment["RAY_TMPDIR"]
        command = [str(PYTHON), "-m", "skinai", "serve", "--engine", "ray", "--model", str(gated_model), "--port", "0"]
        command += ["--workers", "1", "--queue", "32", "--replicas", "2"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes) as process:
            try:
                url = next(line.strip() for line in process.stdout if line.startswith("http://127.0.0.1:"))
                assert ask(url, "/readyz") == (200, b'{"status":"ready"}')
                for query, items in expected.items():
                    assert send(url, pictures, query)[1]["pictures"] == items
                assert send(url, [])[0] == 422
                # Ray Serve's replicas listen at every address, and no setting says otherwise: docs/scale.md warns.
                heard = list_addresses(folder, without=WORKER)
                assert heard
                assert all(address.startswith("127.") for address in heard), heard
                (first,) = list_replicas(folder)
                answers, asking = [], threading.Event()

                def insist():
                    while not asking.is_set():
                        answers.append(send(url, pictures * 3))

                clients = [threading.Thread(target=insist) for _ in range(6)]
                for client in clients:
                    client.start()
                wait_until(lambda: len(list_replicas(folder)) == 2)
                # One of the two is lost: Ray starts another.
                os.kill(first, signal.SIGKILL)
                wait_until(lambda: len(set(list_replicas(folder)) - {first}) == 2)
                asking.set()
                for client in clients:
                    client.join(PATIENCE_S)
                taken = [answer["pictures"] for status, answer in answers if status == 200]
                assert len(taken) > 10
                for items in taken:
                    assert [item["probabilities"] for item in items] == [
                        item["probabilities"] for item in expected[""]
                    ] * 3
                # What was accepted before the end is answered.
                last, everything = [], "?map=true&neighbours=20&fhir=true"
                start = time.monotonic()
                assert send(url, pictures * 3, everything)[0] == 200
                took_s = time.monotonic() - start
                clients = [
                    threading.Thread(target=lambda: last.append(send(url, pictures * 3, everything))) for _ in range(2)
                ]
                for client in clients:
                    client.start()
                time.sleep(took_s / 2)
                process.send_signal(signal.SIGTERM)
                for client in clients:
                    client.join(PATIENCE_S)
                assert [status for status, _ in last] == [200, 200]
                assert process.wait(PATIENCE_S) == 0
            finally:
                process.kill()


def test_a_replica_with_a_dead_worker_is_not_healthy(gated_model):
    replica = Replica(gated_model, None, 1, 16)
    replica.check_health()
    replica.service.jobs.close()
    wait_until(lambda: not replica.service.jobs.is_alive)
    with pytest.raises(RuntimeError, match="A worker has ended"):
        replica.check_health()


def test_without_ray_it_says_what_to_install(gated_model, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert main(["serve", "--model", str(gated_model), "--engine", "ray"]) == 2
    assert capsys.readouterr().err == "skinai: The engine ray needs Ray: pip install -r requirements-ray.txt.\n"


def test_no_replica_is_one_sentence(gated_model, monkeypatch, capsys):
    monkeypatch.setattr("skinai.cluster.require_ray", lambda: None)
    assert main(["serve", "--model", str(gated_model), "--engine", "ray", "--replicas", "0"]) == 2
    assert re.search("--replicas is at least 1", capsys.readouterr().err)
