"""The engine of many machines: Ray Data, which is imported here only, and only once it is asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from skinai.bulk.job import Job, Part
from skinai.bulk.scorer import Scorer
from skinai.cluster import join_cluster
from skinai.errors import SkinaiError


def score_on_ray(job: Job, parts: Sequence[Part], *, processes: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each part, scored by the workers of a Ray cluster, as they get done.

    It is the cluster that ``RAY_ADDRESS`` names, else one of this machine alone, which ends with the run. A part is a
    task of one core; a worker process keeps the models from one task to the next. The tasks of a node that is lost go
    to the other ones, and so does what it has done but not yet handed over.

    Parameters
    ----------
    job : Job
    parts : sequence of Part
    processes : int, optional
        At most so many workers at once; default: as many as the cluster has cores.

    Raises
    ------
    SkinaiError
        What a worker raised, or if no cluster answers at the address.
    """
    if not parts:
        return
    join_cluster()
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        # Text in JSON, because a file name need not be UTF-8.
        items = [{"number": part.number, "files": json.dumps(part.files)} for part in parts]
        listed = ray.data.from_items(items, override_num_blocks=len(items))
        done = listed.map_batches(
            _score_batch, fn_kwargs={"job": job}, batch_size=None, num_cpus=1, concurrency=processes
        )
        for row in done.iter_rows():
            if row["error"]:
                raise SkinaiError(row["error"])
            yield int(row["number"]), row["content"]
    finally:
        ray.shutdown()


def _score_batch(batch: dict[str, np.ndarray], job: Job) -> dict[str, list[Any]]:
    """Score the parts of a block, of which there is one."""
    answers: dict[str, list[Any]] = {"number": [], "content": [], "error": []}
    for number, files in zip(batch["number"], batch["files"], strict=True):
        content, sentence = b"", ""
        try:
            content = _open_scorer(job).score(Part(int(number), tuple(json.loads(files))))
        except SkinaiError as error:
            sentence = str(error)
        for name, value in (("number", int(number)), ("content", content), ("error", sentence)):
            answers[name].append(value)
    return answers


@lru_cache(maxsize=1)
def _open_scorer(job: Job) -> Scorer:
    """Return the models of a job; a worker process loads them once."""
    return Scorer(job)
