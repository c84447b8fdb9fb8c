"""Drawn artefacts change what they are to change and nothing else."""

import numpy as np
import pytest

from skinai.data.drawing import draw_lesion
from skinai.data.stressors import STRESSORS


@pytest.mark.parametrize("name", STRESSORS)
@pytest.mark.parametrize("size", [(600, 450), (450, 600), (64, 48)])
def test_every_artefact_keeps_shape_and_input_and_repeats_itself(name, size):
    picture = draw_lesion(4, width_px=size[0], height_px=size[1])
    before = picture.copy()
    drawn = STRESSORS[name](picture)
    assert (picture == before).all()
    assert drawn.shape == picture.shape
    assert drawn.dtype == np.uint8
    assert (drawn != picture).any()
    assert (STRESSORS[name](picture) == drawn).all()


def test_artefacts_lie_where_they_belong():
    picture = np.full((450, 600, 3), 200, dtype=np.uint8)
    assert (STRESSORS["ruler"](picture)[:300] == 200).all()
    assert (STRESSORS["ink"](picture)[200:250, 280:320] == 200).all()
    corners = STRESSORS["dark_corners"](picture)
    assert corners[0, 0].max() == 0
    assert corners[225, 300].min() > 190
    hairs = (STRESSORS["hair"](picture) < 150).any(axis=2).mean()
    assert 0.005 < hairs < 0.1
    warm = STRESSORS["tint"](picture)[0, 0]
    assert warm[0] > 200 > warm[2]


def test_turning_keeps_the_middle_and_blur_keeps_the_mean():
    picture = draw_lesion(4)
    marked = np.zeros((450, 600, 3), np.uint8)
    marked[222:229, 397:404] = 255  # 100 to the right of the middle; goes up, against the clock
    rows, columns = np.nonzero(STRESSORS["rotation"](marked)[..., 0] > 128)
    angle = np.degrees(np.arctan2(225 - rows.mean(), columns.mean() - 300))
    assert angle == pytest.approx(30, abs=1.5)
    turned = STRESSORS["rotation"](picture)
    assert np.abs(turned[220:230, 295:305].astype(int).mean() - picture[220:230, 295:305].mean()) < 6
    assert turned.min() > 0  # no corner is empty
    soft = STRESSORS["blur"](picture)
    assert soft.mean() == pytest.approx(picture.mean(), abs=1)
    assert np.abs(np.diff(soft.astype(int), axis=1)).mean() < np.abs(np.diff(picture.astype(int), axis=1)).mean()
