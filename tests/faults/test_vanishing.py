"""The pictures go away in the middle: one sentence, no traceback, and nothing said of pictures that were not seen.

A named pipe among the pictures holds a process up until the folder has been moved away.
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, encode
from faulting import SKINAI, Child, find_sentence, hash_files, succeed, wait_until
from streamlit.testing.v1 import AppTest

from skinai import wording
from skinai.data.audit import audit_folder
from skinai.data.drawing import draw_lesion
from skinai.data.metadata import read_data_folder
from skinai.data.split import SPLIT_FILE, read_split
from skinai.errors import DataError
from skinai.model.bundle import load_bundle

LONG = pytest.mark.soak


@pytest.fixture
def data(small_data, tmp_path):
    return shutil.copytree(small_data, tmp_path / "ham")


def move_while_reading(child, folder, pipe):
    """Move a folder away once a process waits for the pipe in it, and let the process go on."""
    # Only once somebody reads from it can it be opened for writing like that.
    handles = []

    def is_read():
        assert child.lives, child.finish().err[-2000:]
        try:
            handles.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    wait_until(is_read)
    folder.rename(folder.with_name("away"))
    os.close(handles[0])
    return child.finish()


def test_a_batch_makes_no_rows_of_pictures_that_went_away_and_goes_on_when_they_are_back(gated_model, tmp_path):
    folder, out = tmp_path / "pictures", tmp_path / "out"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.jpg").write_bytes(encode(draw_lesion(number, width_px=128, height_px=96)))
    os.mkfifo(folder / "3.pipe.jpg")
    names = [f"pictures/{name}" for name in ("0.jpg", "1.jpg", "2.jpg", "3.pipe.jpg", "4.jpg", "5.jpg")]
    (tmp_path / "list.txt").write_text("\n".join(names))
    command = [*SKINAI, "predict", tmp_path / "list.txt", "--model", gated_model, "--out", out, "--part-size", 2]
    said = find_sentence(move_while_reading(Child(*command), folder, folder / "3.pipe.jpg"))
    assert said == (
        f"The folder {folder} went away; the parts that are done stay. Start the same command again once it is back."
    )
    (part,) = out.glob("part-*")
    assert pq.read_table(part)["status"].to_pylist() != ["unreadable"] * 2
    folder.with_name("away").rename(folder)
    (folder / "3.pipe.jpg").unlink()
    (folder / "3.pipe.jpg").write_bytes(encode(draw_lesion(3, width_px=128, height_px=96)))
    succeed(*command)
    statuses = pq.read_table(out)["status"].to_pylist()
    assert len(statuses) == 6
    assert "unreadable" not in statuses


def replace_by_pipe(picture):
    picture.unlink()
    os.mkfifo(picture)
    return picture


def list_subset(model, subset):
    split = read_split(model / SPLIT_FILE)
    return set(split.loc[split["subset"] == subset, "image_id"])


@LONG
def test_a_run_whose_pictures_go_away_ends_with_a_sentence(data, small_model, tmp_path):
    """Half of the pictures would be trained on."""
    train = list_subset(small_model, "train")
    picture = next(path for path in sorted(data.glob("*/*.jpg")) if path.stem in train)
    command = [*SKINAI, "train", "--data", data, "--architecture", "seed-cnn", "--epochs", 1, "--out"]
    replace_by_pipe(picture)
    said = find_sentence(move_while_reading(Child(*command, tmp_path / "model"), data, picture))
    assert "listed pictures went away before they were read" in said
    assert not (tmp_path / "model").exists()


def test_a_look_at_test_is_not_taken_on_half_of_the_pictures(data, small_model, tmp_path, monkeypatch):
    """It can be taken only once."""
    from skinai.training import frames
    from skinai.training.run import look_at_test

    folder = shutil.copytree(small_model, tmp_path / "models" / "small")
    (folder / "predictions_test.csv").unlink()
    before, real, decoded = hash_files(tmp_path / "models"), frames.decode_picture, []

    def decode_and_move(content):
        decoded.append(1)
        if len(decoded) == 3:
            move(data / "HAM10000_images_part_1")
        return real(content)

    monkeypatch.setattr(frames, "decode_picture", decode_and_move)
    # Of several threads two could see the third picture, and others have decoded all that are left.
    monkeypatch.setattr(frames, "ThreadPoolExecutor", lambda: ThreadPoolExecutor(1))
    with pytest.raises(DataError, match=r"^\d+ listed pictures went away before they were read: ISIC_.*\.$"):
        look_at_test(folder, read_data_folder(data), purpose="a test", verbose=False)
    assert hash_files(tmp_path / "models") == before


@LONG
def test_training_whose_data_go_away_later_ends_well_but_for_test(data, tmp_path):
    """Decoded pictures are kept, so only the look at test needs the folder again; it can be taken later."""
    out = tmp_path / "models" / "model"
    command = [*SKINAI, "train", "--data", data, "--architecture", "seed-cnn", "--epochs", 3, "--out", out]
    child = Child(*command)
    wait_until(lambda: (out / "checkpoint.npz").exists() or not child.lives)
    data.rename(data.with_name("away"))
    said = find_sentence(child.finish())
    assert "listed pictures went away before they were read" in said
    assert not (out / "predictions_test.csv").exists()
    assert not (out.parent / "TEST_LOG.md").exists()
    data.with_name("away").rename(data)
    succeed(*SKINAI, "evaluate", out, "--data", data)
    assert (out.parent / "TEST_LOG.md").read_text().count(load_bundle(out).fingerprint) == 1


def test_an_audit_of_pictures_that_go_away_is_refused_and_not_kept(data, tmp_path):
    pipe = replace_by_pipe(sorted(data.glob("*/*.jpg"))[40])
    environment = {"SKINAI_CACHE": str(tmp_path / "cache")}
    child = Child(*SKINAI, "data", "audit", "--data", data, "--quick", env=environment)
    done = move_while_reading(child, data, pipe)
    said = "Pictures were changed or went away while they were looked through: start the audit again."
    assert find_sentence(done) == said
    assert done.out == ""
    assert not (tmp_path / "cache").exists()


def test_an_audit_of_pictures_that_are_changed_meanwhile_is_refused(data):
    """It would be kept for the changed ones."""
    picture = sorted(data.glob("*/*.jpg"))[0]
    with pytest.raises(DataError, match="changed or went away while they were looked through"):
        audit_folder(
            read_data_folder(data), near=False, on_progress=lambda *_: picture.write_bytes(b"\xff\xd8\xff another")
        )


def move(folder, name="away"):
    if folder.exists():
        folder.rename(folder.with_name(name))


def open_explorer(monkeypatch, model, data, part):
    import streamlit as st

    for name, value in (("SKINAI_MODEL", model), ("SKINAI_DATA", data), ("SKINAI_CLINICAL", "")):
        monkeypatch.setenv(name, str(value))
    st.cache_resource.clear()
    st.cache_data.clear()
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300).run()
    app.switch_page(str(ROOT / "pages/data/explorer.py")).run()
    app.segmented_control(key="part").set_value(part).run()
    assert not app.exception
    return app


def read_page(app):
    groups = (app.markdown, app.info, app.error, app.warning, app.caption)
    return "\n".join(element.value for group in groups for element in group)


def test_the_gallery_says_that_its_pictures_went_away(small_model, data, monkeypatch):
    app = open_explorer(monkeypatch, small_model, data, "gallery")
    listed = wording.GALLERY_COUNT.format(pictures=83, lesions=56, absent=1)
    assert listed in read_page(app)
    move(data / "HAM10000_images_part_1")
    app.run()
    assert not app.exception
    data.rename(data.with_name("gone"))
    app.run()
    assert not app.exception
    assert wording.GALLERY_NO_DATA in read_page(app)
    data.with_name("gone").rename(data)
    move(data / "away", "HAM10000_images_part_1")
    app.run()
    assert not app.exception
    assert listed in read_page(app)


def test_a_picture_that_goes_away_while_the_gallery_is_drawn_is_a_sentence(small_model, data, monkeypatch):
    from skinai.ui.exploring import gallery

    real = gallery.load_thumbnail

    def move_and_load(path):
        move(data / "HAM10000_images_part_1")
        return real(path)

    monkeypatch.setattr(gallery, "load_thumbnail", move_and_load)
    app = open_explorer(monkeypatch, small_model, data, "gallery")
    shown = "".join(element.proto.body for element in app.get("html"))
    assert "No such file or directory" in shown


def test_the_audit_on_the_page_says_that_the_pictures_went_away(small_model, data, monkeypatch):
    from skinai.ui.exploring import auditing

    monkeypatch.setenv("SKINAI_CACHE", str(data.parent / "cache"))
    app = open_explorer(monkeypatch, small_model, data, "audit")
    real = auditing.audit_folder
    monkeypatch.setattr(
        auditing,
        "audit_folder",
        lambda found, **options: real(
            found, **options | {"on_progress": lambda *_: move(data / "HAM10000_images_part_1")}
        ),
    )
    app.button(key="audit").click().run()
    assert not app.exception
    assert "went away while they were looked through" in read_page(app)
    assert not list((data.parent / "cache").rglob("*.json"))
