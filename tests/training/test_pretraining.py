"""A network learns from pictures without diagnoses, and training goes on from there."""

import json
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from conftest import shorten_lite0

from skinai.__main__ import main
from skinai.data.drawing import draw_lesion
from skinai.errors import ModelError, UsageError
from skinai.model.architectures import LOGITS, build_network, find_architecture
from skinai.training.config import default_config
from skinai.training.fit import Subset, fit_network
from skinai.training.pretraining import (
    PretrainingConfig,
    check_pretraining,
    draw_partners,
    find_loss,
    name_checkpoint,
    pretrain_network,
    read_pretrained,
)
from skinai.training.run import check_pretrained


@pytest.fixture(scope="module", autouse=True)
def _short():
    with pytest.MonkeyPatch.context() as patch:
        shorten_lite0(patch)
        yield


@pytest.fixture(scope="module")
def pictures():
    return np.stack([draw_lesion(number, width_px=96, height_px=72) for number in range(16)])


def run_pretraining(pictures, path, *, say, **options):
    config = PretrainingConfig(architecture="efficientnet-lite0", epochs=2, batch_size=8, crop_px=32, seed=3)
    image_ids = np.array([f"I{number}" for number in range(16)])
    return pretrain_network(config, pictures, np.arange(16) // 2, image_ids, path, data_hash="d", say=say, **options)


@pytest.fixture(scope="module")
def pretrained(pictures, tmp_path_factory):
    """Weights after two epochs on 16 pictures of eight lesions, and the losses."""
    path, said = tmp_path_factory.mktemp("pretrained") / "weights.npz", []
    return path, run_pretraining(pictures, path, say=said.append), said


def test_the_loss_of_a_network_that_sees_nothing_is_that_of_guessing():
    projected = tf.ones((10, 4)) / 2
    assert float(find_loss(projected, 0.2)) == pytest.approx(np.log(9), abs=1e-5)


def test_the_loss_is_small_where_views_of_the_same_lie_together_and_large_where_they_do_not():
    axes = tf.eye(5)
    assert float(find_loss(tf.concat([axes, axes], 0), 0.1)) < 0.01
    assert float(find_loss(tf.concat([axes, tf.roll(axes, 1, 0)], 0), 0.1)) > 5


def test_a_partner_is_any_picture_of_the_same_lesion():
    lesions = np.array(["b", "a", "b", "c", "a", "b"])
    rng = np.random.default_rng(0)
    drawn = np.stack([draw_partners(lesions, rng) for _ in range(200)])
    for row, lesion in enumerate(lesions):
        assert set(drawn[:, row]) == set(np.flatnonzero(lesions == lesion))


def test_pretraining_changes_every_layer_but_the_last_and_says_how_far_it_is(pretrained, pictures):
    path, losses, said = pretrained
    found = read_pretrained(path)
    assert found.facts["epochs"] == len(losses) == len(said) == 2
    assert found.facts["losses"] == losses
    assert found.image_ids == {f"I{number}" for number in range(16)}
    keras.utils.set_random_seed(3)
    network = build_network(find_architecture("efficientnet-lite0"), 3)
    before = {layer.name: layer.get_weights() for layer in network.layers if layer.get_weights()}
    found.fill(network)
    for name, weights in before.items():
        now = network.get_layer(name).get_weights()
        same = all(np.array_equal(old, new) for old, new in zip(weights, now, strict=True))
        assert same == (name == LOGITS)


def test_a_pretraining_that_was_interrupted_is_told_and_goes_on_to_the_same_weights(
    pretrained, pictures, small_data, tmp_path, capsys, monkeypatch
):
    path = tmp_path / "weights.npz"

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_pretraining(pictures, path, say=stop)
    assert read_pretrained(path).facts["epochs"] == 1
    with pytest.raises(UsageError, match=r"weights\.checkpoint\.npz belongs to .* give --resume"):
        check_pretraining(path, resume=False)
    train = ["train", "--data", str(small_data), "--architecture", "efficientnet-lite0", "--init", str(path)]
    with monkeypatch.context() as patch:
        patch.setattr("skinai.training.run.load_run_data", stop)  # it has been told by then
        assert main([*train, "--out", str(tmp_path / "out")]) == 130
    assert "weights.npz holds the weights after 1 of the 2 epochs of its pre-training." in capsys.readouterr().out
    check_pretraining(path, resume=True)
    assert run_pretraining(pictures, path, say=str, resume=True) == pytest.approx(pretrained[1], rel=1e-5)
    whole = read_pretrained(pretrained[0]).weights
    for name, weights in read_pretrained(path).weights.items():
        for mine, theirs in zip(weights, whole[name], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
    assert not name_checkpoint(path).exists()
    with pytest.raises(UsageError, match=r"weights\.npz exists; name another file"):
        check_pretraining(path, resume=False)
    with pytest.raises(UsageError, match="There is no interrupted pre-training"):
        check_pretraining(path, resume=True)


def test_training_starts_from_the_file(pretrained, pictures, tmp_path):
    """At a learning rate of almost nothing the trained network is the pre-trained one."""
    found = read_pretrained(pretrained[0])
    config = replace(
        default_config("efficientnet-lite0"),
        **{"init": "pretrained", "epochs": 1, "learning_rate": 1e-9, "average_decay": 0.0, "crop_px": (32,)},
    )
    subset = Subset(pictures, np.arange(16) % 2)
    network, _ = fit_network(
        config,
        subset,
        subset,
        class_count=2,
        checkpoint_path=tmp_path / "c.npz",
        data_hash="x",
        initial=found,
        verbose=False,
    )
    for name in ("stem_conv", "block4_expand_conv", "head_conv"):
        np.testing.assert_allclose(network.get_layer(name).get_weights()[0], found.weights[name][0], atol=1e-6)


def test_weights_that_have_seen_valid_or_test_are_refused(pretrained):
    split = pd.DataFrame({"image_id": ["I3", "I4", "J1"], "subset": ["train", "train", "test"]})
    assert check_pretrained(pretrained[0], "efficientnet-lite0", split).image_ids
    for subset in ("valid", "test"):
        split.loc[1, "subset"] = subset
        with pytest.raises(UsageError, match=r"was pre-trained on pictures of valid or test: I4\.$"):
            check_pretrained(pretrained[0], "efficientnet-lite0", split)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--init", "nothing.npz"], "There is no file nothing.npz; --init takes imagenet, random or a file"),
        (["--set", "init=pretrained"], "Pre-trained weights come from a file: give --init FILE."),
    ],
)
def test_what_is_no_file_of_weights_is_said(arguments, sentence, small_data, tmp_path, capsys):
    command = ["train", "--data", str(small_data), "--architecture", "efficientnet-lite0", *arguments]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err


