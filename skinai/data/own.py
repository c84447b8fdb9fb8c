"""A user's own pictures: a folder a class, or a folder and a table. Read into the same form as HAM10000."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from skinai.artefacts import hash_file
from skinai.data.images import SUFFIXES
from skinai.data.metadata import (
    METADATA_FILE,
    PICTURE_FOLDERS,
    DataFolder,
    Remark,
    band_ages,
    listed,
    read_data_folder,
    read_text_table,
)
from skinai.errors import DataError
from skinai.labels import build_label_set

FEWEST_LESIONS = 5  # fewer cannot be divided into train, valid and test
_SUBSET_NAMES = {"train", "valid", "val", "validation", "test"}
_OPTIONAL = ("sex", "localization", "dx_type")


def read_pictures(folder: Path, *, table_file: Path | None = None, malignant: Sequence[str] = ()) -> DataFolder:
    """Read HAM10000 where its metadata lie in `folder`, and the user's own pictures otherwise.

    Parameters
    ----------
    folder : Path
        Without a table, each folder directly inside is a class, and the pictures in it and below belong to that
        class.
    table_file : Path, optional
        Comma-separated, with the columns ``image`` (path inside `folder`, with or without its ending) and ``label``;
        ``lesion_id`` and ``patient_id`` keep what belongs together on one side of the split; ``age``,
        ``sex``, ``localization`` and ``dx_type`` are taken over.
    malignant : sequence of str
        The classes whose probabilities are summed up as malignant.

    Raises
    ------
    DataError
        If a table or folder cannot be used, there is one class only, a class has fewer than five lesions, a lesion
        has two classes, or the same picture has two.
    """
    folder = Path(folder)
    if table_file is None and (folder / METADATA_FILE).is_file():
        return read_data_folder(folder)
    if table_file is None and any((folder / part).is_dir() for part in PICTURE_FOLDERS):
        raise DataError(f"{METADATA_FILE} is missing in {folder}.")
    remarks: list[Remark] = []
    files = _find_pictures(folder, remarks)
    if not files:
        raise DataError(f"No .jpg or .png picture was found in {folder}.")
    if table_file is None:
        rows = _read_class_folders(files, remarks)
        digest = hashlib.sha256("\n".join(f"{row}" for row in rows["image_id"]).encode()).hexdigest()
    else:
        rows = _read_table(Path(table_file), files, remarks)
        digest = hash_file(Path(table_file))
    _unite_copies(rows, remarks)
    _check_classes(rows)
    try:
        labels = build_label_set(
            f"{folder.resolve().name or 'pictures'} (own)", sorted(rows["dx"].unique()), malignant=malignant
        )
    except ValueError as error:
        raise DataError(str(error)) from error
    rows["age_band"] = band_ages(rows["age"])
    return DataFolder(folder, rows.sort_values("image_id", ignore_index=True), tuple(remarks), digest, labels)


def _find_pictures(folder: Path, remarks: list[Remark]) -> dict[str, Path]:
    """Return the pictures below `folder` by their path inside it; links are followed, each folder once."""
    files: dict[str, Path] = {}
    others, unnamed, seen = [], 0, set()
    for place, inside, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        inside[:] = [] if real in seen else sorted(name for name in inside if not name.startswith("."))
        if real in seen:
            continue
        seen.add(real)
        for name in sorted(names):
            path = Path(place, name)
            inner = path.relative_to(folder).as_posix()
            if name.startswith("."):
                continue
            if not _is_utf8(inner):
                unnamed += 1
            elif path.suffix.lower() in SUFFIXES and path.is_file():
                files[inner] = path
            else:
                others.append(inner)
    if unnamed:
        remarks.append(Remark("not_utf8", f"{unnamed} files have names that are not UTF-8; left out."))
    if others:
        sentence = f"{len(others)} files are not .jpg or .png pictures: {listed(others)}; left out."
        remarks.append(Remark("not_a_picture", sentence))
    return files


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _read_class_folders(files: dict[str, Path], remarks: list[Remark]) -> pd.DataFrame:
    loose = [name for name in files if "/" not in name]
    if len(loose) == len(files):
        raise DataError(
            f"The pictures lie in no class folders and there is neither a {METADATA_FILE} nor a table: "
            "put each class into its own folder, or give --table FILE."
        )
    subsets = sorted({name.split("/")[0] for name in files if "/" in name} & _SUBSET_NAMES)
    if subsets:
        raise DataError(
            f"The folders {listed(subsets)} are subsets, not classes: skinai splits by itself. "
            "Put each class into its own folder, or give --table FILE."
        )
    if loose:
        remarks.append(Remark("loose", f"{len(loose)} pictures lie in no class folder: {listed(loose)}; left out."))
    names = [name for name in files if "/" in name]
    rows = pd.DataFrame({"image_id": names, "dx": [name.split("/")[0] for name in names]})
    rows["path"] = [files[name] for name in names]
    rows["lesion_id"] = rows["image_id"]
    rows["age"] = np.nan
    for column in _OPTIONAL:
        rows[column] = "unknown"
    remarks.append(_leak_warning())
    return rows


def _read_table(file: Path, files: dict[str, Path], remarks: list[Remark]) -> pd.DataFrame:
    table = read_text_table(file, columns=("image", "label"), filled=("image", "label"))
    spellings = defaultdict(list)
    for name in files:
        spellings[name.lower()].append(name)
        spellings[name.lower().rpartition(".")[0]].append(name)
    found = []
    for image in table["image"]:
        spelled = image.replace("\\", "/").removeprefix("./")
        matches = [spelled] if spelled in files else spellings.get(spelled.lower(), [])
        if len(matches) > 1:
            raise DataError(f"{image} in {file.name} may be any of {listed(matches)}; write the ending too.")
        found.append(matches[0] if matches else None)
    table["image_id"] = found
    absent = table.loc[table["image_id"].isna(), "image"]
    if len(absent):
        remarks.append(
            Remark("picture_absent", f"{len(absent)} listed pictures are absent: {listed(absent)}; left out.")
        )
    rows = table[table["image_id"].notna()].reset_index(drop=True)
    if rows.empty:
        raise DataError(f"None of the {len(table)} pictures listed in {file.name} was found.")
    repeated = sorted(rows.loc[rows["image_id"].duplicated(), "image_id"].unique())
    if repeated:
        raise DataError(f"Repeated pictures in {file.name}: {listed(repeated)}.")
    unlisted = sorted(set(files) - set(rows["image_id"]))
    if unlisted:
        remarks.append(Remark("not_listed", f"{len(unlisted)} pictures are not listed: {listed(unlisted)}; left out."))
    lesions = rows["image_id"]
    if "lesion_id" not in rows and "patient_id" not in rows:
        remarks.append(_leak_warning())
    for column in ("lesion_id", "patient_id"):  # a patient has many lesions, and all of them stay together
        if column in rows:
            given = ~rows[column].str.lower().isin(["", "na", "nan", "none", "unknown"])
            if column == "lesion_id":
                classes = rows[given].groupby("lesion_id")["label"].nunique()
                torn = sorted(classes.index[classes > 1])
                if torn:
                    raise DataError(f"Lesions with more than one class: {listed(torn)}.")
            lesions = lesions.mask(given, column.removesuffix("_id") + " " + rows[column])
    result = pd.DataFrame({"image_id": rows["image_id"], "dx": rows["label"], "lesion_id": lesions})
    result["path"] = [files[name] for name in rows["image_id"]]
    ages = rows["age"] if "age" in rows else pd.Series("", index=rows.index)
    result["age"] = pd.to_numeric(ages.replace("", "nan"), errors="coerce")
    for column in _OPTIONAL:
        values = rows[column].str.lower() if column in rows else pd.Series("", index=rows.index)
        result[column] = values.replace("", "unknown")
    return result


def _unite_copies(rows: pd.DataFrame, remarks: list[Remark]) -> None:
    """Let identical files share a lesion, in place; the same picture with two classes is an error."""
    copies = rows.groupby([hash_file(path) for path in rows["path"]])
    united = 0
    for _, same in copies:
        if len(same) < 2:
            continue
        if same["dx"].nunique() > 1:
            raise DataError(f"The same picture has two classes: {listed(same['image_id'])}.")
        lesions = rows.loc[same.index, "lesion_id"].unique()  # not of `same`: an earlier copy may have changed it
        united += len(lesions) - 1
        rows.loc[rows["lesion_id"].isin(lesions), "lesion_id"] = lesions[0]
    if united:
        remarks.append(Remark("copies", f"{united} pictures are copies of others; they stay together in the split."))


def _check_classes(rows: pd.DataFrame) -> None:
    lesions = rows.groupby("dx")["lesion_id"].nunique()
    if len(lesions) == 1:
        raise DataError(f"All {len(rows)} pictures have the class {lesions.index[0]!r}; telling apart takes two.")
    few = lesions[lesions < FEWEST_LESIONS]
    if len(few):
        counts = (rows["dx"] == few.index[0]).sum()
        raise DataError(
            f"The class {few.index[0]!r} has {counts} pictures of {few.iloc[0]} lesions; train, valid and test need "
            f"at least {FEWEST_LESIONS} lesions together. Add pictures or leave the class out."
        )


def _leak_warning() -> Remark:
    return Remark(
        "no_lesions",
        "No lesion ids: each picture counts as a lesion of its own, so pictures of one lesion may fall on both sides "
        "of the split and the figures may flatter. Give a table with the column lesion_id.",
    )
