"""The form of a network that ships answers like the one that was trained, and is refused where it does not."""

import numpy as np
import pytest

from skinai.__main__ import main
from skinai.data.metadata import read_data_folder
from skinai.data.predictions import probability_matrix, read_predictions
from skinai.errors import UsageError
from skinai.model.bundle import load_bundle
from skinai.serving.assessment import Assessor
from skinai.training import slim


def test_the_lighter_form_answers_for_valid_like_the_network(small_model, small_data, tmp_path, capsys):
    out = tmp_path / "lighter"
    assert main(["slim", str(small_model), "--data", str(small_data), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "have another most probable class" in said
    assert f"lighter ({load_bundle(out).fingerprint}) on valid" in said
    assert not (out / "model.keras").exists()
    assert not (out / "predictions_test.csv").exists()
    before, after = (read_predictions(folder / "predictions_valid.csv") for folder in (small_model, out))
    assert before["image"].tolist() == after["image"].tolist()
    np.testing.assert_allclose(probability_matrix(after), probability_matrix(before), atol=0.02)
    assert (out / "model.tflite").stat().st_size < 0.6 * (small_model / "model.tflite").stat().st_size
    facts = load_bundle(out).facts["slimmed"]
    assert facts["from"] == load_bundle(small_model).fingerprint
    assert facts["pictures"] == len(before)
    assessor = Assessor.load(out)
    assert assessor.reference is not None
    with pytest.raises(UsageError, match="made lighter before"):
        slim.slim_model(out, read_data_folder(small_data), tmp_path / "again")


@pytest.mark.parametrize("name", ["MOST_BALANCED_ACCURACY", "MOST_SENSITIVITY"])
def test_a_lighter_form_that_costs_more_is_refused(small_model, small_data, tmp_path, monkeypatch, name):
    monkeypatch.setattr(slim, name, -1.0)
    with pytest.raises(UsageError, match="costs too much"):
        slim.slim_model(small_model, read_data_folder(small_data), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
