"""What all visitors share: the loaded model, the report and the counts. Never a picture.

Streamlit keys its caches on samples of large arrays, so two patients' pictures can get the same key. Only paths and
times are cached on here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd
import streamlit as st

from skinai.artefacts import hash_file, predictions_file
from skinai.data import audit as audits
from skinai.data.audit import Audit, hash_state, read_audit
from skinai.data.facets import SummaryFacets, TableFacets, build_facets
from skinai.data.images import SUFFIXES
from skinai.data.metadata import DataFolder, find_data_folder
from skinai.data.predictions import read_predictions
from skinai.data.sources import read_source
from skinai.data.split import SPLIT_FILE, read_split
from skinai.data.summary import DATASET_FILE, DatasetSummary, read_summary
from skinai.errors import DataError, ModelError, SkinaiError
from skinai.evaluation.checks import Check, check_folder
from skinai.evaluation.comparison import Comparison, compare_predictions
from skinai.evaluation.curves import CURVES_FILE
from skinai.evaluation.decision import DECISION_FILE
from skinai.evaluation.report import REPORT_FILE, EvaluationReport, read_report
from skinai.labels import HAM10000, LabelSet
from skinai.model.bundle import (
    BUNDLE_FILE,
    Bundle,
    find_clinical_folder,
    find_model_folder,
    load_bundle,
    models_folder,
)
from skinai.model.gates import GATES_FILE
from skinai.model.router import CLINICAL, DERMOSCOPY, ROUTER_FILE
from skinai.serving.assessment import Assessor
from skinai.serving.routing import Desk
from skinai.ui.upkeep import keep_for_good

LOG = logging.getLogger("skinai.ui")


# One audit at a time: it takes all processors.
AUDITING = threading.Lock()
# So many holdout pictures are offered to try, of all diagnoses in turn.
_HOLDOUT_OFFERED = 21


@dataclass(frozen=True)
class HoldoutPicture:
    """One picture of `test` that lies in the data folder.

    Attributes
    ----------
    image_id : str
    path : Path
    code : str
        Its diagnosis.
    """

    image_id: str
    path: Path
    code: str


def list_models() -> dict[str, Path]:
    """Return the folders of the models at hand: the one in use under ``"dermoscopy"``, whatever its classes, and with
    HAM10000's classes the one for clinical photographs under ``"clinical"``.

    Raises
    ------
    ModelError
        If the folder of the model in use is refused.
    """
    folder, clinical = find_model_folder(), find_clinical_folder()
    models = {DERMOSCOPY: folder}
    if clinical is not None and load_bundle_in_use().labels is HAM10000:
        models[CLINICAL] = clinical
    return models


def load_desk() -> Desk:
    """Return the models at hand and the router between them.

    Raises
    ------
    ModelError
        If a folder is refused, and was not taken before.
    """
    models = list_models()
    clinical = load_assessor(models[CLINICAL]) if CLINICAL in models else None
    main = load_assessor(models[DERMOSCOPY])
    return _load_or_keep(f"desk of {models}", lambda: _join_desk(main, clinical))


def load_assessor(folder: Path) -> Assessor:
    """Return a model, loaded once for all visitors; loaded and checked anew once a part has changed.

    While what lies there then is refused, as half a copy of another model is, the one that was loaded before answers.

    Raises
    ------
    ModelError
        If the folder is refused, and was not taken before.
    """
    parts = (BUNDLE_FILE, DECISION_FILE, GATES_FILE, ROUTER_FILE)
    changed_at = tuple(_changed_at(folder / part) for part in parts)
    return _load_or_keep(str(folder), lambda: _load_assessor(str(folder), changed_at))


def load_bundle_in_use(kind: str = DERMOSCOPY) -> Bundle:
    """Return the description of one of the models at hand; of one that answers, its own.

    Raises
    ------
    ModelError
        If the folder is refused.
    """
    folder = find_model_folder() if kind == DERMOSCOPY else list_models()[kind]
    if _find_former(str(folder)).value is not None:
        return load_assessor(folder).predictor.bundle
    return _load_bundle(str(folder), _changed_at(folder / BUNDLE_FILE))


def load_report(bundle: Bundle) -> EvaluationReport:
    """Return the report of a model's holdout run.

    Raises
    ------
    DataError
        If it is missing, or belongs to other predictions, another model or another subset.
    """
    report = _load_report(str(bundle.folder), _report_changed_at(bundle.folder), bundle.labels)
    if (report.fingerprint, report.subset) != (bundle.fingerprint, "test"):
        raise DataError(
            f"{REPORT_FILE} is about the {report.subset} subset and the model {report.fingerprint}, "
            f"not about test and {bundle.fingerprint}."
        )
    return report


def load_summary(folder: Path) -> DatasetSummary:
    """Return the counts of the data a model was trained on.

    Raises
    ------
    DataError
        If they are missing or damaged.
    """
    return _load_summary(str(folder), _changed_at(folder / DATASET_FILE))


def load_holdout(bundle: Bundle, report: EvaluationReport) -> pd.DataFrame:
    """Return the predictions for `test` that a report was made from.

    Raises
    ------
    DataError
        If they are missing, damaged or others.
    """
    path = bundle.folder / predictions_file("test")
    return _load_predictions(str(path), _changed_at(path), report.predictions_hash, bundle.labels)


def list_holdout_pictures(bundle: Bundle) -> list[HoldoutPicture]:
    """Return some pictures of `test`, in an order that tells nothing, where the data folder is at hand; else none."""
    if bundle.labels is not HAM10000:
        return []
    paths = _find_pictures()
    try:
        table = load_holdout(bundle, load_report(bundle))
    except DataError:
        return []
    rng = np.random.default_rng(0)
    chosen = []
    for _, rows in table[table["image"].isin(list(paths))].groupby("truth"):
        firsts = rows.drop_duplicates("lesion")
        chosen += [firsts.iloc[row] for row in rng.permutation(len(firsts))[: _HOLDOUT_OFFERED // 7]]
    order = rng.permutation(len(chosen))
    return [HoldoutPicture(row["image"], paths[row["image"]], row["truth"]) for row in (chosen[at] for at in order)]


def find_picture(image_id: str) -> Path | None:
    """Return where a picture lies in the data folder; None where it is not there."""
    return _find_pictures().get(image_id)


def list_reports(bundle: Bundle) -> list[EvaluationReport]:
    """Return the report of `bundle`, then those of the models beside it that were tested under the same split."""
    reports = [load_report(bundle)]
    others = sorted(path for path in bundle.folder.parent.iterdir() if (path / BUNDLE_FILE).is_file())
    for path in others:
        try:
            other = _load_bundle(str(path), _changed_at(path / BUNDLE_FILE))
            same_split = other.facts["files"].get(SPLIT_FILE) == bundle.facts["files"].get(SPLIT_FILE)
            if other.fingerprint != bundle.fingerprint and same_split:
                reports.append(load_report(other))
        except SkinaiError:
            LOG.warning("The model in %s is left out of the comparison.", path)
    return [report for report in reports if report.pictures == reports[0].pictures]


def load_checks(bundle: Bundle, report: EvaluationReport) -> tuple[Check, ...]:
    """Return the named checks of a model and its report.

    Raises
    ------
    DataError
        If the predictions cannot be read.
    """
    parts = (REPORT_FILE, DECISION_FILE, GATES_FILE, SPLIT_FILE, predictions_file("test"), predictions_file("valid"))
    changed_at = tuple(_changed_at(bundle.folder / part) for part in parts)
    return _load_checks(str(bundle.folder), changed_at, bundle.fingerprint, report)


def load_comparison(bundle: Bundle, first: str, second: str) -> Comparison:
    """Return what sets two of the models apart that lie beside each other; both names are from :func:`list_reports`.

    Raises
    ------
    DataError
        If they do not answer for the same pictures.
    """
    by_name = {bundle.name: bundle.folder}
    for path in sorted(bundle.folder.parent.iterdir()):
        if (path / BUNDLE_FILE).is_file():
            # A folder may have been renamed since it was made.
            with contextlib.suppress(SkinaiError):
                by_name.setdefault(_load_bundle(str(path), _changed_at(path / BUNDLE_FILE)).name, path)
    folders = [by_name[name] for name in (first, second)]
    changed_at = tuple(_changed_at(folder / predictions_file("test")) for folder in folders)
    return _load_comparison(str(folders[0]), str(folders[1]), changed_at, bundle.labels)


def load_claim_reports() -> dict[str, EvaluationReport]:
    """Return the reports of the first network by kind of split, ``"lesion"`` and ``"picture"``, where they are kept."""
    folders = {"lesion": "ham10000-seed-cnn", "picture": "ham10000-seed-cnn-by-picture"}
    reports = {}
    for kind, name in folders.items():
        folder = models_folder() / name
        try:
            reports[kind] = _load_report(str(folder), _report_changed_at(folder), HAM10000)
        except DataError:
            LOG.warning("The report in %s is left out of the comparison with the claim.", folder)
    return reports


def load_data() -> DataFolder | None:
    """Return the data at hand: the folder or table named by ``SKINAI_DATA``; None where there is none.

    ``SKINAI_TABLE`` names a table of one's own pictures.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    folder = _data_folder()
    if not folder:
        return None
    table = os.environ.get("SKINAI_TABLE", "")
    return _load_data(folder, table, _data_changed_at(Path(folder), table))


