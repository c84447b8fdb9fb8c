"""Divide lesions, never pictures, into train, valid and test.

Two pictures of one lesion on both sides of a split let a network recognise the lesion instead of the disease: under a
random 80/20 split by picture, about 68 % of HAM10000's melanoma test pictures have a sister picture in train. A
published list also names 18 pairs of near-identical pictures under different lesion ids; their lesions are united
before splitting.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd

from skinai.artefacts import write_atomic
from skinai.data.metadata import METADATA_FILE, DataFolder
from skinai.data.tables import listed, refuse_torn_rows
from skinai.errors import DataError

SUBSETS = ("train", "valid", "test")
SHARES = {"train": 0.65, "valid": 0.15, "test": 0.20}
DEFAULT_SEED = 20261123
SPLIT_FILE = "split.csv"


def read_near_duplicates(folder: Path | None = None) -> list[tuple[str, str]]:
    """Return the pairs of near-identical pictures: the list that ships with skinai, plus the folder's own.

    The list that ships was published with the Corrected-Skin-Image-Datasets; a data folder may add pairs in a
    `near_duplicates.csv` with the columns `image_id_a` and `image_id_b`.

    Raises
    ------
    DataError
        If the folder's list cannot be read or has a row without a picture.
    """
    with resources.as_file(resources.files("skinai.data").joinpath("near_duplicates.csv")) as shipped:
        pairs = read_pairs(shipped)
    if folder is not None and (own := Path(folder) / "near_duplicates.csv").is_file():
        pairs |= read_pairs(own)
    return sorted(pairs)


def read_pairs(path: Path) -> set[tuple[str, str]]:
    """Return the pairs of near-identical pictures in a table with `image_id_a` and `image_id_b`.

    Raises
    ------
    DataError
        If it cannot be read or has a row without a picture.
    """
    try:
        table = pd.read_csv(path, dtype=str, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path.name} is not a comma-separated UTF-8 table.") from error
    refuse_torn_rows(Path(path))
    columns = ["image_id_a", "image_id_b"]
    if not set(columns) <= set(table.columns):
        raise DataError(f"{path.name} needs image_id_a and image_id_b. It has: {listed(table.columns, at_most=40)}.")
    if table[columns].isna().any(axis=None):
        raise DataError(f"{path.name} has rows without a picture.")
    return {(min(pair), max(pair)) for pair in zip(table["image_id_a"], table["image_id_b"], strict=True)}


def require_lesions(data: DataFolder) -> None:
    """Refuse a table of pixels whose lesions are unknown: a split by lesion would be one by picture.

    Raises
    ------
    DataError
        If it was read without the metadata.
    """
    if data.pixels is not None and not data.lesions_known:
        raise DataError(
            f"{data.path.name} has no lesion ids, so it cannot be split by lesion: give HAM10000's metadata too "
            f"(--metadata {METADATA_FILE})."
        )


def split_lesions(
    table: pd.DataFrame,
    near_duplicates: Iterable[tuple[str, str]] = (),
    *,
    seed: int = DEFAULT_SEED,
    shares: dict[str, float] = SHARES,
) -> pd.DataFrame:
    """Split by lesion, stratified by diagnosis, the same for the same table and seed.

    Parameters
    ----------
    table : DataFrame
        With `image_id`, `lesion_id` and `dx`; rows whose picture is absent are split too, so a fuller copy of the
        data falls into the same subsets.
    near_duplicates : pairs of image_id
        Lesions joined by a pair get into one group; pairs naming unknown pictures are passed over.
    seed : int
    shares : dict
        Share of the lesions of each diagnosis by subset; sums to 1.

    Returns
    -------
    DataFrame
        `image_id`, `lesion_id`, `group`, `subset`, sorted by `image_id`. `group` is the first lesion id of the
        lesions that belong together.
    """
    if abs(sum(shares.values()) - 1) > 1e-9:
        raise DataError(f"The shares of a split sum to 1. Received: {shares}.")
    group_of = unite_lesions(table, near_duplicates)
    rows = table[["image_id", "lesion_id", "dx"]].assign(group=table["lesion_id"].map(group_of))
    lesions = rows.groupby("group").agg(dx=("dx", "first"), lesions=("lesion_id", "nunique")).sort_index()
    rng = np.random.default_rng(seed)
    subset_of: dict[str, str] = {}
    for _, stratum in lesions.groupby("dx"):
        stratum = stratum.iloc[rng.permutation(len(stratum))]
        # A group goes where the middle of its run of lesions falls, so the shares count lesions, not groups.
        middle = (stratum["lesions"].cumsum() - stratum["lesions"] / 2) / stratum["lesions"].sum()
        edges = np.cumsum(list(shares.values()))[:-1]
        names = np.array(list(shares))[np.searchsorted(edges, middle.to_numpy(), side="right")]
        subset_of.update(zip(stratum.index, names, strict=True))
    rows["subset"] = rows["group"].map(subset_of)
    return rows[["image_id", "lesion_id", "group", "subset"]].sort_values("image_id", ignore_index=True)


def rotate_split(split: pd.DataFrame, table: pd.DataFrame, *, fold: int, folds: int) -> pd.DataFrame:
    """Divide the lesions of train and valid anew: one fold is valid, the others are train; test stays as it is.

    Parameters
    ----------
    split : DataFrame
        From :func:`split_lesions`.
    table : DataFrame
        With `image_id` and `dx`; the folds are stratified by diagnosis.
    fold : int
        From 1 to `folds`.
    folds : int
        At least 2.

    Raises
    ------
    DataError
        If `fold` is not one of them.
    """
    if folds < 2 or not 1 <= fold <= folds:
        raise DataError(f"A fold is one of 1 to the number of folds, which is 2 or more. Received: {fold} of {folds}.")
    rows = split.merge(table[["image_id", "dx"]], on="image_id")
    lesions = rows[rows["subset"] != "test"].groupby("group")["dx"].first().sort_index()
    rng = np.random.default_rng((DEFAULT_SEED, folds))
    held_out: set[str] = set()
    for _, stratum in lesions.groupby(lesions):
        held_out |= set(stratum.index[rng.permutation(len(stratum))][fold - 1 :: folds])
    inside = split["subset"] != "test"
    subset = np.where(inside, np.where(split["group"].isin(held_out), "valid", "train"), "test")
    return split.assign(subset=subset)


def split_pictures(table: pd.DataFrame, *, seed: int = DEFAULT_SEED, shares: dict[str, float] = SHARES) -> pd.DataFrame:
    """Split by picture, as many published figures were made: pictures of one lesion fall on both sides.

    For measuring how much that flatters a network, and for nothing else; no model trained on it may ship.

    Parameters
    ----------
    table : DataFrame
        With `image_id`, `lesion_id` and `dx`.
    seed : int
    shares : dict
        Share of the pictures of each diagnosis by subset.

    Returns
    -------
    DataFrame
        As :func:`split_lesions`; `group` is the picture itself.
    """
    rows = table[["image_id", "lesion_id", "dx"]].assign(group=table["image_id"]).sort_values("image_id")
    rng = np.random.default_rng(seed)
    edges = np.cumsum(list(shares.values()))[:-1]
    parts = []
    for _, stratum in rows.groupby("dx"):
        stratum = stratum.iloc[rng.permutation(len(stratum))]
        place = (np.arange(len(stratum)) + 0.5) / len(stratum)
        parts.append(stratum.assign(subset=np.array(list(shares))[np.searchsorted(edges, place, side="right")]))
    split = pd.concat(parts)
    return split[["image_id", "lesion_id", "group", "subset"]].sort_values("image_id", ignore_index=True)


def write_split(split: pd.DataFrame, path: Path) -> None:
    """Write a split; an existing file is never overwritten.

    Raises
    ------
    DataError
        If the file exists.
    """
    if Path(path).exists():
        raise DataError(f"{path} exists; a split is written once. Name another file, or remove it first.")
    write_atomic(Path(path), split.to_csv(index=False, lineterminator="\n"))


def read_split(path: Path, *, by_picture: bool = False) -> pd.DataFrame:
    """Read and check a split.

    Parameters
    ----------
    path : Path
    by_picture : bool
        The split is from :func:`split_pictures` and leaks on purpose.

    Raises
    ------
    DataError
        If a row is torn, columns are missing, a subset is unknown, an `image_id` is repeated, or a lesion or group lies
        in two subsets.
    """
    try:
        split = pd.read_csv(path, dtype=str)
    except FileNotFoundError as error:
        raise DataError(f"The split {path} does not exist.") from error
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is not a comma-separated UTF-8 table.") from error
    refuse_torn_rows(Path(path))
    missing = [column for column in ("image_id", "lesion_id", "group", "subset") if column not in split.columns]
    if missing:
        raise DataError(f"Missing columns in {path}: {missing}.")
    for column in ("image_id", "lesion_id", "group"):
        if split[column].isna().any():
            raise DataError(f"{path} has rows without {column}.")
    if split.empty:
        raise DataError(f"{path} has no rows.")
    unknown = sorted(set(split["subset"].fillna("")) - set(SUBSETS))
    if unknown:
        raise DataError(f"Unknown subsets in {path}: {listed(unknown)}. Known are: {list(SUBSETS)}.")
    repeated = split.loc[split["image_id"].duplicated(), "image_id"]
    if len(repeated):
        raise DataError(f"Repeated image_id in {path}: {listed(repeated)}.")
    if not by_picture and (leaks := find_leaks(split)):
        raise DataError(f"Lesions in more than one subset in {path}: {listed(leaks)}.")
    return split


def check_split(split: pd.DataFrame, table: pd.DataFrame, near_duplicates: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Check a split against the metadata: a file's own lesion ids and groups may be wrong.

    Parameters
    ----------
    split : DataFrame
    table : DataFrame
        With `image_id` and `lesion_id`.
    near_duplicates : pairs of image_id

    Returns
    -------
    DataFrame
        The split with `lesion_id` as the metadata have it, and `group` joined by them, by near-duplicates and by the
        split's own groups, as far as those lie in one subset; pictures that the metadata do not list are left out.

    Raises
    ------
    DataError
        If a lesion, or lesions joined by near-duplicates, lie in two subsets.
    """
    rows = split[["image_id", "group", "subset"]].merge(table[["image_id", "lesion_id"]], on="image_id")
    first = rows.groupby(["group", "subset"])["image_id"].transform("first")
    group_of = unite_lesions(table, [*near_duplicates, *zip(first, rows["image_id"], strict=True)])
    rows["group"] = rows["lesion_id"].map(group_of)
    if leaks := find_leaks(rows):
        raise DataError(f"The split has lesions in more than one subset: {listed(leaks)}.")
    return rows[["image_id", "lesion_id", "group", "subset"]].sort_values("image_id", ignore_index=True)


def find_leaks(split: pd.DataFrame) -> list[str]:
    """Return the lesion ids and groups that lie in more than one subset."""
    leaks: set[str] = set()
    for column in ("lesion_id", "group"):
        subsets = split.groupby(column)["subset"].nunique()
        leaks |= set(subsets.index[subsets > 1])
    return sorted(leaks)


def unite_lesions(table: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the group of every lesion: the smallest lesion id among those joined by pairs of pictures.

    Parameters
    ----------
    table : DataFrame
        With `image_id` and `lesion_id`.
    pairs : pairs of image_id
        Pairs naming unknown pictures are passed over.
    """
    parent = {lesion: lesion for lesion in table["lesion_id"]}
    lesion_of = dict(zip(table["image_id"], table["lesion_id"], strict=True))

    def root(lesion: str) -> str:
        while parent[lesion] != lesion:
            lesion = parent[lesion]
        return lesion

    for a, b in pairs:
        if a in lesion_of and b in lesion_of:
            first, second = sorted((root(lesion_of[a]), root(lesion_of[b])))
            parent[second] = first
    return {lesion: root(lesion) for lesion in parent}
