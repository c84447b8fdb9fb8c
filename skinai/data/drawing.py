"""Lesions drawn by program: for the self-test picture of a model, for tests and for screenshots.

They look roughly like dermoscopy and belong to nobody. They are no samples of any disease.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

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


def draw_irregular_lesion(seed: int, *, size: float = 0.6, width_px: int = 600, height_px: int = 450) -> np.ndarray:
    """Draw one lesion with a ragged border and blotches of black, brown and blue-grey.

    Parameters
    ----------
    seed : int
        Shape, place and blotches depend on it and the sizes alone.
    size : float
        About the lesion's radius as a share of the height.
    width_px, height_px : int

    Returns
    -------
    ndarray of shape (height_px, width_px, 3), uint8
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height_px, 0:width_px].astype(np.float64)

    def cloud(blur: float) -> np.ndarray:
        return _clouds(rng, height_px, width_px, blur=blur)[..., None]

    canvas = np.array((222.0, 172.0, 158.0)) + 6 * cloud(0.08) + 4 * cloud(0.01)
    centre_x, centre_y = width_px * rng.uniform(0.45, 0.55), height_px * rng.uniform(0.45, 0.55)
    angle = np.arctan2(y - centre_y, x - centre_x)
    radius = np.full_like(x, height_px * size * rng.uniform(0.7, 0.95))
    for wave in range(2, 14):
        radius *= 1 + rng.normal(0, 0.35 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    depth = radius - np.hypot(x - centre_x, y - centre_y) + height_px * 0.02 * cloud(0.02)[..., 0]
    mask = (1 / (1 + np.exp(-np.clip(depth / (height_px * 0.015), -30, 30))))[..., None]
    shade = np.zeros_like(canvas) + np.array((70.0, 48.0, 44.0))
    for blotch in ((30, 24, 30), (96, 96, 120), (60, 40, 40)):
        cover = 1 / (1 + np.exp(-6 * (1.3 * cloud(0.07) - 0.35)))
        shade = shade * (1 - cover) + np.array(blotch, dtype=np.float64) * cover
    shade += 14 * cloud(0.008) + 10 * cloud(0.02)
    canvas = canvas * (1 - mask) + shade * mask + rng.normal(0, 2.5, canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def draw_page(*, width_px: int = 600, height_px: int = 450) -> np.ndarray:
    """Draw lines of text on white, which is no picture of skin; shape (height_px, width_px, 3), uint8."""
    page = Image.new("RGB", (width_px, height_px), (250, 250, 246))
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(range(24, height_px - 24, 22)):
        words = ("lesion of the left forearm", "seen again in three months", "no change was noted", "dermatoscope")
        pen.text((24, line), " ".join((words * 2)[number % 4 : number % 4 + 3]), fill=(30, 30, 40))
    return np.asarray(page)


def _clouds(rng: np.random.Generator, height_px: int, width_px: int, *, blur: float) -> np.ndarray:
    """Return smooth noise of about -1 to 1; `blur` is relative to the height."""
    noise = Image.fromarray(rng.integers(0, 256, (height_px, width_px), dtype=np.uint8), "L")
    smooth = np.asarray(noise.filter(ImageFilter.GaussianBlur(max(1.0, blur * height_px))), dtype=np.float64)
    return (smooth - smooth.mean()) / (2 * smooth.std() + 1e-9)
