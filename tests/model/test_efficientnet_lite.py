"""The ports of EfficientNet-Lite see what the original sees, and its weight file cannot run code."""

import io
import pickle
import struct

import keras
import numpy as np
import pytest
import skimage.data
from PIL import Image

from skinai.errors import ModelError
from skinai.model.efficientnet_lite import (
    LITE0,
    LITE1,
    LITE2,
    build_backbone,
    find_depths,
    find_imagenet_weights,
    load_imagenet_weights,
    read_torch_tensors,
)

TIGER_CAT, EGYPTIAN_CAT, ESPRESSO = 282, 285, 967


@pytest.fixture(scope="module", params=[LITE0, LITE1, LITE2], ids=lambda variant: variant.name)
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def imagenet_network(variant):
    pictures = keras.Input((224, 224, 3))
    x = keras.layers.GlobalAveragePooling2D()(build_backbone(variant, pictures))
    x = keras.layers.Dense(1000, activation="softmax", name="imagenet_logits")(x)
    network = keras.Model(pictures, x)
    load_imagenet_weights(network, find_imagenet_weights(variant))
    return network


def classify(network, picture):
    image = Image.fromarray(picture)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    crop = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    return network.predict_on_batch(np.asarray(crop)[None] / 127.5 - 1)[0]


def test_the_cat_is_a_cat_and_the_coffee_an_espresso(imagenet_network):
    cat = classify(imagenet_network, skimage.data.chelsea())
    assert set(np.argsort(-cat)[:2]) == {TIGER_CAT, EGYPTIAN_CAT}
    coffee = classify(imagenet_network, skimage.data.coffee())
    assert coffee.argmax() == ESPRESSO
    assert coffee[ESPRESSO] > 0.8


def test_every_tensor_of_the_file_is_used(variant, imagenet_network):
    tensors = read_torch_tensors(find_imagenet_weights(variant))
    counters = [name for name in tensors if name.endswith("num_batches_tracked")]
    assert len(imagenet_network.weights) == len(tensors) - len(counters)
    assert imagenet_network.count_params() == sum(tensors[name].size for name in tensors if name not in counters)


def test_parameters_are_those_published(variant, imagenet_network):
    """TensorFlow TPU repository, models/official/efficientnet/lite: 4.7, 5.4 and 6.1 million."""
    published = {"efficientnet-lite0": 4.7e6, "efficientnet-lite1": 5.4e6, "efficientnet-lite2": 6.1e6}
    assert imagenet_network.count_params() == pytest.approx(published[variant.name], rel=0.02)


def test_depths_grow_from_the_stem_to_the_head():
    depths = find_depths(["pictures", "stem_bn", "block0_project_bn", "block15_add", "head_conv", "logits"])
    assert list(depths.values()) == [17, 0, 1, 16, 17, 17]
    assert find_depths(["block21_add", "head_bn"]) == {"block21_add": 22, "head_bn": 23}


class Hostile:
    def __reduce__(self):
        return (eval, ("__import__('pathlib').Path('owned').touch()",))


def torch_stream(state):
    file = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, state, []):
        pickle.dump(part, file, protocol=2)
    return file.getvalue()


@pytest.mark.parametrize("state", [Hostile(), {"weight": Hostile()}, {"weight": np.zeros(3)}])
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path, monkeypatch, state):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hostile.pth"
    path.write_bytes(torch_stream(state))
    with pytest.raises(ModelError, match="not admitted"):
        read_torch_tensors(path)
    assert not (tmp_path / "owned").exists()


def test_a_hostile_file_in_front_of_the_stream_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hostile.pth").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ModelError, match="not admitted"):
        read_torch_tensors(tmp_path / "hostile.pth")
    assert not (tmp_path / "owned").exists()


def test_damaged_files_are_refused(tmp_path):
    content = find_imagenet_weights(LITE0).read_bytes()
    path = tmp_path / "damaged.pth"
    for damaged in (b"", b"PK\x03\x04", content[:100], content[:50_000], content[:-10]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="not a readable tensor file"):
            read_torch_tensors(path)


def test_a_storage_length_that_lies_is_refused(tmp_path):
    content = bytearray(find_imagenet_weights(LITE0).read_bytes())
    start = 47_176  # the first storage of the pinned file begins here
    assert struct.unpack_from("<q", content, start)[0] == 1_152
    struct.pack_into("<q", content, start, 1 << 50)
    (tmp_path / "lying.pth").write_bytes(content)
    with pytest.raises(ModelError, match="another length"):
        read_torch_tensors(tmp_path / "lying.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "empty.pth"
    path.write_bytes(torch_stream({}))
    pictures = keras.Input((64, 64, 3))
    with pytest.raises(ModelError, match="do not fit"):
        load_imagenet_weights(keras.Model(pictures, build_backbone(LITE0, pictures)), path)
