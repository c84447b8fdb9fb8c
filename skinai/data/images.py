"""The only picture decoder: bytes to upright RGB, and RGB to what a network sees.

Training, evaluation, the command line and the page all go through :func:`decode_picture` and
:func:`frame_picture`, so a network is served exactly what it was trained on.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from skinai.errors import PictureError

MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS_JPEG = 50_000_000
# What is held in memory at once; a JPEG is reduced to this while it is decoded, a PNG cannot be.
MAX_PIXELS_DECODED = 16_000_000
# Each scan of a progressive JPEG costs a pass over the picture, and one can be announced in 12 bytes.
MAX_JPEG_SCANS = 64
MIN_SIDE_PX = 32
MAX_ASPECT = 10
MAX_ICC_BYTES = 32 * 1024
# A file of 20 MiB can have millions of parts of a few bytes, each of which a reader takes its time for. Real ones have
# hundreds; a PNG that is written in pieces of 1 KB takes 60,000 readings.
MAX_READINGS = 100_000
# JPEG can be decoded at 1/2, 1/4 or 1/8 size; nothing here needs more than this.
JPEG_DRAFT_SIZE_PX = (1600, 1200)
# No network here sees more; a frame is held in memory whole.
MAX_FRAME_PX = 4096
_STRIP_PIXELS = 1_000_000
SUFFIXES = (".jpg", ".jpeg", ".png", ".dcm")

# Left, top, right and bottom of a rectangle, in shares of a picture's width and height.
Mark = tuple[float, float, float, float]

SIGNATURES = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n"}
_MATRIX_PROFILE_TAGS = {
    *(b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"wtpt", b"bkpt", b"lumi", b"chad", b"chrm"),
    *(b"desc", b"cprt", b"dmnd", b"dmdd", b"vued", b"view", b"tech", b"meas", b"cicp", b"calt", b"vcgt", b"mmod"),
    *(b"dscm", b"ndin", b"aarg", b"aabg", b"aagg"),
}
# Pillow warns of damaged EXIF on standard error; who sends such a picture gets its answer, or one sentence.
warnings.filterwarnings("ignore", module=r"PIL\.")
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I", "I;16", "I;16B"}


@dataclass(frozen=True)
class FrameRule:
    """How a picture of any size becomes a network's input.

    A portrait picture is turned by a right angle (dermoscopy has no up), the middle is cropped to the frame's own
    ratio, and the rest is reduced with an anti-aliased filter: a lesion is never stretched.

    Attributes
    ----------
    width_px, height_px : int
        Size of the network's input; width is at least height and at most `MAX_FRAME_PX`.
    filter : str
        Pillow's resampling filter, by name.
    """

    width_px: int
    height_px: int
    filter: str = "bilinear"

    def __post_init__(self) -> None:
        if not (8 <= self.height_px <= self.width_px):
            raise ValueError(f"A frame is at least as wide as high. Received: {self.width_px} x {self.height_px}")
        if self.width_px > MAX_FRAME_PX:
            raise ValueError(f"A frame is at most {MAX_FRAME_PX} wide. Received: {self.width_px}")
        if self.filter not in ("bilinear", "bicubic", "box", "hamming", "lanczos"):
            raise ValueError(f"Unknown resampling filter. Received: {self.filter!r}")

    def as_dict(self) -> dict[str, Any]:
        """Return the rule as it is written into ``bundle.json``."""
        return asdict(self)


class MeteredBytes(io.BytesIO):
    """The bytes of a file, from which can be read only so often: a bound on the work of whoever reads them.

    Parameters
    ----------
    content : bytes
    sentence : str
        Of the error at one reading more.
    readings : int

    Raises
    ------
    PictureError
        With `code` ``unreadable``.
    """

    def __init__(self, content: bytes, sentence: str, *, readings: int = MAX_READINGS) -> None:
        super().__init__(content)
        self._sentence, self._left = sentence, readings

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, as any file does."""
        self._left -= 1
        if self._left < 0:
            raise PictureError("unreadable", self._sentence)
        return super().read(size)


