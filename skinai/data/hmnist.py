"""Read Kaggle's `hmnist` tables: HAM10000 as pixels, 8 or 28 a side, one row a picture, without any id.

Their labels count 0 akiec, 1 bcc, 2 bkl, 3 df, 4 nv, 5 vasc, 6 mel: not the order of the codes. Read in another order,
melanoma and naevus change places.
"""

from __future__ import annotations

import io
import math
import re
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from skinai.artefacts import TEMPORARY_PREFIX, hash_file
from skinai.data.images import MIN_SIDE_PX
from skinai.data.metadata import (
    COLUMNS,
    METADATA_FILE,
    PICTURE_FOLDERS,
    DataFolder,
    Findings,
    band_ages,
    check_lesions,
    clean_ages,
    drop_repeated,
    read_ages,
    read_raw_metadata,
)
from skinai.data.tables import find_delimiter, listed, no_rows, no_table, read_header, read_text, split_header, torn_row
from skinai.errors import DataError, UsageError
from skinai.labels import CIRCULATING_ORDERS

LABEL_ORDER = CIRCULATING_ORDERS["Kaggle's hmnist tables"]
_LABEL = "label"
_PIXEL = r"pixel[0-9]{4}"


def is_hmnist(file: Path) -> bool:
    """Return whether a file looks like one of the tables: its header names pixels, four digits each."""
    return any(re.fullmatch(_PIXEL, name) for name in read_header(file))


def read_hmnist(file: Path, metadata: Path | None = None, *, for_training: bool = True) -> DataFolder:
    """Read a table of pixels.

    Parameters
    ----------
    file : Path
        ``hmnist_28_28_RGB.csv`` or one of its three sisters.
    metadata : Path, optional
        HAM10000's metadata table in the order of the pixel table: its rows give ids, lesions, age, sex and site. Rows
        that have changed places within a diagnosis cannot be noticed.
    for_training : bool
        False for looking at the data: then a repeated `image_id`, a lesion with two diagnoses and an age that is no
        age are remarks.

    Returns
    -------
    DataFolder
        With `pixels` and without paths. Without metadata each picture is its own lesion and `lesions_known` is False.

    Raises
    ------
    DataError
        If the table is no such table, or the metadata have another number of rows or another diagnosis in some row.
    """
    file, found = Path(file), Findings(for_training=for_training)
    pixels, labels = _read_pixels(file)
    codes = np.array(LABEL_ORDER)[labels]
    if metadata is None:
        table = _number_rows(codes)
        beside = file.parent / METADATA_FILE
        name = beside if beside.is_file() else METADATA_FILE
        found.tell("no_lesions", f"{file.name} has no lesion ids: a split by lesion needs --metadata {name}.")
    else:
        table = _join_metadata(codes, file.name, Path(metadata), found)
        clean_ages(table, found)
    table = table.sort_values("image_id", kind="stable")
    pixels = pixels[table.index.to_numpy()]
    table = table.reset_index(drop=True)
    table["path"] = pd.Series([None] * len(table), dtype=object)
    table["age_band"] = band_ages(table["age"])
    source = f"HAM10000 as {pixels.shape[1]} x {pixels.shape[2]} pixels, Kaggle's hmnist table"
    remarks, known = tuple(found.remarks), metadata is not None
    return DataFolder(file, table, remarks, hash_file(file), lesions_known=known, pixels=pixels, source=source)


