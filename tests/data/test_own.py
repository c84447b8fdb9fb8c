"""A user's own pictures: every mistake is a sentence, and what belongs together stays together."""

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
    assert data.labels.name == "spots"
    assert data.table["dx"].value_counts().to_dict() == {"dark": 6, "pale": 6}
    assert [remark.code for remark in data.remarks] == ["no_lesions"]
    assert "may fall on both sides" in data.remarks[0].sentence
    split = split_lesions(data.table)
    for code in data.labels.codes:
        ids = data.table.loc[data.table["dx"] == code, "image_id"]
        assert set(split.loc[split["image_id"].isin(ids), "subset"]) == {"train", "valid", "test"}


def test_a_table_keeps_lesions_together(class_folders):
    rows = [
        {"image": f"{name}/{number}", "label": name.upper(), "lesion_id": f"{name}{number // 1}", "age": "40"}
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
        (lambda rows: [row | {"lesion_id": "one"} for row in rows], "'dark' has 6 pictures of 1 lesions"),
        (lambda rows: [row | {"lesion_id": row["image"].split("/")[1]} for row in rows], "more than one class"),
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
