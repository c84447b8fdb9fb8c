"""Look through any split for lesions and near-duplicates on both sides, class by class.

Beside what leaks stands what a random split by picture of the same size would leak, so that a reader sees at once which
of the two kinds a split is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from skinai.data.tables import listed, read_header, read_text_table
from skinai.errors import DataError

TOTAL = ""  # no class is called that
_IMAGE_COLUMNS = ("image_id", "image", "isic_id", "file", "filename")
_SUBSET_COLUMNS = ("subset", "split", "set", "fold", "partition")
_SPELLINGS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "holdout": "test",
}
LEAK_COLUMNS = ("dx", "subset", "pictures", "by_lesion", "by_pair", "leaked", "share", "expected")


@dataclass(frozen=True)
class SplitAudit:
    """What leaks from `train` into the subsets held out.

    Attributes
    ----------
    leaks : DataFrame
        One row a class and held-out subset, and one with ``dx`` = `TOTAL`: ``pictures``; ``by_lesion``, whose lesion
        is also in train; ``by_pair``, which a near-identical picture of another lesion in train gives away; ``leaked``,
        either; ``share`` of the pictures; and ``expected``, the share that a random split by picture would leak.
    lesions, pairs : tuple of str
        The lesions and the near-identical pairs that are divided between any two subsets.
    not_listed : tuple of image_id
        Pictures of the split that the data do not have; they are left out.
    not_split : tuple of image_id
        Pictures of the data that the split does not have.
    lesions_known : bool
        Whether anything says which pictures show the same lesion; else only near-identical pairs were looked for.
    """

    leaks: pd.DataFrame
    lesions: tuple[str, ...]
    pairs: tuple[str, ...]
    not_listed: tuple[str, ...]
    not_split: tuple[str, ...]
    lesions_known: bool = True

    @property
    def is_clean(self) -> bool:
        """Whether nothing lies on two sides."""
        return not self.lesions and not self.pairs


def read_any_split(path: Path) -> pd.DataFrame:
    """Read a split as other projects write it: a picture and its subset, in any column order and spelling.

    Returns
    -------
    DataFrame
        `image_id` as it is written, `subset` (train, valid, test) and, where the file has it, `lesion_id`.

    Raises
    ------
    DataError
        If the columns are not found, a subset is none of the three, or a picture comes twice.
    """
    path = Path(path)
    names = read_header(path)
    image = next((name for name in _IMAGE_COLUMNS if name in names), _IMAGE_COLUMNS[0])
    subset = next((name for name in _SUBSET_COLUMNS if name in names), _SUBSET_COLUMNS[0])
    if path.is_file() and names and not {image, subset} <= set(names):
        raise DataError(
            f"{path.name} needs a column image_id and a column subset (or split) with train, valid and test."
        )
    table = read_text_table(path, columns=(image, subset), filled=(image, subset), also=("lesion_id",))
    table = table.rename(columns={image: "image_id", subset: "subset"})
    subsets = table["subset"].str.lower()
    unknown = sorted(set(subsets) - set(_SPELLINGS))
    if unknown:
        raise DataError(f"Unknown subsets in {path.name}: {listed(unknown)}. Known are: train, valid, test.")
    split = table.assign(image_id=table["image_id"].str.replace("\\", "/"), subset=subsets.map(_SPELLINGS))
    repeated = split.loc[split["image_id"].duplicated(), "image_id"]
    if len(repeated):
        raise DataError(f"Repeated pictures in {path.name}: {listed(repeated)}.")
    if "lesion_id" not in split:
        return split[["image_id", "subset"]]
    # A picture without a lesion id is a lesion of its own.
    return split.assign(lesion_id=split["lesion_id"].where(split["lesion_id"] != "", split["image_id"]))[
        ["image_id", "subset", "lesion_id"]
    ]


def audit_split(
    split: pd.DataFrame,
    table: pd.DataFrame | None = None,
    near_duplicates: Iterable[tuple[str, str]] = (),
    *,
    lesions_known: bool = True,
) -> SplitAudit:
    """Look for pictures held out whose lesion, or near-identical picture, is in train.

    Parameters
    ----------
    split : DataFrame
        `image_id` and `subset`; `lesion_id` where there is no `table`.
    table : DataFrame, optional
        `image_id`, `lesion_id` and `dx` of the data. The split's own lesion ids are not believed where it is given.
    near_duplicates : pairs of image_id
    lesions_known : bool
        False where the lesion ids of `table` only repeat the image ids.

    Raises
    ------
    DataError
        If no lesion ids are at hand, or the split and the data have no picture in common.
    """
    near_duplicates = list(near_duplicates)
    if table is not None:
        split = _name_like(split, set(table["image_id"]))
        rows = split[["image_id", "subset"]].merge(table[["image_id", "lesion_id", "dx"]], on="image_id")
        not_listed = sorted(set(split["image_id"]) - set(table["image_id"]))
        not_split = sorted(set(table["image_id"]) - set(split["image_id"]))
        if rows.empty:
            raise DataError("The split and the data have no picture in common.")
    elif "lesion_id" in split:
        split = _name_like(split, {name for pair in near_duplicates for name in pair})
        rows, not_listed, not_split = split.assign(dx=TOTAL), [], []
        lesions_known = bool((split["lesion_id"] != split["image_id"]).any())
    else:
        raise DataError("The split has no lesion ids: give the data folder, whose metadata have them.")
    rows = rows.reset_index(drop=True)
    subset_of = dict(zip(rows["image_id"], rows["subset"], strict=True))
    lesion_of = dict(zip(rows["image_id"], rows["lesion_id"], strict=True))
    divided = [
        (first, second)
        for first, second in near_duplicates
        if first in subset_of and second in subset_of and subset_of[first] != subset_of[second]
        if lesion_of[first] != lesion_of[second]
    ]
    in_train = set(rows.loc[rows["subset"] == "train", "lesion_id"])
    given_away = {held for pair in divided for held, other in (pair, pair[::-1]) if subset_of[other] == "train"}
    sides = rows.groupby("lesion_id")["subset"].nunique()
    return SplitAudit(
        leaks=_count_leaks(rows, in_train, given_away),
        lesions=tuple(sorted(sides.index[sides > 1])),
        pairs=tuple(f"{first} and {second}" for first, second in sorted(divided)),
        not_listed=tuple(not_listed),
        not_split=tuple(not_split),
        lesions_known=lesions_known,
    )


def expect_leak(lesion_ids: pd.Series, *, train_share: float) -> pd.Series:
    """Return, for each picture, the chance that a random split by picture puts its lesion into train as well.

    Parameters
    ----------
    lesion_ids : Series
        The lesion of every picture that is split.
    train_share : float
        Share of the pictures that go into train, 0 to 1.

    Returns
    -------
    Series
        The chance for a picture that is held out: 1 less that of none of its lesion's other pictures being in train,
        all splits of that size being equally likely.

    Examples
    --------
    >>> expect_leak(pd.Series(["a", "b", "b"]), train_share=1 / 3).round(2).tolist()
    [0.0, 0.5, 0.5]
    """
    others = lesion_ids.map(lesion_ids.value_counts()) - 1
    left = len(lesion_ids) - 1
    held_out = left - round(train_share * len(lesion_ids))
    drawn = np.arange(int(others.max()) if len(others) else 0)
    none_of = np.concatenate([[1.0], np.cumprod(np.clip((held_out - drawn) / np.maximum(left - drawn, 1), 0, 1))])
    return pd.Series(1 - none_of[others.to_numpy()], index=lesion_ids.index)


def _name_like(split: pd.DataFrame, known: set[str]) -> pd.DataFrame:
    """Return the split with names less folder and ending, where that is what finds its pictures."""
    if set(split["image_id"]) & known:
        return split
    bare = split["image_id"].str.rsplit("/", n=1).str[-1]
    bare = bare.str.replace(r"\.(?:jpe?g|png)$", "", case=False, regex=True)
    return split if bare.duplicated().any() or not set(bare) & known else split.assign(image_id=bare)


def _count_leaks(rows: pd.DataFrame, in_train: set[str], given_away: set[str]) -> pd.DataFrame:
    held = rows[rows["subset"] != "train"]
    expected = expect_leak(rows["lesion_id"], train_share=float((rows["subset"] == "train").mean()))
    held = held.assign(
        by_lesion=held["lesion_id"].isin(in_train),
        by_pair=held["image_id"].isin(given_away),
        expected=expected[held.index],
    )
    held["leaked"] = held["by_lesion"] | held["by_pair"]
    parts = [held] if (held["dx"] == TOTAL).all() else [held, held.assign(dx=TOTAL)]
    figures = {"pictures": ("image_id", "size"), "by_lesion": ("by_lesion", "sum"), "by_pair": ("by_pair", "sum")}
    figures |= {"leaked": ("leaked", "sum"), "share": ("leaked", "mean"), "expected": ("expected", "mean")}
    counted = [part.groupby(["dx", "subset"]).agg(**figures).reset_index() for part in parts]
    return pd.concat(counted, ignore_index=True)[list(LEAK_COLUMNS)]
