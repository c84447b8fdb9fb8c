"""One door to every kind of data set: recognise what lies at a path, and read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skinai.data.hmnist import is_hmnist, read_hmnist
from skinai.data.isic import METADATA_FILE as ISIC_METADATA_FILE
from skinai.data.isic import is_isic_table, read_isic
from skinai.data.metadata import METADATA_FILES, DataFolder, find_metadata, read_data_folder
from skinai.data.own import read_pictures
from skinai.data.tables import listed
from skinai.errors import DataError, UsageError


def read_source(
    path: Path,
    *,
    table_file: Path | None = None,
    labels_file: Path | None = None,
    metadata: Path | None = None,
    malignant: Sequence[str] = (),
    for_training: bool = True,
    drop_conflicts: bool = False,
) -> DataFolder:
    """Recognise a data set and read it.

    The first that fits is taken:

    1. a file: a table of pixels, the ISIC Archive's metadata, or HAM10000's metadata, with the pictures beside it;
    2. a folder with `table_file`: the ISIC Archive's metadata under another name, or the user's own table;
    3. a folder with HAM10000's metadata: Kaggle's layout, or Harvard Dataverse's;
    4. a folder with the ISIC Archive's ``metadata.csv``;
    5. any other folder: a folder a class.

    Parameters
    ----------
    path : Path
        A folder, or a table.
    table_file : Path, optional
        The user's own table of the pictures in the folder, see :func:`skinai.data.own.read_pictures`.
    labels_file : Path, optional
        What the user's own classes are called, see :func:`skinai.data.own.read_pictures`; HAM10000's are known.
    metadata : Path, optional
        HAM10000's metadata in the order of a table of pixels, see :func:`skinai.data.hmnist.read_hmnist`.
    malignant : sequence of str
        The user's own classes whose probabilities are summed up as malignant; HAM10000's are known.
    for_training : bool
        False for looking at a data set or auditing it: what would spoil a training, but can be shown, is a remark.
    drop_conflicts : bool
        Of the user's own pictures leave out copies that are listed with two classes, instead of refusing the data.

    Raises
    ------
    DataError
        If nothing is there, it is of no known kind, or it cannot be used; see the readers.
    UsageError
        If `metadata` is given and `path` is no table of pixels, or `table_file` and `path` is a table.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    pixel_table = path.is_file() and is_hmnist(path)
    if metadata is not None and not pixel_table:
        raise UsageError("--metadata goes with a table of pixels, such as --data hmnist_28_28_RGB.csv.")
    if path.is_file() and table_file is not None:
        raise UsageError("--table goes with a folder of pictures.")
    if pixel_table:
        return read_hmnist(path, metadata, for_training=for_training)
    if path.is_file():
        return _read_beside(path, for_training)
    if table_file is not None and is_isic_table(Path(table_file)):
        return read_isic(path, Path(table_file), for_training=for_training)
    if table_file is None and not find_metadata(path) and is_isic_table(path / ISIC_METADATA_FILE):
        return read_isic(path, for_training=for_training)
    if table_file is None:
        _refuse_folder_of_pixels(path)
    return read_pictures(
        path,
        table_file=table_file,
        labels_file=labels_file,
        malignant=malignant,
        for_training=for_training,
        drop_conflicts=drop_conflicts,
    )


def describe_source(data: DataFolder) -> str:
    """Return in a few words what kind of data set was read, such as ``"HAM10000, Kaggle's layout"``."""
    return data.source or "a data set of unknown kind"


def _read_beside(file: Path, for_training: bool) -> DataFolder:
    """Read a metadata table whose pictures lie beside it."""
    if is_isic_table(file):
        return read_isic(file.parent, file, for_training=for_training)
    if file.name in METADATA_FILES:
        return read_data_folder(file.parent, file=file, for_training=for_training)
    raise DataError(
        f"{file.name} is no table that can be read by itself: give a folder, a table of pixels such as "
        f"hmnist_28_28_RGB.csv, {listed(METADATA_FILES)} or the ISIC Archive's {ISIC_METADATA_FILE}."
    )


def _refuse_folder_of_pixels(folder: Path) -> None:
    """Name the tables of pixels where a folder holds nothing else: they are several versions of the same pictures."""
    if find_metadata(folder) or any(item.is_dir() and not item.name.startswith(".") for item in folder.iterdir()):
        return
    tables = [file.name for file in sorted(folder.glob("hmnist*.csv")) if is_hmnist(file)]
    if tables:
        raise DataError(f"{folder} holds tables of pixels: give one of them as --data FILE ({listed(tables)}).")