def read_picture(path: Path) -> np.ndarray:
    """Read a picture file.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        Upright sRGB.

    Raises
    ------
    PictureError
        If the file is missing or :func:`decode_picture` refuses it.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _too_many_bytes(size)
        content = path.read_bytes()
    except OSError as error:
        raise PictureError(
            "unreadable", f"The file could not be opened ({error.strerror or 'unknown reason'})."
        ) from error
    return decode_picture(content)


def decode_picture(content: bytes) -> np.ndarray:
    """Decode the bytes of a JPEG, PNG or DICOM picture into upright sRGB.

    EXIF orientation is applied; CMYK, palette, grey, 1-bit and 16-bit pictures are converted; transparency is laid
    on white; a small RGB colour profile is applied, any other is ignored.

    Parameters
    ----------
    content : bytes
        At most 20 MiB; at most 50 million pixels in a JPEG, 16 million in a progressive JPEG or a PNG.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        A JPEG of more than twice 1600 x 1200 comes back at a half, quarter or eighth of its size.

    Raises
    ------
    PictureError
        With `code` ``empty``, ``too_large``, ``not_a_picture``, ``too_many_pixels``, ``too_small``, ``odd_shape``,
        ``animated`` or ``unreadable``; for DICOM see :func:`skinai.data.dicom.decode_dicom`. No other error leaves
        this function.
    """
    if not content:
        raise PictureError("empty", "The file is empty.")
    if len(content) > MAX_BYTES:
        raise _too_many_bytes(len(content))
    kind = next((kind for kind, start in SIGNATURES.items() if content.startswith(start)), None)
    if kind is None:
        from skinai.data.dicom import decode_dicom, is_dicom  # it imports this module for the JPEG inside

        if is_dicom(content):
            return decode_dicom(content).pixels
        raise PictureError("not_a_picture", "The file is not a JPEG, PNG or DICOM picture.")
    try:
        stream = MeteredBytes(content, "The picture has more parts than any camera writes.")
        with Image.open(stream, formats=[kind]) as image:
            _check_header(image, kind)
            if kind == "JPEG":
                _check_scans(content)
                image.draft(None, JPEG_DRAFT_SIZE_PX)
            _check_pixels(image, MAX_PIXELS_DECODED)
            image.load()
            _turn_upright(image)
            return _to_array(image)
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError("too_many_pixels", "The picture announces far too many pixels to be read.") from error
    except MemoryError as error:
        raise PictureError("too_many_pixels", "The picture needs more memory than is free.") from error
    except Exception as error:  # Pillow raises many types on damaged files; a visitor gets one sentence.
        raise PictureError("unreadable", "The picture is damaged or incomplete and could not be read.") from error


def frame_picture(picture: np.ndarray, rule: FrameRule) -> np.ndarray:
    """Turn, crop and reduce a picture to a network's input.

    Parameters
    ----------
    picture : ndarray of shape (height, width, 3), uint8
    rule : FrameRule

    Returns
    -------
    ndarray of shape (rule.height_px, rule.width_px, 3), uint8

    >>> frame_picture(np.zeros((600, 400, 3), np.uint8), FrameRule(64, 48)).shape
    (48, 64, 3)
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"A picture is (height, width, 3) uint8. Received: {picture.shape} {picture.dtype}")
    image = Image.fromarray(picture)
    if image.height > image.width:
        image = image.transpose(Image.Transpose.ROTATE_90)
    width = min(image.width, image.height * rule.width_px / rule.height_px)
    height = width * rule.height_px / rule.width_px
    # Rounding may take the last digit beyond the edge.
    height = min(height, image.height)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    resampling = Image.Resampling[rule.filter.upper()]
    box = (left, top, left + width, top + height)
    return np.asarray(image.resize((rule.width_px, rule.height_px), resampling, box=box))


def check_mark(values: Sequence[float | str]) -> Mark:
    """Return where an owner's mark lies, if the other side of a picture can cover it.

    Parameters
    ----------
    values : sequence of float or str
        Left, top, right and bottom, in shares of the width and height of the upright picture.

    Raises
    ------
    ValueError
        If they are no rectangle inside the picture, at its left or right edge and at most half as wide as it.
    """
    with contextlib.suppress(ValueError):  # of what is no number; the sentence below says it all
        left, top, right, bottom = (float(value) for value in values)
        at_edge = (left == 0 and 0 < right <= 0.5) or (right == 1 and 0.5 <= left < 1)
        if at_edge and 0 <= top < bottom <= 1:
            return left, top, right, bottom
    raise ValueError(
        "A mark is left, top, right and bottom in shares of the picture from 0 to 1, at its left or right edge and at "
        f"most half as wide as it. Received: {', '.join(str(value) for value in values)}."
    )


def cover_mark(picture: np.ndarray, mark: Mark) -> np.ndarray:
    """Return a copy of a picture whose marked rectangle shows the same one of the other side, mirrored.

    Parameters
    ----------
    picture : ndarray of shape (height, width, 3), uint8
    mark : tuple of four float
        See :func:`check_mark`.
    """
    height, width = picture.shape[:2]
    left, right = int(width * mark[0]), int(width * mark[2])
    rows = slice(int(height * mark[1]), int(height * mark[3]))
    covered = picture.copy()
    covered[rows, left:right] = picture[rows, width - right : width - left][:, ::-1]
    return covered