def test_weights_of_another_network_are_refused(pretrained, small_data, tmp_path, capsys):
    command = ["train", "--data", str(small_data), "--architecture", "mobilenet-v2", "--init", str(pretrained[0])]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "holds weights of efficientnet-lite0, not of mobilenet-v2." in capsys.readouterr().err


def test_a_damaged_file_is_refused(pretrained, tmp_path):
    content = pretrained[0].read_bytes()
    path = tmp_path / "weights.npz"
    for damaged in (b"", content[: len(content) // 2], content[:5000] + bytes(2000) + content[7000:]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"weights\.npz holds no readable pre-trained weights"):
            read_pretrained(path)


def test_weights_that_do_not_fit_are_named(pretrained):
    found = read_pretrained(pretrained[0])
    del found.weights["stem_conv"]
    with pytest.raises(ModelError, match="The pre-trained weights of stem_conv do not fit"):
        found.fill(build_network(find_architecture("efficientnet-lite0"), 3))


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch_size": 1}, {"architecture": "seed-cnn"}])
def test_a_pretraining_that_cannot_be_is_refused(change):
    with pytest.raises(UsageError):
        PretrainingConfig(**{"architecture": "efficientnet-lite0"} | change)


def test_too_few_pictures_for_a_batch_are_said(pictures, tmp_path):
    config = PretrainingConfig(architecture="efficientnet-lite0")
    with pytest.raises(UsageError, match="16 pictures do not fill one batch of 96"):
        pretrain_network(config, pictures, np.arange(16), np.arange(16), tmp_path / "w.npz", data_hash="d")


def test_the_file_names_what_made_it(pretrained):
    facts = read_pretrained(pretrained[0]).facts
    assert facts["configuration"]["architecture"] == "efficientnet-lite0"
    assert facts["data_sha256"] == "d"
    json.dumps(facts)
