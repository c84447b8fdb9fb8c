"""A run from the list of pictures to the folder of answers; one that was killed goes on where it was."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from skinai.bulk.job import PART_SIZE, Job, Part, cut_parts, hash_list
from skinai.bulk.output import open_output
from skinai.bulk.sources import is_url
from skinai.errors import DataError

# Takes the job and the parts that are left; yields number and content of each, in any order.
Engine = Callable[[Job, Sequence[Part]], Iterator[tuple[int, bytes]]]


@dataclass(frozen=True)
class Summary:
    """What came of a run.

    Attributes
    ----------
    pictures, answered, refused, unreadable : int
        Rows in the folder, also those of earlier starts.
    scored : int
        Pictures that this start scored.
    seconds : float
        That it took for them, with the start of its workers.
    """

    pictures: int
    answered: int
    refused: int
    unreadable: int
    scored: int
    seconds: float


def score_pictures(
    job: Job,
    files: Sequence[str],
    out: Path,
    *,
    engine: Engine,
    part_size: int = PART_SIZE,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Summary:
    """Score every picture of a list exactly once, into a folder of Parquet.

    Whoever scores hands content back, and this process alone writes it: a part that is scored twice, because a worker
    was lost, is written once, and parts that are there already are not scored again.

    Parameters
    ----------
    job : Job
    files : sequence of str
        Sorted and each once, see :func:`skinai.bulk.sources.list_pictures`.
    out : Path
        A new folder, or the one of a run of the same list and job.
    engine : callable
        See `Engine`.
    part_size : int
        Pictures a part.
    on_progress : callable
        Takes the share of all parts that is done, from 0 to 1.

    Raises
    ------
    UsageError
        If the folder belongs to something else.
    DataError
        If a folder of pictures goes away meanwhile: that says nothing of them, so no rows are made of it.
    SkinaiError
        If scoring had to stop; the parts that are done stay.
    """
    parts = list(cut_parts(files, part_size))
    listed = hash_list(files)
    facts = {"pictures": len(files), "list_sha256": listed, "part_size": part_size, "parts": len(parts)}
    with open_output(out, job.as_dict() | facts, listed[:12]) as output:
        left = [part for part in parts if not output.has(part)]
        waited, there = {part.number for part in left}, _list_folders(job, files)
        scored, start = 0, time.monotonic()
        for number, content in engine(job, left) if left else ():
            if number not in waited:
                continue
            _require_folders(job, there.intersection(_name_folders(parts[number].files)))
            output.write(number, content)
            waited.remove(number)
            scored += len(parts[number].files)
            on_progress(1 - len(waited) / len(parts))
        seconds = time.monotonic() - start
        return Summary(**output.summarise(len(parts)), scored=scored, seconds=seconds)


def _name_folders(files: Iterable[str]) -> set[str]:
    """Return the folders that pictures lie in which are files."""
    return {os.path.dirname(file) for file in files if not is_url(file)}


def _list_folders(job: Job, files: Iterable[str]) -> set[str]:
    """Return the folders of pictures that are there."""
    return {folder for folder in _name_folders(files) if (job.base / folder).is_dir()}


def _require_folders(job: Job, folders: Iterable[str]) -> None:
    """Refuse to go on without a folder that was there at the start."""
    gone = next((folder for folder in sorted(folders) if not (job.base / folder).is_dir()), None)
    if gone is not None:
        raise DataError(
            f"The folder {job.base / gone} went away; the parts that are done stay. Start the same command again once "
            "it is back."
        )
