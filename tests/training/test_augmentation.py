"""Augmentation moves, turns and tints; it never stretches, never leaves 0 to 255 and never runs in serving."""

import numpy as np
import pytest

from skinai.training.augmentation import RandomArtefacts, RandomColour, RandomView


def disc(size=(192, 256), radius=30):
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    inside = np.hypot(x - size[1] / 2 + 0.5, y - size[0] / 2 + 0.5) < radius
    return np.where(inside[..., None], 0, 255).astype(np.uint8).repeat(3, axis=2)


def test_outside_training_nothing_changes():
    pictures = np.random.default_rng(1).integers(0, 256, (2, 96, 128, 3), dtype=np.uint8)
    assert (np.asarray(RandomView(64, 64)(pictures)) == pictures).all()
    assert (np.asarray(RandomColour()(pictures)) == pictures).all()
    assert (np.asarray(RandomArtefacts(1.0)(pictures)) == pictures).all()


def test_a_view_that_changes_nothing_is_the_picture_itself():
    """Without scale, shift or free rotation only the eight mirrored and turned versions are left."""
    picture = np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    layer = RandomView(32, 32, area=(1.0, 1.0), ratio=(1.0, 1.0), degrees=0.0, seed=3)
    views = np.asarray(layer(np.stack([picture] * 64), training=True))
    versions = [np.rot90(p, k) for p in (picture, picture[:, ::-1]) for k in range(4)]
    seen = set()
    for view in views:
        errors = [np.abs(view - version.astype(np.float32)).max() for version in versions]
        assert min(errors) < 0.6
        seen.add(int(np.argmin(errors)))
    assert seen == set(range(8))


def test_a_circle_stays_a_circle_at_many_scales():
    layer = RandomView(160, 160, ratio=(1.0, 1.0), seed=5)
    views = np.asarray(layer(np.stack([disc()] * 40), training=True))
    widths = []
    for view in views:
        dark = view[..., 0] < 127
        width, height = dark.any(axis=0).sum(), dark.any(axis=1).sum()
        if dark[0].any() or dark[-1].any() or dark[:, 0].any() or dark[:, -1].any():
            continue
        assert abs(int(width) - int(height)) <= 2
        widths.append(width)
    assert len(widths) > 20
    # The scale runs from sqrt(.45) to 1 of the largest inner square, 192 px shown on 160.
    assert min(widths) >= 60 / 1.2 - 3
    assert max(widths) <= 60 / 1.2 / np.sqrt(0.45) + 3
    assert max(widths) > 1.25 * min(widths)


def test_colours_stay_in_range_and_the_mean_moves_as_far_as_allowed():
    picture = np.full((64, 8, 8, 3), 128, np.uint8)
    changed = np.asarray(RandomColour(brightness=0.1, contrast=0.0, saturation=0.0, tint=0.0)(picture, training=True))
    means = changed.mean(axis=(1, 2, 3))
    assert means.min() >= 128 * 0.9 - 0.01
    assert means.max() <= 128 * 1.1 + 0.01
    assert means.std() > 3
    bright = np.asarray(RandomColour(brightness=0.9)(np.full((16, 4, 4, 3), 250, np.uint8), training=True))
    assert bright.max() <= 255


def test_contrast_keeps_the_mean_and_saturation_keeps_grey():
    pictures = np.random.default_rng(3).integers(60, 190, (16, 24, 24, 3), dtype=np.uint8)
    contrast = RandomColour(brightness=0.0, contrast=0.2, saturation=0.0, tint=0.0)
    means = np.asarray(contrast(pictures, training=True)).mean(axis=(1, 2))
    assert np.abs(means - pictures.mean(axis=(1, 2))).max() < 0.5
    grey = pictures[..., :1].repeat(3, axis=-1)
    saturation = RandomColour(brightness=0.0, contrast=0.0, saturation=0.5, tint=0.0)
    assert np.abs(np.asarray(saturation(grey, training=True)) - grey).max() < 0.01


@pytest.mark.parametrize("layer", [RandomView(32, 32, seed=9), RandomColour(seed=9), RandomArtefacts(1.0, seed=9)])
def test_the_random_state_is_a_variable_so_that_a_checkpoint_holds_it(layer):
    pictures = np.random.default_rng(4).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    state = [variable.numpy() for variable in layer.variables]
    first = np.asarray(layer(pictures, training=True))
    assert not np.array_equal(first, np.asarray(layer(pictures, training=True)))
    for variable, value in zip(layer.variables, state, strict=True):
        variable.assign(value)
    assert np.array_equal(first, np.asarray(layer(pictures, training=True)))


def test_a_wide_view_turned_by_a_right_angle_stays_inside_the_picture():
    """Otherwise the mirrored edge would fill a quarter of every turned view."""
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 255, 128)[None]
    layer = RandomView(96, 128, area=(1.0, 1.0), ratio=(1.0, 1.0), degrees=0.0, seed=1)
    views = np.asarray(layer(np.stack([picture] * 32), training=True))[..., 0]
    upright = [view for view in views if view[:, 0].std() < 1]
    turned = [view for view in views if view[0].std() < 1]
    assert len(upright) > 4
    assert len(turned) > 4
    for view in turned:
        # 128 px of the view's width show the picture's 96 px of height; its height shows 72 px of the width.
        assert (np.diff(view[:, 0]) > 0).all() or (np.diff(view[:, 0]) < 0).all()
        assert np.ptp(view[:, 0]) == pytest.approx(255 * 71.25 / 127, abs=3)


def test_artefacts_come_as_often_as_asked_and_only_ever_darken_a_plain_picture():
    pictures = np.full((400, 48, 64, 3), 200, np.uint8)
    for chance in (0.0, 0.3, 1.0):
        drawn = np.asarray(RandomArtefacts(chance, seed=11)(pictures, training=True))
        assert drawn.min() >= 0
        assert drawn.max() <= 200.001
        # A blur of one grey is that grey, so only hairs and corners can show; a corner always reaches the edge.
        cornered = (drawn[:, 0, 0] < 190).all(axis=-1).mean()
        assert cornered == pytest.approx(chance, abs=0.08)
        touched = (drawn < 190).any(axis=(1, 2, 3)).mean()
        assert touched == pytest.approx(1 - (1 - chance) ** 2, abs=0.1)


def test_hair_leaves_most_of_the_middle_to_be_seen():
    pictures = np.full((200, 96, 128, 3), 200, np.uint8)
    middle = np.asarray(RandomArtefacts(1.0, seed=12)(pictures, training=True))[:, 32:64, 48:80, 0]
    hidden = (middle < 150).mean(axis=(1, 2))
    assert 0.003 < hidden.mean() < 0.1
    assert hidden.max() < 0.4


def test_blur_smooths_what_is_fine_and_keeps_the_mean():
    noise = np.random.default_rng(13).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    layer = RandomArtefacts(1.0, seed=14)
    layer.HAIRS = 0
    middle = np.asarray(layer(noise, training=True))[:, 12:20, 12:20]
    before = noise[:, 12:20, 12:20].astype(np.float32)
    assert middle.std(axis=(1, 2)).mean() < 0.75 * before.std(axis=(1, 2)).mean()
    assert middle.mean() == pytest.approx(before.mean(), abs=4)
