"""Read one picture out of a DICOM file, and of what the file says only what names nobody."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skinai.data.images import MAX_BYTES, MAX_PIXELS_DECODED, check_size, decode_picture
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
    """Whether the bytes have the mark of a DICOM file (PS3.10, section 7.1).

    >>> is_dicom(b"no")
    False
    """
    return content[128:132] == b"DICM"


def decode_dicom(content: bytes) -> DicomPicture:
    """Decode a dermoscopic or plain photographic DICOM file with one picture.

    Pixels may be uncompressed or baseline JPEG, 8 bits, RGB, YBR or grey.

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
        file = _read(content)
        kind = _KINDS.get(str(file.file_meta.MediaStorageSOPClassUID))
        if kind is None:
            raise PictureError(
                "not_a_photograph",
                "The DICOM file is no dermoscopic and no plain photographic picture.",
            )
        if int(file.get("NumberOfFrames") or 1) != 1:
            raise PictureError("several_frames", "The DICOM file has several frames; one still picture is needed.")
        return DicomPicture(_decode_pixels(file), _describe(file, kind))
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError("too_many_pixels", "The picture needs more memory than is free.") from error
    except Exception as error:  # pydicom raises many types on damaged files; a visitor gets one sentence.
        raise PictureError("unreadable", "The DICOM file is damaged or incomplete and could not be read.") from error


def read_identifiers(content: bytes) -> dict[str, str]:
    """Return who the picture is of, as far as a DICOM file says; for a user who asks, never kept and never exported.

    >>> read_identifiers(b"no DICOM file")
    {}
    """
    try:
        file = _read(content)
        values = {name: str(file.get(tag) or "").strip() for tag, name in _IDENTIFIERS.items()}
    except Exception:
        return {}
    return {name: value[:120] for name, value in values.items() if value}


def _read(content: bytes) -> Dataset:
    from pydicom import config, dcmread  # half a second, and most pictures are no DICOM
    from pydicom.filereader import read_dataset

    config.settings.reading_validation_mode = config.IGNORE
    # The head alone, first: a deflated file would be inflated whole before anybody could ask how it is compressed.
    head = read_dataset(
        io.BytesIO(content[132:]),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag.group != 2,
    )
    syntax = head.TransferSyntaxUID
    if str(syntax) not in (*_PLAIN, _JPEG_BASELINE):
        raise PictureError(
            "compression",
            f"The DICOM file is compressed in a way that is not read here ({syntax.name}); uncompressed and baseline "
            "JPEG are.",
        )
    return dcmread(io.BytesIO(content))


def _decode_pixels(file: Dataset) -> np.ndarray:
    photometric = str(file.PhotometricInterpretation)
    if str(file.file_meta.TransferSyntaxUID) == _JPEG_BASELINE:
        from pydicom.encaps import generate_frames

        picture = next(generate_frames(file.PixelData, number_of_frames=1))
        if not picture.startswith(b"\xff\xd8\xff"):
            raise PictureError("unreadable", "The DICOM file is damaged or incomplete and could not be read.")
        if photometric == "RGB" and b"Adobe" not in picture[:256]:
            picture = picture[:2] + _ADOBE_RGB + picture[2:]
        return decode_picture(picture)
    rows, columns, samples = int(file.Rows), int(file.Columns), int(file.SamplesPerPixel)
    check_size(columns, rows, max_pixels=MAX_PIXELS_DECODED)
    known = {3: ("RGB", "YBR_FULL"), 1: ("MONOCHROME1", "MONOCHROME2")}
    if int(file.BitsAllocated) != 8 or photometric not in known.get(samples, ()):
        raise PictureError("unreadable", f"DICOM pixels of the kind {photometric!r} cannot be read.")
    if len(file.PixelData) < rows * columns * samples:
        raise PictureError("unreadable", "The DICOM file is damaged or incomplete and could not be read.")
    values = np.asarray(file.pixel_array)  # YBR has become RGB
    if photometric == "MONOCHROME1":
        values = 255 - values
    if samples == 1:
        values = np.repeat(values[..., None], 3, axis=2)
    return np.ascontiguousarray(values, dtype=np.uint8)


def _describe(file: Dataset, kind: str) -> dict[str, str]:
    facts = {"Kind": kind}
    for tag, name in (
        ("Manufacturer", "Manufacturer"),
        ("ManufacturerModelName", "Device"),
        ("ImageLaterality", "Side"),
        ("PixelSpacing", "Millimetres a pixel"),
    ):
        if value := file.get(tag):
            facts[name] = " x ".join(str(part) for part in value) if tag == "PixelSpacing" else str(value)
    for tag, name in (
        ("AnatomicRegionSequence", "Place on the body"),
        ("IlluminationTypeCodeSequence", "Light"),
        ("LensesCodeSequence", "Lens"),
    ):
        if meaning := _meaning(file.get(tag)):
            facts[name] = meaning
    return {name: value[:120] for name, value in facts.items()}


def _meaning(sequence: Any) -> str:
    return str(sequence[0].get("CodeMeaning") or "") if sequence else ""
