"""A user's own pictures: every mistake is a sentence, and what belongs together stays together."""

import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, encode
from test_tables import REFUSED_TEXT, SAME, WIDER, said, write

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


def test_copies_with_two_classes_are_left_out_for_who_asks(class_folders):
    (class_folders / "pale" / "again.jpg").write_bytes((class_folders / "dark" / "0.jpg").read_bytes())
    whole = read_pictures(class_folders, for_training=False)
    data = read_pictures(class_folders, drop_conflicts=True)
    assert set(whole.table["image_id"]) - set(data.table["image_id"]) == {"dark/0.jpg", "pale/again.jpg"}
    remark = next(remark for remark in data.remarks if remark.code == "copy_conflict")
    assert remark.count == 2
    assert "dark/0.jpg, pale/again.jpg; left out" in remark.sentence


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


def test_a_lesion_stays_together_where_only_some_of_its_rows_name_the_patient(class_folders):
    rows = [{"image": f"{c}/{n}", "label": c, "lesion_id": f"{c}{n // 2}"} for c in ("dark", "pale") for n in range(6)]
    for row, patient in ((0, "p"), (2, "p"), (3, "q"), (6, "r")):
        rows[row]["patient_id"] = patient
    data = read_pictures(class_folders, table_file=write_table(class_folders, rows), **LOOKING)
    together = data.table.groupby("lesion_id")["image_id"].agg(set).tolist()
    dark = [{f"dark/{n}.jpg" for n in numbers} for numbers in ((0, 1, 2, 3), (4, 5))]
    pale = [{f"pale/{n}.jpg" for n in numbers} for numbers in ((0, 1), (2, 3), (4, 5))]
    assert sorted(together, key=sorted) == [*dark, *pale]


def test_pictures_without_a_lesion_id_beside_others_with_one_are_warned_about(class_folders):
    rows = [{"image": f"{c}/{n}", "label": c, "lesion_id": f"{c}{n}"} for c in ("dark", "pale") for n in range(6)]
    for row in (3, 8):
        rows[row]["lesion_id"] = "unknown"
    data = read_pictures(class_folders, table_file=write_table(class_folders, rows))
    assert data.lesions_known
    (remark,) = data.remarks
    assert (remark.code, remark.count) == ("some_lesions", 2)
    assert remark.sentence.startswith(
        "2 pictures have no lesion id: dark/3.jpg, pale/2.jpg; each counts as a lesion of"
    )


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


NAMES = ["image", "label", "lesion_id", "age", "sex"]
ROWS = [
    [f"{code}/{number}.jpg", code.title(), f"{code}-{number // 2}", str(30 + number), ("male", "")[number % 2]]
    for code in ("dark", "pale")
    for number in range(6)
]
LOOKING = {"for_training": False}


@pytest.fixture
def own_table(class_folders):
    path = class_folders.parent / "table.csv"
    path.write_bytes(write(NAMES, ROWS))
    return path


@pytest.mark.parametrize("change", [*SAME.values(), *WIDER.values()], ids=[*SAME, *WIDER])
def test_a_copy_of_the_table_in_another_form_reads_the_same(class_folders, own_table, change):
    clean = read_pictures(class_folders, table_file=own_table, **LOOKING)
    own_table.write_bytes(change(NAMES, ROWS))
    data = read_pictures(class_folders, table_file=own_table, **LOOKING)
    pd.testing.assert_frame_equal(data.table, clean.table)
    assert (data.remarks, data.labels) == (clean.remarks, clean.labels)


@pytest.mark.parametrize(("change", "sentence"), REFUSED_TEXT.values(), ids=REFUSED_TEXT)
def test_a_copy_of_the_table_that_cannot_be_read_is_one_sentence(class_folders, own_table, change, sentence):
    own_table.write_bytes(change(NAMES, ROWS))
    with pytest.raises(DataError) as refusal:
        read_pictures(class_folders, table_file=own_table)
    assert str(refusal.value).endswith(said(sentence, "table.csv", NAMES, ROWS))


def test_columns_of_the_table_are_there_once(class_folders, own_table):
    own_table.write_bytes(write(["picture", *NAMES[1:]], ROWS))
    with pytest.raises(DataError, match=r"^Missing columns in table\.csv: \['image'\]\. It has: \['picture', 'label'"):
        read_pictures(class_folders, table_file=own_table)
    own_table.write_bytes(write([*NAMES, "Image"], [[*row, ""] for row in ROWS]))
    with pytest.raises(DataError, match=r"^table\.csv has columns twice: 'image'\.$"):
        read_pictures(class_folders, table_file=own_table)


