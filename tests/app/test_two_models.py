"""Two models side by side: which one answers, how that is said, and the switch between them on the other pages."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import draw_smaller_examples, encode
from streamlit.testing.v1 import AppTest

from skinai import wording
from skinai.__main__ import main
from skinai.data.drawing import RASHES, draw_lesion, draw_page, draw_photograph
from skinai.model.bundle import load_bundle
from skinai.model.router import read_router
from skinai.serving.routing import Desk
from skinai.ui.navigation import PAGES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def clinical_model(three_class_model, small_model, small_data, build_once):
    """The model of three classes with a router between it and the small model, fitted through the command line."""

    def fill(folder):
        model = shutil.copytree(three_class_model, folder / "models" / "clinical")
        data = three_class_model.parents[1] / "photographs"
        command = ["router", str(model), "--data", str(data), "--table", str(data / "photographs.csv")]
        command += ["--dermoscopy", str(small_data), "--dermoscopy-model", str(small_model)]
        with draw_smaller_examples():
            assert main(command) == 0

    return build_once("two", fill) / "models" / "clinical"


@pytest.fixture(autouse=True)
def _models(small_model, clinical_model, monkeypatch):
    import streamlit as st

    monkeypatch.setenv("SKINAI_MODEL", str(small_model))
    monkeypatch.setenv("SKINAI_CLINICAL", str(clinical_model))
    monkeypatch.delenv("SKINAI_DATA", raising=False)
    st.cache_resource.clear()
    st.cache_data.clear()


def open_app(page=PAGES[0][0]):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300).run()
    if page != PAGES[0][0]:
        app.switch_page(str(ROOT / page)).run()
    assert not app.exception
    return app


def upload(app, picture):
    app.file_uploader[0].set_value(("picture.jpg", encode(picture), "image/jpeg")).run()
    assert not app.exception
    return app


def find_choice(app):
    return next(choice for choice in app.segmented_control if choice.key.startswith("by-"))


def read_texts(app):
    groups = (app.markdown, app.caption, app.info, app.warning, app.error)
    return "\n".join(element.value for group in groups for element in group)


def read_classes(app):
    return [name.removesuffix(" (most probable)").strip("*") for name in app.table[0].value["Diagnosis"]]


def test_the_router_was_fitted_and_measured_on_pictures_that_were_held_out(clinical_model):
    facts = json.loads((clinical_model / "router.json").read_text())
    assert set(facts["fitted_on"]) == {"dermoscopy", "clinical", "neither"}
    assert min(facts["fitted_on"].values()) > 0
    held = facts["held_out"]
    assert {"dermoscopy", "clinical_as_it_is", "clinical_part", "natural", "documents_and_patterns"} <= set(held)
    assert held["documents_and_patterns"]["neither"] >= 0.9 * held["documents_and_patterns"]["pictures"]
    for counts in held.values():
        assert counts["dermoscopy"] + counts["clinical"] + counts["neither"] == counts["pictures"]
    bundle = load_bundle(clinical_model)
    assert read_router(
        clinical_model,
        fingerprint=bundle.fingerprint,
        embedding_size=Desk.load(clinical_model).main.predictor.session.embedding_size,
    )
    log = (clinical_model.parent / "TEST_LOG.md").read_text()
    assert "no diagnosis was looked at" in log


def test_each_kind_gets_the_answer_of_its_own_model(small_model, clinical_model):
    app = upload(open_app(), draw_lesion(3))
    assert "The model for dermoscopy answers" in read_texts(app)
    assert len(app.table[0].value) == 7
    app = upload(open_app(), draw_photograph(3, kind=RASHES[0]))
    assert "The model for clinical photographs answers" in read_texts(app)
    assert read_classes(app) == list(load_bundle(clinical_model).labels.names)
    footer = read_texts(app)
    for folder in (small_model, clinical_model):
        assert f"fingerprint {load_bundle(folder).fingerprint}" in footer


def test_a_page_of_text_is_for_neither_until_the_visitor_chooses():
    app = upload(open_app(), draw_page())
    assert "so neither model answers" in app.warning[0].value
    assert not app.table
    find_choice(app).set_value("clinical").run()
    assert not app.exception
    assert "You chose the model for clinical photographs" in app.warning[0].value
    assert len(app.table[0].value) == 3


def test_a_choice_against_the_router_holds_for_this_picture_only():
    app = upload(open_app(), draw_lesion(3))
    find_choice(app).set_value("clinical").run()
    assert "You chose the model for clinical photographs" in app.warning[0].value
    assert len(app.table[0].value) == 3
    upload(app, draw_lesion(4))
    assert find_choice(app).value == wording.ROUTE_AUTO
    assert len(app.table[0].value) == 7


def test_a_drawn_photograph_is_offered_and_answered():
    app = open_app()
    app.segmented_control(key="source").set_value("A drawn example").run()
    offered = app.selectbox(key="drawing").options
    photographs = [name for name in offered if "photograph" in name]
    assert len(photographs) == 4
    # What the shipped pair makes of each of them: test_shipped_router.py.
    app.selectbox(key="drawing").set_value(photographs[0]).run()
    assert not app.exception
    assert len(app.table[0].value) == 3


@pytest.mark.parametrize("page", [file for file, _, _ in PAGES if "analyse" not in file])
def test_the_switch_shows_the_other_model_on_every_other_page(page, clinical_model, small_model):
    app = open_app(page)
    switch = app.segmented_control(key="model")
    assert switch.options == list(wording.MODEL_NAMES.values())
    switch.set_value("clinical").run()
    assert not app.exception
    assert not app.error
    shown = read_texts(app)
    if "batch" not in page:
        assert "HAM10000" not in shown.split(load_bundle(clinical_model).fingerprint)[0]
    app.segmented_control(key="model").set_value("dermoscopy").run()
    assert not app.exception
    assert not app.error


def test_a_section_that_the_other_model_lacks_does_not_stay():
    app = open_app("pages/evidence/report_card.py")
    app.segmented_control(key="section").set_value("leak").run()
    assert not app.exception
    app.segmented_control(key="model").set_value("clinical").run()
    assert not app.exception
    assert app.segmented_control(key="section").value == "figures"


def test_a_model_of_ones_own_answers_alone(three_class_model, monkeypatch):
    monkeypatch.setenv("SKINAI_MODEL", str(three_class_model))
    app = upload(open_app(), draw_photograph(3))
    assert not [choice for choice in app.segmented_control if choice.key.startswith("by-")]
    assert len(app.table[0].value) == 3


def test_the_command_line_routes_too_and_marks_a_choice(tmp_path, capsys):
    for name, picture in (("lesion", draw_lesion(3)), ("rash", draw_photograph(3)), ("page", draw_page())):
        (tmp_path / f"{name}.jpg").write_bytes(encode(picture))
    assert main(["predict", str(tmp_path), "--json"]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    answers = {Path(line["file"]).stem: line for line in lines}
    assert len(answers["lesion"]["probabilities"]) == 7
    assert len(answers["rash"]["probabilities"]) == 3
    assert answers["page"]["probabilities"] is None
    assert answers["page"]["gate"]["reasons"][0]["code"] == "neither"
    assert answers["rash"]["routing"]["answered_by"] == "clinical"
    assert not answers["rash"]["routing"]["overruled"]
    assert main(["predict", str(tmp_path / "lesion.jpg"), "--json", "--as", "clinical"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["probabilities"]) == 3
    assert answer["routing"]["overruled"]
    assert main(["predict", str(tmp_path / "page.jpg"), "--insist"]) == 0
    assert "You chose the model for dermoscopy" in capsys.readouterr().out


def test_documents_say_which_model_answered_and_that_the_user_chose_it(tmp_path, capsys):
    path = tmp_path / "lesion.jpg"
    path.write_bytes(encode(draw_lesion(3)))
    assert main(["record", str(path), "--out", str(tmp_path / "routed")]) == 0
    record = json.loads((tmp_path / "routed" / "record.json").read_text())
    assert record["routing"]["answered_by"] == "dermoscopy"
    assert not record["routing"]["overruled"]
    assert main(["record", str(path), "--out", str(tmp_path / "chosen"), "--as", "clinical"]) == 0
    record = json.loads((tmp_path / "chosen" / "record.json").read_text())
    assert record["routing"]["overruled"]
    fhir = json.loads((tmp_path / "chosen" / "record.fhir.json").read_text())
    said = [part["valueString"] for part in fhir["contained"] if part.get("id") == "routing"]
    assert said[0].startswith("You chose the model for clinical photographs")
    assert '"routing.overruled","True"' in (tmp_path / "chosen" / "record.csv").read_text()
    capsys.readouterr()
    (tmp_path / "page.jpg").write_bytes(encode(draw_page()))
    assert main(["record", str(tmp_path / "page.jpg"), "--out", str(tmp_path / "none")]) == 2
    assert "so neither model answers" in capsys.readouterr().out


def test_a_picture_of_a_pigmented_spot_comes_with_its_remark(clinical_model, tmp_path, monkeypatch, capsys):
    """Only the label set decides: the same network with one class marked for the dermatoscope."""
    folder = shutil.copytree(clinical_model, tmp_path / "clinical")
    facts = json.loads((folder / "bundle.json").read_text())
    facts["labels"]["dermoscopy"] = list(facts["labels"]["order"])
    (folder / "bundle.json").write_text(json.dumps(facts))
    monkeypatch.setenv("SKINAI_CLINICAL", str(folder))
    picture = draw_photograph(3)
    app = upload(open_app(), picture)
    said = [warning.value for warning in app.warning]
    assert any("This model cannot tell a naevus from a melanoma" in sentence for sentence in said)
    (tmp_path / "rash.jpg").write_bytes(encode(picture))
    assert main(["record", str(tmp_path / "rash.jpg"), "--out", str(tmp_path / "record")]) == 0
    record = json.loads((tmp_path / "record" / "record.json").read_text())
    assert "come back with that picture" in record["needs_dermoscopy"]
    assert "come back with that picture" in capsys.readouterr().out


def test_the_models_are_joined_once_for_all_visitors_and_reruns(monkeypatch):
    joined = []
    monkeypatch.setattr(
        Desk, "join", classmethod(lambda cls, *models: joined.append(models) or Desk({"dermoscopy": models[0]}))
    )
    open_app().run()
    open_app()
    assert len(joined) == 1


def test_a_damaged_router_stops_the_page_with_a_sentence(clinical_model, tmp_path, monkeypatch):
    folder = shutil.copytree(clinical_model, tmp_path / "clinical")
    (folder / "router.npz").write_bytes(b"PK nothing")
    monkeypatch.setenv("SKINAI_CLINICAL", str(folder))
    app = open_app()
    assert "router.npz" in app.error[0].value
    assert not app.file_uploader
