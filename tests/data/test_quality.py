"""What is measured on a frame follows what is done to the picture."""

import numpy as np
import pytest
from PIL import Image

from skinai.data.drawing import draw_lesion
from skinai.data.images import FrameRule, frame_picture
from skinai.data.quality import MEASURES, measure_frame

RULE = FrameRule(256, 192)


def measure(picture):
    return dict(zip(MEASURES, measure_frame(frame_picture(picture, RULE)), strict=True))


def enlarge(picture, side):
    small = Image.fromarray(picture).resize((side, side * 3 // 4), Image.Resampling.BOX)
    return np.asarray(small.resize((600, 450), Image.Resampling.BICUBIC))


def test_a_picture_that_was_blown_up_has_lost_its_fine_detail():
    whole, small = measure(draw_lesion(3)), measure(enlarge(draw_lesion(3), 28))
    for band in ("detail_0.28_to_0.40", "detail_0.40_to_0.56"):
        assert small[band] < whole[band] - 1
    assert abs(small["detail_0.03_to_0.06"] - whole["detail_0.03_to_0.06"]) < 0.5


def test_the_size_of_the_file_does_not_matter():
    large, reduced = draw_lesion(3, width_px=1200, height_px=900), draw_lesion(3, width_px=1200, height_px=900)
    reduced = np.asarray(Image.fromarray(reduced).resize((600, 450), Image.Resampling.BOX))
    a, b = measure(large), measure(reduced)
    assert all(abs(a[name] - b[name]) < 0.1 for name in MEASURES if not name.startswith("detail_0.8"))


def test_light_and_colour_are_what_they_are_called():
    assert measure(np.full((192, 256, 3), (255, 128, 0), np.uint8)) == pytest.approx(
        measure(np.full((450, 600, 3), (255, 128, 0), np.uint8)), abs=1e-4
    )
    flat = measure(np.full((192, 256, 3), (255, 128, 0), np.uint8))
    assert (flat["red_mean"], flat["blue_mean"]) == pytest.approx((1.0, 0.0))
    assert flat["share_glaring"] == 1.0
    assert flat["red_green_correlation"] == 1.0
    assert measure(np.zeros((192, 256, 3), np.uint8))["share_black"] == 1.0


def test_text_runs_along_the_axes_and_a_lesion_does_not():
    page = np.full((192, 256, 3), 240, np.uint8)
    page[::8] = 20
    assert measure(page)["detail_along_axes"] > measure(draw_lesion(3))["detail_along_axes"] + 1


@pytest.mark.parametrize("size", [(96, 128), (192, 256), (31, 43)])
def test_every_measure_is_a_number_whatever_the_frame(size):
    rng = np.random.default_rng(1)
    for frame in (np.zeros((*size, 3), np.uint8), rng.integers(0, 256, (*size, 3), dtype=np.uint8)):
        values = measure_frame(frame)
        assert values.shape == (len(MEASURES),)
        assert np.isfinite(values).all()
