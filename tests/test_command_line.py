"""The commands as a user types them."""

import contextlib
import csv
import io
import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import encode, shorten_lite0

from skinai.__main__ import main
from skinai.artefacts import hash_file, read_gzip, write_gzip
from skinai.data.drawing import draw_lesion
from skinai.data.images import cover_mark, frame_picture, read_picture
from skinai.data.own import read_pictures
from skinai.data.split import split_lesions, write_split
from skinai.labels import HAM10000
from skinai.model.bundle import load_bundle
from skinai.model.session import Session
from skinai.wording import NOTICE

ROOT = Path(__file__).resolve().parents[1]


def run_process(*arguments):
    """Run a command in a process of its own, as a shell does."""
    command = [sys.executable, "-m", "skinai", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def run(*arguments, inside=ROOT):
    """Run a command in this process, which has loaded TensorFlow already; return what `run_process` returns."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.chdir(inside), contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            code = main([*map(str, arguments)])
        except SystemExit as end:  # what argparse does
            code = end.code
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures with a space"
    (folder / "below").mkdir(parents=True)
    (folder / "one.jpg").write_bytes(encode(draw_lesion(1)))
    (folder / "below" / "two.PNG").write_bytes(encode(draw_lesion(2), "PNG"))
    (folder / "below" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_json_has_one_object_a_file_also_for_a_broken_one(small_model, pictures):
    done = run_process("predict", pictures, "--json", "--model", small_model)
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 2
    assert [Path(item["file"]).name for item in objects] == ["broken.jpg", "two.PNG", "one.jpg"]
    keys = ["file", "model", "fingerprint", "probabilities", "malignant_probability", "plausible"]
    keys += ["certainty", "needs_dermoscopy", "calls", "gate"]
    assert all(list(item) == keys for item in objects)
    broken, two, one = objects
    assert broken["probabilities"] is None
    assert broken["malignant_probability"] is None
    assert broken["gate"]["status"] == "refused"
    assert broken["gate"]["reasons"][0]["code"] == "unreadable"
    for item in (one, two):
        assert sum(item["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert item["gate"] == {"status": "passed", "reasons": [], "insisted": False}
        malignant = sum(item["probabilities"][code] for code in ("akiec", "bcc", "mel"))
        assert item["malignant_probability"] == pytest.approx(malignant, abs=1e-5)


def test_files_and_globs_are_found_each_once(small_model, pictures):
    done = run(
        "predict", pictures / "one.jpg", f"{pictures}/**/*.PNG", f"{pictures}/*.jpg", "--json", "--model", small_model
    )
    assert done.returncode == 0, done.stderr
    assert [Path(json.loads(line)["file"]).name for line in done.stdout.splitlines()] == ["one.jpg", "two.PNG"]


def test_a_glob_that_names_folders_is_searched_below(small_model, pictures):
    done = run("predict", f"{pictures.parent}/pictures*", "--json", "--model", small_model)
    assert len(done.stdout.splitlines()) == 3


def test_isic_format_writes_every_readable_picture(small_model, pictures, tmp_path):
    out = tmp_path / "answers.csv"
    done = run("predict", pictures, "--format", "isic", "--out", out, "--model", small_model)
    assert done.returncode == 2
    assert "broken.jpg" in done.stderr
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    assert [row["image"] for row in rows] == ["two", "one"]
    by_json = json.loads(run("predict", pictures / "one.jpg", "--json", "--model", small_model).stdout)
    assert float(rows[1]["MEL"]) == by_json["probabilities"]["mel"]
    assert float(rows[1]["AKIEC"]) == by_json["probabilities"]["akiec"]


def test_text_names_every_diagnosis_and_says_that_it_is_none(small_model, pictures):
    done = run("predict", pictures / "one.jpg", "--model", small_model)
    assert done.returncode == 0
    assert done.stdout.count("most probable") == 1
    for name in ("Melanoma", "Melanocytic naevus", "Vascular lesion", "summed malignant probability"):
        assert name in done.stdout
    assert "Not a diagnosis" in done.stdout


def test_a_file_that_does_not_exist_is_answered_in_a_sentence(small_model, tmp_path):
    done = run("predict", tmp_path / "absent.jpg", "--json", "--model", small_model)
    assert done.returncode == 2
    assert json.loads(done.stdout)["gate"]["reasons"][0]["sentence"].startswith("The file could not be opened")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["predict", "x.jpg", "--model", "absent"], "The model folder absent does not exist."),
        (["predict", "x.jpg", "--format", "isic"], "--format isic needs --out FILE."),
        (["predict", "x.jpg", "--format", "isic", "--out", "y.csv", "--json"], "do not go together"),
        (["predict", "x.jpg", "--out", "y.csv"], "--out goes with --format isic, csv or parquet."),
        (["predict", "no-such-folder/*.jpg"], "No .jpg, .jpeg, .png, .dcm file in 'no-such-folder/*.jpg'."),
        (["train", "--data", "absent", "--architecture", "seed-cnn", "--out", "x"], "'absent' does not exist"),
        (["train", "--data", ".", "--architecture", "resnet", "--out", "x"], "Unknown architecture 'resnet'"),
        (["split", "--data", "skinai"], "telling apart takes two"),
        (["evaluate", "tests"], "is no model folder"),
        (["evaluate", "tests", "--model", "tests"], "Name the model once"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, sentence):
    done = run(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_pictures_of_ham10000_without_their_table_are_told_so(tmp_path):
    (tmp_path / "HAM10000_images_part_1").mkdir()
    done = run("split", "--data", str(tmp_path), "--out", str(tmp_path / "s.csv"))
    assert done.returncode == 2
    assert "HAM10000_metadata.csv is missing" in done.stderr


def test_evaluate_reprints_the_stored_report(small_model):
    done = run_process("evaluate", small_model)
    assert done.returncode == 0, done.stderr
    for text in ("balanced accuracy", "always", "confusion", "95 % intervals: bootstrap by lesion"):
        assert text in done.stdout
    facts = json.loads(run("evaluate", small_model, "--json").stdout)
    checks = facts.pop("checks")
    assert {check["state"] for check in checks} <= {"passed", "issue", "not applicable"}
    stored = json.loads((small_model / "report.json").read_text())
    assert stored.pop("curves_sha256") == hash_file(small_model / "curves.csv.gz")
    assert facts == stored
    assert set(facts["overall"]["accuracy"]) == {"value", "n", "interval"}


def test_test_is_looked_at_once_and_every_look_is_logged(small_model, small_data, tmp_path):
    looks = (small_model.parent / "TEST_LOG.md").read_text().splitlines()[6:]
    assert len(looks) == 1
    assert looks[0].startswith("| 20")
    assert looks[0].endswith("| first look after training |")
    folder = shutil.copytree(small_model, tmp_path / "models" / "small")
    (folder / "report.json").unlink()
    (folder / "predictions_test.csv").unlink()
    refused = run("evaluate", folder)
    assert refused.returncode == 2
    assert "give --data DIR to look at test, once" in refused.stderr
    assert run("evaluate", folder, "--data", small_data, "--purpose", "a second opinion").returncode == 0
    assert (folder / "predictions_test.csv").read_bytes() == (small_model / "predictions_test.csv").read_bytes()
    assert "a second opinion" in (folder.parent / "TEST_LOG.md").read_text()


def test_changed_test_predictions_are_refused(small_model, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "small")
    path = folder / "predictions_test.csv"
    path.write_text(path.read_text().replace("male", "female", 1))
    done = run("evaluate", folder)
    assert done.returncode == 2
    assert "was not made from the predictions_test.csv beside it" in done.stderr


def test_a_finished_model_is_not_overwritten(small_model, small_data):
    done = run("train", "--data", small_data, "--architecture", "seed-cnn", "--out", small_model)
    assert done.returncode == 2
    assert "holds a finished model" in done.stderr


def test_split_writes_once_and_train_takes_it(small_data, tmp_path, capsys):
    out = tmp_path / "split.csv"
    assert main(["split", "--data", str(small_data), "--out", str(out), "--seed", "3"]) == 0
    assert "lesions" in capsys.readouterr().out
    assert main(["split", "--data", str(small_data), "--out", str(out)]) == 2
    assert "written once" in capsys.readouterr().err
    model = tmp_path / "model"
    arguments = ["train", "--data", str(small_data), "--architecture", "seed-cnn", "--epochs", "1", "--no-test"]
    assert main([*arguments, "--split", str(out), "--out", str(model)]) == 0
    assert (model / "split.csv").read_bytes() == out.read_bytes()
    assert not (model / "predictions_test.csv").exists()


def test_unreadable_pictures_are_told_and_left_out_of_training_and_test(small_data, tmp_path, monkeypatch):
    """The data are named by the variable, which serves the training and its look at test."""
    folder = shutil.copytree(small_data, tmp_path / "ham")
    monkeypatch.setenv("SKINAI_DATA", str(folder))
    split = tmp_path / "split.csv"
    assert main(["split", "--data", str(folder), "--out", str(split)]) == 0
    with split.open() as file:
        subset_of = {row["image_id"]: row["subset"] for row in csv.DictReader(file)}
    broken = {}
    for picture in sorted(folder.glob("*/*.jpg")):
        broken.setdefault(subset_of[picture.stem], picture)
    for picture in broken.values():
        picture.write_bytes(b"\xff\xd8\xff broken")
    out = tmp_path / "models" / "model"
    done = run("train", "--architecture", "seed-cnn", "--epochs", "1", "--out", out)
    assert done.returncode == 0, done.stderr
    assert (out / "report.json").exists()
    for picture in broken.values():
        assert f"{picture.stem} could not be read and is left out" in done.stdout + done.stderr
    assert broken["test"].stem not in (out / "predictions_test.csv").read_text()
    assert broken["valid"].stem not in (out / "predictions_valid.csv").read_text()
    facts = json.loads((out / "dataset.json").read_text())
    assert sum(row["pictures"] for row in facts["used"]) == 83 - 3
    assert sum("could not be read" in remark for remark in facts["remarks"]) == 3


def test_training_refuses_a_split_that_leaks(small_data, tmp_path):
    split = tmp_path / "split.csv"
    assert main(["split", "--data", str(small_data), "--out", str(split)]) == 0
    rows = [line.split(",") for line in split.read_text().splitlines()]
    lesion = next(row[1] for row in rows[1:] if sum(other[1] == row[1] for other in rows) == 2)
    first = next(row for row in rows if row[1] == lesion)
    first[1:] = ["HAM_x", "HAM_x", "train" if first[3] != "train" else "test"]
    split.write_text("\n".join(",".join(row) for row in rows) + "\n")
    out = tmp_path / "model"
    done = run("train", "--data", small_data, "--architecture", "seed-cnn", "--split", split, "--out", out)
    assert done.returncode == 2
    assert f"lesions in more than one subset: {lesion}" in done.stderr
    assert not out.exists()


def test_a_look_from_inside_the_folder_is_logged_beside_it(small_model, small_data, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "models" / "small")
    (folder / "report.json").unlink()
    (folder / "predictions_test.csv").unlink()
    done = run("evaluate", ".", "--data", small_data, "--json", inside=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["subset"] == "test"
    assert (folder.parent / "TEST_LOG.md").exists()
    assert not (folder / "TEST_LOG.md").exists()


def test_evaluate_takes_the_model_as_argument_and_as_option(small_model):
    by_argument = json.loads(run("evaluate", small_model, "--json").stdout)
    by_option = json.loads(run("evaluate", "--model", small_model, "--json").stdout)
    assert by_argument == by_option
    assert by_option["model"] == "small"


def test_two_pictures_of_one_name_do_not_become_one_row(small_model, pictures, tmp_path):
    shutil.copy(pictures / "one.jpg", pictures / "below" / "one.jpg")
    (pictures / "below" / "broken.jpg").unlink()
    done = run("predict", pictures, "--format", "isic", "--out", tmp_path / "a.csv", "--model", small_model)
    assert done.returncode == 2
    assert "these come twice: ['one']" in done.stderr


def test_a_place_that_cannot_be_written_is_one_line(small_model, pictures, tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "answers.csv"
    done = run("predict", pictures / "one.jpg", "--format", "isic", "--out", out, "--model", small_model)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Not a directory" in done.stderr or "File exists" in done.stderr


def test_efficientnet_trains_from_weights_of_its_own_without_the_weights_package(small_data, tmp_path, monkeypatch):
    """Random ones, trained on pictures without their diagnoses, then with."""
    shorten_lite0(monkeypatch)
    out, weights = tmp_path / "model", tmp_path / "weights.npz"
    network = ["--data", str(small_data), "--architecture", "efficientnet-lite0", "--epochs", "1", "--batch-size", "17"]
    arguments = ["pretrain", *network, "--init", "random", "--out", str(weights)]
    assert main(arguments) == 0
    assert main(["train", *network, "--init", str(weights), "--no-test", "--out", str(out)]) == 0
    facts = json.loads((out / "bundle.json").read_text())
    assert facts["frame"] == {"width_px": 256, "height_px": 192, "filter": "bilinear"}
    configuration = facts["training"]["configuration"]
    assert (configuration["init"], configuration["pretrained"]) == ("pretrained", hash_file(weights))


@pytest.mark.alone
@pytest.mark.shipped
def test_predict_answers_within_2_seconds_from_cold_without_tensorflow(tmp_path):
    path = tmp_path / "lesion.jpg"
    path.write_bytes(encode(draw_lesion(5)))
    run_process("predict", path, "--json")
    times = []
    for _ in range(3):
        start = time.monotonic()
        done = run_process("predict", path, "--json")
        times.append(time.monotonic() - start)
        assert done.returncode == 0
    assert sorted(times)[1] < 2
    code = (
        "import sys; from skinai.__main__ import main; "
        f"assert main(['predict', {str(path)!r}, '--json']) == 0; "
        "print([name for name in ('tensorflow', 'keras', 'pandas', 'streamlit') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def own_pictures(tmp_path):
    """Two classes that differ in their pigment, a folder each."""
    folder = tmp_path / "moles"
    for name, pigment in (("dark", (40, 32, 44)), ("red", (170, 20, 40))):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            picture = draw_lesion(number, width_px=128, height_px=96, pigment=pigment)
            (folder / name / f"{number}.png").write_bytes(encode(picture, "PNG"))
    return folder


def test_own_pictures_become_a_model_folder_that_answers(own_pictures, tmp_path):
    out = tmp_path / "models" / "moles"
    command = ["train", "--data", own_pictures, "--malignant", "dark", "--architecture", "seed-cnn", "--epochs", "2"]
    done = run(*command, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "No lesion ids: each picture counts as a lesion of its own" in done.stdout
    assert "moles (" in done.stdout
    answer = run("predict", own_pictures / "red" / "3.png", "--model", out)
    assert "summed malignant probability" in answer.stdout
    assert "red" in answer.stdout
    bundle = json.loads((out / "bundle.json").read_text())
    assert bundle["labels"] == {"set": "moles (own)", "order": ["dark", "red"], "malignant": ["dark"]}
    assert "the rights in its pictures" in bundle["licence"]


def test_a_class_whose_pictures_cannot_be_read_is_not_learned(own_pictures, tmp_path, capsys):
    for number, path in enumerate((own_pictures / "red").iterdir()):
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes([number]))
    command = ["train", "--data", str(own_pictures), "--architecture", "seed-cnn", "--epochs", "1"]
    assert main([*command, "--out", str(tmp_path / "model")]) == 2
    assert "The split leaves no readable picture of red in train." in capsys.readouterr().err


def test_a_class_that_valid_or_test_does_not_have_is_said(own_pictures, tmp_path, capsys):
    split = split_lesions(read_pictures(own_pictures).table)
    red = split["image_id"].str.startswith("red")
    split.loc[red & (split["subset"] == "valid"), "subset"] = "train"
    write_split(split, tmp_path / "split.csv")
    command = ["train", "--data", str(own_pictures), "--architecture", "seed-cnn", "--epochs", "1", "--no-test"]
    assert main([*command, "--split", str(tmp_path / "split.csv"), "--out", str(tmp_path / "model")]) == 0
    said = capsys.readouterr().out
    assert "The split leaves no readable picture of red in valid: its probabilities are not checked" in said
    assert "no readable picture of red in test" not in said


def test_labels_and_a_mark_travel_with_the_model_and_the_mark_is_covered_in_test_too(own_pictures, tmp_path, capsys):
    """Dark moles carry a bright logo, which would give them away."""
    (own_pictures / "red").rename(own_pictures / "red spot")
    for path in (own_pictures / "dark").iterdir():
        picture = read_picture(path)
        picture[60:, :45] = (250, 240, 20)
        path.write_bytes(encode(picture, "PNG"))
    labels, mark = tmp_path / "labels.csv", (0.0, 0.6, 0.4, 1.0)
    labels.write_text("label,name,risk\ndark,A dark one,dermoscopy\n")
    out = tmp_path / "models" / "moles"
    data = ["--data", str(own_pictures), "--labels", str(labels), "--malignant", "red spot"]
    train = ["train", *data, "--mark", "0,0.6,0.4,1", "--architecture", "seed-cnn", "--epochs", "1", "--no-test"]
    assert main([*train, "--out", str(out)]) == 0
    bundle = load_bundle(out)
    assert bundle.labels.codes == ("dark", "red-spot")
    assert bundle.labels.names == ("A dark one", "Red spot")
    assert bundle.labels.malignant_codes == ("red-spot",)
    assert bundle.labels.dermoscopy_codes == ("dark",)
    assert bundle.facts["data"]["mark"] == list(mark)

    plain = ["--data", str(own_pictures)]
    assert main(["evaluate", str(out), *plain, "--mark", "0,0.5,0.4,1"]) == 2
    sentence = "moles was trained with the mark [0.0, 0.6, 0.4, 1.0] covered, not with [0.0, 0.5, 0.4, 1.0]."
    assert sentence in capsys.readouterr().err
    assert not (out / "predictions_test.csv").exists()
    assert main(["evaluate", str(out), *plain]) == 0
    session = Session(out / "model.tflite")
    for subset in ("valid", "test"):
        with (out / f"predictions_{subset}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {row["truth"] for row in rows} == {"dark", "red-spot"}
        for row in rows:
            covered = cover_mark(read_picture(own_pictures / row["image"]), mark)
            answer = session.run(frame_picture(covered, bundle.frame))["probabilities"]
            assert float(row["DARK"]) == pytest.approx(float(answer[0]), abs=1e-4)
    joined = tmp_path / "models" / "joined"
    assert main(["ensemble", str(out), *plain, "--views", "plain,mirrored", "--out", str(joined)]) == 0
    assert load_bundle(joined).mark == mark
    assert load_bundle(joined).labels == bundle.labels


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--mark", "0.1,0.6,0.4,1"], "A mark is left, top, right and bottom in shares of the picture from 0 to 1"),
        (["--mark", "0,0.6,much,1"], "half as wide as it. Received: 0, 0.6, much, 1."),
        (["--mark", ""], "A mark is left, top, right and bottom"),
        (["--labels", "absent.csv"], "--labels goes with your own pictures; the classes of these are known."),
    ],
)
def test_a_mark_or_labels_that_do_not_fit_are_a_sentence(small_data, tmp_path, arguments, sentence, capsys):
    command = ["train", "--data", str(small_data), "--architecture", "seed-cnn", "--out", str(tmp_path / "m")]
    assert main([*command, *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_a_model_without_a_mark_is_not_evaluated_with_one(small_model, small_data, tmp_path, capsys):
    folder = shutil.copytree(small_model, tmp_path / "models" / "small")
    (folder / "predictions_test.csv").unlink()
    assert main(["evaluate", str(folder), "--data", str(small_data), "--mark", "0,0.6,0.4,1"]) == 2
    assert "small was trained with no mark covered, not with [0.0, 0.6, 0.4, 1.0]." in capsys.readouterr().err


def test_own_pictures_that_cannot_be_learned_from_are_a_sentence(own_pictures, tmp_path):
    shutil.rmtree(own_pictures / "red")
    done = run("train", "--data", own_pictures, "--architecture", "seed-cnn", "--out", tmp_path / "model")
    assert done.returncode == 2
    assert done.stderr.strip() == "skinai: All 10 pictures have the class 'dark'; telling apart takes two."
    assert not (tmp_path / "model").exists()


def test_a_split_by_picture_leaves_figures_and_no_weights(small_data, tmp_path):
    out = tmp_path / "models" / "claim"
    command = ["train", "--data", small_data, "--architecture", "seed-cnn", "--epochs", "1", "--by-picture"]
    done = run(*command, "--out", out)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "cases_test.csv.gz",
        "curves.csv.gz",
        "decision.json",
        "predictions_test.csv",
        "predictions_valid.csv",
        "report.json",
        "run.json",
        "split.csv",
        "tensorboard",
        "training_log.csv",
    ]
    assert "(split by picture)" in (out.parent / "TEST_LOG.md").read_text()
    assert run("predict", "x.jpg", "--model", out).returncode == 2


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["mixup"], "--set takes NAME=VALUE with one of"),
        (["colour=blue"], "--set takes NAME=VALUE with one of"),
        (["mixup=much"], "mixup is a number. Received: 'much'."),
        (["crop_px=160"], "crop_px is a list of whole numbers, such as [128,160]. Received: '160'."),
        (["epochs=2.5"], "epochs is a whole number. Received: '2.5'."),
        (["augment=1"], "augment is a truth value: true or false. Received: '1'."),
        (["mixup=-1"], "mixup is from 0 to 10. Received: -1.0."),
        (["crop_px=[64]"], "seed-cnn has one picture size"),
        (["frame_width_px=6"], "frame_width_px is 0 or a multiple of 4 from 32 on. Received: 6."),
        (["architecture=seed-cnn"], "--set takes NAME=VALUE with one of"),
        (["keep=worst"], "keep is one of ['best', 'last']. Received: 'worst'."),
    ],
)
def test_a_setting_that_does_not_exist_or_fit_is_a_sentence(small_data, tmp_path, settings, sentence, capsys):
    arguments = ["train", "--data", str(small_data), "--architecture", "seed-cnn", "--out", str(tmp_path / "m")]
    assert main([*arguments, *(f"--set={setting}" for setting in settings)]) == 2
    assert sentence in capsys.readouterr().err


def test_a_record_is_four_documents_about_the_pictures_together(gated_model, tmp_path):
    names = []
    for number in (1, 2):
        names.append(tmp_path / f"{number}.png")
        names[-1].write_bytes(encode(draw_lesion(number), "PNG"))
    out = tmp_path / "out"
    done = run("record", *names, "--out", out, "--model", gated_model, "--age", 40, "--site", "back")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Most probable: ")
    names = ["record.csv", "record.fhir.json", "record.json", "record.pdf"]
    assert sorted(path.name for path in out.iterdir()) == names
    facts = json.loads((out / "record.json").read_text())
    assert len(facts["pictures"]) == 2
    assert facts["patient"] == {"age_years": 40, "sex": None, "site": "back"}
    refused = tmp_path / "blue.png"
    noise = np.random.default_rng(3).normal(0, 20, (240, 320, 3))
    refused.write_bytes(encode(np.clip(np.array((40, 60, 190)) + noise, 0, 255).astype(np.uint8), "PNG"))
    done = run("record", refused, "--out", out, "--model", gated_model)
    assert done.returncode == 2
    assert done.stdout.startswith("Cannot assess. The gate refused the picture, so no condition is named.")
    assert json.loads((out / "record.json").read_text())["status"] == "refused"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["record", *["x.jpg"] * 7, "--out", "y"], "At most 6 pictures of one lesion are taken together."),
        (["record", "x.jpg", "--out", "y", "--age", "130"], "An age is from 0 to 120 years. Received: 130."),
        (["record", "x.jpg", "--out", "y", "--site", "moon"], "A site is one of "),
        (["record", "absent.jpg", "--out", "y"], "absent.jpg cannot be read: The file could not be opened"),
        (["stress", "absent.jpg"], "The picture cannot be read: The file could not be opened"),
        (["predict", "x.jpg", "--format", "csv"], "--format csv needs --out FILE."),
    ],
)
def test_mistakes_with_records_are_one_line(arguments, sentence, small_model, tmp_path):
    if arguments[0] != "predict":
        arguments = [*arguments, "--model", small_model]
    arguments = [tmp_path / "y" if argument == "y" else argument for argument in arguments]
    done = run(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2  # LiteRT prints a line of its own
    assert "Traceback" not in done.stderr


def test_stress_prints_each_artefact(small_model, tmp_path):
    (tmp_path / "a.png").write_bytes(encode(draw_lesion(1), "PNG"))
    done = run("stress", tmp_path / "a.png", "--model", small_model)
    assert done.returncode == 0
    names = ["as given", "hair", "ruler", "ink", "dark corners", "blur", "tint", "rotation"]
    lines = done.stdout.splitlines()
    assert [line[:14].strip() for line in lines[:8]] == names
    assert NOTICE in done.stdout


def test_csv_has_a_row_a_file_and_says_why_there_is_no_answer(small_model, pictures, tmp_path):
    out = tmp_path / "table.csv"
    done = run("predict", pictures, "--format", "csv", "--out", out, "--model", small_model)
    assert done.returncode == 2
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows] == ["broken.jpg", "two.PNG", "one.jpg"]
    assert [row["status"] for row in rows] == ["unreadable", "answered", "answered"]
    assert rows[0]["reason"].endswith(".")
    assert rows[0]["probability_mel"] == ""
    assert sum(float(rows[1][f"probability_{code}"]) for code in HAM10000.codes) == pytest.approx(1, abs=1e-4)
    assert rows[1]["fingerprint"] == load_bundle(small_model).fingerprint


@pytest.fixture
def pair(small_model, tmp_path):
    done = run("evaluate", small_model, "--isic", tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "predictions.csv", tmp_path / "truth.csv"


def test_a_pair_of_tables_is_scored_and_says_that_its_intervals_are_by_picture(pair, small_model):
    predictions, truth = pair
    done = run("evaluate", "--predictions", predictions, "--truth", truth)
    assert done.returncode == 0, done.stderr
    assert "ISIC 2018 Task 3: balanced accuracy" in done.stdout
    assert "Not the official test set, so published results of it are no measure here." in done.stdout
    assert ".885" not in done.stdout
    assert "intervals are by picture" in done.stdout
    facts = json.loads(run("evaluate", "--predictions", predictions, "--truth", truth, "--json").stdout)
    stored = json.loads((small_model / "report.json").read_text())
    assert facts["overall"]["accuracy"]["value"] == stored["overall"]["accuracy"]["value"]
    assert facts["challenge"]["balanced_accuracy"] == pytest.approx(
        stored["overall"]["balanced_accuracy"]["value"], abs=1e-4
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--predictions", "p.csv"], "--predictions and --truth go together."),
        (["--predictions", "p.csv", "--truth", "t.csv"], "t.csv does not exist."),
        (["--split", "s.csv"], "--split goes with --predictions and --truth"),
        (["--predictions", "p.csv", "--truth", "t.csv", "--isic", "x"], "A pair of tables is scored by itself"),
    ],
)
def test_a_pair_that_does_not_fit_together_is_one_sentence(arguments, sentence):
    done = run("evaluate", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.shipped
def test_a_permuted_pair_and_a_leaking_split_end_with_2_and_their_sentence(shipped_model, tmp_path):
    assert run("evaluate", shipped_model, "--isic", tmp_path).returncode == 0
    predictions, truth = tmp_path / "predictions.csv", tmp_path / "truth.csv"
    leaking = shipped_model.parent / "ham10000-seed-cnn-by-picture" / "split.csv"
    done = run("evaluate", "--predictions", predictions, "--truth", truth, "--split", leaking)
    assert done.returncode == 2
    assert "This pair does not hold (lesion_leakage)" in done.stderr
    predictions.write_text(predictions.read_text().replace("image,MEL,NV,", "image,NV,MEL,", 1))
    done = run("evaluate", "--predictions", predictions, "--truth", truth)
    assert done.returncode == 2
    assert "does not hold (label_map): The labels look permuted" in done.stderr
    assert "the column of mel answers like nv" in done.stderr


def test_two_models_are_compared_and_other_pictures_refused(small_model, tmp_path):
    done = run("compare", small_model, small_model)
    assert done.returncode == 0, done.stderr
    assert "McNemar" in done.stdout
    facts = json.loads(run("compare", small_model, small_model, "--subset", "valid", "--json").stdout)
    assert {row["difference"] for row in facts["figures"]} <= {0.0, None}
    assert facts["mcnemar"]["only_first"] == 0
    other = tmp_path / "other"
    other.mkdir()
    lines = (small_model / "predictions_test.csv").read_text().splitlines(keepends=True)
    (other / "predictions_test.csv").write_text("".join(lines[:-1]))
    done = run("compare", small_model, other)
    assert done.returncode == 2
    assert "do not answer for the same pictures of test" in done.stderr


def test_rules_are_decided_anew_on_valid_and_the_report_is_made_anew_from_stored_predictions(small_model, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "models" / "small")
    done = run("decide", folder, "--point", "sensitivity_0.80", "--coverage", "0.8")
    assert done.returncode == 0, done.stderr
    assert "Wrote version 2 of decision.json" in done.stdout
    assert run("evaluate", folder).returncode == 0
    report = json.loads((folder / "report.json").read_text())
    assert "sensitivity_0.80:sensitivity" in report["decision"]
    assert report["decision_sha256"] == hash_file(folder / "decision.json")
    assert not (folder.parent / "TEST_LOG.md").exists()
    for wrong in (["--point", "sensitivity_1.2"], ["--point", "luck"], ["--coverage", "0.3"]):
        done = run("decide", folder, *wrong)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1


def test_the_evidence_is_written_as_one_zip(small_model, tmp_path):
    done = run("evaluate", small_model, "--bundle", tmp_path / "evidence.zip")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "evidence.zip") as archive:
        assert "small/index.html" in archive.namelist()


def test_the_cases_of_an_older_model_are_described_without_a_look(small_model, small_data, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "models" / "small")
    (folder / "cases_test.csv.gz").unlink()
    done = run("cases", folder, "--data", small_data)
    assert done.returncode == 0, done.stderr
    assert (folder / "cases_test.csv.gz").read_bytes() == (small_model / "cases_test.csv.gz").read_bytes()
    assert not (folder.parent / "TEST_LOG.md").exists()
    lines = (folder / "predictions_test.csv").read_text().splitlines(keepends=True)
    (folder / "predictions_test.csv").write_text("".join(lines[:-1]))
    assert "are not those that the model was tested on" in run("cases", folder, "--data", small_data).stderr
    (folder / "predictions_test.csv").unlink()
    done = run("cases", folder, "--data", small_data)
    assert done.returncode == 2
    assert "has not been shown test yet" in done.stderr


def test_altered_curves_do_not_survive_an_evaluation(small_model, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "small")
    curves = folder / "curves.csv.gz"
    good = curves.read_bytes()
    write_gzip(curves, read_gzip(curves).replace(b"sensitivity,1.0", b"sensitivity,0.5"))
    assert curves.read_bytes() != good
    facts = json.loads((folder / "report.json").read_text())
    facts["curves_sha256"] = hash_file(curves)
    (folder / "report.json").write_text(json.dumps(facts))
    assert run("evaluate", folder).returncode == 0
    assert curves.read_bytes() == good
