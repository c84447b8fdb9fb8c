"""One worker's models, and a part of the list turned into the bytes of a Parquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from skinai import __version__
from skinai.bulk.job import Job, Part, describe_models
from skinai.bulk.sources import read_source
from skinai.errors import ModelError, PictureError
from skinai.labels import LabelSet
from skinai.model.router import DERMOSCOPY
from skinai.serving.batch import COLUMNS, build_row, describe_row, name_probabilities
from skinai.serving.files import FileAnswer, answer_picture, refuse_file
from skinai.serving.routing import Desk
from skinai.wording import RECORD_NOTICE

_NUMBERS = ("malignant_probability", "threshold")
_TRUTHS = ("above",)
# Columns that the table of `predict --format csv` has only once for all rows, or not at all.
_MORE = ("reason_code", "answered_by", "model", "fingerprint", "skinai")


class Scorer:
    """Scores parts with models that are loaded once.

    Parameters
    ----------
    job : Job

    Raises
    ------
    ModelError
        If a model folder is refused, or is not the one that the job names.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        # One thread each: workers beside each other would only wait for one another's threads.
        self._desk = Desk.load(job.folder, job.clinical, threads=1)
        bundles = {kind: assessor.predictor.bundle for kind, assessor in self._desk.assessors.items()}
        if describe_models(bundles) != job.models:
            raise ModelError(f"{job.folder} or {job.clinical} holds another model than when the run was started.")
        self._labels = {kind: bundle.labels for kind, bundle in bundles.items()}
        self._schema = build_schema(tuple(self._labels.values()))

    def score(self, part: Part) -> bytes:
        """Return a part's answers as Parquet, a row a picture in the part's order.

        The same part gives the same bytes, whoever scores it.

        Raises
        ------
        DataError
            If the store of a URL does not answer.
        """
        rows = [describe_answer(file, self._answer(file), self._labels) for file in part.files]
        columns = {name: [row.get(name) for row in rows] for name in self._schema.names}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns, schema=self._schema), sink, compression="zstd")
        return sink.getvalue().to_pybytes()

    def _answer(self, file: str) -> FileAnswer:
        try:
            picture = read_source(file, self.job.base)
        except PictureError as error:
            return refuse_file(self._desk, Path(file), error)
        return answer_picture(self._desk, Path(file), picture, chosen=self.job.chosen, insist=self.job.insist)


def build_schema(label_sets: Sequence[LabelSet]) -> pa.Schema:
    """Return the columns of a part, with a probability for each class of each model; see docs/scale.md."""
    codes = dict.fromkeys(name for labels in label_sets for name in name_probabilities(labels))
    kinds = dict.fromkeys((*COLUMNS, *_MORE), pa.string())
    kinds |= dict.fromkeys((*_NUMBERS, *codes), pa.float64()) | dict.fromkeys(_TRUTHS, pa.bool_())
    return pa.schema(list(kinds.items()), metadata={"notice": RECORD_NOTICE})


def describe_answer(name: str, answer: FileAnswer, labels: Mapping[str, LabelSet]) -> dict[str, object]:
    """Return the row of an answer by column; a column of another model's class is left out.

    Parameters
    ----------
    name : str
        As the list calls the picture; a URL is no path.
    answer : FileAnswer
    labels : mapping of str to LabelSet
        Of each model, by what it answers for.
    """
    routing = answer.routing
    routed = routing.answered_by if routing is not None and routing.routes else None
    row = build_row(answer)
    facts = describe_row(row, labels[routed or DERMOSCOPY], insist=answer.insist)
    return facts | {
        # A file name that is not UTF-8 is written with its bytes spelled out, as in the other tables.
        "file": name.encode("utf-8", errors="backslashreplace").decode(),
        "reason": row.sentence or None,
        "reason_code": answer.reasons[0][0] if answer.reasons else None,
        "answered_by": routed,
        "model": answer.model_name,
        "fingerprint": answer.fingerprint,
        "skinai": __version__,
    }
