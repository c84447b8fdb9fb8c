"""What is known of each test picture besides its probabilities: picture quality, and the nearest training cases."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from skinai.artefacts import read_gzip, write_gzip
from skinai.data.tables import refuse_torn_rows
from skinai.errors import DataError

CASES_FILE = "cases_test.csv.gz"
NEAREST = 3
QUALITY = ("sharpness", "share_black")
COLUMNS = (
    "image",
    *QUALITY,
    *(f"nearest_{rank}_{fact}" for rank in range(1, NEAREST + 1) for fact in ("image", "truth", "similarity")),
)


def write_cases(table: pd.DataFrame, folder: Path) -> None:
    """Write ``cases_test.csv.gz``: the columns of `COLUMNS`, one row a picture."""
    text = table[list(COLUMNS)].to_csv(index=False, float_format="%.4f", lineterminator="\n")
    write_gzip(Path(folder) / CASES_FILE, text.encode())


def read_cases(folder: Path) -> pd.DataFrame | None:
    """Read ``cases_test.csv.gz``, indexed by picture; None where a folder has none.

    Returns
    -------
    DataFrame or None
        ``sharpness``: mean of the logarithm (base 10) of the frame's power at fine detail. ``share_black``: the share
        of nearly black pixels, which dark corners have. ``nearest_K_image``, ``nearest_K_truth`` and
        ``nearest_K_similarity`` (cosine): the K-th nearest training lesion in the network's own space; empty where
        there are fewer.

    Raises
    ------
    DataError
        If it is damaged.
    """
    path = Path(folder) / CASES_FILE
    if not path.is_file():
        return None
    try:
        text = read_gzip(path).decode()
        refuse_torn_rows(path, text)
        table = pd.read_csv(
            io.StringIO(text),
            dtype={column: str for column in COLUMNS if column.endswith(("image", "truth"))},
            keep_default_na=False,
            na_values={column: [""] for column in COLUMNS},
        )
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise DataError(f"Missing columns in {path}: {missing}.")
    quality = table[list(QUALITY)]
    if not all(is_numeric_dtype(quality[column]) and np.isfinite(quality[column]).all() for column in QUALITY):
        raise DataError(f"{path} has a quality that is no number.")
    if table["image"].duplicated().any():
        raise DataError(f"{path} names a picture twice.")
    return table.set_index("image")
