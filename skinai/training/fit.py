"""Fit a network: one epoch at a time, validated, checkpointed, stopped when it gets no better."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from skinai.errors import UsageError
from skinai.model.architectures import Architecture, build_network, find_architecture
from skinai.model.efficientnet_lite import find_imagenet_weights, load_imagenet_weights
from skinai.training.augmentation import RandomColour, RandomView
from skinai.training.calibration import log_softmax, logit_offset, score_logits
from skinai.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from skinai.training.config import TrainingConfig
from skinai.training.frames import FrameBatches


@dataclass(frozen=True)
class Subset:
    """Framed pictures and their classes.

    Attributes
    ----------
    pixels : ndarray of shape (n, height, width, 3), uint8
    truth : ndarray of shape (n,), int
    """

    pixels: np.ndarray
    truth: np.ndarray


def fit_network(
    config: TrainingConfig,
    train: Subset,
    valid: Subset,
    *,
    class_count: int,
    checkpoint_path: Path,
    data_hash: str,
    resume: bool = False,
    verbose: bool = True,
    on_epoch: Callable[[list[dict[str, Any]]], object] = lambda history: None,
) -> tuple[keras.Model, list[dict[str, Any]]]:
    """Train and return the network with its best weights.

    Parameters
    ----------
    config : TrainingConfig
    train, valid : Subset
        The best epoch is the one with the least log loss on `valid`.
    class_count : int
    checkpoint_path : Path
        Written after each epoch.
    data_hash : str
        Stored in the checkpoint.
    resume : bool
        Go on from the checkpoint.
    verbose : bool
        Show Keras' progress bar.
    on_epoch : callable
        Called with the history after each epoch.

    Returns
    -------
    network : keras.Model
        Fixed input size, float32, gives logits.
    history : list of dict
        ``epoch``, ``loss``, the valid scores, ``learning_rate`` and ``seconds`` of each epoch.
    """
    check_init(config)
    keras.utils.set_random_seed(config.seed)
    architecture = find_architecture(config.architecture)
    prior = class_prior(train.truth, class_count)
    trainer = _Trainer(config, architecture, prior, class_count, steps=-(-len(train.pixels) // config.batch_size))
    history: list[dict[str, Any]] = []
    if resume:
        history = trainer.restore(load_checkpoint(checkpoint_path, config_json=config.as_json(), data_hash=data_hash))
    truth = np.eye(class_count, dtype=np.float32)[train.truth]
    while len(history) < config.epochs and not _is_over(history, config.patience):
        epoch, start = len(history), time.monotonic()
        batches = FrameBatches(train.pixels, truth, batch_size=config.batch_size, seed=config.seed, epoch=epoch)
        loss = trainer.run_epoch(batches, epoch, verbose=verbose)
        scores = trainer.validate(valid)
        seconds = time.monotonic() - start
        history.append(
            {"epoch": epoch + 1, "loss": loss}
            | {f"valid_{name}": value for name, value in scores.items()}
            | {"learning_rate": trainer.learning_rate, "seconds": round(seconds, 1)}
        )
        if best_epoch(history) == epoch + 1:
            trainer.keep_best()
        save_checkpoint(checkpoint_path, trainer.checkpoint(data_hash, history))
        on_epoch(history)
        if verbose:
            left = (config.epochs - epoch - 1) * seconds / 60
            shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in scores.items())
            print(f"valid: {shown}; at most {left:.0f} minutes left", flush=True)
    return trainer.best_network(), history


def check_init(config: TrainingConfig) -> None:
    """Check that the initial weights exist, before anything slow is done.

    Raises
    ------
    UsageError
        If the architecture has no ImageNet weights.
    ModelError
        If the package that holds them is not installed.
    """
    if config.init == "imagenet":
        if not find_architecture(config.architecture).has_imagenet_weights:
            raise UsageError(f"{config.architecture} has no ImageNet weights; give --init random.")
        find_imagenet_weights()


def class_prior(truth: np.ndarray, class_count: int) -> np.ndarray:
    """Return the share of each class, with one picture added to each so that none is 0."""
    counts = np.bincount(truth, minlength=class_count) + 1.0
    return counts / counts.sum()


def best_epoch(history: list[dict[str, Any]]) -> int:
    """Return the number, from 1, of the epoch with the least log loss on `valid`."""
    return min(history, key=lambda row: row["valid_log_loss"])["epoch"]


def run_network(network: keras.Model, pixels: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
    """Return a network's output for frames, shape (n, class_count): logits, or probabilities once it is finished."""
    parts = [
        network.predict_on_batch(pixels[start : start + batch_size].astype(np.float32))
        for start in range(0, len(pixels), batch_size)
    ]
    return np.concatenate(parts)


def _is_over(history: list[dict[str, Any]], patience: int) -> bool:
    return bool(history) and len(history) - best_epoch(history) >= patience


