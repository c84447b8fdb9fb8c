"""A model folder whose parts disagree is refused with a sentence that says which."""

import json
import shutil

import pytest
from conftest import SHIPPED_MODELS

from skinai.errors import ModelError
from skinai.labels import build_label_set
from skinai.model.bundle import check_probe, find_model_folder, load_bundle, models_folder, write_bundle
from skinai.serving.predictor import Predictor


@pytest.fixture
def folder(small_model, tmp_path):
    return shutil.copytree(small_model, tmp_path / "model")


def change(folder, edit):
    path = folder / "bundle.json"
    facts = json.loads(path.read_text())
    edit(facts)
    path.write_text(json.dumps(facts))


def swap_classes(facts):
    order = facts["labels"]["order"]
    order[4], order[5] = order[5], order[4]


def swap_probe(facts):
    probe = facts["probe"]
    most, least = max(probe, key=probe.get), min(probe, key=probe.get)
    probe[most], probe[least] = probe[least], probe[most]


def test_a_whole_folder_is_accepted(folder):
    bundle = load_bundle(folder)
    assert bundle.labels.codes == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert (bundle.frame.width_px, bundle.frame.height_px) == (128, 96)
    assert len(bundle.fingerprint) == 12


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (swap_classes, "The class order in .* is .*'nv', 'mel'"),
        (lambda facts: facts["labels"]["order"].pop(), "The class order"),
        (lambda facts: facts["labels"].update(set="ISIC2019"), "unknown label set: 'ISIC2019'"),
        (lambda facts: facts["frame"].update(width_px=160), "fingerprint .* does not belong"),
        (lambda facts: facts["frame"].update(width_px=16), "one of another kind: A frame is at least"),
        (lambda facts: facts["frame"].update(filter="nearest"), "Unknown resampling filter"),
        (lambda facts: facts.update(fingerprint="0" * 12), "fingerprint .* does not belong"),
        (lambda facts: facts.update(format=2), "has the format 2; this version reads 1"),
        (lambda facts: facts["probe"].pop("mel"), "self-test .* has the classes"),
        (lambda facts: facts["files"].pop("model.tflite"), "has no hash for model.tflite"),
        (lambda facts: facts["files"].update({"../x": "0"}), "names a file outside its folder"),
        (lambda facts: facts["files"].update({"extra.bin": "0"}), "extra.bin is missing"),
        (lambda facts: facts.pop("labels"), "lacks a part"),
        (lambda facts: facts["data"].update(mark=[0, 0.5, 0.9, 1]), "one of another kind: A mark is left, top,"),
        (lambda facts: facts["data"].update(mark=0.5), "one of another kind"),
        (lambda facts: facts["data"].update(mark=[0, 0.5]), "one of another kind: A mark is left, top,"),
        (lambda facts: facts.update(data=None), "one of another kind"),
    ],
)
def test_a_description_that_disagrees_is_refused(folder, edit, sentence):
    change(folder, edit)
    with pytest.raises(ModelError, match=sentence):
        load_bundle(folder)


@pytest.mark.parametrize(
    "part", ["model.keras", "model.tflite", "probe.png", "split.csv", "predictions_valid.csv", "dataset.json"]
)
def test_a_changed_or_missing_part_is_refused_by_name(folder, part):
    path = folder / part
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"{part} in .* is not the file"):
        load_bundle(folder)
    path.unlink()
    with pytest.raises(ModelError, match=f"{part} is missing"):
        load_bundle(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'])
def test_a_damaged_description_is_refused(folder, text):
    (folder / "bundle.json").write_text(text)
    with pytest.raises(ModelError, match=r"bundle\.json in .* is damaged"):
        load_bundle(folder)


def test_a_missing_folder_or_description_is_a_sentence(folder, tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        load_bundle(tmp_path / "absent")
    (folder / "bundle.json").unlink()
    with pytest.raises(ModelError, match="is no model folder"):
        load_bundle(folder)


def test_the_self_test_catches_a_label_map_that_hashes_cannot_see(folder):
    change(folder, swap_probe)
    load_bundle(folder)
    with pytest.raises(ModelError, match="fails its self-test"):
        Predictor.load(folder)


def test_the_self_test_refuses_nan(small_model):
    bundle = load_bundle(small_model)
    with pytest.raises(ModelError, match="fails its self-test"):
        check_probe(bundle, dict.fromkeys(bundle.labels.codes, float("nan")))


def test_the_model_folder_comes_from_the_option_the_variable_or_the_default(tmp_path, monkeypatch):
    monkeypatch.delenv("SKINAI_MODEL", raising=False)
    assert find_model_folder().parent == models_folder()
    monkeypatch.setenv("SKINAI_MODEL", str(tmp_path))
    assert find_model_folder() == tmp_path
    assert find_model_folder("elsewhere").name == "elsewhere"


@pytest.mark.shipped
def test_the_shipped_models_load_share_a_split_and_stay_under_30_mb():
    splits = set()
    for name in SHIPPED_MODELS:
        folder = models_folder() / name
        bundle = Predictor.load(folder).bundle
        assert bundle.name == name
        assert sum(file.stat().st_size for file in folder.iterdir()) <= 30_000_000
        splits.add(bundle.facts["files"]["split.csv"])
    assert len(splits) == 1


CODES = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]


def describe(folder, labels, **data):
    """Write the description of a model folder anew, as one of other labels."""
    old = load_bundle(folder)
    facts = {"data": old.facts["data"] | data, "training": old.facts["training"]}
    return write_bundle(folder, labels=labels, frame=old.frame, probe=old.probe, facts=facts, parts=["split.csv"])


def test_a_label_set_of_ones_own_travels_with_names_and_risks(folder):
    labels = build_label_set("own", CODES, names={"nv": "A mole"}, malignant=["mel"], dermoscopy=["nv", "bkl"])
    bundle = describe(folder, labels, mark=[0.0, 0.6, 0.4, 1.0])
    assert bundle.labels == labels
    assert bundle.mark == (0.0, 0.6, 0.4, 1.0)
    assert bundle.facts["labels"] == {
        "set": "own",
        "order": CODES,
        "malignant": ["mel"],
        "names": {code: code for code in CODES} | {"nv": "A mole"},
        "dermoscopy": ["bkl", "nv"],
    }


def test_a_label_set_without_names_and_risks_is_described_as_ever(folder):
    assert load_bundle(folder).facts["labels"] == {"set": "HAM10000", "order": CODES}
    assert load_bundle(folder).mark is None
    labels = build_label_set("own", CODES, malignant=["mel"])
    bundle = describe(folder, labels)
    assert bundle.facts["labels"] == {"set": "own", "order": CODES, "malignant": ["mel"]}
    assert bundle.labels == labels


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        ("names", ["A"], "names are a mapping"),
        ("names", None, "names are a mapping"),
        ("names", {"mel": 5}, "names and codes are text"),
        ("names", {"x": "X"}, "Unknown named classes"),
        ("names", {"mel": "<b>"}, "Names of classes are printable"),
        ("dermoscopy", "nv", "dermoscopy is a list"),
        ("dermoscopy", [["nv"]], "names and codes are text"),
        ("dermoscopy", ["x"], "Unknown dermoscopy classes"),
        ("malignant", ["x"], "Unknown malignant classes"),
    ],
)
def test_damaged_labels_of_ones_own_are_refused(folder, part, value, sentence):
    describe(folder, build_label_set("own", CODES))
    change(folder, lambda facts: facts["labels"].update({part: value}))
    with pytest.raises(ModelError, match=f"bundle.json describes impossible classes: .*{sentence}"):
        load_bundle(folder)
