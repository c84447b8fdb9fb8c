"""Self-supervised pre-training: a network learns what is the same lesion, without diagnoses; `train --init` goes on.

SimCLR (Chen et al. 2020, arXiv:2002.05709): two random views are to lie closer to each other than to the views of all
other pictures of the batch. Where a lesion has several pictures the second view shows any of them (Azizi et al. 2021,
arXiv:2101.05224).
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from skinai.artefacts import write_atomic
from skinai.errors import ModelError, UsageError
from skinai.model.architectures import LOGITS, BuildOptions, build_network, find_architecture
from skinai.model.bundle import EMBEDDING
from skinai.training.augmentation import RandomColour, RandomView
from skinai.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from skinai.training.optimizer import LayerwiseAdamW

_PROJECTED = 128


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """What a pre-training can vary.

    Attributes
    ----------
    architecture : str
    epochs, batch_size : int
    crop_px : int
        Side of the square views.
    least_area : float
        Least share of the largest inner crop that a view shows.
    learning_rate, weight_decay : float
        A cosine schedule with one epoch of warm-up.
    temperature : float
        What the cosine between two views is divided by.
    seed : int
    """

    architecture: str
    epochs: int = 8
    batch_size: int = 96
    crop_px: int = 128
    least_area: float = 0.25
    learning_rate: float = 5e-4
    weight_decay: float = 0.02
    temperature: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise UsageError(
                f"epochs is at least 1 and batch_size at least 2. Received: {self.epochs}, {self.batch_size}."
            )
        if find_architecture(self.architecture).imagenet is None:
            raise UsageError(f"{self.architecture} cannot be trained without diagnoses: it has no global pooling.")


@dataclass(frozen=True)
class Pretrained:
    """Weights of a pre-training.

    Attributes
    ----------
    facts : dict
        ``configuration``, ``epochs`` done, ``data_sha256``.
    image_ids : frozenset of str
        The pictures that were learned from.
    weights : dict
        Layer name to its weights in Keras' order.
    """

    facts: dict[str, Any]
    image_ids: frozenset[str]
    weights: dict[str, list[np.ndarray]]

    def fill(self, network: keras.Model) -> None:
        """Copy the weights into every layer but the last.

        Raises
        ------
        ModelError
            If a layer's weights are absent or have another shape.
        """
        for layer in network.layers:
            if layer.weights and layer.name != LOGITS:
                try:
                    layer.set_weights(self.weights[layer.name])
                except (KeyError, ValueError) as error:
                    raise ModelError(f"The pre-trained weights of {layer.name} do not fit: {error}.") from error


def pretrain_network(
    config: PretrainingConfig,
    pixels: np.ndarray,
    lesions: np.ndarray,
    image_ids: np.ndarray,
    out: Path,
    *,
    data_hash: str,
    initial: Callable[[keras.Model], object] = lambda network: None,
    resume: bool = False,
    say: Callable[[str], object] = print,
) -> list[float]:
    """Train a network on pictures without diagnoses; write its weights and a checkpoint after each epoch.

    Parameters
    ----------
    config : PretrainingConfig
    pixels : ndarray of shape (n, height, width, 3), uint8
    lesions : ndarray of shape (n,)
        Pictures of one lesion count as views of the same.
    image_ids : ndarray of shape (n,), str
    out : Path
        An .npz file.
    data_hash : str
        Noted in it.
    initial : callable
        Fills the network before the first step, with ImageNet weights for instance.
    resume : bool
        Go on from the checkpoint beside `out`.
    say : callable
        Receives a sentence an epoch.

    Returns
    -------
    list of float
        Mean loss of each epoch, in nats; log(2 batch_size - 1) is what a network that sees nothing has.
    """
    if len(pixels) < config.batch_size:
        raise UsageError(f"{len(pixels)} pictures do not fill one batch of {config.batch_size}.")
    keras.utils.set_random_seed(config.seed)
    network = build_network(
        find_architecture(config.architecture), 1, fixed_size=False, options=BuildOptions(for_training=True)
    )
    initial(network)
    embedding = network.get_layer(EMBEDDING).output
    projected = layers.Dense(_PROJECTED)(layers.Dense(embedding.shape[-1], activation="relu")(embedding))
    projector = keras.Model(network.input, projected)
    steps = len(pixels) // config.batch_size
    views, optimizer = _Views(config), _build_optimizer(config, steps)
    optimizer.build(projector.trainable_variables)
    step = tf.function(partial(_step, projector, views, optimizer, config.temperature))
    state = {"model": [*projector.variables, *views.variables], "optimizer": list(optimizer.variables)}
    losses: list[float] = []
    configuration = json.dumps(asdict(config), sort_keys=True)
    if resume:
        found = load_checkpoint(name_checkpoint(out), config_json=configuration, data_hash=data_hash)
        for group, variables in state.items():
            for variable, value in zip(variables, found.arrays[group], strict=True):
                variable.assign(value)
        losses = [row["loss"] for row in found.history]
    for epoch in range(len(losses), config.epochs):
        start = time.monotonic()
        rng = np.random.default_rng((config.seed, epoch))
        order, partners = rng.permutation(len(pixels)), draw_partners(lesions, rng)
        total = 0.0
        for number in range(steps):
            rows = np.sort(order[number * config.batch_size : (number + 1) * config.batch_size])
            total += float(step(tf.constant(pixels[rows]), tf.constant(pixels[partners[rows]])))
        if not np.isfinite(total):
            raise UsageError(f"The loss became {total} in epoch {epoch + 1}; lower the learning rate.")
        losses.append(total / steps)
        facts = {"configuration": asdict(config), "epochs": epoch + 1, "data_sha256": data_hash, "losses": losses}
        _write_weights(network, facts, image_ids, out)
        history = [{"epoch": number, "loss": loss} for number, loss in enumerate(losses, start=1)]
        arrays = {group: [variable.numpy() for variable in variables] for group, variables in state.items()}
        save_checkpoint(name_checkpoint(out), Checkpoint(configuration, data_hash, history, arrays))
        seconds = time.monotonic() - start
        left = (config.epochs - epoch - 1) * seconds / 60
        say(f"epoch {epoch + 1} of {config.epochs}: loss {losses[-1]:.3f}; about {left:.0f} minutes left")
    name_checkpoint(out).unlink(missing_ok=True)
    return losses


def name_checkpoint(out: Path) -> Path:
    """Return where a pre-training that writes `out` keeps what it needs to go on."""
    return out.with_suffix(".checkpoint.npz")


def check_pretraining(out: Path, *, resume: bool) -> None:
    """Refuse to write over pre-trained weights, or to go on with a pre-training that was not interrupted.

    Raises
    ------
    UsageError
    """
    interrupted = name_checkpoint(out)
    if resume and not interrupted.exists():
        raise UsageError(f"There is no interrupted pre-training beside {out}: {interrupted.name} is missing.")
    if not resume and interrupted.exists():
        raise UsageError(f"{interrupted} belongs to an interrupted pre-training; give --resume, or remove it first.")
    if not resume and out.exists():
        raise UsageError(f"{out} exists; name another file or remove it first.")


def draw_partners(lesions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return for each picture a picture of the same lesion, drawn evenly from all of them, itself included."""
    order = np.argsort(lesions, kind="stable")
    _, inverse, counts = np.unique(lesions, return_inverse=True, return_counts=True)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return order[first[inverse] + rng.integers(0, counts[inverse])]


