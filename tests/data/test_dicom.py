"""DICOM in: pixels, what is told of them, and what is refused."""

import contextlib
import time

import numpy as np
import pytest
from conftest import DERMOSCOPIC, encode, write_dicom
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from skinai.data.dicom import decode_dicom, is_dicom, read_identifiers
from skinai.data.images import decode_picture
from skinai.errors import PictureError

PHOTOGRAPHIC = "1.2.840.10008.5.1.4.1.1.77.1.4"
CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("kind", [DERMOSCOPIC, PHOTOGRAPHIC])
def test_uncompressed_pixels_come_back_as_they_were(lesion, syntax, kind):
    content = write_dicom(lesion, syntax=syntax, kind=kind)
    assert is_dicom(content)
    assert (decode_dicom(content).pixels == lesion).all()
    assert (decode_picture(content) == lesion).all()


def test_jpeg_inside_is_decoded_in_the_colours_that_the_file_states(lesion):
    ybr = encapsulate([encode(lesion, quality=95)])
    content = write_dicom(lesion, syntax=JPEGBaseline8Bit, photometric="YBR_FULL_422", PixelData=ybr)
    assert np.abs(decode_picture(content).astype(int) - lesion).mean() < 3
    # The three channels stored as they stand, with Adobe's mark, without any, and under a JFIF head that denies it.
    plain = encode(lesion, quality=95, keep_rgb=True)
    assert plain[2:4] == b"\xff\xee"
    bare = plain[:2] + plain[4 + int.from_bytes(plain[4:6], "big") :]
    jfif = bare[:2] + b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + bare[2:]
    for stored in (plain, bare, jfif):
        content = write_dicom(lesion, syntax=JPEGBaseline8Bit, photometric="RGB", PixelData=encapsulate([stored]))
        assert np.abs(decode_picture(content).astype(int) - lesion).mean() < 3
    # RGB is stated, but channels of different sizes are those of YBR.
    content = write_dicom(lesion, syntax=JPEGBaseline8Bit, photometric="RGB", PixelData=ybr)
    assert np.abs(decode_picture(content).astype(int) - lesion).mean() < 3
    content = write_dicom(lesion, syntax=JPEGBaseline8Bit, photometric="YBR_FULL_422", PixelData=ybr, Rows=200)
    with pytest.raises(PictureError, match="damaged or incomplete"):
        decode_picture(content)


def test_grey_and_ybr_pixels_become_rgb(lesion):
    grey = lesion.mean(axis=2).astype(np.uint8)
    assert (decode_picture(write_dicom(grey, photometric="MONOCHROME2"))[..., 1] == grey).all()
    assert (decode_picture(write_dicom(grey, photometric="MONOCHROME1"))[..., 1] == 255 - grey).all()
    from pydicom.pixels import convert_color_space

    ybr = convert_color_space(lesion, "RGB", "YBR_FULL")
    found = decode_picture(write_dicom(ybr, photometric="YBR_FULL"))
    assert np.abs(found.astype(int) - lesion).max() <= 3


def test_what_is_told_names_nobody_unless_asked(lesion):
    content = write_dicom(lesion)
    facts = decode_dicom(content).facts
    assert facts == {
        "Kind": "Dermoscopic photography image",
        "Manufacturer": "Maker",
        "Device": "Scope 4",
        "Side": "L",
        "Place on the body": "Back",
    }
    assert read_identifiers(content) == {"Name": "Doe^Jane", "Patient ID": "MRN12345", "Date of birth": "19700131"}


@pytest.mark.parametrize(
    ("changes", "code", "sentence"),
    [
        ({"kind": CT}, "not_a_photograph", "The DICOM file is no dermoscopic and no plain photographic picture."),
        (
            {"NumberOfFrames": 3},
            "several_frames",
            "The DICOM file has several frames; one still picture is needed.",
        ),
        ({"Rows": 60000, "Columns": 60000}, "too_many_pixels", "at most 16 million can be read"),
        ({"Rows": 8}, "too_small", "at least 32 x 32 are needed"),
        ({"PixelData": b"\0" * 64}, "unreadable", "damaged or incomplete"),
        ({"BitsStored": 6}, "unreadable", "pixels of this kind cannot be read"),
        ({"PixelRepresentation": 1}, "unreadable", "pixels of this kind cannot be read"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "unreadable", "pixels of this kind cannot be read"),
    ],
)
def test_what_cannot_be_analysed_gets_its_sentence(lesion, changes, code, sentence):
    with pytest.raises(PictureError) as caught:
        decode_picture(write_dicom(lesion, **changes))
    assert caught.value.code == code
    assert sentence in str(caught.value)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, RLELossless])