def test_one_row_can_be_looked_at(class_folders, own_table):
    own_table.write_bytes(write(NAMES, ROWS[:1]))
    with pytest.raises(DataError, match="All 1 pictures have the class 'Dark'"):
        read_pictures(class_folders, table_file=own_table)
    data = read_pictures(class_folders, table_file=own_table, **LOOKING)
    assert [remark.code for remark in data.remarks] == ["not_listed", "one_class", "few_lesions"]
    assert data.remarks[1].sentence == (
        "All 1 pictures have the class 'Dark'; telling apart takes two; enough to look at, not to learn from."
    )


def test_a_table_that_is_not_there_is_a_sentence(class_folders):
    (class_folders / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"^absent\.csv is missing in "):
        read_pictures(class_folders, table_file=class_folders / "absent.csv")


@pytest.mark.parametrize("first", range(6))
def test_the_label_has_one_of_six_names_the_first_of_them_counts(class_folders, own_table, first):
    columns = ["label", "group", "condition", "dx", "class", "diagnosis"][first:]
    rows = [[row[0], *(f"{column} {row[1]}" for column in columns)] for row in ROWS]
    own_table.write_bytes(write(["image", *columns], rows))
    data = read_pictures(class_folders, table_file=own_table, **LOOKING)
    assert data.labels.codes == (f"{columns[0]}-Dark", f"{columns[0]}-Pale")
    assert data.lesions_known == ("group" in columns[1:])


def test_a_block_belongs_together_like_a_patient(class_folders, own_table):
    rows = [[row[0], "skin-spot", row[1], f"block-{at % 5}"] for at, row in enumerate(ROWS)]
    own_table.write_bytes(write(["image", "group", "condition", "block"], rows))
    data = read_pictures(class_folders, table_file=own_table, **LOOKING)
    assert data.labels.codes == ("skin-spot",)
    assert data.table["lesion_id"].nunique() == 5
    assert data.lesions_known
    assert data.source == "pictures listed in table.csv"
    split = split_lesions(data.table)
    assert split.groupby("lesion_id")["subset"].nunique().max() == 1


def test_the_table_may_lie_among_the_pictures(class_folders):
    inside = class_folders / "photographs.csv"
    inside.write_bytes(write(NAMES, ROWS))
    told = read_pictures(class_folders, table_file=inside, **LOOKING).remarks
    assert {remark.code for remark in told} == {"few_lesions"}
    told = read_pictures(class_folders, **LOOKING).remarks
    assert told[0].sentence == "1 files are not .jpg or .png pictures: photographs.csv; left out."


@pytest.mark.parametrize(
    ("change", "code", "remark"),
    [
        (lambda rows: [*rows, rows[0]], "repeated", "Repeated pictures in table.csv: dark/0.jpg; only the first row"),
        (
            lambda rows: [[*row[:2], row[0].split("/")[1], *row[3:]] for row in rows],
            "torn_lesions",
            "Lesions with more than one class: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, 5.jpg; all shown.",
        ),
        (
            lambda rows: [[*row[:2], row[1], *row[3:]] for row in rows],
            "few_lesions",
            "The class 'Dark' has 6 pictures of 1 lesions; train, valid and test need at least 5 lesions together; "
            "enough to look at, not to learn from.",
        ),
    ],
)
def test_doubtful_rows_are_refused_for_training_and_told_otherwise(class_folders, own_table, change, code, remark):
    own_table.write_bytes(write(NAMES, change(ROWS)))
    with pytest.raises(DataError) as refusal:
        read_pictures(class_folders, table_file=own_table)
    assert str(refusal.value).removesuffix(".").split("; ")[0] in remark
    data = read_pictures(class_folders, table_file=own_table, **LOOKING)
    told = [item.sentence for item in data.remarks if item.code == code]
    assert told[0].startswith(remark)
    assert len(data.table) == 12


def test_few_pictures_or_one_class_or_copies_can_be_looked_at(tmp_path):
    write_pictures(tmp_path / "own", ["x/0.jpg", "x/1.jpg"])
    (tmp_path / "own" / "x" / "2.jpg").write_bytes((tmp_path / "own" / "x" / "0.jpg").read_bytes())
    data = read_pictures(tmp_path / "own", **LOOKING)
    assert data.labels.codes == ("x",)
    assert not data.lesions_known
    assert [remark.code for remark in data.remarks] == ["no_lesions", "one_class", "few_lesions"]
    (tmp_path / "own" / "y").mkdir()
    (tmp_path / "own" / "y" / "0.jpg").write_bytes((tmp_path / "own" / "x" / "0.jpg").read_bytes())
    assert len(read_pictures(tmp_path / "own", **LOOKING).table) == 4


