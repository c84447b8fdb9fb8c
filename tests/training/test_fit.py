"""An interrupted run goes on as if it had never stopped."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from skinai.data.metadata import read_data_folder
from skinai.data.split import split_lesions
from skinai.errors import UsageError
from skinai.model.architectures import build_network, find_architecture
from skinai.training.calibration import fit_calibration
from skinai.training.config import TrainingConfig, default_config
from skinai.training.fit import Subset, best_epoch, class_prior, fit_network, run_network
from skinai.training.run import as_subset, load_run_data, train_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def subsets(small_data):
    data = read_data_folder(small_data)
    run = load_run_data(
        data, split_lesions(data.table), find_architecture("seed-cnn").frame, subsets=("train", "valid"), verbose=False
    )
    return tuple(as_subset(run.frames[name], data.labels.codes) for name in ("train", "valid"))


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
    config = replace(default_config("seed-cnn"), epochs=3, precision="float32", **changes)
    whole, history = fit(config, subsets, tmp_path / "whole.npz")
    with pytest.raises(StoppedError):
        fit(config, subsets, tmp_path / "cut.npz", on_epoch=stop_after(1))
    resumed, resumed_history = fit(config, subsets, tmp_path / "cut.npz", resume=True)
    assert [row["epoch"] for row in resumed_history] == [1, 2, 3]
    for a, b in zip(history, resumed_history, strict=True):
        assert a["valid_log_loss"] == pytest.approx(b["valid_log_loss"], abs=1e-4)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_training_learns_to_tell_the_drawn_classes_apart(subsets, tmp_path):
    config = replace(
        default_config("seed-cnn"), epochs=40, batch_size=8, patience=40, precision="float32", augment=False
    )
    _, history = fit(config, subsets, tmp_path / "c.npz")
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    assert max(row["valid_accuracy"] for row in history) > 0.5


def test_training_stops_early_and_returns_the_best_weights(subsets, tmp_path):
    """A rate so high that the loss grows again: the network returned must score what the best epoch scored."""
    config = replace(default_config("seed-cnn"), epochs=12, learning_rate=0.02, patience=2, precision="float32")
    network, history = fit(config, subsets, tmp_path / "c.npz")
    best = best_epoch(history)
    assert len(history) == min(best + 2, 12)
    assert history[-1]["valid_log_loss"] > history[best - 1]["valid_log_loss"]
    prior = class_prior(subsets[0].truth, 7)
    _, tried = fit_calibration(run_network(network, subsets[1].pixels), subsets[1].truth, prior, logit_adjustment=0.0)
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
    config = replace(default_config("seed-cnn"), epochs=1, precision="float32")
    path = tmp_path / "c.npz"
    fit(config, subsets, path)
    with pytest.raises(UsageError, match="another configuration"):
        fit(replace(config, seed=9), subsets, path, resume=True)
    with pytest.raises(UsageError, match="other pictures or another split"):
        fit_network(config, *subsets, class_count=7, checkpoint_path=path, data_hash="y", resume=True, verbose=False)
    with pytest.raises(UsageError, match="no interrupted run"):
        fit(config, subsets, tmp_path / "absent.npz", resume=True)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UsageError, match="is damaged"):
        fit(config, subsets, path, resume=True)


def test_kill_9_during_training_resumes_through_the_command_line(small_data, tmp_path):
    out = tmp_path / "model"
    command = [sys.executable, "-m", "skinai", "train", "--data", str(small_data), "--architecture", "seed-cnn"]
    command += ["--epochs", "4", "--no-test", "--out", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = out / "checkpoint.npz"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (out / "bundle.json").exists()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "holds an interrupted run; give --resume" in again.stderr
    resumed = subprocess.run([*command, "--resume"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    log = pd.read_csv(out / "training_log.csv")
    assert log["epoch"].tolist() == [1, 2, 3, 4]
    (events,) = (out / "tensorboard").glob("events.out.tfevents.*")
    losses = [
        value.simple_value
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
        if value.tag == "valid_log_loss"
    ]
    assert losses == pytest.approx(log["valid_log_loss"].tolist())
    assert not checkpoint.exists()
    finished = subprocess.run([*command, "--resume"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "holds a finished model" in finished.stderr


def test_a_run_killed_after_its_last_checkpoint_still_writes_the_whole_log(small_data, tmp_path, monkeypatch):
    from skinai.training import run as run_module

    data = read_data_folder(small_data)
    split, out = split_lesions(data.table), tmp_path / "model"
    config = replace(default_config("seed-cnn"), epochs=1, precision="float32")

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
    assert train.pixels.shape[1:] == (96, 128, 3)
    assert set(valid.truth) <= set(range(7))
