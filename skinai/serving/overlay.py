"""A class activation map laid over the picture that it belongs to."""

from __future__ import annotations

import numpy as np
from PIL import Image

# The ten steps in which the viridis colour scale (van der Walt and Smith 2015) is usually given.
_VIRIDIS = (
    *((68, 1, 84), (72, 40, 120), (62, 73, 137), (49, 104, 142), (38, 130, 142)),
    *((31, 158, 137), (53, 183, 121), (110, 206, 88), (181, 222, 43), (253, 231, 37)),
)


def overlay_map(frame: np.ndarray, drawn: np.ndarray, *, opacity: float) -> np.ndarray | None:
    """Lay a class activation map over the frame it belongs to.

    Parameters
    ----------
    frame : ndarray of shape (height, width, 3), uint8
    drawn : ndarray of shape (rows, columns)
        Only what is above 0 is shown.
    opacity : float
        0 to 1, at the map's greatest value.

    Returns
    -------
    ndarray of shape (2 height, 2 width, 3), uint8, or None where nothing is above 0
    """
    positive = np.maximum(drawn, 0)
    if not positive.max() > 0:
        return None
    size = (2 * frame.shape[1], 2 * frame.shape[0])
    strength = Image.fromarray((positive / positive.max()).astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    share = np.clip(np.asarray(strength), 0, 1)
    steps = np.linspace(0, 1, len(_VIRIDIS))
    colours = np.stack([np.interp(share, steps, channel) for channel in zip(*_VIRIDIS, strict=True)], axis=-1)
    below = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    weight = (opacity * share)[..., None]
    return np.rint(below * (1 - weight) + colours * weight).astype(np.uint8)
