"""Read the ISIC Archive's metadata, as its command-line client writes them, into HAM10000's form.

The archive names diagnoses in a hierarchy of five columns, from `diagnosis_1` (benign or malignant) over the group and
the disease to its kinds; older tables have one column `diagnosis`. Diseases that are none of HAM10000's seven are left
out and listed.
Sources: the names of the archive's package isic-metadata; which of them belong together, Tschandl, Rosendahl, Kittler
2018, doi:10.1038/sdata.2018.161.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from skinai.artefacts import hash_file
from skinai.data.images import SUFFIXES
from skinai.data.metadata import (
    DataFolder,
    Findings,
    attach_found,
    band_ages,
    check_lesions,
    clean_ages,
    drop_repeated,
    read_ages,
)
from skinai.data.tables import listed, read_header, read_text_table
from skinai.errors import DataError

METADATA_FILE = "metadata.csv"
DIAGNOSES = {
    "solar or actinic keratosis": "akiec",
    "actinic keratosis": "akiec",
    "squamous cell carcinoma in situ": "akiec",
    "squamous cell carcinoma in situ, bowens disease": "akiec",
    "basal cell carcinoma": "bcc",
    "seborrheic keratosis": "bkl",
    "pigmented benign keratosis": "bkl",
    "solar lentigo": "bkl",
    "lichen planus like keratosis": "bkl",
    "lichenoid keratosis": "bkl",
    "dermatofibroma": "df",
    "melanoma": "mel",
    "melanoma, nos": "mel",
    "melanoma invasive": "mel",
    "melanoma in situ": "mel",
    "melanoma metastasis": "mel",
    "malignant melanocytic proliferations (melanoma)": "mel",
    "nevus": "nv",
    "blue nevus": "nv",
    "nevus spilus": "nv",
    "benign soft tissue proliferations - vascular": "vasc",
    "vascular lesion": "vasc",
    "hemangioma": "vasc",
    "angioma": "vasc",
    "angiokeratoma": "vasc",
    "pyogenic granuloma": "vasc",
    "hemorrhagic lesions": "vasc",
    "hemorrhage": "vasc",
}
# In HAM10000 every squamous cell carcinoma is one in situ; elsewhere these names may mean an invasive one.
SQUAMOUS = ("squamous cell carcinoma, nos", "squamous cell carcinoma")
_HAM10000_NUMBERS = range(24306, 34321)
_METHODS = {
    "histopathology": "histo",
    "serial imaging showing no change": "follow_up",
    "single image expert consensus": "consensus",
    "single contributor clinical assessment": "consensus",
    "confocal microscopy with consensus dermoscopy": "confocal",
}
# What the name of a kind does not say, that of its disease does. A group is asked only where no disease is named:
# "lentigo simplex" is no naevus for being a benign melanocytic proliferation.
_RANKS = (("diagnosis_5", "diagnosis_4", "diagnosis_3"), ("diagnosis",), ("diagnosis_2",), ("diagnosis_1",))
_LEVELS = tuple(column for rank in _RANKS for column in rank)
_OPTIONAL = (
    "lesion_id",
    "patient_id",
    "diagnosis_confirm_type",
    "age_approx",
    "sex",
    "anatom_site_general",
    "image_type",
)


def is_isic_table(file: Path) -> bool:
    """Return whether a file looks like the archive's metadata: its header names `isic_id`, and not `image`."""
    names = read_header(file)
    return "isic_id" in names and "image" not in names


