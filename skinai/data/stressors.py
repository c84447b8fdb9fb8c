"""What can come between a lens and a lesion, drawn over a picture by program: for asking how steady an answer is.

Each function takes and returns a picture of shape (height, width, 3), uint8, and leaves its input alone. What it draws
depends on the size of the picture only, so the same picture always gets the same hairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_OVERSAMPLED = 2


def draw_hairs(picture: np.ndarray) -> np.ndarray:
    """Draw nine dark, bent hairs across the picture."""
    rng = np.random.default_rng(1)
    height, width = picture.shape[:2]

    def draw(pen: ImageDraw.ImageDraw, unit: float) -> None:
        for _ in range(9):
            ends = rng.uniform(-0.1, 1.1, (2, 2)) * (width, height)
            bend = rng.uniform(-0.15, 0.15) * (ends[1] - ends[0])[::-1] * (1, -1)
            steps = np.linspace(0, 1, 24)[:, None]
            points = ends[0] * (1 - steps) + ends[1] * steps + 4 * bend * steps * (1 - steps)
            shade = int(rng.integers(15, 60))
            colour = (shade, int(shade * 0.8), int(shade * 0.7), 235)
            pen.line([tuple(point * _OVERSAMPLED) for point in points], colour, width=max(1, round(0.006 * unit)))

    return _draw_over(picture, draw)


def draw_ruler(picture: np.ndarray) -> np.ndarray:
    """Draw the marks of a ruler along the lower edge."""
    height, width = picture.shape[:2]

    def draw(pen: ImageDraw.ImageDraw, unit: float) -> None:
        pitch = width * _OVERSAMPLED / 30
        bottom = height * _OVERSAMPLED
        for number in range(31):
            length = unit * (0.11 if number % 10 == 0 else 0.08 if number % 5 == 0 else 0.05)
            place = number * pitch
            pen.line((place, bottom - length, place, bottom), (25, 25, 30, 255), width=max(1, round(0.007 * unit)))

    return _draw_over(picture, draw)


def draw_ink(picture: np.ndarray) -> np.ndarray:
    """Draw a violet arc of a skin marker beside the middle."""
    height, width = picture.shape[:2]

    def draw(pen: ImageDraw.ImageDraw, unit: float) -> None:
        middle, reach = (0.5 * width * _OVERSAMPLED, 0.5 * height * _OVERSAMPLED), 0.44 * unit
        box = (middle[0] - reach, middle[1] - reach, middle[0] + reach, middle[1] + reach)
        pen.arc(box, 100, 205, fill=(84, 46, 140, 190), width=max(2, round(0.035 * unit)))

    return _draw_over(picture, draw)


def darken_corners(picture: np.ndarray) -> np.ndarray:
    """Lay the dark corners of a round field of view over the picture."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    reach = np.hypot(x - (width - 1) / 2, y - (height - 1) / 2) / (min(height, width) / 2)
    light = 1 / (1 + np.exp(np.clip((reach - 1.08) * 60, -40, 40)))
    return (picture * light[..., None]).astype(np.uint8)


def soften(picture: np.ndarray) -> np.ndarray:
    """Blur the picture slightly, as a lens a little out of focus does."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(min(picture.shape[:2]) / 220)))


def tint(picture: np.ndarray) -> np.ndarray:
    """Make the light warmer: more red, less blue."""
    return np.clip(picture * np.array([1.06, 1.0, 0.9]), 0, 255).astype(np.uint8)


def turn(picture: np.ndarray) -> np.ndarray:
    """Turn the picture by 30 degrees about its middle; beyond its edge it is mirrored."""
    height, width = picture.shape[:2]
    reach = int(np.ceil(np.hypot(height, width) / 2))
    above, beside = max(reach - height // 2, 0), max(reach - width // 2, 0)
    wide = np.pad(picture, ((above, above), (beside, beside), (0, 0)), mode="symmetric")
    turned = np.asarray(Image.fromarray(wide).rotate(30, Image.Resampling.BICUBIC))
    return turned[above : above + height, beside : beside + width]


STRESSORS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {
        "hair": draw_hairs,
        "ruler": draw_ruler,
        "ink": draw_ink,
        "dark_corners": darken_corners,
        "blur": soften,
        "tint": tint,
        "rotation": turn,
    }
)


def _draw_over(picture: np.ndarray, draw: Callable[[ImageDraw.ImageDraw, float], None]) -> np.ndarray:
    """Return the picture with what `draw` draws at twice its size; the second argument is its shorter side there."""
    height, width = picture.shape[:2]
    layer = Image.new("RGBA", (width * _OVERSAMPLED, height * _OVERSAMPLED))
    draw(ImageDraw.Draw(layer), float(min(layer.size)))
    layer = layer.resize((width, height), Image.Resampling.BOX)
    below = Image.fromarray(picture).convert("RGBA")
    return np.asarray(Image.alpha_composite(below, layer).convert("RGB"))
