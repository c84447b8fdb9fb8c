"""Tables of predictions in the ISIC challenge's format, with truth, lesion and subgroup columns behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from skinai.artefacts import write_atomic
from skinai.data.tables import listed, refuse_torn_rows
from skinai.errors import DataError
from skinai.labels import HAM10000, LabelSet

# Why the gate refused a picture, empty where it passed; only in tables of a model that had a gate when it was asked.
GATE_COLUMN = "gate"
SUBGROUPS = ("age_band", "sex", "localization", "dx_type")


def build_predictions(rows: pd.DataFrame, probabilities: np.ndarray, labels: LabelSet = HAM10000) -> pd.DataFrame:
    """Join probabilities with what is known of their pictures.

    Parameters
    ----------
    rows : DataFrame
        With `image_id`, `lesion_id`, `group`, `dx` and the subgroup columns.
    probabilities : ndarray of shape (len(rows), len(labels))
        In the label set's order.

    Returns
    -------
    DataFrame
        ``image``, one upper-case column a class in ISIC's order, ``truth`` (a code), ``lesion``, ``group`` and the
        subgroup columns.
    """
    table = pd.DataFrame({"image": rows["image_id"].to_numpy()})
    for isic_code in labels.isic_order:
        table[isic_code] = probabilities[:, labels.index(labels.by_isic_code(isic_code).code)]
    table["truth"] = rows["dx"].to_numpy()
    table["lesion"] = rows["lesion_id"].to_numpy()
    table["group"] = rows["group"].to_numpy()
    for column in SUBGROUPS:
        table[column] = rows[column].to_numpy()
    return table


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Write predictions with six decimals."""
    write_atomic(path, table.to_csv(index=False, float_format="%.6f", lineterminator="\n"))


def read_predictions(path: Path, labels: LabelSet = HAM10000) -> pd.DataFrame:
    """Read and check a table of predictions.

    Raises
    ------
    DataError
        If the file is missing, a row is torn, columns are missing, a picture, its lesion or group is not named, a
        picture is repeated, a truth is unknown, or a row's probabilities lie outside 0 to 1 or do not sum to 1 within
        .001.
    """
    path = Path(path)
    try:
        table = pd.read_csv(
            path, dtype={"image": str, "truth": str, "lesion": str, "group": str}, keep_default_na=False
        )
    except FileNotFoundError as error:
        raise DataError(f"{path.name} is missing in {path.parent}.") from error
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path.name} is not a comma-separated UTF-8 table.") from error
    refuse_torn_rows(path)
    needed = ["image", *labels.isic_order, "truth", "lesion", "group", *SUBGROUPS]
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise DataError(f"Missing columns in {path.name}: {missing}.")
    if table.empty:
        raise DataError(f"{path.name} has no rows.")
    for column in ("image", "lesion", "group"):
        if (table[column].str.strip() == "").any():
            raise DataError(f"{path.name} has rows without {'an' if column == 'image' else 'a'} {column}.")
    repeated = table.loc[table["image"].duplicated(), "image"]
    if len(repeated):
        raise DataError(f"Repeated pictures in {path.name}: {listed(repeated)}.")
    unknown = sorted(set(table["truth"]) - set(labels.codes))
    if unknown:
        raise DataError(f"Unknown truth in {path.name}: {listed(unknown)}. Known are: {list(labels.codes)}.")
    check_probabilities(table, path.name, labels)
    return table


def check_probabilities(table: pd.DataFrame, name: str, labels: LabelSet = HAM10000) -> None:
    """Check the probabilities of a table called `name`.

    Raises
    ------
    DataError
        If one is no number, lies outside 0 to 1, or a row does not sum to 1 within .001.
    """
    probabilities = probability_matrix(table, labels)
    outside = ~((probabilities >= 0) & (probabilities <= 1)).all(axis=1)
    if outside.any():
        raise DataError(f"Probabilities that lie outside 0 to 1 in {name}: {listed(table.loc[outside, 'image'])}.")
    wrong = ~np.isclose(probabilities.sum(axis=1), 1, atol=1e-3)
    if wrong.any():
        raise DataError(f"Probabilities that do not sum to 1 in {name}: {listed(table.loc[wrong, 'image'])}.")


def probability_matrix(table: pd.DataFrame, labels: LabelSet = HAM10000) -> np.ndarray:
    """Return the probabilities of a table, shape (n, len(labels)), in the label set's order.

    Raises
    ------
    DataError
        If a value is no number.
    """
    columns = [label.isic_code for label in labels]
    try:
        return table[columns].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise DataError(f"The predictions hold a value that is no number: {error}.") from error
