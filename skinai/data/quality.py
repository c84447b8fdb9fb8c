"""What can be measured on a framed picture without a network: detail, light, colour and layout."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np

# Bounds of the bands of spatial frequency, as shares of the frame's own limit (Nyquist).
_BANDS = (0.03, 0.06, 0.10, 0.14, 0.20, 0.28, 0.40, 0.56, 0.80, 1.0)
_QUANTILES = (0.02, 0.25, 0.50, 0.75, 0.98)
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_TINY = 1e-6
MEASURES = (
    *(f"detail_{low:.2f}_to_{high:.2f}" for low, high in pairwise(_BANDS)),
    "detail_along_axes",
    *(f"{channel}_mean" for channel in ("red", "green", "blue")),
    *(f"{channel}_spread" for channel in ("red", "green", "blue")),
    *("saturation_mean", "saturation_spread", "red_less_green_mean", "red_less_green_spread"),
    *("green_less_blue_mean", "green_less_blue_spread"),
    *(f"lightness_quantile_{quantile:.2f}" for quantile in _QUANTILES),
    *("middle_less_border", "border_spread", "red_green_correlation", "green_blue_correlation"),
    *("share_unlike_border", "share_glaring", "share_black"),
)


def measure_frame(frame: np.ndarray) -> np.ndarray:
    """Measure one frame.

    Parameters
    ----------
    frame : ndarray of shape (height, width, 3), uint8
        From :func:`skinai.data.images.frame_picture`. Detail is relative to the frame's own resolution, so a small
        picture that was blown up shows as one without fine detail, whatever its file says.

    Returns
    -------
    ndarray of shape (len(MEASURES),), float32
        In the order of `MEASURES`. Detail is the logarithm (base 10) of the mean power in a band; colours and
        lightness are from 0 to 1.
    """
    height, width = frame.shape[:2]
    # Each colour in a plane of its own, which is several times quicker to go through.
    red, green, blue = planes = np.ascontiguousarray(frame.transpose(2, 0, 1)).astype(np.float32) / 255
    light = np.tensordot(_LUMA, planes, 1)
    window, band, along = _plan(height, width)
    power = np.abs(np.fft.rfft2((light - light.mean()) * window)) ** 2
    sums = np.bincount(band, weights=power.ravel(), minlength=len(_BANDS))[1:]
    counts = np.maximum(np.bincount(band, minlength=len(_BANDS))[1:], 1)
    detail = np.log10(sums / counts + _TINY)
    axes = [power.ravel()[along == side].mean() + 1e-9 for side in (1, 0)]

    brightest, darkest = planes.max(axis=0), planes.min(axis=0)
    saturation = (brightest - darkest) / (brightest + 1e-3)
    red_green, green_blue = red - green, green - blue
    middle = light[height // 4 : height - height // 4, width // 4 : width - width // 4]
    edge = np.ones((height, width), dtype=bool)
    edge[height // 8 : height - height // 8, width // 8 : width - width // 8] = False
    border = light[edge]
    typical = np.median(border)
    return np.array(
        [
            *detail,
            np.log10(axes[0] / axes[1]),
            *(plane.mean() for plane in planes),
            *(plane.std() for plane in planes),
            *(saturation.mean(), saturation.std(), red_green.mean(), red_green.std()),
            *(green_blue.mean(), green_blue.std()),
            *np.quantile(light, _QUANTILES),
            *(middle.mean() - typical, border.std()),
            *(_correlation(red.ravel(), green.ravel()), _correlation(green.ravel(), blue.ravel())),
            *((np.abs(light - typical) > 0.12).mean(), (brightest > 0.98).mean(), (brightest < 0.05).mean()),
        ],
        dtype=np.float32,
    )


@lru_cache(maxsize=4)
def _plan(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the window, the band of each frequency (0: none), and 1 along an axis, 0 off it, 2 outside the range."""
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    down, across = np.fft.fftfreq(height)[:, None] * 2, np.fft.rfftfreq(width)[None] * 2
    radius = np.hypot(down, across)
    band = np.searchsorted(_BANDS, radius.ravel(), side="right") % len(_BANDS)
    angle = np.arctan2(np.abs(across), np.abs(down))
    on_axis = (angle < 0.06) | (angle > np.pi / 2 - 0.06)
    along = np.where((radius > 0.1) & (radius < 0.8), on_axis.astype(int), 2)
    return window, band, along.ravel()


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation; 1 where a channel does not vary."""
    first, second = first - first.mean(), second - second.mean()
    spread = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / spread if spread > _TINY * len(first) else 1.0
