"""A small network with one hidden layer over measured features: what gate and router are made of. No TensorFlow."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from skinai.artefacts import write_atomic
from skinai.errors import ModelError


@dataclass(frozen=True)
class Perceptron:
    """A fitted network.

    Attributes
    ----------
    mean, scale : ndarray of shape (features,)
        Features are brought to mean 0 and spread 1 by them.
    hidden, hidden_bias : ndarray of shape (features, units) and (units,)
    last, last_bias : ndarray of shape (units, kinds) and (kinds,)
    """

    mean: np.ndarray
    scale: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    last: np.ndarray
    last_bias: np.ndarray

    def tell_kinds(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of each kind, shape (n, kinds), for features of shape (n, features)."""
        hidden = np.maximum((features - self.mean) / self.scale @ self.hidden + self.hidden_bias, 0)
        logits = hidden @ self.last + self.last_bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def fits(self, *, kinds: int) -> bool:
        """Return whether the arrays belong together, are finite, and tell so many kinds apart."""
        features, units = self.hidden.shape if self.hidden.ndim == 2 else (-1, -1)
        shapes = ((features,), (features,), (features, units), (units,), (units, kinds), (kinds,))
        arrays = astuple(self)
        return all(
            array.shape == shape and bool(np.isfinite(array).all()) for array, shape in zip(arrays, shapes, strict=True)
        )


ARRAYS = tuple(field.name for field in fields(Perceptron))


def write_arrays(path: Path, network: Perceptron, **others: np.ndarray) -> None:
    """Write a network as float32, its hidden layer as float16 where it is that, and others as they are."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(getattr(network, name), dtype=np.float32) for name in ARRAYS} | others
    if network.hidden.dtype == np.float16:
        arrays["hidden"] = network.hidden
    np.savez_compressed(buffer, **arrays)
    write_atomic(path, buffer.getvalue())


def read_arrays(path: Path, *others: str, sha256: Any) -> tuple[Perceptron, dict[str, np.ndarray]]:
    """Read a network and the named arrays that go with it; whether they fit together is not checked.

    Parameters
    ----------
    path : Path
    *others : str
    sha256 : str
        What the file's hash has to be; nothing of another file is parsed.

    Raises
    ------
    ModelError
        If the file is missing, damaged or another one.
    """
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError("its hash differs")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            network = Perceptron(*(file[name].astype(np.float32) for name in ARRAYS))
            return network, {name: file[name].astype(np.float32) for name in others}
    except FileNotFoundError as error:
        raise ModelError(f"{path.name} is missing in {path.parent}.") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise ModelError(f"{path.name} in {path.parent} is damaged.") from error
