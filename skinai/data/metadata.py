"""Read HAM10000 in the layout of Kaggle or of Harvard's Dataverse and say, in sentences, all that is odd about a copy.

Source: Tschandl, Rosendahl, Kittler: The HAM10000 dataset. Sci Data 5, 180161 (2018), doi:10.7910/DVN/DBW86T.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from skinai.artefacts import hash_file
from skinai.data.images import SUFFIXES, Mark
from skinai.data.tables import listed, read_text_table
from skinai.errors import DataError, UsageError
from skinai.labels import HAM10000, LabelSet

METADATA_FILE = "HAM10000_metadata.csv"
# Kaggle's name, and what Harvard's Dataverse hands out for the same table.
METADATA_FILES = (METADATA_FILE, "HAM10000_metadata.tab", "HAM10000_metadata")
PICTURE_FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
AGE_BANDS = ("0-19", "20-34", "35-49", "50-64", "65-79", "80+", "unknown")
_AGE_EDGES = (0, 20, 35, 50, 65, 80, 200)


@dataclass(frozen=True)
class Remark:
    """Something odd that was found in a data folder, and what was done about it."""

    code: str
    sentence: str
    count: int = 1


@dataclass(frozen=True)
class DataFolder:
    """A folder of pictures, or a table of them, after reading.

    Attributes
    ----------
    path : Path
    table : DataFrame
        One row a picture, sorted by `image_id`: HAM10000's seven columns, `age` in years with NaN where unknown,
        `age_band`, and `path` (None where the picture is absent).
    remarks : tuple of Remark
    metadata_hash : str
        SHA-256 of the metadata file.
    labels : LabelSet
    lesions_known : bool
        Whether `lesion_id` says which pictures show the same lesion; else it repeats `image_id`.
    pixels : ndarray of shape (n, side, side, 3), uint8, or None
        The pictures in the order of `table`, where a table of pixels holds them.
    source : str
        What kind of data set it was recognised as, for people.
    mark : tuple of four float, or None
        Where every picture carries its owner's mark, see :func:`skinai.data.images.check_mark`.
    """

    path: Path
    table: pd.DataFrame
    remarks: tuple[Remark, ...]
    metadata_hash: str
    labels: LabelSet = field(default=HAM10000)
    lesions_known: bool = True
    pixels: np.ndarray | None = None
    source: str = ""
    mark: Mark | None = None

    @property
    def is_ham10000(self) -> bool:
        """Whether these are HAM10000's own pictures, and not others with the same seven diagnoses."""
        return self.labels is HAM10000 and self.source.startswith("HAM10000")

    @property
    def present(self) -> pd.DataFrame:
        """The rows whose picture is there: all of them, without a `path`, where `pixels` holds the pictures."""
        return self.table if self.pixels is not None else self.table[self.table["path"].notna()]


class Findings:
    """What a reader finds odd: always told and, where it would spoil a training, refused before one.

    Attributes
    ----------
    for_training : bool
        False for data that are only looked at.
    remarks : list of Remark
    """

    def __init__(self, *, for_training: bool = True) -> None:
        self.for_training = for_training
        self.remarks: list[Remark] = []

    def tell(self, code: str, sentence: str, *, count: int = 1) -> None:
        """Add a remark, about so many things."""
        self.remarks.append(Remark(code, sentence, count))

    def doubt(self, code: str, sentence: str, *, shown: str, advice: str = "", count: int = 1) -> None:
        """Refuse the data before a training; where they are only looked at, add a remark.

        Parameters
        ----------
        code : str
        sentence : str
            What is wrong.
        shown : str
            What is done about it where the data are only looked at; ends the sentence.
        advice : str
            What would do for a training; follows the sentence.
        count : int
            How many things it is about.

        Raises
        ------
        DataError
            With the sentence and the advice, before a training.
        """
        if self.for_training:
            raise DataError(f"{sentence} {advice}".strip())
        self.tell(code, f"{sentence.removesuffix('.')}; {shown}.", count=count)


def find_data_folder(given: str | None) -> Path:
    """Return the data folder, or table of pixels, named by ``--data`` or by the variable ``SKINAI_DATA``.

    Raises
    ------
    UsageError
        If neither is set.
    DataError
        If it does not exist.
    """
    name = given or os.environ.get("SKINAI_DATA")
    if not name:
        raise UsageError("No data folder: give --data DIR or set SKINAI_DATA.")
    if not Path(name).exists():
        raise DataError(f"The data folder {name!r} does not exist.")
    return Path(name)


