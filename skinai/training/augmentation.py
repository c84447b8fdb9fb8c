"""Augmentation as Keras layers, active in training only.

A lesion has no up and no left, is photographed at many scales and under different lamps, but is hardly stretched: one
resampling applies mirror, right angle, free rotation, scale and shift together, and one colour matrix applies
brightness, contrast, saturation and tint together. Random numbers come from Keras seed generators, whose state is
part of a checkpoint, so an interrupted run goes on with the numbers it would have drawn.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops, random


class RandomView(keras.layers.Layer):
    """Cut a random view of each picture: mirrored, turned, scaled and shifted in a single resampling.

    Parameters
    ----------
    height_px, width_px : int
        Size of the view.
    area : tuple of float
        Least and greatest share of the picture's largest inner crop that a view shows.
    ratio : tuple of float
        Least and greatest change of the view's aspect ratio.
    degrees : float
        Free rotation to either side, on top of a random right angle.
    seed : int

    Notes
    -----
    In: (batch, height, width, 3). Out in training: (batch, height_px, width_px, 3); outside training: unchanged.
    Beyond the picture's edge the picture is mirrored.
    """

    def __init__(
        self,
        height_px: int,
        width_px: int,
        *,
        area: tuple[float, float] = (0.45, 1.0),
        ratio: tuple[float, float] = (0.86, 1.16),
        degrees: float = 14.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.height_px, self.width_px = height_px, width_px
        self.area, self.ratio, self.degrees = area, ratio, degrees
        self.seed_generator = random.SeedGenerator(seed)

    def call(self, pictures: Any, training: bool = False) -> Any:
        if not training:
            return pictures
        batch, height, width = ops.shape(pictures)[0], ops.shape(pictures)[1], ops.shape(pictures)[2]
        height, width = ops.cast(height, "float32"), ops.cast(width, "float32")

        def draw(low: float, high: float) -> Any:
            return random.uniform((batch,), low, high, dtype="float32", seed=self.seed_generator)

        area = ops.sqrt(draw(*self.area))
        stretch = ops.sqrt(ops.exp(draw(math.log(self.ratio[0]), math.log(self.ratio[1]))))
        turns = ops.floor(draw(0.0, 4.0))
        angle = (turns * 90.0 + draw(-self.degrees, self.degrees)) * (math.pi / 180)
        # A view turned by one or three right angles covers its height across and its width down.
        sideways = turns % 2 == 1
        across = ops.where(sideways, float(self.height_px), float(self.width_px))
        down = ops.where(sideways, float(self.width_px), float(self.height_px))
        scale = ops.minimum(height / down, width / across) * area
        mirror = ops.where(draw(0.0, 1.0) < 0.5, -1.0, 1.0)
        scale_x, scale_y = scale * stretch * mirror, scale / stretch
        # A view pixel (u, v), counted from the view's middle, shows picture pixel (x, y) = A (u, v) + centre.
        a, b = scale_x * ops.cos(angle), -scale_y * ops.sin(angle)
        c, d = scale_x * ops.sin(angle), scale_y * ops.cos(angle)
        free_x = ops.maximum((width - scale * across) / 2, 0.0)
        free_y = ops.maximum((height - scale * down) / 2, 0.0)
        centre_x = (width - 1) / 2 + draw(-1.0, 1.0) * free_x
        centre_y = (height - 1) / 2 + draw(-1.0, 1.0) * free_y
        middle_u, middle_v = (self.width_px - 1) / 2, (self.height_px - 1) / 2
        zero = ops.zeros_like(a)
        transforms = ops.stack(
            [a, b, centre_x - a * middle_u - b * middle_v, c, d, centre_y - c * middle_u - d * middle_v, zero, zero], 1
        )
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=ops.cast(pictures, "float32"),
            transforms=transforms,
            output_shape=[self.height_px, self.width_px],
            interpolation="BILINEAR",
            fill_mode="REFLECT",
            fill_value=0.0,
        )


class RandomColour(keras.layers.Layer):
    """Change brightness, contrast, saturation and tint of each picture by one random colour matrix.

    Parameters
    ----------
    brightness, contrast, saturation, tint : float
        Greatest relative change; `tint` scales the three channels independently, as another lamp would.
    seed : int

    Notes
    -----
    In and out: (batch, height, width, 3) of 0 to 255.
    """

    def __init__(
        self,
        *,
        brightness: float = 0.12,
        contrast: float = 0.2,
        saturation: float = 0.2,
        tint: float = 0.06,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.brightness, self.contrast, self.saturation, self.tint = brightness, contrast, saturation, tint
        self.seed_generator = random.SeedGenerator(seed)

    def call(self, pictures: Any, training: bool = False) -> Any:
        if not training:
            return pictures
        batch = ops.shape(pictures)[0]

        def draw(count: int, amount: float) -> Any:
            shape = (batch, count, 1)
            return random.uniform(shape, 1 - amount, 1 + amount, dtype="float32", seed=self.seed_generator)

        pictures = ops.cast(pictures, "float32")
        luma = ops.reshape(ops.convert_to_tensor([0.299, 0.587, 0.114], "float32"), (1, 1, 3))
        saturation, contrast = draw(1, self.saturation), draw(1, self.contrast)
        matrix = saturation * ops.eye(3) + (1 - saturation) * luma
        matrix = draw(3, self.tint) * contrast * draw(1, self.brightness) * matrix
        mean = ops.mean(pictures, axis=(1, 2))[:, :, None]
        offset = ops.matmul(matrix, mean) * (1 / contrast - 1)
        changed = ops.einsum("bhwc,bdc->bhwd", pictures, matrix) + ops.transpose(offset, (0, 2, 1))[:, None]
        return ops.clip(changed, 0.0, 255.0)


class RandomArtefacts(keras.layers.Layer):
    """Draw what stands between a lens and a lesion: hairs, the dark corners of a round field of view, and blur.

    Parameters
    ----------
    chance : float
        Of each of the three, for each picture on its own.
    seed : int

    Notes
    -----
    In and out: (batch, height, width, 3) of 0 to 255; outside training unchanged.
    """

    HAIRS = 6

    def __init__(self, chance: float, *, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chance = chance
        self.seed_generator = random.SeedGenerator(seed)

    def call(self, pictures: Any, training: bool = False) -> Any:
        if not training:
            return pictures
        pictures = ops.cast(pictures, "float32")
        batch, height, width = ops.shape(pictures)[0], ops.shape(pictures)[1], ops.shape(pictures)[2]
        # Positions in units of half the shorter side, from the middle.
        half = ops.cast(ops.minimum(height, width), "float32") / 2
        x = ((ops.arange(width, dtype="float32") + 0.5) - ops.cast(width, "float32") / 2) / half
        y = ((ops.arange(height, dtype="float32") + 0.5) - ops.cast(height, "float32") / 2) / half
        x, y = x[None, None, :], y[None, :, None]

        def draw(low: float, high: float) -> Any:
            return random.uniform((batch, 1, 1), low, high, dtype="float32", seed=self.seed_generator)

        def happens() -> Any:
            return ops.cast(draw(0.0, 1.0) < self.chance, "float32")

        softened = _blur(pictures)
        pictures += (happens() * draw(0.5, 1.0))[..., None] * (softened - pictures)
        hairy, shade = happens(), draw(5.0, 70.0)
        cover = ops.zeros_like(x * y)
        for _ in range(self.HAIRS):
            angle, right, below = draw(0.0, 2 * math.pi), x - draw(-1.0, 1.0), y - draw(-1.0, 1.0)
            along = right * ops.cos(angle) + below * ops.sin(angle)
            aside = below * ops.cos(angle) - right * ops.sin(angle)
            distance = ops.abs(aside + draw(-0.4, 0.4) * along**2) * half
            drawn = ops.clip(draw(0.3, 1.0) + 0.5 - distance, 0.0, 1.0)
            drawn *= ops.cast(ops.abs(along) < draw(0.3, 1.2), "float32")
            cover = ops.maximum(cover, drawn * ops.cast(draw(0.0, 1.0) < 0.6, "float32"))
        cover = (cover * hairy * draw(0.6, 1.0))[..., None]
        pictures += cover * (shade[..., None] - pictures)
        reach = ops.sqrt((x - draw(-0.1, 0.1)) ** 2 + (y - draw(-0.1, 0.1)) ** 2)
        light = 1 - ops.sigmoid((reach - draw(0.95, 1.3)) * draw(20.0, 80.0)) * happens() * draw(0.8, 1.0)
        return ops.clip(pictures * light[..., None], 0.0, 255.0)


def _blur(pictures: Any) -> Any:
    """Return pictures smoothed with the binomial weights 1 4 6 4 1 along both axes."""
    for axis in (1, 2):
        size = ops.shape(pictures)[axis]
        pads = [(0, 0)] * 4
        pads[axis] = (2, 2)
        padded = ops.pad(pictures, pads, mode="reflect")
        index = [slice(None)] * 4
        smooth = 0.0
        for shift, weight in enumerate((1, 4, 6, 4, 1)):
            index[axis] = slice(shift, shift + size)
            smooth += weight / 16 * padded[tuple(index)]
        pictures = smooth
    return pictures
