"""Decoded pictures are kept and found again, but only while nothing about them has changed."""

import hashlib
import json
import os

import numpy as np
import PIL
import pytest

from skinai.data.images import FrameRule, cover_mark, frame_picture, read_picture
from skinai.data.metadata import read_data_folder
from skinai.training import frames as frames_module
from skinai.training import gates as gates_module
from skinai.training.frames import FrameBatches, frame_cache, load_frames

RULE = FrameRule(32, 24)
MARK = (0.0, 0.5, 0.4, 1.0)


@pytest.fixture
def table(small_data, tmp_path):
    rows = read_data_folder(small_data).present.head(6).reset_index(drop=True)
    copies = []
    for path in rows["path"]:
        copies.append(tmp_path / path.name)
        copies[-1].write_bytes(path.read_bytes())
    return rows.assign(path=copies)


@pytest.fixture
def decodings(monkeypatch):
    calls = []
    plain = frames_module.decode_picture

    def decode(content):
        calls.append(len(content))
        return plain(content)

    monkeypatch.setattr(frames_module, "decode_picture", decode)
    return calls


def test_the_second_reading_decodes_nothing(table, tmp_path, decodings):
    cache = tmp_path / "cache"
    first = load_frames(table, RULE, cache=cache)
    again = load_frames(table, RULE, cache=cache)
    assert len(decodings) == 6
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.hashes == again.hashes
    assert not again.pixels.flags.writeable
    load_frames(table, FrameRule(64, 48), cache=cache)
    assert len(decodings) == 12


def test_a_changed_picture_is_decoded_again(table, tmp_path, decodings):
    cache = tmp_path / "cache"
    load_frames(table, RULE, cache=cache)
    os.utime(table["path"][0], ns=(1, 1))
    load_frames(table, RULE, cache=cache)
    assert len(decodings) == 12


def test_an_unreadable_picture_is_remembered_with_its_reason(table, tmp_path, decodings):
    cache = tmp_path / "cache"
    table["path"][2].write_bytes(b"no picture")
    first = load_frames(table, RULE, cache=cache)
    again = load_frames(table, RULE, cache=cache)
    assert len(decodings) == 6
    assert first.unreadable == again.unreadable
    assert list(first.unreadable) == [table["image_id"][2]]
    assert len(again.table) == len(again.pixels) == len(again.hashes) == 5


def test_a_picture_that_could_not_be_opened_is_tried_again(table, tmp_path, decodings):
    cache = tmp_path / "cache"
    content = table["path"][2].read_bytes()
    table["path"][2].unlink()
    assert len(load_frames(table, RULE, cache=cache).table) == 5
    table["path"][2].write_bytes(content)
    assert len(load_frames(table, RULE, cache=cache).table) == 6


def test_a_damaged_entry_is_decoded_again(table, tmp_path, decodings):
    cache = tmp_path / "cache"
    load_frames(table, RULE, cache=cache)
    (entry,) = cache.glob("*.npy")
    entry.write_bytes(entry.read_bytes()[:200])
    assert len(load_frames(table, RULE, cache=cache).pixels) == 6
    assert len(decodings) == 12


def test_a_cache_that_cannot_be_written_costs_no_run(table, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert len(load_frames(table, RULE, cache=tmp_path / "file").pixels) == 6
    assert "could not be kept" in capsys.readouterr().err


def test_old_entries_go(table, tmp_path):
    cache = tmp_path / "cache"
    for width in (32, 64, 96, 128, 160):
        load_frames(table, FrameRule(width, 24), cache=cache)
    assert len(list(cache.glob("*.npy"))) == len(list(cache.glob("*.json"))) == 4


def test_the_folder_of_the_cache_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("SKINAI_CACHE", str(tmp_path))
    assert frame_cache() == tmp_path
    monkeypatch.delenv("SKINAI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert frame_cache() == tmp_path / "skinai" / "frames"


def test_rare_classes_are_drawn_as_often_as_asked():
    truth = np.eye(2, dtype=np.float32)[[0] * 900 + [1] * 100]
    pixels = np.arange(1000)
    whole = FrameBatches(pixels, truth, batch_size=64, seed=1, epoch=0)
    assert sorted(whole.order) == list(range(1000))
    even = FrameBatches(pixels, truth, batch_size=64, seed=1, epoch=0, chances=np.array([1 / 0.9, 1 / 0.1]))
    assert len(even.order) == 1000
    assert truth[even.order, 1].mean() == pytest.approx(0.5, abs=0.05)
    again = FrameBatches(pixels, truth, batch_size=64, seed=1, epoch=0, chances=np.array([1 / 0.9, 1 / 0.1]))
    assert (even.order == again.order).all()


def test_a_mark_is_covered_before_the_picture_is_framed_and_kept_apart(table, tmp_path, decodings):
    cache = tmp_path / "cache"
    plain = load_frames(table, RULE, cache=cache)
    covered = load_frames(table, RULE, mark=MARK, cache=cache)
    assert len(decodings) == 12
    assert (load_frames(table, RULE, mark=MARK, cache=cache).pixels == covered.pixels).all()
    assert (load_frames(table, RULE, cache=cache).pixels == plain.pixels).all()
    assert len(decodings) == 12
    load_frames(table, RULE, mark=(0.0, 0.5, 0.3, 1.0), cache=cache)
    assert len(decodings) == 18
    for path, whole, frame in zip(table["path"], plain.pixels, covered.pixels, strict=True):
        picture = read_picture(path)
        assert (frame == frame_picture(cover_mark(picture, MARK), RULE)).all()
        assert (whole == frame_picture(picture, RULE)).all()
        assert (whole != frame).any()
    assert plain.hashes == covered.hashes


def test_an_entry_without_a_mark_has_the_key_that_it_always_had(table, tmp_path):
    load_frames(table, RULE, cache=tmp_path / "cache")
    facts = json.dumps([1, PIL.__version__, RULE.as_dict()], sort_keys=True)
    states = [(path, os.stat(path)) for path in table["path"]]
    files = "".join(f"{path}\t{state.st_size}\t{state.st_mtime_ns}\n" for path, state in states)
    digest = hashlib.sha256((facts + files).encode()).hexdigest()
    assert [entry.stem for entry in (tmp_path / "cache").glob("*.npy")] == [digest[:32]]


@pytest.mark.parametrize("size", [(240, 320), (233, 311)])
def test_the_gate_covers_the_same_pixels_of_a_photograph_as_before_there_was_one_function(size):
    height, width = size
    picture = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    top, across = int(height * 0.62), int(width * 0.36)
    expected = picture.copy()
    expected[top:, :across] = picture[top:, width - across :][:, ::-1]
    shown = gates_module._show_parts(picture, "photographs", np.random.default_rng(0))
    assert (shown[-1] == expected).all()
