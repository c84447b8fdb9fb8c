"""Write the Keras model and its export for serving."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from skinai.artefacts import replacing, write_atomic
from skinai.errors import ModelError, UsageError
from skinai.model.bundle import EMBEDDING, FEATURE_MAP, PROBABILITIES

_LARGE = 150_000


def save_keras_model(model: keras.Model, path: Path) -> None:
    """Write `model` in Keras' own format, whole or not at all."""
    with replacing(path) as temporary:
        model.save(temporary)


def load_keras_model(path: Path) -> keras.Model:
    """Load a model that :func:`save_keras_model` wrote; custom code in a file is refused.

    Raises
    ------
    ModelError
        If Keras cannot read it.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many types on damaged files.
        raise ModelError(f"{path} is not a readable Keras model.") from error


def export_litert(model: keras.Model, path: Path, *, half_weights: bool = False) -> None:
    """Write the LiteRT export: one uint8 picture in; probabilities, last feature map and embedding out.

    Parameters
    ----------
    model : keras.Model
        Has layers called ``probabilities``, ``feature_map`` and ``embedding``.
    path : Path
    half_weights : bool
        Store the weights in 16 bits, which halves the file and moves probabilities by about .001; the arithmetic stays
        in 32 bits.
    """
    outputs = {
        PROBABILITIES: model.get_layer(PROBABILITIES).output,
        FEATURE_MAP: model.get_layer(FEATURE_MAP).output,
        EMBEDDING: model.get_layer(EMBEDDING).output,
    }
    served = keras.Model(model.input, outputs)
    _, height, width, channels = model.input.shape
    archive = keras.export.ExportArchive()
    archive.track(served)
    archive.add_endpoint(
        "serve",
        lambda pictures: served(tf.cast(pictures, tf.float32), training=False),
        input_signature=[tf.TensorSpec((1, height, width, channels), tf.uint8, name="pictures")],
    )
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if half_weights:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    write_atomic(path, content)


def shrink_export(source: Path, target: Path) -> None:
    """Write a 32-bit export with smaller weights: 8 bits, a scale a channel, in large convolutions, 16 bits elsewhere.

    Weights are widened again before they are used, so the arithmetic stays in 32 bits. Only convolutions with 150,000
    weights or more are large: with small ones too a picture in a few hundred changed its most probable class.

    Raises
    ------
    UsageError
        If the package that does it is not installed.
    """
    try:
        from ai_edge_quantizer import quantizer  # a developer's package, used here alone
    except ImportError as error:
        raise UsageError("Shrinking takes ai-edge-quantizer: pip install -r requirements-dev.txt.") from error
    eight = {"num_bits": 8, "symmetric": True, "granularity": "CHANNELWISE", "dtype": "INT"}
    sixteen = {"num_bits": 16, "symmetric": True, "granularity": "TENSORWISE", "dtype": "FLOAT"}
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    passes = (
        [_describe_weights("CONV_2D", "min_max_uniform_quantize", eight, least=_LARGE)],
        [_describe_weights(kind, "float_casting", sixteen, least=0) for kind in kinds],
    )
    content = source.read_bytes()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), _silence():
        warnings.filterwarnings("ignore", message="Input model is already partially quantized")
        given = Path(folder) / "given.tflite"
        for recipe in passes:
            given.write_bytes(content)
            worker = quantizer.Quantizer(str(given))
            worker.load_quantization_recipe(recipe)
            content = bytes(worker.quantize().quantized_model)
    write_atomic(target, content)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what a package prints about its progress from the user."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _describe_weights(kind: str, algorithm: str, weights: dict[str, Any], *, least: int) -> dict[str, Any]:
    configuration = {
        "weight_tensor_config": weights,
        "compute_precision": "FLOAT",
        "explicit_dequantize": True,
        "skip_checks": False,
        "min_weight_elements": least,
    }
    return {"regex": ".*", "operation": kind, "algorithm_key": algorithm, "op_config": configuration}
