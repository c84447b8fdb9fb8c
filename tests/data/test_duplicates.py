"""The same picture is found again however it was photographed, and another lesion is not taken for it."""

import cv2
import numpy as np
import pytest
from PIL import Image

from skinai.data.drawing import draw_lesion
from skinai.data.duplicates import (
    NEAR,
    SAME_FILE,
    SAME_PIXELS,
    compare_looks,
    find_duplicates,
    find_partners,
    is_near,
    take_look,
)


def textured(seed, *, width_px=320, height_px=240):
    """A drawn lesion on skin with pores and lines, as a lens shows it; every seed has its own."""
    rng = np.random.default_rng(seed)
    picture = draw_lesion(seed, width_px=width_px, height_px=height_px).astype(np.float32)
    for _ in range(140):
        centre = (int(rng.integers(width_px)), int(rng.integers(height_px)))
        cv2.circle(picture, centre, int(rng.integers(2, 6)), (picture[centre[1], centre[0]] * 0.7).tolist(), -1)
    for _ in range(25):
        ends = [(int(rng.integers(width_px)), int(rng.integers(height_px))) for _ in range(2)]
        cv2.line(picture, *ends, (120, 80, 70), 1)
    return np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


def again(picture, *, degrees=0.0, scale=1.0, shift=(0, 0), light=1.0, tint=(0, 0, 0)):
    """The same view photographed again."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    matrix[:, 2] += shift
    moved = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.clip(moved.astype(np.float32) * light + np.array(tint), 0, 255).astype(np.uint8)


def look(picture, name=""):
    return take_look(
        picture, file_hash=name or str(picture.sum()), pixel_hash=name or str(picture.tobytes().__hash__())
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shift": (22, -14)},
        {"degrees": 9.0},
        {"scale": 1.15},
        {"scale": 0.87, "degrees": -6.0, "shift": (-15, 9)},
        {"light": 0.8, "tint": (12, -6, 8)},
    ],
    ids=["same", "shifted", "turned", "closer", "all of them", "other light"],
)
def test_the_same_lesion_is_found_again(changes):
    one = textured(1)
    matches, similarity = compare_looks(look(one), look(again(one, **changes)))
    assert matches >= 20
    assert similarity > 0.8


def test_other_lesions_are_not_taken_for_it():
    looks = [look(textured(seed)) for seed in range(24)]
    found = [compare_looks(looks[a], looks[b]) for a in range(24) for b in range(a + 1, 24)]
    assert not [pair for pair in found if is_near(*pair)]


def test_a_picture_without_any_detail_matches_nothing():
    flat = np.full((240, 320, 3), 180, np.uint8)
    assert compare_looks(look(flat, "a"), look(flat, "b")) == (0, 0.0)
    assert compare_looks(look(flat), look(textured(3))) == (0, 0.0)


def test_a_portrait_picture_is_compared_as_it_lies():
    one = textured(5)
    matches, _ = compare_looks(look(one), look(np.ascontiguousarray(np.rot90(one, -1))))
    assert matches >= 20


def test_exact_copies_come_first_and_are_told_apart_from_near_ones():
    one, other = textured(1), textured(2)
    looks = [
        take_look(one, file_hash="a", pixel_hash="1"),
        take_look(other, file_hash="b", pixel_hash="2"),
        take_look(one, file_hash="a", pixel_hash="1"),
        take_look(one, file_hash="c", pixel_hash="1"),
        take_look(again(other, degrees=5.0), file_hash="d", pixel_hash="3"),
    ]
    shares = []
    found = find_duplicates(looks, on_progress=shares.append)
    assert [(pair.first, pair.second, pair.kind) for pair in found] == [
        (0, 2, SAME_FILE),
        (2, 3, SAME_PIXELS),
        (1, 4, NEAR),
    ]
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    assert [pair.kind for pair in find_duplicates(looks, near=False)] == [SAME_FILE, SAME_PIXELS]


def test_partners_are_found_across_blocks(monkeypatch):
    """The comparison goes block by block; the answer does not depend on their size."""
    pictures = [textured(seed) for seed in range(9)]
    pictures.insert(7, again(pictures[0], shift=(20, 10)))
    looks = [look(picture) for picture in pictures]
    monkeypatch.setattr("skinai.data.duplicates.PARTNERS", (2, 1))
    whole = find_partners(looks)
    monkeypatch.setattr("skinai.data.duplicates._BLOCK", 3)
    assert find_partners(looks) == whole
    assert (0, 7) in whole


@pytest.mark.parametrize("count", [0, 1])
def test_there_is_no_pair_of_fewer_than_two(count):
    assert find_duplicates([look(textured(1))] * count) == []


def test_a_quick_look_has_hashes_only():
    quick = take_look(textured(1), file_hash="a", pixel_hash="b", detailed=False)
    assert (quick.file_hash, quick.pixel_hash) == ("a", "b")
    assert quick.small.size == quick.overlay.size == len(quick.points) == 0


@pytest.mark.data
def test_every_published_pair_is_found_among_other_pictures_without_being_told(real_data):
    """All pairs whose two pictures are there, among 250 pictures of other lesions."""
    from skinai.data.metadata import read_data_folder
    from skinai.data.split import read_near_duplicates

    present = read_data_folder(real_data).present.set_index("image_id")
    pairs = [pair for pair in read_near_duplicates() if set(pair) <= set(present.index)]
    assert len(pairs) >= 14
    named = sorted({name for pair in pairs for name in pair})
    others = present[~present.index.isin(named)].drop_duplicates("lesion_id").sample(250, random_state=3)
    names = [*named, *others.index]
    looks = [look(np.asarray(Image.open(present.loc[name, "path"]).convert("RGB")), name) for name in names]
    found = {tuple(sorted((names[pair.first], names[pair.second]))) for pair in find_duplicates(looks)}
    assert {tuple(sorted(pair)) for pair in pairs} - found == set()
    assert len(found - {tuple(sorted(pair)) for pair in pairs}) <= 2
