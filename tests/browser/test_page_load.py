"""Many visitors of one server: each sees its own picture's answer, waits its turn, and leaves nothing behind.

The visitors are programs that speak as the front end does. Every upload is another picture; what each should see is
worked out beforehand, by the same code without a server.
"""

import hashlib
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import encode
from page_visitor import PATIENCE_S, Visitor
from test_browser import start_server

from benchmarks.timing import read_memory_mb
from skinai import wording
from skinai.data.drawing import draw_irregular_lesion, draw_lesion
from skinai.data.images import decode_picture, encode_preview
from skinai.model.bundle import find_clinical_folder, models_folder
from skinai.serving.routing import Desk

pytestmark = pytest.mark.shipped

TTL_S = 6
# The server as it is, but that it forgets sooner, and writes down what it holds.
WATCHED = f"""
import os, sys, threading, time
from pathlib import Path
from streamlit import runtime
from skinai.ui import server

def watch(path):
    while True:
        time.sleep(0.2)
        if runtime.exists():
            held = [one for files in list(runtime.get_instance().uploaded_file_mgr.file_storage.values())
                    for one in list(files.values())]
            pictures = len(runtime.get_instance().media_file_mgr._storage._files_by_id)
            prepares = any(one.name == server._PREPARING for one in threading.enumerate())
            sizes = sum(len(one.data) for one in held)
            told = os.getpid(), len(held), sizes, pictures, int(prepares)
            path.with_suffix(".new").write_text(" ".join(map(str, told)))
            path.with_suffix(".new").replace(path)

server.read_environment = lambda: {{"server.disconnectedSessionTTL": {TTL_S}}}
threading.Thread(target=watch, args=[Path(sys.argv.pop(1))], daemon=True).start()
server.main()
"""
# Streamlit's caches tell arrays of half a million numbers and more apart by so many of them, drawn with this seed.
SAMPLED, LARGE = 100_000, 500_000


def find_result(shown):
    """Return the sentence with the answer, or with why there is none."""
    found = [body for body in shown.alerts if wording.RESULT_NOTE in body or wording.REFUSED_TITLE in body]
    assert len(found) == 1, shown.alerts
    return found[0]


