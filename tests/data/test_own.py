"""A user's own pictures: every mistake is a sentence, and what belongs together stays together."""

import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import encode

from skinai.data.drawing import draw_lesion
from skinai.data.own import read_pictures
from skinai.data.split import split_lesions
from skinai.errors import DataError
from skinai.labels import HAM10000


def write_pictures(folder, names):
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(draw_lesion(number, width_px=32, height_px=24)))


@pytest.fixture
def class_folders(tmp_path):
    folder = tmp_path / "spots"
    write_pictures(folder, [f"{name}/{number}.jpg" for name in ("dark", "pale") for number in range(6)])
    return folder


def write_table(folder, rows):
    path = folder.parent / "table.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_a_folder_a_class_is_read_and_warned_about(class_folders):
    data = read_pictures(class_folders, malignant=["dark"])
    assert data.labels.codes == ("dark", "pale")
    assert data.labels.malignant_codes == ("dark",)
    assert data.labels.name == "spots (own)"
    assert data.table["dx"].value_counts().to_dict() == {"dark": 6, "pale": 6}
    assert [remark.code for remark in data.remarks] == ["no_lesions"]
    assert "may fall on both sides" in data.remarks[0].sentence
    split = split_lesions(data.table)
    for code in data.labels.codes:
        ids = data.table.loc[data.table["dx"] == code, "image_id"]
        assert set(split.loc[split["image_id"].isin(ids), "subset"]) == {"train", "valid", "test"}


def test_a_table_keeps_lesions_together(class_folders):
    rows = [
        {"image": f"{name}/{number}", "label": name.upper(), "lesion_id": f"{name}{number}", "age": "40"}
        for name in ("dark", "pale")
        for number in range(6)
    ]
    rows[1]["lesion_id"] = rows[0]["lesion_id"]
    data = read_pictures(class_folders, table_file=write_table(class_folders, rows))
    assert data.labels.codes == ("DARK", "PALE")
    assert not data.remarks
    assert data.table["lesion_id"].nunique() == 11
    assert set(data.table["age_band"]) == {"35-49"}
    assert data.table["path"].map(lambda path: path.is_file()).all()


def test_copies_of_a_picture_stay_together(class_folders):
    (class_folders / "dark" / "again.jpg").write_bytes((class_folders / "dark" / "0.jpg").read_bytes())
    data = read_pictures(class_folders)
    lesion = data.table.set_index("image_id")["lesion_id"]
    assert lesion["dark/again.jpg"] == lesion["dark/0.jpg"]
    assert "1 pictures are copies" in data.remarks[1].sentence
    (class_folders / "pale" / "again.jpg").write_bytes((class_folders / "dark" / "0.jpg").read_bytes())
    with pytest.raises(DataError, match="The same picture has two classes"):
        read_pictures(class_folders)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "No .jpg or .png picture was found"),
        (["a.jpg", "b.jpg"], "put each class into its own folder, or give --table"),
        ([f"x/{n}.jpg" for n in range(9)], "All 9 pictures have the class 'x'"),
        ([f"x/{n}.jpg" for n in range(9)] + ["y/a.jpg", "y/b.jpg", "y/c.jpg"], "'y' has 3 pictures of 3 lesions"),
        ([f"{c}/{n}.jpg" for c in ("mel", "MEL") for n in range(6)], "differ in upper and lower case only"),
    ],
)
def test_folders_that_cannot_be_learned_from(tmp_path, names, sentence):
    folder = tmp_path / "own"
    folder.mkdir()
    write_pictures(folder, names)
    with pytest.raises(DataError, match=sentence):
        read_pictures(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rows: [{"file": 1}], "Missing columns in table.csv: \\['image', 'label'\\]"),
        (lambda rows: [row | {"image": "nowhere"} for row in rows], "None of the 12 pictures listed"),
        (lambda rows: [*rows, rows[0]], "Repeated pictures in table.csv: dark/0.jpg"),
        (lambda rows: [row | {"label": ""} for row in rows[:2]], "has no label in the rows 2, 3"),
        (lambda rows: [row | {"lesion_id": row["label"]} for row in rows], "'dark' has 6 pictures of 1 lesions"),
        (lambda rows: [row | {"lesion_id": row["image"].split("/")[1]} for row in rows], "more than one class"),
        (lambda rows: [row | {"label": "[" + row["label"]} for row in rows], "Names of classes are printable"),
    ],
)
def test_tables_that_cannot_be_used(class_folders, change, sentence):
    rows = [{"image": f"{c}/{n}.jpg", "label": c} for c in ("dark", "pale") for n in range(6)]
    with pytest.raises(DataError, match=sentence):
        read_pictures(class_folders, table_file=write_table(class_folders, change(rows)))


