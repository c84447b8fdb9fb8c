"""A class activation map adds up to the logit of its own class."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from skinai.data.drawing import draw_lesion
from skinai.data.images import FrameRule, frame_picture
from skinai.errors import ModelError
from skinai.model.architectures import LOGITS, build_network, find_architecture
from skinai.model.bundle import FEATURE_MAP
from skinai.model.head import map_class, read_head, write_head


def test_what_was_written_is_read(tmp_path):
    kernel = np.random.default_rng(1).normal(size=(12, 7)).astype(np.float32)
    write_head(kernel, tmp_path / "head.npz")
    np.testing.assert_allclose(read_head(tmp_path / "head.npz"), kernel, rtol=1e-3)


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 400])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "head.npz").write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        read_head(tmp_path / "head.npz")
    with pytest.raises(ModelError, match="missing"):
        read_head(tmp_path / "no" / "head.npz")


def test_numbers_that_are_none_are_refused(tmp_path):
    write_head(np.full((3, 2), np.nan), tmp_path / "head.npz")
    with pytest.raises(ModelError, match="damaged"):
        read_head(tmp_path / "head.npz")


def test_the_map_of_each_class_adds_up_to_its_logit():
    keras.utils.set_random_seed(4)
    frame = FrameRule(128, 96)
    network = build_network(replace(find_architecture("efficientnet-lite0"), frame=frame), 7)
    last = network.get_layer(LOGITS)
    kernel = np.random.default_rng(2).normal(size=(1280, 7)).astype(np.float32)
    last.set_weights([kernel, np.zeros(7)])
    both = keras.Model(network.input, [network.output, network.get_layer(FEATURE_MAP).output])
    logits, maps = both.predict_on_batch(frame_picture(draw_lesion(3), frame)[None].astype(np.float32))
    for index in range(7):
        drawn = map_class(maps[0], kernel, index)
        assert drawn.shape == (3, 4)
        assert drawn.mean() == pytest.approx(logits[0, index] - logits[0].mean(), abs=1e-3)


def test_a_head_of_another_network_is_refused():
    with pytest.raises(ModelError, match="12 channels and the feature map 8"):
        map_class(np.zeros((2, 2, 8)), np.zeros((12, 7)), 0)
