"""Zip archives: what is read out of them, and what is not."""

import contextlib
import zipfile

import numpy as np
import pytest
from conftest import encode, pack

from skinai.data import archives
from skinai.data.archives import is_archive, list_archive, read_archive
from skinai.data.images import MAX_BYTES
from skinai.errors import DataError


def test_pictures_are_found_in_folders_and_nothing_else(lesion):
    picture = encode(lesion)
    names = ["a.jpg", "below/b.PNG", "../../c.jpeg", "__MACOSX/._a.jpg", ".hidden.jpg", "notes.txt", "inner.zip"]
    content = pack(dict.fromkeys(names, picture))
    assert is_archive(content)
    assert list_archive(content) == ["a.jpg", "below/b.PNG", "../../c.jpeg"]
    assert list(read_archive(content)) == [(name, picture) for name in names[:3]]


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_unpacks_without_bound_is_not_unpacked(lesion, compression):
    content = pack({"a.jpg": encode(lesion), "bomb.png": b"\0" * (30 * 1024 * 1024)}, compression)
    assert list(read_archive(content)) == [("a.jpg", b""), ("bomb.png", b"")]


def test_entries_that_share_their_bytes_and_long_lists_are_refused(lesion, monkeypatch):
    content = pack({f"{number}.jpg": b"x" * number for number in range(1, 4)}, zipfile.ZIP_STORED)
    first = content.index(b"PK\x01\x02")
    shared = bytearray(content)
    second = content.index(b"PK\x01\x02", first + 4)
    shared[second + 42 : second + 46] = shared[first + 42 : first + 46]
    with pytest.raises(DataError, match="damaged or incomplete"):
        list_archive(bytes(shared))
    monkeypatch.setattr(archives, "MAX_ENTRIES", 2)
    with pytest.raises(DataError, match="The archive lists more than is read"):
        list_archive(content)


def test_damaged_archives_raise_data_errors_only(lesion):
    rng = np.random.default_rng(1)
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        content = pack({"a.jpg": encode(lesion, quality=20), "b.png": b"x" * 50}, compression)
        for _ in range(150):
            wrecked = bytearray(content)
            for place in rng.integers(0, len(content), 4):
                wrecked[place if rng.random() < 0.3 else -1 - place % 250] = rng.integers(256)
            with contextlib.suppress(DataError):
                assert all(isinstance(data, bytes) for _, data in read_archive(bytes(wrecked)))


def test_a_bomb_is_cut_where_no_picture_can_be(monkeypatch):
    content = pack({"bomb.png": b"\0" * (60 * 1024 * 1024)})
    assert len(content) < 100_000
    ((_, data),) = read_archive(content)
    assert len(data) == MAX_BYTES + 1
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(DataError, match="more than 0 MB of pictures"):
        list(read_archive(content))


def test_too_many_files_are_refused(monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    with pytest.raises(DataError, match=r"The archive has 4 pictures; at most 3 are opened\."):
        list_archive(pack({f"{number}.jpg": b"x" for number in range(4)}))


def test_a_damaged_archive_is_a_sentence_and_a_damaged_member_an_empty_picture(lesion):
    content = pack({"a.jpg": encode(lesion), "b.jpg": encode(lesion)}, zipfile.ZIP_STORED)
    with pytest.raises(DataError, match="The archive is damaged or incomplete and could not be read"):
        list_archive(content[: len(content) // 2])
    wrecked = bytearray(content)
    wrecked[2000:2010] = b"\xff" * 10
    (_, first), (_, second) = read_archive(bytes(wrecked))
    assert first == b""
    assert second == encode(lesion)
