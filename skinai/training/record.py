"""The record of a run: one file in its folder says what was started, on what, and from which source. No TensorFlow.

A run is one folder: ``run.json`` (this record), ``training_log.csv`` (an epoch a row), ``tensorboard/``, the
checkpoint while it is unfinished, and the model folder's parts once it is done.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from skinai.artefacts import predictions_file, write_json
from skinai.errors import DataError
from skinai.model.bundle import BUNDLE_FILE
from skinai.training.checkpoint import CHECKPOINT_FILE

RUN_FILE = "run.json"
LOG_FILE = "training_log.csv"
_FIGURES = ("log_loss", "accuracy", "balanced_accuracy")
_PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "pillow")


@dataclass(frozen=True)
class Run:
    """What a run's folder tells.

    Attributes
    ----------
    folder : Path
    state : str
        ``"finished"``, ``"unfinished"`` (there is a checkpoint to resume) or ``"started"``.
    record : dict
        What :func:`start_record` wrote.
    history : DataFrame
        One row an epoch; empty before the first ends.
    """

    folder: Path
    state: str
    record: dict[str, Any]
    history: pd.DataFrame

    @property
    def configuration(self) -> dict[str, Any]:
        """The training configuration."""
        return dict(self.record.get("configuration", {}))

    @property
    def kept(self) -> dict[str, float] | None:
        """``log_loss``, ``accuracy`` and ``balanced_accuracy`` on `valid`, calibrated there; None before there are any.

        Of the epoch whose weights are kept, and then its ``epoch`` too, or of an ensemble.
        """
        if not self.history.empty:
            last = self.configuration.get("keep") == "last"
            row = self.history.iloc[-1] if last else self.history.loc[self.history["valid_log_loss"].idxmin()]
            return {"epoch": int(row["epoch"])} | {name: float(row[f"valid_{name}"]) for name in _FIGURES}
        if tried := self.record.get("tried_on_valid"):
            row = min(tried, key=lambda row: row["log_loss"])
            return {name: float(row[name]) for name in _FIGURES}
        return None

    @property
    def minutes(self) -> float:
        """Minutes spent in finished epochs."""
        return 0.0 if self.history.empty else float(self.history["seconds"].sum()) / 60


def start_record(
    folder: Path,
    *,
    configuration: dict[str, Any],
    precision: str,
    data_hash: str,
    pictures: dict[str, int],
    by_picture: bool = False,
    resume: bool = False,
) -> dict[str, Any]:
    """Write ``run.json``, or return the one that the interrupted run wrote.

    Parameters
    ----------
    folder : Path
    configuration : dict
    precision : str
        The precision that was chosen for this machine.
    data_hash : str
    pictures : dict
        Subset to its number of pictures.
    by_picture : bool
        The split is by picture and leaks on purpose.
    resume : bool
        The run goes on.
    """
    if resume and (folder / RUN_FILE).exists():
        return read_run(folder).record
    record = {
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "configuration": configuration,
        "precision": precision,
        "data_sha256": data_hash,
        "pictures": pictures,
        "split": "by picture" if by_picture else "by lesion",
        "commit": find_commit(),
        "machine": {"system": platform.system(), "processor": _processor_name(), "cores": os.cpu_count()},
        "versions": list_versions(),
    }
    write_json(folder / RUN_FILE, record)
    return record


def list_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a run."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def find_commit() -> str | None:
    """Return the commit of the source, with ``+`` behind it if files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    try:
        commit = _ask_git(root, "rev-parse", "--short=12", "HEAD")
        changed = _ask_git(root, "status", "--porcelain", "--untracked-files=no", "--", "skinai")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")


def find_runs(folders: Iterable[Path]) -> list[Run]:
    """Return the runs in these folders and directly below them, the latest first.

    Raises
    ------
    DataError
        If a folder does not exist, or a record or log is damaged.
    """
    found = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"The folder {folder} does not exist.")
        for path in [folder, *sorted(folder.iterdir())]:
            if (path / RUN_FILE).is_file() or (path / BUNDLE_FILE).is_file():
                found[path.resolve()] = read_run(path)
    return sorted(found.values(), key=lambda run: str(run.record.get("started_utc")), reverse=True)


def read_run(folder: Path) -> Run:
    """Read a run's record and log.

    Raises
    ------
    DataError
        If there is no record, or it or the log is damaged.
    """
    try:
        path = folder / RUN_FILE
        record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else _read_bundle_record(folder)
        log = folder / LOG_FILE
        history = pd.read_csv(log) if log.exists() else pd.DataFrame()
    except FileNotFoundError as error:
        raise DataError(f"{folder} is no run: {RUN_FILE} is missing.") from error
    except (ValueError, KeyError, TypeError, AttributeError, pd.errors.ParserError) as error:
        raise DataError(f"{RUN_FILE} or {LOG_FILE} in {folder} is damaged.") from error
    if "member" in history.columns:  # an ensemble's log is its members'
        history = pd.DataFrame()
    needed = {"epoch", "valid_log_loss", "valid_accuracy", "valid_balanced_accuracy", "seconds"}
    if not isinstance(record, dict) or not (history.empty or needed <= set(history.columns)):
        raise DataError(f"{RUN_FILE} or {LOG_FILE} in {folder} is damaged.")
    finished = (folder / BUNDLE_FILE).exists() or (folder / predictions_file("test")).exists()
    state = "finished" if finished else "unfinished" if (folder / CHECKPOINT_FILE).exists() else "started"
    return Run(folder, state, record, history)


def _read_bundle_record(folder: Path) -> dict[str, Any]:
    """Return the record of a model folder that was written without one, as an ensemble is."""
    facts = json.loads((folder / BUNDLE_FILE).read_text(encoding="utf-8"))
    training = facts["training"]
    configuration = training.get("configuration") or {"architecture": "ensemble"}
    return {
        "started_utc": facts["created_utc"],
        "configuration": configuration,
        "commit": training.get("commit"),
        "data_sha256": facts["data"]["pictures_sha256"],
        "tried_on_valid": facts["calibration"]["tried_on_valid"],
    }


def _ask_git(root: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    return done.stdout.strip()


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
