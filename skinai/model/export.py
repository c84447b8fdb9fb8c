"""Write the Keras model and its export for serving."""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from skinai.artefacts import replacing, write_atomic
from skinai.errors import ModelError
from skinai.model.bundle import EMBEDDING, FEATURE_MAP, PROBABILITIES


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
