"""Describe each test picture for who reviews a model: its quality, and which training cases lie nearest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from skinai.data.cases import COLUMNS, NEAREST, write_cases
from skinai.data.quality import MEASURES, measure_frame
from skinai.model.bundle import EMBEDDING, EXPORT_FILE
from skinai.model.reference import REFERENCE_FILE, read_reference
from skinai.model.session import Session
from skinai.training.frames import Frames

# From here on the bands of spatial frequency are fine detail, which blur takes away first.
_FINE = [place for place, name in enumerate(MEASURES) if name.startswith(("detail_0.2", "detail_0.4", "detail_0.5"))]
_BLACK = MEASURES.index("share_black")


def write_folder_cases(folder: Path, frames: Frames) -> None:
    """Write ``cases_test.csv.gz``: what each frame measures, and its nearest training cases; no probability is read."""
    session, reference = Session(folder / EXPORT_FILE), read_reference(folder / REFERENCE_FILE)
    rows = []
    for image_id, frame in zip(frames.table["image_id"], frames.pixels, strict=True):
        measures = measure_frame(frame)
        row = {"image": image_id, "sharpness": measures[_FINE].mean(), "share_black": measures[_BLACK]}
        found = reference.find_nearest(session.run(frame)[EMBEDDING], NEAREST)
        for rank, (place, similarity) in enumerate(zip(*found, strict=True), start=1):
            row |= {
                f"nearest_{rank}_image": reference.image_ids[place],
                f"nearest_{rank}_truth": reference.codes[place],
                f"nearest_{rank}_similarity": float(np.float32(similarity)),
            }
        rows.append(row)
    write_cases(pd.DataFrame(rows, columns=list(COLUMNS)), folder)
