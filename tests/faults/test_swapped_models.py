"""Another model is laid into the folder of the one that answers: every answer is one model's, and says which."""

import shutil
import threading
import time

import pytest
from conftest import ROOT, encode
from faulting import (
    PATIENCE_S,
    SKINAI,
    ask_service,
    require_no_traceback,
    run,
    serving_pages,
    serving_requests,
)
from loopback import running
from page_visitor import Visitor

from skinai.data.drawing import draw_lesion
from skinai.data.images import decode_picture
from skinai.errors import ModelError
from skinai.model.bundle import load_bundle
from skinai.service.app import Service
from skinai.service.server import load_desk
from skinai.serving import predictor as predictor_module
from skinai.serving.assessment import Assessor
from skinai.serving.predictor import Predictor

LONG = pytest.mark.soak
LESION = encode(draw_lesion(3), "PNG")


@pytest.fixture(scope="module")
def two_models(small_model):
    """Two models of the same classes, by their fingerprint: one that tests train, and a shipped and sealed one."""
    folders = (small_model, ROOT / "models" / "ham10000-efficientnet-lite0")
    return {load_bundle(folder).fingerprint: folder for folder in folders}


@pytest.fixture(scope="module")
def expected(two_models):
    """The answer of each model for the lesion, by its fingerprint."""
    picture = decode_picture(LESION)
    answers = {name: Assessor.load(folder).assess(picture).prediction.by_code for name, folder in two_models.items()}
    first, second = answers.values()
    assert any(abs(first[code] - second[code]) > 0.01 for code in first)
    return answers


