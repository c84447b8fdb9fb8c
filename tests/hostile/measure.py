"""Decode every file of a folder in one process, and print a line of JSON for each: what came of it and what it took."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path

import numpy as np

from skinai.data.images import decode_picture
from skinai.errors import PictureError


def read_memory(name: str) -> int:
    """Return a line of this process's state, in KiB: ``VmRSS`` is held now, ``VmHWM`` was held at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def forget_most_memory() -> None:
    """Begin to count anew how much memory was held at most; without the right to, it goes on from before."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def decode(content: bytes) -> dict[str, object]:
    try:
        picture = decode_picture(content)
    except PictureError as error:
        return {"outcome": "refused", "code": error.code, "sentence": str(error)}
    except BaseException as error:
        return {"outcome": f"escaped: {type(error).__name__}: {error}"[:300]}
    right = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3
    return {"outcome": "answered" if right and picture.shape[2] == 3 else "no picture", "shape": picture.shape}


def main(folder: Path) -> None:
    # What is imported for the first picture of a kind is no part of what one takes.
    for path in sorted(folder.glob("whole-*")):
        decode(path.read_bytes())
    idle = read_memory("VmRSS")
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        forget_most_memory()
        start = time.monotonic()
        found = decode(content)
        took = time.monotonic() - start
        more = (read_memory("VmHWM") - idle) / 1024
        print(json.dumps({"file": path.name, "seconds": round(took, 4), "mib": round(more, 1), **found}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
