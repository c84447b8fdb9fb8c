"""An ensemble answers with the mean of its members' logits, and only networks that fit together are joined."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
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
from skinai.training.ensemble import VIEWS, View, build_ensemble
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


TURNS = {"plain": np.asarray, "mirrored": lambda frame: frame[:, ::-1], "upside_down": lambda frame: frame[::-1]}


@pytest.mark.parametrize("views", [["plain"], list(TURNS)], ids=["plain", "three-views"])
def test_the_ensemble_is_the_calibrated_mean_of_its_members(members, small_data, tmp_path, views):
    out = tmp_path / "both"
    bundle = build_ensemble(members, read_data_folder(small_data), out, views=views)
    assert not (out / "model.keras").exists()
    assert [member["name"] for member in bundle.facts["members"]] == ["seed0", "seed1"]
    stored = read_predictions(out / "predictions_valid.csv")
    paths = read_data_folder(small_data).present.set_index("image_id")["path"]
    parts = []
    for folder in members:
        predictor = Predictor.load(folder)
        calibration = predictor.bundle.facts["calibration"]
        for view in views:
            answers = []
            for image in stored["image"]:
                frame = frame_picture(read_picture(paths[image]), bundle.frame)
                frame = np.ascontiguousarray(TURNS[view](frame))
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
    with pytest.raises(UsageError, match="two members or two views"):
        build_ensemble(members[:1], data, tmp_path / "one")
    with pytest.raises(UsageError, match="named twice"):
        build_ensemble([members[0], members[0]], data, tmp_path / "same")
    with pytest.raises(UsageError, match="holds a finished model"):
        build_ensemble(members, data, members[0])
    other = shutil.copytree(members[1], tmp_path / "other")
    facts = json.loads((other / "bundle.json").read_text())
    facts["training"]["configuration"]["logit_adjustment"] = 1.0
    (other / "bundle.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="seed1 and seed0 differ in their treatment of the class prior"):
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


def test_test_pictures_that_cannot_be_read_are_not_counted_as_used(members, small_data, tmp_path):
    data = shutil.copytree(small_data, tmp_path / "data")
    split = pd.read_csv(members[0] / "split.csv")
    image = split.loc[split["subset"] == "test", "image_id"].iloc[-1]
    next(data.glob(f"*/{image}.jpg")).write_bytes(b"no picture")
    build_ensemble(members, read_data_folder(data), tmp_path / "out")
    used = [
        sum(row["pictures"] for row in json.loads((folder / "dataset.json").read_text())["used"])
        for folder in (members[0], tmp_path / "out")
    ]
    assert used[0] - used[1] == 1


@pytest.mark.parametrize("views", [[], ["plain", "plain"], ["sideways"], ["mirrored", "plain"]])
def test_views_that_cannot_be(members, small_data, tmp_path, views):
    with pytest.raises(UsageError, match="Received"):
        build_ensemble(members, read_data_folder(small_data), tmp_path / "out", views=views)


def test_a_network_of_one_size_takes_no_view_of_another(members, small_data, tmp_path):
    with pytest.raises(UsageError, match="seed-cnn takes pictures of one size only"):
        build_ensemble(members, read_data_folder(small_data), tmp_path / "out", views=["plain", "turned"])


@pytest.mark.parametrize("view", VIEWS)
def test_views_show_the_same_picture_differently(view):
    """A smooth picture whose grey says where each pixel comes from."""
    y, x = np.mgrid[0:40, 0:60].astype(np.float32)
    picture = np.stack([y, x, y], axis=-1)[None]
    seen = np.array(View(view)(picture))[0]
    ends = {  # row and column shown in the first and in the last pixel
        "plain": ((0, 0), (39, 59)),
        "mirrored": ((0, 59), (39, 0)),
        "upside_down": ((39, 0), (0, 59)),
        "turned": ((0, 0), (39, 59)),
        "close": ((4, 6), (35, 53)),
        "small": ((0, 0), (39, 59)),
        "small_mirrored": ((0, 59), (39, 0)),
        "small_turned": ((0, 0), (39, 59)),
    }
    sizes = {"small": (32, 49), "small_mirrored": (32, 49), "small_turned": (49, 32), "turned": (60, 40)}
    assert seen.shape == (*sizes.get(view, (40, 60)), 3)
    for pixel, expected in zip((seen[0, 0], seen[-1, -1]), ends[view], strict=True):
        assert pixel[:2] == pytest.approx(expected, abs=0.6)
    down_the_rows = seen[-1, 0, 1] - seen[0, 0, 1]  # how far the column shown moves from the first row to the last
    assert (abs(down_the_rows) > 30) == ("turned" in view)