def find_metadata(folder: Path) -> Path | None:
    """Return HAM10000's metadata table in a folder, under the first of its usual names; None where there is none."""
    return next((Path(folder) / name for name in METADATA_FILES if (Path(folder) / name).is_file()), None)


def read_data_folder(path: Path, *, file: Path | None = None, for_training: bool = True) -> DataFolder:
    """Read and check a folder in the layout of Kaggle or of Harvard's Dataverse.

    Parameters
    ----------
    path : Path
    file : Path, optional
        The metadata table; default: the first of its usual names in `path`.
    for_training : bool
        False for looking at the data: then an unknown `dx`, a repeated `image_id`, a lesion with two diagnoses and an
        age that is no age are remarks.

    Raises
    ------
    DataError
        For a missing or unreadable table, missing columns, an unknown `dx`, a repeated `image_id`, a lesion with two
        diagnoses, an age that is no age, or a folder without a single listed picture.
    """
    path, found = Path(path), Findings(for_training=for_training)
    file = file or find_metadata(path) or path / METADATA_FILE
    table = _check_metadata(read_raw_metadata(file), file.name, HAM10000, found)
    clean_ages(table, found)
    _attach_pictures(table, path, file.name, found)
    table["age_band"] = band_ages(table["age"])
    if table["path"].isna().all():
        packed = sorted(item.name for item in path.glob("HAM10000_images*.zip"))
        hint = f" Unpack {listed(packed)} there first." if packed else ""
        raise DataError(f"None of the {len(table):,} pictures listed in {file.name} was found in {path}.{hint}")
    kaggle = file.name == METADATA_FILE and "dataset" not in table
    source = "HAM10000, Kaggle's layout" if kaggle else "HAM10000, Harvard Dataverse's layout"
    return DataFolder(path, table, tuple(found.remarks), hash_file(file), source=source)


def read_metadata(file: Path, labels: LabelSet = HAM10000) -> pd.DataFrame:
    """Read the metadata table, checked and sorted by `image_id`.

    Returns
    -------
    DataFrame
        The seven columns of HAM10000 and, where the table has it, `dataset`; `sex`, `localization` and `dx_type` in
        lower case, ``"unknown"`` where empty.

    Raises
    ------
    DataError
        See :func:`read_data_folder`.
    """
    return _check_metadata(read_raw_metadata(file), file.name, labels, Findings())


def read_raw_metadata(file: Path) -> pd.DataFrame:
    """Read the metadata table as it is: in its own order, no check of what it says, and `age` as text.

    Raises
    ------
    DataError
        If it is missing or unreadable, or lacks a column or an id.
    """
    table = read_text_table(file, columns=COLUMNS, filled=("image_id", "lesion_id"), also=("dataset",))
    table = table.loc[:, [*COLUMNS, *(["dataset"] if "dataset" in table else [])]]
    for column in ("sex", "localization", "dx_type"):
        table[column] = table[column].str.lower().replace("", "unknown")
    return table


def drop_repeated(table: pd.DataFrame, column: str, name: str, found: Findings) -> pd.DataFrame:
    """Return the table without the rows that repeat an id, which are refused before a training.

    Parameters
    ----------
    table : DataFrame
    column : str
        Of the ids.
    name : str
        What the sentence calls the table.
    found : Findings

    Raises
    ------
    DataError
        Before a training, if an id is repeated.
    """
    again = table[column].duplicated()
    if again.any():
        sentence = f"Repeated {column} in {name}: {listed(sorted(table.loc[again, column].unique()))}."
        found.doubt("repeated", sentence, shown="only the first row of each is shown", count=int(again.sum()))
    return table[~again]


def find_torn_lesions(table: pd.DataFrame) -> list[str]:
    """Return the lesions that have more than one diagnosis."""
    diagnoses = table.groupby("lesion_id")["dx"].nunique()
    return sorted(diagnoses.index[diagnoses > 1])


def check_lesions(table: pd.DataFrame, name: str, found: Findings, *, what: str = "dx") -> None:
    """Refuse lesions with more than one diagnosis before a training, and tell of them otherwise.

    Raises
    ------
    DataError
        Before a training, if there is one.
    """
    if torn := find_torn_lesions(table):
        found.doubt(
            "torn_lesions",
            f"Lesions with more than one {what} in {name}: {listed(torn)}.",
            shown="all shown",
            count=len(torn),
        )


