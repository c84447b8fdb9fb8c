"""The ports of EfficientNet-Lite and MobileNetV2 see what the originals see, and no weight file can run code."""

import io
import pickle
import struct
from contextlib import contextmanager

import h5py
import keras
import numpy as np
import pytest
import skimage.data
from PIL import Image

from skinai.errors import ModelError
from skinai.model.architectures import LOGITS, BuildOptions, build_network, find_architecture
from skinai.model.efficientnet_lite import (
    LITE0,
    LITE1,
    LITE2,
    MOBILENET_V2,
    build_backbone,
    find_depths,
    find_imagenet_weights,
    load_imagenet_weights,
    read_keras_tensors,
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


@pytest.mark.parametrize("name", ["efficientnet-lite0", "mobilenet-v2"])
def test_what_is_trained_takes_the_weights_and_keeps_the_layer_that_answers(name, request):
    architecture = find_architecture(name)
    network = build_network(architecture, 7, options=BuildOptions(for_training=True))
    before = network.get_layer(LOGITS).get_weights()
    if name == "mobilenet-v2":
        path = request.getfixturevalue("original")[1]
    else:
        path = find_imagenet_weights(architecture.imagenet)
    without = [layer.name for layer in network.layers if layer.weights and layer.name != LOGITS]
    untouched = {layer: network.get_layer(layer).get_weights() for layer in without}
    assert load_imagenet_weights(network, path) == sum(len(weights) for weights in untouched.values())
    for a, b in zip(before, network.get_layer(LOGITS).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for layer, weights in untouched.items():
        assert any(
            not np.array_equal(a, b) for a, b in zip(weights, network.get_layer(layer).get_weights(), strict=True)
        ), layer


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Keras' own MobileNetV2 with random weights and statistics, and the file that Keras saves of it."""
    keras.utils.set_random_seed(5)
    # Sides that are odd and even before each stride, which pads them differently.
    network = keras.applications.MobileNetV2((75, 101, 3), include_top=False, weights=None)
    rng = np.random.default_rng(5)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    path = tmp_path_factory.mktemp("mobilenet") / "weights.h5"
    network.save(path)
    return network, path


def test_mobilenet_v2_is_that_of_keras(original):
    network, path = original
    pictures = keras.Input((None, None, 3))
    ours = keras.Model(pictures, build_backbone(MOBILENET_V2, pictures))
    assert load_imagenet_weights(ours, path) == len(network.weights) == len(read_keras_tensors(path))
    batch = np.random.default_rng(1).uniform(-1, 1, (2, 75, 101, 3)).astype(np.float32)
    expected = network.predict_on_batch(batch)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(ours.predict_on_batch(batch), expected, atol=1e-4)


def test_a_weight_file_of_keras_does_not_have_another_file_read(original, tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(4 * 864))
    for name, change in {"link": _link, "external": _point_outside, "virtual": _point_at_another}.items():
        path = tmp_path / f"{name}.h5"
        path.write_bytes(original[1].read_bytes())
        change(path, secret)
        pictures = keras.Input((96, 128, 3))
        with pytest.raises(ModelError, match=r"lies in another file|stem_conv do not fit"):
            load_imagenet_weights(keras.Model(pictures, build_backbone(MOBILENET_V2, pictures)), path)


@contextmanager
def _without_first_kernel(path):
    with h5py.File(path, "r+") as file:
        names = []
        file["model_weights"].visit(names.append)
        name = next(name for name in names if name.split("/")[-2:] in (["Conv1", "kernel"], ["Conv1", "kernel:0"]))
        del file["model_weights"][name]
        yield file["model_weights"], name


def _link(path, secret):
    with _without_first_kernel(path) as (weights, name):
        weights[name] = h5py.ExternalLink(str(secret), "/kernel")


def _point_outside(path, secret):
    with _without_first_kernel(path) as (weights, name):
        weights.create_dataset(name, (3, 3, 3, 32), "f4", external=[(str(secret), 0, 4 * 864)])


def _point_at_another(path, secret):
    layout = h5py.VirtualLayout((3, 3, 3, 32), "f4")
    layout[...] = h5py.VirtualSource(str(secret), "kernel", (3, 3, 3, 32))
    with _without_first_kernel(path) as (weights, name):
        weights.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("content", [b"", b"no table", b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_what_is_no_weight_file_of_keras_is_refused(content, tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"^weights\.h5 is not a readable weight file"):
        read_keras_tensors(path)
