"""Tables are read as people have them, and what cannot be read is one sentence; other tests take their copies here."""

import csv
import errno
import io
import os
from pathlib import Path

import pandas as pd
import pytest

from skinai.data.tables import find_delimiter, listed, read_header, read_text, read_text_table
from skinai.errors import DataError


def write(names, rows, *, delimiter=",", end="\n", encoding="utf-8", quoting=csv.QUOTE_MINIMAL):
    """Return the bytes of a table."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows([names, *rows])
    return buffer.getvalue().encode(encoding)


def widen(names, rows, value):
    """Return the table with one more column, whose first value is given."""
    return [*names, "note"], [[*row, value if at == 0 else ""] for at, row in enumerate(rows)]


def reorder(names, rows):
    return names[::-1], [row[::-1] for row in rows]


def pad(names, rows):
    return [f" {name}  " for name in names], [[f"  {value} " for value in row] for row in rows]


# Copies of a table (names, rows) that read like the clean one.
SAME = {
    "reordered columns": lambda names, rows: write(*reorder(names, rows)),
    "UTF-16, little end first": lambda names, rows: b"\xff\xfe" + write(names, rows, encoding="utf-16-le"),
    "UTF-16, big end first": lambda names, rows: b"\xfe\xff" + write(names, rows, encoding="utf-16-be"),
    "UTF-8 with a byte order mark": lambda names, rows: write(names, rows, encoding="utf-8-sig"),
    "CRLF": lambda names, rows: write(names, rows, end="\r\n"),
    "CR": lambda names, rows: write(names, rows, end="\r"),
    "semicolons": lambda names, rows: write(names, rows, delimiter=";"),
    "semicolons and UTF-16": lambda names, rows: write(names, rows, delimiter=";", encoding="utf-16"),
    "tabs": lambda names, rows: write(names, rows, delimiter="\t"),
    "commas": lambda names, rows: write(names, rows),
    "everything quoted": lambda names, rows: write(names, rows, quoting=csv.QUOTE_ALL),
    "upper-case headers": lambda names, rows: write([name.upper() for name in names], rows),
    "mixed-case headers": lambda names, rows: write([name.title() for name in names], rows),
    "trailing spaces": lambda names, rows: write(*pad(names, rows)),
    "blank lines": lambda names, rows: b"\n\n" + write(names, rows, end="\n\n") + b" \n",
    "no line end at the end": lambda names, rows: write(names, rows).rstrip(b"\n"),
}
# Copies with a column more, which are the same to a reader of text.
WIDER = {
    "extra column": lambda names, rows: write(*widen(names, rows, "seen")),
    "quoted newlines": lambda names, rows: write(*widen(names, rows, "seen\r\non\nMonday")),
    "quoted delimiters": lambda names, rows: write(*widen(names, rows, 'seen, "twice"; at\tleast')),
    "a column without a name": lambda names, rows: write(["", *names], [["1", *row] for row in rows]),
}
# Copies that cannot be read, with what is said about the file.
REFUSED = {
    "Latin-1": (
        lambda names, rows: write(*widen(names, rows, "n\xe6vus"), encoding="latin-1"),
        " is not a comma-separated UTF-8 table: it has bytes that are no UTF-8; save it as UTF-8.",
    ),
    "half of UTF-16": (
        lambda names, rows: write(names, rows, encoding="utf-16")[:-1],
        " is not a comma-separated UTF-8 table: it has bytes that are no UTF-16; save it as UTF-8.",
    ),
    "UTF-16 without a mark": (
        lambda names, rows: write(names, rows, encoding="utf-16-le"),
        " is not a comma-separated UTF-8 table: it has NUL bytes; save it as UTF-8.",
    ),
    "NUL bytes": (
        lambda names, rows: write(*widen(names, rows, "se\0en")),
        " is not a comma-separated UTF-8 table: it has NUL bytes; save it as UTF-8.",
    ),
    "empty": (lambda names, rows: b"", " is not a comma-separated UTF-8 table: it is empty."),
    "blank": (lambda names, rows: b"\xef\xbb\xbf \r\n\n", " is not a comma-separated UTF-8 table: it is empty."),
    "header only": (lambda names, rows: write(names, []), " has no rows."),
}
# Copies that a reader of text refuses, with what is said; `{width}` is the number of columns.
REFUSED_TEXT = {
    **REFUSED,
    "huge field": (
        lambda names, rows: write(*widen(names, rows, "x" * 140_000)),
        " is not a comma-separated UTF-8 table: row 2 cannot be read (field larger than field limit (131072)).",
    ),
    "torn row": (
        lambda names, rows: write(names, [rows[0], rows[1][:-1], *rows[2:]]),
        "Row 3 of {file} has {less} values and its header {width} names.",
    ),
    "a value too many": (
        lambda names, rows: write(names, [[*rows[0], "more"], *rows[1:]]),
        "Row 2 of {file} has {more} values and its header {width} names.",
    ),
    "open quote": (
        lambda names, rows: write(names, rows) + b'"open',
        " is not a comma-separated UTF-8 table: row {last} cannot be read (unexpected end of data).",
    ),
    "only commas below the header": (lambda names, rows: write(names, [[""] * len(names)]), " has no rows."),
}


def said(sentence, file, names, rows):
    """Return a sentence of `REFUSED_TEXT` for a table."""
    width = len(names)
    return sentence.format(file=file, width=width, less=width - 1, more=width + 1, last=len(rows) + 2)


NAMES = ["image_id", "dx", "age"]
ROWS = [["ISIC_1", "mel", "50.0"], ["ISIC_2", "nv", ""], ["ISIC_3", "n\u00e6vus, blue", "30"]]
CLEAN = pd.DataFrame(ROWS, columns=NAMES, dtype=str)


def read(tmp_path, content, **options):
    file = tmp_path / "table.csv"
    file.write_bytes(content)
    return read_text_table(file, columns=NAMES, filled=("image_id",), **options)


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_a_copy_in_another_form_reads_the_same(tmp_path, change):
    pd.testing.assert_frame_equal(read(tmp_path, change(NAMES, ROWS))[NAMES], CLEAN)


@pytest.mark.parametrize("change", WIDER.values(), ids=WIDER)
def test_further_columns_stay_unless_they_have_no_name(tmp_path, change):
    table = read(tmp_path, change(NAMES, ROWS))
    pd.testing.assert_frame_equal(table[NAMES], CLEAN)
    assert list(table.columns) in ([*NAMES, "note"], NAMES)


@pytest.mark.parametrize(("change", "sentence"), REFUSED_TEXT.values(), ids=REFUSED_TEXT)
def test_a_copy_that_cannot_be_read_is_one_sentence(tmp_path, change, sentence):
    with pytest.raises(DataError) as refusal:
        read(tmp_path, change(NAMES, ROWS))
    assert str(refusal.value).endswith(said(sentence, "table.csv", NAMES, ROWS))
    assert "table.csv" in str(refusal.value)


def test_missing_columns_are_listed_with_those_that_are_there(tmp_path):
    with pytest.raises(DataError) as refusal:
        read(tmp_path, b"image_id,diagnosis\nISIC_1,mel\n")
    assert str(refusal.value) == ("Missing columns in table.csv: ['dx', 'age']. It has: ['image_id', 'diagnosis'].")
    wide = ",".join(f"pixel{number:04d}" for number in range(2352)).encode()
    with pytest.raises(DataError) as refusal:
        read(tmp_path, wide + b"\n")
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("header", [b"image_id,dx,age,dx", b"image_id,dx,age,DX ", b"image_id,dx,age,note,note"])
def test_a_column_that_is_there_twice_is_refused(tmp_path, header):
    with pytest.raises(DataError, match=r"^table\.csv has columns twice: '(dx|note)'\.$"):
        read(tmp_path, header + b"\n" + b",".join([b"1"] * (header.count(b",") + 1)) + b"\n")


def test_a_missing_value_is_named_by_its_row_in_a_spreadsheet(tmp_path):
    """A blank line is a row there; a line end inside a field is none."""
    text = 'image_id,dx,age,note\nISIC_1,mel,,"two\nlines"\n\n,nv,,\nISIC_3,nv,,\n ,nv,,\n'
    with pytest.raises(DataError) as refusal:
        read(tmp_path, text.encode())
    assert str(refusal.value) == "table.csv has no image_id in the rows 4, 6."


def test_one_row_is_a_table(tmp_path):
    pd.testing.assert_frame_equal(read(tmp_path, write(NAMES, ROWS[:1])), CLEAN[:1])


def test_another_spelling_takes_the_place_of_an_absent_column(tmp_path):
    spellings = {"dx": ("group", "condition")}
    both = read(tmp_path, b"image_id,age,Condition,GROUP\n1,2,3,4\n", spellings=spellings)
    assert both.loc[0].to_dict() == {"image_id": "1", "age": "2", "Condition": "3", "dx": "4"}
    own = read(tmp_path, b"image_id;age;dx;group\n1;2;3;4\n", spellings=spellings)
    assert own.loc[0].to_dict() == {"image_id": "1", "age": "2", "dx": "3", "group": "4"}


def test_a_file_that_is_not_there_or_no_file_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"^absent\.csv is missing in "):
        read_text(tmp_path / "absent.csv")
    with pytest.raises(DataError, match=r"could not be opened \(Is a directory\)\.$"):
        read_text(tmp_path)


def test_a_file_that_may_not_be_read_is_a_sentence(tmp_path, monkeypatch):
    """Root may read every file, so the refusal is put in its mouth."""

    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    (tmp_path / "table.csv").write_text("a")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"could not be opened \(Permission denied\)\.$"):
        read_text(tmp_path / "table.csv")


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_a_table_is_known_by_its_header_in_any_form(tmp_path, change):
    (tmp_path / "table.csv").write_bytes(change(NAMES, ROWS))
    assert sorted(read_header(tmp_path / "table.csv")) == sorted(NAMES)


def test_what_has_no_header_has_no_names(tmp_path):
    (tmp_path / "table.csv").write_bytes(b"\x00\xff\xfe\x89PNG")
    assert read_header(tmp_path) == read_header(tmp_path / "absent.csv") == []
    assert "image_id" not in read_header(tmp_path / "table.csv")


def test_what_finds_most_columns_separates_them():
    assert find_delimiter("image_id;dx,dy;age", NAMES) == ";"
    assert find_delimiter("image_id", NAMES) == ","


def test_long_values_are_cut_in_sentences():
    assert listed(["x" * 500, "y"]) == "x" * 100 + "..., y"
