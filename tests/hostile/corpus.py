"""Bad and odd inputs made by program: what the decoder has to refuse, has to answer, and may do either with."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from conftest import DERMOSCOPIC, encode
from PIL import Image, ImageCms
from pydicom.datadict import dictionary_VR, tag_for_keyword

from skinai.data.drawing import draw_lesion
from skinai.data.images import MAX_BYTES

REFUSED, ANSWERED, EITHER = "refused", "answered", "either"
PNG_START = b"\x89PNG\r\n\x1a\n"
IMPLICIT, EXPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_LONG_VR = ("OB", "OW", "SQ", "UN", "UT")


class Item(NamedTuple):
    """One input: its family, the name of its file, what is in it, and what is to come of it."""

    family: str
    name: str
    content: bytes
    expected: str


Parts = Iterator[tuple[str, bytes, str]]
FAMILIES: dict[str, Callable[[], Parts]] = {}


def family(make: Callable[[], Parts]) -> Callable[[], Parts]:
    FAMILIES[make.__name__.replace("_", "-")] = make
    return make


@lru_cache(maxsize=1)
def build_corpus() -> tuple[Item, ...]:
    """Return all items, the same ones every time, each with a name of its own."""
    items = [
        Item(name, f"{name}-{part}", content, expected)
        for name, make in FAMILIES.items()
        for part, content, expected in make()
    ]
    assert len({item.name for item in items}) == len(items)
    return tuple(items)


# ---- what inputs are made of -------------------------------------------------------------------------------------


def draw(seed: int = 1, width: int = 96, height: int = 72) -> np.ndarray:
    return draw_lesion(seed, width_px=width, height_px=height)


def pack(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive of files by name, whose bytes do not depend on the time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


@lru_cache
def jpeg(**options: object) -> bytes:
    return encode(draw(), "JPEG", **options)


def segment(marker: int, body: bytes = b"") -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def with_segments(*segments: bytes, content: bytes | None = None) -> bytes:
    """Return a JPEG with more behind its first two bytes."""
    content = jpeg() if content is None else content
    return content[:2] + b"".join(segments) + content[2:]


def resize_jpeg(width: int, height: int, **options: object) -> bytes:
    """Return a JPEG whose frame header announces another size."""
    content = bytearray(jpeg(**options))
    frame = content.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def head(width: int, height: int, depth: int = 8, colour: int = 2, *others: int) -> bytes:
    """Return the chunk of a PNG's size and kind; `others` are compression, filter and interlacing."""
    return chunk(b"IHDR", struct.pack(">IIBB", width, height, depth, colour) + bytes((*others, 0, 0, 0)[:3]))


_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Where each pass of interlacing begins, and its steps, across and down.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def rows(
    width: int, height: int, depth: int, colour: int, *, interlaced: bool = False, value: int | None = 0x5A
) -> bytes:
    """Return the packed rows of a PNG of one value, or of noise."""
    rng = np.random.default_rng(8)
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    packed = bytearray()
    for left, top, across, down in passes:
        wide, high = -(-(width - left) // across), -(-(height - top) // down)
        size = -(-wide * depth * _CHANNELS[colour] // 8)
        if value is None:
            packed += b"".join(b"\0" + rng.bytes(size) for _ in range(high))
        else:
            packed += (b"\0" + bytes([value]) * size) * high
    return zlib.compress(bytes(packed), 1)


def png(first: bytes, *chunks: bytes) -> bytes:
    return PNG_START + first + b"".join(chunks) + chunk(b"IEND")


def plain_png(*before: bytes, after: tuple[bytes, ...] = ()) -> bytes:
    """Return a small PNG in colour with more chunks before and behind its pixels."""
    return png(head(48, 40), *before, chunk(b"IDAT", rows(48, 40, 8, 2)), *after)


def element(tag: int, vr: str, value: bytes, *, implicit: bool = False, length: int | None = None) -> bytes:
    """Return one attribute of a DICOM file."""
    value += b"\0" * (len(value) % 2)
    length = len(value) if length is None else length
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return start + struct.pack("<I", length) + value
    counted = struct.pack("<HI", 0, length) if vr in _LONG_VR else struct.pack("<H", length)
    return start + vr.encode() + counted + value


def encapsulate(*fragments: bytes) -> bytes:
    """Return fragments as the pixels of a compressed DICOM file, behind an empty table of offsets."""
    parts = (b"", *(fragment + b"\0" * (len(fragment) % 2) for fragment in fragments))
    items = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(part)) + part for part in parts)
    return items + b"\xfe\xff\xdd\xe0\0\0\0\0"


def dicom(
    *, syntax: str = EXPLICIT, kind: str = DERMOSCOPIC, preamble: bytes = b"", tail: bytes = b"", **changes: object
) -> bytes:
    """Return a DICOM file; an attribute given as None is left out, and `tail` follows the last one."""
    picture = draw()
    values: dict[str, object] = {
        "SOPClassUID": kind,
        "SOPInstanceUID": "1.2.3.4",
        "PatientName": "Doe^Jane",
        "PatientID": "MRN12345",
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "RGB",
        "PlanarConfiguration": 0,
        "Rows": picture.shape[0],
        "Columns": picture.shape[1],
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PixelData": picture.tobytes(),
    }
    values = {name: value for name, value in (values | changes).items() if value is not None}
    compressed = syntax not in (IMPLICIT, EXPLICIT, DEFLATED)
    body = b""
    for name in sorted(values, key=lambda name: tag_for_keyword(name) or 0):
        tag, value = tag_for_keyword(name), values[name]
        assert tag is not None
        vr = "OB" if name == "PixelData" else dictionary_VR(tag)
        if not isinstance(value, bytes):
            value = struct.pack("<H", value & 0xFFFF) if isinstance(value, int) and vr == "US" else str(value).encode()
        length = 0xFFFFFFFF if name == "PixelData" and compressed else None
        body += element(tag, vr, value, implicit=syntax == IMPLICIT, length=length)
    body += tail
    if syntax == DEFLATED:
        packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        body = packer.compress(body) + packer.flush()
    meta = element(0x00020001, "OB", b"\0\1") + element(0x00020002, "UI", kind.encode())
    meta += element(0x00020003, "UI", b"1.2.3.4") + element(0x00020010, "UI", syntax.encode())
    meta = element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta
    return preamble[:128].ljust(128, b"\0") + b"DICM" + meta + body


def jpeg_dicom(*fragments: bytes, **changes: object) -> bytes:
    changes = {"PhotometricInterpretation": "YBR_FULL_422", "PixelData": encapsulate(*fragments)} | changes
    return dicom(syntax=JPEG_BASELINE, **changes)


