"""Changes to an input that keep it nearly what its reader takes: cells of tables, parts of JSON, chunks of pictures."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

# Changes bytes without knowing what they are; the second argument is how many there may be at most.
Plain = Callable[[bytes, int], bytes]
Mutator = Callable[[bytes, int, random.Random, Plain], bytes]

_CELLS = (
    *(
        "",
        "0",
        "1",
        "-1",
        "0.5",
        "1e999",
        "-1e999",
        "1e-400",
        "9" * 40,
        "9" * 400,
        "0x10",
        "1_0",
        "\u0661",
        "+5",
        "--5",
    ),
    *(
        "NA",
        "nan",
        "NaN",
        "None",
        "null",
        "unknown",
        "inf",
        "True",
        "false",
        "120",
        "120.5",
        "121",
        "-0.0",
        "255",
        "256",
    ),
    *("mel", "nv", "MEL", "akiec", "train", "valid", "test", "holdout", "malignant", "benign", "dermoscopic", "nevus"),
    *(
        "ISIC_0024306",
        "ISIC_0024307.jpg",
        "../ISIC_0024308",
        "HAM_0",
        "image_id",
        "dx",
        "pixel0000",
        "pixel9999",
        "label",
    ),
    *(
        "=1+1",
        "<b>",
        "\x1b[31m",
        "\u202e",
        "a\nb",
        "\u2028",
        "\x85",
        "\x0b",
        "\x00",
        "\ufeff",
        "é",
        "x" * 300,
        "'",
        '"',
        '""',
    ),
    *("2020-01-01", "1,5", " ", "\t", "\\", "*malignant", "1e5", "01", "1.0", "0.142857"),
)
_NUMBERS = (0, 1, 2, 3, 8, 16, 31, 32, 127, 255, 256, 4000, 4001, 16_384, 65_535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_PNG_START = b"\x89PNG\r\n\x1a\n"
_CHUNKS: tuple[bytes, ...] = (
    b"IHDR",
    b"PLTE",
    b"tRNS",
    b"IDAT",
    b"IEND",
    b"eXIf",
    b"iCCP",
    b"zTXt",
    b"iTXt",
    b"tEXt",
    b"acTL",
    b"fcTL",
)
_CHUNKS += (b"fdAT", b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"sBIT", b"bKGD")
_LONG_VR = (b"OB", b"OW", b"SQ", b"UN", b"UT")


def mutate_plainly(content: bytes, most: int, rng: random.Random) -> bytes:
    """Flip, remove, insert, repeat or overwrite some bytes anywhere: what is done where no fuzzer is at hand."""
    changed = bytearray(content or b"\0")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        length = min(rng.choice((1, 1, 2, 4, 16, 64)), len(changed))
        kind = rng.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = rng.randbytes(length)
        elif kind == 4:
            start = rng.randrange(len(changed) + 1)
            changed[at:at] = changed[start : start + length]
        else:
            changed[at : at + 4] = rng.choice(_NUMBERS).to_bytes(4, rng.choice(("little", "big")))
        changed = changed or bytearray(b"\0")
    return bytes(changed[:most])


def mutate_table(content: bytes, most: int, rng: random.Random, plain: Plain) -> bytes:
    """Change cells, rows, columns, delimiter, line ends or encoding of the table behind the first byte."""
    if rng.random() < 0.25:
        return plain(content, most)
    first = content[:1] if rng.random() < 0.97 else bytes([rng.randrange(256)])
    try:
        text = content[1:].decode("utf-8")
    except UnicodeDecodeError:
        text = content[1:].decode(
            "utf-16" if content[1:3] in (b"\xff\xfe", b"\xfe\xff") else "latin-1", errors="ignore"
        )
    delimiter = max((",", ";", "\t"), key=text.count)
    rows = [line.split(delimiter) for line in text.split("\n")]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change_rows(rows, rng)
    if rng.random() < 0.05:
        delimiter = rng.choice((",", ";", "\t"))
    text = rng.choices(("\n", "\r\n", "\r"), (40, 1, 1))[0].join(delimiter.join(row) for row in rows)
    encoding = rng.choices(("utf-8", "utf-8-sig", "utf-16"), (40, 1, 1))[0]
    return (first + text.encode(encoding, errors="surrogatepass"))[:most]


def _change_rows(rows: list[list[str]], rng: random.Random) -> None:
    """Change one thing about a table, in place."""
    row = rng.choice(rows)
    kind, at = rng.randrange(12), rng.randrange(len(row) + 1)
    if kind < 5:
        other = rng.choice(rng.choice(rows) or [""])
        value = rng.choice((rng.choice(_CELLS), rng.choice(_CELLS), other, f'"{other}"', other + rng.choice(_CELLS)))
        row[at : at + 1] = [value]
    elif kind == 5:
        rows.insert(rng.randrange(len(rows) + 1), list(row))
    elif kind == 6 and len(rows) > 1:
        rows.remove(row)
    elif kind == 7:
        row.insert(at, rng.choice(_CELLS))
    elif kind == 8 and row:
        del row[min(at, len(row) - 1)]
    elif kind == 9:
        value, name = rng.choice(_CELLS), rng.choice(("extra", "", "image_id", "patient_id", "group", "age", "code"))
        for number, one in enumerate(rows):
            one.insert(at, name if number == 0 else value)
    elif kind == 10:
        for one in rows:
            del one[at : at + 1]
    else:
        second = rng.randrange(len(rows))
        first = rows.index(row)
        rows[first], rows[second] = rows[second], rows[first]


def mutate_json(content: bytes, most: int, rng: random.Random, plain: Plain) -> bytes:
    """Replace, remove, wrap, copy or rename a part of the JSON behind the first byte."""
    if rng.random() < 0.2:
        return plain(content, most)
    first = content[:1] if rng.random() < 0.9 else bytes([rng.randrange(256)])
    try:
        facts: Any = json.loads(content[1:])
    except (ValueError, RecursionError):
        return plain(content, most)
    for _ in range(rng.choice((1, 1, 2))):
        facts = _change_part(facts, rng)
    try:
        text = json.dumps(facts)
    except (ValueError, RecursionError):
        return plain(content, most)
    return (first + text.encode())[:most] if len(text) < most else plain(content, most)


def _change_part(facts: Any, rng: random.Random) -> Any:
    """Return a description with one part of it changed."""
    places: list[tuple[Any, Any]] = []
    _list_places(facts, places)
    if not places:
        return _odd_value(rng)
    holder, key = rng.choice(places)
    kind = rng.randrange(10)
    if kind < 5:
        holder[key] = _odd_value(rng)
    elif kind == 5:
        other, name = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[name]))
    elif kind == 6:
        del holder[key]
    elif kind == 7 and isinstance(holder, dict):
        holder[rng.choice(("", "x" * 300, "../a", "a\0b", "\n", "name", "mel"))] = holder.pop(key)
    elif kind == 8:
        holder[key] = [holder[key]]
    elif isinstance(holder[key], dict):
        holder[key] = [[name, value] for name, value in holder[key].items()] + [[rng.choice((1, None, "a")), 1]]
    else:
        holder[key] = {"a": holder[key]}
    return facts


def _list_places(facts: Any, places: list[tuple[Any, Any]]) -> None:
    keys: Any = facts if isinstance(facts, dict) else range(len(facts)) if isinstance(facts, list) else ()
    for key in keys:
        places.append((facts, key))
        _list_places(facts[key], places)


def _odd_value(rng: random.Random) -> Any:
    nested: Any = 1
    for _ in range(rng.choice((1, 50))):
        nested = [nested]
    odd = (
        None,
        True,
        False,
        0,
        1,
        -1,
        0.5,
        1.5,
        2,
        64.5,
        10**6,
        10**400,
        -(10**30),
        float("inf"),
        float("nan"),
        nested,
    )
    texts = ("", "a", "0.5", "inf", "x" * 300, "a\0b", "../a", "\n", "\x1b[31m", "<b>", "mel", "test", "valid", "1")
    return rng.choice((*odd, *texts, [], {}, [[]], ["a"], {"a": 1}))


def mutate_picture(content: bytes, most: int, rng: random.Random, plain: Plain) -> bytes:
    """Change chunks, segments, attributes or members, with the lengths and sums that go with them."""
    if rng.random() < 0.3:
        return plain(content, most)
    if content.startswith(_PNG_START):
        return _mutate_png(content, rng, plain)[:most]
    if content.startswith(b"\xff\xd8"):
        return _mutate_jpeg(content, rng, plain)[:most]
    if content[128:132] == b"DICM":
        return _mutate_dicom(content, rng, plain)[:most]
    if content.startswith(b"PK"):
        return _mutate_archive(content, most, rng, plain)[:most]
    return plain(content, most)


def _mutate_png(content: bytes, rng: random.Random, plain: Plain) -> bytes:
    chunks: list[tuple[bytes, bytes]] = []
    at = len(_PNG_START)
    while at + 12 <= len(content) and len(chunks) < 200:
        length = min(int.from_bytes(content[at : at + 4], "big"), len(content) - at - 12)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return plain(content, len(content) + 64)
    number = rng.randrange(len(chunks))
    name, body = chunks[number]
    kind = rng.randrange(8)
    if kind < 4:
        chunks[number] = (name, _change_chunk(name, body, rng, plain))
    elif kind == 4:
        chunks.insert(rng.randrange(len(chunks) + 1), (rng.choice(_CHUNKS), body))
    elif kind == 5:
        del chunks[number]
    elif kind == 6:
        chunks[number] = (rng.choice(_CHUNKS), body)
    else:
        chunks.insert(rng.randrange(len(chunks) + 1), (name, body))
    return _PNG_START + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def _change_chunk(name: bytes, body: bytes, rng: random.Random, plain: Plain) -> bytes:
    if name == b"IHDR" and len(body) >= 13 and rng.random() < 0.8:
        sizes = [rng.choice(_NUMBERS) if rng.random() < 0.3 else one for one in struct.unpack(">II", body[:8])]
        rest = bytes(rng.choice((0, 1, 2, 3, 4, 6, 8, 16)) if rng.random() < 0.3 else one for one in body[8:13])
        return struct.pack(">II", *sizes) + rest
    if name == b"IDAT" and rng.random() < 0.6:
        try:
            return zlib.compress(plain(zlib.decompress(body)[:100_000] or b"\0", 110_000), 1)
        except zlib.error:
            return plain(body or b"\0", len(body) + 64)
    return plain(body or b"\0", len(body) + 64)


def _mutate_jpeg(content: bytes, rng: random.Random, plain: Plain) -> bytes:
    segments: list[tuple[int, bytes]] = []
    at = 2
    while (
        content[at : at + 1] == b"\xff" and at + 4 <= len(content) and content[at + 1] != 0xDA and len(segments) < 200
    ):
        length = max(int.from_bytes(content[at + 2 : at + 4], "big"), 2)
        segments.append((content[at + 1], content[at + 4 : at + 2 + length]))
        at += 2 + length
    rest = content[at:]
    if not segments or rng.random() < 0.2:
        return content[:at] + plain(rest or b"\0", len(rest) + 64)
    number = rng.randrange(len(segments))
    marker, body = segments[number]
    kind = rng.randrange(8)
    if kind < 4:
        segments[number] = (marker, plain(body or b"\0", 60_000))
    elif kind == 4:
        segments[number] = (rng.choice((0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE)), body)
    elif kind == 5:
        del segments[number]
    elif kind == 6:
        segments.insert(rng.randrange(len(segments) + 1), (marker, body))
    elif marker in (0xC0, 0xC1, 0xC2) and len(body) > 5:
        height, width = (rng.choice(_NUMBERS) & 0xFFFF for _ in range(2))
        segments[number] = (marker, body[:1] + struct.pack(">HH", height, width) + body[5:])
    return b"\xff\xd8" + b"".join(
        b"\xff" + bytes([marker]) + struct.pack(">H", min(len(body) + 2, 65_535)) + body for marker, body in segments
    ) + rest  # fmt: skip


def _mutate_dicom(content: bytes, rng: random.Random, plain: Plain) -> bytes:
    elements: list[tuple[bytes, bytes, bytes]] = []
    at = 132
    while at + 8 <= len(content) and len(elements) < 200:
        kind = content[at + 4 : at + 6]
        long = kind in _LONG_VR
        length = int.from_bytes(content[at + 8 : at + 12] if long else content[at + 6 : at + 8], "little")
        start = at + (12 if long else 8)
        if start + length > len(content):
            break
        elements.append((content[at : at + 4], kind, content[start : start + length]))
        at = start + length
    rest = content[at:]
    if not elements or rng.random() < 0.2:
        return content[:at] + plain(rest or b"\0", len(rest) + 64)
    number = rng.randrange(len(elements))
    tag, kind, value = elements[number]
    choice = rng.randrange(8)
    if choice < 3:
        elements[number] = (tag, kind, plain(value or b"\0", len(value) + 64))
    elif choice == 3:
        elements[number] = (tag, kind, struct.pack("<H", rng.choice(_NUMBERS) & 0xFFFF))
    elif choice == 4:
        elements[number] = (tag, kind, rng.choice(_CELLS).encode() + b" ")
    elif choice == 5:
        del elements[number]
    elif choice == 6:
        elements.insert(number, (tag, rng.choice((b"OB", b"SQ", b"UN", b"US", b"LO", b"IS", b"UI", b"DS")), value))
    else:
        elements[number] = (struct.pack("<HH", 0x0008 + rng.randrange(0x20) * 2, rng.randrange(0x60)), kind, value)
    return content[:132] + b"".join(_pack_element(*element) for element in elements) + rest


def _pack_element(tag: bytes, kind: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    if kind in _LONG_VR:
        return tag + kind + struct.pack("<HI", 0, len(value)) + value
    return tag + kind + struct.pack("<H", len(value) & 0xFFFF) + value[:0xFFFE]


def _mutate_archive(content: bytes, most: int, rng: random.Random, plain: Plain) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()[:20]]
    except Exception:
        return plain(content, most)
    if not members:
        return plain(content, most)
    number = rng.randrange(len(members))
    name, inside = members[number]
    if rng.random() < 0.5:
        members[number] = (name, mutate_picture(inside or b"\0", most, rng, plain))
    else:
        members[number] = (rng.choice(("a/", "../", "", "__MACOSX/")) + rng.choice(_CELLS) + ".jpg", inside)
    packed = io.BytesIO()
    try:
        with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for name, inside in members:
                archive.writestr(zipfile.ZipInfo(name or "a"), inside)
    except (ValueError, UnicodeError):
        return plain(content, most)
    # The records that the archive was written with are changed too, now and then.
    written = packed.getvalue()
    return written if rng.random() < 0.7 else plain(written, most)


MUTATORS: dict[str, Mutator] = {
    "pictures": mutate_picture,
    "metadata": mutate_table,
    "split": mutate_table,
    "predictions": mutate_table,
    "models": mutate_json,
}
