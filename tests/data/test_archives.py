"""Zip archives: what is read out of them, and what is not."""

import zipfile

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
