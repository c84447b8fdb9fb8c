"""An interrupted run goes on as if it had never stopped."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from conftest import shorten_lite0

from skinai.__main__ import main
from skinai.data.images import FrameRule
from skinai.data.metadata import read_data_folder
from skinai.data.split import split_lesions, write_split
from skinai.errors import UsageError
from skinai.model.architectures import BuildOptions, build_network, find_architecture
from skinai.model.bundle import load_bundle
from skinai.model.efficientnet_lite import find_depths
from skinai.training import fit as fit_module
from skinai.training.calibration import fit_calibration, log_softmax, logit_offset
from skinai.training.config import TrainingConfig, default_config
from skinai.training.fit import (
    Subset,
    best_epoch,
    choose_precision,
    class_prior,
    configured_architecture,
    fit_network,
    kept_epoch,
    run_network,
)
from skinai.training.run import as_subset, ask_teacher, load_run_data, train_model

ROOT = Path(__file__).resolve().parents[2]


# The seed CNN for pictures of a quarter of its size: what is tested here does not depend on it.
SMALL = replace(find_architecture("seed-cnn"), frame=FrameRule(64, 48), crop_px=(48, 64))


@pytest.fixture
def small_network(monkeypatch):
    monkeypatch.setattr(fit_module, "configured_architecture", lambda config: SMALL)


@pytest.fixture(scope="module")
def small_pictures(small_data):
    data = read_data_folder(small_data)
    run = load_run_data(data, split_lesions(data.table), SMALL.frame, subsets=("train", "valid"), verbose=False)
    return tuple(as_subset(run.frames[name], data.labels.codes) for name in ("train", "valid"))


# The pictures to train on are so many times three: a last batch of another size would be traced once more.
BATCH_SIZE = 17


def small_config(**changes):
    return replace(default_config("seed-cnn"), **{"batch_size": BATCH_SIZE, "precision": "float32"} | changes)


@pytest.fixture
def subsets(small_network, small_pictures):
    """Pictures to train and to validate on, which `fit` gives to a network of their size."""
    return small_pictures


def softmax(logits):
    return np.exp(log_softmax(logits))


def fit(config, subsets, path, **options):
    return fit_network(config, *subsets, class_count=7, checkpoint_path=path, data_hash="x", verbose=False, **options)


class StoppedError(Exception):
    pass


def stop_after(epochs):
    def on_epoch(history):
        if len(history) == epochs:
            raise StoppedError

    return on_epoch


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adamw", "schedule": "cosine", "warmup_epochs": 1.0, "average_decay": 0.9, "weight_decay": 0.01},
    ],
    ids=["adam", "adamw-cosine-average"],
)
def test_a_resumed_run_ends_with_the_same_weights(subsets, tmp_path, changes):
    config = small_config(epochs=3, **changes)
    whole, history = fit(config, subsets, tmp_path / "whole.npz")
    with pytest.raises(StoppedError):
        fit(config, subsets, tmp_path / "cut.npz", on_epoch=stop_after(1))
    resumed, resumed_history = fit(config, subsets, tmp_path / "cut.npz", resume=True)
    assert [row["epoch"] for row in resumed_history] == [1, 2, 3]
    for a, b in zip(history, resumed_history, strict=True):
        assert a["valid_log_loss"] == pytest.approx(b["valid_log_loss"], abs=1e-4)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_every_device_of_the_bench_survives_an_interruption(small_data, tmp_path, monkeypatch):
    """Progressive crops, artefacts, mixing, weighing, uneven drawing, frozen layers: stopped between two crop sizes."""
    shorten_lite0(monkeypatch)
    config = replace(
        default_config("efficientnet-lite0"),
        init="random",
        epochs=2,
        batch_size=BATCH_SIZE,
        frame_width_px=64,
        crop_px=(32, 48),
        artefacts=0.5,
        mixup=0.2,
        cutmix=0.5,
        focal=1.0,
        class_weight=0.3,
        balance=0.5,
        drop_path=0.2,
        layer_decay=0.9,
        frozen_blocks=3,
        average_decay=0.0,
    )
    data = read_data_folder(small_data)
    frame = configured_architecture(config).frame
    run = load_run_data(data, split_lesions(data.table), frame, subsets=("train", "valid"))
    pictures = tuple(as_subset(run.frames[name], data.labels.codes) for name in ("train", "valid"))
    assert pictures[0].pixels.shape[1:] == (48, 64, 3)
    whole_path, cut_path = tmp_path / "whole.npz", tmp_path / "cut.npz"

    def keep_first(history):
        if len(history) == 1:
            shutil.copy(whole_path, cut_path)

    whole, history = fit(config, pictures, whole_path, on_epoch=keep_first)
    resumed, resumed_history = fit(config, pictures, cut_path, resume=True)
    assert [row["valid_log_loss"] for row in history] == pytest.approx(
        [row["valid_log_loss"] for row in resumed_history], abs=1e-3
    )
    keras.utils.set_random_seed(config.seed)
    untouched = build_network(configured_architecture(config), 7, options=BuildOptions(for_training=True))
    depths = find_depths([layer.name for layer in whole.layers])
    for layer in (layer for layer in whole.layers if layer.weights):
        before, after = untouched.get_layer(layer.name).get_weights(), layer.get_weights()
        same = all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        assert same == (depths[layer.name] < 3), layer.name
        for a, b in zip(after, resumed.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3)


def test_the_last_epoch_is_kept_where_valid_must_choose_nothing(subsets, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "best_epoch", lambda history: 1)  # whatever valid says
    config = small_config(epochs=4, learning_rate=0.02, patience=1, keep="last")
    network, history = fit(config, subsets, tmp_path / "c.npz")
    assert len(history) == 4
    assert kept_epoch(history, config) == 4
    prior = class_prior(subsets[0].truth, 7)
    _, tried = fit_calibration(run_network(network, subsets[1].pixels), subsets[1].truth, prior, removed=0.0)
    assert min(row["log_loss"] for row in tried) == pytest.approx(history[-1]["valid_log_loss"], abs=1e-4)


def test_precision_is_chosen_by_what_the_machine_computes_well(monkeypatch):
    monkeypatch.setattr(fit_module.tf.config, "list_physical_devices", lambda kind: [])
    for has, chosen in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(fit_module, "has_bfloat16", lambda has=has: has)
        assert choose_precision(default_config("seed-cnn")) == chosen
        assert choose_precision(default_config("efficientnet-lite0")) == "float32"
    monkeypatch.setattr(fit_module.tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    assert choose_precision(default_config("efficientnet-lite0")) == "float16"
    assert choose_precision(replace(default_config("seed-cnn"), precision="float32")) == "float32"


def test_half_precision_scales_its_loss_and_learns(subsets, tmp_path, monkeypatch):
    config = small_config(epochs=6, batch_size=8, precision="float16", augment=False)
    scaled = []
    plain = keras.optimizers.LossScaleOptimizer.scale_loss
    monkeypatch.setattr(
        keras.optimizers.LossScaleOptimizer, "scale_loss", lambda self, loss: scaled.append(1) or plain(self, loss)
    )
    network, history = fit(config, subsets, tmp_path / "c.npz")
    assert scaled
    assert history[-1]["loss"] < history[0]["loss"]
    assert all(np.isfinite(weights).all() for weights in network.get_weights())


def test_training_learns_to_tell_the_drawn_classes_apart(subsets, tmp_path):
    config = small_config(epochs=40, batch_size=8, patience=40, augment=False)
    _, history = fit(config, subsets, tmp_path / "c.npz")
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    assert history[best_epoch(history) - 1]["valid_accuracy"] > 0.5


def test_training_stops_early_and_returns_the_best_weights(subsets, tmp_path):
    """A rate so high that the loss grows again: the network returned must score what the best epoch scored."""
    config = small_config(epochs=12, learning_rate=0.02, patience=2)
    network, history = fit(config, subsets, tmp_path / "c.npz")
    best = best_epoch(history)
    assert len(history) == min(best + 2, 12)
    assert history[-1]["valid_log_loss"] > history[best - 1]["valid_log_loss"]
    prior = class_prior(subsets[0].truth, 7)
    _, tried = fit_calibration(run_network(network, subsets[1].pixels), subsets[1].truth, prior, removed=0.0)
    least = min(row["log_loss"] for row in tried)
    assert least == pytest.approx(history[best - 1]["valid_log_loss"], abs=1e-4)


def test_a_network_without_imagenet_weights_does_not_pretend(small_data, tmp_path):
    data = read_data_folder(small_data)
    config = replace(default_config("seed-cnn"), init="imagenet")
    with pytest.raises(UsageError, match="seed-cnn has no ImageNet weights"):
        train_model(config, data, split_lesions(data.table), tmp_path / "model", verbose=False)
    assert not (tmp_path / "model").exists()


def test_other_diagnoses_are_other_data(small_data):
    data = read_data_folder(small_data)
    split, frame = split_lesions(data.table), find_architecture("seed-cnn").frame
    before = load_run_data(data, split, frame, subsets=("valid",), verbose=False).data_hash
    data.table["dx"] = data.table["dx"].replace("mel", "nv")
    assert load_run_data(data, split, frame, subsets=("valid",), verbose=False).data_hash != before


def test_a_checkpoint_of_another_run_is_refused(subsets, tmp_path):
    config = small_config(epochs=1)
    path = tmp_path / "c.npz"
    fit(config, subsets, path)
    with pytest.raises(UsageError, match="another configuration"):
        fit(replace(config, seed=9), subsets, path, resume=True)
    with pytest.raises(UsageError, match="other pictures or another split"):
        fit_network(config, *subsets, class_count=7, checkpoint_path=path, data_hash="y", resume=True, verbose=False)
    with pytest.raises(UsageError, match="no interrupted run"):
        fit(config, subsets, tmp_path / "absent.npz", resume=True)
    content = path.read_bytes()
    for damaged in (content[:1000], b""):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match="is damaged"):
            fit(config, subsets, path, resume=True)


def test_kill_9_during_training_resumes_through_the_command_line(small_data, tmp_path, capsys):
    out = tmp_path / "model"
    arguments = ["train", "--data", str(small_data), "--architecture", "seed-cnn", "--epochs", "3"]
    arguments += ["--batch-size", str(BATCH_SIZE), "--set", "precision=float32", "--no-test", "--out", str(out)]
    command = [sys.executable, "-m", "skinai", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = out / "checkpoint.npz"
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (out / "bundle.json").exists()
    assert main(arguments) == 2
    assert "holds an interrupted run; give --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    log = pd.read_csv(out / "training_log.csv")
    assert log["epoch"].tolist() == [1, 2, 3]
    (events,) = (out / "tensorboard").glob("events.out.tfevents.*")
    whole = tmp_path / "whole"
    assert main([str(whole) if part == str(out) else part for part in arguments]) == 0
    expected = pd.read_csv(whole / "training_log.csv")
    for name in ("valid_log_loss", "valid_accuracy", "valid_balanced_accuracy"):
        assert log[name].tolist() == pytest.approx(expected[name].tolist(), abs=0.01)
    losses = [
        value.simple_value
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
        if value.tag == "valid_log_loss"
    ]
    assert losses == pytest.approx(log["valid_log_loss"].tolist())
    assert not checkpoint.exists()
    assert main([*arguments, "--resume"]) == 2
    assert "holds a finished model" in capsys.readouterr().err


def test_a_run_killed_in_its_first_epoch_begins_again(small_data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "model"
    command = ["train", "--data", str(small_data), "--architecture", "seed-cnn", "--epochs", "1", "--no-test"]
    command += ["--batch-size", str(BATCH_SIZE), "--out", str(out), "--resume"]
    assert main(command) == 2
    assert "There is no interrupted run in" in capsys.readouterr().err

    def die(self, batches, epoch, on_batch):
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(fit_module._Trainer, "run_epoch", die)
        with pytest.raises(StoppedError):
            main(command[:-1])
    assert (out / "run.json").exists()
    assert not (out / "checkpoint.npz").exists()
    assert main(command) == 0
    assert pd.read_csv(out / "training_log.csv")["epoch"].tolist() == [1]


def test_the_time_left_counts_the_pixels_of_later_epochs():
    config = replace(default_config("efficientnet-lite0"), init="random", epochs=4, crop_px=(32, 64))
    trainer = fit_module._Trainer(config, configured_architecture(config), np.array([0.5, 0.5]), 2, steps=1)
    assert [trainer.compare_work(epoch) for epoch in range(4)] == [9, 8, 1, 0]


def test_a_teacher_is_a_folder(small_data, tmp_path, capsys):
    command = ["train", "--data", str(small_data), "--architecture", "seed-cnn", "--out", str(tmp_path / "model")]
    assert main([*command, "--set", "teacher=abc"]) == 2
    assert "A teacher is a model folder: give --teacher FOLDER." in capsys.readouterr().err


def test_a_run_killed_after_its_last_checkpoint_still_writes_the_whole_log(small_data, tmp_path, monkeypatch):
    from skinai.training import run as run_module

    data = read_data_folder(small_data)
    split, out = split_lesions(data.table), tmp_path / "model"
    config = small_config(epochs=1)

    def die(history, folder):
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_write_log", die)
        with pytest.raises(StoppedError):
            run_module.train_model(config, data, split, out, verbose=False)
    assert not (out / "training_log.csv").exists()
    run_module.train_model(config, data, split, out, resume=True, verbose=False)
    assert pd.read_csv(out / "training_log.csv")["epoch"].tolist() == [1]


def test_the_seed_cnn_is_the_described_network():
    """Convolutions each followed by max pooling and dropout, then one dense layer for the softmax."""
    network = build_network(find_architecture("seed-cnn"), 7)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["InputLayer", "Rescaling", *["Conv2D", "MaxPooling2D", "Dropout"] * 4, "Flatten", "Dense"]
    config = default_config("seed-cnn")
    assert (config.batch_size, config.optimizer, config.logit_adjustment) == (32, "adam", 0.0)


def test_no_class_has_a_prior_of_zero():
    assert class_prior(np.array([0, 0]), 2).tolist() == [0.75, 0.25]


@pytest.mark.parametrize("change", [{"epochs": 0}, {"optimizer": "sgd"}, {"learning_rate": -1.0}, {"init": "jft"}])
def test_an_impossible_configuration_is_refused(change):
    with pytest.raises(UsageError, match="Received"):
        TrainingConfig(architecture="seed-cnn", **change)


def test_a_subset_holds_pictures_and_classes(subsets):
    train, valid = subsets
    assert isinstance(train, Subset)
    assert train.pixels.shape[1:] == (48, 64, 3)
    assert set(valid.truth) <= set(range(7))
    assert len(train.truth) % BATCH_SIZE == 0


@pytest.mark.parametrize("taken_out", [{}, {"logit_adjustment": 1.0}, {"class_weight": 1.0}, {"balance": 1.0}])
def test_the_prior_that_training_takes_out_is_the_one_that_calibration_puts_back(taken_out, tmp_path, monkeypatch):
    """Black pictures tell nothing, so the posterior must be the prior, however the classes were weighed."""
    truth = np.array([0] * 160 + [1] * 40)
    frame = FrameRule(32, 24)
    monkeypatch.setattr(fit_module, "configured_architecture", lambda config: replace(SMALL, frame=frame))
    pictures = Subset(np.zeros((200, frame.height_px, frame.width_px, 3), np.uint8), truth)
    config = small_config(batch_size=25, epochs=12, learning_rate=0.02, augment=False, **taken_out)
    network, _ = fit_network(
        config, pictures, pictures, class_count=2, checkpoint_path=tmp_path / "c.npz", data_hash="x", verbose=False
    )
    prior = class_prior(truth, 2)
    logits = run_network(network, pictures.pixels[:1])
    posterior = softmax(logits + logit_offset(prior, exponent=1.0, removed=config.removed_prior))
    np.testing.assert_allclose(posterior[0], [0.8, 0.2], atol=0.06)
    if taken_out:
        assert abs(softmax(logits)[0, 0] - 0.8) > 0.1


def test_focal_loss_cares_less_for_what_is_answered_well(subsets, tmp_path):
    config = small_config(epochs=1)
    _, plain = fit(config, subsets, tmp_path / "plain.npz")
    _, focal = fit(replace(config, focal=2.0), subsets, tmp_path / "focal.npz")
    assert focal[0]["loss"] < 0.9 * plain[0]["loss"]


def test_the_teacher_is_believed_by_its_share(subsets, tmp_path):
    train, _ = subsets
    false = np.eye(7)[(train.truth + 1) % 7]
    config = small_config(epochs=4, teacher="abc", keep="last")
    losses = {}
    for share in (0.0, 1.0):
        network, _ = fit(replace(config, teacher_share=share), subsets, tmp_path / f"{share}.npz", taught=false)
        answers = log_softmax(run_network(network, train.pixels))
        losses[share] = [-(answers * target).sum(axis=1).mean() for target in (np.eye(7)[train.truth], false)]
    assert losses[0.0][0] < losses[0.0][1]
    assert losses[1.0][1] < losses[1.0][0]


def test_a_model_teaches_another_through_the_command_line(small_model, small_data, tmp_path, capsys):
    """Its answers for `train` are learned; it may not have been trained on pictures that this run keeps for later."""
    command = ["train", "--data", str(small_data), "--architecture", "seed-cnn", "--epochs", "1", "--no-test"]
    command += ["--teacher", str(small_model), "--out", str(tmp_path / "taught")]
    assert main([*command, "--set", "teacher_share=0.5"]) == 0
    bundle = load_bundle(tmp_path / "taught")
    written = bundle.facts["training"]["configuration"]
    assert (written["teacher"], written["teacher_share"]) == (load_bundle(small_model).fingerprint, 0.5)
    data = read_data_folder(small_data)
    split = split_lesions(data.table)
    run = load_run_data(data, split, bundle.frame, subsets=("train",))
    train = as_subset(run.frames["train"], data.labels.codes)
    config = replace(default_config("seed-cnn"), teacher_temperature=1.0)
    plain, soft = (
        ask_teacher(small_model, train, replace(config, teacher_temperature=temperature)) for temperature in (1.0, 4.0)
    )
    np.testing.assert_allclose(plain.sum(axis=1), 1, atol=1e-5)
    assert soft.max(axis=1).mean() < plain.max(axis=1).mean()
    swapped = split.replace({"subset": {"train": "test", "test": "train"}})
    write_split(swapped, tmp_path / "swapped.csv")
    capsys.readouterr()
    assert main([*command[:-1], str(tmp_path / "other"), "--split", str(tmp_path / "swapped.csv")]) == 2
    assert "it was trained on pictures of valid or test" in capsys.readouterr().err
    assert (
        main([*command[:-1], str(tmp_path / "third"), "--architecture", "efficientnet-lite0", "--init", "random"]) == 2
    )
    assert "pictures of another size" in capsys.readouterr().err


def test_a_pasted_rectangle_shares_the_truth_by_its_area(tmp_path):
    config = replace(default_config("seed-cnn"), cutmix=1.0)
    trainer = fit_module._Trainer(config, find_architecture("seed-cnn"), np.array([0.5, 0.5]), 2, steps=1)
    pictures = np.zeros((2, 60, 80, 3), np.float32)
    pictures[1] = 1.0
    areas = []
    for _ in range(20):
        mixed, truth = trainer._paste(tf.constant(pictures), tf.constant(np.eye(2, dtype=np.float32)))
        area = float(np.asarray(mixed)[0].mean())
        np.testing.assert_allclose(np.asarray(truth), [[1 - area, area], [area, 1 - area]], atol=1e-5)
        areas.append(area)
    assert min(areas) < 0.2 < max(areas)
