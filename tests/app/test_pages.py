"""The pages as a visitor meets them, without a browser."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import streamlit as st
from conftest import encode, pack, write_dicom
from markup_reader import read_page, read_texts
from streamlit.testing.v1 import AppTest

from skinai import wording
from skinai.data.cases import read_cases
from skinai.data.drawing import draw_lesion
from skinai.data.images import decode_picture
from skinai.data.predictions import read_predictions
from skinai.evaluation.checks import check_folder
from skinai.evaluation.comparison import compare_predictions, subtract
from skinai.evaluation.decision import find_thresholds, read_decision
from skinai.evaluation.decision_support import predict_values
from skinai.evaluation.estimate import Estimate
from skinai.evaluation.mistakes import list_cell, rank_mistakes
from skinai.evaluation.report import read_report
from skinai.labels import HAM10000
from skinai.model.bundle import DEFAULT_MODEL, load_bundle, models_folder
from skinai.model.gates import SENTENCES
from skinai.model.session import Session
from skinai.serving import predictor
from skinai.serving.assessment import Assessor
from skinai.ui.examples import DRAWN
from skinai.ui.navigation import PAGES

ROOT = Path(__file__).resolve().parents[2]
CLAIM_FOLDERS = {"lesion": "ham10000-seed-cnn", "picture": "ham10000-seed-cnn-by-picture"}


@pytest.fixture(autouse=True)
def _model(small_model, monkeypatch):
    monkeypatch.setenv("SKINAI_MODEL", str(small_model))
    st.cache_resource.clear()
    st.cache_data.clear()


def open_app(page=PAGES[0][0]):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300).run()
    if page != PAGES[0][0]:
        app.switch_page(str(ROOT / page)).run()
    assert not app.exception
    return app


def upload(app, content, name="lesion.jpg", kind="image/jpeg"):
    app.file_uploader[0].set_value((name, content, kind)).run()
    assert not app.exception
    return app


def find_insist(app):
    """Return the switch that asks for an answer all the same."""
    return next(toggle for toggle in app.toggle if toggle.key.startswith("insist"))


def texts(app):
    groups = (app.markdown, app.caption, app.info, app.error, app.title, app.header)
    shown = [element.value for group in groups for element in group]
    return "\n".join([*shown, *read_texts(app)])


@pytest.mark.parametrize("page", [file for file, _, _ in PAGES])
def test_every_page_shows_its_fingerprint_and_no_exception(page, small_model):
    from skinai.model.bundle import load_bundle

    shown = texts(open_app(page))
    assert f"fingerprint {load_bundle(small_model).fingerprint}" in shown
    assert wording.NOT_A_DEVICE in shown


def test_the_standing_notice_is_there_with_and_without_a_result():
    app = open_app()
    assert any(wording.NOTICE in element.proto.body for element in app.get("html"))
    upload(app, encode(draw_lesion(3)))
    assert any(wording.NOTICE in element.proto.body for element in app.get("html"))


def test_an_upload_gives_seven_probabilities_and_the_malignant_sum(small_model):
    from skinai.serving.predictor import Predictor

    content = encode(draw_lesion(3))
    app = upload(open_app(), content)
    expected = Predictor.load(small_model).predict(decode_picture(content))
    table = app.table[0].value
    assert len(table) == 7
    assert table["Probability"].tolist() == [f"{value:.1%}" for value in expected.probabilities]
    assert sum(float(text.rstrip("%")) for text in table["Probability"]) == pytest.approx(100, abs=0.4)
    marked = [name for name in table["Diagnosis"] if "most probable" in name]
    assert marked == [f"**{expected.top.name}** (most probable)"]
    assert app.metric[0].value == f"{expected.malignant_probability:.1%}"
    assert wording.RESULT_NOTE in app.info[0].value
    assert not app.success


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty."),
        (b"GIF89a not a picture", "not a JPEG, PNG or DICOM picture"),
        (b"\xff\xd8\xff\xe0 broken", "damaged or incomplete"),
        (encode(draw_lesion(1))[:4000], "damaged or incomplete"),
        (encode(draw_lesion(1, width_px=20, height_px=20)), "at least 32 x 32 are needed"),
    ],
)
def test_a_bad_file_gets_a_plain_sentence_and_no_result(content, sentence):
    app = upload(open_app(), content)
    assert sentence in app.error[0].value
    assert not app.table
    assert not app.metric
    upload(app, encode(draw_lesion(1)))
    assert not app.error
    assert len(app.table[0].value) == 7


def test_each_session_sees_its_own_picture():
    """Two sessions with two pictures get two answers, and the same picture gets the same answer in both."""
    first, second = open_app(), open_app()
    upload(first, encode(draw_lesion(1)))
    upload(second, encode(draw_lesion(2)))
    answers = [app.table[0].value["Probability"].tolist() for app in (first, second)]
    assert answers[0] != answers[1]
    upload(first, encode(draw_lesion(2)))
    assert first.table[0].value["Probability"].tolist() == answers[1]


def test_a_drawn_example_says_that_it_means_nothing():
    app = open_app()
    app.segmented_control(key="source").set_value("A drawn example").run()
    assert not app.exception
    assert wording.DRAWN_REMARK in texts(app)
    assert len(app.table[0].value) == 7


def test_the_camera_warns_that_a_phone_is_no_dermatoscope():
    app = open_app()
    app.segmented_control(key="source").set_value("The camera").run()
    assert wording.CAMERA_REMARK in texts(app)


def test_the_page_says_what_the_model_is_not_for():
    shown = texts(open_app())
    for sentence in wording.NOT_FOR:
        assert sentence in shown


def open_section(name):
    app = open_app("pages/evidence/report_card.py")
    app.segmented_control(key="section").set_value(name).run()
    assert not app.exception
    return app


def test_the_report_card_shows_the_stored_report(small_model):
    app = open_app("pages/evidence/report_card.py")
    report = read_report(small_model)
    figures = [report.classes["mel"]["recall"], *report.overall.values()]
    tables, cards = read_page(app)
    assert [card.value for card in cards] == [f"{figure.value:.3f}" for figure in figures]
    assert [card.help for card in cards] == [wording.FIGURE_HELP[name] for name in ("melanoma_recall", *report.overall)]
    classes, others, scores = tables[:3]
    for title, name in (("F1", "f1"), ("Recall (sensitivity)", "recall")):
        assert classes[title].tolist() == [str(report.classes[code][name]) for code in report.labels.codes]
    for title, name in (("AUC", "auc"), ("Average precision", "average_precision")):
        assert others[title].tolist() == [str(report.classes[code][name]) for code in report.labels.codes]
    assert scores["Value"].tolist()[1 : 1 + len(report.scores)] == [str(one) for one in report.scores.values()]
    baseline = report.labels.labels[report.labels.index(report.baseline_code)].name.lower()
    assert f"Always {baseline}: {report.baseline['accuracy'].value:.3f}." in cards[1].below
    assert wording.INTERVAL_REMARK in texts(app)


def test_page_and_command_line_show_the_same_figures_to_the_last_digit(small_model, capsys):
    from skinai.__main__ import main

    capsys.readouterr()
    assert main(["evaluate", str(small_model), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    app = open_app("pages/evidence/report_card.py")
    tables, cards = read_page(app)
    shown = dict(zip(["melanoma_recall", *facts["overall"]], cards, strict=True))
    for name, figure in facts["overall"].items():
        assert shown[name].value == f"{figure['value']:.3f}"
        low, high = figure["interval"]
        assert f"95 %: {low:.3f} to {high:.3f}, n = {figure['n']:,}." in shown[name].below
    for name, figure in facts["scores"].items():
        row = tables[2].set_index("Figure").loc[wording.SCORES[name][0]]
        expected = Estimate.from_dict(figure)
        assert (row["Value"], row["n"]) == (str(expected), f"{expected.n:,}")


def test_a_cell_of_the_confusion_matrix_lists_its_pictures(small_model):
    app = open_section("mistakes")
    report = read_report(small_model)
    matrix = app.table[0].value
    assert (matrix.drop(columns=["truth", "n"]).to_numpy() == report.confusion).all()
    app.segmented_control(key="confusion").set_value("rows").run()
    row = app.table[0].value.iloc[5]
    assert row["nv"] == f"{report.confusion[5, 5] / report.confusion[5].sum():.1%}"
    app.segmented_control(key="confusion").set_value("columns").run()
    assert not app.exception
    table = read_predictions(small_model / "predictions_test.csv")
    cells = [(i, j) for i in range(7) for j in range(7) if report.confusion[i, j] and i != j]
    truth, answer = (report.labels.codes[index] for index in cells[0])
    app.selectbox(key="cell_truth").set_value(truth).run()
    app.selectbox(key="cell_answer").set_value(answer).run()
    listed = app.dataframe[0].value
    assert listed["image"].tolist() == list_cell(table, truth, answer)["image"].tolist()
    assert len(listed) == report.confusion[cells[0]]
    assert set(report.labels.codes) <= set(listed.columns)
    image = listed["image"].iloc[0]
    app.selectbox(key="cell_picture").set_value(image).run()
    assert not app.exception
    nearest = read_cases(small_model).loc[image]
    found = next(one.value for one in app.table if "Nearest training case" in one.value)
    assert found["Nearest training case"].tolist() == [nearest[f"nearest_{rank}_image"] for rank in (1, 2, 3)]
    assert wording.NO_PICTURE in texts(app)
    empty = next((i, j) for i in range(7) for j in range(7) if not report.confusion[i, j])
    app.selectbox(key="cell_truth").set_value(report.labels.codes[empty[0]]).run()
    app.selectbox(key="cell_answer").set_value(report.labels.codes[empty[1]]).run()
    assert not app.exception
    assert wording.CELL_EMPTY in texts(app)


@pytest.mark.shipped
def test_where_the_pictures_are_the_map_of_a_mistake_is_drawn(shipped_model, tmp_path, monkeypatch):
    """Drawn lesions stand under the names of the first mistakes."""
    import streamlit as st

    wrong = rank_mistakes(read_predictions(shipped_model / "predictions_test.csv")).head(3)
    folder = tmp_path / "HAM10000_images_part_1"
    folder.mkdir()
    rows = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    for number, row in enumerate(wrong.itertuples()):
        (folder / f"{row.image}.jpg").write_bytes(encode(draw_lesion(number)))
        rows.append(f"{row.lesion},{row.image},{row.truth},histo,50.0,male,back")
    (tmp_path / "HAM10000_metadata.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setenv("SKINAI_DATA", str(tmp_path))
    monkeypatch.setenv("SKINAI_MODEL", str(shipped_model))
    st.cache_resource.clear()
    app = open_section("mistakes")
    shown = [element.proto.imgs[0].caption for element in app.get("image")]
    assert [caption.split(":")[0] for caption in shown] == wrong["image"].tolist()
    app.selectbox(key="gallery_picture").set_value(wrong["image"].iloc[0]).run()
    assert not app.exception
    captions = [element.proto.imgs[0].caption for element in app.get("image")]
    assert f"{wrong['image'].iloc[0]}, as it is" in captions
    assert any(caption.startswith("What the network saw") for caption in captions)


def test_a_threshold_moves_along_the_curves_and_writes_nothing(small_model):
    before = {path.name: path.stat().st_mtime_ns for path in small_model.iterdir()}
    app = open_section("curves")
    report = read_report(small_model)
    table = report.frame("roc")
    app.select_slider(key="threshold").set_value(0.3).run()
    assert not app.exception
    row = table[table["at"] == 0.3].iloc[0]
    shown = app.table[0].value.set_index("Figure")["At this threshold"]
    assert shown["Sensitivity"].startswith(f"{row['sensitivity']:.3f}")
    assert shown["Net benefit"].startswith(f"{row['net_benefit']:.3f}")
    assert len(app.get("plotly_chart")) == 5
    app.selectbox(key="target").set_value("nv").run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == 4
    assert {path.name: path.stat().st_mtime_ns for path in small_model.iterdir()} == before


def test_every_part_is_shown_with_n_and_a_remark_where_it_is_small(small_model):
    app = open_section("parts")
    report = read_report(small_model)
    columns = list(dict.fromkeys(group.column for group in report.subgroups))
    assert "lesion_pictures" in columns
    assert "sharpness" in columns
    for column in columns:
        app.segmented_control(key="part").set_value(column).run()
        assert not app.exception
        shown = app.table[0].value
        groups = [group for group in report.subgroups if group.column == column]
        for cell, group in zip(shown.iloc[:, 0], groups, strict=True):
            counts = f"{group.pictures} pictures, {group.lesions} lesions ({group.malignant_lesions} malignant)"
            assert cell == f"**{group.value}**: {counts}"
        few = f", {wording.PARTS_FEW}"
        assert shown["Sensitivity"].tolist() == [
            f"{one.figures['sensitivity']}, n {one.figures['sensitivity'].n}{few}" for one in groups
        ]
    for figure in ("specificity", "calibration_gap", "accuracy"):
        app.segmented_control(key="part_figure").set_value(figure).run()
        assert not app.exception
    assert wording.SKIN_TONE_REMARK in texts(app)


def test_the_checks_are_those_of_the_command_line_and_a_leak_is_shown_in_red(small_model, tmp_path, monkeypatch):
    import streamlit as st

    app = open_section("checks")
    found = check_folder(small_model, read_report(small_model), fingerprint=load_bundle(small_model).fingerprint)
    for check in found:
        assert (
            f"{wording.CHECK_STATES[check.state]}** | {wording.CHECK_PROMISE}: {check.title} (`{check.code}`)"
            in texts(app)
        )
        assert check.finding in texts(app)
    assert not app.error
    folder = shutil.copytree(small_model, tmp_path / "model")
    facts = json.loads((folder / "decision.json").read_text())
    facts["operating_points"][0]["threshold"] += 0.1
    (folder / "decision.json").write_text(json.dumps(facts))
    monkeypatch.setenv("SKINAI_MODEL", str(folder))
    st.cache_resource.clear()
    app = open_section("checks")
    assert all(error.value.startswith(wording.CHECK_VOIDS) for error in app.error)
    assert "sensitivity_0.90" in "".join(error.value for error in app.error)


def test_the_leak_shows_both_splits_and_the_four_orders():
    app = open_section("leak")
    assert "Claimed, not reproduced under a lesion-grouped split" in texts(app)
    claim, splits, orders = (app.table[index].value for index in range(3))
    kept = {kind: read_report(models_folder() / name) for kind, name in CLAIM_FOLDERS.items()}
    for kind, one in kept.items():
        assert claim[wording.CLAIM_SPLITS[kind]][0] == str(one.overall["accuracy"])
    assert kept["picture"].overall["accuracy"].value > kept["lesion"].overall["accuracy"].value
    assert splits["Difference"][0] == str(subtract(*(kept[kind].overall["accuracy"] for kind in ("picture", "lesion"))))
    naevi = str(kept["lesion"].classes["nv"]["f1"])
    assert orders[wording.ORDER_NAMES["Kaggle's hmnist tables"]][2] == naevi
    assert orders["Claimed"].tolist() == ["0.875", "0.869", "0.937", "0.628", "0.755", ".8 to .9"]
    app.segmented_control(key="leak_figure").set_value("recall").run()
    assert not app.exception
    assert app.table[1].value["Diagnosis"].tolist() == list(HAM10000.names)


@pytest.mark.shipped
def test_two_models_are_compared_on_the_same_lesions(monkeypatch):
    monkeypatch.setenv("SKINAI_MODEL", str(models_folder() / DEFAULT_MODEL))
    app = open_section("compare")
    first, second = (app.selectbox(key=f"compare_{which}").value for which in ("first", "second"))
    found = compare_predictions(models_folder() / first, models_folder() / second, subset="test")
    assert app.table[0].value["Difference"].tolist() == [str(one.difference) for one in found.overall.values()]
    assert f"{found.mcnemar.only_second:,}" in texts(app)
    app.segmented_control(key="compare_figure").set_value("auc").run()
    assert app.table[1].value["Difference"][4] == str(found.classes["mel"]["auc"].difference)
    app.selectbox(key="compare_first").set_value(second).run()
    assert wording.COMPARE_SAME in texts(app)


def test_the_workbench_writes_rules_only_for_who_runs_the_server(small_model, tmp_path, monkeypatch):
    folder = shutil.copytree(small_model, tmp_path / "model")
    monkeypatch.setenv("SKINAI_MODEL", str(folder))
    app = open_section("thresholds")
    assert wording.WORKBENCH_LOCKED in texts(app)
    assert not app.button
    assert "--point sensitivity_0.90" in app.code[0].value
    monkeypatch.setenv("SKINAI_WORKBENCH", "1")
    app = open_section("thresholds")
    app.slider(key="wanted_share").set_value(0.8).run()
    expected = find_thresholds(read_predictions(folder / "predictions_valid.csv"), names=["sensitivity_0.80"])[0]
    assert app.table[1].value["Threshold"].tolist() == [f"{expected.threshold:.2%}"]
    app.button(key="write_rules").click().run()
    assert not app.exception
    decision = read_decision(folder, fingerprint=load_bundle(folder).fingerprint)
    assert decision.version == 2
    assert decision.operating_points[0] == expected
    assert (folder / "decision.v1.json").read_bytes() == (small_model / "decision.json").read_bytes()
    card = open_app("pages/evidence/report_card.py")
    assert any("decision.json was changed after this report" in warning.value for warning in card.warning)
    assert len(upload(open_app(), encode(draw_lesion(3))).table[0].value) == 7


def test_what_cannot_be_read_is_said_in_its_place_also_one_after_the_other(monkeypatch):
    from skinai.errors import ModelError
    from skinai.ui.evidence import overview

    said = ["The rules cannot be read.", "The gate cannot be read.", "The router cannot be read."]
    for name, sentence in zip(("read_decision", "read_refused_counts", "read_routed_counts"), said, strict=True):

        def refuse(*_, sentence=sentence, **__):
            raise ModelError(sentence)

        monkeypatch.setattr(overview, name, refuse)
    app = open_app("pages/evidence/report_card.py")
    assert [warning.value for warning in app.warning] == said
    assert len(read_page(app)[1]) == 6


def test_rules_in_force_are_those_of_the_file_and_void_figures_are_said_in_every_section(
    small_model, tmp_path, monkeypatch
):
    folder = shutil.copytree(small_model, tmp_path / "model")
    facts = json.loads((folder / "decision.json").read_text())
    facts["operating_points"][0]["threshold"] = 0.987
    (folder / "decision.json").write_text(json.dumps(facts))
    monkeypatch.setenv("SKINAI_MODEL", str(folder))
    app = open_section("thresholds")
    assert app.table[0].value["Threshold"][0] == "98.70%"
    assert f"decide {folder}" in app.code[0].value
    for name in ("figures", "mistakes", "curves", "documents"):
        assert any(error.value.startswith(wording.CHECK_VOIDS) for error in open_section(name).error), name


def test_the_documents_offer_card_and_zip_and_show_the_gaps(small_model):
    app = open_section("documents")
    labels = [button.proto.label for button in app.get("download_button")]
    assert labels == [wording.DOCUMENTS_CARD, wording.DOCUMENTS_ALL]
    clear, tripod = (app.table[index].value for index in range(2))
    assert (len(clear), len(tripod)) == (25, 52)
    assert f"**Gap: {wording.SKIN_TONE_GAP}**" in clear["Answer"].tolist()


@pytest.mark.parametrize("page", [file for file, _, _ in PAGES])
def test_a_damaged_model_is_a_sentence_on_every_page(page, small_model, tmp_path, monkeypatch):
    folder = shutil.copytree(small_model, tmp_path / "model")
    (folder / "model.tflite").write_bytes(b"damaged")
    monkeypatch.setenv("SKINAI_MODEL", str(folder))
    app = open_app(page)
    assert "model.tflite in" in app.error[0].value
    assert "Traceback" not in texts(app)
    assert "No usable model" in texts(app)


def test_a_report_of_another_model_is_not_shown(small_model, tmp_path, monkeypatch):
    folder = shutil.copytree(small_model, tmp_path / "model")
    path = folder / "report.json"
    path.write_text(re.sub(r'"fingerprint": "\w+"', '"fingerprint": "0123456789ab"', path.read_text()))
    monkeypatch.setenv("SKINAI_MODEL", str(folder))
    app = open_app("pages/evidence/report_card.py")
    assert "the model 0123456789ab" in app.error[0].value
    assert read_page(app) == ([], [])


@pytest.mark.parametrize(
    ("code", "benign"), [("nv", True), ("bkl", True), ("mel", False), ("akiec", False)], ids=lambda value: str(value)
)
def test_a_benign_answer_comes_with_the_models_own_record(code, benign, monkeypatch):
    """The network's answer is fixed, so that each kind of answer is seen."""
    probabilities = np.full(7, 0.02, np.float32)
    probabilities[HAM10000.index(code)] = 0.88
    answered = Session.run
    monkeypatch.setattr(Session, "run", lambda self, frame: answered(self, frame) | {"probabilities": probabilities})
    monkeypatch.setattr(predictor, "check_probe", lambda bundle, answer: None)
    shown = upload(open_app(), encode(draw_lesion(1))).info[0].value
    assert (wording.BENIGN_NOTE in shown) == benign
    assert ("melanoma pictures" in shown) == benign
    assert wording.RESULT_NOTE in shown