def load_table_facets(bundle: Bundle) -> TableFacets:
    """Return the rows of the data at hand, with the subsets of the model's split where it is about them.

    Raises
    ------
    DataError
        If there are no data, or they cannot be read.
    """
    folder, table = _data_folder(), os.environ.get("SKINAI_TABLE", "")
    path = bundle.folder / SPLIT_FILE
    return _load_facets(folder, table, _data_changed_at(Path(folder), table), str(path), _changed_at(path))


def load_summary_facets(bundle: Bundle) -> SummaryFacets:
    """Return the counts of the data a model was trained on.

    Raises
    ------
    DataError
        If they are missing or damaged.
    """
    return SummaryFacets(bundle.labels, load_summary(bundle.folder))


def load_audit(data: DataFolder) -> Audit | None:
    """Return the audit that was made of these data as they are now, on the command line or on the page."""
    try:
        return read_audit(audits.audit_file(hash_state(data)))
    except DataError:
        return None


def keep_audit(audit: Audit) -> None:
    """Keep an audit for the next visitor; where it cannot be written, it is shown once."""
    path = audits.audit_file(audit.state)
    try:
        audits.keep_audit(audit, path)
    except OSError:
        LOG.warning("The audit could not be kept in %s.", path.parent)


def _find_pictures() -> dict[str, Path]:
    """Return the path of each picture of HAM10000 at hand."""
    folder, table = _data_folder(), os.environ.get("SKINAI_TABLE", "")
    if not folder:
        return {}
    try:
        return _list_pictures(folder, table, _data_changed_at(Path(folder), table))
    except SkinaiError:
        LOG.warning("The data folder cannot be read; no picture of it is shown.")
        return {}


