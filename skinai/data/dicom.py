"""Read one picture out of a DICOM file, and of what the file says only what names nobody."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skinai.data.images import MAX_BYTES, MAX_PIXELS_DECODED, SIGNATURES, MeteredBytes, check_size, decode_picture
from skinai.errors import PictureError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# PS3.4, table B.5-1.
_KINDS = {
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL photographic image",
    "1.2.840.10008.5.1.4.1.1.77.1.7": "Dermoscopic photography image",
}
# PS3.5, annex A. Deflated and run-length encoded files are left out: a small one can announce gigabytes.
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
# Tells a JPEG decoder that the three channels are red, green and blue as they stand (ITU-T T.872, 6.5.3).
_ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
# A photograph has a dozen items of sequences; each costs a hundred times its bytes when it is parsed.
_ITEM, _MAX_ITEMS = b"\xfe\xff\x00\xe0", 2000
_MAX_HEAD_BYTES = 4096
_MAX_VALUE_BYTES = 1024
# A photograph has some hundred attributes, each of which takes two or three readings.
_MAX_READINGS = 20_000
# Of one that is described; it is parsed only then.
_MAX_SEQUENCE_BYTES = 65_536
_DAMAGED = "The DICOM file is damaged or incomplete and could not be read."
_DESCRIBED = {
    "Manufacturer": "Manufacturer",
    "ManufacturerModelName": "Device",
    "ImageLaterality": "Side",
    "PixelSpacing": "Millimetres a pixel",
    "AnatomicRegionSequence": "Place on the body",
    "IlluminationTypeCodeSequence": "Light",
    "LensesCodeSequence": "Lens",
}
_LOCK = threading.Lock()
_IDENTIFIERS = {
    "PatientName": "Name",
    "PatientID": "Patient ID",
    "PatientBirthDate": "Date of birth",
    "AccessionNumber": "Accession number",
}


@dataclass(frozen=True)
class DicomPicture:
    """One picture out of a DICOM file.

    Attributes
    ----------
    pixels : ndarray of shape (height, width, 3), uint8
        RGB.
    facts : mapping of str to str
        What the file says of the kind of picture, the device and the place on the body; names nobody.
    """

    pixels: np.ndarray
    facts: Mapping[str, str]


def is_dicom(content: bytes) -> bool:
    """Whether the bytes have the mark of a DICOM file (PS3.10, section 7.1), and do not begin as a JPEG or PNG does.

    What is both is read as what it begins as, wherever it is read.

    >>> is_dicom(b"no")
    False
    """
    return content[128:132] == b"DICM" and not content.startswith(tuple(SIGNATURES.values()))


def decode_dicom(content: bytes) -> DicomPicture:
    """Decode a dermoscopic or plain photographic DICOM file with one picture.

    Pixels may be uncompressed (RGB, YBR_FULL or grey) or baseline JPEG, 8 bits. A colour profile is ignored.

    Parameters
    ----------
    content : bytes
        At most 20 MiB.

    Raises
    ------
    PictureError
        With `code` ``not_a_photograph``, ``several_frames``, ``compression``, or one of those of
        :func:`skinai.data.images.decode_picture`. No other error leaves this function.
    """
    if len(content) > MAX_BYTES:
        raise PictureError("too_large", f"The file has more than {MAX_BYTES // 1024 // 1024} MB.")
    try:
        with _leniently():
            file = _read(content)
            kind = _KINDS.get(str(file.file_meta.MediaStorageSOPClassUID))
            if kind is None:
                raise PictureError(
                    "not_a_photograph", "The DICOM file is no dermoscopic and no plain photographic picture."
                )
            if int(_read_text(file, "NumberOfFrames") or 1) != 1:
                raise PictureError("several_frames", "The DICOM file has several frames; one still picture is needed.")
            return DicomPicture(_decode_pixels(file), _describe(file, kind))
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError("too_many_pixels", "The picture needs more memory than is free.") from error
    except Exception as error:  # pydicom raises many types on damaged files; a visitor gets one sentence.
        raise PictureError("unreadable", _DAMAGED) from error


def read_identifiers(content: bytes) -> dict[str, str]:
    """Return who the picture is of, as far as a DICOM file says; for a user who asks, never kept and never exported.

    >>> read_identifiers(b"no DICOM file")
    {}
    """
    try:
        with _leniently():
            return _find_identifiers(_read(content))
    except Exception:
        return {}


@contextmanager
def _leniently() -> Iterator[None]:
    """Read what real files write, without warnings; the settings, which are the whole process's, are put back."""
    from pydicom import config  # half a second, and most pictures are no DICOM

    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = config.settings.reading_validation_mode
        config.settings.reading_validation_mode = config.IGNORE
        try:
            yield
        finally:
            config.settings.reading_validation_mode = before


def _find_identifiers(file: Dataset) -> dict[str, str]:
    values = {name: _read_text(file, tag)[:120] for tag, name in _IDENTIFIERS.items()}
    return {name: value for name, value in values.items() if value}


def _read_text(file: Dataset, tag: str) -> str:
    """Return an attribute as text; nothing where it is absent or so long that it is not what it should be."""
    raw = file.get_item(tag)
    if raw is None or len(raw.value if isinstance(raw.value, bytes) else b"") > _MAX_VALUE_BYTES:
        return ""
    value = file.get(tag)
    return "" if value is None else str(value).strip()