def test_a_model_without_report_still_answers(small_model, tmp_path, monkeypatch):
    folder = shutil.copytree(small_model, tmp_path / "model")
    (folder / "report.json").unlink()
    monkeypatch.setenv("SKINAI_MODEL", str(folder))
    assert "has not been evaluated yet" in open_app("pages/evidence/report_card.py").error[0].value
    assert len(upload(open_app(), encode(draw_lesion(1))).table[0].value) == 7


def test_a_changed_model_folder_is_loaded_anew_and_what_is_refused_only_where_nothing_was_before(
    small_model, tmp_path, monkeypatch, caplog
):
    folder = shutil.copytree(small_model, tmp_path / "model")
    monkeypatch.setenv("SKINAI_MODEL", str(folder))
    app = upload(open_app(), encode(draw_lesion(1)))
    assert not app.error
    answer = app.info[0].value
    (folder / "bundle.json").write_text("{}")
    assert not app.run().error
    assert app.info[0].value == answer
    assert "What was loaded before answers on: bundle.json" in caplog.text
    st.cache_resource.clear()
    assert "lacks a part" in app.run().error[0].value


def test_uploads_are_not_spooled_to_disk():
    from starlette.formparsers import MultiPartParser

    open_app()
    assert MultiPartParser.spool_max_size > wording.MAX_UPLOAD_MB * 1024 * 1024


