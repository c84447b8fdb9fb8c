"""Everything odd about a data folder is said in one sentence with the offending values."""

import csv
import shutil

import pandas as pd
import pytest
from test_tables import REFUSED_TEXT, SAME, WIDER, said
from test_tables import write as write_table

from skinai.data.metadata import band_ages, find_data_folder, find_metadata, read_data_folder, read_metadata
from skinai.errors import DataError, UsageError

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization"
ROW = "HAM_1,ISIC_1,mel,histo,50.0,male,back"


def write(tmp_path, *lines, encoding="utf-8"):
    path = tmp_path / "HAM10000_metadata.csv"
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([HEADER.replace("dx,", "diagnosis,", 1), ROW], r"Missing columns in .*: \['dx'\]. It has: .*'diagnosis'"),
        ([HEADER], "has no rows"),
        ([""], "not a comma-separated UTF-8 table"),
        ([HEADER, ROW.replace("mel", "melanoma")], r"Unknown dx .*: melanoma. Known are: \['akiec'"),
        ([HEADER, ROW.replace("mel", "MEL")], "Unknown dx .*: MEL"),
        ([HEADER, ROW, ROW], "Repeated image_id .*: ISIC_1"),
        ([HEADER, ROW, "HAM_1,ISIC_2,nv,histo,50,male,back"], "Lesions with more than one dx .*: HAM_1"),
        ([HEADER, ROW.replace("50.0", "-1")], "Values that are no age .*: -1"),
        ([HEADER, ROW.replace("50.0", "150")], "Values that are no age .*: 150"),
        ([HEADER, ROW.replace("50.0", "old")], "Values that are no age .*: old"),
        ([HEADER, ROW.replace("ISIC_1", "")], "no image_id in the rows 2"),
        ([HEADER, ROW.replace("HAM_1", "")], "no lesion_id in the rows 2"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused(tmp_path, lines, sentence):
    with pytest.raises(DataError, match=sentence):
        read_metadata(write(tmp_path, *lines))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_byte_order_mark_says_how_to_read(tmp_path, encoding):
    assert len(read_metadata(write(tmp_path, HEADER, ROW, encoding=encoding))) == 1


def test_semicolons_separate_too(tmp_path):
    assert len(read_metadata(write(tmp_path, HEADER.replace(",", ";"), ROW.replace(",", ";")))) == 1


def test_windows_line_ends_extra_columns_and_unknown_ages_are_read(tmp_path):
    rows = [HEADER + ",dataset\r", ROW + ",vidir\r", "HAM_2,ISIC_2,nv,,unknown,Male,,rosendahl\r"]
    table = read_metadata(write(tmp_path, *rows))
    assert table["image_id"].tolist() == ["ISIC_1", "ISIC_2"]
    assert table["age"].isna().tolist() == [False, True]
    assert table.loc[1, ["sex", "localization", "dx_type"]].tolist() == ["male", "unknown", "unknown"]


NAMES = HEADER.split(",")
ROWS = [
    ["HAM_2", "ISIC_3", "mel", "histo", "50.0", "male", "back"],
    ["HAM_2", "ISIC_1", "mel", "histo", "", "female", ""],
    ["HAM_1", "ISIC_2", "nv", "follow_up", "0.0", "unknown", "face"],
]
# Name of the table, names, rows, delimiter, quoting; Dataverse writes tabs, quotes around text and one column more.
LAYOUTS = {
    "Kaggle": ("HAM10000_metadata.csv", NAMES, ROWS, ",", csv.QUOTE_MINIMAL),
    "Dataverse": (
        "HAM10000_metadata.tab",
        [*NAMES, "dataset"],
        [[*row, "vidir_modern"] for row in ROWS],
        "\t",
        csv.QUOTE_ALL,
    ),
    "Dataverse, no ending": (
        "HAM10000_metadata",
        [*NAMES, "dataset"],
        [[*row, "rosendahl"] for row in ROWS],
        "\t",
        csv.QUOTE_ALL,
    ),
}


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS)
def layout(request, tmp_path):
    """A folder in each layout with the names and rows of its table; of the pictures, only the names are looked at."""
    name, names, rows, delimiter, quoting = request.param
    for at in (1, 2, 3):
        part = tmp_path / f"HAM10000_images_part_{1 + at % 2}"
        part.mkdir(exist_ok=True)
        (part / f"ISIC_{at}.jpg").write_bytes(b"")
    (tmp_path / name).write_bytes(write_table(names, rows, delimiter=delimiter, quoting=quoting))
    return tmp_path / name, names, rows


