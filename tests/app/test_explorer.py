"""The data explorer as a visitor meets it, without a browser."""

import csv
import io
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import encode
from streamlit.testing.v1 import AppTest

from skinai import wording
from skinai.data.drawing import draw_lesion
from skinai.data.facets import build_facets
from skinai.data.images import decode_picture
from skinai.data.sources import read_source
from skinai.data.split import read_split
from skinai.labels import HAM10000

ROOT = Path(__file__).resolve().parents[2]
PAGE = str(ROOT / "pages" / "data" / "explorer.py")


@pytest.fixture(autouse=True)
def _model(small_model, monkeypatch, tmp_path):
    import streamlit as st

    monkeypatch.setenv("SKINAI_MODEL", str(small_model))
    monkeypatch.setenv("SKINAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SKINAI_DATA", raising=False)
    monkeypatch.delenv("SKINAI_TABLE", raising=False)
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def with_data(small_data, monkeypatch):
    monkeypatch.setenv("SKINAI_DATA", str(small_data))


@pytest.fixture
def facets(small_data, small_model):
    return build_facets(read_source(small_data, for_training=False), read_split(small_model / "split.csv"))


def open_page(section="overview", **query):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    app.run()
    app.switch_page(PAGE)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    if section != "overview":
        app.segmented_control(key="part").set_value(section).run()
    assert not app.exception
    return app


def texts(app):
    return " ".join(part.value for kind in ("markdown", "caption", "info", "error") for part in app.get(kind))


def choose(app, *entries):
    app.multiselect(key="filter").set_value(list(entries)).run()
    assert not app.exception
    return app


def test_a_fresh_clone_shows_the_class_balance_without_any_data():
    app = open_page()
    app.toggle(key="tables").set_value(True).run()
    balance = app.table[0].value
    assert balance["All"].astype(int).sum() == 83
    assert len(app.get("plotly_chart")) >= 5
    assert wording.COUNTS_ONLY in texts(app)
    for section, sentence in (("gallery", wording.GALLERY_NO_DATA), ("audit", wording.AUDIT_NO_DATA)):
        app.segmented_control(key="part").set_value(section).run()
        assert sentence in texts(app)


def test_counts_follow_the_unit():
    app = open_page()
    app.toggle(key="tables").set_value(True).run()
    app.segmented_control(key="unit").set_value("lesions").run()
    assert app.table[0].value["All"].astype(int).sum() == 56
    assert wording.LESIONS_REMARK in texts(app)


def test_counts_only_are_filtered_by_diagnosis_and_subset():
    app = open_page()
    offered = app.multiselect(key="filter").options
    assert any("Melanoma" in option for option in offered)
    assert not any(option.startswith("Sex") for option in offered)
    choose(app, "dx:mel", "subset:train")
    assert "**7 pictures of 5 lesions.**" in texts(app)


@pytest.mark.usefixtures("with_data")
def test_every_filter_holds_for_every_count(facets):
    app = open_page()
    choose(app, "sex:female", "dx:mel")
    wanted = facets.rows({"sex": ["female"], "dx": ["mel"]})
    assert f"**{len(wanted):,} pictures of {wanted['lesion_id'].nunique():,} lesions.**" in texts(app)
    app.toggle(key="tables").set_value(True).run()
    shown = {table.value.columns[0]: table.value for table in app.table}
    sites = shown["Site on the body"].set_index("Site on the body")
    expected = wanted["localization"].value_counts()
    assert {site: int(sites.loc[site, "All"]) for site in expected.index} == expected.to_dict()
    assert sites["Melanoma"].astype(int).sum() == len(wanted)
    # A facet's own filter is not applied to it.
    assert shown["Diagnosis"]["All"].astype(int).sum() == len(facets.rows({"sex": ["female"]}))


@pytest.mark.usefixtures("with_data")
def test_filters_come_from_the_address_and_stay_across_sections(facets):
    app = open_page(filter="Sex: male")
    assert app.multiselect(key="filter").value == ["sex:male"]
    app.segmented_control(key="part").set_value("gallery").run()
    assert app.multiselect(key="filter").value == ["sex:male"]
    rows = facets.rows({"sex": ["male"]})
    assert f"{rows['path'].notna().sum():,} pictures of" in texts(app)


@pytest.mark.usefixtures("with_data")
def test_a_filter_that_does_not_exist_is_passed_over():
    app = open_page(filter="Sex: martian")
    assert app.multiselect(key="filter").value == []