def tiff(*entries: tuple[int, int, int, bytes], order: str = "<", following: int = 0) -> bytes:
    """Return EXIF of one directory; an entry is tag, type, count, and the four bytes of its value or its offset."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    body = struct.pack(f"{order}IH", 8, len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0")[:4]
    return start + body + struct.pack(f"{order}I", following)


def turned(orientation: int, order: str = "<") -> bytes:
    return tiff((0x0112, 3, 1, struct.pack(f"{order}H", orientation)), order=order)


def exif_segment(content: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + content)


@lru_cache
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def whole_files() -> dict[str, bytes]:
    """Return a whole file of each kind that is read, by the kind and its ending."""
    return {
        "baseline.jpg": jpeg(quality=85),
        "progressive.jpg": jpeg(quality=85, progressive=True),
        "plain.png": encode(draw(), "PNG"),
        "interlaced.png": png(
            head(64, 48, 8, 6, 0, 0, 1), chunk(b"IDAT", rows(64, 48, 8, 6, interlaced=True, value=None))
        ),
        "raw.dcm": dicom(),
        "implicit.dcm": dicom(syntax=IMPLICIT),
        "jpeg.dcm": jpeg_dicom(jpeg(quality=85)),
    }


# ---- the families ------------------------------------------------------------------------------------------------


@family
def whole() -> Parts:
    for name, content in whole_files().items():
        yield name, content, ANSWERED
        stem, _, ending = name.partition(".")
        for other in {"jpg", "png", "dcm"} - {ending}:
            yield f"{stem}-as-another.{other}", content, ANSWERED
    yield "upper.JPEG", jpeg(), ANSWERED


@family
def truncated() -> Parts:
    for name, content in whole_files().items():
        for share in np.linspace(0.01, 0.93, 22):
            yield f"{share:.3f}-{name}", content[: int(len(content) * share)], REFUSED
        for less in (1, 2, 5, 13, 30):
            yield f"less-{less:02d}-{name}", content[:-less], EITHER
    archive = pack({"a.jpg": jpeg(), "b.png": encode(draw(2), "PNG")})
    for share in np.linspace(0.05, 0.95, 8):
        yield f"{share:.3f}-zip.jpg", archive[: int(len(archive) * share)], REFUSED


@family
def flipped() -> Parts:
    rng = np.random.default_rng(9)
    for name, content in whole_files().items():
        for number in range(16):
            damaged = bytearray(content)
            count = (1, 3, 12)[number % 3]
            # Every other one near its start, where what is said of the picture stands.
            places = rng.integers(0, len(content) if number % 2 else min(len(content), 900), count)
            for place in places:
                damaged[place] ^= int(rng.integers(1, 256))
            yield f"{number:02d}-{name}", bytes(damaged), EITHER


def _foreign_files() -> dict[str, bytes]:
    """Return the starts, or the whole, of files that are no picture of ours."""
    picture = draw()
    image = Image.fromarray(picture)
    table = sqlite3.connect(":memory:")
    table.execute("create table a (b)")
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w") as archive:
        about = tarfile.TarInfo("a.jpg")
        about.size = len(jpeg())
        archive.addfile(about, io.BytesIO(jpeg()))
    array = io.BytesIO()
    np.save(array, picture)
    inner = pack({"a.jpg": jpeg()})
    laughs = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 10))
    lines = "1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
    return {
        "html": b"<!DOCTYPE html><html><body onload=alert(1)><img src=x onerror=alert(1)></body></html>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='99' height='99'><script>alert(1)</script></svg>",
        "svg-file": b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>",
        "svg-laughs": f"<!DOCTYPE svg [<!ENTITY l0 'ha'>{laughs}]><svg>&l9;</svg>".encode(),
        "mvg": b"push graphic-context\nviewbox 0 0 64 64\nfill 'url(https://127.0.0.1/x\"|touch owned\")'\npop",
        "msl": b"<?xml version='1.0'?><image><read filename='/etc/passwd'/><write filename='owned'/></image>",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(owned) (w) file closefile\nshowpage",
        "ps": b"%!PS\n{ } loop\n",
        "pdf": b"%PDF-1.7\n" + lines.encode(),
        "pdf-javascript": b"%PDF-1.4\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF",
        "gif": save(image.quantize(16), "GIF"),
        "webp": save(image, "WEBP"),
        "bmp": save(image, "BMP"),
        "tiff": save(image, "TIFF"),
        "tiff-lzw": save(image, "TIFF", compression="tiff_lzw"),
        "ico": save(image, "ICO"),
        "ppm": save(image, "PPM"),
        "pcx": save(image, "PCX"),
        "tga": save(image, "TGA"),
        "sgi": save(image, "SGI"),
        "dds": save(image, "DDS"),
        "im": save(image, "IM"),
        "xbm": save(image.convert("1"), "XBM"),
        "msp": save(image.convert("1"), "MSP"),
        "xpm": b'/* XPM */\nstatic char *a[] = {\n"2 1 1 1",\n"a c #000000",\n"aa"};\n',
        "jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 " + b"\xff\x4f\xff\x51" + bytes(60),
        "j2k": b"\xff\x4f\xff\x51" + bytes(100),
        "jxl": b"\xff\x0a" + bytes(100),
        "jxr": b"II\xbc\x01" + bytes(100),
        "jls": b"\xff\xd8\xff\xf7\0\x0b\x08" + struct.pack(">HH", 64, 64) + b"\1\1\x11\0" + bytes(100),
        "avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(200),
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
        "psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 64, 64, 8, 3) + bytes(100),
        "xcf": b"gimp xcf v011\0" + bytes(100),
        "fits": b"SIMPLE  =                    T".ljust(80)
        + b"BITPIX  =                    8".ljust(80)
        + b"END".ljust(80),
        "mng": b"\x8aMNG\r\n\x1a\n" + bytes(100),
        "jng": b"\x8bJNG\r\n\x1a\n" + bytes(100),
        "wmf": b"\xd7\xcd\xc6\x9a" + bytes(100),
        "emf": b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(100),
        "icns": b"icns" + struct.pack(">I", 108) + bytes(100),
        "qoi": b"qoif" + struct.pack(">IIBB", 64, 64, 3, 0) + bytes(100),
        "exr": b"v/1\1" + bytes(100),
        "hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 64 +X 64\n" + bytes(100),
        "raw-camera": b"II*\0\x10\0\0\0CR\2\0" + bytes(200),
        "elf": b"\x7fELF\2\1\1" + bytes(200),
        "pe": b"MZ\x90\0" + bytes(60) + b"PE\0\0" + bytes(200),
        "mach-o": b"\xcf\xfa\xed\xfe" + bytes(200),
        "java-class": b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(200),
        "wasm": b"\0asm\1\0\0\0" + bytes(50),
        "zip": inner,
        "nested-zip": pack({"inner.zip": pack({"innermost.zip": inner})}),
        "zip-slip": pack({"../../../owned.jpg": jpeg()}),
        "docx": pack({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<w/>"}),
        "tar": tape.getvalue(),
        "gz": gzip.compress(jpeg(), mtime=0),
        "gz-bomb": gzip.compress(bytes(30_000_000), mtime=0),
        "bz2": bz2.compress(jpeg()),
        "xz": lzma.compress(jpeg()),
        "zstd": b"\x28\xb5\x2f\xfd" + bytes(50),
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(50),
        "rar": b"Rar!\x1a\7\1\0" + bytes(50),
        "json": json.dumps({"picture": [1, 2, 3]}).encode(),
        "json-deep": b"[" * 100_000,
        "csv": b"image_id,dx\nISIC_0000001,=cmd|' /C calc'!A0\n",
        "pickle": pickle.dumps({"picture": picture}),
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(200),
        "npy": array.getvalue(),
        "npz": pack({"picture.npy": array.getvalue()}),
        "sqlite": table.serialize(),
        "parquet": b"PAR1" + bytes(50) + b"PAR1",
        "tflite": b"\x1c\0\0\0TFL3" + bytes(200),
        "mp4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(200),
        "mkv": b"\x1aE\xdf\xa3" + bytes(200),
        "avi": b"RIFF" + struct.pack("<I", 100) + b"AVI LIST" + bytes(100),
        "wav": b"RIFF" + struct.pack("<I", 100) + b"WAVEfmt " + bytes(100),
        "mp3": b"ID3\4" + bytes(200),
        "sh": b"#!/bin/sh\ntouch owned\n",
        "py": b"import os\nos.system('touch owned')\n",
        "php": b"<?php system($_GET['c']); ?>",
        "bat": b"@echo off\r\ncalc.exe\r\n",
        "lnk": b"L\0\0\0\x01\x14\x02\0" + bytes(100),
        "font": b"\0\1\0\0\0\x0a" + bytes(100),
        "text": "Nævus, links".encode(),
        "text-utf16": "Naevus".encode("utf-16"),
        "text-bom": b"\xef\xbb\xbfNaevus",
        "base64": b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8U",
        "data-url": b"data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAAAQABAAD",
        "hex": jpeg().hex().encode(),
        "jpeg-reversed": jpeg()[::-1],
        "jpeg-behind-a-blank": b" " + jpeg(),
        "jpeg-behind-a-mark": b"\xef\xbb\xbf" + jpeg(),
        "jpeg-as-text": jpeg().decode("latin-1").encode(),
        "jpeg-seven-bits": bytes(byte & 0x7F for byte in jpeg()),
        "png-seven-bits": bytes(byte & 0x7F for byte in encode(picture, "PNG")),
        "png-line-ends": encode(picture, "PNG").replace(b"\r\n", b"\n"),
        "png-line-ends-doubled": encode(picture, "PNG").replace(b"\n", b"\r\n"),
        "jpeg-without-its-start": jpeg()[2:],
        "dicom-without-its-head": dicom()[132:],
        "acr-nema": dicom()[132:].ljust(2000, b"\0"),
    }


@family
def foreign() -> Parts:
    endings = ("jpg", "png", "dcm", "jpeg")
    for number, (name, content) in enumerate(_foreign_files().items()):
        yield f"{name}.{endings[number % 4]}", content, REFUSED


@family
def tiny() -> Parts:
    yield "empty.jpg", b"", REFUSED
    yield "empty.png", b"", REFUSED
    yield "empty.dcm", b"", REFUSED
    for count in range(1, 13):
        yield f"{count:02d}-bytes.jpg", jpeg()[:count], REFUSED
        yield f"{count:02d}-bytes.png", PNG_START.ljust(12, b"\0")[:count], REFUSED
    for count in (128, 131, 132, 133, 140, 300):
        yield f"{count}-bytes.dcm", dicom()[:count], REFUSED
    for byte in (0x00, 0x20, 0xFF):
        for count in (1, 200, 5000):
            yield f"{byte:02x}-{count}-times.jpg", bytes([byte]) * count, REFUSED
    yield "noise.jpg", np.random.default_rng(1).bytes(5000), REFUSED
    yield "noise.dcm", bytes(128) + b"DICM" + np.random.default_rng(2).bytes(5000), REFUSED
    yield "noise.png", PNG_START + np.random.default_rng(3).bytes(5000), REFUSED


@family
def sizes() -> Parts:
    refused = [
        *((1, 1), (1, 60_000), (60_000, 1), (31, 31), (31, 100), (32, 321), (321, 32), (4000, 64), (60_000, 60_000)),
        *((65_535, 65_535), (65_500, 65_500), (0, 100), (100, 0), (0, 0), (5000, 5000), (4001, 4000)),
    ]
    for width, height in refused:
        yield f"{width}x{height}.png", png(head(width, height), chunk(b"IDAT", zlib.compress(b"\0" * 9999))), REFUSED
        yield f"{width}x{height}-progressive.jpg", resize_jpeg(width, height, progressive=True), REFUSED
        yield f"{width}x{height}.dcm", dicom(Rows=height, Columns=width), REFUSED
        # A baseline JPEG may have up to 50 million pixels, also where most of them are missing.
        announced = EITHER if (width, height) in ((5000, 5000), (4001, 4000)) else REFUSED
        yield f"{width}x{height}.jpg", resize_jpeg(width, height), announced
    for width, height in ((2**31 - 1, 2**31 - 1), (2**32 - 1, 2**32 - 1), (2**31, 64), (64, 2**31), (2**24, 2**24)):
        yield f"{width}x{height}.png", png(head(width, height, 1, 0), chunk(b"IDAT", zlib.compress(b"\0"))), REFUSED
    for width, height in ((32, 32), (32, 320), (320, 32), (33, 47), (1000, 100)):
        picture = draw(3, width, height)
        yield f"{width}x{height}-whole.jpg", encode(picture), ANSWERED
        yield f"{width}x{height}-whole.png", encode(picture, "PNG"), ANSWERED
        yield (
            f"{width}x{height}-whole.dcm",
            dicom(Rows=height, Columns=width, PixelData=picture.tobytes()),
            ANSWERED,
        )
    yield "less-than-there-is.jpg", resize_jpeg(64, 48), EITHER
    yield "less-than-there-is.png", png(head(40, 40), chunk(b"IDAT", rows(96, 72, 8, 2))), EITHER
    yield "less-than-there-is.dcm", dicom(Rows=40, Columns=40), ANSWERED
    yield "more-than-there-is.jpg", resize_jpeg(96, 720), EITHER
    yield "more-than-there-is.png", png(head(96, 72), chunk(b"IDAT", rows(96, 40, 8, 2))), EITHER
    yield "too-many-bytes.jpg", jpeg() + bytes(MAX_BYTES), REFUSED
    yield "as-many-bytes-as-can-be.jpg", jpeg().ljust(MAX_BYTES, b"\0"), ANSWERED


@family
def bombs() -> Parts:
    zeros = zlib.compress(bytes(3_000_000), 9)
    for side in (12_000, 20_000, 40_000, 60_000):
        yield f"one-bit-{side}.png", png(head(side, side, 1, 0), chunk(b"IDAT", zeros)), REFUSED
    yield "colour-9000.png", png(head(9000, 9000), chunk(b"IDAT", zeros)), REFUSED
    # What just may be, of each kind that takes most memory.
    largest = {"one-bit": (1, 0), "grey-16": (16, 0), "palette": (8, 3), "colour-alpha-16": (16, 6)}
    palette = chunk(b"PLTE", bytes(range(255)) + b"\xff" * 513)
    for name, (depth, colour) in largest.items():
        before = [palette, chunk(b"tRNS", bytes(range(200)))] if name == "palette" else []
        pixels = chunk(b"IDAT", rows(4000, 4000, depth, colour))
        yield f"largest-{name}.png", png(head(4000, 4000, depth, colour), *before, pixels), ANSWERED
    pixels = chunk(b"IDAT", rows(4000, 4000, 8, 6, interlaced=True))
    yield "largest-interlaced.png", png(head(4000, 4000, 8, 6, 0, 0, 1), pixels), ANSWERED
    profiled = chunk(b"iCCP", b"p\0\0" + zlib.compress(srgb_profile()))
    turn = chunk(b"eXIf", turned(6))
    yield (
        "largest-turned-with-a-profile.png",
        png(head(4000, 4000, 8, 6), profiled, turn, chunk(b"IDAT", rows(4000, 4000, 8, 6))),
        ANSWERED,
    )
    flat = np.full((4000, 4000, 3), 120, np.uint8)
    yield "largest-progressive.jpg", encode(flat, progressive=True, subsampling=0), ANSWERED
    inks = save(Image.new("CMYK", (4000, 4000), (10, 90, 90, 20)), "JPEG", progressive=True)
    yield "largest-four-inks.jpg", inks, ANSWERED
    yield "largest-that-is-not-reduced.jpg", encode(np.full((2300, 6900, 3), 120, np.uint8)), ANSWERED
    yield "largest-baseline.jpg", encode(np.full((7000, 7100, 3), 120, np.uint8)), ANSWERED
    yield "solid-16000.jpg", resize_jpeg(16_000, 16_000), REFUSED
    surplus = zlib.compress(bytes(200_000_000), 1)
    yield "surplus-of-rows.png", png(head(64, 64), chunk(b"IDAT", surplus)), EITHER
    yield "surplus-behind-the-rows.png", plain_png(after=(chunk(b"IDAT", surplus),)), EITHER
    for name, start in {"zTXt": b"k\0\0", "iTXt": b"k\0\1\0\0\0", "iCCP": b"p\0\0"}.items():
        bomb = chunk(name.encode(), start + surplus)
        yield f"unpacks-{name}.png", plain_png(bomb), EITHER
        yield f"unpacks-{name}-behind.png", plain_png(after=(bomb,)), EITHER
    million = zlib.compress(bytes(1_000_000), 9)
    texts = [chunk(b"zTXt", b"%d\0\0" % number + million) for number in range(200)]
    yield "many-texts.png", plain_png(*texts), EITHER
    # As many as there is room for in a file, or where that costs the same way, in a quarter of one.
    room = MAX_BYTES - 40_000
    yield "countless-IDAT.png", plain_png(chunk(b"IDAT") * (room // 12)), EITHER
    for name in (b"tEXt", b"prIv"):
        yield f"countless-{name.decode()}.png", plain_png(chunk(name) * (room // 48)), EITHER
    yield "countless-tEXt-behind.png", plain_png(after=(chunk(b"tEXt") * (room // 12),)), EITHER
    yield "countless-comments.jpg", with_segments(segment(0xFE) * (room // 4)), EITHER
    yield "countless-tables.jpg", with_segments(segment(0xDB, b"\0" + b"\1" * 64) * (room // 4 // 69)), EITHER
    yield "countless-fill-bytes.jpg", with_segments(b"\xff" * room), EITHER
    yield "junk-before-a-marker.jpg", with_segments(b"\xff\xd0" + bytes(room // 4)), EITHER
    yield "much-exif.jpg", with_segments(exif_segment(bytes(65_000)) * (room // 65_010)), EITHER
    scans = jpeg(progressive=True)
    scan = scans[scans.rindex(b"\xff\xda") : -2]
    yield "scans.jpg", scans[:-2] + scan * 500 + scans[-2:], REFUSED
    huge = resize_jpeg(4000, 4000, progressive=True)
    yield "scans-of-a-large-picture.jpg", huge[:-2] + scan * 50 + huge[-2:], EITHER
    yield "deflated.dcm", dicom(syntax=DEFLATED, tail=element(0x7FE10010, "OB", bytes(100_000_000))), REFUSED
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * (room // 32)
    yield "countless-items.dcm", dicom(tail=element(0x7FE11010, "SQ", items, length=0xFFFFFFFF)), REFUSED
    small = b"\x01\x00\x10\x10LO\0\0"
    yield "countless-attributes.dcm", dicom(tail=small * (room // 8)), EITHER
    inside = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + small * (room // 8)
    yield "countless-inside.dcm", dicom(tail=element(0x7FE11010, "SQ", inside, length=0xFFFFFFFF)), EITHER
    counted = b"\xfe\xff\x00\xe0" + struct.pack("<I", room // 32 * 8) + small * (room // 32)
    region = element(0x00082218, "SQ", counted)
    yield "countless-in-the-place.dcm", dicom(tail=region), EITHER
    nested = b"\xe1\x7f\x10\x10SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 1900
    yield "nested.dcm", dicom(tail=nested), EITHER


@family
def animations() -> Parts:
    frames = [Image.fromarray(draw(number)) for number in range(3)]
    rest = {"save_all": True, "append_images": frames[1:]}
    yield (
        "gif.jpg",
        save(frames[0].quantize(16), "GIF", save_all=True, append_images=[f.quantize(16) for f in frames]),
        REFUSED,
    )
    yield "gif.png", save(frames[0].quantize(16), "GIF", save_all=True, append_images=[frames[1].quantize(8)]), REFUSED
    yield "webp.jpg", save(frames[0], "WEBP", **rest), REFUSED
    yield "webp.png", save(frames[0], "WEBP", **rest), REFUSED
    yield "tiff-pages.jpg", save(frames[0], "TIFF", **rest), REFUSED
    moving = save(frames[0], "PNG", **rest)
    yield "apng.png", moving, REFUSED
    yield "apng.jpg", moving, REFUSED
    yield "apng-default.png", save(frames[0], "PNG", default_image=True, **rest), REFUSED
    tick = [Image.new("L", (48, 40), number % 256) for number in range(600)]
    yield "apng-600.png", save(tick[0], "PNG", save_all=True, append_images=tick[1:]), REFUSED
    for count in (0, 1, 2, 2**31 - 1, 2**31, 2**32 - 1):
        yield f"apng-says-{count}.png", plain_png(chunk(b"acTL", struct.pack(">II", count, 0))), EITHER
    yield "apng-twice.png", plain_png(*[chunk(b"acTL", struct.pack(">II", 3, 0))] * 2), EITHER
    yield "apng-cut.png", plain_png(chunk(b"acTL", b"\0\0\0\2")), EITHER
    frame = struct.pack(">IIIIIHHBB", 0, 48, 40, 0, 0, 1, 10, 0, 0)
    yield "frame-without-animation.png", plain_png(chunk(b"fcTL", frame)), EITHER
    outside = struct.pack(">IIIIIHHBB", 0, 4800, 4000, 9, 9, 1, 0, 2, 1)
    yield "frame-outside.png", plain_png(chunk(b"acTL", struct.pack(">II", 1, 0)), chunk(b"fcTL", outside)), EITHER
    yield "frame-data-only.png", png(head(48, 40), chunk(b"fdAT", bytes(4) + rows(48, 40, 8, 2))), EITHER
    yield "mpo.jpg", save(frames[0], "MPO", **rest), EITHER
    for name, index in {"junk": b"junk" * 9, "loop": b"II*\0\x08\0\0\0" + b"\xff" * 40, "empty": b""}.items():
        yield f"mpo-{name}.jpg", with_segments(segment(0xE2, b"MPF\0" + index)), EITHER
    yield "frames.dcm", dicom(NumberOfFrames="3", PixelData=draw().tobytes() * 3), REFUSED
    yield "frames.jpg", dicom(NumberOfFrames="2"), REFUSED
    yield "frames-jpeg.dcm", jpeg_dicom(jpeg(), jpeg(), NumberOfFrames="2"), REFUSED


@family
def modes() -> Parts:
    palette = chunk(b"PLTE", bytes(range(48)) * 16)
    for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items():
        for depth in depths:
            before = [palette[:0] + chunk(b"PLTE", bytes(range(3 * min(2**depth, 85))))] if colour == 3 else []
            for interlaced in (0, 1):
                pixels = chunk(b"IDAT", rows(50, 43, depth, colour, interlaced=bool(interlaced), value=0x11))
                content = png(head(50, 43, depth, colour, 0, 0, interlaced), *before, pixels)
                yield f"kind-{colour}-bits-{depth}-{interlaced}.png", content, ANSWERED
    clear = {0: b"\0\0", 2: bytes(6), 3: bytes(range(85))}
    for colour, value in clear.items():
        before = [palette] if colour == 3 else []
        pixels = chunk(b"IDAT", rows(50, 43, 8, colour))
        yield f"clear-{colour}.png", png(head(50, 43, 8, colour), *before, chunk(b"tRNS", value), pixels), ANSWERED
        yield f"clear-{colour}-cut.png", png(head(50, 43, 8, colour), *before, chunk(b"tRNS"), pixels), EITHER
        many = chunk(b"tRNS", value * 900)
        yield f"clear-{colour}-long.png", png(head(50, 43, 8, colour), *before, many, pixels), EITHER
    for depth in (1, 2, 4, 16):
        pixels = chunk(b"IDAT", rows(50, 43, depth, 0))
        content = png(head(50, 43, depth, 0), chunk(b"tRNS", b"\0\1"), pixels)
        yield f"clear-grey-bits-{depth}.png", content, ANSWERED
    for depth, colour in ((3, 0), (0, 2), (4, 2), (16, 3), (1, 4), (4, 6), (8, 1), (8, 5), (8, 7), (255, 255)):
        yield (
            f"no-kind-{depth}-{colour}.png",
            png(head(50, 43, depth, colour), chunk(b"IDAT", rows(50, 43, 8, 6))),
            REFUSED,
        )
    yield "palette-missing.png", png(head(50, 43, 8, 3), chunk(b"IDAT", rows(50, 43, 8, 3))), EITHER
    yield (
        "palette-short.png",
        png(head(50, 43, 8, 3), chunk(b"PLTE", b"\1\2\3"), chunk(b"IDAT", rows(50, 43, 8, 3))),
        EITHER,
    )
    yield (
        "palette-odd.png",
        png(head(50, 43, 8, 3), chunk(b"PLTE", b"\1\2"), chunk(b"IDAT", rows(50, 43, 8, 3))),
        EITHER,
    )
    yield (
        "palette-long.png",
        png(head(50, 43, 8, 3), chunk(b"PLTE", bytes(3000)), chunk(b"IDAT", rows(50, 43, 8, 3))),
        EITHER,
    )
    image = Image.fromarray(draw())
    yield "grey.jpg", save(image.convert("L"), "JPEG"), ANSWERED
    for name, options in {"444": 0, "422": 1, "420": 2}.items():
        yield f"channels-{name}.jpg", save(image, "JPEG", subsampling=options), ANSWERED
    yield "channels-rgb.jpg", save(image, "JPEG", keep_rgb=True), ANSWERED
    inks = save(image.convert("CMYK"), "JPEG")
    yield "inks.jpg", inks, ANSWERED
    mark = inks.index(b"\xff\xee")
    without = inks[:mark] + inks[mark + 16 :]
    yield "inks-without-adobe.jpg", without, ANSWERED
    for transform in (0, 1, 2, 9):
        adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))
        yield f"inks-adobe-{transform}.jpg", with_segments(adobe, content=without), ANSWERED
        yield f"colours-adobe-{transform}.jpg", with_segments(adobe), ANSWERED
    yield "inks-adobe-cut.jpg", with_segments(segment(0xEE, b"Adobe"), content=without), EITHER
    frame = jpeg().index(b"\xff\xc0")
    for marker in (0xC1, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCF):
        other = bytearray(jpeg())
        other[frame + 1] = marker
        yield f"process-{marker:02x}.jpg", bytes(other), EITHER if marker in (0xC1, 0xC9, 0xCA) else REFUSED
    for bits in (0, 1, 12, 16, 255):
        other = bytearray(jpeg())
        other[frame + 4] = bits
        yield f"precision-{bits}.jpg", bytes(other), REFUSED
    for layers in (0, 2, 4, 5, 255):
        other = bytearray(jpeg())
        other[frame + 9] = layers
        yield f"layers-{layers}.jpg", bytes(other), REFUSED


@family
def exif() -> Parts:
    small = encode(draw(1, 48, 40), "JPEG", quality=60)

    def put(content: bytes) -> bytes:
        return with_segments(exif_segment(content), content=small)

    for orientation in range(1, 9):
        yield f"turn-{orientation}.jpg", put(turned(orientation)), ANSWERED
        yield f"turn-{orientation}-big.jpg", put(turned(orientation, ">")), ANSWERED
        yield f"turn-{orientation}.png", plain_png(chunk(b"eXIf", turned(orientation))), ANSWERED
    for orientation in (0, 9, 255, 65_535):
        yield f"turn-{orientation}.jpg", put(turned(orientation)), ANSWERED
        yield f"turn-{orientation}.png", plain_png(chunk(b"eXIf", turned(orientation))), ANSWERED
    turn = (0x0112, 3, 1, b"\6\0")
    odd = {
        "text": tiff((0x0112, 2, 4, b"abc\0")),
        "rational": tiff((0x0112, 5, 1, b"\xff\xff\0\0")),
        "countless": tiff((0x0112, 3, 2**32 - 1, b"\x08")),
        "no-value": tiff((0x0112, 3, 0, b"")),
        "two-values": tiff((0x0112, 3, 2, b"\6\0\3\0")),
        "unknown-type": tiff((0x0112, 255, 1, b"\6")),
        "type-none": tiff((0x0112, 0, 1, b"\6")),
        "signed": tiff((0x0112, 8, 1, b"\xff\xff")),
        "float": tiff((0x0112, 11, 1, struct.pack("<f", float("nan")))),
        "twice": tiff(turn, (0x0112, 3, 1, b"\3\0")),
        "loop": tiff(turn, following=8),
        "next-outside": tiff(turn, following=2**32 - 1),
        "below-itself": tiff(turn, (0x8769, 4, 1, struct.pack("<I", 8))),
        "below-gps": tiff(turn, (0x8825, 4, 1, struct.pack("<I", 8))),
        "below-both": tiff(turn, (0x8769, 4, 1, struct.pack("<I", 8)), (0xA005, 4, 1, struct.pack("<I", 8))),
        "below-outside": tiff(turn, (0x8769, 4, 1, struct.pack("<I", 2**31))),
        "resolution-none": tiff(turn, (0x011A, 5, 1, struct.pack("<I", 8)), (0x0128, 3, 1, b"\2")),
        "resolution-zero": tiff(turn, (0x011A, 5, 1, struct.pack("<I", 50)), (0x0128, 3, 1, b"\2")) + bytes(8),
        "resolution-text": tiff(turn, (0x011A, 2, 4, b"a\0"), (0x0128, 3, 1, b"\3")),
        "thumbnail": tiff(turn, (0x0201, 4, 1, struct.pack("<I", 8)), (0x0202, 4, 1, struct.pack("<I", 2**31))),
        "maker": tiff(turn, (0x927C, 7, 2**31, struct.pack("<I", 8))),
        "many": tiff(*[(number, 3, 1, b"\1") for number in range(5000)]),
        "announces-65535": b"II*\0\x08\0\0\0\xff\xff" + bytes(60),
        "offset-none": b"II*\0\0\0\0\0",
        "offset-beyond": b"II*\0\xff\xff\xff\xff",
        "big-tiff": b"II+\0\x08\0\0\0" + bytes(60),
        "no-order": b"XX*\0\x08\0\0\0" + bytes(60),
        "empty": b"",
        "gps": tiff(turn, (0x8825, 4, 1, struct.pack("<I", 38)), (0x010E, 2, 4, b"Doe\0")) + bytes(60),
    }
    for name, content in odd.items():
        yield f"{name}.jpg", put(content), ANSWERED
        yield f"{name}.png", plain_png(chunk(b"eXIf", content)), ANSWERED
    whole_exif = tiff(turn, *[(0x9000 + number, 5, 9, struct.pack("<I", 40)) for number in range(8)]) + bytes(90)
    for cut in range(2, len(whole_exif), 17):
        yield f"cut-{cut:03d}.jpg", put(whole_exif[:cut]), ANSWERED
    rng = np.random.default_rng(4)
    for number in range(14):
        wrecked = bytearray(whole_exif)
        for place in rng.integers(8, len(wrecked), 12):
            wrecked[place] = int(rng.integers(256))
        yield f"wrecked-{number:02d}.jpg", put(bytes(wrecked)), ANSWERED
    raw = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n      10\nzzzzzzzz\n")
    yield "raw-profile.png", plain_png(chunk(b"zTXt", raw)), ANSWERED
    for name, packet in {"turned": b'tiff:Orientation="6"', "long": b"<x>" * 20_000}.items():
        body = b"http://ns.adobe.com/xap/1.0/\0" + packet
        yield f"xmp-{name}.jpg", with_segments(segment(0xE1, body), content=small), ANSWERED
        text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)
        yield f"xmp-{name}.png", plain_png(text), ANSWERED


@family
def colour_profiles() -> Parts:
    good = srgb_profile()
    rng = np.random.default_rng(6)
    profiles = {
        "whole": good,
        "exchanged": good.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ"),
        "empty": b"",
        "one-byte": b"x",
        "zeros": bytes(500),
        "noise": rng.bytes(3000),
        "look-up": good.replace(b"cprt", b"A2B0"),
        "four-inks": good.replace(b"RGB ", b"CMYK"),
        "grey": good.replace(b"RGB ", b"GRAY"),
        "no-space": good.replace(b"RGB ", b"\0\0\0\0"),
        "tags-countless": good[:128] + b"\xff\xff\xff\xff" + good[132:],
        "tags-none": good[:128] + bytes(4) + good[132:],
        "offset-outside": good[:136] + b"\xff\xff\xff\xf0" + good[140:],
        "length-outside": good[:140] + b"\xff\xff\xff\xf0" + good[144:],
        "large": good[:16] + b"RGB " + bytes(40_000),
        "flat": good.replace(b"XYZ \0\0\0\0", b"XYZ \xff\xff\xff\xff"),
    }
    profiles |= {f"cut-{cut}": good[:cut] for cut in (20, 127, 131, 140, 200, len(good) // 2, len(good) - 1)}
    for number in range(10):
        wrecked = bytearray(good)
        for place in rng.integers(0, len(good), 8):
            wrecked[place] = int(rng.integers(256))
        profiles[f"wrecked-{number}"] = bytes(wrecked)
    for name, profile in profiles.items():
        yield f"{name}.jpg", with_segments(segment(0xE2, b"ICC_PROFILE\0\1\1" + profile)), ANSWERED
        if not name.startswith(("cut", "wrecked")):
            yield f"{name}.png", plain_png(chunk(b"iCCP", b"p\0\0" + zlib.compress(profile))), ANSWERED
    half = len(good) // 2
    first, second = b"ICC_PROFILE\0\1\2" + good[:half], b"ICC_PROFILE\0\2\2" + good[half:]
    yield "parts.jpg", with_segments(segment(0xE2, first), segment(0xE2, second)), ANSWERED
    yield "parts-turned.jpg", with_segments(segment(0xE2, second), segment(0xE2, first)), ANSWERED
    yield "parts-missing.jpg", with_segments(segment(0xE2, first)), ANSWERED
    yield "parts-of-none.jpg", with_segments(segment(0xE2, b"ICC_PROFILE\0\0\0")), ANSWERED
    yield "parts-cut.jpg", with_segments(segment(0xE2, b"ICC_PROFILE\0")), EITHER
    big = [segment(0xE2, b"ICC_PROFILE\0" + bytes([n, 80]) + good[:16] + bytes(65_000)) for n in range(1, 81)]
    yield "five-megabytes.jpg", with_segments(*big), ANSWERED
    yield "no-zlib.png", plain_png(chunk(b"iCCP", b"p\0\0 no zlib")), ANSWERED
    yield "method-5.png", plain_png(chunk(b"iCCP", b"p\0\5" + zlib.compress(good))), EITHER
    yield "no-name.png", plain_png(chunk(b"iCCP", b"")), EITHER
    yield "name-only.png", plain_png(chunk(b"iCCP", b"profile")), EITHER


@family
def chunks() -> Parts:
    pixels = chunk(b"IDAT", rows(48, 40, 8, 2))
    stream = rows(48, 40, 8, 2)
    script = b"Comment\0<script>alert(1)</script>"
    yield "script.png", plain_png(chunk(b"tEXt", script)), ANSWERED
    yield "script-international.png", plain_png(chunk(b"iTXt", b"k\0\0\0\0\0<script>")), ANSWERED
    yield "text-no-utf8.png", plain_png(chunk(b"iTXt", b"k\0\0\0\xff\0\xfe\0\xfd")), ANSWERED
    yield "text-no-key.png", plain_png(chunk(b"tEXt", b"\0\0\0")), ANSWERED
    yield "text-no-zlib.png", plain_png(chunk(b"zTXt", b"k\0\0 no zlib")), ANSWERED
    yield "text-method.png", plain_png(chunk(b"zTXt", b"k\0\7")), EITHER
    yield "text-long.png", plain_png(chunk(b"tEXt", b"k\0" + b"x" * 3_000_000)), ANSWERED
    for name in (b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"tIME", b"bKGD", b"sBIT", b"hIST", b"sPLT", b"oFFs", b"eXIf"):
        yield f"nothing-in-{name.decode()}.png", plain_png(chunk(name)), EITHER
        yield f"much-in-{name.decode()}.png", plain_png(chunk(name, b"\xff" * 99)), EITHER
    yield "unknown-critical.png", plain_png(chunk(b"ABCD", b"x")), EITHER
    yield "no-letters.png", plain_png(chunk(b"\0\1\2\3", b"x")), REFUSED
    yield "hidden-method.png", plain_png(chunk(b"IHDR"), chunk(b"IEND")), REFUSED
    yield "long-as-can-be.png", PNG_START + head(48, 40) + b"\x7f\xff\xff\xfftEXtk" + pixels, REFUSED
    yield "longer.png", PNG_START + head(48, 40) + b"\xff\xff\xff\xfftEXtk" + pixels, REFUSED
    yield "checksum-text.png", plain_png(chunk(b"tEXt", script)[:-1] + b"\0"), REFUSED
    yield "checksum-pixels.png", png(head(48, 40), pixels[:-1] + b"\0"), EITHER
    yield "checksum-head.png", png(head(48, 40)[:-1] + b"\0", pixels), REFUSED
    yield "no-end.png", PNG_START + head(48, 40) + pixels, EITHER
    yield "no-pixels.png", png(head(48, 40)), REFUSED
    yield "no-head.png", PNG_START + pixels + chunk(b"IEND"), REFUSED
    yield "two-heads.png", png(head(48, 40), head(64, 64), pixels), EITHER
    yield "two-heads-large.png", png(head(48, 40), head(60_000, 60_000), pixels), REFUSED
    yield "head-late.png", png(chunk(b"tEXt", script), head(48, 40), pixels), EITHER
    yield "head-long.png", png(chunk(b"IHDR", struct.pack(">IIBB", 48, 40, 8, 2) + bytes(20)), pixels), EITHER
    yield (
        "palette-in-grey.png",
        png(head(48, 40, 8, 0), chunk(b"PLTE", bytes(9)), chunk(b"IDAT", rows(48, 40, 8, 0))),
        ANSWERED,
    )
    yield "behind-the-end.png", plain_png() + chunk(b"tEXt", script) + jpeg(), ANSWERED
    yield "one-byte-at-a-time.png", png(head(48, 40), *[chunk(b"IDAT", bytes([byte])) for byte in stream]), ANSWERED
    yield (
        "empty-ones-between.png",
        png(head(48, 40), *[chunk(b"IDAT")] * 1000, pixels, *[chunk(b"IDAT")] * 50),
        ANSWERED,
    )
    half = len(stream) // 2
    parts = chunk(b"IDAT", stream[:half]), chunk(b"tEXt", script), chunk(b"IDAT", stream[half:])
    yield "text-between.png", png(head(48, 40), *parts), EITHER
    yield "no-zlib.png", png(head(48, 40), chunk(b"IDAT", b"no zlib at all")), REFUSED
    yield "dictionary.png", png(head(48, 40), chunk(b"IDAT", b"\x78\xbb\0\0\0\0" + stream[2:])), REFUSED
    yield "filter-9.png", png(head(48, 40), chunk(b"IDAT", zlib.compress((b"\x09" + bytes(144)) * 40))), REFUSED
    yield (
        "filters.png",
        png(
            head(48, 40), chunk(b"IDAT", zlib.compress(b"".join(bytes([n % 5]) + bytes(range(144)) for n in range(40))))
        ),
        ANSWERED,
    )
    for place, name in ((0, "compression"), (1, "filter"), (2, "interlacing")):
        others = [0, 0, 0]
        others[place] = 9
        yield f"unknown-{name}.png", png(head(48, 40, 8, 2, *others), pixels), EITHER
    yield "apple.png", png(chunk(b"CgBI", b"\x50\0\x20\6"), head(48, 40), pixels), EITHER


@family
def segments() -> Parts:
    content = jpeg()
    frame, scan = content.index(b"\xff\xc0"), content.index(b"\xff\xda")
    tables = content.index(b"\xff\xdb")
    frame_end = frame + 2 + int.from_bytes(content[frame + 2 : frame + 4], "big")
    script = b"<script>alert(document.cookie)</script>"
    yield "script.jpg", with_segments(segment(0xFE, script)), ANSWERED
    yield "php.jpg", with_segments(segment(0xFE, b"<?php system('id'); ?>")), ANSWERED
    yield "comments-6-mb.jpg", with_segments(*[segment(0xFE, bytes(65_000))] * 92), ANSWERED
    yield "photoshop.jpg", with_segments(segment(0xED, b"Photoshop 3.0\0" + b"8BIM\3\xed\0\0\0\0\0\1x")), ANSWERED
    yield (
        "photoshop-long.jpg",
        with_segments(segment(0xED, b"Photoshop 3.0\0" + b"8BIM\3\xed\0\0\xff\xff\xff\xff")),
        ANSWERED,
    )
    yield "flashpix.jpg", with_segments(segment(0xE2, b"FPXR\0" + bytes(50))), ANSWERED
    yield "jfif-cut.jpg", with_segments(segment(0xE0, b"JFIF")), EITHER
    yield "jfif-zero.jpg", with_segments(segment(0xE0, b"JFIF\0\1\1\2\0\0\0\0\0\0")), ANSWERED
    yield "length-0.jpg", content[:2] + b"\xff\xfe\0\0" + content[2:], EITHER
    yield "length-1.jpg", content[:2] + b"\xff\xfe\0\1" + content[2:], EITHER
    yield "length-beyond.jpg", content[:2] + b"\xff\xfe\xff\xff" + content[2:], REFUSED
    yield "fill-bytes.jpg", with_segments(b"\xff" * 50), ANSWERED
    yield "no-frame.jpg", content[:frame] + content[frame_end:], REFUSED
    yield "two-frames.jpg", content[:frame] + content[frame:frame_end] + content[frame:], EITHER
    yield (
        "frame-behind-the-scan.jpg",
        content[:frame] + content[scan:-2] + content[frame:frame_end] + content[-2:],
        REFUSED,
    )
    yield "no-tables.jpg", content[:tables] + content[frame:], REFUSED
    yield "no-scan.jpg", content[:scan] + b"\xff\xd9", REFUSED
    yield "two-starts.jpg", b"\xff\xd8" + content, EITHER
    yield "no-end.jpg", content[:-2], EITHER
    yield "two-ends.jpg", content + b"\xff\xd9", ANSWERED
    yield "junk-behind.jpg", content + np.random.default_rng(5).bytes(1_000_000), ANSWERED
    yield "two-pictures.jpg", content + content, ANSWERED
    yield "thumbnail.jpg", with_segments(exif_segment(tiff() + content[: scan + 200])), ANSWERED
    yield "restarts.jpg", with_segments(segment(0xDD, b"\0\1")), EITHER
    yield "restarts-real.jpg", jpeg(restart_marker_blocks=1), ANSWERED
    spoiled = bytearray(jpeg(restart_marker_blocks=1))
    for number in range(8):
        place = spoiled.find(b"\xff" + bytes([0xD0 + number]))
        spoiled[place + 1] = 0xD7 - number
    yield "restarts-turned.jpg", bytes(spoiled), EITHER
    yield (
        "lines-later.jpg",
        content[: frame + 5] + b"\0\0" + content[frame + 7 : -2] + segment(0xDC, b"\0\x48") + content[-2:],
        REFUSED,
    )
    for place, name in ((10, "id"), (11, "sampling"), (12, "table"), (13, "id-2"), (14, "sampling-2")):
        for value in (0x00, 0x01, 0x44, 0xFF):
            other = bytearray(content)
            other[frame + place] = value
            yield f"{name}-{value:02x}.jpg", bytes(other), EITHER
    huffman = content.index(b"\xff\xc4")
    for value in (0x00, 0xFF):
        other = bytearray(content)
        other[huffman + 5 : huffman + 21] = bytes([value]) * 16
        yield f"codes-{value:02x}.jpg", bytes(other), EITHER
    other = bytearray(content)
    other[tables + 5 : tables + 69] = bytes(64)
    yield "divided-by-zero.jpg", bytes(other), EITHER
    yield "codes-hostile.jpg", with_segments(segment(0xC4, b"\xff" + b"\xff" * 16)), EITHER
    yield "arithmetic-table.jpg", with_segments(segment(0xCC, b"\xff\xff")), EITHER
    progressive = jpeg(progressive=True)
    cut = progressive.rindex(b"\xff\xda")
    yield "progressive-half.jpg", progressive[:cut] + b"\xff\xd9", ANSWERED
    yield "progressive-only-last.jpg", progressive[: progressive.index(b"\xff\xda")] + progressive[cut:], EITHER
    yield "mixed-scans.jpg", progressive[:cut] + content[scan:], EITHER


@family
def polyglots() -> Parts:
    archive, picture = pack({"../owned.jpg": b"x"}), encode(draw(), "PNG")
    page, document = b"<html><script>alert(1)</script></html>", _foreign_files()["pdf-javascript"]
    for name, tail in {
        "zip": archive,
        "html": page,
        "pdf": document,
        "php": b"<?php phpinfo(); ?>",
        "svg": b"<svg/>",
    }.items():
        yield f"jpeg-then-{name}.jpg", jpeg() + tail, ANSWERED
        yield f"png-then-{name}.png", picture + tail, ANSWERED
        yield f"dicom-then-{name}.dcm", dicom() + tail, EITHER
        yield f"{name}-then-jpeg.jpg", tail + jpeg(), REFUSED
        yield f"{name}-then-png.png", tail + picture, REFUSED
    yield "jpeg-with-zip-inside.jpg", with_segments(segment(0xFE, archive)), ANSWERED
    yield "gif-script.jpg", b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)", REFUSED
    starts = {"jpeg": jpeg()[:128], "png": picture[:128], "pdf": b"%PDF-1.7", "zip": archive[:128]}
    for name, start in starts.items():
        yield f"dicom-behind-{name}.dcm", dicom(preamble=start), REFUSED if name in ("jpeg", "png") else ANSWERED
    # What is both a DICOM and another file is found in hospitals; it is read as DICOM, and the rest is never run.
    for name, start in {"tiff": b"II*\0\x10\0\0\0", "pe": b"MZ\x90\0", "elf": b"\x7fELF", "sh": b"#!/bin/sh\n"}.items():
        yield f"dicom-behind-{name}.dcm", dicom(preamble=start), ANSWERED


@family
def dicom_files() -> Parts:
    syntaxes = {
        "deflated": DEFLATED,
        "big-endian": "1.2.840.10008.1.2.2",
        "jpeg-12-bit": "1.2.840.10008.1.2.4.51",
        "jpeg-lossless": "1.2.840.10008.1.2.4.57",
        "jpeg-lossless-1": "1.2.840.10008.1.2.4.70",
        "jpeg-ls": "1.2.840.10008.1.2.4.80",
        "jpeg-2000-lossless": "1.2.840.10008.1.2.4.90",
        "jpeg-2000": "1.2.840.10008.1.2.4.91",
        "jpip": "1.2.840.10008.1.2.4.94",
        "mpeg-2": "1.2.840.10008.1.2.4.100",
        "h264": "1.2.840.10008.1.2.4.102",
        "hevc": "1.2.840.10008.1.2.4.107",
        "htj2k": "1.2.840.10008.1.2.4.201",
        "jpeg-xl": "1.2.840.10008.1.2.4.110",
        "rle": "1.2.840.10008.1.2.5",
        "private": "1.2.840.113619.5.2",
        "unknown": "1.2.3.4.5",
        "markdown": "![x](http://a.b/c)",
        "none": "",
    }
    for name, syntax in syntaxes.items():
        yield f"syntax-{name}.dcm", dicom(syntax=syntax), REFUSED
    kinds = {
        "ct": "1.2.840.10008.5.1.4.1.1.2",
        "mr": "1.2.840.10008.5.1.4.1.1.4",
        "report": "1.2.840.10008.5.1.4.1.1.88.11",
        "pdf": "1.2.840.10008.5.1.4.1.1.104.1",
        "slide": "1.2.840.10008.5.1.4.1.1.77.1.6",
        "secondary": "1.2.840.10008.5.1.4.1.1.7",
        "directory": "1.2.840.10008.1.3.10",
        "unknown": "1.2.3",
        "none": "",
    }
    for name, kind in kinds.items():
        yield f"kind-{name}.dcm", dicom(kind=kind), REFUSED
    for name in ("PixelData", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated"):
        yield f"without-{name}.dcm", dicom(**{name: None}), REFUSED
    yield "without-PlanarConfiguration.dcm", dicom(PlanarConfiguration=None), EITHER
    yield "without-PatientName.dcm", dicom(PatientName=None, PatientID=None), ANSWERED
    for value in ("1", "0", " 1 ", "-1", "2", "1e3", "abc", "1000000000", "9" * 400, "1\\2"):
        yield f"frames-{value.strip()[:10]}-{len(value)}.dcm".replace("\\", "_"), dicom(NumberOfFrames=value), EITHER
    odd: dict[str, dict[str, object]] = {
        "bits-12": {"BitsStored": 12},
        "bits-16": {"BitsAllocated": 16, "BitsStored": 16},
        "bits-1": {"BitsAllocated": 1, "BitsStored": 1},
        "bits-0": {"BitsAllocated": 0},
        "signed": {"PixelRepresentation": 1},
        "samples-2": {"SamplesPerPixel": 2},
        "samples-0": {"SamplesPerPixel": 0},
        "samples-65535": {"SamplesPerPixel": 65_535},
        "palette": {"PhotometricInterpretation": "PALETTE COLOR", "SamplesPerPixel": 1},
        "hsv": {"PhotometricInterpretation": "HSV"},
        "ict": {"PhotometricInterpretation": "YBR_ICT"},
        "no-pixels": {"PixelData": b""},
        "one-pixel": {"PixelData": b"abc"},
        "many-rows": {"Rows": b"\x48\0" * 5000},
        "rows-text": {"Rows": b"abc"},
        "no-rows": {"Rows": b""},
        "kind-of-pixels-long": {"PhotometricInterpretation": "RGB" * 9000},
        "encapsulated": {"PixelData": encapsulate(jpeg())[:90]},
    }
    for name, changes in odd.items():
        yield f"{name}.dcm", dicom(**changes), REFUSED
    fine: dict[str, dict[str, object]] = {
        "grey": {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"},
        "grey-inverted": {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME1"},
        "ybr": {"PhotometricInterpretation": "YBR_FULL"},
        "planes": {"PlanarConfiguration": 1},
        "padded": {"PixelData": draw().tobytes() + bytes(40)},
        "name-long": {"PatientName": "Doe^" * 9000},
        "name-odd": {"PatientName": b"\xff\xfe\x1b$B\0\n<b>"},
        "characters": {"SpecificCharacterSet": "ISO 2022 IR 87\\ISO_IR 999"},
        "date": {"PatientBirthDate": "yesterday"},
        "spacing": {"PixelSpacing": "a\\b\\c"},
        "laterality": {"ImageLaterality": "=cmd"},
        "maker": {"Manufacturer": "<script>alert(1)</script>"},
    }
    for name, changes in fine.items():
        yield f"{name}.dcm", dicom(**changes), ANSWERED
    yield "padding-behind.dcm", dicom(tail=element(0xFFFCFFFC, "OB", bytes(999))), ANSWERED
    yield "pixels-twice.dcm", dicom(tail=element(0x7FE00010, "OB", bytes(9))), EITHER
    yield "no-group-length.dcm", dicom().replace(element(0x00020000, "UL", b"")[:6], b"\x02\0\0\0UX", 1), EITHER
    whole_file = dicom()
    for place, value in ((140, b"\xff\xff\xff\xff"), (140, bytes(4)), (136, b"\xff\xff"), (132, b"\x08\0")):
        yield f"meta-{place}-{value.hex()}.dcm", whole_file[:place] + value + whole_file[place + len(value) :], EITHER
    yield (
        "implicit-as-explicit.dcm",
        dicom(syntax=IMPLICIT).replace(
            element(0x00020010, "UI", IMPLICIT.encode()), element(0x00020010, "UI", EXPLICIT.encode())
        ),
        EITHER,
    )
    yield (
        "jpeg-grey.dcm",
        jpeg_dicom(encode(draw()[..., 0]), SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2"),
        ANSWERED,
    )
    yield "jpeg-in-two-parts.dcm", jpeg_dicom(jpeg()[:500], jpeg()[500:]), ANSWERED
    yield "jpeg-progressive.dcm", jpeg_dicom(jpeg(progressive=True)), ANSWERED
    yield "jpeg-of-another-shape.dcm", jpeg_dicom(jpeg(), Rows=200), REFUSED
    yield "jpeg-none.dcm", jpeg_dicom(), REFUSED
    yield "jpeg-empty.dcm", jpeg_dicom(b""), REFUSED
    yield "jpeg-is-png.dcm", jpeg_dicom(encode(draw(), "PNG")), REFUSED
    yield "jpeg-is-dicom.dcm", jpeg_dicom(dicom()), REFUSED
    yield "jpeg-is-raw.dcm", dicom(syntax=JPEG_BASELINE), REFUSED
    yield "jpeg-huge.dcm", jpeg_dicom(resize_jpeg(60_000, 60_000)), REFUSED
    yield "jpeg-many-parts.dcm", jpeg_dicom(*[b"\xff\xd8"] * 3000), REFUSED
    yield "jpeg-endless.dcm", jpeg_dicom(PixelData=b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + jpeg()), REFUSED


# ---- archives and names ------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def build_archives() -> dict[str, bytes]:
    """Return hostile zip archives by what is wrong with them."""
    picture = jpeg()
    whole_one = pack({"a.jpg": picture, "b.jpg": picture}, zipfile.ZIP_STORED)
    archives = {f"cut-{share:.2f}": whole_one[: int(len(whole_one) * share)] for share in np.linspace(0.02, 0.98, 20)}
    rng = np.random.default_rng(3)
    for number in range(20):
        damaged = bytearray(whole_one)
        for place in rng.integers(0, len(damaged), 3):
            damaged[place if number % 2 else -1 - place % 200] ^= int(rng.integers(1, 256))
        archives[f"flipped-{number:02d}"] = bytes(damaged)
    archives["empty"] = pack({})
    archives["bomb"] = pack({f"{number}.png": bytes(25_000_000) for number in range(3)})
    archives["nested"] = pack({"inner.zip": pack({"a.jpg": picture}), "inner.jpg": pack({"a.jpg": picture})})
    archives["many"] = pack({f"{number}.jpg": b"" for number in range(2500)}, zipfile.ZIP_STORED)
    archives["more"] = pack({f"{number}.txt": b"" for number in range(10_001)}, zipfile.ZIP_STORED)
    archives["slip"] = pack(
        dict.fromkeys(("../../owned.jpg", "/etc/owned.jpg", "C:\\owned.jpg", "..\\owned.jpg"), picture)
    )
    archives["names"] = pack({name: picture for name in TEXT_NAMES if name})
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        archives[f"method-{method}"] = pack({"a.jpg": picture}, method)
    first, second = (at for at in range(len(whole_one)) if whole_one[at : at + 4] == b"PK\x01\x02")
    edits = {
        "overlapping": (second + 42, whole_one[first + 42 : first + 46]),
        "overlapping-inside": (second + 42, struct.pack("<I", 60)),
        "offset-outside": (first + 42, b"\xff\xff\xff\x7f"),
        "size-lies": (first + 24, b"\xff\xff\xff\x7f"),
        "size-nothing": (first + 24, bytes(4)),
        "packed-size-lies": (first + 20, b"\xff\xff\xff\x7f"),
        "method-unknown": (first + 10, b"\x63\0"),
        "locked": (first + 8, b"\1\0"),
        "checksum": (first + 16, bytes(4)),
        "name-nothing": (first + 28, bytes(2)),
        "name-long": (first + 28, b"\xff\xff"),
        "zero-in-the-name": (first + 46, b"a\0"),
        "entries-none": (len(whole_one) - 12, bytes(2)),
        "entries-countless": (len(whole_one) - 12, b"\xff\xff"),
        "list-beyond": (len(whole_one) - 6, b"\xff\xff\xff\xff"),
        "comment-beyond": (len(whole_one) - 2, b"\xff\xff"),
    }
    for name, (place, value) in edits.items():
        archives[name] = whole_one[:place] + value + whole_one[place + len(value) :]
    archives["behind-a-picture"] = picture + whole_one
    archives["behind-a-script"] = b"#!/bin/sh\n" + whole_one
    return archives


# What a file may be called by who means harm, or by who does not know better; a slash or a zero cannot be in a name
# on a disk, but can be in one that is sent.
TEXT_NAMES = (
    "../../../owned.jpg",
    "..\\..\\owned.jpg",
    "/etc/owned.jpg",
    "C:\\Windows\\owned.jpg",
    "~root.jpg",
    "zero\0owned.jpg",
    "....jpg",
    " .jpg",
    "-rf.jpg",
    "--insist.jpg",
    "$(touch owned).jpg",
    "`touch owned`.jpg",
    ";touch owned;.jpg",
    "|owned.jpg",
    "%2e%2e%2fowned.jpg",
    "%s%n%x.jpg",
    "{file}.jpg",
    "*.jpg",
    "[a-z].jpg",
    "line\nowned: 1.jpg",
    "return\rowned.jpg",
    "tab\towned.jpg",
    "bell\x07\x1b[31mred\x1b]0;title\x07.jpg",
    "delete\x7f\x08\x08.jpg",
    "\u202egpj.exe.jpg",
    "\u2066left\u2069\u200f.jpg",
    "\ufeffmark.jpg",
    "zero\u200bwidth.jpg",
    "<img src=x onerror=alert(1)>.jpg",
    "<script>alert(1)<!script>.jpg",
    '"><svg onload=alert(1)>.jpg',
    "' or '1'='1.jpg",
    "[click](javascript:alert(1)).jpg",
    "=cmd|' !C calc'!A0.jpg",
    "+1+1.jpg",
    "-1+1.jpg",
    "@SUM(1,1).jpg",
    "\t=1+1.jpg",
    "a,b;c.jpg",
    'quote".jpg',
    "😀🩺.jpg",
    "меланома.jpg",
    "L\u0061\u0308sion.jpg",
    "CON.jpg",
    "nul.png",
    "file:.jpg",
    "http:example.jpg",
    "x" * 251 + ".jpg",
    "x" * 5000 + ".jpg",
    ".JPG.jpg",
)
# Names that are no text.
BYTE_NAMES = (b"\xff\xfe.jpg", b"\xc3\x28.png", b"caf\xe9.jpg", b"\xed\xa0\x80.jpg")
