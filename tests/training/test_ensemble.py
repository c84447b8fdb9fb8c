"""An ensemble answers with the mean of its members' logits, and only networks that fit together are joined."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from skinai.__main__ import main
from skinai.data.images import frame_picture, read_picture
from skinai.data.metadata import read_data_folder
from skinai.data.predictions import probability_matrix, read_predictions
from skinai.data.split import split_lesions
from skinai.errors import UsageError
from skinai.model.bundle import load_bundle
from skinai.serving.predictor import Predictor
from skinai.training.config import default_config
from skinai.training.ensemble import build_ensemble
from skinai.training.run import train_model


@pytest.fixture(scope="module")
def members(small_data, tmp_path_factory):
    data = read_data_folder(small_data)
    folders = []
    for seed in (0, 1):
        out = tmp_path_factory.mktemp("members") / f"seed{seed}"
        config = replace(default_config("seed-cnn"), epochs=2, precision="float32", seed=seed)
        train_model(config, data, split_lesions(data.table), out, verbose=False)
        folders.append(out)
    return folders


@pytest.mark.parametrize("mirror", [False, True], ids=["plain", "mirrored"])
def test_the_ensemble_is_the_calibrated_mean_of_its_members(members, small_data, tmp_path, mirror):
    out = tmp_path / "both"
    bundle = build_ensemble(members, read_data_folder(small_data), out, mirror=mirror)
    assert not (out / "model.keras").exists()
    assert [member["name"] for member in bundle.facts["members"]] == ["seed0", "seed1"]
    stored = read_predictions(out / "predictions_valid.csv")
    paths = read_data_folder(small_data).present.set_index("image_id")["path"]
    parts = []
    for folder in members:
        predictor = Predictor.load(folder)
        calibration = predictor.bundle.facts["calibration"]
        for turned in (False, True) if mirror else (False,):
            answers = []
            for image in stored["image"]:
                frame = frame_picture(read_picture(paths[image]), bundle.frame)
                frame = np.ascontiguousarray(frame[:, ::-1]) if turned else frame
                answers.append(predictor.session.run(frame)["probabilities"])
            # A softmax forgets a constant, which the softmax below forgets again.
            parts.append(np.log(answers) * calibration["temperature"] - calibration["offset"])
    own = bundle.facts["calibration"]
    logits = (np.mean(parts, axis=0) + own["offset"]) / own["temperature"]
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    # The export keeps its weights in 16 bits.
    np.testing.assert_allclose(probability_matrix(stored), expected, atol=5e-3)
    served = Predictor.load(out)
    answer = served.session.run(frame_picture(read_picture(paths[stored["image"][0]]), bundle.frame))
    np.testing.assert_allclose(answer["probabilities"], probability_matrix(stored)[0], atol=1e-5)
    assert answer["feature_map"].shape == (12, 16, 2 * 256)


def test_networks_that_do_not_fit_together_are_refused(members, small_data, tmp_path):
    data = read_data_folder(small_data)
    with pytest.raises(UsageError, match="two members or more"):
        build_ensemble(members[:1], data, tmp_path / "one")
    with pytest.raises(UsageError, match="named twice"):
        build_ensemble([members[0], members[0]], data, tmp_path / "same")
    with pytest.raises(UsageError, match="holds a finished model"):
        build_ensemble(members, data, members[0])
    other = shutil.copytree(members[1], tmp_path / "other")
    facts = json.loads((other / "bundle.json").read_text())
    facts["training"]["configuration"]["logit_adjustment"] = 1.0
    (other / "bundle.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="seed1 and seed0 differ in their logit adjustment"):
        build_ensemble([members[0], other], data, tmp_path / "unlike")
    assert not (tmp_path / "unlike").exists()


def test_the_command_joins_and_scores_on_valid(members, small_data, tmp_path, capsys):
    out = tmp_path / "both"
    arguments = ["ensemble", *map(str, members), "--data", str(small_data), "--out", str(out)]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "Joined 2 networks as both" in text
    assert f"both ({load_bundle(out).fingerprint}) on valid" in text
    assert not (out / "predictions_test.csv").exists()
    assert main(["evaluate", str(out), "--data", str(small_data), "--purpose", "an ensemble"]) == 0
    assert "| an ensemble |" in (tmp_path / "TEST_LOG.md").read_text()