def test_a_foreign_origin_makes_the_server_ask_nobody(monkeypatch):
    from streamlit import net_util
    from streamlit.web.server import server_util

    open_app()
    monkeypatch.setattr(net_util, "_make_blocking_http_get", lambda *_, **__: pytest.fail("asked the outside"))
    assert not server_util.is_url_from_allowed_origins("http://evil.example")


def test_the_upload_limit_is_one_number():
    import tomllib

    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["server"]["maxUploadSize"] == wording.MAX_UPLOAD_MB


def test_the_web_process_never_loads_tensorflow(small_model, tmp_path):
    path = tmp_path / "lesion.jpg"
    path.write_bytes(encode(draw_lesion(1)))
    code = (
        "import sys; from pathlib import Path; from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({str(ROOT / 'app.py')!r}, default_timeout=300).run()\n"
        f"content = Path({str(path)!r}).read_bytes()\n"
        "app.file_uploader[0].set_value(('lesion.jpg', content, 'image/jpeg')).run()\n"
        "assert len(app.table[0].value) == 7 and not app.exception\n"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SKINAI_MODEL": str(small_model)},
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture(params=["", "dark"], ids=["none-malignant", "one-malignant"])
def own_model(request, own_model_folder, tmp_path, monkeypatch):
    """A model of two classes of a user's own, with and without a malignant one."""
    import streamlit as st

    from skinai.__main__ import main

    out = own_model_folder
    if request.param:
        out = tmp_path / "models" / "own"
        command = ["train", "--data", str(own_model_folder.parents[1] / "moles"), "--architecture", "seed-cnn"]
        assert main([*command, "--epochs", "1", "--malignant", request.param, "--out", str(out)]) == 0
    monkeypatch.setenv("SKINAI_MODEL", str(out))
    st.cache_resource.clear()
    st.cache_data.clear()
    return request.param


def test_the_pages_show_a_users_own_classes(own_model):
    for page, _, _ in PAGES:
        app = open_app(page)
        assert not app.error
        assert "HAM10000" not in texts(app)
    card = open_app("pages/evidence/report_card.py")
    assert len(read_page(card)[1]) == 5
    assert ("malignant or pre-malignant lesions" in texts(card)) == bool(own_model)
    offered = card.segmented_control(key="section").options
    assert wording.SECTION_NAMES["leak"] not in offered
    for name in ("mistakes", "curves", "parts", "checks", "compare", "thresholds", "documents"):
        assert "HAM10000" not in texts(open_section(name)), name
    app = upload(open_app(), encode(draw_lesion(3)))
    assert "HAM10000" not in texts(app)
    table = app.table[0].value
    assert len(table) == 2
    marks = ["malignant", "not marked malignant"] if own_model else ["not stated", "not stated"]
    assert table["Group"].tolist() == marks
    assert len(app.metric) == bool(own_model)
    assert (wording.MALIGNANT_LABEL in app.info[0].value) == bool(own_model)
    assert wording.OWN_MODEL_REMARK in texts(app)


@pytest.fixture
def gated(gated_model, monkeypatch):
    monkeypatch.setenv("SKINAI_MODEL", str(gated_model))
    return gated_model


def test_a_refused_picture_gets_its_reason_and_no_diagnosis(gated):
    app = upload(open_app(), encode(skimage.data.chelsea()))
    assert wording.REFUSED_TITLE in app.warning[0].value
    assert any(sentence in app.warning[0].value for sentence in SENTENCES.values())
    assert not app.info
    assert not app.table
    assert not app.metric
    shown = texts(app).partition(wording.NOT_FOR_TITLE)[0] + app.warning[0].value
    assert not [name for name in HAM10000.names if name in shown]


def test_who_insists_gets_a_marked_answer_for_this_picture_only(gated):
    app = upload(open_app(), encode(skimage.data.chelsea()))
    find_insist(app).set_value(True).run()
    assert len(app.warning) == 1
    assert "This picture was refused, and the answer is shown because you insisted." in app.warning[0].value
    assert wording.REFUSED_REMARK in texts(app)
    assert wording.CALL_TITLE not in texts(app)
    assert wording.REFUSED_NOTE not in app.warning[0].value
    assert len(app.table[0].value) == 7
    upload(app, encode(skimage.data.rocket()))
    assert app.toggle[0].value is False
    assert not app.table


def test_a_model_without_a_gate_says_so():
    assert wording.NO_GATE in texts(upload(open_app(), encode(draw_lesion(3))))


def test_what_else_it_may_be_is_what_the_rules_say(small_model):
    content = encode(draw_lesion(3))
    app = upload(open_app(), content)
    assessment = Assessor.load(small_model).assess(decode_picture(content))
    shown = texts(app)
    assert f"**{', '.join(label.name for label in assessment.plausible)}**" in shown
    severest = assessment.severest.name if assessment.severest else wording.NONE_SEVERE
    assert f"{wording.SEVEREST_LABEL}: **{severest}**" in shown


def test_the_threshold_and_the_prevalence_give_the_figures_of_the_report(small_model):
    content = encode(draw_lesion(3))
    app = upload(open_app(), content)
    report = read_report(small_model)
    call = Assessor.load(small_model).assess(decode_picture(content)).calls[0]
    for of_1000 in (50, 200):
        app.slider(key="prevalence").set_value(of_1000).run()
        figures = [report.decision[f"{call.name}:{figure}"].value for figure in ("sensitivity", "specificity")]
        values = predict_values(*figures, of_1000 / 1000)
        shown = texts(app)
        assert wording.describe_predictive_values(values) in shown
        assert f"the threshold of {call.threshold:.1%}" in shown
    app.segmented_control(key="operating_point").set_value("specificity_0.80").run()
    assert "to leave out 80% of the pictures that are not malignant" in texts(app)


def test_small_numbers_are_never_rounded_to_none_nor_shares_to_all():
    sentence = wording.describe_predictive_values(predict_values(0.9, 0.8, 0.001))
    assert "misses fewer than 1 malignant ones" in sentence
    assert "more than 99.9% are not" in sentence
    assert "none there are" in wording.describe_predictive_values(predict_values(0.0, 1.0, 0.1))


def test_the_map_is_drawn_for_the_top_class_first_and_for_the_one_picked(monkeypatch):
    monkeypatch.setenv("SKINAI_MODEL", str(models_folder() / DEFAULT_MODEL))
    content = encode(draw_lesion(3))
    app = upload(open_app(), content)
    top = Assessor.load(models_folder() / DEFAULT_MODEL).assess(decode_picture(content)).prediction.top
    assert app.selectbox[0].value == top.code
    alts = [element.proto.imgs[0].alt for element in app.get("image")]
    assert f"Class activation map for {top.name}, laid over the picture" in alts
    app.selectbox[0].set_value("df").run()
    alts = [element.proto.imgs[0].alt for element in app.get("image")]
    assert any("Dermatofibroma" in alt for alt in alts) or wording.WHY_NOTHING in texts(app)


def upload_several(app, contents):
    app.toggle(key="several").set_value(True).run()
    app.file_uploader[0].set_value([(f"{number}.jpg", one, "image/jpeg") for number, one in enumerate(contents)]).run()
    assert not app.exception
    return app


def test_several_pictures_are_one_answer_with_the_spread(small_model):
    pictures = [decode_picture(encode(draw_lesion(number))) for number in (1, 2, 3)]
    app = upload_several(open_app(), [encode(draw_lesion(number)) for number in (1, 2, 3)])
    assessor = Assessor.load(small_model)
    assessments = [assessor.assess(picture) for picture in pictures]
    pooled = assessor.pool(assessments).prediction
    assert app.table[0].value["Probability"].tolist() == [f"{value:.1%}" for value in pooled.probabilities]
    sums = [one.prediction.malignant_probability for one in assessments]
    least, greatest = (wording.say_share(value) for value in (min(sums), max(sums)))
    assert wording.SPREAD.format(count=3, least=least, greatest=greatest) in texts(app)
    assert wording.SEVERAL_REMARK in texts(app)


def test_seven_pictures_of_a_lesion_are_too_many():
    app = upload_several(open_app(), [encode(draw_lesion(number)) for number in range(7)])
    assert app.error[0].value == "7 pictures were given; at most 6 of one lesion are taken together."
    assert not app.table


def test_a_bad_file_among_several_is_named_by_its_number():
    app = upload_several(open_app(), [encode(draw_lesion(1)), b"GIF89a no"])
    assert app.error[0].value == "File 2 cannot be analysed. The file is not a JPEG, PNG or DICOM picture."
    assert len(app.table[0].value) == 7


def test_clinician_first_hides_the_answer_until_the_own_one_is_locked():
    app = open_app()
    app.toggle(key="clinician_first").set_value(True).run()
    upload(app, encode(draw_lesion(3)))
    assert not app.table
    assert not app.metric
    assert not app.info
    press = next(button for button in app.button if button.label == wording.CLINICIAN_LOCK)
    press.click().run()
    assert app.error[0].value == wording.CLINICIAN_MISSING
    assert not app.table
    choose = next(box for box in app.selectbox if box.label == wording.CLINICIAN_LABEL)
    choose.set_value("df")
    next(button for button in app.button if button.label == wording.CLINICIAN_LOCK).click().run()
    assert not app.exception
    assert len(app.table[0].value) == 7
    assert "You said Dermatofibroma (unsure)" in app.info[1].value
    # Locked: no form is left, and another page and back changes nothing.
    app.switch_page(str(ROOT / "pages/evidence/about.py")).run()
    app.switch_page(str(ROOT / PAGES[0][0])).run()
    assert app.toggle(key="clinician_first").value is True
    upload(app, encode(draw_lesion(3)))
    assert "You said Dermatofibroma (unsure)" in app.info[1].value
    assert wording.CLINICIAN_LOCK not in [button.label for button in app.button]
    upload(app, encode(draw_lesion(4)))
    assert not app.table
    upload(app, encode(draw_lesion(3)))
    assert "You said Dermatofibroma (unsure)" in app.info[1].value


def test_an_answer_that_was_shown_cannot_be_preceded():
    app = upload(open_app(), encode(draw_lesion(3)))
    assert len(app.table[0].value) == 7
    app.toggle(key="clinician_first").set_value(True).run()
    assert app.warning[0].value == wording.CLINICIAN_TOO_LATE
    assert len(app.table[0].value) == 7
    assert wording.CLINICIAN_LOCK not in [button.label for button in app.button]


def test_the_next_lesion_starts_without_the_last_patients_facts():
    app = upload(open_app(), encode(draw_lesion(3)))
    next(one for one in app.number_input if one.key.startswith("age-")).set_value(70).run()
    upload(app, encode(draw_lesion(4)))
    assert next(one for one in app.number_input if one.key.startswith("age-")).value is None


def test_the_documents_for_the_record_can_be_downloaded():
    app = upload(open_app(), encode(draw_lesion(3)))
    labels = [button.label for button in app.get("download_button")]
    assert labels == ["PDF", "JSON", "CSV", "FHIR R5"]


def test_stressing_shows_each_artefact_and_how_far_it_moves_the_sum():
    app = upload(open_app(), encode(draw_lesion(3)))
    next(button for button in app.button if button.label == wording.STRESS_BUTTON).click().run()
    assert not app.exception
    table = next(table.value for table in app.table if "With" in table.value.columns)
    assert table["With"].tolist() == list(wording.STRESS_NAMES.values())
    assert table["Change"].tolist()[0] == ""
    assert all(text.endswith("points") for text in table["Change"].tolist()[1:])


def test_every_drawn_example_is_shown_and_called_drawn():
    app = open_app()
    app.segmented_control(key="source").set_value("A drawn example").run()
    for name in DRAWN:
        app.selectbox(key="drawing").set_value(name).run()
        assert not app.exception
        assert wording.DRAWN_REMARK in texts(app)
        assert app.table


def test_a_dicom_file_is_answered_and_names_the_patient_on_request_only():
    content = write_dicom(draw_lesion(3))
    app = upload(open_app(), content, "a.dcm", "application/dicom")
    assert len(app.table[0].value) == 7
    shown = texts(app) + " ".join(element.value for element in app.text)
    assert "Dermoscopic photography image" in shown
    assert "Doe" not in shown
    assert "MRN12345" not in shown
    next(one for one in app.toggle if one.key.startswith("identifiers-")).set_value(True).run()
    assert any("Doe^Jane" in element.value or "Doe Jane" in element.value for element in app.text)


def test_age_sex_and_site_change_nothing_but_the_record():
    app = upload(open_app(), encode(draw_lesion(3)))
    before = app.table[0].value["Probability"].tolist()
    next(one for one in app.number_input if one.key.startswith("age-")).set_value(70).run()
    next(one for one in app.selectbox if one.key.startswith("site-")).set_value("back").run()
    assert app.table[0].value["Probability"].tolist() == before
    assert wording.PATIENT_REMARK in texts(app)


def test_holdout_pictures_are_offered_where_the_data_folder_is(small_data, monkeypatch):
    import streamlit as st

    monkeypatch.setenv("SKINAI_DATA", str(small_data))
    st.cache_resource.clear()
    app = open_app()
    app.segmented_control(key="source").set_value("A holdout picture").run()
    assert not app.exception
    assert "What HAM10000 says:" in texts(app)
    assert len(app.table[0].value) == 7
    similar = next(table.value for table in app.table if "Similarity" in table.value.columns)
    assert similar["Established by"].tolist() == ["histopathology"] * len(similar)
    monkeypatch.delenv("SKINAI_DATA")
    app = open_app()
    assert "A holdout picture" not in app.segmented_control(key="source").options


def run_batch(app, files):
    app.file_uploader[0].set_value(files).run()
    app.button(key="start").click().run()
    assert not app.exception
    return app.dataframe[0].value


def test_a_batch_lists_every_file_with_its_reason(gated):
    archive = pack({"below/c.jpg": encode(draw_lesion(3)), "d.txt": b"no picture"})
    files = [
        ("a.jpg", encode(draw_lesion(1)), "image/jpeg"),
        ("bad.jpg", b"\xff\xd8\xff no", "image/jpeg"),
        ("cat.jpg", encode(skimage.data.chelsea()), "image/jpeg"),
        ("more.zip", archive, "application/zip"),
        ("torn.zip", archive[:40], "application/zip"),
    ]
    app = open_app("pages/use/batch.py")
    assert wording.BATCH_EMPTY in app.info[0].value
    table = run_batch(app, files)
    assert table["File"].tolist() == ["a.jpg", "bad.jpg", "cat.jpg", "more.zip/below/c.jpg", "torn.zip"]
    assert table["Status"].tolist() == ["answered", "unreadable", "refused", "answered", "unreadable"]
    assert table["Reason"][4] == "The archive is damaged or incomplete and could not be read."
    assert table["Reason"][1] == "The picture is damaged or incomplete and could not be read."
    assert "2 of 5 answered, 1 refused by the gate, 2 not readable." in app.info[0].value
    assert table["Most probable"][2] is None or table["Most probable"].isna()[2]
    assert [button.label for button in app.get("download_button")] == ["CSV"]
    app.toggle(key="batch_insist").set_value(True).run()
    assert app.dataframe[0].value["Most probable"][2] in HAM10000.names
    assert app.dataframe[0].value["Status"][2] == "refused"
    app.file_uploader[0].set_value(files[:1]).run()
    assert app.warning[0].value == wording.BATCH_OLD
    app.button(key="batch_clear").click().run()
    assert not app.dataframe


def test_a_batch_of_one_and_a_batch_of_too_many(monkeypatch):
    app = open_app("pages/use/batch.py")
    app.file_uploader[0].set_value([("a.jpg", encode(draw_lesion(1)), "image/jpeg")]).run()
    assert app.button(key="start").label == "Analyse 1 picture"
    small = encode(draw_lesion(1, width_px=64, height_px=48))
    archive = pack({f"{number}.jpg": small for number in range(501)})
    app.file_uploader[0].set_value([("many.zip", archive, "application/zip")]).run()
    assert "There are 501 pictures; at most 500 are analysed at once." in app.warning[0].value
    assert app.button(key="start").label == "Analyse 500 pictures"