def draw(number):
    """Return one of many pictures; each odd one agrees with the one before wherever Streamlit's caches look."""
    drawn = [draw_lesion, draw_irregular_lesion][number // 2 % 2](number // 4 * 2)
    if number % 2:
        assert drawn.size >= LARGE
        other = draw_lesion(number + 5000, pigment=(40, 32, 44))
        looked_at = np.random.RandomState(0).choice(drawn.size, SAMPLED)
        other.flat[looked_at] = drawn.flat[looked_at]
        drawn = other
    return drawn


def expect(desk, content):
    """Return the preview that belongs to a picture, and what the answer has to say."""
    picture = decode_picture(content)
    routing = desk.route([picture])
    if routing.answered_by is None:
        return encode_preview(picture), wording.REFUSED_TITLE
    assessment = desk.assessors[routing.answered_by].assess(picture)
    if assessment.refused:
        return encode_preview(picture), assessment.reasons[0][1]
    top = assessment.prediction.top
    share = assessment.prediction.by_code[top.code]
    return encode_preview(picture), f"{top.name} ({share:.1%})"


@pytest.fixture(scope="module")
def desk():
    return Desk.load(models_folder() / "ham10000-ensemble", find_clinical_folder())


class Server:
    """The page's server, and what it holds."""

    def __init__(self, address, watch):
        self.address, self._watch = address, watch

    def _read(self):
        wait_until(self._watch.is_file)
        return [int(part) for part in self._watch.read_text().split()]

    @property
    def memory_mb(self):
        return read_memory_mb(self._read()[0])

    @property
    def held(self):
        """Files uploaded, bytes of them, and pictures that browsers may fetch."""
        return tuple(self._read()[1:4])

    @property
    def prepares(self):
        """Whether it still loads what pages may need later."""
        return bool(self._read()[4])


def wait_until(condition, patience_s=PATIENCE_S):
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def wait_for(server, held):
    """Wait until the server holds so much; what was the last look is in the message."""
    until = time.monotonic() + PATIENCE_S
    while (found := server.held)[: len(held)] != held:
        assert time.monotonic() < until, found
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    watch = tmp_path_factory.mktemp("watch") / "held.txt"
    variables = {"SKINAI_DATA": "", "SKINAI_AUDIT": ""}
    for address in start_server(variables, command=("-c", WATCHED, str(watch), "app.py")):
        yield Server(address, watch)


def prepare(desk, folder, count):
    """Write pictures; return for each its file, the hash of its preview, and what the answer says."""

    def make(number):
        path = folder / f"{number:04d}.png"
        path.write_bytes(encode(draw(number), "PNG", compress_level=1))
        preview, sentence = expect(desk, path.read_bytes())
        return path, hashlib.sha256(preview).digest(), sentence

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pictures = list(pool.map(make, range(count)))
    assert len({preview for _, preview, _ in pictures}) == count
    return pictures


def run_visitors(server, pictures, *, visitors, rest_s=0.0, on_upload=lambda done: None):
    """Have visitors upload all pictures; return the seconds of each answer, how often each was told to wait, problems.

    Two pictures that a cache would take for the same go to neighbours at about the same time.
    """
    lock, problems, seconds, waited = threading.Lock(), Counter(), [], []
    begin = threading.Barrier(visitors)

    def visit(number):
        with Visitor(server.address) as visitor:
            begin.wait(PATIENCE_S * 4)
            for path, preview, sentence in pictures[number::visitors]:
                time.sleep(rest_s)
                asked = time.monotonic()
                shown = visitor.upload(path.read_bytes())
                taken = time.monotonic() - asked
                picture = visitor.fetch(shown.pictures[0]) if shown.pictures else b""
                with lock:
                    problems["error"] += len(shown.errors)
                    problems["other answer"] += sentence not in find_result(shown)
                    problems["other picture"] += hashlib.sha256(picture).digest() != preview
                    seconds.append(taken)
                    waited.append(sum(body.startswith("Other visitors' pictures") for body in shown.alerts))
                    on_upload(len(seconds))

    with ThreadPoolExecutor(visitors) as pool:
        list(pool.map(visit, range(visitors)))
    assert len(seconds) == len(pictures)
    return np.array(seconds), np.array(waited), +problems


def test_each_of_several_visitors_sees_its_own_answer_and_leaves_the_memory_that_it_took(server, desk, tmp_path):
    pictures = prepare(desk, tmp_path, 16)
    run_visitors(server, pictures[:1], visitors=1)  # loads what is loaded for a first answer only
    wait_until(lambda: not server.prepares)
    before = server.memory_mb
    seconds, waited, problems = run_visitors(server, pictures, visitors=8)
    assert not problems
    wait_for(server, (0, 0, 0))
    wait_until(lambda: server.memory_mb < before + 50)
    # Eight ask at once and two processors answer, so somebody has read how many come before.
    assert waited.any() or seconds.max() < 1
    assert seconds.max() < PATIENCE_S


def test_uploads_are_let_go_of_although_nobody_else_comes_or_leaves(server, desk, tmp_path):
    wait_for(server, (0, 0, 0))  # those of the visitors before
    pictures = prepare(desk, tmp_path, 2)
    with Visitor(server.address) as staying:
        staying.upload(pictures[0][0].read_bytes())
        with Visitor(server.address) as leaving:
            leaving.upload(pictures[1][0].read_bytes())
            wait_for(server, (2,))
            left = time.monotonic()
        # The one who left may come back for a while.
        assert server.held[0] == 2 or time.monotonic() - left > TTL_S
        wait_for(server, (1, pictures[0][0].stat().st_size))
        assert staying.see().pictures
    wait_for(server, (0, 0, 0))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_thirty_visitors_and_two_thousand_uploads(server, desk, tmp_path):
    visitors, rest_s = 30, 6.0
    pictures = prepare(desk, tmp_path, 2010)
    memory = {}

    def note(done):
        if done in (200, 1000, 2000):
            memory[done] = server.memory_mb

    before = server.memory_mb
    seconds, waited, problems = run_visitors(server, pictures, visitors=visitors, rest_s=rest_s, on_upload=note)
    p50, p95 = np.quantile(seconds, [0.5, 0.95])
    wait_for(server, (0, 0, 0))
    time.sleep(2)
    print(
        f"\n{visitors} visitors, {len(seconds)} uploads, each {rest_s:.0f} s after the last answer: p50 {p50:.2f} s, "
        f"p95 {p95:.2f} s, most {seconds.max():.2f} s; {np.mean(waited > 0):.1%} were told to wait; "
        f"MB before {before:.0f}, after 200 {memory[200]:.0f}, after 1,000 {memory[1000]:.0f}, after 2,000 "
        f"{memory[2000]:.0f}, when all have gone {server.memory_mb:.0f}; {dict(problems) or 'no problem'}"
    )
    assert not problems
    assert p95 < 3
    assert max(memory[1000], memory[2000]) - memory[200] < 50
    assert server.memory_mb <= memory[2000] + 5


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_who_asks_without_a_rest_waits_no_longer_than_the_others(server, desk, tmp_path):
    visitors = 30
    pictures = prepare(desk, tmp_path, 300)
    seconds, waited, problems = run_visitors(server, pictures, visitors=visitors)
    p50, p95 = np.quantile(seconds, [0.5, 0.95])
    print(
        f"\n{visitors} visitors without a rest: p50 {p50:.2f} s, p95 {p95:.2f} s, most {seconds.max():.2f} s; "
        f"{np.mean(waited > 0):.1%} were told to wait; {dict(problems) or 'no problem'}"
    )
    assert not problems
    assert (waited > 0).mean() > 0.5
    assert seconds.max() < 3 * p50
