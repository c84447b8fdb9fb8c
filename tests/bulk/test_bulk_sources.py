"""Sources become one sorted list, and a picture of an object store is read like one of a folder."""

import numpy as np
import object_store
import pytest
from conftest import encode

from skinai.bulk.sources import list_pictures, read_source
from skinai.data.drawing import draw_lesion
from skinai.errors import DataError, PictureError, UsageError

PICTURE = encode(draw_lesion(1, width_px=128, height_px=96), "PNG")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("c.png", "a b.png", "b/d.PNG", "notes.md"):
        (tmp_path / name).write_bytes(PICTURE)
    return tmp_path


def test_a_folder_a_glob_and_a_file_are_one_sorted_list_without_repeats(folder):
    expected = [str(folder / name) for name in ("a b.png", "b/d.PNG", "c.png")]
    assert list_pictures([str(folder / "c.png"), f"{folder}/*.png", str(folder)]) == expected


def test_a_list_names_a_picture_a_line_counted_from_its_own_folder(folder):
    (folder / "list.txt").write_text("c.png\n\n  b/d.PNG \ns3://bucket/e.jpg\n", encoding="utf-8-sig")
    expected = sorted([str(folder / "b/d.PNG"), str(folder / "c.png"), "s3://bucket/e.jpg"])
    assert list_pictures([str(folder / "list.txt")]) == expected
    assert list_pictures([(folder / "list.txt").as_uri()]) == expected


@pytest.mark.parametrize(
    "text", ["label,File\nmel,c.png\nnv,b/d.PNG\n", "c.png,mel\nb/d.PNG,nv\n", '"c.png"\r\n"b/d.PNG"\r\n']
)
def test_a_table_names_it_in_the_column_file_or_in_the_first_one(folder, text):
    (folder / "list.csv").write_text(text)
    assert list_pictures([str(folder / "list.csv")]) == [str(folder / "b/d.PNG"), str(folder / "c.png")]


def test_file_urls_are_listed_and_read(folder):
    names = list_pictures([folder.as_uri()])
    assert names == [(folder / name).as_uri() for name in ("a b.png", "b/d.PNG", "c.png")]
    assert all(np.array_equal(read_source(name, folder), read_source("c.png", folder)) for name in names)


def test_an_object_store_is_listed_and_read(folder, monkeypatch):
    for name, value in object_store.KEYS.items():
        monkeypatch.setenv(name, value)
    objects = {"a/1 x.png": PICTURE, "a/b/2.png": PICTURE, "a/notes.txt": b"", "a/no.png": b"\x89PNG\r\n\x1a\n"}
    with object_store.running(objects) as url:
        names = list_pictures([url.format("/a")])
        assert names == [url.format(place) for place in ("/a/1%20x.png", "/a/b/2.png", "/a/no.png")]
        assert np.array_equal(read_source(names[0], folder), read_source("c.png", folder))
        objects["list.txt"] = "\n".join(names[:2]).encode()
        assert list_pictures([url.format("/list.txt"), names[0]]) == names[:2]
        for name, sentence in ((names[2], "damaged"), (url.format("/a/3.png"), r"\(No such file or directory\)")):
            with pytest.raises(PictureError, match=sentence):
                read_source(name, folder)
        # Not a fault of the picture, so it must not become a row.
        objects["a/b/2.png"] = None
        with pytest.raises(DataError, match=r"2\.png.* cannot be read: .*ACCESS_DENIED"):
            read_source(names[1], folder)
        objects["list.txt"] = b"a/b/2.png\n"
        with pytest.raises(UsageError, match=r"is a list in an object store, .* Received: 'a/b/2\.png'\.$"):
            list_pictures([url.format("/list.txt")])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("notes.md/*.jpg", "No .jpg, .jpeg, .png, .dcm file in 'notes.md/*.jpg'."),
        ("unknown://a/b", "unknown://a/b cannot be listed: Unrecognized filesystem type in URI: unknown://x/x."),
        ("s3://key:secret@bucket/a", "Keys belong into the environment and not into a URL, which every row would "),
    ],
)
def test_a_source_that_cannot_be_listed_is_one_sentence(name, sentence):
    with pytest.raises(UsageError) as caught:
        list_pictures([name])
    assert str(caught.value).replace("//a/x", "//x/x").startswith(sentence)
