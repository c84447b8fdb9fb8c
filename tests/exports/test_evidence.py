"""The zip opens without the app, holds what the report rests on, and says what the run says."""

import hashlib
import io
import json
import re
import shutil
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pandas as pd
import pytest

from skinai import wording
from skinai.artefacts import hash_file
from skinai.evaluation.report import KINDS, read_report
from skinai.exports.card import write_card
from skinai.exports.checklists import fill_clear_derm, fill_tripod
from skinai.exports.evidence import build_evidence
from skinai.exports.facts import read_facts
from skinai.exports.flow import draw_flow
from skinai.exports.svg import draw_svg
from skinai.model.bundle import load_bundle

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def content(shipped_model):
    return build_evidence(shipped_model)


@pytest.fixture(scope="module")
def archive(content):
    return zipfile.ZipFile(io.BytesIO(content))


def read(archive, name):
    return archive.read(f"ham10000-ensemble/{name}")


class Sources(HTMLParser):
    """Collect everything that a page would fetch, and the text alternatives of its pictures."""

    def __init__(self):
        super().__init__()
        self.fetched, self.alternatives = [], []

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        self.fetched += [facts[name] for name in ("src", "href", "action") if name in facts]
        self.alternatives += [facts.get("alt")] if tag == "img" else []


@pytest.mark.shipped
def test_every_file_has_its_hash(archive):
    listed = dict(line.split("  ")[::-1] for line in read(archive, "SHA256SUMS").decode().splitlines())
    assert len(listed) == len(archive.namelist()) - 1
    for name, digest in listed.items():
        assert hashlib.sha256(read(archive, name)).hexdigest() == digest
    assert {"index.html", "model_card.md", "figures/flow.svg", "tables/subgroups.csv", "model/split.csv"} <= set(listed)
    assert not [name for name in listed if name.endswith((".keras", ".tflite", ".npz", ".png", ".jpg"))]


@pytest.mark.shipped
def test_the_page_fetches_nothing_and_every_figure_has_a_text(archive):
    page = Sources()
    page.feed(read(archive, "index.html").decode())
    assert page.fetched
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.fetched)
    assert all(page.alternatives)
    assert len(page.alternatives) == 8


@pytest.mark.shipped
def test_the_tables_hold_the_numbers_of_the_report(archive, shipped_model):
    report = read_report(shipped_model)
    classes = pd.read_csv(io.BytesIO(read(archive, "tables/classes.csv")))
    assert classes["f1"].tolist() == [report.classes[code]["f1"].value for code in report.labels.codes]
    assert len(pd.read_csv(io.BytesIO(read(archive, "tables/subgroups.csv")))) == len(report.subgroups)
    assert read(archive, "model/report.json") == (shipped_model / "report.json").read_bytes()


@pytest.mark.shipped
def test_the_card_says_what_the_run_says(archive, shipped_model):
    card, report = read(archive, "model_card.md").decode(), read_report(shipped_model)
    bundle = load_bundle(shipped_model)
    assert bundle.fingerprint in card
    for one in [*report.overall.values(), *report.scores.values(), *report.classes["mel"].values()]:
        assert str(one) in card
    for member in bundle.facts["members"]:
        assert member["name"] in card
    for check in ("lesion_leakage", "subgroup_gap"):
        assert f"`{check}`" in card
    assert "not a medical device" in card
    assert not re.search(r"\bnan\b", card, re.IGNORECASE)
    figures = re.findall(r"\]\((figures/[a-z_0-9]+\.svg)\)", card)
    assert sorted(figures) == sorted(name.split("/", 1)[1] for name in archive.namelist() if "/figures/" in name)


@pytest.mark.shipped
def test_the_flow_diagram_counts_from_listed_pictures_to_answers(shipped_model):
    text = draw_flow(read_facts(shipped_model)).decode()
    title = ElementTree.fromstring(text).find(f"{SVG}title").text
    for part in ("10,015 pictures, 7,470 lesions", "8,307 pictures", "1,708 absent or unreadable"):
        assert part in title
    assert "train, 5,421 pictures, 4,187 lesions" in title
    assert "Answered for, 1,662 pictures, 1,291 lesions" in title


@pytest.mark.shipped
def test_the_checklists_are_whole_and_show_their_gaps(shipped_model):
    facts = read_facts(shipped_model)
    clear, tripod = fill_clear_derm(facts), fill_tripod(facts)
    assert [item.number for item in clear] == [str(number) for number in range(1, 26)]
    assert len(tripod) == 52
    assert len({item.number for item in tripod}) == 52
    for item in [*clear, *tripod]:
        assert item.answer or item.gap, item
    skin = next(item for item in clear if item.subject.startswith("Skin colour"))
    assert (skin.answer, bool(skin.gap)) == ("", True)
    assert any(item.gap for item in tripod)


@pytest.mark.shipped
def test_the_same_folder_gives_the_same_bytes(content, shipped_model):
    assert build_evidence(shipped_model) == content


@pytest.mark.shipped
@pytest.mark.parametrize("kind", KINDS)
def test_every_chart_is_drawn_as_svg_with_its_title_and_its_numbers(kind, shipped_model):
    report = read_report(shipped_model)
    drawn = draw_svg(report.figure(kind, "age_band" if kind == "subgroups" else ""), title=f"The {kind}")
    tree = ElementTree.fromstring(drawn)
    texts = "".join(tree.itertext())
    assert f"The {kind}" in texts
    if kind == "confusion":
        assert "1,012" in texts
    if kind == "decision_curve":
        assert "act on everybody" in texts
    if kind == "subgroups":
        assert "not applicable" in texts