@pytest.mark.usefixtures("with_data")
def test_nothing_left_is_said():
    app = open_page()
    choose(app, "picture:absent", "dx:vasc")
    assert wording.FILTER_NOTHING in texts(app)


@pytest.mark.usefixtures("with_data")
def test_the_rows_are_taken_along_as_they_are_filtered(facets, monkeypatch):
    """The button's content is made when it is asked for; formulas stay text."""
    from skinai.ui.exploring import overview

    taken = {}
    monkeypatch.setattr(
        overview.st, "download_button", lambda label, make, name, *rest, **more: taken.update({name: make()})
    )
    app = open_page()
    choose(app, "dx:bcc")
    rows = list(csv.DictReader(io.StringIO(taken["pictures.csv"].decode())))
    assert [row["image_id"] for row in rows] == facets.rows({"dx": ["bcc"]})["image_id"].tolist()
    assert set(rows[0]) == {"image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization", "subset"}


@pytest.mark.usefixtures("with_data")
def test_any_two_columns_stand_against_each_other_with_n(facets):
    app = open_page("columns")
    app.selectbox(key="down").set_value("sex").run()
    app.selectbox(key="across").set_value("dx").run()
    counts = facets.count("sex", "dx")
    table = app.table[0].value
    assert [f"{sex} (n {counts.loc[sex].sum()})" for sex in counts.index] == table["Sex"].tolist()
    assert table.iloc[0, 1:].astype(int).tolist() == counts.iloc[0].tolist()
    app.segmented_control(key="cross").set_value("rows").run()
    shares = app.table[0].value.iloc[0, 1:].str.rstrip("%").astype(float)
    assert shares.sum() == pytest.approx(100, abs=0.5)
    app.segmented_control(key="cross").set_value("columns").run()
    first = app.table[0].value.iloc[:, 1]
    assert first[first != "not applicable"].str.rstrip("%").astype(float).sum() == pytest.approx(100, abs=0.5)


def test_counts_only_are_crossed_with_diagnosis_or_subset():
    app = open_page("columns")
    app.selectbox(key="down").set_value("localization").run()
    assert not app.exception
    assert app.selectbox(key="across").options == [wording.FACETS["dx"], wording.FACETS["subset"]]
    app.selectbox(key="down").set_value("dx").run()
    assert not app.exception
    assert wording.FACETS["sex"] in app.selectbox(key="across").options


def figures(app):
    """The pictures of the gallery: (alt, caption, length of the picture's data)."""
    shown = "".join(part.value for part in app.get("html"))
    found = re.findall(
        r'<figure[^>]*>(?:<img src="data:image/jpeg;base64,([^"]*)" alt="([^"]*)"[^>]*>)?(.*?)</figure>', shown
    )
    return [(alt, caption, len(content)) for content, alt, caption in found]


@pytest.mark.usefixtures("with_data")
def test_the_gallery_decodes_one_page_and_keeps_lesions_together(facets, monkeypatch):
    from skinai.ui.exploring import gallery

    decoded = []
    monkeypatch.setattr(gallery, "decode_picture", lambda content: decoded.append(1) or decode_picture(content))
    app = open_page("gallery")
    shown = figures(app)
    assert len(shown) == len(decoded) == gallery.PAGE_SIZE
    assert max(size for _, _, size in shown) < 40_000
    there = facets.table[facets.table["path"].notna()].sort_values(["lesion_id", "image_id"])
    assert [alt.split(", ")[-1] for alt, _, _ in shown] == there["image_id"].head(gallery.PAGE_SIZE).tolist()
    app.get("pagination")[0].set_value(2).run()
    assert [alt.split(", ")[-1] for alt, _, _ in figures(app)] == there["image_id"].iloc[24:48].tolist()
    app.get("pagination")[0].set_value(1).run()
    assert len(decoded) == 2 * gallery.PAGE_SIZE, "a thumbnail is made once"


@pytest.mark.usefixtures("with_data")
def test_the_gallery_says_what_the_model_answered_for_holdout_pictures_alone(small_model):
    from skinai.data.predictions import read_predictions

    app = open_page("gallery")
    choose(app, "subset:test")
    tested = len(read_predictions(small_model / "predictions_test.csv"))
    shown = figures(app)
    assert len(shown) == min(tested, 24)
    assert all("Model: " in caption for _, caption, _ in shown)
    choose(app, "subset:train")
    assert not [caption for _, caption, _ in figures(app) if "Model: " in caption]