def test_the_layouts_of_kaggle_and_dataverse_read_the_same(layout):
    file, names, _ = layout
    data = read_data_folder(file.parent)
    assert find_metadata(file.parent) == file
    assert data.table["image_id"].tolist() == ["ISIC_1", "ISIC_2", "ISIC_3"]
    assert data.table["dx"].tolist() == ["mel", "nv", "mel"]
    assert data.table["localization"].tolist() == ["unknown", "face", "back"]
    assert [remark.code for remark in data.remarks] == ["age_missing", "age_zero"]
    assert ("dataset" in data.table) == ("dataset" in names)
    assert data.source == f"HAM10000, {'Harvard Dataverse' if 'dataset' in names else 'Kaggle'}'s layout"
    assert data.lesions_known


@pytest.mark.parametrize("change", [*SAME.values(), *WIDER.values()], ids=[*SAME, *WIDER])
def test_a_copy_in_another_form_reads_the_same(layout, change):
    file, names, rows = layout
    clean = read_data_folder(file.parent)
    file.write_bytes(change(names, rows))
    data = read_data_folder(file.parent)
    pd.testing.assert_frame_equal(data.table, clean.table)
    assert data.remarks == clean.remarks


@pytest.mark.parametrize(("change", "sentence"), REFUSED_TEXT.values(), ids=REFUSED_TEXT)
def test_a_copy_that_cannot_be_read_is_one_sentence(layout, change, sentence):
    file, names, rows = layout
    file.write_bytes(change(names, rows))
    with pytest.raises(DataError) as refusal:
        read_data_folder(file.parent)
    assert str(refusal.value).endswith(said(sentence, file.name, names, rows))


@pytest.mark.parametrize("column", NAMES)
def test_each_missing_column_is_named(layout, column):
    file, names, rows = layout
    at = names.index(column)
    file.write_bytes(write_table(names[:at] + names[at + 1 :], [row[:at] + row[at + 1 :] for row in rows]))
    with pytest.raises(DataError) as refusal:
        read_data_folder(file.parent)
    assert str(refusal.value).startswith(f"Missing columns in {file.name}: ['{column}']. It has: [")


def test_a_column_that_is_there_twice_is_refused(layout):
    file, names, rows = layout
    file.write_bytes(write_table([*names, "DX"], [[*row, "nv"] for row in rows]))
    with pytest.raises(DataError) as refusal:
        read_data_folder(file.parent)
    assert str(refusal.value) == f"{file.name} has columns twice: 'dx'."


def test_one_row_is_a_table(layout):
    file, names, rows = layout
    file.write_bytes(write_table(names, rows[:1]))
    assert read_data_folder(file.parent).table["image_id"].tolist() == ["ISIC_3"]


def test_pictures_may_lie_beside_the_table(layout):
    file, _, _ = layout
    clean = read_data_folder(file.parent)
    for part in file.parent.glob("HAM10000_images_part_*"):
        for picture in part.iterdir():
            picture.rename(file.parent / picture.name)
        part.rmdir()
    (file.parent / "notes.txt").write_text("")
    data = read_data_folder(file.parent)
    assert len(data.present) == 3
    assert data.remarks == clean.remarks


def test_archives_that_are_still_packed_are_named(layout):
    file, _, _ = layout
    for part in file.parent.glob("HAM10000_images_part_*"):
        shutil.rmtree(part)
        (file.parent / f"{part.name}.zip").write_bytes(b"PK")
    with pytest.raises(
        DataError, match=r"Unpack HAM10000_images_part_1\.zip, HAM10000_images_part_2\.zip there first\.$"
    ):
        read_data_folder(file.parent)


@pytest.mark.parametrize(
    ("row", "code", "remark", "pictures"),
    [
        (
            ["HAM_9", "ISIC_9", "melanoma", "", "", "", ""],
            "unknown_dx",
            "Unknown dx in HAM10000_metadata.csv: melanoma. Known are: "
            "['akiec', 'bcc', 'bkl', 'df', 'mel', 'nv', 'vasc']; 1 pictures left out.",
            3,
        ),
        (
            ["HAM_9", "ISIC_9", "", "", "", "", ""],
            "unknown_dx",
            "Unknown dx in HAM10000_metadata.csv: (empty). Known are: "
            "['akiec', 'bcc', 'bkl', 'df', 'mel', 'nv', 'vasc']; 1 pictures left out.",
            3,
        ),
        (
            ["HAM_9", "ISIC_1", "bcc", "", "", "", ""],
            "repeated",
            "Repeated image_id in HAM10000_metadata.csv: ISIC_1; only the first row of each is shown.",
            3,
        ),
        (
            ["HAM_2", "ISIC_9", "bcc", "", "", "", ""],
            "torn_lesions",
            "Lesions with more than one dx in HAM10000_metadata.csv: HAM_2; all shown.",
            4,
        ),
        (
            ["HAM_9", "ISIC_9", "bcc", "", "130", "", ""],
            "no_age",
            "Values that are no age in HAM10000_metadata.csv: 130; counted as unknown.",
            4,
        ),
    ],
)
def test_doubtful_rows_are_refused_for_training_and_told_otherwise(tmp_path, row, code, remark, pictures):
    (tmp_path / "ISIC_1.jpg").write_bytes(b"")
    (tmp_path / "HAM10000_metadata.csv").write_bytes(write_table(NAMES, [*ROWS, row]))
    with pytest.raises(DataError) as refusal:
        read_data_folder(tmp_path)
    assert remark.startswith(str(refusal.value).removesuffix("."))
    data = read_data_folder(tmp_path, for_training=False)
    assert {item.code: item.sentence for item in data.remarks}[code] == remark
    assert len(data.table) == pictures


