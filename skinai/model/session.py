"""The runtime: LiteRT interpreters, each for one caller at a time.

Streamlit clears Keras' state after every script run once Keras has been imported, which makes each answer about
twenty times slower for all visitors together; LiteRT needs no Keras, a tenth of the memory, and starts in .2 s.
"""

from __future__ import annotations

import hashlib
import queue
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from skinai.errors import ModelError
from skinai.model.bundle import EMBEDDING, FEATURE_MAP, PROBABILITIES


class Session:
    """Runs an exported network; safe to share between threads.

    Parameters
    ----------
    path : Path
        A LiteRT file with the outputs `probabilities`, `feature_map` and `embedding`.
    threads : int
        Of each interpreter.
    copies : int
        How many interpreters there are, and so how many frames are looked at at once. Callers get them in turn.

    Attributes
    ----------
    file_hash : str
        SHA-256 of what was loaded, which is not read from the file again: who writes over it changes no answer.

    Raises
    ------
    ModelError
        If the file is not such an export.
    """

    def __init__(self, path: Path, *, threads: int = 2, copies: int = 1) -> None:
        # An interpreter is not thread-safe: whoever runs one has taken it out of here.
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        try:
            content = Path(path).read_bytes()
            self.file_hash = hashlib.sha256(content).hexdigest()
            self._interpreters = [Interpreter(model_content=content, num_threads=threads) for _ in range(copies)]
            for interpreter in self._interpreters:
                runner = interpreter.get_signature_runner("serving_default")
                self._free.put(runner)
            pictures = runner.get_input_details()["pictures"]
            outputs = runner.get_output_details()
        except (ValueError, RuntimeError, KeyError, OSError) as error:
            raise ModelError(f"{path} is not a readable export.") from error
        missing = {PROBABILITIES, FEATURE_MAP, EMBEDDING} - set(outputs)
        if missing or pictures["dtype"] != np.uint8:
            raise ModelError(f"{path} is not an export of ours: {sorted(missing) or 'its input is not uint8'}.")
        self.input_shape = tuple(int(size) for size in pictures["shape"])
        self.class_count = int(outputs[PROBABILITIES]["shape"][-1])
        self.channels = int(outputs[FEATURE_MAP]["shape"][-1])
        self.embedding_size = int(outputs[EMBEDDING]["shape"][-1])

    def run(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network on one frame.

        Parameters
        ----------
        frame : ndarray of shape (height, width, 3), uint8

        Returns
        -------
        dict
            ``probabilities`` (classes,), ``feature_map`` (h, w, channels) and ``embedding`` (channels,), float32.
        """
        runner = self._free.get()
        try:
            answer = runner(pictures=frame[None])
            return {name: np.array(value[0]) for name, value in answer.items()}
        finally:
            self._free.put(runner)
