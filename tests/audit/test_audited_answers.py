"""Pages and service write each answer down before they give it, and give none that they cannot write down."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from conftest import ROOT, encode, pack
from loopback import PATIENCE_S, running
from streamlit.testing.v1 import AppTest

from skinai import wording
from skinai.audit_log import AuditLog, verify_log
from skinai.data.drawing import draw_lesion
from skinai.data.images import decode_picture, hash_pixels
from skinai.service.app import Service
from skinai.service.keys import Keys, add_key
from skinai.service.server import load_desk
from skinai.ui.navigation import PAGES

LESION = encode(draw_lesion(3))
PHOTOGRAPH = encode(255 - draw_lesion(4))  # refused: it is inverted


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
def open_page(gated_model, path, monkeypatch):
    """A function that opens a page with the log switched on."""
    import streamlit as st

    monkeypatch.setenv("SKINAI_MODEL", str(gated_model))
    monkeypatch.setenv("SKINAI_AUDIT", str(path))
    st.cache_resource.clear()
    st.cache_data.clear()

    def open_it(page=PAGES[0][0]):
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300).run()
        if page != PAGES[0][0]:
            app.switch_page(str(ROOT / page)).run()
        return app

    return open_it


def read(path):
    assert verify_log(path).problems == ()
    return [json.loads(line) for line in path.read_text().splitlines()]


def send(url, content, *, key, query=""):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="pictures"; filename="Jane Doe"\r\n\r\n'
        + content
        + b"\r\n--x--\r\n"
    )
    headers = {"content-type": "multipart/form-data; boundary=x", "authorization": f"Bearer {key}"}
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
    connection.request("POST", f"/v1/predict?deadline_ms={1000 * PATIENCE_S}{query}", body, headers)
    answer = connection.getresponse()
    facts = json.loads(answer.read())
    connection.close()
    return answer.status, facts


def test_the_service_writes_whose_key_asked(gated_model, path, tmp_path):
    key = add_key(tmp_path / "keys.json", "ward-7")
    service = Service(workers=1, capacity=16, keys=Keys(tmp_path / "keys.json"), audit=AuditLog(path))
    service.open(load_desk(gated_model, None, copies=1))
    with running(service) as url:
        status, plain = send(url, LESION, key=key)
        assert status == 200
        assert send(url, PHOTOGRAPH, key=key, query="&insist=true")[0] == 200
        assert send(url, b"\xff\xd8\xff nothing", key=key)[0] == 200
        first, second = read(path)
        assert first["account"] == second["account"] == "ward-7"
        assert first["pixels_sha256"] == hash_pixels(decode_picture(LESION))
        assert first["answer"]["probabilities"] == plain["pictures"][0]["probabilities"]
        assert [entry["overrides"]["insisted"] for entry in (first, second)] == [False, True]
        assert second["answer"]["gate"] == "refused"
        assert "Jane" not in path.read_text()
        path.write_text(path.read_text().replace("ward-7", "ward-8"))
        status, problem = send(url, LESION, key=key)
        assert (status, problem["code"], problem["sentence"]) == (503, "audit", wording.AUDIT_BROKEN)


def test_the_page_writes_an_answer_once_however_often_its_script_runs(open_page, path):
    app = open_page()
    app.file_uploader[0].set_value(("lesion.jpg", LESION, "image/jpeg")).run()
    app.run()
    (entry,) = read(path)
    assert entry["pixels_sha256"] == hash_pixels(decode_picture(LESION))
    assert entry["answer"]["probabilities"]["nv"] is not None
    assert entry["account"] == "test@example.com"  # whom the test framework signs in
    app.file_uploader[0].set_value(("other.jpg", PHOTOGRAPH, "image/jpeg")).run()
    next(toggle for toggle in app.toggle if toggle.key.startswith("insist")).set_value(True).run()
    refused, insisted = read(path)[1:]
    assert refused["answer"]["probabilities"] is None
    assert insisted["answer"]["probabilities"] is not None
    assert [one["overrides"]["insisted"] for one in (refused, insisted)] == [False, True]


def test_what_the_visitor_has_to_answer_first_is_written_once_it_is_shown(open_page, path):
    app = open_page()
    app.toggle(key="clinician_first").set_value(True).run()
    app.file_uploader[0].set_value(("lesion.jpg", LESION, "image/jpeg")).run()
    assert not path.exists()


def test_a_batch_writes_each_picture(open_page, path):
    app = open_page("pages/use/batch.py")
    archive = pack({"a.jpg": LESION, "b.jpg": PHOTOGRAPH, "c.jpg": b"\xff\xd8\xff nothing"})
    app.file_uploader[0].set_value([("some.zip", archive, "application/zip")]).run()
    app.button(key="start").click().run()
    assert not app.exception
    assert [entry["answer"]["gate"] for entry in read(path)] == ["passed", "refused"]
    app.toggle(key="batch_insist").set_value(True).run()
    assert [entry["overrides"]["insisted"] for entry in read(path)] == [False, False, True]


def test_the_page_answers_nothing_that_it_cannot_write_down(open_page, path):
    path.mkdir()
    app = open_page()
    app.file_uploader[0].set_value(("lesion.jpg", LESION, "image/jpeg")).run()
    assert app.error[0].value.startswith(wording.AUDIT_BROKEN)
    shown = "\n".join(element.value for group in (app.info, app.markdown) for element in group)
    assert "Most probable" not in shown
    assert not app.table