def _data_folder() -> str:
    try:
        return str(find_data_folder(None))
    except SkinaiError:
        return ""


def _data_changed_at(folder: Path, table: str) -> tuple[int, ...]:
    """Return the times of change of a data folder, of the folders and tables in it, and of its own table.

    Pictures that lie directly in it are told by the folder's time.

    Raises
    ------
    DataError
        If it cannot be opened.
    """
    watched = [folder, *([Path(table)] if table else [])]
    try:
        if folder.is_dir():
            with os.scandir(folder) as inside:
                watched += [Path(item) for item in inside if Path(item).suffix.lower() not in SUFFIXES]
    except OSError as error:
        raise DataError(f"The data folder cannot be opened: {error.strerror or error}.") from error
    return tuple(_changed_at(path) for path in sorted(watched))


def _report_changed_at(folder: Path) -> tuple[int, ...]:
    return tuple(_changed_at(folder / part) for part in (REPORT_FILE, CURVES_FILE, DECISION_FILE))


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


_Loaded = TypeVar("_Loaded")


class _Former(Generic[_Loaded]):
    """What was loaded last under a name; None before anything was."""

    value: _Loaded | None = None


@st.cache_resource(max_entries=8, show_spinner=False)
def _find_former(name: str) -> _Former[Any]:
    return _Former()


