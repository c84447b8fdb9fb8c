"""A model folder that was damaged is refused with a sentence, or answers as before; nothing in one is ever run."""

import io
import json
import os
import pickle
import pickletools
import re
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import encode

from skinai.__main__ import main
from skinai.artefacts import hash_file
from skinai.data.drawing import draw_lesion
from skinai.data.images import FrameRule
from skinai.errors import DataError, ModelError
from skinai.labels import HAM10000
from skinai.model.bundle import check_seal, models_folder, seal_folder, write_bundle
from skinai.model.efficientnet_lite import read_torch_tensors
from skinai.model.export import load_keras_model
from skinai.serving.assessment import describe_assessment
from skinai.serving.routing import Desk

# Made by training, with a hash in bundle.json each.
HASHED = (
    *("dataset.json", "model.keras", "model.tflite", "predictions_valid.csv", "probe.png", "reference.npz"),
    *("run.json", "split.csv", "training_log.csv"),
)
RULES = ("decision.json", "gates.json", "gates.npz")
# Say how good the model is, and nothing of a picture.
FIGURES = ("cases_test.csv.gz", "curves.csv.gz", "predictions_test.csv", "report.json")
PARTS = ("bundle.json", *HASHED, *RULES, *FIGURES)
SHARES = (0.0, 0.003, 0.33, 0.5, 0.999)
DAMAGES = {}


