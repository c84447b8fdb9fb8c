"""Everything odd about a data folder is said in one sentence with the offending values."""

import shutil

import pandas as pd
import pytest

from skinai.data.metadata import band_ages, find_data_folder, read_data_folder, read_metadata
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
        ([HEADER.replace(",", ";"), ROW.replace(",", ";")], "Missing columns"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused(tmp_path, lines, sentence):
    with pytest.raises(DataError, match=sentence):
        read_metadata(write(tmp_path, *lines))


def test_utf_16_is_refused_and_a_byte_order_mark_is_not(tmp_path):
    with pytest.raises(DataError, match="not a comma-separated UTF-8 table"):
        read_metadata(write(tmp_path, HEADER, ROW, encoding="utf-16"))
    assert len(read_metadata(write(tmp_path, HEADER, ROW, encoding="utf-8-sig"))) == 1


def test_windows_line_ends_extra_columns_and_unknown_ages_are_read(tmp_path):
    rows = [HEADER + ",dataset\r", ROW + ",vidir\r", "HAM_2,ISIC_2,nv,,unknown,Male,,rosendahl\r"]
    table = read_metadata(write(tmp_path, *rows))
    assert table["image_id"].tolist() == ["ISIC_1", "ISIC_2"]
    assert table["age"].isna().tolist() == [False, True]
    assert table.loc[1, ["sex", "localization", "dx_type"]].tolist() == ["male", "unknown", "unknown"]


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
