"""Lesions drawn by program: for the self-test picture of a model, for tests and for screenshots.

They look roughly like dermoscopy and belong to nobody. They are no samples of any disease.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

_SKINS = ((236, 196, 178), (226, 178, 158), (243, 208, 196), (210, 160, 136))
_PIGMENTS = ((96, 58, 44), (130, 84, 62), (70, 44, 40), (156, 98, 84), (150, 60, 62))


def draw_lesion(
    seed: int,
    *,
    width_px: int = 600,
    height_px: int = 450,
    pigment: tuple[int, int, int] | None = None,
    network: bool = True,
) -> np.ndarray:
    """Draw one lesion on skin.

    Parameters
    ----------
    seed : int
        Shape, place and colours depend on it alone.
    width_px, height_px : int
    pigment : tuple of int, optional
        RGB of the lesion; default: one of a few browns and reds.
    network : bool
        Whether a fine pigment network is drawn.

    Returns
    -------
    ndarray of shape (height_px, width_px, 3), uint8

    >>> draw_lesion(1, width_px=64, height_px=48).shape
    (48, 64, 3)
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height_px, 0:width_px].astype(np.float64)
    skin = np.array(_SKINS[rng.integers(len(_SKINS))], dtype=np.float64)
    colour = np.array(pigment or _PIGMENTS[rng.integers(len(_PIGMENTS))], dtype=np.float64)
    canvas = skin + 7 * _clouds(rng, height_px, width_px, blur=0.08)[..., None]

    centre_x = width_px * rng.uniform(0.42, 0.58)
    centre_y = height_px * rng.uniform(0.42, 0.58)
    angle = np.arctan2(y - centre_y, x - centre_x)
    radius = height_px * rng.uniform(0.2, 0.32) * (1 + 0.25 * np.cos(angle - rng.uniform(0, np.pi)) ** 2)
    for wave in range(2, 8):
        radius *= 1 + rng.normal(0, 0.12 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    depth = radius - np.hypot(x - centre_x, y - centre_y)
    softness = height_px * rng.uniform(0.012, 0.03)
    mask = 1 / (1 + np.exp(-np.clip(depth / softness, -30, 30)))

    shade = colour + 26 * _clouds(rng, height_px, width_px, blur=0.05)[..., None]
    shade -= 22 * np.clip(depth / radius, 0, 1)[..., None]
    if network:
        pitch = height_px * 0.035
        mesh = np.sin(2 * np.pi * (x + 0.35 * y) / pitch) * np.sin(2 * np.pi * (y - 0.25 * x) / pitch)
        shade -= (14 * mesh * (1 + _clouds(rng, height_px, width_px, blur=0.04)))[..., None]
    canvas = canvas * (1 - mask[..., None]) + shade * mask[..., None]

    vignette = 1 - 0.18 * (((x / width_px - 0.5) ** 2 + (y / height_px - 0.5) ** 2) / 0.5)
    canvas = canvas * vignette[..., None] + rng.normal(0, 2.5, canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _clouds(rng: np.random.Generator, height_px: int, width_px: int, *, blur: float) -> np.ndarray:
    """Return smooth noise of about -1 to 1; `blur` is relative to the height."""
    noise = Image.fromarray(rng.integers(0, 256, (height_px, width_px), dtype=np.uint8), "L")
    smooth = np.asarray(noise.filter(ImageFilter.GaussianBlur(max(1.0, blur * height_px))), dtype=np.float64)
    return (smooth - smooth.mean()) / (2 * smooth.std() + 1e-9)
