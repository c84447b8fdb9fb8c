"""A 600 x 450 JPEG to probabilities with the shipped models, and what each step of it costs."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.timing import time_calls
from skinai.data.drawing import draw_lesion
from skinai.data.images import decode_picture, frame_picture
from skinai.model.bundle import find_clinical_folder, find_model_folder, models_folder
from skinai.serving.assessment import Assessor
from skinai.serving.predictor import Predictor
from skinai.serving.routing import Desk

_NAMES = ("ham10000-ensemble", "ham10000-efficientnet-lite0", "clinical-efficientnet-lite0")


def encode_lesion(seed: int = 0) -> bytes:
    """Return a drawn lesion as a JPEG file of 600 x 450 pixels."""
    buffer = io.BytesIO()
    Image.fromarray(draw_lesion(seed)).resize((600, 450)).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def time_steps(*, count: int) -> list[dict[str, Any]]:
    """Return a row for each step and each shipped model."""
    content = encode_lesion()
    picture = decode_picture(content)
    rows: list[dict[str, Any]] = []

    def add(step: str, model: str, call: Callable[[], object]) -> None:
        rows.append({"step": step, "model": model, **time_calls(call, count=count)})

    add("decode", "any", lambda: decode_picture(content))
    for name in _NAMES:
        predictor = Predictor.load(models_folder() / name)
        frame = frame_picture(picture, predictor.bundle.frame)
        add("frame", name, partial(frame_picture, picture, predictor.bundle.frame))
        add("network", name, partial(predictor.session.run, frame))
        add("decode to probabilities", name, partial(_answer, predictor, content))
    assessor = Assessor.load(find_model_folder())
    add("all that the page shows at once", assessor.predictor.bundle.name, lambda: assessor.assess(picture))
    clinical = find_clinical_folder()
    if clinical is not None:
        desk = Desk.load(find_model_folder(), clinical)
        add("route between two models", "router", lambda: desk.route([picture]))
    return rows


def _answer(predictor: Predictor, content: bytes) -> object:
    return predictor.predict(decode_picture(content))


_SCRIPT = """
import time
import keras, numpy as np, streamlit as st

@st.cache_resource
def load():
    return keras.saving.load_model({model!r}, compile=False)

model, frame = load(), np.load({frame!r})
start = time.perf_counter()
model.predict(frame[None].astype("float32"), verbose=0)
st.session_state["milliseconds"] = (time.perf_counter() - start) * 1000
"""


def time_keras_under_streamlit(folder: Path, *, count: int) -> dict[str, Any]:
    """Time Keras' ``predict`` where most open apps call it: in a script that Streamlit runs for each visit.

    `folder` is the one that :func:`benchmarks.runtimes.prepare` filled.
    """
    page = _SCRIPT.format(model=str(folder / "model.keras"), frame=str(folder / "frame.npy"))
    driver = f"""
        import numpy as np
        from streamlit.testing.v1 import AppTest
        app = AppTest.from_string({page!r}, default_timeout=120)
        times = []
        for _ in range({count + 2}):
            app.run()
            times.append(app.session_state["milliseconds"])
        print(np.median(times[2:]), np.percentile(times[2:], 95), min(times[2:]))
    """
    with tempfile.TemporaryDirectory() as place:
        script = Path(place) / "driver.py"
        script.write_text(textwrap.dedent(driver), encoding="utf-8")
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    median, high, best = (round(float(value), 2) for value in done.stdout.split())
    return {"runtime": "Keras predict, under Streamlit", "median_ms": median, "p95_ms": high, "best_ms": best}
