"""The last layer's weights, beside the export: what a class activation map is made of. Imports no TensorFlow.

Behind a network with global average pooling the logit of a class is the mean, over the positions of the last feature
map, of the map times the weights of that class, plus a constant. The product at each position is the class activation
map (Zhou et al. 2016, arXiv:1512.04150): it adds up to the logit and needs no gradient.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from skinai.artefacts import write_atomic
from skinai.errors import ModelError

HEAD_FILE = "head.npz"


def write_head(kernel: np.ndarray, path: Path) -> None:
    """Write the weights of the last layer, shape (channels, classes), in 16 bits."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, kernel=kernel.astype(np.float16))
    write_atomic(path, buffer.getvalue())


def read_head(path: Path) -> np.ndarray:
    """Read the weights of the last layer.

    Returns
    -------
    ndarray of shape (channels, classes), float32

    Raises
    ------
    ModelError
        If the file is missing or damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            kernel = file["kernel"].astype(np.float32)
    except FileNotFoundError as error:
        raise ModelError(f"{path.name} is missing in {path.parent}.") from error
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, OSError, EOFError) as error:
        raise ModelError(f"{path} is damaged.") from error
    if kernel.ndim != 2 or not np.isfinite(kernel).all():
        raise ModelError(f"{path} is damaged.")
    return kernel


def map_class(feature_map: np.ndarray, kernel: np.ndarray, index: int) -> np.ndarray:
    """Return the class activation map of one class.

    Parameters
    ----------
    feature_map : ndarray of shape (height, width, channels)
        As the export gives it.
    kernel : ndarray of shape (channels, classes)
    index : int
        Of the class.

    Returns
    -------
    ndarray of shape (height, width), float32
        What each position adds to the logit of the class, relative to what it adds to the mean of all classes; its
        mean is the logit's distance from the mean logit, up to a constant.
    """
    if feature_map.shape[-1] != len(kernel):
        raise ModelError(f"{HEAD_FILE} has {len(kernel)} channels and the feature map {feature_map.shape[-1]}.")
    return feature_map @ (kernel[:, index] - kernel.mean(axis=1))
