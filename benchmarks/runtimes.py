"""One network of the shipped kind under Keras, LiteRT, ONNX Runtime and OpenVINO, each in a process of its own.

``python -m benchmarks.runtimes export FOLDER`` writes what they load. ``NAME FOLDER COUNT`` times one of them and
prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.timing import read_memory_mb, time_calls
from skinai.data.drawing import draw_lesion
from skinai.data.images import FrameRule, frame_picture

ARCHITECTURE = "efficientnet-lite0"
_CALIBRATION = 32  # drawn lesions from which 8-bit forms learn their ranges
_THREADS = 2
_FRAME = FrameRule(256, 192)


def export_forms(folder: Path) -> None:
    """Write the network in every form that is timed. Weights are random: they change no time, and no picture."""
    import keras
    import tensorflow as tf
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    from skinai.model.architectures import build_network, find_architecture, finish_network
    from skinai.model.export import export_litert, save_keras_model

    keras.utils.set_random_seed(0)
    network = build_network(find_architecture(ARCHITECTURE), 7)
    model = finish_network(network, offset=np.zeros(7, np.float32), temperature=1.0)
    save_keras_model(model, folder / "model.keras")
    export_litert(model, folder / "litert-fp32.tflite")
    export_litert(model, folder / "litert-fp16.tflite", half_weights=True)
    frames = [_frame(seed) for seed in range(_CALIBRATION)]
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([frame[None].astype(np.float32)] for frame in frames)
    (folder / "litert-int8.tflite").write_bytes(converter.convert())
    signature = [keras.InputSpec(shape=(1, *frames[0].shape), dtype="float32", name="pictures")]
    model.export(folder / "model.onnx", format="onnx", input_signature=signature, verbose=False)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rows: Iterator[dict[str, np.ndarray]] = iter(
                [{"pictures": frame[None].astype(np.float32)} for frame in frames]
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.rows, None)

    quantize_static(folder / "model.onnx", folder / "model-int8.onnx", Reader(), quant_format=QuantFormat.QDQ)


# ---- one loader for each: a folder to a function of one frame ------------------------------------------------------

Answer = Callable[[np.ndarray], np.ndarray]


def _load_keras(folder: Path, *, by_call: bool) -> Answer:
    from skinai.model.export import load_keras_model

    model = load_keras_model(folder / "model.keras")
    if by_call:
        return lambda frame: np.asarray(model(frame[None].astype(np.float32), training=False))[0]
    return lambda frame: model.predict(frame[None].astype(np.float32), verbose=0)[0]


def _load_litert(folder: Path, *, form: str) -> Answer:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(folder / f"litert-{form}.tflite"), num_threads=_THREADS).get_signature_runner()
    ((name, facts),) = runner.get_input_details().items()

    def answer(frame: np.ndarray) -> np.ndarray:
        found = runner(**{name: frame[None].astype(facts["dtype"])})
        return found.get("probabilities", next(iter(found.values())))[0]

    return answer


def _load_onnx(folder: Path, *, file: str) -> Answer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _THREADS
    session = onnxruntime.InferenceSession(folder / file, options, providers=["CPUExecutionProvider"])
    return lambda frame: session.run(None, {"pictures": frame[None].astype(np.float32)})[0][0]


def _load_openvino(folder: Path, *, file: str, precision: str) -> Answer:
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": _THREADS,
    }
    model = core.compile_model(folder / file, "CPU", settings)
    return lambda frame: model(frame[None].astype(np.float32))[0][0]


LOADERS: Mapping[str, Callable[[Path], Answer]] = MappingProxyType(
    {
        "Keras predict, fp32": lambda folder: _load_keras(folder, by_call=False),
        "Keras call, fp32": lambda folder: _load_keras(folder, by_call=True),
        "LiteRT, fp32": lambda folder: _load_litert(folder, form="fp32"),
        "LiteRT, 16-bit weights": lambda folder: _load_litert(folder, form="fp16"),
        "LiteRT, int8": lambda folder: _load_litert(folder, form="int8"),
        "ONNX Runtime, fp32": lambda folder: _load_onnx(folder, file="model.onnx"),
        "ONNX Runtime, int8": lambda folder: _load_onnx(folder, file="model-int8.onnx"),
        "OpenVINO, fp32": lambda folder: _load_openvino(folder, file="model.onnx", precision="f32"),
        "OpenVINO, bf16": lambda folder: _load_openvino(folder, file="model.onnx", precision="bf16"),
        "OpenVINO, int8": lambda folder: _load_openvino(folder, file="model-int8.onnx", precision="f32"),
    }
)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this module in a process of its own; TensorFlow has much to say, which nobody needs to read."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "benchmarks.runtimes", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def prepare(folder: Path) -> None:
    """Write every form of the network, and the frame that all of them look at, into a folder."""
    done = _run("export", str(folder))
    if done.returncode:
        raise RuntimeError(done.stderr)


def compare_runtimes(folder: Path, *, count: int) -> list[dict[str, Any]]:
    """Time every runtime, one after the other, and return a row for each."""
    rows: list[dict[str, Any]] = []
    for name in LOADERS:
        done = _run(name, str(folder), str(count))
        if done.returncode:
            rows.append({"runtime": name, "failed": (done.stderr.strip().splitlines() or ["no word"])[-1]})
        else:
            rows.append(json.loads(done.stdout.splitlines()[-1]))
    return rows


def _frame(seed: int) -> np.ndarray:
    return frame_picture(draw_lesion(seed), _FRAME)


def _time_one(name: str, folder: Path, count: int) -> dict[str, Any]:
    frame = np.load(folder / "frame.npy")
    before, start = read_memory_mb(), time.perf_counter()
    answer = LOADERS[name](folder)
    first = answer(frame)
    loaded = time.perf_counter() - start
    if not np.isclose(first.sum(), 1, atol=0.02):
        raise ValueError(f"{name} answers with {first}.")
    timed = time_calls(lambda: answer(frame), count=count)
    return {"runtime": name, **timed, "start_s": round(loaded, 2), "memory_mb": round(read_memory_mb() - before, 1)}


def write_frame(folder: Path) -> None:
    """Write the frame that all of them look at."""
    np.save(folder / "frame.npy", _frame(0))


if __name__ == "__main__":
    if sys.argv[1] == "export":
        write_frame(Path(sys.argv[2]))
        export_forms(Path(sys.argv[2]))
    else:
        print(json.dumps(_time_one(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