def test_pictures_that_are_only_looked_at_are_not_opened(class_folders, monkeypatch):
    def fail(path):
        raise AssertionError(path)

    monkeypatch.setattr("skinai.data.own.hash_file", fail)
    assert len(read_pictures(class_folders, **LOOKING).table) == 12


def test_ages_that_are_none_count_as_unknown_and_are_told(class_folders, own_table):
    ages = ["old", "-1", "150", "unknown", "", "40"] * 2
    own_table.write_bytes(write(NAMES, [[*row[:3], age, row[4]] for row, age in zip(ROWS, ages, strict=True)]))
    data = read_pictures(class_folders, table_file=own_table, **LOOKING)
    assert data.table["age_band"].tolist() == ["unknown"] * 5 + ["35-49"] + ["unknown"] * 5 + ["35-49"]
    told = {remark.code: remark.sentence for remark in data.remarks}
    assert told["no_age"] == "6 pictures have an age that is none: -1, 150, old; counted as unknown."


def test_a_table_whose_lesion_ids_are_all_empty_is_warned_about(class_folders, own_table):
    own_table.write_bytes(write(NAMES, [[*row[:2], "", *row[3:]] for row in ROWS]))
    data = read_pictures(class_folders, table_file=own_table)
    assert not data.lesions_known
    assert "no_lesions" in {remark.code for remark in data.remarks}


@pytest.mark.parametrize(
    ("names", "lesion"),
    [
        (["label", "group"], "group g"),
        (["label", "Group", "lesion_id"], "lesion l"),
        (["label", "group", "patient_id"], "patient p"),
        (["label", "group", "block"], "patient b"),
        (["label", "group", "lesion_id", "patient_id"], "patient p"),
    ],
)
def test_a_group_beside_a_label_keeps_together_what_nothing_else_does(class_folders, own_table, names, lesion):
    values = {"label": lambda row, at: row[1]} | {
        name: lambda row, at, name=name: f"{name[0].lower()}{at // 2}" for name in names[1:]
    }
    rows = [[row[0], *(values[name](row, at) for name in names)] for at, row in enumerate(ROWS)]
    own_table.write_bytes(write(["image", *names], rows))
    data = read_pictures(class_folders, table_file=own_table, **LOOKING)
    assert data.labels.codes == ("Dark", "Pale")
    assert data.table["lesion_id"].tolist() == [f"{lesion}{at // 2}" for at in range(12)]
    assert data.lesions_known


def test_a_group_counts_in_rows_whose_lesion_is_not_given(class_folders, own_table):
    rows = [[row[0], row[1], f"g{at // 3}", "" if at % 3 else f"l{at}"] for at, row in enumerate(ROWS)]
    own_table.write_bytes(write(["image", "label", "group", "lesion_id"], rows))
    data = read_pictures(class_folders, table_file=own_table, **LOOKING)
    assert data.table["lesion_id"].head(6).tolist() == [
        *("lesion l0", "group g0", "group g0", "lesion l3", "group g1", "group g1")
    ]


def test_a_label_with_blanks_gets_a_code_and_a_name(tmp_path):
    write_pictures(tmp_path / "own", [f"{label}/{n}.jpg" for label in ("zoster", "big  red spot") for n in range(6)])
    data = read_pictures(tmp_path / "own", malignant=["big  red spot"])
    assert data.labels.codes == ("big-red-spot", "zoster")
    assert data.labels.names == ("Big  red spot", "zoster")
    assert data.labels.malignant_codes == ("big-red-spot",)
    assert set(data.table["dx"]) == set(data.labels.codes)
    assert read_pictures(tmp_path / "own", malignant=["big-red-spot"]).labels == data.labels


def test_two_labels_with_one_code_are_named(tmp_path):
    write_pictures(tmp_path / "own", [f"{label}/{n}.jpg" for label in ("red spot", "red-spot", "z") for n in range(6)])
    with pytest.raises(DataError, match=r"^Classes with the same code 'red-spot': 'red spot', 'red-spot'\."):
        read_pictures(tmp_path / "own")
    labels = tmp_path / "labels.csv"
    labels.write_text("label,code,name\nred spot,rash,\n")
    assert read_pictures(tmp_path / "own", labels_file=labels).labels.codes == ("rash", "red-spot", "z")


