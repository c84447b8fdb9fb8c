"""Read HAM10000's metadata in Kaggle's layout and say, in sentences, everything that is odd about a copy.

Source: Tschandl, Rosendahl, Kittler: The HAM10000 dataset. Sci Data 5, 180161 (2018), doi:10.7910/DVN/DBW86T.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from skinai.artefacts import hash_file
from skinai.data.images import SUFFIXES
from skinai.errors import DataError, UsageError
from skinai.labels import HAM10000, LabelSet

METADATA_FILE = "HAM10000_metadata.csv"
PICTURE_FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
AGE_BANDS = ("0-19", "20-34", "35-49", "50-64", "65-79", "80+", "unknown")
_AGE_EDGES = (0, 20, 35, 50, 65, 80, 200)


@dataclass(frozen=True)
class Remark:
    """Something odd that was found in a data folder, and what was done about it."""

    code: str
    sentence: str


@dataclass(frozen=True)
class DataFolder:
    """A HAM10000 folder after reading.

    Attributes
    ----------
    path : Path
    table : DataFrame
        One row a picture, sorted by `image_id`: HAM10000's seven columns, `age` in years with NaN where unknown,
        `age_band`, and `path` (None where the picture is absent).
    remarks : tuple of Remark
    metadata_hash : str
        SHA-256 of the metadata file.
    """

    path: Path
    table: pd.DataFrame
    remarks: tuple[Remark, ...]
    metadata_hash: str
    labels: LabelSet = field(default=HAM10000)

    @property
    def present(self) -> pd.DataFrame:
        """The rows whose picture is there."""
        return self.table[self.table["path"].notna()]


def find_data_folder(given: str | None) -> Path:
    """Return the data folder named by ``--data`` or by the variable ``SKINAI_DATA``.

    Raises
    ------
    UsageError
        If neither is set.
    DataError
        If the folder does not exist.
    """
    name = given or os.environ.get("SKINAI_DATA")
    if not name:
        raise UsageError("No data folder: give --data DIR or set SKINAI_DATA.")
    folder = Path(name)
    if not folder.is_dir():
        raise DataError(f"The data folder {name!r} does not exist.")
    return folder


def read_data_folder(path: Path) -> DataFolder:
    """Read and check a folder in Kaggle's layout.

    Raises
    ------
    DataError
        For a missing or unreadable table, missing columns, an unknown `dx`, a repeated `image_id`, a lesion with two
        diagnoses, an age that is no age, or a folder without a single listed picture.
    """
    file = Path(path) / METADATA_FILE
    table = read_metadata(file)
    remarks = list(_clean_ages(table))
    remarks += _attach_pictures(table, Path(path))
    table["age_band"] = band_ages(table["age"])
    if table["path"].isna().all():
        raise DataError(f"None of the {len(table):,} pictures listed in {METADATA_FILE} was found in {Path(path)}.")
    return DataFolder(Path(path), table, tuple(remarks), hash_file(file))


def read_metadata(file: Path, labels: LabelSet = HAM10000) -> pd.DataFrame:
    """Read the metadata table, checked and sorted by `image_id`.

    Returns
    -------
    DataFrame
        The seven columns of HAM10000; `sex`, `localization` and `dx_type` in lower case, ``"unknown"`` where empty.

    Raises
    ------
    DataError
        See :func:`read_data_folder`.
    """
    table = read_text_table(file, columns=COLUMNS, filled=("image_id", "lesion_id")).loc[:, list(COLUMNS)]
    unknown = sorted(set(table["dx"]) - set(labels.codes))
    if unknown:
        raise DataError(f"Unknown dx in {file.name}: {listed(unknown)}. Known are: {list(labels.codes)}.")
    repeated = sorted(table.loc[table["image_id"].duplicated(), "image_id"].unique())
    if repeated:
        raise DataError(f"Repeated image_id in {file.name}: {listed(repeated)}.")
    diagnoses = table.groupby("lesion_id")["dx"].nunique()
    torn = sorted(diagnoses.index[diagnoses > 1])
    if torn:
        raise DataError(f"Lesions with more than one dx in {file.name}: {listed(torn)}.")
    ages = pd.to_numeric(table["age"].replace("", "nan"), errors="coerce")
    wrong = table.loc[
        (ages.isna() & ~table["age"].str.lower().isin(["", "nan", "unknown"])) | (ages < 0) | (ages > 120), "age"
    ]
    if len(wrong):
        raise DataError(f"Values that are no age in {file.name}: {listed(sorted(wrong.unique()))}.")
    table["age"] = ages
    for column in ("sex", "localization", "dx_type"):
        table[column] = table[column].str.lower().replace("", "unknown")
    return table.sort_values("image_id", ignore_index=True)


def read_text_table(file: Path, *, columns: Iterable[str], filled: Iterable[str]) -> pd.DataFrame:
    """Read a comma-separated table as text, without blanks around names and values.

    Parameters
    ----------
    file : Path
    columns : iterable of str
        Columns that it needs.
    filled : iterable of str
        Columns that have a value in every row.

    Raises
    ------
    DataError
        If the table is missing, unreadable or empty, or lacks a column or value.
    """
    try:
        table = pd.read_csv(file, encoding="utf-8-sig", dtype=str, keep_default_na=False, index_col=False)
    except FileNotFoundError as error:
        raise DataError(f"{file.name} is missing in {file.parent}.") from error
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{file.name} is not a comma-separated UTF-8 table.") from error
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"Missing columns in {file.name}: {missing}. It has: {list(table.columns)}.")
    table = table.apply(lambda column: column.str.strip())
    if table.empty:
        raise DataError(f"{file.name} has no rows.")
    for column in filled:
        empty = np.flatnonzero(table[column] == "")
        if len(empty):
            raise DataError(f"{file.name} has no {column} in the rows {listed((empty + 2).tolist())}.")
    return table


def band_ages(age_years: pd.Series) -> pd.Series:
    """Return the age band of each age in years; NaN gives ``"unknown"``.

    >>> list(band_ages(pd.Series([5.0, 80.0, float("nan")])))
    ['0-19', '80+', 'unknown']
    """
    bands = pd.cut(age_years, _AGE_EDGES, right=False, labels=list(AGE_BANDS[:-1]))
    return bands.astype(object).where(bands.notna(), "unknown").astype(str)


def listed(values: Iterable[object], *, at_most: int = 8) -> str:
    """Return the values as a short list for an error sentence.

    >>> listed(["a", "b", "c"], at_most=2)
    'a, b and 1 more'
    """
    texts = [str(value) for value in values]
    more = len(texts) - at_most
    return ", ".join(texts[:at_most]) + (f" and {more} more" if more > 0 else "")


def _clean_ages(table: pd.DataFrame) -> Iterable[Remark]:
    """Turn ages of 0 into missing ones, in place, and tell."""
    missing = table.loc[table["age"].isna(), "image_id"]
    zero = table.loc[table["age"] == 0, "image_id"]
    table.loc[table["age"] == 0, "age"] = np.nan
    if len(missing):
        yield Remark("age_missing", f"{len(missing)} pictures have no age: {listed(missing)}; kept as unknown.")
    if len(zero):
        yield Remark("age_zero", f"{len(zero)} pictures have an age of 0: {listed(zero)}; counted as unknown.")


def _attach_pictures(table: pd.DataFrame, folder: Path) -> list[Remark]:
    """Add the column `path`, in place, and tell what is absent or not listed."""
    found: dict[str, Path] = {}
    remarks = []
    for part in PICTURE_FOLDERS:
        if not (folder / part).is_dir():
            remarks.append(Remark("folder_absent", f"The folder {part} is absent."))
            continue
        for file in sorted((folder / part).iterdir()):
            if file.suffix.lower() not in SUFFIXES:
                remarks.append(Remark("not_a_picture", f"{part}/{file.name} is not a .jpg or .png file; left out."))
            elif file.stem in found:
                remarks.append(Remark("picture_twice", f"{file.stem} is there twice; {part}/{file.name} left out."))
            else:
                found[file.stem] = file
    table["path"] = pd.Series([found.get(image_id) for image_id in table["image_id"]], dtype=object)
    absent = table.loc[table["path"].isna(), "image_id"]
    if len(absent):
        remarks.append(
            Remark(
                "picture_absent",
                f"{len(absent):,} of the {len(table):,} listed pictures are absent: {listed(absent)}; "
                f"going on with the {len(table) - len(absent):,} present.",
            )
        )
    unlisted = sorted(set(found) - set(table["image_id"]))
    if unlisted:
        remarks.append(
            Remark(
                "not_listed",
                f"{len(unlisted)} pictures are not listed in {METADATA_FILE}: {listed(unlisted)}; left out.",
            )
        )
    return remarks
