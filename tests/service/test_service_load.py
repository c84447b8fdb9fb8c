"""Under load the service is faster than a loop, answers steadily, and loses nothing when it is told to stop."""

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import ROOT, encode

from skinai.data.drawing import draw_lesion
from skinai.model.bundle import DEFAULT_MODEL, models_folder
from skinai.service.schema import MAX_DEADLINE_MS

PATIENCE_S = 120
PATH = f"/v1/predict?deadline_ms={MAX_DEADLINE_MS}"
HEADERS = {"Content-Type": "multipart/form-data; boundary=edge"}


@contextlib.contextmanager
def process(log):
    """Yield a service in a process of its own, once it is ready, and what connects to it."""
    model = str(models_folder() / DEFAULT_MODEL)
    command = [sys.executable, "-m", "skinai", "serve", "--port", "0", "--workers", "2", "--model", model]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT) as running,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(running.kill)
        host = running.stdout.readline().strip().removeprefix("http://")

        def connect():
            connection = http.client.HTTPConnection(host, timeout=PATIENCE_S)
            return Client(stack.enter_context(contextlib.closing(connection)))

        wait_until(lambda: connect().get("/readyz") == 200)
        yield running, connect


def wait_until(condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


class Client:
    """One connection that is kept."""

    def __init__(self, connection):
        self._connection = connection

    def get(self, path):
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def post(self, body):
        """Return status and document of the answer for a form."""
        self._connection.request("POST", PATH, body, HEADERS)
        return self.read_answer()

    def begin(self, body):
        """Announce a form and send no more of it than its first half."""
        self._connection.putrequest("POST", PATH)
        for name, value in (HEADERS | {"Content-Length": str(len(body))}).items():
            self._connection.putheader(name, value)
        self._connection.endheaders(body[: len(body) // 2])

    def end(self, body):
        """Send the other half of a form, and return status and document of the answer."""
        self._connection.send(body[len(body) // 2 :])
        return self.read_answer()

    def read_answer(self):
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def read_gauge(self, name):
        self._connection.request("GET", "/metrics")
        return float(re.search(rf"^{name} (\S+)$", self._connection.getresponse().read().decode(), re.MULTILINE)[1])


@pytest.fixture(scope="module")
def body():
    """A form with one lesion of the size of HAM10000's pictures."""
    picture = encode(draw_lesion(11), quality=90)
    head = b'--edge\r\nContent-Disposition: form-data; name="pictures"; filename="a.jpg"\r\n\r\n'
    return head + picture + b"\r\n--edge--\r\n"


def run_loop(connect, body, count):
    """Return how many requests a second one client gets answered that sends one after the other."""
    client, begun = connect(), time.monotonic()
    for _ in range(count):
        assert client.post(body)[0] == 200
    return count / (time.monotonic() - begun)


def run_clients(connect, body, count, *, clients):
    """Return how many requests a second several clients get answered that each send one after the other."""
    with ThreadPoolExecutor(clients) as pool:
        begun = time.monotonic()
        list(pool.map(lambda part: run_loop(connect, body, part), [count // clients] * clients))
        return count / (time.monotonic() - begun)


def run_rate(connect, body, count, *, per_s, clients=16):
    """Return the seconds from when each request was due to its answer, of requests due at random moments."""
    due = np.cumsum(np.random.default_rng(1).exponential(1 / per_s, count))
    local, begun = threading.local(), time.monotonic()

    def send(moment):
        if not hasattr(local, "client"):
            local.client = connect()
        time.sleep(max(begun + moment - time.monotonic(), 0))
        assert local.client.post(body)[0] == 200
        return time.monotonic() - begun - moment

    with ThreadPoolExecutor(clients) as pool:
        return np.array(list(pool.map(send, due)))


@pytest.mark.soak
@pytest.mark.alone
@pytest.mark.shipped
def test_many_clients_get_more_answers_than_a_loop_and_get_them_steadily(body, tmp_path, record_property):
    with process(tmp_path / "log") as (_, connect):
        run_clients(connect, body, 8, clients=4)
        one_by_one = run_loop(connect, body, 40)
        together = run_clients(connect, body, 120, clients=8)
        waited_s = run_rate(connect, body, 120, per_s=0.8 * together)
    p50, p99 = np.percentile(waited_s, (50, 99))
    figures = {"one_by_one": one_by_one, "together": together, "p50_ms": 1000 * p50, "p99_ms": 1000 * p99}
    for name, value in figures.items():
        record_property(name, round(float(value), 1))
    print(figures)
    assert together >= 1.6 * one_by_one, figures
    assert p99 < 5 * p50, figures


@pytest.mark.shipped
def test_told_to_stop_it_answers_what_it_accepted_and_turns_others_away(body, tmp_path):
    """All that it has accepted is still to be looked at, and half of its bytes are still to come."""
    form = body.removesuffix(b"--edge--\r\n") * 3 + b"--edge--\r\n"
    with process(tmp_path / "log") as (running, connect), ThreadPoolExecutor(12) as pool:
        accepted = [connect() for _ in range(12)]
        for client in accepted:
            client.begin(form)
        watching = connect()
        wait_until(lambda: watching.read_gauge("skinai_accepted_requests") == 12)
        running.send_signal(signal.SIGTERM)
        wait_until(lambda: connect().get("/readyz") == 503)
        assert connect().get("/healthz") == 200
        status, facts = connect().post(body)
        assert (status, facts["code"]) == (503, "stopping")
        answers = list(pool.map(lambda client: client.end(form), accepted))
        assert running.wait(PATIENCE_S) == 0
        with pytest.raises(ConnectionRefusedError):
            connect().get("/healthz")
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert [status for status, _ in answers] == [200] * 12
    items = [item for _, facts in answers for item in facts["pictures"]]
    assert [item["status"] for item in items] == ["answered"] * 36