def test_a_labels_file_gives_names_codes_and_risks(class_folders, tmp_path):
    for number, path in enumerate(f"{label}/{at}.jpg" for label in ("brown spot", "odd") for at in range(6)):
        (class_folders / path).parent.mkdir(exist_ok=True)
        (class_folders / path).write_bytes(encode(draw_lesion(50 + number, width_px=32, height_px=24)))
    labels = class_folders / "labels.csv"
    rows = [
        ["pale", "", "Pale skin", "", "note"],
        ["brown spot", "mole", "", "Dermoscopy", ""],
        ["dark", "", "", "malignant", ""],
        ["green", "", "", "malignant", ""],
    ]
    labels.write_bytes(write(["Label", "code", "NAME", "risk", "other"], rows, delimiter=";"))
    data = read_pictures(class_folders, labels_file=labels)
    assert data.labels.codes == ("dark", "mole", "odd", "pale")
    assert data.labels.names == ("Dark", "Brown spot", "odd", "Pale skin")
    assert data.labels.malignant_codes == ("dark",)
    assert data.labels.dermoscopy_codes == ("mole",)
    assert data.table.loc[data.table["image_id"].str.startswith("brown"), "dx"].unique().tolist() == ["mole"]
    told = [remark.sentence for remark in data.remarks if remark.code != "no_lesions"]
    assert told == ["1 labels of labels.csv are not in the data: green."]
    both = read_pictures(class_folders, labels_file=labels, malignant=["odd", "brown spot"])
    assert both.labels.malignant_codes == ("dark", "mole", "odd")
    assert read_pictures(class_folders, labels_file=labels, malignant=["mole"]).labels.malignant_codes == (
        *("dark", "mole"),
    )
    with pytest.raises(DataError, match=r"^Unknown malignant classes: \['green'\]"):
        read_pictures(class_folders, labels_file=labels, malignant=["green"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,risk\ndark,malignant\n", r"^Missing columns in labels\.csv: \['label'\]"),
        ("label,risk\n,malignant\n", r"^labels\.csv has no label in the rows 2\.$"),
        ("label,name\ndark,a\npale,b\ndark,c\n", r"^labels\.csv has labels twice: dark\.$"),
        (
            "label,risk\ndark,bad\n",
            r"^The class 'dark' in labels\.csv has the risk 'bad'; it is one of benign, malignant, dermoscopy, or",
        ),
        ("label,code\ndark,pale\n", r"^Classes with the same code 'pale': 'dark', 'pale'\."),
        ("label,code\ndark,PALE\n", r"^Two classes differ in upper and lower case only\."),
        ("label,name\ndark,<b>\n", r"^Names of classes are printable"),
        ("label,name\ndark,pale\n", r"^Two classes have the same name\."),
        ("", r"^labels\.csv is not a comma-separated UTF-8 table: it is empty\.$"),
    ],
)
def test_a_labels_file_that_cannot_be_used(class_folders, tmp_path, text, sentence):
    labels = tmp_path / "labels.csv"
    labels.write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_pictures(class_folders, labels_file=labels)


CLINICAL_LABELS = ROOT / "skinai" / "data" / "clinical_labels.csv"
CLINICAL_GROUPS = ("acne", "bacterial infection", "blistering disease", "eczema", "fungal infection", "lichen planus")
CLINICAL_GROUPS += ("lupus", "other", "pigmented or keratotic lesion", "psoriasis", "rosacea", "viral infection")


def check_clinical_labels(data):
    assert data.labels.codes == tuple(group.replace(" ", "-") for group in CLINICAL_GROUPS)
    assert data.labels.by_code("other").name == "Another condition"
    assert data.labels.by_code("lichen-planus").name == "Lichen planus"
    assert all(name[0].isupper() for name in data.labels.names)
    assert data.labels.malignant_codes == ()
    assert data.labels.dermoscopy_codes == ("pigmented-or-keratotic-lesion",)
    assert "label_absent" not in {remark.code for remark in data.remarks}


def test_the_labels_of_the_clinical_groups_ship(tmp_path):
    write_pictures(tmp_path / "own", [f"{group}/0.jpg" for group in CLINICAL_GROUPS])
    check_clinical_labels(read_pictures(tmp_path / "own", labels_file=CLINICAL_LABELS, **LOOKING))


@pytest.mark.data
def test_they_are_those_of_the_real_clinical_photographs(real_data):
    folder = real_data.parent / "clinical"
    if not folder.is_dir():
        pytest.skip("the clinical photographs are not at hand")
    data = read_pictures(folder, table_file=folder / "photographs.csv", labels_file=CLINICAL_LABELS, for_training=False)
    check_clinical_labels(data)
    assert len(data.table) > 3000