def write_pictures(data: DataFolder, out: Path) -> None:
    """Write the pictures of a pixel table as PNG files: Kaggle's layout with the metadata, else a folder a class.

    Each pixel becomes a square of pixels, so that the pictures are at least as large as what can be read: 56 a side for
    28, 32 for 8. They stay as square as the table has them, though HAM10000's pictures are 4:3.

    Parameters
    ----------
    data : DataFolder
        From :func:`read_hmnist`.
    out : Path
        A new folder; it is there as a whole or not at all.

    Raises
    ------
    UsageError
        If `data` holds no pixels, or `out` exists.
    """
    out = Path(out)
    if data.pixels is None:
        raise UsageError(f"{data.path} is no table of pixels.")
    if out.exists():
        raise UsageError(f"{out} exists. Name a new folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=out.parent) as temporary:
        folder = Path(temporary, out.name)
        folder.mkdir()
        _write_layout(data, data.pixels, folder)
        folder.rename(out)


def _write_layout(data: DataFolder, pixels: np.ndarray, folder: Path) -> None:
    scale = math.ceil(MIN_SIDE_PX / pixels.shape[1])
    rows = zip(data.table["image_id"], data.table["dx"], pixels, strict=True)
    for row, (image_id, code, picture) in enumerate(rows):
        part = PICTURE_FOLDERS[row * len(PICTURE_FOLDERS) // len(pixels)]
        place = folder / (part if data.lesions_known else code)
        place.mkdir(exist_ok=True)
        Image.fromarray(picture.repeat(scale, axis=0).repeat(scale, axis=1)).save(place / f"{image_id}.png")
    if data.lesions_known:
        data.table[list(COLUMNS)].to_csv(folder / METADATA_FILE, index=False, lineterminator="\n")


def _read_pixels(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels of shape (n, side, side, 3), uint8, and labels of shape (n,)."""
    lines = [(number, line) for number, line in enumerate(read_text(file).splitlines(), 1) if line.strip()]
    (_, header), rows = lines[0], lines[1:]
    delimiter = find_delimiter(header, (_LABEL, "pixel0000", "pixel0001"))
    names = split_header(header, delimiter)
    expected = _check_names(names, file.name)
    side, channels = _find_shape(len(expected), file.name)
    if not rows:
        raise no_rows(file)
    for number, row in rows:
        if row.count(delimiter) != len(names) - 1:
            raise torn_row(file, number, row.count(delimiter) + 1, len(names))
    content = io.BytesIO("\n".join(row for _, row in rows).encode())
    try:
        # Without missing values, an empty field makes its column text, and what is no whole number is found below.
        table = pd.read_csv(
            content,
            sep=delimiter,
            engine="c",
            header=None,
            names=names,
            index_col=False,
            na_filter=False,
            low_memory=False,
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise no_table(file, "its values cannot be told apart") from error
    _check_values(table, rows, delimiter, file.name)
    pixels = table[expected].to_numpy().astype(np.uint8).reshape(len(table), side, side, channels)
    return np.repeat(pixels, 3 // channels, axis=3), table[_LABEL].to_numpy()


def _check_names(names: list[str], name: str) -> list[str]:
    """Return the names of the pixels in their order."""
    numbers = [int(item[-4:]) for item in names if re.fullmatch(_PIXEL, item)]
    expected = [f"pixel{number:04d}" for number in range(max(numbers, default=0) + 1)]
    if sorted(names) == sorted([_LABEL, *expected]):
        return expected
    counts, known = Counter(names), dict.fromkeys((_LABEL, *expected))
    wrong = {
        "lacks": [item for item in known if item not in counts],
        "has twice": sorted(item for item, count in counts.items() if count > 1),
        "also has": [repr(item) for item in counts if item not in known],
    }
    told = "; it ".join(f"{what} {listed(items)}" for what, items in wrong.items() if items)
    raise DataError(f"{name} needs the columns label, pixel0000, pixel0001 and so on, each once; it {told}.")


def _find_shape(count: int, name: str) -> tuple[int, int]:
    """Return the side in pixels and the number of channels of a row with `count` values."""
    for channels in (3, 1):
        side = math.isqrt(count // channels)
        if side and side * side * channels == count:
            return side, channels
    raise DataError(f"{name} has {count:,} pixels a row, which is no square of one or three channels.")


def _check_values(table: pd.DataFrame, rows: list[tuple[int, str]], delimiter: str, name: str) -> None:
    """Refuse the first column with a value that is no pixel or no label, naming its first such row."""
    whole = table.dtypes.map(lambda kind: kind.kind in "iu")
    if whole.all():
        values = table.to_numpy()
        if values.min() >= 0 and values.max() <= 255 and table[_LABEL].max() < len(LABEL_ORDER):
            return
    for position, column in enumerate(table.columns):
        most = len(LABEL_ORDER) - 1 if column == _LABEL else 255
        if whole[column] and table[column].min() >= 0 and table[column].max() <= most:
            continue
        for number, row in rows:
            value = row.split(delimiter)[position].strip().strip('"')
            if not re.fullmatch(r"\+?\d{1,18}", value, re.ASCII) or int(value) > most:
                rule = f"{column} is a whole number from 0 to {most}"
                raise DataError(f"{name} has {column} = {listed([repr(value)])} in row {number}; {rule}.")
    raise DataError(f"{name} has values that are no whole numbers.")


def _number_rows(codes: np.ndarray) -> pd.DataFrame:
    ids = [f"hmnist_{row:05d}" for row in range(len(codes))]
    table = pd.DataFrame({"lesion_id": ids, "image_id": ids, "dx": codes, "dx_type": "unknown", "age": np.nan})
    return table.assign(sex="unknown", localization="unknown")


def _join_metadata(codes: np.ndarray, name: str, metadata: Path, found: Findings) -> pd.DataFrame:
    table = read_raw_metadata(metadata)[list(COLUMNS)]
    _check_same_rows(table, codes, name, metadata.name)
    table = drop_repeated(table, "image_id", metadata.name, found)
    check_lesions(table, metadata.name, found)
    return table.assign(age=read_ages(table["age"], metadata.name, found))


def _check_same_rows(table: pd.DataFrame, codes: np.ndarray, name: str, metadata_name: str) -> None:
    if len(table) != len(codes):
        raise DataError(
            f"{name} has {len(codes):,} rows and {metadata_name} has {len(table):,}: they do not belong together."
        )
    differing = np.flatnonzero(table["dx"].to_numpy() != codes)
    if len(differing):
        first = differing[0]
        raise DataError(
            f"{metadata_name} is not in the order of {name}: {len(differing):,} rows have another diagnosis, "
            f"the first of them row {first + 2} ({codes[first]} against {table['dx'].iloc[first]})."
        )
