"""The networks, by name. Each takes upright RGB of 0 to 255 and gives one logit a class.

Preprocessing (rescaling) is the first layer of every network, so it is saved with the weights and typed once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from keras import layers

from skinai.data.images import FrameRule
from skinai.errors import UsageError
from skinai.model.bundle import EMBEDDING, FEATURE_MAP, PROBABILITIES
from skinai.model.efficientnet_lite import LITE0, LITE1, LITE2, MOBILENET_V2, Variant, build_backbone

LOGITS = "logits"


@dataclass(frozen=True)
class BuildOptions:
    """What differs between a network in training and the same network as it is served.

    Attributes
    ----------
    for_training : bool
        Use layers that train fast; weights and their order are the same.
    drop_path : float
        Probability of leaving out the last residual branch, where the network has such.
    """

    for_training: bool = False
    drop_path: float = 0.0


SERVING = BuildOptions()


@dataclass(frozen=True)
class Architecture:
    """A network that can be trained by name.

    Attributes
    ----------
    name : str
    frame : FrameRule
        The pictures it is served.
    crop_px : tuple of (height, width)
        What the training augmentation cuts from a frame.
    build : callable
        ``build(pictures, class_count, options)`` gives the logits.
    imagenet : Variant or None
        The network whose ImageNet weights it can start from.
    is_pooled : bool
        Whether the last feature map is averaged, so that pictures may have any size.
    """

    name: str
    frame: FrameRule
    crop_px: tuple[int, int]
    build: Callable[[keras.KerasTensor, int, BuildOptions], keras.KerasTensor]
    imagenet: Variant | None
    is_pooled: bool


# ---- networks --------------------------------------------------------------------------------------------------


def build_seed_cnn(pictures: keras.KerasTensor, class_count: int, options: BuildOptions = SERVING) -> keras.KerasTensor:
    """The network this project started from: convolutions, each with max pooling and dropout, then a softmax layer."""
    x = layers.Rescaling(1 / 255)(pictures)
    for stage, filters in enumerate((32, 64, 128, 256)):
        name = FEATURE_MAP if stage == 3 else f"conv{stage}"
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)
        x = layers.MaxPooling2D(2, name=f"pool{stage}")(x)
        x = layers.Dropout(0.25, name=f"dropout{stage}")(x)
    x = layers.Flatten(name=EMBEDDING)(x)
    return layers.Dense(class_count, dtype="float32", name=LOGITS)(x)


def build_inverted_residuals(
    variant: Variant, pictures: keras.KerasTensor, class_count: int, options: BuildOptions = SERVING
) -> keras.KerasTensor:
    """An EfficientNet-Lite or MobileNetV2, global average pooling, dropout and one dense layer."""
    x = layers.Rescaling(1 / 127.5, offset=-1)(pictures)
    x = build_backbone(variant, x, drop_path=options.drop_path, for_training=options.for_training)
    x = layers.GlobalAveragePooling2D(name=EMBEDDING)(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    return layers.Dense(class_count, dtype="float32", kernel_initializer="zeros", name=LOGITS)(x)


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture("seed-cnn", FrameRule(128, 96), (96, 128), build_seed_cnn, imagenet=None, is_pooled=False),
        *(
            Architecture(
                variant.name,
                FrameRule(256, 192),
                (160, 160),
                partial(build_inverted_residuals, variant),
                imagenet=variant,
                is_pooled=True,
            )
            for variant in (LITE0, LITE1, LITE2, MOBILENET_V2)
        ),
    )
}


# ---- functional models -------------------------------------------------------------------------------------------


def find_architecture(name: str) -> Architecture:
    """Return the architecture called `name`.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name not in ARCHITECTURES:
        raise UsageError(f"Unknown architecture {name!r}. Known are: {sorted(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def build_network(
    architecture: Architecture, class_count: int, *, fixed_size: bool = True, options: BuildOptions = SERVING
) -> keras.Model:
    """Build the network that gives logits.

    Parameters
    ----------
    architecture : Architecture
    class_count : int
    fixed_size : bool
        False lets a network with global pooling take crops of any size, as training does.
    options : BuildOptions

    Returns
    -------
    keras.Model
        (batch, height, width, 3) of 0 to 255 to (batch, class_count) logits, float32.
    """
    size = (architecture.frame.height_px, architecture.frame.width_px) if fixed_size else (None, None)
    pictures = keras.Input((*size, 3), name="pictures")
    return keras.Model(
        pictures, architecture.build(pictures, class_count, options), name=architecture.name.replace("-", "_")
    )


def finish_network(network: keras.Model, *, offset: np.ndarray, temperature: float) -> keras.Model:
    """Return the network as it is saved: the calibration is folded into the last layer and a softmax follows.

    Parameters
    ----------
    network : keras.Model
        From :func:`build_network`; its last layer is changed.
    offset : ndarray of shape (class_count,)
        Added to the logits.
    temperature : float
        The sum is divided by it.

    Returns
    -------
    keras.Model
        Gives probabilities that sum to 1.
    """
    last = network.get_layer(LOGITS)
    kernel, bias = last.get_weights()
    last.set_weights([kernel / temperature, (bias + offset) / temperature])
    probabilities = layers.Softmax(name=PROBABILITIES, dtype="float32")(network.output)
    return keras.Model(network.input, probabilities, name=network.name)