def read_ages(texts: pd.Series, name: str, found: Findings) -> pd.Series:
    """Return ages in years; NaN for ``""``, ``"nan"``, ``"NA"``, ``"None"`` and ``"unknown"``.

    Parameters
    ----------
    texts : Series of str
    name : str
        What the sentence calls the table.
    found : Findings

    Raises
    ------
    DataError
        Before a training, if a value is no age between 0 and 120.
    """
    none = texts.str.lower().isin(["", "nan", "na", "none", "unknown"])
    ages = pd.to_numeric(texts.mask(none, "nan"), errors="coerce").astype(float)
    wrong = (ages.isna() & ~none) | (ages < 0) | (ages > 120)
    if wrong.any():
        sentence = f"Values that are no age in {name}: {listed(sorted(texts[wrong].unique()))}."
        found.doubt("no_age", sentence, shown="counted as unknown")
    return ages.mask(wrong)


def band_ages(age_years: pd.Series) -> pd.Series:
    """Return the age band of each age in years; NaN gives ``"unknown"``.

    >>> list(band_ages(pd.Series([5.0, 80.0, float("nan")])))
    ['0-19', '80+', 'unknown']
    """
    bands = pd.cut(age_years, _AGE_EDGES, right=False, labels=list(AGE_BANDS[:-1]))
    return bands.astype(object).where(bands.notna(), "unknown").astype(str)


def clean_ages(table: pd.DataFrame, found: Findings) -> None:
    """Turn ages of 0 into missing ones, in place, and tell."""
    missing = table.loc[table["age"].isna(), "image_id"]
    zero = table.loc[table["age"] == 0, "image_id"]
    table.loc[table["age"] == 0, "age"] = np.nan
    if len(missing):
        found.tell(
            "age_missing",
            f"{len(missing)} pictures have no age: {listed(missing)}; kept as unknown.",
            count=len(missing),
        )
    if len(zero):
        found.tell(
            "age_zero", f"{len(zero)} pictures have an age of 0: {listed(zero)}; counted as unknown.", count=len(zero)
        )


def attach_found(table: pd.DataFrame, pictures: Mapping[str, Path], name: str, found: Findings) -> None:
    """Add the column `path`, in place, and tell what is absent or not listed.

    Parameters
    ----------
    table : DataFrame
    pictures : mapping of str to Path
        By `image_id`.
    name : str
        What the sentences call the table.
    found : Findings
    """
    table["path"] = pd.Series([pictures.get(image_id) for image_id in table["image_id"]], dtype=object)
    absent = table.loc[table["path"].isna(), "image_id"]
    if len(absent):
        found.tell(
            "picture_absent",
            f"{len(absent):,} of the {len(table):,} listed pictures are absent: {listed(absent)}; "
            f"going on with the {len(table) - len(absent):,} present.",
            count=len(absent),
        )
    unlisted = sorted(set(pictures) - set(table["image_id"]))
    if unlisted:
        found.tell(
            "not_listed",
            f"{len(unlisted)} pictures are not listed in {name}: {listed(unlisted)}; left out.",
            count=len(unlisted),
        )


def _check_metadata(table: pd.DataFrame, name: str, labels: LabelSet, found: Findings) -> pd.DataFrame:
    table = drop_repeated(_drop_unknown(table, name, labels, found), "image_id", name, found)
    check_lesions(table, name, found)
    return table.assign(age=read_ages(table["age"], name, found)).sort_values("image_id", ignore_index=True)


def _drop_unknown(table: pd.DataFrame, name: str, labels: LabelSet, found: Findings) -> pd.DataFrame:
    known = table["dx"].isin(labels.codes)
    if known.all():
        return table
    unknown = sorted(value or "(empty)" for value in table.loc[~known, "dx"].unique())
    sentence = f"Unknown dx in {name}: {listed(unknown)}. Known are: {list(labels.codes)}."
    if not known.any():
        raise DataError(sentence)
    found.doubt("unknown_dx", sentence, shown=f"{(~known).sum():,} pictures left out", count=int((~known).sum()))
    return table[known]


def _attach_pictures(table: pd.DataFrame, folder: Path, name: str, found: Findings) -> None:
    """Find the pictures in the two folders of Kaggle's layout or, where neither is there, beside the table."""
    pictures: dict[str, Path] = {}
    in_parts = any((folder / part).is_dir() for part in PICTURE_FOLDERS)
    for part in PICTURE_FOLDERS if in_parts else (".",):
        if not (folder / part).is_dir():
            found.tell("folder_absent", f"The folder {part} is absent.")
            continue
        for file in sorted((folder / part).iterdir()):
            if file.suffix.lower() not in SUFFIXES:
                if in_parts:
                    found.tell("not_a_picture", f"{part}/{file.name} is not a .jpg or .png file; left out.")
            elif file.stem in pictures:
                found.tell("picture_twice", f"{file.stem} is there twice; {part}/{file.name} left out.")
            else:
                pictures[file.stem] = file
    attach_found(table, pictures, name, found)
