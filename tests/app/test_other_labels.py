"""The pages of evidence for models whose classes are not HAM10000's: nothing is said of them that only lesions have."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from markup_reader import read_page, read_texts
from streamlit.testing.v1 import AppTest

from skinai import wording
from skinai.data.predictions import read_predictions
from skinai.data.split import SPLIT_FILE
from skinai.data.summary import DATASET_FILE
from skinai.evaluation.mistakes import list_cell, rank_mistakes
from skinai.evaluation.report import read_report
from skinai.model.bundle import EXPORT_FILE, load_bundle, write_bundle

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = [name for name in wording.SECTION_NAMES if name != "leak"]
# Of a model without a malignant class these say that it has none.
SAID_OF_NONE = (
    wording.NONE_MALIGNANT_REMARK,
    wording.WORKBENCH_NOTHING,
    wording.OTHER_THRESHOLD_REMARK,
    "no class of this model is marked malignant",
    "Histopathology of the malignant lesions",
)
SILLY = re.compile(r"lesion|melanom|naev|malignant|dermoscop|dark corners|HAM10000|\bnan\b", re.IGNORECASE)


@pytest.fixture(scope="module", autouse=True)
def _fresh():
    """What is kept belongs to a folder by its name, and each folder has one."""
    import streamlit as st

    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture(autouse=True)
def _without_data(monkeypatch):
    monkeypatch.delenv("SKINAI_DATA", raising=False)


@pytest.fixture
def three(three_class_model, monkeypatch):
    monkeypatch.setenv("SKINAI_MODEL", str(three_class_model))
    return three_class_model


@pytest.fixture
def twelve(twelve_class_folder, monkeypatch):
    monkeypatch.setenv("SKINAI_MODEL", str(twelve_class_folder))
    return twelve_class_folder


def open_page(page):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    app.run()
    app.switch_page(str(ROOT / page)).run()
    assert not app.exception
    assert not app.error
    return app


def open_section(name):
    app = open_page("pages/evidence/report_card.py")
    app.segmented_control(key="section").set_value(name).run()
    assert not app.exception
    assert not app.error
    return app


def read_all(app):
    """Return everything that a visitor reads: texts, tables, the heads of lists, choices, text alternatives."""
    said = []
    for kind in ("title", "header", "subheader", "markdown", "caption", "info", "warning"):
        said += [element.value for element in app.get(kind)]
    said += [*read_texts(app), *(element.proto.body for element in app.get("html"))]
    said += [f"{one.label} {one.value} {one.help}" for one in app.metric]
    said += [str(list(table.value.columns)) + table.value.to_csv() for table in app.table]
    said += [str(list(table.value.columns)) for table in app.dataframe]
    for choice in (*app.selectbox, *app.segmented_control):
        said += [choice.label, *choice.options]
    said += [str(one.proto) for kind in ("plotly_chart", "imgs") for one in app.get(kind)]
    return "\n".join(said)


def find_silly(app, labels):
    """Return what is said of a model without a malignant class that only lesions and dermoscopy have."""
    text = read_all(app)
    names = [*labels.codes, *labels.names, *(name.lower() for name in labels.names)]
    for known in (*SAID_OF_NONE, *names, *(label.isic_code for label in labels)):
        text = text.replace(known, "")
    # Codes of checks and names of figures in the files are the same for every model.
    text = re.sub(r"`[^`]+`|\"[a-z0-9_]+\":", "", text)
    return [text[max(found.start() - 60, 0) : found.end() + 40] for found in SILLY.finditer(text)]


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_of_the_report_card_of_three_classes(three, name):
    labels = load_bundle(three).labels
    assert labels.codes == ("acne", "fungal-infection", "psoriasis")
    app = open_section(name)
    assert find_silly(app, labels) == []
    assert f"of {read_report(three, labels).lesions} cases" in app.markdown[0].value


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_of_the_report_card_of_twelve_classes(twelve, photographs, name):
    assert find_silly(open_section(name), photographs) == []


def test_the_sections_offered_are_all_but_the_leak(three):
    app = open_page("pages/evidence/report_card.py")
    assert app.segmented_control(key="section").options == [wording.SECTION_NAMES[name] for name in SECTIONS]


def test_top_3_accuracy_stands_beside_accuracy_where_there_are_five_classes(twelve, photographs):
    app = open_page("pages/evidence/report_card.py")
    report = read_report(twelve, photographs)
    names = [*report.overall, "top3_accuracy"]
    tables, cards = read_page(app)
    assert [card.label for card in cards] == [wording.FIGURE_NAMES[name] for name in names]
    assert cards[-1].value == f"{report.scores['top3_accuracy'].value:.3f}"
    share = report.baseline["top3_accuracy"].value
    assert f"{wording.THREE_MOST_FREQUENT}: {share:.3f}." in read_all(app)
    scores = next(table for table in tables if "Log loss" in table.to_csv())
    kept = [name for name in report.applicable_scores if name != "top3_accuracy"]
    assert scores["Figure"].tolist()[: len(kept)] == [wording.SCORES[name][0] for name in kept]
    shares = report.confusion.sum(axis=1) / report.pictures
    assert f"among these pictures scores about {-(shares * np.log(shares)).sum():.1f}" in read_all(app)


def test_with_three_classes_top_3_accuracy_is_not_applicable(three):
    app = open_page("pages/evidence/report_card.py")
    tables, cards = read_page(app)
    assert "Top-3 accuracy" not in [card.label for card in cards]
    scores = next(table for table in tables if "Log loss" in table.to_csv()).set_index("Figure")
    assert scores.loc["Top-3 accuracy", "Value"] == "not applicable"


def test_the_most_frequent_mistake_and_the_most_confident_ones_are_shown(twelve, photographs):
    app = open_section("mistakes")
    report = read_report(twelve, photographs)
    table = read_predictions(twelve / "predictions_test.csv", photographs)
    mistakes = report.confusion - np.diag(np.diag(report.confusion))
    truth, answer = (app.selectbox(key=f"cell_{which}").value for which in ("truth", "answer"))
    assert mistakes[photographs.index(truth), photographs.index(answer)] == mistakes.max()
    cell, gallery = (one.value for one in app.dataframe)
    assert cell["image"].tolist() == list_cell(table, truth, answer, photographs)["image"].tolist()
    wrong = rank_mistakes(table, photographs)
    assert gallery["image"].tolist() == wrong["image"].head(12).tolist()
    assert list(gallery.columns[:4]) == ["image", "case", "truth", "answer"]
    # Nothing is known of the patients, so no column says so for each picture.
    assert list(gallery.columns[4:]) == list(photographs.codes)
    said = wording.OTHER_GALLERY_REMARK.format(count=len(wrong), pictures=300)
    assert said in read_all(app)
    assert "mistake_kind" not in [choice.key for choice in app.segmented_control]
    matrix = app.table[0].value
    assert (matrix.drop(columns=["truth", "n"]).to_numpy() == report.confusion).all()
    app.selectbox(key="gallery_picture").set_value(gallery["image"][0]).run()
    assert not app.exception
    facts = next(one.value for one in app.table if "Fact" in one.value.columns).set_index("Fact")["Value"]
    assert facts["Case"] == wrong["lesion"][0]
    assert "Sex" not in facts
    assert wording.NO_OTHER_PICTURE in read_all(app)
    assert wording.NO_PICTURE not in read_all(app)


def test_curves_of_a_class_and_no_threshold_in_force(twelve, photographs):
    app = open_section("curves")
    assert app.selectbox(key="target").options == list(photographs.names)
    assert wording.OTHER_THRESHOLD_REMARK in read_all(app)
    assert len(app.get("plotly_chart")) == 4
    app.selectbox(key="target").set_value("pigmented-or-keratotic-lesion").run()
    assert not app.exception


def test_two_models_of_twelve_classes_are_compared_by_case(twelve, photographs, tmp_path, monkeypatch):
    from skinai.__main__ import main

    other, bundle = shutil.copytree(twelve, tmp_path / "models" / "other"), load_bundle(twelve)
    (other / EXPORT_FILE).write_bytes(b"another")
    kept = ("data", "training", "versions", "licence", "created_utc", "calibration")
    write_bundle(
        other,
        labels=photographs,
        frame=bundle.frame,
        probe=bundle.probe,
        facts={name: bundle.facts[name] for name in kept},
        parts=[SPLIT_FILE, DATASET_FILE],
    )
    for name in ("report.json", "decision.json"):
        (other / name).unlink()
    assert main(["evaluate", str(other)]) == 0
    monkeypatch.setenv("SKINAI_MODEL", str(shutil.copytree(twelve, tmp_path / "models" / "twelve")))
    app = open_section("compare")
    table = read_predictions(twelve / "predictions_test.csv", photographs)
    assert f"Of {table.groupby(['lesion', 'truth']).ngroups:,} cases, only other is right on 0" in read_all(app)
    assert app.table[1].value["Diagnosis"].tolist() == list(photographs.names)
    assert find_silly(app, photographs) == []
    models = next(table for table in read_page(open_section("figures"))[0] if "Model" in table.columns)
    assert models["Model"].tolist() == ["twelve (in use)", "other", "Always eczema"]
    report = read_report(twelve, photographs)
    assert models["Top-3 accuracy"].tolist()[:2] == [str(report.scores["top3_accuracy"])] * 2
    assert models["Top-3 accuracy"].tolist()[2] == str(report.baseline["top3_accuracy"])


@pytest.mark.parametrize("name", ["three", "twelve"])
def test_about_states_use_and_limits_from_the_folder(name, request):
    folder = request.getfixturevalue(name)
    bundle = load_bundle(folder)
    report = read_report(folder, bundle.labels)
    app = open_page("pages/evidence/about.py")
    shown = read_all(app)
    assert f"It divides 100 % among {len(bundle.labels)} classes: {', '.join(bundle.labels.names)}." in shown
    assert f"trained on {bundle.facts['data']['train']} pictures" in shown
    assert f"right on {report.pictures} pictures of {report.lesions} cases that it had not seen" in shown
    assert "Ruling out cancer: no class of this model is marked malignant" in shown
    assert "nothing is recorded of their age, sex, site" in shown
    assert f"{wording.SKIN_TONE_GAP[1:]}" in shown
    assert ("looked at with a dermatoscope" in shown) == bool(bundle.labels.dermoscopy_codes)
    assert find_silly(app, bundle.labels) == []


def test_a_model_that_was_not_tested_says_so_on_the_about_page(three, tmp_path, monkeypatch):
    folder = shutil.copytree(three, tmp_path / "three")
    (folder / "report.json").unlink()
    monkeypatch.setenv("SKINAI_MODEL", str(folder))
    assert wording.OTHER_UNTESTED in read_all(open_page("pages/evidence/about.py"))


def test_the_checklists_answer_from_the_folder(twelve):
    app = open_section("documents")
    clear = next(table.value for table in app.table if len(table.value) == 25).set_index("Item")["Answer"]
    assert clear["18"] == wording.NONE_MALIGNANT_REMARK
    assert "Top-3 accuracy" in clear["21"]
    assert "**Gap: Nothing is recorded of the patients.**" in clear["7"]