def read_pretrained(path: Path) -> Pretrained:
    """Read what :func:`pretrain_network` wrote.

    Raises
    ------
    UsageError
        If there is no such file.
    ModelError
        If it is damaged or none of ours.
    """
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            image_ids = frozenset(file["image_ids"].tolist())
            weights: dict[str, list[np.ndarray]] = {}
            for name in file.files:
                if "/" in name:
                    weights.setdefault(name.partition("/")[0], []).append(file[name])
            return Pretrained(dict(facts), image_ids, weights)
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {path}; --init takes imagenet, random or a file of `pretrain`.") from error
    except (zipfile.BadZipFile, ValueError, TypeError, KeyError, OSError, EOFError) as error:
        raise ModelError(f"{Path(path).name} holds no readable pre-trained weights: {error}.") from error


class _Views:
    """Two random views of a batch, one below the other."""

    def __init__(self, config: PretrainingConfig) -> None:
        side = config.crop_px
        self.view = RandomView(side, side, area=(config.least_area, 1.0), degrees=45.0, seed=config.seed + 1)
        self.colour = RandomColour(
            brightness=0.25, contrast=0.35, saturation=0.5, tint=0.12, seed=config.seed + 2, dtype="float32"
        )

    @property
    def variables(self) -> list[Any]:
        """What the next views are drawn from."""
        return [*self.view.variables, *self.colour.variables]

    def __call__(self, first: Any, second: Any) -> Any:
        pictures = tf.cast(tf.concat([first, second], 0), tf.float32)
        return self.colour(self.view(pictures, training=True), training=True)


def _step(
    projector: keras.Model, views: _Views, optimizer: keras.Optimizer, temperature: float, first: Any, second: Any
) -> Any:
    pictures = views(first, second)
    weights = projector.trainable_variables
    with tf.GradientTape() as tape:
        projected = tf.math.l2_normalize(projector(pictures, training=True), axis=-1)
        loss = find_loss(projected, temperature)
    optimizer.apply(tape.gradient(loss, [variable.value for variable in weights]), weights)
    return loss


def find_loss(projected: Any, temperature: float) -> Any:
    """Return the mean cross-entropy of finding each view's partner among all others.

    Parameters
    ----------
    projected : tensor of shape (2 n, d)
        Of unit length; view i and view n + i belong together.
    temperature : float

    Returns
    -------
    scalar tensor
        In nats.
    """
    count = tf.shape(projected)[0]
    similar = tf.matmul(projected, projected, transpose_b=True) / temperature
    similar = tf.linalg.set_diag(similar, tf.fill([count], -1e9))
    partner = (tf.range(count) + count // 2) % count
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=similar))


def _build_optimizer(config: PretrainingConfig, steps: int) -> keras.Optimizer:
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / 50,
        decay_steps=max(steps * (config.epochs - 1), 1),
        alpha=1e-3,
        warmup_target=config.learning_rate,
        warmup_steps=steps,
    )
    return LayerwiseAdamW(rate, decay=config.weight_decay, factors=[])


def _write_weights(network: keras.Model, facts: dict[str, Any], image_ids: np.ndarray, out: Path) -> None:
    arrays = {
        f"{layer.name}/{number}": weight
        for layer in network.layers
        if layer.name != LOGITS
        for number, weight in enumerate(layer.get_weights())
    }
    buffer = io.BytesIO()
    np.savez(buffer, facts=np.array(json.dumps(facts)), image_ids=np.asarray(image_ids, dtype=str), **arrays)
    write_atomic(out, buffer.getvalue())
