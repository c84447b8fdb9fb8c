"""A user's own pictures: a folder a class, or a folder and a table. Read into the same form as HAM10000."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from skinai.artefacts import hash_file
from skinai.data.images import SUFFIXES
from skinai.data.metadata import (
    METADATA_FILE,
    PICTURE_FOLDERS,
    DataFolder,
    Findings,
    band_ages,
    find_metadata,
    read_data_folder,
)
from skinai.data.split import unite_lesions
from skinai.data.tables import listed, read_text_table
from skinai.errors import DataError
from skinai.labels import LabelSet, build_label_set

FEWEST_LESIONS = 5  # fewer cannot be divided into train, valid and test
LABEL_COLUMNS = ("label", "group", "condition", "dx", "class", "diagnosis")
RISKS = ("benign", "malignant", "dermoscopy")
_SPELLINGS = {"label": LABEL_COLUMNS[1:], "patient_id": ("block",)}
_SUBSET_NAMES = {"train", "valid", "val", "validation", "test"}
_OPTIONAL = ("sex", "localization", "dx_type")
_NONE = ("", "na", "nan", "none", "unknown")


def read_pictures(
    folder: Path,
    *,
    table_file: Path | None = None,
    labels_file: Path | None = None,
    malignant: Sequence[str] = (),
    for_training: bool = True,
    drop_conflicts: bool = False,
) -> DataFolder:
    """Read HAM10000 where its metadata lie in `folder`, and the user's own pictures otherwise.

    Parameters
    ----------
    folder : Path
        Without a table, each folder directly inside is a class, and the pictures in it and below belong to that
        class.
    table_file : Path, optional
        With the columns ``image`` (path inside `folder`, with or without its ending) and ``label``, or else the first
        of ``group``, ``condition``, ``dx``, ``class`` and ``diagnosis``; ``lesion_id`` and ``patient_id``, or else
        ``block``, keep what belongs together on one side of the split, also where only some rows of a lesion name its
        patient, and so does ``group`` beside a ``label`` in rows without any of them; ``age``, ``sex``,
        ``localization`` and ``dx_type`` are taken over.
    labels_file : Path, optional
        What the classes are called: a table with the column ``label``, as the data have it, and ``name``, ``code`` and
        ``risk``, one of `RISKS`, where they are to differ from the defaults. A class that it does not list has its
        label as code, with hyphens for blanks, and is benign. HAM10000's are known.
    malignant : sequence of str
        Codes or labels of more classes whose probabilities are summed up as malignant.
    for_training : bool
        False for looking at the pictures: then there may be one class only, or few lesions of a class, or lesions
        with two classes, or pictures listed twice; each is a remark. Copies of pictures are not looked for.
    drop_conflicts : bool
        Leave out copies of a picture that are listed with two classes, and say so, instead of refusing the data.

    Raises
    ------
    DataError
        If a table or folder cannot be used, there is one class only, a class has fewer than five lesions, a lesion
        has two classes, or the same picture has two; if two classes have the same code, or `labels_file` has a label
        twice or an unknown risk.
    """
    folder = Path(folder)
    if table_file is None and find_metadata(folder):
        return read_data_folder(folder, for_training=for_training)
    if table_file is None and any((folder / part).is_dir() for part in PICTURE_FOLDERS):
        raise DataError(f"{METADATA_FILE} is missing in {folder}.")
    found = Findings(for_training=for_training)
    files = _find_pictures(folder, [file for file in (table_file, labels_file) if file is not None], found)
    if not files:
        raise DataError(f"No .jpg or .png picture was found in {folder}.")
    if table_file is None:
        rows, lesions_known, source = _read_class_folders(files, found), False, "a folder a class"
        digest = hashlib.sha256("\n".join(f"{row}" for row in rows["image_id"]).encode()).hexdigest()
    else:
        rows, lesions_known = _read_table(Path(table_file), files, found)
        digest, source = hash_file(Path(table_file)), f"pictures listed in {Path(table_file).name}"
    if for_training:
        rows = _unite_copies(rows, found, drop_conflicts=drop_conflicts)
    _check_classes(rows, found)
    given = {} if labels_file is None else _read_labels(Path(labels_file), set(rows["dx"]), found)
    codes = _choose_codes(sorted(rows["dx"].unique()), given)
    labels = _name_classes(f"{folder.resolve().name or 'pictures'} (own)", codes, given, malignant)
    rows["dx"] = rows["dx"].map(codes)
    rows["age_band"] = band_ages(rows["age"])
    rows = rows.sort_values("image_id", ignore_index=True)
    return DataFolder(folder, rows, tuple(found.remarks), digest, labels, lesions_known=lesions_known, source=source)


def _find_pictures(folder: Path, tables: Sequence[Path], found: Findings) -> dict[str, Path]:
    """Return the pictures below `folder` by their path inside it; links are followed, each folder once."""
    files: dict[str, Path] = {}
    others, unnamed, seen = [], 0, set()
    beside = {os.path.realpath(table) for table in tables}
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
            elif os.path.realpath(path) not in beside:
                others.append(inner)
    if unnamed:
        found.tell("not_utf8", f"{unnamed} files have names that are not UTF-8; left out.")
    if others:
        sentence = f"{len(others)} files are not .jpg or .png pictures: {listed(others)}; left out."
        found.tell("not_a_picture", sentence)
    return files


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _read_class_folders(files: dict[str, Path], found: Findings) -> pd.DataFrame:
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
        found.tell("loose", f"{len(loose)} pictures lie in no class folder: {listed(loose)}; left out.")
    names = [name for name in files if "/" in name]
    rows = pd.DataFrame({"image_id": names, "dx": [name.split("/")[0] for name in names]})
    rows["path"] = [files[name] for name in names]
    rows["lesion_id"] = rows["image_id"]
    rows["age"] = np.nan
    for column in _OPTIONAL:
        rows[column] = "unknown"
    _warn_of_leaks(found)
    return rows


def _read_table(file: Path, files: dict[str, Path], found: Findings) -> tuple[pd.DataFrame, bool]:
    """Return the rows whose picture is there, and whether any of them says to which lesion or patient it belongs."""
    table = read_text_table(
        file,
        columns=("image", "label"),
        filled=("image", "label"),
        also=("lesion_id", "patient_id", "group", "age", *_OPTIONAL),
        spellings=_SPELLINGS,
    )
    rows = _match_pictures(table, file.name, files, found)
    lesions = _read_lesions(rows, found)
    result = pd.DataFrame({"image_id": rows["image_id"], "dx": rows["label"], "lesion_id": lesions})
    result["path"] = [files[name] for name in rows["image_id"]]
    result["age"] = _read_ages(_column(rows, "age"), found)
    for column in _OPTIONAL:
        result[column] = _column(rows, column).str.lower().replace("", "unknown")
    alone = lesions == rows["image_id"]
    if alone.all():
        _warn_of_leaks(found)
    elif alone.any():
        found.tell(
            "some_lesions",
            f"{alone.sum():,} pictures have no lesion id: {listed(rows.loc[alone, 'image_id'])}; each counts as a "
            "lesion of its own, so pictures of one lesion may fall on both sides of the split.",
            count=int(alone.sum()),
        )
    return result, not alone.all()


def _match_pictures(table: pd.DataFrame, name: str, files: dict[str, Path], found: Findings) -> pd.DataFrame:
    """Return the rows whose picture is there, once each, with the column `image_id`."""
    spellings = defaultdict(list)
    for file in files:
        spellings[file.lower()].append(file)
        spellings[file.lower().rpartition(".")[0]].append(file)
    matched = []
    for image in table["image"]:
        spelled = image.replace("\\", "/").removeprefix("./")
        matches = [spelled] if spelled in files else spellings.get(spelled.lower(), [])
        if len(matches) > 1:
            raise DataError(f"{image} in {name} may be any of {listed(matches)}; write the ending too.")
        matched.append(matches[0] if matches else None)
    table = table.assign(image_id=pd.Series(matched, dtype=object))
    absent = table.loc[table["image_id"].isna(), "image"]
    if len(absent):
        found.tell(
            "picture_absent",
            f"{len(absent)} listed pictures are absent: {listed(absent)}; left out.",
            count=len(absent),
        )
    rows = table[table["image_id"].notna()]
    if rows.empty:
        raise DataError(f"None of the {len(table)} pictures listed in {name} was found.")
    again = rows["image_id"].duplicated()
    if again.any():
        sentence = f"Repeated pictures in {name}: {listed(sorted(rows.loc[again, 'image_id'].unique()))}."
        found.doubt("repeated", sentence, shown="only the first row of each is shown", count=int(again.sum()))
    unlisted = sorted(set(files) - set(rows["image_id"]))
    if unlisted:
        found.tell(
            "not_listed", f"{len(unlisted)} pictures are not listed: {listed(unlisted)}; left out.", count=len(unlisted)
        )
    return rows[~again].reset_index(drop=True)


def _read_lesions(rows: pd.DataFrame, found: Findings) -> pd.Series:
    """Return what belongs together: a patient has many lesions, and all of them stay together."""
    lesions = rows["image_id"]
    for column in ("group", "lesion_id", "patient_id"):
        ids = _column(rows, column)
        given = ~ids.str.lower().isin(_NONE)
        if column == "lesion_id":
            classes = rows.loc[given, "label"].groupby(ids[given]).nunique()
            torn = sorted(classes.index[classes > 1])
            if torn:
                found.doubt(
                    "torn_lesions",
                    f"Lesions with more than one class: {listed(torn)}.",
                    shown="all shown",
                    count=len(torn),
                )
            # A row may name the patient and another of the same lesion not, so lesions are kept beside patients.
            first = rows[given].groupby(ids[given])["image_id"].transform("first")
            same_lesion = list(zip(first, rows.loc[given, "image_id"], strict=True))
        lesions = lesions.mask(given, column.removesuffix("_id") + " " + ids)
    table = pd.DataFrame({"image_id": rows["image_id"], "lesion_id": lesions})
    return lesions.map(unite_lesions(table, same_lesion))


def _read_ages(texts: pd.Series, found: Findings) -> pd.Series:
    """Return ages in years; what is no age between 0 and 120 counts as unknown and is told."""
    ages = pd.to_numeric(texts.replace("", "nan"), errors="coerce").astype(float)
    ages = ages.where(ages.between(0, 120))
    wrong = ages.isna() & ~texts.str.lower().isin(_NONE)
    if wrong.any():
        told = listed(sorted(texts[wrong].unique()))
        found.tell("no_age", f"{wrong.sum():,} pictures have an age that is none: {told}; counted as unknown.")
    return ages


def _column(rows: pd.DataFrame, column: str) -> pd.Series:
    return rows[column] if column in rows else pd.Series("", index=rows.index, dtype=str)


def _unite_copies(rows: pd.DataFrame, found: Findings, *, drop_conflicts: bool) -> pd.DataFrame:
    """Let identical files share a lesion; the same picture with two classes is an error, or left out."""
    rows = rows.copy()
    conflicts: list[int] = []
    copies = rows.groupby([hash_file(path) for path in rows["path"]])
    united = 0
    for _, same in copies:
        if len(same) < 2:
            continue
        if same["dx"].nunique() > 1:
            if not drop_conflicts:
                raise DataError(f"The same picture has two classes: {listed(same['image_id'])}.")
            conflicts += same.index.tolist()
        lesions = rows.loc[same.index, "lesion_id"].unique()  # not of `same`: an earlier copy may have changed it
        united += len(lesions) - 1
        rows.loc[rows["lesion_id"].isin(lesions), "lesion_id"] = lesions[0]
    if united:
        found.tell("copies", f"{united} pictures are copies of others; they stay together in the split.")
    if conflicts:
        names = listed(sorted(rows.loc[conflicts, "image_id"]))
        sentence = f"{len(conflicts)} pictures are copies that are listed with two classes: {names}; left out."
        found.tell("copy_conflict", sentence, count=len(conflicts))
    return rows.drop(index=conflicts).reset_index(drop=True)


def _check_classes(rows: pd.DataFrame, found: Findings) -> None:
    lesions = rows.groupby("dx")["lesion_id"].nunique()
    shown = "enough to look at, not to learn from"
    if len(lesions) == 1:
        sentence = f"All {len(rows)} pictures have the class {lesions.index[0]!r}; telling apart takes two."
        found.doubt("one_class", sentence, shown=shown)
    for code, count in lesions[lesions < FEWEST_LESIONS].items():
        sentence = (
            f"The class {code!r} has {(rows['dx'] == code).sum()} pictures of {count} lesions; train, valid and test "
            f"need at least {FEWEST_LESIONS} lesions together."
        )
        found.doubt("few_lesions", sentence, shown=shown, advice="Add pictures or leave the class out.")


def _read_labels(file: Path, classes: set[str], found: Findings) -> dict[str, dict[str, str]]:
    """Return what a labels file says of each label: `name`, `code` and `risk`, empty where it says nothing."""
    table = read_text_table(file, columns=("label",), filled=("label",), also=("name", "code", "risk"))
    again = table["label"].duplicated()
    if again.any():
        raise DataError(f"{file.name} has labels twice: {listed(sorted(table.loc[again, 'label'].unique()))}.")
    rows = pd.DataFrame({column: _column(table, column) for column in ("name", "code", "risk")})
    rows["risk"] = rows["risk"].str.lower()
    for label, risk in zip(table["label"], rows["risk"], strict=True):
        if risk not in ("", *RISKS):
            raise DataError(
                f"The class {label!r} in {file.name} has the risk {risk!r}; it is one of {listed(RISKS)}, or empty."
            )
    absent = [label for label in table["label"] if label not in classes]
    if absent:
        found.tell(
            "label_absent",
            f"{len(absent)} labels of {file.name} are not in the data: {listed(absent)}.",
            count=len(absent),
        )
    return dict(zip(table["label"], rows.to_dict("records"), strict=True))


def _choose_codes(classes: list[str], given: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the code of each class, in the order of the codes."""
    codes = {label: given.get(label, {}).get("code") or "-".join(label.split()) for label in classes}
    same: dict[str, list[str]] = defaultdict(list)
    for label, code in codes.items():
        same[code].append(label)
    for code, labels in same.items():
        if len(labels) > 1:
            raise DataError(
                f"Classes with the same code {code!r}: {listed(repr(label) for label in labels)}. "
                "Give each its own with --labels FILE, or write them alike."
            )
    return dict(sorted(codes.items(), key=lambda item: item[1]))


def _name_classes(
    title: str, codes: Mapping[str, str], given: Mapping[str, Mapping[str, str]], malignant: Sequence[str]
) -> LabelSet:
    names = {}
    for label, code in codes.items():
        shown = label if label == code and label not in given else label[:1].upper() + label[1:]
        names[code] = given.get(label, {}).get("name") or shown
    of_risk = {risk: [codes[label] for label in codes if given.get(label, {}).get("risk") == risk] for risk in RISKS}
    asked = [text if text in names else codes.get(text, text) for text in malignant]
    try:
        return build_label_set(
            title,
            list(names),
            names=names,
            malignant=[*of_risk["malignant"], *asked],
            dermoscopy=of_risk["dermoscopy"],
        )
    except ValueError as error:
        raise DataError(str(error)) from error


def _warn_of_leaks(found: Findings) -> None:
    found.tell(
        "no_lesions",
        "No lesion ids: each picture counts as a lesion of its own, so pictures of one lesion may fall on both sides "
        "of the split and the figures may flatter. Give a table with the column lesion_id.",
    )
