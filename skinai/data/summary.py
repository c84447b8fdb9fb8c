"""Counts of a data set by diagnosis, subset and every other column: what `dataset.json` holds.

Counts only, so that the explorer works on a fresh clone without the pictures and without the metadata table.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from skinai.data.metadata import DataFolder
from skinai.errors import DataError

DATASET_FILE = "dataset.json"
COLUMNS = ("dx_type", "sex", "age_band", "localization")


@dataclass(frozen=True)
class DatasetSummary:
    """Counts of the pictures that were there when a model was trained.

    Attributes
    ----------
    name : str
    pictures, lesions : int
        As listed in the metadata.
    used : DataFrame
        ``dx``, ``subset``, ``pictures``, ``lesions`` of the pictures that were present.
    by_column : mapping of str to DataFrame
        For each of `COLUMNS`: ``dx``, ``subset``, ``value``, ``pictures``, ``lesions``.
    remarks : tuple of str
        What was odd about the data folder.
    """

    name: str
    pictures: int
    lesions: int
    used: pd.DataFrame
    by_column: Mapping[str, pd.DataFrame]
    remarks: tuple[str, ...]


def build_summary(
    data: DataFolder, split: pd.DataFrame, *, unreadable: Collection[str], remarks: tuple[str, ...]
) -> dict[str, Any]:
    """Count the present pictures; the result goes into ``dataset.json`` as it stands.

    Parameters
    ----------
    data : DataFolder
    split : DataFrame
    unreadable : collection of image_id
        Not counted.
    remarks : tuple of str
    """
    rows = data.present.merge(split[["image_id", "subset"]], on="image_id", how="inner")
    rows = rows[~rows["image_id"].isin(list(unreadable))]
    return {
        "name": data.labels.name,
        "pictures": len(data.table),
        "lesions": int(data.table["lesion_id"].nunique()),
        "used": _count(rows, ["dx", "subset"]),
        "by_column": {
            column: _count(rows.rename(columns={column: "value"}), ["dx", "subset", "value"]) for column in COLUMNS
        },
        "remarks": list(remarks),
    }


def read_summary(path: Path) -> DatasetSummary:
    """Read ``dataset.json``.

    Raises
    ------
    DataError
        If the file is missing or is no summary.
    """
    try:
        facts = json.loads(Path(path).read_text(encoding="utf-8"))
        return DatasetSummary(
            name=facts["name"],
            pictures=int(facts["pictures"]),
            lesions=int(facts["lesions"]),
            used=pd.DataFrame(facts["used"]),
            by_column={column: pd.DataFrame(facts["by_column"][column]) for column in COLUMNS},
            remarks=tuple(facts["remarks"]),
        )
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a data set summary.") from error


def _count(rows: pd.DataFrame, by: list[str]) -> list[dict[str, Any]]:
    counted = rows.groupby(by).agg(pictures=("image_id", "size"), lesions=("lesion_id", "nunique"))
    return counted.reset_index().to_dict(orient="records")