def test_an_audit_on_the_page_is_kept_for_the_next_visitor(small_data, tmp_path, monkeypatch):
    folder = shutil.copytree(small_data, tmp_path / "ham")
    copy = next(folder.glob("*/ISIC_0000080.jpg"))
    shutil.copy(next(folder.glob("*/ISIC_0000000.jpg")), copy)
    monkeypatch.setenv("SKINAI_DATA", str(folder))
    app = open_page("audit")
    assert app.table[0].value["Listed"].astype(int).sum() == 84
    assert app.table[0].value["Published"].str.replace(",", "").astype(int).sum() == 10_015
    app.button(key="audit").click().run()
    assert not app.exception
    found = app.table[1].value
    assert found[found["What"].str.contains("listed as another lesion")]["Found"].tolist() == ["1"]
    again = open_page("audit")
    assert len(again.table) == len(app.table)
    assert wording.AUDIT_COMMAND in texts(again)
    os.utime(copy, (1, 1))
    import streamlit as st

    st.cache_resource.clear()
    assert len(open_page("audit").table) == 1, "a changed folder has no audit"


@pytest.mark.usefixtures("with_data")
def test_the_models_own_split_is_clean_by_class():
    app = open_page("split")
    assert wording.SPLIT_CLEAN in texts(app)
    table = app.table[0].value
    assert set(table["Leaked"]) == {"0.0%"}
    assert table["Diagnosis"].iloc[-1] == "all"
    assert len(table) == 2 * (len(HAM10000.codes) + 1)


@pytest.mark.usefixtures("with_data")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_id,subset\nISIC_0000001,train\nISIC_0000002,test\n", "1 lesions and 0 near-identical pairs"),
        ("image_id,subset\nISIC_0000001,left\n", "Unknown subsets"),
        ("name,part\nx,y\n", "needs a column"),
        ("image_id,subset\nISIC_9,train\n", "no picture in common"),
    ],
)
def test_a_split_of_ones_own_is_looked_through(text, said):
    app = open_page("split")
    app.file_uploader[0].set_value(("split.csv", text.encode(), "text/csv")).run()
    assert not app.exception
    assert said in texts(app)


