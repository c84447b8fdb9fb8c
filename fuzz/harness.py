"""One input for a reader: what may come of it, what it may take, and what is noted where that is not kept to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from skinai.errors import SkinaiError

MOST_SECONDS = 5.0
MOST_MIB = 300.0
# The longest sentences list forty columns.
_LONGEST_SENTENCE = 5000
_STATE = Path("/proc/self/status")


class BrokenPromiseError(Exception):
    """What a reader gave back, or said, is not what its description promises."""


def require(kept: object, promise: str) -> None:
    """Note a promise that is not kept.

    Raises
    ------
    BrokenPromiseError
        If it is not.
    """
    if not kept:
        raise BrokenPromiseError(promise)


class Harness:
    """Calls a reader with one input after the other, and keeps the shortest input of every kind of finding.

    A finding is an error that is none of skinai's own, a broken promise, a sentence that is none, more than
    `MOST_SECONDS` of processor time, or `MOST_MIB` more memory than before.

    Parameters
    ----------
    read : callable
        Takes the bytes of one input; whatever it returns is well.
    out : Path
        The folder for findings, a file of the input and one of what went wrong for each kind.

    Attributes
    ----------
    counts : Counter
        ``accepted`` and ``refused`` inputs, and ``findings``.
    findings : dict of str to bytes
        The shortest input of each kind.
    """

    def __init__(self, read: Callable[[bytes], None], out: Path) -> None:
        self._read, self._out = read, out
        self.counts: Counter[str] = Counter()
        self.findings: dict[str, bytes] = {}

    def __call__(self, content: bytes) -> None:
        """Read one input."""
        before, start = _begin_to_measure(), time.process_time()
        error: Exception | None = None
        try:
            self._read(content)
            self.counts["accepted"] += 1
        except SkinaiError as refusal:
            self.counts["refused"] += 1
            if problem := find_fault(str(refusal)):
                self._keep(f"{type(refusal).__name__} in {find_place(refusal)}: {problem}", content, refusal)
        except Exception as found:
            error = found
        seconds, mib = time.process_time() - start, (_read_memory("VmHWM") - before) / 1024
        if isinstance(error, BrokenPromiseError):
            self._keep(f"broken promise: {error}", content, error)
        elif error is not None:
            self._keep(f"{type(error).__name__} in {find_place(error)}", content, error)
        if seconds > MOST_SECONDS:
            self._keep("slow", content, TimeoutError(f"{seconds:.1f} s"))
        if mib > MOST_MIB:
            self._keep("large", content, MemoryError(f"{mib:.0f} MiB"))

    def _keep(self, kind: str, content: bytes, error: Exception) -> None:
        self.counts["findings"] += 1
        if kind in self.findings and len(self.findings[kind]) <= len(content):
            return
        self.findings[kind] = content
        self._out.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"\W+", "-", kind)[:80] + "-" + hashlib.sha256(kind.encode()).hexdigest()[:6]
        (self._out / stem).write_bytes(content)
        told = "".join(traceback.format_exception(error))[-4000:]
        (self._out / f"{stem}.txt").write_text(f"{kind}\n{told}", encoding="utf-8", errors="backslashreplace")

    def write_counts(self, path: Path) -> None:
        """Write the counts, and how many kinds of findings there are."""
        path.write_text(json.dumps({**self.counts, "kinds": sorted(self.findings)}))


def find_fault(sentence: str) -> str:
    """Return what is wrong with the sentence of an error; nothing if it is one that may be shown.

    >>> find_fault("The file is empty.")
    ''
    """
    if not sentence.isprintable():
        return "its sentence has more than one line, or characters that cannot be printed"
    if len(sentence) > _LONGEST_SENTENCE:
        return "its sentence is far too long"
    return "" if len(sentence) > 8 and sentence.endswith(".") else "it is no sentence"


def find_place(error: Exception) -> str:
    """Return the module and the function of ours in which an error was raised."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/skinai/" in frame.filename]
    return f"{Path(frames[-1].filename).stem}.{frames[-1].name}" if frames else "nothing of ours"


def _begin_to_measure() -> int:
    """Return the memory in KiB that is held now, and begin to count anew how much is held at most."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _read_memory("VmHWM")


def _read_memory(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", _STATE.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