def test_absent_pictures_and_loose_ones_are_told(class_folders):
    write_pictures(class_folders, ["loose.jpg"])
    assert "1 pictures lie in no class folder: loose.jpg" in read_pictures(class_folders).remarks[0].sentence
    rows = [{"image": f"{c}/{n}.jpg", "label": c, "patient_id": f"{c}{n}"} for c in ("dark", "pale") for n in range(7)]
    data = read_pictures(class_folders, table_file=write_table(class_folders, rows))
    assert data.remarks[0].sentence == "2 listed pictures are absent: dark/6.jpg, pale/6.jpg; left out."


def test_an_unknown_malignant_class_is_a_mistake(class_folders):
    with pytest.raises(DataError, match=r"Unknown malignant classes: \['mel'\]"):
        read_pictures(class_folders, malignant=["mel"])


def test_ham10000_is_recognised(small_data):
    data = read_pictures(small_data)
    assert data.labels is HAM10000
    assert np.isfinite(data.table["age"]).any()


def test_chains_of_copies_stay_together_whatever_their_order(tmp_path):
    """One lesion's two pictures are copies of pictures of two other lesions: all three are one."""
    for turn in range(6):
        folder = tmp_path / str(turn)
        write_pictures(folder, [f"{name}/{number}.jpg" for name in ("dark", "pale") for number in range(8)])
        contents = [encode(draw_lesion(100 + turn * 2 + which, width_px=32, height_px=24)) for which in (0, 1)]
        for name, content in (("a", contents[0]), ("b", contents[0]), ("c", contents[1]), ("d", contents[1])):
            (folder / "dark" / f"{name}.jpg").write_bytes(content)
        rows = [{"image": f"{c}/{n}", "label": c, "lesion_id": f"{c}{n}"} for c in ("dark", "pale") for n in range(8)]
        lesions = {"a": "one", "b": "two", "c": "two", "d": "three"}
        rows += [{"image": f"dark/{name}", "label": "dark", "lesion_id": lesion} for name, lesion in lesions.items()]
        data = read_pictures(folder, table_file=write_table(folder, rows))
        found = data.table[data.table["image_id"].isin([f"dark/{name}.jpg" for name in lesions])]
        assert found["lesion_id"].nunique() == 1


def test_a_patient_keeps_lesions_of_several_classes_together(class_folders):
    rows = [
        {"image": f"{c}\\{n}.JPG", "label": c, " patient_id": "" if n == 5 else f"p{n}"}
        for c in ("dark", "pale")
        for n in range(6)
    ]
    data = read_pictures(class_folders, table_file=write_table(class_folders, rows))
    assert data.table["lesion_id"].nunique() == 5 + 2
    split = split_lesions(data.table)
    assert split.groupby("lesion_id")["subset"].nunique().max() == 1


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_folders_that_are_subsets_are_no_classes(tmp_path, name):
    write_pictures(tmp_path / "own", [f"{c}/{n}.jpg" for c in (name, "b") for n in range(6)])
    with pytest.raises(DataError, match=f"The folders {name} are subsets"):
        read_pictures(tmp_path / "own")


def test_ham10000_without_its_table_is_not_two_classes(small_data, tmp_path):
    folder = shutil.copytree(small_data, tmp_path / "ham")
    (folder / "HAM10000_metadata.csv").unlink()
    with pytest.raises(DataError, match=r"HAM10000_metadata\.csv is missing"):
        read_pictures(folder)


def test_hidden_and_other_files_are_no_pictures_and_links_are_followed(class_folders, tmp_path):
    write_pictures(class_folders, [".ipynb_checkpoints/0.jpg"])
    (class_folders / "pale" / "scan.tif").write_bytes(b"")
    elsewhere = tmp_path / "elsewhere"
    for number in range(6):
        (elsewhere / f"{number}.jpg").parent.mkdir(exist_ok=True)
        (elsewhere / f"{number}.jpg").write_bytes(encode(draw_lesion(50 + number, width_px=32, height_px=24)))
    (class_folders / "linked").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(class_folders)
    data = read_pictures(class_folders)
    assert data.labels.codes == ("dark", "linked", "pale")
    assert "1 files are not .jpg or .png pictures: pale/scan.tif" in data.remarks[0].sentence