def put(path, content):
    """Replace a file, which may be one with the undamaged folder, by another."""
    path.unlink(missing_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def damage(name):
    """Add a function that damages a folder to those that are tried."""

    def add(change):
        assert name not in DAMAGES
        DAMAGES[name] = change
        return change

    return add


def flip(part, share, bits):
    def change(folder):
        content = bytearray((folder / part).read_bytes())
        content[min(int(len(content) * share), len(content) - 1)] ^= bits
        put(folder / part, bytes(content))

    return change


def cut(part, share):
    def change(folder):
        content = (folder / part).read_bytes()
        put(folder / part, content[: int(len(content) * share)])

    return change


def replace(part, content):
    return lambda folder: put(folder / part, content)


def edit(part, change):
    """Return a damage that changes what a JSON file says, and nothing else."""

    def apply(folder):
        facts = json.loads((folder / part).read_text())
        changed = change(facts)
        put(folder / part, json.dumps(facts if changed is None else changed))

    return apply


def swap(first, second):
    def change(folder):
        contents = (folder / first).read_bytes(), (folder / second).read_bytes()
        put(folder / first, contents[1])
        put(folder / second, contents[0])

    return change


def move(part, name):
    return lambda folder: (folder / part).rename(folder / name)


def make_folder(part):
    def change(folder):
        (folder / part).unlink()
        (folder / part).mkdir()

    return change


def link(part, target):
    def change(folder):
        content = (folder / part).read_bytes()
        (folder / part).unlink()
        put(folder.parent / f"outside-{part}", content)
        (folder / part).symlink_to(target or folder.parent / f"outside-{part}")

    return change


def list_damages():
    """Fill the table of what is tried."""
    for part in PARTS:
        for number, share in enumerate(SHARES):
            # What was changed in the rules is tried by itself, further below.
            if part not in ("decision.json", "gates.json"):
                damage(f"flip {part} at {share}")(flip(part, share, (0x01, 0x10, 0x80, 0xFF)[number % 4]))
        for share in (0.0, 0.02, 0.5, 0.98):
            damage(f"cut {part} at {share}")(cut(part, share))
        if part not in ("decision.json", "gates.json"):
            damage(f"no {part}")(lambda folder, part=part: (folder / part).unlink())
            damage(f"rename {part}")(move(part, f"{part}.old"))
        damage(f"zeros in {part}")(replace(part, bytes(3000)))
        damage(f"folder in place of {part}")(make_folder(part))
        damage(f"{part} is a link outwards")(link(part, None))
        damage(f"{part} is a broken link")(link(part, "/nowhere/at/all"))
        damage(f"{part} is a link to itself")(link(part, part))
    rng = np.random.default_rng(7)
    for number in range(24):
        share, bits = float(rng.random()), int(rng.integers(1, 256))
        damage(f"flip bundle.json, {number}")(flip("bundle.json", share, bits))
    for first, second in zip(HASHED, (*HASHED[1:], HASHED[0]), strict=True):
        damage(f"swap {first} and {second}")(swap(first, second))
    damage("swap the rules")(swap("decision.json", "gates.json"))
    damage("swap description and rules")(swap("bundle.json", "decision.json"))
    damage("swap the arrays")(swap("reference.npz", "gates.npz"))
    for part in RULES + FIGURES:
        damage(f"{part} is a picture")(replace(part, encode(draw_lesion(1, width_px=64, height_px=48))))
    for name in ("../../x.py", "-", "model.pth", "hostile.pkl", "__init__.py", ".hidden", "conftest.py"):
        damage(f"one more: {name}")(replace(name.replace("/", "_"), b"raise SystemExit"))
    list_edits()


def list_edits():
    """Add what somebody may change in the descriptions by hand, or a program may write wrongly."""
    kinds = {"null": None, "number": 7, "text": "x", "list": [1], "object": {"a": 1}}
    facts = ("format", "name", "fingerprint", "labels", "frame", "probe", "files", "data", "training", "calibration")
    for name in facts:
        damage(f"bundle without {name}")(edit("bundle.json", lambda facts, name=name: facts.pop(name, None) and None))
        for kind, value in kinds.items():
            change = edit("bundle.json", lambda facts, name=name, value=value: facts.update({name: value}))
            damage(f"bundle has {name} as {kind}")(change)
    for part in ("bundle.json", "decision.json", "gates.json"):
        for kind, text in {
            **{"null": "null", "list": "[]", "text": '"x"', "empty": "{}", "half": "{", "nothing": "", "number": "7"},
            **{"deep": "[" * 100_000, "long": "9" * 5000, "utf16": "{}".encode("utf-16"), "nan": "NaN"},
        }.items():
            damage(f"{part} is {kind}")(replace(part, text))
    wrong = {
        "order turned": lambda facts: facts["labels"]["order"].reverse(),
        "order short": lambda facts: facts["labels"]["order"].pop(),
        "order long": lambda facts: facts["labels"]["order"].append("scc"),
        "order twice": lambda facts: facts["labels"]["order"].__setitem__(0, "mel"),
        "order of numbers": lambda facts: facts["labels"].update(order=list(range(7))),
        "set is a list": lambda facts: facts["labels"].update(set=["HAM10000"]),
        "set unknown": lambda facts: facts["labels"].update(set="ISIC"),
        "probe of nan": lambda facts: facts["probe"].update(mel=float("nan")),
        "probe without end": lambda facts: facts["probe"].update(mel=float("inf")),
        "probe countless": lambda facts: facts["probe"].update(mel=10**400),
        "probe of text": lambda facts: facts["probe"].update(mel="much"),
        "probe moved": lambda facts: facts["probe"].update(mel=facts["probe"]["mel"] + 0.01),
        "probe turned": lambda facts: facts.update(
            probe=dict(zip(facts["probe"], reversed(facts["probe"].values()), strict=True))
        ),
        "frame wider": lambda facts: facts["frame"].update(width_px=160),
        "frame turned": lambda facts: facts["frame"].update(width_px=96, height_px=128),
        "frame of halves": lambda facts: facts["frame"].update(width_px=128.0),
        "frame none": lambda facts: facts["frame"].update(width_px=None),
        "frame huge": lambda facts: facts["frame"].update(width_px=10**9),
        "frame filter": lambda facts: facts["frame"].update(filter="lanczos"),
        "frame more": lambda facts: facts["frame"].update(depth=3),
        "hash short": lambda facts: facts["files"].update({"model.tflite": "0"}),
        "hash number": lambda facts: facts["files"].update({"model.tflite": 0}),
        "hash upper": lambda facts: facts["files"].update(
            {"model.tflite": facts["files"]["model.tflite"].upper() + " "}
        ),
        "hash of nothing": lambda facts: facts["files"].update({"": "0"}),
        "hash of a folder": lambda facts: facts["files"].update({".": "0"}),
        "hash outside": lambda facts: facts["files"].update({"/etc/passwd": "0"}),
        "hash with zero": lambda facts: facts["files"].update({"a\0b": "0"}),
        "hash missing": lambda facts: facts["files"].pop("model.tflite") and None,
        "reference unnamed": lambda facts: facts["files"].pop("reference.npz") and None,
        "weights unnamed": lambda facts: facts["files"].pop("model.keras") and None,
        "files as pairs": lambda facts: facts.update(files=[[*pair] for pair in facts["files"].items()]),
        "mark too wide": lambda facts: facts["data"].update(mark=[0, 0, 0.9, 1]),
        "mark of nan": lambda facts: facts["data"].update(mark=[0, float("nan"), 0.4, 1]),
        "mark": lambda facts: facts["data"].update(mark=[0, 0.5, 0.4, 1]),
        "views": lambda facts: facts["training"].update(views=["mirrored", "turned"]),
        "views none": lambda facts: facts["training"].update(views=None),
        "views number": lambda facts: facts["training"].update(views=[1]),
        "temperature": lambda facts: facts["calibration"].update(temperature=9.0, offset=[5] * 7),
        "notes number": lambda facts: facts.update(notes=5),
        "fingerprint of another": lambda facts: facts.update(fingerprint="0123456789ab"),
        "format text": lambda facts: facts.update(format="1"),
        "format next": lambda facts: facts.update(format=2),
    }
    for name, change in wrong.items():
        damage(f"bundle: {name}")(edit("bundle.json", lambda facts, change=change: change(facts) and None))
    for value in (float("nan"), float("inf"), -0.5, 1.5, 10**400, None, "x", [0.5]):
        shown = str(value)[:5]
        for name, change in {
            "threshold": lambda facts, value=value: facts["operating_points"][0].update(threshold=value),
            "quantile": lambda facts, value=value: facts["conformal"]["quantiles"].update(mel=value),
            "margin": lambda facts, value=value: facts["clear_lead"].update(margin=value),
            "coverage": lambda facts, value=value: facts["conformal"].update(coverage=value),
        }.items():
            damage(f"decision: {name} is {shown}")(edit("decision.json", change))
        change = edit("gates.json", lambda facts, value=value: facts.update(threshold=value))
        damage(f"gates: threshold is {shown}")(change)
    for name in ("fingerprint", "predictions_sha256", "operating_points", "conformal"):
        damage(f"decision without {name}")(edit("decision.json", lambda facts, name=name: facts.pop(name) and None))
        for kind, value in {"null": None, "number": 7, "list": [1], "object": {"a": 1}}.items():
            change = edit("decision.json", lambda facts, name=name, value=value: facts.update({name: value}))
            damage(f"decision has {name} as {kind}")(change)
    for name in ("fingerprint", "threshold", "kinds", "measures", "weights_sha256"):
        damage(f"gates without {name}")(edit("gates.json", lambda facts, name=name: facts.pop(name) and None))
        for kind, value in {"null": None, "number": 7, "list": [1], "object": {"a": 1}}.items():
            change = edit("gates.json", lambda facts, name=name, value=value: facts.update({name: value}))
            damage(f"gates has {name} as {kind}")(change)
    turn = edit("gates.json", lambda facts: facts["kinds"].reverse())
    damage("gates: kinds turned")(turn)


list_damages()


@pytest.fixture(scope="module")
def pictures():
    """Three lesions, and a blue square that the gate refuses."""
    blue = np.clip(np.array((40, 60, 190)) + np.random.default_rng(3).normal(0, 20, (240, 320, 3)), 0, 255)
    return [draw_lesion(number, width_px=320, height_px=240) for number in (1, 2, 3)] + [blue.astype(np.uint8)]


@pytest.fixture
def folder(gated_model, tmp_path):
    """A copy of the small model with its gate; its files are those of the model until they are replaced."""
    return shutil.copytree(gated_model, tmp_path / "small", copy_function=os.link)


def answer(desk, pictures):
    """Return all that a model says of pictures, but for its name."""
    said = []
    for picture in pictures:
        assert desk.route([picture]).answered_by == "dermoscopy"
        assessment = desk.main.assess(picture)
        similar = [(case.image_id, case.label.code, case.similarity) for case in desk.main.find_similar(assessment)]
        told = [describe_assessment(assessment, insist=insist) for insist in (False, True)]
        said.append((told, assessment.gate, assessment.verdict, assessment.prediction.fingerprint, similar))
    return said


@pytest.fixture(scope="module")
def undamaged(gated_model, pictures):
    said = answer(Desk.load(gated_model), pictures)
    assert [gate for _, gate, *_ in said] == ["passed"] * 3 + ["refused"]
    return said


def load(folder, pictures):
    """Return what a model says of pictures, or the sentence with which it is refused."""
    try:
        desk = Desk.load(folder)
    except (ModelError, DataError) as error:
        return str(error)
    return answer(desk, pictures)


def test_at_least_200_damages_are_tried():
    assert len(DAMAGES) >= 200


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_a_damaged_model_is_refused_with_a_sentence_or_answers_as_before(
    name, folder, pictures, undamaged, tmp_path, capsys
):
    DAMAGES[name](folder)
    found = load(folder, pictures)
    if not isinstance(found, str):
        assert found == undamaged
        return
    assert re.fullmatch(r"\S.{15,600}\.", found), found
    path = tmp_path / "lesion.png"
    path.write_bytes(encode(pictures[0], "PNG"))
    assert main(["predict", str(path), "--json", "--model", str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("skinai: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("part", HASHED)
def test_a_part_of_another_model_is_refused(part, folder, twelve_class_folder, pictures):
    other = {file.name: file for file in twelve_class_folder.iterdir()}
    put(folder / part, other[part].read_bytes() if part in other else b"of another model")
    assert isinstance(load(folder, pictures), str)


@pytest.mark.parametrize("part", ["decision.json", "gates.json"])
def test_a_flipped_bit_in_the_rules_never_moves_a_probability(part, folder, pictures, undamaged):
    """That it moves no rule either is what the seal is for, see below."""
    content, refused = (folder / part).read_bytes(), 0
    rng = np.random.default_rng(11)
    shares = [[told["probabilities"] for told in said[0]][1] for said in undamaged]
    for place in rng.integers(0, len(content), 40):
        wrecked = bytearray(content)
        wrecked[place] ^= 1 << int(rng.integers(8))
        put(folder / part, bytes(wrecked))
        found = load(folder, pictures)
        refused += isinstance(found, str)
        if not isinstance(found, str):
            assert [[told["probabilities"] for told in said[0]][1] for said in found] == shares
    assert refused > 5


def relabel(facts):
    """Make HAM10000's classes those of somebody's own, none of them malignant."""
    facts["labels"] = {"set": "own", "order": list(HAM10000.codes), "malignant": []}


CHANGES = {
    "a threshold": edit("decision.json", lambda facts: facts["operating_points"][0].update(threshold=0.999)),
    "no threshold": edit("decision.json", lambda facts: facts.update(operating_points=[])),
    "the quantiles": edit("decision.json", lambda facts: facts["conformal"]["quantiles"].update(mel=0.001)),
    "no margin": edit("decision.json", lambda facts: facts.pop("clear_lead") and None),
    "no rules": lambda folder: (folder / "decision.json").unlink(),
    "the threshold of the gate": edit("gates.json", lambda facts: facts.update(threshold=0.0)),
    "no gate": lambda folder: (folder / "gates.json").unlink(),
    "which classes are malignant": edit("bundle.json", relabel),
}


@pytest.mark.parametrize("name", CHANGES)
def test_rules_that_were_changed_within_what_can_be_are_noticed(name, folder, pictures, undamaged):
    """Once the folder is sealed, as the shipped ones are."""
    seal_folder(folder)
    assert load(folder, pictures) == undamaged
    CHANGES[name](folder)
    found = load(folder, pictures)
    assert isinstance(found, str)
    assert "is not the one that seal.json describes." in found


@pytest.mark.parametrize("damage", ["{}", "[]", "no JSON", "[" * 100_000])
def test_a_damaged_seal_is_refused(damage, folder, pictures):
    (folder / "seal.json").write_text(damage)
    assert load(folder, pictures) == f"seal.json in {folder} is damaged."


@pytest.mark.parametrize("model", ["ham10000-ensemble", "ham10000-efficientnet-lite0", "clinical-efficientnet-lite0"])
def test_the_shipped_models_are_sealed(model):
    folder = models_folder() / model
    assert (folder / "seal.json").is_file()
    check_seal(folder)


def test_a_seal_is_renewed_with_the_rules(folder, pictures):
    assert main(["seal", str(folder)]) == 0
    assert main(["decide", str(folder), "--coverage", "0.8"]) == 0
    assert not isinstance(load(folder, pictures), str)


# ---- nothing is run ----------------------------------------------------------------------------------------------


class Hostile:
    """Leaves a mark in the working folder once a pickle of it is loaded."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


TOUCH = "__import__('pathlib').Path('owned').touch()"


def list_pickles():
    """Return hostile pickles by how they go about it."""
    ways = {
        "eval": Hostile(eval, TOUCH),
        "exec": Hostile(exec, TOUCH),
        "system": Hostile(os.system, "touch owned"),
        "open": Hostile(os.open, "owned", os.O_CREAT),
        "mkdir": Hostile(os.mkdir, "owned"),
        "within": {"weight": [Hostile(eval, TOUCH)]},
        "as a key": {Hostile(os.mkdir, "owned"): 1},
    }
    pickles = {
        f"{name}, protocol {protocol}": pickle.dumps(way, protocol)
        for name, way in ways.items()
        for protocol in (0, 2, 5)
    }
    return pickles | {
        "by name": b"cposix\nsystem\n(S'touch owned'\ntR.",
        "as an instance": b"(S'touch owned'\niposix\nsystem\n.",
        "as an object": b"(cposix\nsystem\nS'touch owned'\no.",
        "with dots": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c" + bytes([len(TOUCH)]) + TOUCH.encode() + b"\x85R.",
        "through an ordered mapping": b"ccollections\nOrderedDict\n(tR(cposix\nsystem\n(S'touch owned'\ntRS'x'\nu.",
        "through its state": b"ccollections\nOrderedDict\n(tR(S'__reduce__'\ncbuiltins\neval\ndb.",
        "by a number": b"\x82\x01.",
    }


@pytest.mark.parametrize("where", ["first", "state", "zip"])
@pytest.mark.parametrize("name", sorted(list_pickles()))
def test_hostile_imagenet_weights_run_nothing(name, where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile = list_pickles()[name]
    before = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    content = hostile if where == "first" else before + hostile + pickle.dumps([], 2)
    if where == "zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", hostile)
        content = file.getvalue()
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"^weights\.pth is not a readable tensor file: "):
        read_torch_tensors(path)
    assert list(tmp_path.iterdir()) == [path]


def test_each_hostile_pickle_is_one(tmp_path, monkeypatch):
    """Without the guard most of them leave their mark, so that a mark that is not there says something."""
    owned = 0
    for name, content in list_pickles().items():
        here = tmp_path / re.sub(r"\W", "-", name)
        here.mkdir()
        monkeypatch.chdir(here)
        assert list(pickletools.genops(content))
        try:
            pickle.loads(content)
        except Exception:
            owned += (here / "owned").exists()
            continue
        owned += (here / "owned").exists()
    assert owned > 20


def test_a_command_that_would_train_from_hostile_weights_ends_with_a_sentence(
    small_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hostile.pth").write_bytes(list_pickles()["eval, protocol 5"])
    monkeypatch.setattr("skinai.training.fit.find_imagenet_weights", lambda variant: tmp_path / "hostile.pth")
    command = ["train", "--data", str(small_data), "--architecture", "efficientnet-lite0", "--out", "model"]
    assert main(command) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith(
        "skinai: hostile.pth is not a readable tensor file: the name builtins.eval is not admitted"
    )
    assert not list(tmp_path.rglob("owned"))


def make_hostile_keras(path):
    """Write a Keras file whose layer leaves a mark wherever it is loaded or called."""
    pictures = keras.Input((96, 128, 3))
    x = keras.layers.Lambda(lambda x: (__import__("pathlib").Path("owned").touch(), x)[1], output_shape=(96, 128, 3))(
        pictures
    )
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(pictures, keras.layers.Dense(7, activation="softmax")(x)).save(path)


def redescribe(folder, *parts):
    """Write a description whose hashes fit whatever lies in the folder now, as who means harm would."""
    old = json.loads((folder / "bundle.json").read_text())
    facts = {name: old[name] for name in ("data", "training", "created_utc", "calibration")}
    frame = FrameRule(**old["frame"])
    (folder / "bundle.json").unlink()
    write_bundle(folder, labels=HAM10000, frame=frame, probe=old["probe"], facts=facts, parts=list(parts))


def test_a_hostile_keras_file_in_a_model_folder_runs_nothing(
    folder, small_data, pictures, tmp_path, monkeypatch, capsys
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (folder / "model.keras").unlink()
    make_hostile_keras(folder / "model.keras")
    (here / "owned").unlink(missing_ok=True)
    assert "model.keras" in load(folder, pictures)
    for part in ("decision.json", "gates.json", "gates.npz"):
        (folder / part).unlink()
    redescribe(folder, "reference.npz", "run.json", "split.csv", "predictions_valid.csv", "dataset.json")
    desk = Desk.load(folder)
    assert desk.main.assess(pictures[0]).prediction.probabilities
    with pytest.raises(ModelError, match="not a readable Keras model"):
        load_keras_model(folder / "model.keras")
    command = ["ensemble", str(folder), str(folder), "--data", str(small_data), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.rglob("owned"))
    # Without the guard it runs.
    keras.saving.load_model(folder / "model.keras", safe_mode=False)(np.zeros((1, 96, 128, 3), np.float32))
    assert (here / "owned").exists()


def pack_objects(names):
    """Return arrays of Python objects, which NumPy keeps as pickles."""
    file = io.BytesIO()
    np.savez(file, **{name: np.array([Hostile(eval, TOUCH)], dtype=object) for name in names})
    return file.getvalue()


def test_hostile_arrays_with_fitting_hashes_run_nothing(folder, pictures, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    arrays = ("mean", "scale", "hidden", "hidden_bias", "last", "last_bias")
    put(folder / "gates.npz", pack_objects(arrays))
    edit("gates.json", lambda facts: facts.update(weights_sha256=hash_file(folder / "gates.npz")))(folder)
    assert re.search(r"gates\.npz in .* is damaged\.$", load(folder, pictures))
    put(folder / "reference.npz", pack_objects(("image_ids", "lesion_ids", "codes", "vectors", "mean", "directions")))
    edit("bundle.json", lambda facts: facts["files"].update({"reference.npz": hash_file(folder / "reference.npz")}))(
        folder
    )
    assert re.search(r"reference\.npz is damaged\.$", load(folder, pictures))
    with pytest.raises(TypeError):
        len(np.load(io.BytesIO(pack_objects(["a"])), allow_pickle=True)["a"][0])
    assert (here / "owned").exists()


def test_other_python_in_a_model_folder_is_never_imported(folder, pictures, undamaged, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("json.py", "numpy.py", "sitecustomize.py", "skinai.py"):
        put(folder / name, f"{TOUCH}\n")
    put(folder / "model.pth", list_pickles()["eval, protocol 2"])
    assert load(Path("."), pictures) == undamaged
    assert not list(tmp_path.rglob("owned"))
