"""What all visitors share: the loaded model, the report and the counts. Never a picture.

Streamlit keys its caches on samples of large arrays, so two patients' pictures can get the same key. Only paths and
times are cached on here.
"""

from __future__ import annotations

import gc
from pathlib import Path

import streamlit as st

from skinai.data.summary import DATASET_FILE, DatasetSummary, read_summary
from skinai.errors import SkinaiError
from skinai.evaluation.report import REPORT_FILE, EvaluationReport, read_report
from skinai.model.bundle import BUNDLE_FILE, Bundle, find_model_folder, load_bundle
from skinai.serving.predictor import Predictor


def load_predictor() -> Predictor:
    """Return the model in use, loaded once for all visitors; a changed folder is loaded and checked anew.

    Raises
    ------
    ModelError
        If the folder is refused.
    """
    folder = find_model_folder()
    return _load_predictor(str(folder), _changed_at(folder / BUNDLE_FILE))


def load_bundle_in_use() -> Bundle:
    """Return the description of the model in use.

    Raises
    ------
    ModelError
        If the folder is refused.
    """
    folder = find_model_folder()
    return _load_bundle(str(folder), _changed_at(folder / BUNDLE_FILE))


def load_report(folder: Path) -> EvaluationReport:
    """Return a model folder's report.

    Raises
    ------
    DataError
        If it is missing or belongs to other predictions.
    """
    return _load_report(str(folder), _changed_at(folder / REPORT_FILE))


def load_summary(folder: Path) -> DatasetSummary:
    """Return the counts of the data a model was trained on.

    Raises
    ------
    DataError
        If they are missing or damaged.
    """
    return _load_summary(str(folder), _changed_at(folder / DATASET_FILE))


def list_reports(folder: Path) -> list[EvaluationReport]:
    """Return the readable reports of all models beside `folder`, the one of `folder` first."""
    reports = []
    others = sorted(path for path in folder.parent.iterdir() if (path / REPORT_FILE).is_file() and path != folder)
    for path in (folder, *others):
        try:
            reports.append(load_report(path))
        except SkinaiError:
            continue
    return reports


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@st.cache_resource(max_entries=1, show_spinner="Loading and checking the model")
def _load_predictor(folder: str, changed_at: int) -> Predictor:
    predictor = Predictor.load(folder)
    # Streamlit collects garbage after every script run; what is loaded by now never becomes garbage.
    gc.collect()
    gc.freeze()
    return predictor


@st.cache_resource(max_entries=1, show_spinner=False)
def _load_bundle(folder: str, changed_at: int) -> Bundle:
    return load_bundle(Path(folder))


@st.cache_resource(max_entries=8, show_spinner=False)
def _load_report(folder: str, changed_at: int) -> EvaluationReport:
    return read_report(Path(folder))


@st.cache_resource(max_entries=2, show_spinner=False)
def _load_summary(folder: str, changed_at: int) -> DatasetSummary:
    return read_summary(Path(folder) / DATASET_FILE)