def test_a_users_own_model_gets_a_card_without_a_word_on_ham10000(own_model_folder):
    facts = read_facts(own_model_folder)
    card = write_card(facts)
    assert "HAM10000" not in card
    assert not facts.is_ham10000
    archive = zipfile.ZipFile(io.BytesIO(build_evidence(own_model_folder)))
    assert "own/figures/f1.svg" in archive.namelist()
    assert "own/figures/roc.svg" not in archive.namelist()


def test_remarks_cannot_make_the_page_fetch_anything(own_model_folder, tmp_path):
    folder = shutil.copytree(own_model_folder, tmp_path / "own")
    facts = json.loads((folder / "dataset.json").read_text())
    facts["remarks"] = ["![x](http://example.org/p.png) [y](http://example.org) <b> ![z](figures/none.svg)"]
    (folder / "dataset.json").write_text(json.dumps(facts))
    bundle = json.loads((folder / "bundle.json").read_text())
    bundle["files"]["dataset.json"] = hash_file(folder / "dataset.json")
    (folder / "bundle.json").write_text(json.dumps(bundle))
    archive = zipfile.ZipFile(io.BytesIO(build_evidence(folder)))
    page = Sources()
    page.feed(archive.read("own/index.html").decode())
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.fetched)


def test_a_class_without_a_test_picture_still_gets_card_and_curves(own_model_folder):
    facts = read_facts(own_model_folder)
    used = facts.summary.used
    fewer = replace(facts.summary, used=used[~((used["dx"] == "dark") & (used["subset"] == "test"))])
    assert "| dark |" in write_card(replace(facts, summary=fewer))


def test_a_folder_without_a_report_gets_no_bundle(small_model, tmp_path):
    from skinai.errors import DataError

    folder = shutil.copytree(small_model, tmp_path / "small")
    (folder / "report.json").unlink()
    with pytest.raises(DataError, match="has not been evaluated yet"):
        build_evidence(folder)


def test_twelve_classes_without_a_malignant_one_get_every_document(twelve_class_folder, photographs):
    facts = read_facts(twelve_class_folder)
    card, report = write_card(facts), facts.report
    assert f"| Top-3 accuracy | {report.scores['top3_accuracy']} | 300 |" in card
    assert f"| {report.baseline['top3_accuracy']} |" in card
    assert wording.BASELINE_OF_THREE in card
    said = [wording.NONE_MALIGNANT_REMARK, "no class of this model is marked malignant", "of the malignant lesions"]
    said += [*photographs.codes, *photographs.names]
    for known in said:
        card = card.replace(known, "").replace(known.replace("_", " "), "")
    for word in ("malignant", "lesion", "melanoma", "naev", "dermoscop"):
        assert word not in re.sub(r"`[a-z_]+`", "", card).lower(), word
    assert "looked at with a dermatoscope" in card
    archive = zipfile.ZipFile(io.BytesIO(build_evidence(twelve_class_folder)))
    names = [name.removeprefix("twelve/") for name in archive.namelist()]
    assert "figures/confusion.svg" in names
    assert not {"figures/roc.svg", "figures/decision_curve.svg", "tables/roc.csv"} & set(names)
    assert len(pd.read_csv(io.BytesIO(archive.read("twelve/tables/classes.csv")))) == 12


def test_a_case_with_two_classes_is_counted_once_in_the_flow(twelve_class_folder):
    facts = read_facts(twelve_class_folder)
    assert (facts.flow["lesions_present"] == facts.flow["lesions"]).all()
    assert facts.summary.lesions == facts.flow["lesions_present"].sum()
    used = facts.summary.used.groupby("subset")["lesions"].sum()
    assert used["test"] > facts.flow.set_index("subset").loc["test", "lesions_present"]
    text = draw_flow(facts).decode()
    assert f"{facts.report.lesions:,} cases" in text
    assert "lesion" not in text


def test_long_codes_below_a_matrix_are_turned_in_the_svg_too(twelve_class_folder, photographs):
    report = read_report(twelve_class_folder, photographs)
    drawn = draw_svg(report.figure("confusion"), title="Confusion").decode()
    assert drawn.count("rotate(-60") == 12
    assert all(code in drawn for code in photographs.codes)


def test_the_use_of_a_users_own_model_is_told_from_its_folder(twelve_class_folder, own_model_folder):
    facts = read_facts(twelve_class_folder)
    assert facts.unrecorded == ("age", "sex", "site")
    assert f"300 pictures of {facts.report.lesions} cases that it had not seen" in facts.use
    assert "nothing is recorded of their age, sex, site" in " ".join(facts.not_for)
    assert any(sentence.startswith("Acne, ") for sentence in facts.not_for)
    answers = {item.number: f"{item.answer} {item.gap}" for item in fill_clear_derm(facts)}
    assert answers["7"].strip() == "Nothing is recorded of the patients."
    assert wording.NONE_MALIGNANT_REMARK in answers["18"]
    assert wording.OTHER_PICTURES_GAP in answers["15"]
    assert "Malignant AUC" not in answers["21"]
    assert "Top-3 accuracy" in answers["21"]
    assert (
        "Top-3 accuracy"
        not in {item.number: item.answer for item in fill_clear_derm(read_facts(own_model_folder))}["21"]
    )
