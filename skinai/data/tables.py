"""Read text tables as people really have them: commas, semicolons or tabs, a byte order mark, headers in any case."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from skinai.errors import DataError

_DELIMITERS = (",", ";", "\t")
_ENCODINGS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_LONGEST_HEADER = 1_000_000  # bytes
_LONGEST_VALUE = 100  # characters of a value in a sentence


def read_text_table(
    file: Path,
    *,
    columns: Iterable[str],
    filled: Iterable[str],
    also: Iterable[str] = (),
    spellings: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Read a table separated by commas, semicolons or tabs as text, without blanks around names and values.

    Parameters
    ----------
    file : Path
        UTF-8 with or without a byte order mark, or UTF-16 with one; any line ends; fields may be quoted.
    columns : iterable of str
        Columns that it needs, in any order and any case; other columns stay, under their own names, unless they have
        none.
    filled : iterable of str
        Columns that have a value in every row.
    also : iterable of str
        Columns that it may have, found in any case like `columns`.
    spellings : mapping of str to sequence of str, optional
        Other names of a column, best first: where a column is absent, the first of them takes its place and name.

    Returns
    -------
    DataFrame
        Of str; an empty field is ``""``. Rows without any value are left out.

    Raises
    ------
    DataError
        If the table is missing, unreadable, torn or empty, or lacks a column or value, or has a column twice.
    """
    file, columns, spellings = Path(file), list(columns), spellings or {}
    wanted = [*columns, *also]
    rows = _read_rows(file, [*wanted, *(name for names in spellings.values() for name in names)])
    header = _name_columns(file, rows[0][1], wanted, spellings)
    missing = [column for column in columns if column not in header]
    if missing:
        own = listed((repr(name) for name in header), at_most=40)
        raise DataError(f"Missing columns in {file.name}: {missing}. It has: [{own}].")
    for number, row in rows[1:]:
        if len(row) != len(header):
            raise torn_row(file, number, len(row), len(header))
    if len(rows) == 1:
        raise no_rows(file)
    table = pd.DataFrame([row for _, row in rows[1:]], columns=header, dtype=str)
    table = table.loc[:, [name for name in header if name]]
    for column in filled:
        empty = np.flatnonzero(table[column] == "")
        if len(empty):
            raise DataError(f"{file.name} has no {column} in the rows {listed(rows[at + 1][0] for at in empty)}.")
    return table


def read_text(file: Path) -> str:
    """Return a text file without its byte order mark; line ends stay as they are.

    Raises
    ------
    DataError
        If it is missing or empty, cannot be opened, or is neither UTF-8 nor, with a byte order mark, UTF-16.
    """
    try:
        content = Path(file).read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{file.name} is missing in {file.parent}.") from error
    except OSError as error:
        raise DataError(f"{file} could not be opened ({error.strerror or 'unknown reason'}).") from error
    encoding = _find_encoding(content)
    if encoding != "utf-16" and b"\0" in content:
        raise no_table(file, "it has NUL bytes; save it as UTF-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        kind = "UTF-16" if encoding == "utf-16" else "UTF-8"
        raise no_table(file, f"it has bytes that are no {kind}; save it as UTF-8") from error
    if "\0" in text:
        raise no_table(file, "it has NUL characters; save it as UTF-8")
    if not text.strip():
        raise no_table(file, "it is empty")
    return text


def refuse_torn_rows(file: Path, text: str | None = None) -> None:
    """Refuse a comma-separated table with a row that has more or fewer values than the header has names.

    Pandas takes the first of too many values for an index, so that each value gets another column's name, and fills
    up too few.

    Parameters
    ----------
    text : str, optional
        What the file holds, if it has been read already or is packed.

    Raises
    ------
    DataError
        If there is one.
    """
    rows = csv.reader(io.StringIO(read_text(file) if text is None else text, newline=""))
    names = 0
    try:
        for number, row in enumerate(rows, 1):
            if not row or not any(value.strip() for value in row):
                continue
            names = names or len(row)
            if len(row) != names:
                raise torn_row(file, number, len(row), names)
    except csv.Error as error:
        raise no_table(file, str(error)) from error


def read_header(file: Path) -> list[str]:
    """Return the names in a table's first line, in lower case; none where that cannot be read.

    For telling tables apart by their header alone, whatever their size.
    """
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(_LONGEST_HEADER)
    except OSError:
        return []
    line = _first_line(content.decode(_find_encoding(content), errors="replace"))
    return split_header(line, max(_DELIMITERS, key=line.count))


def split_header(line: str, delimiter: str) -> list[str]:
    """Return the names in a header, in lower case, with underscores for blanks inside and without quotes.

    >>> split_header('"Image ID";dx ', ";")
    ['image_id', 'dx']
    """
    return [_plain(name.strip().strip('"')) for name in line.split(delimiter)]


def find_delimiter(header: str, columns: Iterable[str]) -> str:
    """Return what separates a header's names: what finds most of the columns, commas before others."""
    wanted = {_plain(column) for column in columns}
    return max(_DELIMITERS, key=lambda delimiter: len(wanted & set(split_header(header, delimiter))))


def listed(values: Iterable[object], *, at_most: int = 8) -> str:
    """Return the values as a short list for an error sentence.

    >>> listed(["a", "b", "c"], at_most=2)
    'a, b and 1 more'
    """
    texts = [str(value) for value in values]
    more = len(texts) - at_most
    shown = [text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..." for text in texts[:at_most]]
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def no_table(file: Path, reason: str) -> DataError:
    """Return the error of a file that cannot be read as a table."""
    return DataError(f"{file.name} is not a comma-separated UTF-8 table: {reason}.")


def no_rows(file: Path) -> DataError:
    """Return the error of a table that is a header only."""
    return DataError(f"{file.name} has no rows.")


def torn_row(file: Path, number: int, values: int, names: int) -> DataError:
    """Return the error of a row that has another number of values than the header has names."""
    return DataError(f"Row {number} of {file.name} has {values:,} values and its header {names:,} names.")


def _find_encoding(content: bytes) -> str:
    return next((name for mark, name in _ENCODINGS.items() if content.startswith(mark)), "utf-8")


def _first_line(text: str) -> str:
    return next((line for line in io.StringIO(text, newline=None) if line.strip()), "").rstrip("\n")


def _read_rows(file: Path, columns: list[str]) -> list[tuple[int, list[str]]]:
    """Return the rows that hold something, numbered as in a spreadsheet; the first is the header."""
    text = read_text(file)
    delimiter = find_delimiter(_first_line(text), columns)
    rows = []
    number = 0
    try:
        for number, row in enumerate(
            csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), start=1
        ):
            rows.append((number, [value.strip() for value in row]))
    except csv.Error as error:
        raise no_table(file, f"row {number + 1} cannot be read ({error})") from error
    rows = [(number, row) for number, row in rows if any(row)]
    if not rows:
        raise no_table(file, "it is empty")
    return rows


def _name_columns(
    file: Path, header: list[str], columns: list[str], spellings: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return the header with the columns that are looked for under their own names."""
    own = {_plain(column): column for column in columns}
    named = [own.get(_plain(name), name) for name in header]
    for column, names in spellings.items():
        plain = [_plain(name) for name in named]
        there = [plain.index(name) for name in names if name in plain]
        if column not in named and there:
            named[there[0]] = column
    repeated = sorted(name for name, count in Counter(named).items() if name and count > 1)
    if repeated:
        raise DataError(f"{file.name} has columns twice: {listed(repr(name) for name in repeated)}.")
    return named


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")