def test_what_may_hide_gigabytes_is_not_unpacked(lesion, syntax):
    content = bytearray(write_dicom(lesion))
    uid = str(ExplicitVRLittleEndian).encode() + b"\0"
    other = str(syntax).encode()
    place = content.index(uid)
    length = len(other) + len(other) % 2
    content[place - 2 : place] = length.to_bytes(2, "little")
    content[place : place + len(uid)] = other + b"\0" * (len(other) % 2)
    with pytest.raises(PictureError, match="compressed in a way that is not read here") as caught:
        decode_picture(bytes(content))
    assert caught.value.code == "compression"


def test_damaged_files_raise_picture_errors_only(lesion):
    content = write_dicom(lesion)
    rng = np.random.default_rng(0)
    damaged = [content[:200], content[:1000], content[: len(content) // 2]]
    for _ in range(120):
        mutated = bytearray(content)
        for place in rng.integers(128, 1500, 6):
            mutated[place] = rng.integers(256)
        damaged.append(bytes(mutated))
    for one in damaged:
        with contextlib.suppress(PictureError):
            picture = decode_picture(one)
            assert picture.dtype == np.uint8
            assert picture.ndim == 3
        read_identifiers(one)


@pytest.mark.alone
def test_what_costs_far_more_than_its_bytes_is_refused_before_it_is_parsed(lesion):
    content = write_dicom(lesion)
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 500_000
    private = b"\xe1\x7f\x10\x10SQ\0\0\xff\xff\xff\xff" + items
    start = time.monotonic()
    with pytest.raises(PictureError, match="damaged or incomplete"):
        decode_picture(content + private)
    assert read_identifiers(content + private) == {}
    assert time.monotonic() - start < 1
    long = write_dicom(lesion, syntax=ImplicitVRLittleEndian, PixelSpacing=[0.5] * 20_000)
    assert "Millimetres a pixel" not in decode_dicom(long).facts


def test_padding_and_odd_attributes_are_no_reason_to_refuse(lesion):
    padded = write_dicom(lesion, PixelData=lesion.tobytes() + b"\0" * 4, PixelSpacing=0.1)
    assert (decode_dicom(padded).pixels == lesion).all()
    assert decode_dicom(write_dicom(lesion, PixelSpacing=[0.1, 0.2])).facts["Millimetres a pixel"] == "0.1 x 0.2"
    assert "Beware" in decode_dicom(write_dicom(lesion, BurnedInAnnotation="YES")).facts


def test_a_patients_name_in_free_text_is_not_told(lesion):
    facts = decode_dicom(write_dicom(lesion, Manufacturer="Dr Jane Doe", ManufacturerModelName="Scope MRN12345")).facts
    assert set(facts) == {"Kind", "Side", "Place on the body"}


def test_no_text_of_the_file_gets_into_a_sentence(lesion):
    content = bytearray(write_dicom(lesion))
    uid = str(ExplicitVRLittleEndian).encode() + b"\0"
    content[content.index(uid) : content.index(uid) + len(uid)] = b"![x](http://a.b/c)  "[: len(uid)]
    with pytest.raises(PictureError) as caught:
        decode_picture(bytes(content))
    assert "http" not in str(caught.value)


def test_the_reader_leaves_pydicoms_settings_as_they_were(lesion):
    from pydicom import config

    before = config.settings.reading_validation_mode
    decode_picture(write_dicom(lesion))
    assert config.settings.reading_validation_mode == before


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_what_is_a_dicom_behind_the_start_of_another_picture_is_read_as_that_everywhere(lesion, kind):
    """Else the page would answer for one picture and the service for the other."""
    content = bytearray(write_dicom(lesion))
    content[:8] = encode(lesion, kind)[:8]
    assert not is_dicom(bytes(content))
    with pytest.raises(PictureError, match="picture"):
        decode_picture(bytes(content))