class _Trainer:
    """The networks and variables of a run; every random number and number that changes is in a checkpoint."""

    def __init__(
        self, config: TrainingConfig, architecture: Architecture, prior: np.ndarray, class_count: int, *, steps: int
    ) -> None:
        self.config, self.architecture, self.class_count, self.steps = config, architecture, class_count, steps
        # The augmentation may cut crops of another size than the frame, which only a pooled network takes.
        fixed_size = not config.augment or _crop_is_frame(architecture)
        with _precision(config.precision):
            self.network = build_network(architecture, class_count, fixed_size=fixed_size)
        if config.init == "imagenet":
            load_imagenet_weights(self.network)
        # Added to the logits by the loss; the softmax of the sum is the true posterior.
        self.offset = logit_offset(prior, exponent=1.0, logit_adjustment=config.logit_adjustment)
        self.model = self._wrap_with_augmentation()
        self.model.compile(optimizer=self._build_optimizer(), loss=self._build_loss(), jit_compile=False)
        self.model.optimizer.build(self.model.trainable_variables)
        self.average = [tf.Variable(variable.numpy()) for variable in self.network.weights]
        self.best = [variable.numpy() for variable in self.network.weights]

    @property
    def learning_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def run_epoch(self, batches: FrameBatches, epoch: int, *, verbose: bool) -> float:
        callbacks = [keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: self._update_average())]
        result = self.model.fit(
            batches,
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            verbose=1 if verbose else 0,
            callbacks=callbacks if self.config.average_decay else None,
        )
        loss = float(result.history["loss"][0])
        if not math.isfinite(loss):
            raise UsageError(f"The training loss became {loss} in epoch {epoch + 1}; lower the learning rate.")
        return loss

    def validate(self, valid: Subset) -> dict[str, float]:
        live = [variable.numpy() for variable in self.network.weights]
        _assign(self.network.weights, self._averaged())
        try:
            logits = run_network(self.network, valid.pixels)
        finally:
            _assign(self.network.weights, live)
        return score_logits(log_softmax(logits + self.offset), valid.truth)

    def keep_best(self) -> None:
        self.best = self._averaged()

    def best_network(self) -> keras.Model:
        """Return the network in float32 and at its serving size, with the best weights."""
        network = build_network(self.architecture, self.class_count)
        network.set_weights(self.best)
        return network

    def checkpoint(self, data_hash: str, history: list[dict[str, Any]]) -> Checkpoint:
        arrays = {
            "model": [variable.numpy() for variable in self.model.variables],
            "optimizer": [variable.numpy() for variable in self.model.optimizer.variables],
            "average": [variable.numpy() for variable in self.average],
            "best": self.best,
        }
        return Checkpoint(self.config.as_json(), data_hash, history, arrays)

    def restore(self, checkpoint: Checkpoint) -> list[dict[str, Any]]:
        _assign(self.model.variables, checkpoint.arrays["model"])
        _assign(self.model.optimizer.variables, checkpoint.arrays["optimizer"])
        _assign(self.average, checkpoint.arrays["average"])
        self.best = checkpoint.arrays["best"]
        return checkpoint.history

    def _averaged(self) -> list[np.ndarray]:
        source = self.average if self.config.average_decay else self.network.weights
        return [variable.numpy() for variable in source]

    @tf.function(jit_compile=False)
    def _update_average(self) -> None:
        # Early on the average follows the weights closely, so it never remembers the untrained head.
        step = tf.cast(self.model.optimizer.iterations.value, tf.float32)
        decay = tf.minimum(self.config.average_decay, (1 + step) / (10 + step))
        for average, variable in zip(self.average, self.network.weights, strict=True):
            average.assign(decay * average + (1 - decay) * tf.cast(variable.value, average.dtype))

    def _wrap_with_augmentation(self) -> keras.Model:
        frame = self.architecture.frame
        pictures = keras.Input((frame.height_px, frame.width_px, 3), dtype="uint8", name="frames")
        x: Any = pictures
        if self.config.augment:
            x = RandomView(*self.architecture.crop_px, seed=self.config.seed + 1, dtype="float32")(x)
            x = RandomColour(seed=self.config.seed + 2, dtype="float32")(x)
        return keras.Model(pictures, self.network(x))

    def _build_optimizer(self) -> keras.optimizers.Optimizer:
        config = self.config
        rate: Any = config.learning_rate
        if config.schedule == "cosine":
            warmup = round(config.warmup_epochs * self.steps)
            rate = keras.optimizers.schedules.CosineDecay(
                initial_learning_rate=config.learning_rate / 50 if warmup else config.learning_rate,
                decay_steps=max(self.steps * config.epochs - warmup, 1),
                alpha=1e-3,
                warmup_target=config.learning_rate if warmup else None,
                warmup_steps=warmup,
            )
        if config.optimizer == "adam":
            return keras.optimizers.Adam(rate)
        optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
        # Biases and normalisation are not pulled towards 0.
        optimizer.exclude_from_weight_decay(
            var_list=[variable for variable in self.network.trainable_variables if len(variable.shape) < 2]
        )
        return optimizer

    def _build_loss(self) -> Callable[[Any, Any], Any]:
        cross_entropy = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=self.config.label_smoothing
        )
        offset = tf.constant(self.offset)
        return lambda truth, logits: cross_entropy(truth, logits + offset)


def _crop_is_frame(architecture: Architecture) -> bool:
    return architecture.crop_px == (architecture.frame.height_px, architecture.frame.width_px)


@contextmanager
def _precision(precision: str) -> Iterator[None]:
    """Build layers that compute in `precision`; their variables stay float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _assign(variables: list[Any], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