def read_size(content: bytes) -> tuple[int, int]:
    """Return width and height in pixels of a picture that can be decoded, as its header has them.

    A large JPEG is decoded at a fraction of its size, and a turned one is set upright; this is the file's own size.
    """
    with Image.open(io.BytesIO(content), formats=["JPEG", "PNG"]) as image:
        return image.size


def hash_pixels(picture: np.ndarray) -> str:
    """Return the SHA-256 of a picture's shape and pixels, 64 hexadecimal digits."""
    return hashlib.sha256(repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes()).hexdigest()


def encode_preview(picture: np.ndarray, *, max_side_px: int = 640) -> bytes:
    """Encode a small JPEG for display, without any metadata of the original.

    Streamlit derives the address of a file over 1 MiB from samples of it, so two patients' pictures can share one;
    a preview of this size stays far below that.
    """
    image = Image.fromarray(picture)
    image.thumbnail((max_side_px, max_side_px), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def _too_many_bytes(size: int) -> PictureError:
    return PictureError(
        "too_large", f"The file has {size / 1024 / 1024:.0f} MB; at most {MAX_BYTES // 1024 // 1024} MB can be read."
    )


def _check_header(image: Image.Image, kind: str) -> None:
    width, height = image.size
    if kind == "JPEG":
        # A progressive JPEG is held whole while it is decoded, whatever size it is reduced to.
        _check_pixels(image, MAX_PIXELS_DECODED if image.info.get("progressive") else MAX_PIXELS_JPEG)
    _check_shape(width, height)
    if kind == "PNG" and getattr(image, "n_frames", 1) > 1:
        raise PictureError("animated", "The picture is an animation; one still picture is needed.")
    if image.mode not in _MODES:
        raise PictureError("unreadable", f"Pictures of the kind {image.mode!r} cannot be read.")


def check_size(width: int, height: int, *, max_pixels: int) -> None:
    """Raise `PictureError` if a picture of this size cannot be analysed."""
    _check_count(width, height, max_pixels)
    _check_shape(width, height)


def _check_shape(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE_PX:
        raise PictureError(
            "too_small",
            f"The picture has {width} x {height} pixels; at least {MIN_SIDE_PX} x {MIN_SIDE_PX} are needed.",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PictureError("odd_shape", f"The picture is {width} x {height} pixels, far too narrow for a lesion.")


def _check_pixels(image: Image.Image, max_pixels: int) -> None:
    _check_count(*image.size, max_pixels)


def _check_count(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PictureError(
            "too_many_pixels",
            f"The picture has {width} x {height} pixels; at most {max_pixels // 1_000_000} million can be read.",
        )


def _check_scans(content: bytes) -> None:
    if content.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise PictureError(
            "unreadable", f"The JPEG picture has more than {MAX_JPEG_SCANS} scans, which no camera writes."
        )


def _turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation, without a second copy of the picture; damaged EXIF counts as upright."""
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _to_array(image: Image.Image) -> np.ndarray:
    """Return sRGB; converted a strip at a time, so that a large picture is not held five times over."""
    picture = np.empty((image.height, image.width, 3), dtype=np.uint8)
    rows = max(_STRIP_PIXELS // image.width, 1)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        picture[top:bottom] = np.asarray(_to_srgb(image.crop((0, top, image.width, bottom))))
    return picture


def _to_srgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16B"):
        # Pillow's own conversion clips 16-bit grey to white instead of scaling it.
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray((values // 257).astype(np.uint8), "L").convert("RGB")
    profile = image.info.get("icc_profile")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return _apply_profile(image.convert("RGB"), profile)


def _apply_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to sRGB where the profile is a small matrix profile for RGB; leave the picture alone otherwise.

    Profiles come from strangers and go to a C library, so only the simple kind that cameras and phones write
    (matrix and curves, no look-up tables) is let through.
    """
    if not profile or len(profile) > MAX_ICC_BYTES or profile[16:20] != b"RGB " or not _is_matrix_profile(profile):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        return converted if converted is not None else image
    except Exception:  # A broken profile is no reason to refuse the picture.
        return image


def _is_matrix_profile(profile: bytes) -> bool:
    """Whether every tag of the profile's table is one of those that a matrix profile has (ICC.1:2022, section 9)."""
    count = int.from_bytes(profile[128:132], "big")
    names = {profile[132 + 12 * index : 136 + 12 * index] for index in range(min(count, 100))}
    return count <= 100 and names <= _MATRIX_PROFILE_TAGS
