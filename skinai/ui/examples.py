"""Pictures to try the page with, drawn by program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageFilter

from skinai.data.drawing import draw_irregular_lesion, draw_lesion, draw_page, draw_photograph


def _blur(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(9)))


def _enlarge(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(picture)
    return np.asarray(image.resize((28, 21), Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST))


# Pictures without a dermatoscope.
PHOTOGRAPHS: Mapping[str, Callable[[], np.ndarray]] = MappingProxyType(
    {
        "Many red spots (photograph)": lambda: draw_photograph(0, kind="papules"),
        "Red areas with white scales (photograph)": lambda: draw_photograph(1, kind="plaque"),
        "Blurred redness (photograph)": lambda: draw_photograph(4, kind="patch"),
        "Two rings (photograph)": lambda: draw_photograph(4, kind="ring"),
    }
)
# What is drawn, not what the model makes of it: another model may say otherwise.
DRAWN: Mapping[str, Callable[[], np.ndarray]] = MappingProxyType(
    {
        "A regular lesion": lambda: draw_lesion(21),
        "A small irregular lesion": lambda: draw_irregular_lesion(0, size=0.4),
        "A large irregular lesion": lambda: draw_irregular_lesion(0, size=0.6),
        "Out of focus": lambda: _blur(draw_lesion(21)),
        "Enlarged from 28 pixels": lambda: _enlarge(draw_lesion(21)),
        "A page of text": draw_page,
    }
)