def test_a_table_of_unknown_diagnoses_only_cannot_be_shown(tmp_path):
    (tmp_path / "HAM10000_metadata.csv").write_bytes(write_table(NAMES, [["HAM_9", "ISIC_9", "x", "", "", "", ""]]))
    with pytest.raises(DataError, match=r"^Unknown dx in HAM10000_metadata\.csv: x\. Known are"):
        read_data_folder(tmp_path, for_training=False)


def test_ages_of_zero_count_as_unknown_and_are_told(small_data, tmp_path):
    folder = shutil.copytree(small_data, tmp_path / "ham")
    path = folder / "HAM10000_metadata.csv"
    path.write_text(path.read_text().replace("ISIC_0000000,akiec,histo,20.0", "ISIC_0000000,akiec,histo,0.0"))
    data = read_data_folder(folder)
    remarks = {remark.code: remark.sentence for remark in data.remarks}
    assert "1 pictures have an age of 0: ISIC_0000000" in remarks["age_zero"]
    assert "1 pictures have no age: ISIC_0000003" in remarks["age_missing"]
    assert data.table.loc[0, "age_band"] == "unknown"


def test_absent_unlisted_and_foreign_files_are_told_and_the_rest_is_used(small_data, tmp_path):
    folder = shutil.copytree(small_data, tmp_path / "ham")
    part = folder / "HAM10000_images_part_1"
    shutil.copy(next(part.glob("*.jpg")), part / "ISIC_9999999.jpg")
    shutil.copy(part / "ISIC_0000000.jpg", folder / "HAM10000_images_part_2" / "ISIC_0000000.jpg")
    (part / "notes.txt").write_text("hello")
    data = read_data_folder(folder)
    remarks = {remark.code: remark.sentence for remark in data.remarks}
    assert remarks["picture_absent"].startswith("1 of the 84 listed pictures are absent: ISIC_0000005")
    assert "ISIC_9999999" in remarks["not_listed"]
    assert "notes.txt" in remarks["not_a_picture"]
    assert "ISIC_0000000 is there twice" in remarks["picture_twice"]
    assert len(data.table) == 84
    assert len(data.present) == 83


def test_a_missing_part_is_told_and_a_folder_without_pictures_is_refused(small_data, tmp_path):
    folder = shutil.copytree(small_data, tmp_path / "ham")
    shutil.rmtree(folder / "HAM10000_images_part_2")
    assert "folder_absent" in {remark.code for remark in read_data_folder(folder).remarks}
    shutil.rmtree(folder / "HAM10000_images_part_1")
    with pytest.raises(DataError, match="None of the 84 pictures"):
        read_data_folder(folder)


def test_the_data_folder_comes_from_the_option_or_the_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("SKINAI_DATA", raising=False)
    with pytest.raises(UsageError, match="--data DIR or set SKINAI_DATA"):
        find_data_folder(None)
    monkeypatch.setenv("SKINAI_DATA", str(tmp_path))
    assert find_data_folder(None) == tmp_path
    with pytest.raises(DataError, match="does not exist"):
        find_data_folder(str(tmp_path / "absent"))


def test_age_bands_begin_at_their_lower_edge():
    ages = pd.Series([0.0, 19.0, 20.0, 64.0, 65.0, 79.0, 80.0, 119.0])
    assert list(band_ages(ages)) == ["0-19", "0-19", "20-34", "50-64", "65-79", "65-79", "80+", "80+"]


@pytest.mark.data
def test_the_real_metadata_has_the_published_counts(real_data):
    table = read_data_folder(real_data).table
    assert len(table) == 10_015
    assert table["lesion_id"].nunique() == 7_470
    counts = {"akiec": 327, "bcc": 514, "bkl": 1_099, "df": 115, "mel": 1_113, "nv": 6_705, "vasc": 142}
    assert table["dx"].value_counts().to_dict() == counts


@pytest.mark.data
def test_the_real_copy_has_these_pictures_present(real_data):
    data = read_data_folder(real_data)
    counts = {"nv": 5431, "mel": 936, "bkl": 928, "bcc": 444, "akiec": 315, "vasc": 141, "df": 112}
    assert data.present["dx"].value_counts().to_dict() == counts
    assert data.source == "HAM10000, Kaggle's layout"