def _load_or_keep(name: str, load: Callable[[], _Loaded]) -> _Loaded:
    """Return what `load` returns; where a model is refused, what it returned last under this name."""
    former: _Former[_Loaded] = _find_former(name)
    try:
        former.value = load()
    except ModelError as error:
        if former.value is None:
            raise
        LOG.error("What was loaded before answers on: %s", error)
    return former.value


@st.cache_resource(max_entries=2, show_spinner="Loading and checking the model")
def _load_assessor(folder: str, changed_at: tuple[int, ...]) -> Assessor:
    assessor = Assessor.load(folder)
    keep_for_good()
    return assessor


# The assessors come out of the cache above, so the same model is the same object.
@st.cache_resource(max_entries=2, show_spinner="Loading and checking the model", hash_funcs={Assessor: id})
def _join_desk(main: Assessor, clinical: Assessor | None) -> Desk:
    desk = Desk.join(main, clinical)  # loads what the router looks through besides
    keep_for_good()
    return desk


@st.cache_resource(max_entries=8, show_spinner=False)
def _load_bundle(folder: str, changed_at: int) -> Bundle:
    return load_bundle(Path(folder))


@st.cache_resource(max_entries=8, show_spinner=False)
def _load_report(folder: str, changed_at: tuple[int, ...], _labels: LabelSet) -> EvaluationReport:
    return read_report(Path(folder), _labels)


@st.cache_resource(max_entries=2, show_spinner=False)
def _load_summary(folder: str, changed_at: int) -> DatasetSummary:
    return read_summary(Path(folder) / DATASET_FILE)


@st.cache_resource(max_entries=4, show_spinner="Looking for what would make the report a lie")
def _load_checks(
    folder: str, changed_at: tuple[int, ...], fingerprint: str, _report: EvaluationReport
) -> tuple[Check, ...]:
    return check_folder(Path(folder), _report, fingerprint=fingerprint)


@st.cache_resource(max_entries=8, show_spinner=False)
def _load_comparison(first: str, second: str, changed_at: tuple[int, ...], _labels: LabelSet) -> Comparison:
    return compare_predictions(Path(first), Path(second), subset="test", labels=_labels)


@st.cache_resource(max_entries=2, show_spinner=False)
def _load_predictions(path: str, changed_at: int, expected_hash: str, _labels: LabelSet) -> pd.DataFrame:
    if Path(path).is_file() and hash_file(Path(path)) != expected_hash:
        raise DataError(f"{path} is not what the report was made from.")
    return read_predictions(Path(path), _labels)


@st.cache_resource(max_entries=1, show_spinner="Reading the data folder")
def _load_data(folder: str, table: str, changed_at: tuple[int, ...]) -> DataFolder:
    try:
        return read_source(Path(folder), table_file=Path(table) if table else None, for_training=False)
    except OSError as error:
        raise DataError(f"The data folder cannot be read: {error.strerror or error}.") from error


@st.cache_resource(max_entries=1, show_spinner=False)
def _list_pictures(folder: str, table: str, changed_at: tuple[int, ...]) -> dict[str, Path]:
    data = _load_data(folder, table, changed_at)
    if data.labels is not HAM10000 or data.pixels is not None:
        return {}
    return dict(zip(data.present["image_id"], data.present["path"], strict=True))


@st.cache_resource(max_entries=1, show_spinner=False)
def _load_facets(
    folder: str, table: str, changed_at: tuple[int, ...], split: str, split_changed_at: int
) -> TableFacets:
    data = _load_data(folder, table, changed_at)
    try:
        subsets = read_split(Path(split))
    except DataError:
        subsets = None
    if subsets is not None and not set(subsets["image_id"]) & set(data.table["image_id"]):
        subsets = None
    return build_facets(data, subsets)
