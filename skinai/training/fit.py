"""Fit a network: one epoch at a time, validated, checkpointed, stopped when it gets no better."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from skinai.data.images import FrameRule
from skinai.errors import UsageError
from skinai.model.architectures import Architecture, BuildOptions, build_network, find_architecture
from skinai.model.efficientnet_lite import find_depths, find_imagenet_weights, load_imagenet_weights
from skinai.training.augmentation import RandomArtefacts, RandomColour, RandomView
from skinai.training.calibration import fit_calibration, logit_offset
from skinai.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from skinai.training.config import TrainingConfig
from skinai.training.frames import FrameBatches
from skinai.training.optimizer import LayerwiseAdamW
from skinai.training.peers import ALONE, Peers
from skinai.training.pretraining import Pretrained


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
    taught: np.ndarray | None = None,
    initial: Pretrained | None = None,
    resume: bool = False,
    verbose: bool = True,
    on_epoch: Callable[[list[dict[str, Any]]], object] = lambda history: None,
    peers: Peers = ALONE,
) -> tuple[keras.Model, list[dict[str, Any]]]:
    """Train and return the network with its best weights.

    Parameters
    ----------
    config : TrainingConfig
    train, valid : Subset
        The best epoch is the one with the least log loss on `valid`, calibrated there.
    class_count : int
    checkpoint_path : Path
        Written after each epoch.
    data_hash : str
        Stored in the checkpoint.
    taught : ndarray of shape (pictures of train, class_count), optional
        A teacher's probabilities, which `config.teacher_share` of each target consists of.
    initial : Pretrained, optional
        What the network starts from where `config.init` is ``"pretrained"``.
    resume : bool
        Go on from the checkpoint.
    verbose : bool
        Show Keras' progress bar.
    on_epoch : callable
        Called with the history after each epoch.
    peers : Peers
        The processes that train together. Each has all of `train` and `valid`; the first one writes the checkpoint
        and calls `on_epoch`, and all return the same network.

    Returns
    -------
    network : keras.Model
        Fixed input size, float32, gives logits.
    history : list of dict
        ``epoch``, ``loss``, the valid scores, ``learning_rate`` and ``seconds`` of each epoch.
    """
    check_init(config)
    keras.utils.set_random_seed(config.seed)
    architecture = configured_architecture(config)
    prior = class_prior(train.truth, class_count)
    steps = -(-len(train.pixels) // config.batch_size)
    trainer = _Trainer(config, architecture, prior, class_count, steps=steps, initial=initial, peers=peers)
    history: list[dict[str, Any]] = []
    if resume:
        found = load_checkpoint(checkpoint_path, config_json=_describe(config), data_hash=data_hash)
        history = trainer.restore(found)
    truth = np.eye(class_count, dtype=np.float32)[train.truth]
    if taught is not None:
        truth = ((1 - config.teacher_share) * truth + config.teacher_share * taught).astype(np.float32)
    while len(history) < config.epochs and not _is_over(history, config):
        epoch, start = len(history), time.monotonic()
        batches = FrameBatches(
            train.pixels, truth, batch_size=config.batch_size, seed=config.seed, epoch=epoch, chances=trainer.chances
        )
        bar = keras.utils.Progbar(len(batches), verbose=int(verbose and sys.stdout.isatty()), stateful_metrics=["loss"])
        loss = trainer.run_epoch(batches, epoch, partial(_show, bar))
        scores = trainer.validate(valid)
        seconds = time.monotonic() - start
        history.append(
            {"epoch": epoch + 1, "loss": loss}
            | {f"valid_{name}": value for name, value in scores.items()}
            | {"learning_rate": trainer.learning_rate, "seconds": round(seconds, 1)}
        )
        if kept_epoch(history, config) == epoch + 1:
            trainer.keep()
        if not peers.is_first:
            continue
        save_checkpoint(checkpoint_path, trainer.checkpoint(data_hash, history))
        on_epoch(history)
        if verbose:
            left = trainer.compare_work(epoch) * seconds / 60
            shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in scores.items())
            print(f"epoch {epoch + 1} of {config.epochs}, valid: {shown}; at most {left:.0f} minutes left", flush=True)
    return trainer.best_network(), history


def configured_architecture(config: TrainingConfig) -> Architecture:
    """Return the architecture with the frame that the configuration names."""
    architecture = find_architecture(config.architecture)
    if not config.frame_width_px:
        return architecture
    return replace(architecture, frame=FrameRule(config.frame_width_px, config.frame_width_px * 3 // 4))


def choose_precision(config: TrainingConfig) -> str:
    """Return the precision of the layers: the one named, or the fastest that this machine computes well.

    float16 on a GPU; bfloat16 for plain convolutions on a processor with AVX512-BF16; else float32. Depthwise
    convolutions have no fast bfloat16 gradient on a processor: EfficientNet-Lite0 trains more slowly with it.
    """
    if config.precision != "auto":
        return config.precision
    if tf.config.list_physical_devices("GPU"):
        return "float16"
    return "bfloat16" if config.architecture == "seed-cnn" and has_bfloat16() else "float32"


def has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 in hardware, by Linux' list of its features."""
    try:
        features = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in features or "amx_bf16" in features


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
        variant = find_architecture(config.architecture).imagenet
        if variant is None:
            raise UsageError(f"{config.architecture} has no ImageNet weights; give --init random.")
        find_imagenet_weights(variant)