def read_isic(folder: Path, file: Path | None = None, *, for_training: bool = True) -> DataFolder:
    """Read the archive's metadata and find the pictures, which lie anywhere in `folder`.

    Parameters
    ----------
    folder : Path
    file : Path, optional
        Default: ``metadata.csv`` in `folder`.
    for_training : bool
        False for looking at the data: then a repeated id, a lesion with two of the seven diagnoses and an age that is
        no age are remarks.

    Returns
    -------
    DataFolder
        The dermoscopic pictures that have one of the seven diagnoses. `lesion_id` is the archive's, or ``"patient "``
        and the patient's id where that is known, so that all pictures of a patient stay together in a split.

    Raises
    ------
    DataError
        If the table cannot be read, repeats an id, has a lesion with two of the seven diagnoses, or none of its
        pictures is there and has one of the seven diagnoses.
    """
    folder, found = Path(folder), Findings(for_training=for_training)
    file = Path(file) if file else folder / METADATA_FILE
    raw = read_text_table(file, columns=("isic_id",), filled=("isic_id",), also=(*_LEVELS, *_OPTIONAL))
    if not set(_LEVELS) & set(raw.columns):
        raise DataError(f"{file.name} has neither diagnosis_1 to diagnosis_5 nor diagnosis.")
    raw = drop_repeated(raw, "isic_id", file.name, found)
    rows = _map_diagnoses(_drop_other_types(raw, file.name, found), file.name, found)
    table = pd.DataFrame(
        {
            "lesion_id": _text(rows, "lesion_id").mask(_text(rows, "lesion_id") == "", rows["isic_id"]),
            "image_id": rows["isic_id"],
            "dx": rows["dx"],
            "dx_type": _value(rows, "diagnosis_confirm_type").replace(_METHODS),
            "age": read_ages(_text(rows, "age_approx"), file.name, found),
            "sex": _value(rows, "sex"),
            "localization": _value(rows, "anatom_site_general"),
        }
    )
    check_lesions(table, file.name, found, what="diagnosis")
    table["lesion_id"] = _join_patients(table["lesion_id"], _text(rows, "patient_id"), found)
    table = table.sort_values("image_id", ignore_index=True)
    alone = table["lesion_id"] == table["image_id"]
    if alone.any():
        found.tell("no_lesions", f"{alone.sum():,} pictures have no lesion id; each counts as a lesion of its own.")
    clean_ages(table, found)
    attach_found(table, _find_pictures(folder, found), file.name, found)
    if table["path"].isna().all():
        raise DataError(f"None of the {len(table):,} pictures listed in {file.name} was found in {folder}.")
    table["age_band"] = band_ages(table["age"])
    remarks = tuple(found.remarks)
    source = "ISIC Archive, isic-cli's layout"
    return DataFolder(folder, table, remarks, hash_file(file), lesions_known=bool((~alone).any()), source=source)


def _drop_other_types(raw: pd.DataFrame, name: str, found: Findings) -> pd.DataFrame:
    """Return the dermoscopic pictures and those of which nothing is said."""
    types = _text(raw, "image_type")
    other = ~types.str.lower().isin(["", "dermoscopic"])
    if other.all():
        raise DataError(f"None of the {len(raw):,} pictures listed in {name} is dermoscopic: {_counted(types)}.")
    if other.any():
        sentence = f"{other.sum():,} pictures are not dermoscopic: {_counted(types[other])}; left out."
        found.tell("not_dermoscopic", sentence)
    return raw[~other]


def _map_diagnoses(raw: pd.DataFrame, name: str, found: Findings) -> pd.DataFrame:
    """Return the rows that have one of the seven diagnoses, with its code as `dx`, and list the others' names."""
    number = pd.to_numeric(raw["isic_id"].str.removeprefix("ISIC_"), errors="coerce")
    codes = pd.Series("", index=raw.index)
    names = pd.Series("", index=raw.index)
    for rank in _RANKS:
        asked = names == ""
        for column in rank:
            values = _text(raw, column)
            code = values.str.lower().map(DIAGNOSES).fillna("")
            code = code.mask(values.str.lower().isin(SQUAMOUS) & number.isin(_HAM10000_NUMBERS), "akiec")
            codes = codes.mask(asked & (codes == ""), code)
            names = names.mask(asked & (names == ""), values)
    other = codes == ""
    if other.all():
        told = _counted(names)
        raise DataError(f"No picture in {name} has one of HAM10000's seven diagnoses; they have: {told}.")
    if other.any():
        sentence = f"{other.sum():,} pictures have another diagnosis than HAM10000's seven: {_counted(names[other])}"
        found.tell("unmapped", f"{sentence}; left out.")
    return raw.assign(dx=codes)[~other]


def _join_patients(lesions: pd.Series, patients: pd.Series, found: Findings) -> pd.Series:
    known = patients != ""
    if known.any():
        sentence = f"{known.sum():,} pictures name a patient; all pictures of a patient count as one lesion."
        found.tell("patients", sentence)
    return lesions.mask(known, "patient " + patients)


def _find_pictures(folder: Path, found: Findings) -> dict[str, Path]:
    """Return the pictures below `folder` by name without ending; the client's unfinished ones begin with a dot."""
    pictures: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in pictures:
            found.tell("picture_twice", f"{path.stem} is there twice; {path.relative_to(folder)} left out.")
        else:
            pictures[path.stem] = path
    return pictures


def _counted(values: pd.Series) -> str:
    counts = values.replace("", "none given").value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return listed((f"{value} ({count:,})" for value, count in counts.items()), at_most=40)


def _text(rows: pd.DataFrame, column: str) -> pd.Series:
    return rows[column] if column in rows else pd.Series("", index=rows.index, dtype=str)


def _value(rows: pd.DataFrame, column: str) -> pd.Series:
    return _text(rows, column).str.lower().replace("", "unknown")
