"""Tables of predictions are ISIC's, complete, and refused when they are not probabilities."""

import numpy as np
import pandas as pd
import pytest

from skinai.data.predictions import build_predictions, probability_matrix, read_predictions, write_predictions
from skinai.errors import DataError
from skinai.labels import HAM10000


@pytest.fixture
def table():
    rows = pd.DataFrame(
        {
            "image_id": ["a", "b"],
            "lesion_id": ["L1", "L2"],
            "group": ["L1", "L2"],
            "dx": ["mel", "nv"],
            "age_band": ["0-19", "80+"],
            "sex": ["male", "female"],
            "localization": ["back", "face"],
            "dx_type": ["histo", "histo"],
        }
    )
    # In model order: akiec bcc bkl df mel nv vasc.
    probabilities = np.array([[0.01, 0.02, 0.03, 0.04, 0.7, 0.15, 0.05], [0.0, 0.0, 0.0, 0.0, 0.1, 0.9, 0.0]])
    return build_predictions(rows, probabilities)


def test_the_columns_are_isics_and_each_holds_its_own_class(table):
    assert table.columns[:8].tolist() == ["image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    first = table.iloc[0]
    assert (first["MEL"], first["NV"], first["AKIEC"], first["VASC"]) == (0.7, 0.15, 0.01, 0.05)


def test_what_is_written_is_read_back_in_model_order(table, tmp_path):
    write_predictions(table, tmp_path / "p.csv")
    again = read_predictions(tmp_path / "p.csv")
    assert probability_matrix(again).argmax(axis=1).tolist() == [HAM10000.index("mel"), HAM10000.index("nv")]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.drop(columns="MEL"), r"Missing columns .*'MEL'"),
        (lambda t: t.iloc[:0], "has no rows"),
        (lambda t: pd.concat([t, t]), "Repeated pictures .*: a, b"),
        (lambda t: t.assign(truth="melanoma"), "Unknown truth .*: melanoma"),
        (lambda t: t.assign(NV=0.9), "do not sum to 1 .*: a"),
        (lambda t: t.assign(NV=-0.2, MEL=1.0), "lie outside 0 to 1 .*: a, b"),
        (lambda t: t.assign(NV=1.2), "lie outside 0 to 1 .*: a"),
        (lambda t: t.assign(group=""), "has rows without a group"),
        (lambda t: t.assign(lesion=" "), "has rows without a lesion"),
        (lambda t: t.assign(NV="many"), "no number"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused(table, tmp_path, change, sentence):
    change(table).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(DataError, match=sentence):
        read_predictions(tmp_path / "p.csv")


def test_a_missing_table_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"p\.csv is missing"):
        read_predictions(tmp_path / "p.csv")