def lay_over(source, target, *, pause_s=0.0, after=lambda: None):
    """Write one model's files over another's, each in its place and one after the other, and remove the rest."""
    names = {path.name for path in source.iterdir() if path.is_file()}
    for name in sorted(names):
        content = (source / name).read_bytes()
        with (target / name).open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            time.sleep(pause_s)
            file.write(content[len(content) // 2 :])
        after()
    for path in target.iterdir():
        if path.is_file() and path.name not in names:
            path.unlink()
            after()


def swap_whole(source, target):
    """Put another folder in the place of one, as a deployment does."""
    new = target.with_name("new")
    shutil.copytree(source, new)
    target.rename(target.with_name(f"old-{time.monotonic_ns()}"))
    new.rename(target)


def require_one(answer, expected):
    """Require that probabilities are those of the model that the answer names; return which."""
    shares = expected[answer["fingerprint"]]
    assert answer["probabilities"] == pytest.approx(shares, abs=2e-6), answer
    return answer["fingerprint"]


@pytest.mark.parametrize("swap", [lay_over, swap_whole])
def test_the_service_goes_on_with_the_model_that_it_has_loaded(two_models, expected, tmp_path, swap):
    first, second = two_models
    folder = shutil.copytree(two_models[first], tmp_path / "small")
    service = Service(workers=2, capacity=16)
    service.open(load_desk(folder, None, copies=2))
    with running(service) as address:
        for source in (second, first, second):
            swap(two_models[source], folder)
            for _ in range(3):
                status, facts = ask_service(address, LESION, insist="true")
                assert status == 200
                assert require_one(facts["pictures"][0], expected) == first
        # Not even a file that is cut to nothing in its place takes the weights from under it.
        (folder / "model.tflite").write_bytes(b"")
        assert require_one(ask_service(address, LESION, insist="true")[1]["pictures"][0], expected) == first


def test_weights_that_are_replaced_while_they_are_loaded_are_refused(two_models, tmp_path, monkeypatch):
    """Between the look at the hashes and the reading of the file."""
    first, second = two_models.values()
    folder, real = shutil.copytree(first, tmp_path / "small"), predictor_module.load_bundle

    def load_and_replace(path):
        bundle = real(path)
        shutil.copyfile(second / "model.tflite", folder / "model.tflite")
        return bundle

    monkeypatch.setattr(predictor_module, "load_bundle", load_and_replace)
    with pytest.raises(ModelError, match=r"model\.tflite in .* was replaced while it was loaded"):
        Predictor.load(folder)


@LONG
def test_the_service_process_survives_weights_that_are_written_over(two_models, expected, tmp_path):
    first, second = two_models
    folder = shutil.copytree(two_models[first], tmp_path / "small")
    with serving_requests("--model", folder) as (address, child):
        for source in (second, first, second):
            writing = threading.Thread(target=lay_over, args=(two_models[source], folder), kwargs={"pause_s": 0.01})
            writing.start()
            while writing.is_alive():
                status, facts = ask_service(address, LESION, insist="true")
                assert status == 200
                assert require_one(facts["pictures"][0], expected) == first
            writing.join()
    require_no_traceback(child.said.err)
    with serving_requests("--model", folder) as (address, child):
        assert require_one(ask_service(address, LESION, insist="true")[1]["pictures"][0], expected) == second


def open_page(folder, monkeypatch):
    import streamlit as st
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("SKINAI_MODEL", str(folder))
    monkeypatch.setenv("SKINAI_CLINICAL", "")
    st.cache_resource.clear()
    st.cache_data.clear()
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300).run()
    app.file_uploader[0].set_value(("lesion.png", LESION, "image/png")).run()
    assert not app.exception
    return app


def read_answer(app, expected):
    """Return whose answer the page shows; footer and probabilities have to agree."""
    assert not app.exception
    assert not app.error, [error.value for error in app.error]
    footer = next(element.value for element in app.markdown if "fingerprint" in element.value)
    (shown,) = {name for name in expected if name in footer}
    said = next(element.value for element in app.info if "Most probable" in element.value)
    code, share = max(expected[shown].items(), key=lambda pair: pair[1])
    assert f"({share:.1%})" in said, (code, said)
    return shown


def test_the_page_answers_from_the_old_model_until_the_new_one_is_whole(two_models, expected, tmp_path, monkeypatch):
    first, second = two_models
    folder = shutil.copytree(two_models[first], tmp_path / "small")
    app = open_page(folder, monkeypatch)
    assert read_answer(app, expected) == first
    seen = []

    def look():
        app.run()
        seen.append(read_answer(app, expected))

    lay_over(two_models[second], folder, after=look)
    assert seen == sorted(seen, key=[first, second].index)
    assert seen.count(first) > 5
    app.run()
    assert read_answer(app, expected) == second
    # A damaged one does not take its place either.
    (folder / "bundle.json").write_text("{}")
    app.run()
    assert read_answer(app, expected) == second


@LONG
def test_the_app_answers_on_while_models_are_laid_into_its_folder(two_models, expected, tmp_path):
    first, second = two_models
    folder = shutil.copytree(two_models[first], tmp_path / "small")
    environment = {"SKINAI_MODEL": str(folder), "SKINAI_CLINICAL": ""}
    tops = {name: f"({max(shares.values()):.1%})" for name, shares in expected.items()}
    assert len(set(tops.values())) == 2
    seen = []
    with serving_pages(env=environment) as (address, child), Visitor(address) as visitor:
        visitor.upload(LESION)
        for swap in (lay_over, swap_whole, lay_over, swap_whole):
            for source in (second, first):
                writing = threading.Thread(target=swap, args=(two_models[source], folder))
                writing.start()
                until = time.monotonic() + PATIENCE_S
                while writing.is_alive() or not seen or seen[-1] != source:
                    assert time.monotonic() < until
                    said = visitor.see().text
                    answered = [name for name, top in tops.items() if top in said.partition("Most probable")[2][:80]]
                    assert len(answered) == 1, said
                    seen.append(answered[0])
                    time.sleep(0.02)
                writing.join()
                footer = visitor.see().text.rpartition("fingerprint ")[2][:12]
                assert footer == source
    assert set(seen) == {first, second}
    require_no_traceback(child.said.err + child.said.out)


def test_the_command_line_refuses_half_of_a_copy(two_models, tmp_path):
    first, second = two_models.values()
    folder = shutil.copytree(first, tmp_path / "small")
    shutil.copyfile(second / "bundle.json", folder / "bundle.json")
    (tmp_path / "lesion.png").write_bytes(LESION)
    done = run(*SKINAI, "predict", "--json", tmp_path / "lesion.png", "--model", folder)
    assert done.code == 2
    assert done.out == ""
    assert "is not the file that bundle.json describes" in done.err