def _read(content: bytes) -> Dataset:
    from pydicom import dcmread
    from pydicom.filereader import read_dataset

    if content.count(_ITEM) > _MAX_ITEMS:
        raise PictureError("unreadable", _DAMAGED)
    # The head alone, first: a deflated file would be inflated whole before anybody could ask how it is compressed.
    head = read_dataset(
        io.BytesIO(content[132 : 132 + _MAX_HEAD_BYTES]),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag.group != 2,
    )
    syntax = head.TransferSyntaxUID
    if str(syntax) not in (*_PLAIN, _JPEG_BASELINE):
        # A name from the standard, never text out of the file.
        name = f" ({syntax.name})" if syntax.name != str(syntax) else ""
        raise PictureError(
            "compression",
            f"The DICOM file is compressed in a way that is not read here{name}; uncompressed and baseline JPEG are.",
        )
    return dcmread(MeteredBytes(content, _DAMAGED, readings=_MAX_READINGS))


def _decode_pixels(file: Dataset) -> np.ndarray:
    photometric = _read_text(file, "PhotometricInterpretation")
    rows, columns, samples = int(file.Rows), int(file.Columns), int(file.SamplesPerPixel)
    is_jpeg = str(file.file_meta.TransferSyntaxUID) == _JPEG_BASELINE
    known: dict[int, tuple[str, ...]] = {3: ("RGB", "YBR_FULL"), 1: ("MONOCHROME1", "MONOCHROME2")}
    if is_jpeg:
        known = {3: ("RGB", "YBR_FULL", "YBR_FULL_422"), 1: ("MONOCHROME2",)}
    bits = [int(file.get(tag) or 0) for tag in ("BitsAllocated", "BitsStored", "PixelRepresentation")]
    if bits != [8, 8, 0] or photometric not in known.get(samples, ()):
        raise PictureError("unreadable", "DICOM pixels of this kind cannot be read.")
    if is_jpeg:
        return _decode_jpeg(file, photometric, rows, columns)
    check_size(columns, rows, max_pixels=MAX_PIXELS_DECODED)
    expected = rows * columns * samples
    if len(file.PixelData) < expected:
        raise PictureError("unreadable", _DAMAGED)
    file.PixelData = file.PixelData[: expected + expected % 2].ljust(expected + expected % 2, b"\0")
    values = np.asarray(file.pixel_array)  # YBR has become RGB
    if photometric == "MONOCHROME1":
        values = 255 - values
    if samples == 1:
        values = np.repeat(values[..., None], 3, axis=2)
    return np.ascontiguousarray(values, dtype=np.uint8)


def _decode_jpeg(file: Dataset, photometric: str, rows: int, columns: int) -> np.ndarray:
    from pydicom.encaps import generate_frames

    picture = next(generate_frames(file.PixelData, number_of_frames=1))
    if not picture.startswith(b"\xff\xd8\xff"):
        raise PictureError("unreadable", _DAMAGED)
    if photometric == "RGB":
        picture = _mark_as_rgb(picture)
    pixels = decode_picture(picture)
    # It may have been reduced or turned upright, so only the shape can be compared.
    ratios = sorted(pixels.shape[:2]), sorted((rows, columns))
    if abs(ratios[0][0] * ratios[1][1] - ratios[0][1] * ratios[1][0]) > 0.03 * ratios[0][1] * ratios[1][1]:
        raise PictureError("unreadable", _DAMAGED)
    return pixels


def _mark_as_rgb(picture: bytes) -> bytes:
    """Return a JPEG with the mark of plain RGB, unless its channels are of different sizes, which only YBR ones are."""
    from PIL import Image

    with Image.open(MeteredBytes(picture, _DAMAGED), formats=["JPEG"]) as image:
        same = len({(across, down) for _, across, down, _ in getattr(image, "layer", [])}) == 1
    if not same:
        return picture
    rest = picture[2:]
    while rest[:2] in (b"\xff\xe0", b"\xff\xee"):  # a JFIF or an older Adobe mark would be believed instead
        rest = rest[2 + int.from_bytes(rest[2:4], "big") :]
    return picture[:2] + _ADOBE_RGB + rest


def _describe(file: Dataset, kind: str) -> dict[str, str]:
    facts = {"Kind": kind}
    # Free text: what has a part of the patient's name or number in it is left out.
    names = " ".join(_find_identifiers(file).values()).lower().replace("^", " ").split()
    for tag, name in _DESCRIBED.items():
        value = ""
        with suppress(Exception):  # an odd attribute is no reason to refuse the picture
            value = _read_meaning(file, tag) if tag.endswith("Sequence") else _read_text(file, tag)
        if value and not any(len(part) > 2 and part in value.lower() for part in names):
            facts[name] = value.strip("[]").replace(", ", " x ")[:120] if tag == "PixelSpacing" else value[:120]
    if _read_text(file, "BurnedInAnnotation").upper() == "YES":
        facts["Beware"] = "the file says that text is burned into the picture"
    return facts


def _read_meaning(file: Dataset, tag: str) -> str:
    """Return what the first code of a sequence means; nothing where it is absent or far too long."""
    raw: Any = file.get_item(tag)
    if raw is None or len(raw.value if isinstance(raw.value, bytes) else b"") > _MAX_SEQUENCE_BYTES:
        return ""
    sequence = file.get(tag)
    return str(sequence[0].get("CodeMeaning") or "") if sequence else ""