def test_a_folder_a_class_is_explored_like_any_other(tmp_path, monkeypatch):
    """Names that would mean something in Markdown or HTML stay text."""
    for name in ("red spot", "dark_spot"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(3):
            picture = draw_lesion(number, width_px=64, height_px=48)
            (tmp_path / "own" / name / f"a*b_{number}.jpg").write_bytes(encode(picture))
    monkeypatch.setenv("SKINAI_DATA", str(tmp_path / "own"))
    app = open_page()
    assert "**6 pictures are here**" in texts(app)
    app.toggle(key="tables").set_value(True).run()
    assert app.table[0].value["Diagnosis"].tolist() == ["dark\\_spot", "Red spot"]
    assert app.segmented_control(key="unit").options == ["pictures"]
    for section in ("columns", "gallery", "audit", "split"):
        app.segmented_control(key="part").set_value(section).run()
        assert not app.exception, section
        assert "Published" not in app.table[0].value.columns if app.table else True
    own = "image_id,subset\nred spot/a*b_0.jpg,train\ndark_spot/a*b_0.jpg,test\n"
    app.file_uploader[0].set_value(("split.csv", own.encode(), "text/csv")).run()
    assert wording.SPLIT_UNKNOWN in [warning.value for warning in app.warning]
    app.segmented_control(key="part").set_value("gallery").run()
    assert any("a*b_0" in caption for _, caption, _ in figures(app))


def test_a_table_of_ones_own_is_explored_by_its_columns(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    rows = []
    for number in range(6):
        name = f"{number}.jpg"
        (tmp_path / "own" / name).write_bytes(encode(draw_lesion(number, width_px=64, height_px=48)))
        rows.append(
            {"image": name, "label": "ab"[number % 2], "sex": ("male", "female")[number // 3], "age": 30 + number}
        )
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    monkeypatch.setenv("SKINAI_DATA", str(tmp_path / "own"))
    monkeypatch.setenv("SKINAI_TABLE", str(tmp_path / "labels.csv"))
    app = open_page()
    choose(app, "sex:female")
    assert "**3 pictures.**" in texts(app)


def test_every_diagnosis_keeps_its_own_group_where_some_are_absent(small_data, tmp_path, monkeypatch):
    folder = shutil.copytree(small_data, tmp_path / "ham")
    table = pd.read_csv(folder / "HAM10000_metadata.csv")
    table[table["dx"].isin(["mel", "nv"])].to_csv(folder / "HAM10000_metadata.csv", index=False)
    monkeypatch.setenv("SKINAI_DATA", str(folder))
    app = open_page()
    app.toggle(key="tables").set_value(True).run()
    groups = app.table[0].value.set_index("Diagnosis")["Group"]
    assert groups.to_dict() == {"Melanoma": "malignant", "Melanocytic naevus": "benign"}


def test_the_counts_are_taken_along_as_they_are_filtered(monkeypatch):
    from skinai.ui.exploring import overview

    made = []
    monkeypatch.setattr(overview.st, "download_button", lambda label, make, *rest, **more: made.append(make))
    app = open_page()
    choose(app, "dx:bcc")
    rows = list(csv.DictReader(io.StringIO(made[-1]().decode())))
    assert {row["dx"] for row in rows if int(row["pictures"])} == {"bcc"}
    assert sum(int(row["pictures"]) for row in rows if row["column"] == "dx") == 12


def test_a_click_on_a_value_with_odd_characters_sets_it(tmp_path, monkeypatch):
    """What a bar names is a list, whatever the value looks like."""
    from skinai.evaluation.figures import LIGHT
    from skinai.ui.charts import draw_facet

    counts = pd.DataFrame({"a": [1, 2]}, index=["trunk|back", "x:<b>y</b>"])
    figure = draw_facet(
        counts, list(counts.index), LIGHT, facet="localization", unit="pictures", chosen=[], labels=None
    )
    assert [list(entry) for entry in figure.data[0].customdata] == [["localization", value] for value in counts.index]
    assert figure.data[0].y[1] == "x:&lt;b&gt;y&lt;/b&gt;"


def test_the_list_of_pairs_from_the_page_is_what_a_split_reads(small_data, tmp_path):
    from skinai.data.audit import audit_folder, format_pairs
    from skinai.data.split import read_pairs

    folder = shutil.copytree(small_data, tmp_path / "ham")
    shutil.copy(next(folder.glob("*/ISIC_0000000.jpg")), next(folder.glob("*/ISIC_0000080.jpg")))
    (tmp_path / "pairs.csv").write_text(format_pairs(audit_folder(read_source(folder, for_training=False), near=False)))
    assert read_pairs(tmp_path / "pairs.csv") == {("ISIC_0000000", "ISIC_0000080")}


def test_a_folder_that_cannot_be_opened_is_a_sentence_everywhere(tmp_path, monkeypatch):
    from skinai.ui import resources

    (tmp_path / "closed").mkdir()
    monkeypatch.setenv("SKINAI_DATA", str(tmp_path / "closed"))
    monkeypatch.setattr(resources.os, "scandir", lambda folder: (_ for _ in ()).throw(PermissionError(13, "Denied")))
    assert "The data folder cannot be opened" in texts(open_page())
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300).run()
    assert not app.exception


def test_data_that_cannot_be_read_are_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SKINAI_DATA", str(tmp_path / "empty"))
    app = open_page()
    assert wording.DATASET_UNUSABLE in texts(app)


@pytest.mark.usefixtures("with_data")
def test_the_counts_of_the_model_can_be_had_beside_the_folder():
    app = open_page()
    app.segmented_control(key="data").set_value("model").run()
    assert not app.exception
    assert wording.COUNTS_ONLY in texts(app)


def test_the_split_tells_of_pairs_that_the_audit_found(small_data, tmp_path, monkeypatch):
    """A pair that nobody has published is no leak of the split's making, and is named all the same."""
    from dataclasses import replace

    from skinai.data.audit import audit_folder
    from skinai.ui import resources

    folder = shutil.copytree(small_data, tmp_path / "ham")
    monkeypatch.setenv("SKINAI_DATA", str(folder))
    split = read_split(Path(os.environ["SKINAI_MODEL"]) / "split.csv").set_index("image_id")["subset"]
    present = read_source(folder, for_training=False).present.set_index("image_id")
    first = next(image for image in present.index if split[image] == "train")
    other = next(image for image in present.index if split[image] == "test")
    shutil.copy(present.loc[first, "path"], present.loc[other, "path"])
    data = read_source(folder, for_training=False)
    resources.keep_audit(replace(audit_folder(data, near=False), near_searched=True))
    app = open_page("split")
    assert wording.SPLIT_CLEAN in texts(app)
    assert any("1 lie on two sides" in warning.value for warning in app.warning)
