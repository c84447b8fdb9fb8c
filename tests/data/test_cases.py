"""What is known of the test pictures is read as it was written, whatever the classes are called."""

import pandas as pd
import pytest

from skinai.artefacts import read_gzip, write_gzip
from skinai.data.cases import COLUMNS, read_cases, write_cases
from skinai.errors import DataError


@pytest.fixture
def table():
    nearest = ["00012", "None", 0.9, "00013", "1", 0.8, None, None, None]
    return pd.DataFrame([["a", 0.5, 0.0, *nearest], ["b", 0.4, 0.1, *nearest]], columns=list(COLUMNS))


def test_cases_are_read_back_with_odd_names_of_classes_and_pictures(table, tmp_path):
    write_cases(table, tmp_path)
    found = read_cases(tmp_path).loc["a"]
    assert (found["nearest_1_image"], found["nearest_1_truth"], found["nearest_2_truth"]) == ("00012", "None", "1")
    assert not isinstance(found["nearest_3_image"], str)
    assert read_cases(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda table: table.assign(sharpness=[0.5, None]), "has a quality that is no number"),
        (lambda table: table.assign(sharpness=["sharp", "blurred"]), "has a quality that is no number"),
        (lambda table: table.assign(image="a"), "names a picture twice"),
    ],
)
def test_damaged_cases_are_a_sentence(table, tmp_path, change, sentence):
    write_cases(change(table), tmp_path)
    with pytest.raises(DataError, match=sentence):
        read_cases(tmp_path)


def test_a_row_with_a_value_too_many_or_too_few_is_a_sentence(table, tmp_path):
    write_cases(table, tmp_path)
    header, first, *rest = read_gzip(tmp_path / "cases_test.csv.gz").decode().splitlines()
    for torn in (f"{first},1", first.rpartition(",")[0]):
        write_gzip(tmp_path / "cases_test.csv.gz", "\n".join([header, torn, *rest]).encode())
        with pytest.raises(DataError, match=r"Row 2 of cases_test\.csv\.gz has \d+ values and its header 12 names"):
            read_cases(tmp_path)


def test_a_table_of_something_else_is_a_sentence(tmp_path):
    write_gzip(tmp_path / "cases_test.csv.gz", b"a,b\n1,2\n")
    with pytest.raises(DataError, match="Missing columns in"):
        read_cases(tmp_path)
    (tmp_path / "cases_test.csv.gz").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is damaged"):
        read_cases(tmp_path)