def class_prior(truth: np.ndarray, class_count: int) -> np.ndarray:
    """Return the share of each class, with one picture added to each so that none is 0."""
    counts = np.bincount(truth, minlength=class_count) + 1.0
    return counts / counts.sum()


def kept_epoch(history: list[dict[str, Any]], config: TrainingConfig) -> int:
    """Return the number, from 1, of the epoch whose weights are kept: least log loss on `valid`, or the last."""
    return len(history) if config.keep == "last" else best_epoch(history)


def best_epoch(history: list[dict[str, Any]]) -> int:
    """Return the number, from 1, of the epoch with the least calibrated log loss on `valid`."""
    return min(history, key=lambda row: row["valid_log_loss"])["epoch"]


def run_network(network: keras.Model, pixels: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
    """Return a network's output for frames, shape (n, class_count): logits, or probabilities once it is finished."""
    parts = [
        network.predict_on_batch(pixels[start : start + batch_size].astype(np.float32))
        for start in range(0, len(pixels), batch_size)
    ]
    return np.concatenate(parts)


def _describe(config: TrainingConfig) -> str:
    """Return the configuration with the precision that was chosen: a run does not change it on another machine."""
    return replace(config, precision=choose_precision(config)).as_json()


def _show(bar: keras.utils.Progbar, done: int, loss: float) -> None:
    bar.update(done, [("loss", loss)])


def _is_over(history: list[dict[str, Any]], config: TrainingConfig) -> bool:
    return bool(history) and config.keep == "best" and len(history) - best_epoch(history) >= config.patience


class _Trainer:
    """The networks and variables of a run; every random number and number that changes is in a checkpoint."""

    def __init__(
        self,
        config: TrainingConfig,
        architecture: Architecture,
        prior: np.ndarray,
        class_count: int,
        *,
        steps: int,
        initial: Pretrained | None = None,
        peers: Peers = ALONE,
    ) -> None:
        self.config, self.architecture, self.class_count, self.steps = config, architecture, class_count, steps
        self.peers = peers
        self.precision = choose_precision(config)
        # The augmentation may cut crops of another size than the frame, which only a pooled network takes.
        self.crops = crops = _crops(config, architecture)
        frame = (architecture.frame.height_px, architecture.frame.width_px)
        with _compute_in(self.precision):
            self.network = build_network(
                architecture,
                class_count,
                fixed_size=not config.augment or set(crops) == {frame},
                options=BuildOptions(for_training=True, drop_path=config.drop_path),
            )
        if config.init == "imagenet" and architecture.imagenet is not None:
            load_imagenet_weights(self.network, find_imagenet_weights(architecture.imagenet))
        if initial is not None:
            initial.fill(self.network)
        self.depths = find_depths([layer.name for layer in self.network.layers])
        for layer in self.network.layers:
            layer.trainable = self.depths[layer.name] >= config.frozen_blocks
        self.prior = prior
        # Added to the logits by the loss; the softmax of the sum is the posterior of the pictures as they are drawn.
        self.offset = logit_offset(prior, exponent=1.0, removed=config.logit_adjustment)
        self.class_weights = _share_out(prior, config.class_weight)
        self.chances = _share_out(prior, config.balance) if config.balance else None
        # Each process draws its own views.
        seed = config.seed + 1000 * peers.number
        views = {
            crop: RandomView(*crop, area=(config.least_area, 1.0), degrees=config.degrees, seed=seed + 1)
            for crop in dict.fromkeys(crops)
        }
        self.views = [views[crop] for crop in crops]
        self.colour = RandomColour(seed=seed + 2, dtype="float32")
        self.artefacts = RandomArtefacts(config.artefacts, seed=seed + 4)
        self.mixing = keras.random.SeedGenerator(seed + 3)
        self.optimizer = self._build_optimizer()
        self.optimizer.build(self.network.trainable_variables)
        self.average = [tf.Variable(variable.numpy()) for variable in self.network.weights]
        self.best = [variable.numpy() for variable in self.network.weights]
        step = self._train_step if peers.count == 1 else self._find_gradients
        self._train_steps = {view: tf.function(partial(step, view), jit_compile=False) for view in self.views}
        self._follow = tf.function(self._apply, jit_compile=False)
        self._answer = tf.function(lambda pictures: self.network(pictures, training=False), jit_compile=False)

    def compare_work(self, epoch: int) -> float:
        """Return how many times the pixels of an epoch all later epochs look at: crops may grow."""
        areas = [np.prod(self.crops[self._place(number)]) for number in range(self.config.epochs)]
        return float(sum(areas[epoch + 1 :]) / areas[epoch])

    def _place(self, epoch: int) -> int:
        return epoch * len(self.crops) // self.config.epochs

    @property
    def learning_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))

    def run_epoch(self, batches: FrameBatches, epoch: int, on_batch: Callable[[int, float], object]) -> float:
        """Train for one epoch; return the mean loss."""
        step = self._train_steps[self.views[self._place(epoch)]]
        total = 0.0
        for number in range(len(batches)):
            frames, truth = batches[number]
            if self.peers.count == 1:
                total += float(step(tf.constant(frames), tf.constant(truth)))
            else:
                total += self._step_together(step, frames, truth)
            if not math.isfinite(total):
                raise UsageError(f"The training loss became {total} in epoch {epoch + 1}; lower the learning rate.")
            on_batch(number + 1, total / (number + 1))
        return total / len(batches)

    def _step_together(self, step: Callable[..., Any], frames: np.ndarray, truth: np.ndarray) -> float:
        """Take one step by the gradient of the whole batch, of which this process has a share; return its mean loss."""
        # The statistics of batch normalisation, which each process finds in its own share, are averaged as well.
        kept = [variable for variable in self.network.non_trainable_variables if variable.name.startswith("moving_")]
        count = len(self.peers.share(frames))
        # Who has no share of a last batch looks at one picture that does not count, so that random numbers go on.
        own = [self.peers.share(rows) if count else rows[:1] for rows in (frames, truth)]
        loss, gradients = step(*map(tf.constant, own))
        sent = [np.float32(loss), *(gradient.numpy() for gradient in gradients), *(value.numpy() for value in kept)]
        mean = self.peers.average(sent, weight=count)
        _assign(kept, mean[1 + len(gradients) :])  # first: the running average follows them too
        self._follow([tf.constant(gradient) for gradient in mean[1 : 1 + len(gradients)]])
        return float(mean[0])

    def validate(self, valid: Subset) -> dict[str, float]:
        live = [variable.numpy() for variable in self.network.weights]
        _assign(self.network.weights, self._averaged())
        own = self.peers.share(valid.pixels)
        answers = [np.empty((0, self.class_count), np.float32)]
        try:
            for start in range(0, len(own), 64):
                answers.append(self._answer(tf.constant(own[start : start + 64], tf.float32)).numpy())
        finally:
            _assign(self.network.weights, live)
        logits = self.peers.join(np.concatenate(answers))
        # What calibration mends does not count against an epoch.
        _, tried = fit_calibration(logits, valid.truth, self.prior, removed=self.config.removed_prior)
        best = min(tried, key=lambda row: row["log_loss"])
        return {name: best[name] for name in ("log_loss", "accuracy", "balanced_accuracy")}

    def keep(self) -> None:
        self.best = self._averaged()

    def best_network(self) -> keras.Model:
        """Return the network in float32 and at its serving size, with the kept weights."""
        network = build_network(self.architecture, self.class_count)
        network.set_weights(self.best)
        return network

    def checkpoint(self, data_hash: str, history: list[dict[str, Any]]) -> Checkpoint:
        arrays = {
            "model": [variable.numpy() for variable in self._state()],
            "optimizer": [variable.numpy() for variable in self.optimizer.variables],
            "average": [variable.numpy() for variable in self.average],
            "best": self.best,
        }
        return Checkpoint(_describe(self.config), data_hash, history, arrays)

    def restore(self, checkpoint: Checkpoint) -> list[dict[str, Any]]:
        own = [variable.numpy() for variable in self._generators()]
        _assign(self._state(), checkpoint.arrays["model"])
        if not self.peers.is_first:  # the checkpoint has the first one's seeds, and a counter that is everybody's
            for variable, (seed, _) in zip(self._generators(), own, strict=True):
                variable.assign([seed, variable.numpy()[1]])
        _assign(self.optimizer.variables, checkpoint.arrays["optimizer"])
        _assign(self.average, checkpoint.arrays["average"])
        self.best = checkpoint.arrays["best"]
        return checkpoint.history

    def _state(self) -> list[Any]:
        """Return the variables of the network and of every random number generator."""
        return [*self.network.variables, *self._generators()]

    def _generators(self) -> list[Any]:
        views = [variable for view in dict.fromkeys(self.views) for variable in view.variables]
        return [*views, *self.colour.variables, *self.artefacts.variables, self.mixing.state]

    def _averaged(self) -> list[np.ndarray]:
        source = self.average if self.config.average_decay else self.network.weights
        return [variable.numpy() for variable in source]

    def _train_step(self, view: RandomView, frames: Any, truth: Any) -> Any:
        loss, gradients = self._find_gradients(view, frames, truth)
        self._apply(gradients)
        return loss

    def _find_gradients(self, view: RandomView, frames: Any, truth: Any) -> tuple[Any, list[Any]]:
        pictures = tf.cast(frames, tf.float32)
        if self.config.augment:
            pictures = self.colour(view(pictures, training=True), training=True)
        if self.config.artefacts:
            pictures = self.artefacts(pictures, training=True)
        if self.config.mixup:
            pictures, truth = self._mix(pictures, truth)
        if self.config.cutmix:
            pictures, truth = self._paste(pictures, truth)
        weights = self.network.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.network(pictures, training=True) + self.offset
            smoothed = truth * (1 - self.config.label_smoothing) + self.config.label_smoothing / self.class_count
            losses = tf.nn.softmax_cross_entropy_with_logits(smoothed, logits)
            if self.config.focal:
                answered = tf.reduce_sum(truth * tf.nn.softmax(logits), axis=-1)
                losses *= tf.maximum(1 - answered, 1e-6) ** self.config.focal
            if self.config.class_weight:
                losses *= tf.linalg.matvec(truth, self.class_weights)
            loss = tf.reduce_mean(losses)
            scaled = self.optimizer.scale_loss(loss)
        return loss, tape.gradient(scaled, [variable.value for variable in weights])

    def _apply(self, gradients: list[Any]) -> None:
        self.optimizer.apply(gradients, self.network.trainable_variables)
        if self.config.average_decay:
            self._update_average()

    def _mix(self, pictures: Any, truth: Any) -> tuple[Any, Any]:
        """Mix each picture with its mirror image in the batch, by one weight a batch."""
        weight = keras.random.beta((), self.config.mixup, self.config.mixup, seed=self.mixing)
        mixed = [weight * value + (1 - weight) * value[::-1] for value in (pictures, truth)]
        return mixed[0], mixed[1]

    def _paste(self, pictures: Any, truth: Any) -> tuple[Any, Any]:
        """Paste one rectangle of each picture's mirror image in the batch; the truth is shared by area."""
        height, width = (tf.shape(pictures)[axis] for axis in (1, 2))
        kept = keras.random.beta((), self.config.cutmix, self.config.cutmix, seed=self.mixing)
        across, down = (
            tf.abs((tf.range(size, dtype=tf.float32) + 0.5) / tf.cast(size, tf.float32) - middle)
            < tf.sqrt(1 - kept) / 2
            for size, middle in zip(
                (width, height), tf.unstack(keras.random.uniform((2,), seed=self.mixing)), strict=True
            )
        )
        inside = tf.cast(down[:, None] & across[None, :], tf.float32)[None, :, :, None]
        weight = 1 - tf.reduce_mean(inside)  # what is left of it once the edge has cut the rectangle
        return (
            pictures * (1 - inside) + pictures[::-1] * inside,
            weight * truth + (1 - weight) * truth[::-1],
        )

    def _update_average(self) -> None:
        # Early on the average follows the weights closely, so it never remembers the untrained head.
        step = tf.cast(self.optimizer.iterations.value, tf.float32)
        decay = tf.minimum(self.config.average_decay, (1 + step) / (10 + step))
        for average, variable in zip(self.average, self.network.weights, strict=True):
            average.assign_sub((1 - decay) * (average - tf.cast(variable.value, average.dtype)))

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
        deepest = max(self.depths.values())
        factors = [
            (variable, config.layer_decay ** (deepest - self.depths[layer.name]))
            for layer in self.network.layers
            for variable in layer.trainable_variables
        ]
        decay = config.weight_decay if config.optimizer == "adamw" else 0.0
        optimizer = LayerwiseAdamW(rate, decay=decay, factors=factors)
        return keras.optimizers.LossScaleOptimizer(optimizer) if self.precision == "float16" else optimizer


def _share_out(prior: np.ndarray, power: float) -> np.ndarray:
    """Return a factor a class, in proportion to ``prior ** -power``, that is 1 on the average over the pictures."""
    factors = prior**-power
    return (factors / (prior @ factors)).astype(np.float32)


def _crops(config: TrainingConfig, architecture: Architecture) -> list[tuple[int, int]]:
    return [(side, side) for side in config.crop_px] or [architecture.crop_px]


@contextmanager
def _compute_in(precision: str) -> Iterator[None]:
    """Build layers that compute in `precision`; their variables stay float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _assign(variables: list[Any], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
