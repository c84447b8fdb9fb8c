"""The folder of a run: a Parquet file a part, and beside them what the run was started with and what came of it."""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skinai.artefacts import remove_stale_temporaries, write_atomic, write_json
from skinai.bulk.job import Part
from skinai.errors import DataError, UsageError

# Whoever reads a folder of Parquet leaves out what begins with an underscore or a dot.
MANIFEST_FILE, SUMMARY_FILE = "_manifest.json", "_summary.json"
FORMAT = 1
STATES = ("answered", "refused", "unreadable")
_SAID = {
    "list_sha256": "list of pictures",
    "pictures": "list of pictures",
    "parts": "part size",
    "part_size": "part size",
    "skinai": "version of skinai",
    "models": "model",
    "as": "choice of --as",
    "insist": "choice of --insist",
    "format": "format",
}


class Output:
    """The parts of one run. Only the process that has opened the folder writes into it.

    Parameters
    ----------
    folder : Path
    key : str
        What the names of the run's parts end with.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self._key = folder, key

    def locate(self, number: int) -> Path:
        """Return the file of a part."""
        return self.folder / f"part-{number:06d}-{self._key}.parquet"

    def has(self, part: Part) -> bool:
        """Return whether a part is there, whole."""
        try:
            return bool(pq.read_metadata(self.locate(part.number)).num_rows == len(part.files))
        except (OSError, pa.ArrowException):
            return False

    def write(self, number: int, content: bytes) -> None:
        """Write the file of a part at once, so that a kill leaves it whole or absent."""
        write_atomic(self.locate(number), content)

    def summarise(self, parts: int) -> dict[str, int]:
        """Count the rows of all parts by status, write the counts, and return them; the last step of a run.

        Raises
        ------
        DataError
            If a part is damaged or missing.
        """
        counts: Counter[str] = Counter()
        for number in range(parts):
            try:
                statuses = pq.ParquetFile(self.locate(number)).read(["status"])["status"]
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{self.locate(number)} cannot be read; start the same command again.") from error
            counts.update(statuses.to_pylist())
        facts = {"pictures": counts.total(), **{state: counts[state] for state in STATES}}
        write_json(self.folder / SUMMARY_FILE, facts)
        return facts


@contextmanager
def open_output(folder: Path, facts: Mapping[str, Any], key: str) -> Iterator[Output]:
    """Yield the folder of a new run, or of one that is to go on, which nobody else writes into meanwhile.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    facts : mapping
        What decides the answers, see :meth:`skinai.bulk.job.Job.as_dict`, and the list and how it is cut.
    key : str
        See :class:`Output`.

    Raises
    ------
    UsageError
        If the folder holds something else or another run, or another process is writing into it.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; Parquet is written as a folder of parts.")
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            # The system lets go of it however the process ends.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"Another process is writing into {folder}.") from error
        remove_stale_temporaries(folder)
        _start_or_continue(folder, {"format": FORMAT, **facts})
        yield Output(folder, key)
    finally:
        os.close(handle)


def _start_or_continue(folder: Path, facts: Mapping[str, Any]) -> None:
    path = folder / MANIFEST_FILE
    if not path.exists():
        if any(folder.iterdir()):
            raise UsageError(f"{folder} holds something else; give --out a new folder.")
        write_json(path, facts)
        return
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is damaged; give --out a new folder.") from error
    if not isinstance(kept, dict):
        raise UsageError(f"{path} is damaged; give --out a new folder.")
    different = list(dict.fromkeys(_SAID.get(name, name) for name in facts if kept.get(name) != facts[name]))
    if "list of pictures" in different and "part size" in different and kept.get("part_size") == facts["part_size"]:
        different.remove("part size")  # only the number of parts differs, because the list does
    if different:
        raise UsageError(
            f"{folder} was begun with another {' and another '.join(different)}; give --out a new folder, or the same "
            "command as before to go on."
        )
