"""Lesions drawn by program: for the self-test picture of a model, for tests and for screenshots.

They look roughly like dermoscopy, or like photographs of skin, and belong to nobody. They are no samples of any
disease.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_SKINS = ((236, 196, 178), (226, 178, 158), (243, 208, 196), (210, 160, 136))
# Light to dark.
_TONES = ((232, 190, 168), (214, 166, 140), (186, 134, 106), (140, 96, 74), (98, 66, 52))
_CLOTHS = ((74, 104, 138), (196, 206, 214), (38, 42, 52), (92, 132, 116), (222, 218, 206))
RASHES = ("papules", "plaque", "patch", "ring")
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
    distance, turns = _look_around(x - centre_x, y - centre_y)
    radius = height_px * rng.uniform(0.2, 0.32) * (1 + 0.25 * _wave(next(turns), -rng.uniform(0, np.pi)) ** 2)
    for wave in range(2, 8):
        radius *= 1 + rng.normal(0, 0.12 / wave) * _wave(next(turns), rng.uniform(0, 2 * np.pi))
    depth = radius - distance
    softness = height_px * rng.uniform(0.012, 0.03)
    mask = 1 / (1 + np.exp(-np.clip(depth / softness, -30, 30)))

    shade = colour + 26 * _clouds(rng, height_px, width_px, blur=0.05)[..., None]
    shade -= 22 * np.clip(depth / radius, 0, 1)[..., None]
    if network:
        pitch = height_px * 0.035
        across, down = (2 * np.pi / pitch * np.arange(size_px) for size_px in (width_px, height_px))
        mesh = _slanted_sine(across, 0.35 * down) * _slanted_sine(-0.25 * across, down)
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
    distance, turns = _look_around(x - centre_x, y - centre_y)
    radius = np.full_like(x, height_px * size * rng.uniform(0.7, 0.95))
    next(turns)
    for wave in range(2, 14):
        radius *= 1 + rng.normal(0, 0.35 / wave) * _wave(next(turns), rng.uniform(0, 2 * np.pi))
    depth = radius - distance + height_px * 0.02 * cloud(0.02)[..., 0]
    mask = (1 / (1 + np.exp(-np.clip(depth / (height_px * 0.015), -30, 30))))[..., None]
    shade = np.zeros_like(canvas) + np.array((70.0, 48.0, 44.0))
    for blotch in ((30, 24, 30), (96, 96, 120), (60, 40, 40)):
        cover = 1 / (1 + np.exp(-6 * (1.3 * cloud(0.07) - 0.35)))
        shade = shade * (1 - cover) + np.array(blotch, dtype=np.float64) * cover
    shade += 14 * cloud(0.008) + 10 * cloud(0.02)
    canvas = canvas * (1 - mask) + shade * mask + rng.normal(0, 2.5, canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def draw_photograph(seed: int, *, kind: str = "papules", width_px: int = 640, height_px: int = 480) -> np.ndarray:
    """Draw a stretch of skin as a camera without a dermatoscope sees it: a limb on cloth, with a rash.

    Parameters
    ----------
    seed : int
        Skin, place and rash depend on it alone.
    kind : str
        One of `RASHES`: ``"papules"``, many small red spots; ``"plaque"``, a sharply bounded red area with white
        scales; ``"patch"``, ill-defined redness; ``"ring"``, a red border around paler skin.
    width_px, height_px : int

    Returns
    -------
    ndarray of shape (height_px, width_px, 3), uint8

    >>> draw_photograph(1, kind="ring", width_px=64, height_px=48).shape
    (48, 64, 3)
    """
    if kind not in RASHES:
        raise ValueError(f"A rash is one of {list(RASHES)}. Received: {kind!r}.")
    rng = np.random.default_rng((seed, RASHES.index(kind)))
    y, x = np.mgrid[0:height_px, 0:width_px].astype(np.float64) / height_px
    wide = width_px / height_px

    def cloud(blur: float) -> np.ndarray:
        return _clouds(rng, height_px, width_px, blur=blur)

    # The limb: a band that leaves cloth on one side or both, or fills the picture.
    angle = rng.uniform(-0.5, 0.5)
    across = (y - 0.5) * np.cos(angle) - (x - wide / 2) * np.sin(angle)
    half, shift = rng.uniform(0.34, 0.75), rng.uniform(-0.12, 0.12)
    inside = half * (1 + 0.06 * np.sin(3 * x + rng.uniform(0, 6))) - np.abs(across - shift)
    limb = 1 / (1 + np.exp(-np.clip(inside / 0.008, -30, 30)))
    cloth = np.array(_CLOTHS[rng.integers(len(_CLOTHS))], dtype=np.float64)
    weave = 4 * np.sin(2 * np.pi * (x + y) / 0.012) + 9 * cloud(0.06)
    tone = np.array(_TONES[rng.integers(len(_TONES))], dtype=np.float64)
    # Lit from one side, and darker where the limb turns away.
    light = 1.04 - 0.3 * np.clip(1 - inside / half, 0, 1) ** 2 + 0.06 * np.cos(rng.uniform(0, 6)) * (x / wide - 0.5)
    skin = tone * light[..., None] + (5 * cloud(0.1) + 3 * cloud(0.012))[..., None]

    rash = np.zeros_like(x)
    scale = np.zeros_like(x)
    for spot in range({"papules": 60, "plaque": 3, "patch": 3, "ring": 2}[kind]):
        along = rng.uniform(0.1, 0.9) * wide
        centre_x = along + np.sin(angle) * 0.02
        centre_y = 0.5 + shift + (along - wide / 2) * np.tan(angle) + rng.uniform(-0.6, 0.6) * half
        size = rng.uniform(0.006, 0.02) if kind == "papules" else rng.uniform(0.1, 0.24)
        # Farther away a papule's share of the colour is less than 1e-13.
        reach = size + 30 * 0.004 if kind == "papules" else np.inf
        rows = np.searchsorted(y[:, 0], (centre_y - reach / 0.9, centre_y + reach / 0.9))
        columns = np.searchsorted(x[0], (centre_x - reach, centre_x + reach))
        seen = slice(*rows), slice(*columns)
        to_right, down = x[seen] - centre_x, y[seen] - centre_y
        radius = np.full_like(to_right, size)
        if kind != "papules":
            _, turns = _look_around(to_right, down)
            next(turns)
            for wave in range(2, 9):
                radius *= 1 + rng.normal(0, 0.22 / wave) * _wave(next(turns), rng.uniform(0, 2 * np.pi))
        depth = radius - np.hypot(to_right, down * rng.uniform(0.9, 1.2))
        soft = {"papules": 0.004, "plaque": 0.006, "patch": 0.06, "ring": 0.012}[kind]
        cover = 1 / (1 + np.exp(-np.clip(depth / soft, -30, 30)))
        if kind == "ring":
            cover *= 0.25 + 0.75 * np.exp(-np.clip(depth - 0.015, 0, None) / 0.03)
        if kind == "papules" and spot % 5 == 0:  # a pustule's pale head
            scale[seen] = np.maximum(scale[seen], np.exp(-(((radius - depth) / (0.45 * size)) ** 2)))
        rash[seen] = np.maximum(rash[seen], cover * rng.uniform(0.6, 1.0))
    rash = np.clip(rash * (1 + 0.25 * cloud(0.02)), 0, 1)
    if kind == "plaque":
        scale = np.clip(1.6 * cloud(0.008) + 0.8 * cloud(0.03), 0, 1) * rash
    red = tone * np.array((0.92, 0.55, 0.53))
    skin = skin * (1 - 0.75 * rash[..., None]) + red * light[..., None] * 0.75 * rash[..., None]
    pale = np.array((240.0, 232.0, 214.0)) * light[..., None]
    skin = skin * (1 - 0.7 * scale[..., None]) + pale * 0.7 * scale[..., None]
    canvas = skin * limb[..., None] + (cloth + weave[..., None]) * (1 - limb[..., None])
    canvas += rng.normal(0, 3.0, canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def draw_page(*, width_px: int = 600, height_px: int = 450) -> np.ndarray:
    """Draw lines of text on white, which is no picture of skin; shape (height_px, width_px, 3), uint8."""
    page = Image.new("RGB", (width_px, height_px), (250, 250, 246))
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(range(24, height_px - 24, 22)):
        words = ("lesion of the left forearm", "seen again in three months", "no change was noted", "dermatoscope")
        pen.text((24, line), " ".join((words * 2)[number % 4 : number % 4 + 3]), fill=(30, 30, 40))
    return np.asarray(page)


def _look_around(to_right: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """Return how far each pixel is from a centre, and what yields exp(i k angle) for k of 1, 2 and so on.

    No angle is computed, and the array that is yielded is the same one each time.
    """
    distance = np.hypot(to_right, down)
    turn = (to_right + 1j * down) / np.maximum(distance, 1e-12)

    def turn_on() -> Iterator[np.ndarray]:
        turned = turn.copy()
        while True:
            yield turned
            turned *= turn

    return distance, turn_on()


def _wave(turn: np.ndarray, phase: float) -> np.ndarray:
    """Return the cosine of an angle that is given as exp(i angle), plus a phase."""
    return turn.real * np.cos(phase) - turn.imag * np.sin(phase)


def _slanted_sine(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Return sin(across + down) for each row and column."""
    return np.cos(down)[:, None] * np.sin(across) + np.sin(down)[:, None] * np.cos(across)


def _clouds(rng: np.random.Generator, height_px: int, width_px: int, *, blur: float) -> np.ndarray:
    """Return smooth noise of about -1 to 1; `blur` is relative to the height."""
    noise = Image.fromarray(rng.integers(0, 256, (height_px, width_px), dtype=np.uint8), "L")
    smooth = np.asarray(noise.filter(ImageFilter.GaussianBlur(max(1.0, blur * height_px))), dtype=np.float64)
    return (smooth - smooth.mean()) / (2 * smooth.std() + 1e-9)
