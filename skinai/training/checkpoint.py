"""The state of a run between two epochs, written so that kill -9 leaves the old one or the new one."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skinai.artefacts import write_atomic
from skinai.errors import UsageError

CHECKPOINT_FILE = "checkpoint.npz"


@dataclass
class Checkpoint:
    """Everything that training needs to go on as if it had never stopped.

    Attributes
    ----------
    config_json : str
        The run's configuration; another one is refused.
    data_hash : str
        Hash of the pictures, their diagnoses and their split; other data are refused.
    history : list of dict
        One entry for each finished epoch.
    arrays : dict of list of ndarray
        ``model``, ``optimizer``, ``average`` and ``best``, each in the order of its variables.
    """

    config_json: str
    data_hash: str
    history: list[dict[str, Any]]
    arrays: dict[str, list[np.ndarray]]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path` under a temporary name and rename it."""
    facts = {"config": checkpoint.config_json, "data_hash": checkpoint.data_hash, "history": checkpoint.history}
    arrays: dict[str, Any] = {
        f"{group}/{index}": value for group, values in checkpoint.arrays.items() for index, value in enumerate(values)
    }
    write_atomic(path, lambda temporary: np.savez(temporary, facts=np.array(json.dumps(facts)), **arrays))


def load_checkpoint(path: Path, *, config_json: str, data_hash: str) -> Checkpoint:
    """Read a checkpoint of the same run.

    Raises
    ------
    UsageError
        If there is none, it is damaged, or it belongs to another configuration or other data.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            arrays: dict[str, list[np.ndarray]] = {"model": [], "optimizer": [], "average": [], "best": []}
            for name in file.files:
                if "/" in name:
                    arrays[name.partition("/")[0]].append(file[name])
    except FileNotFoundError as error:
        raise UsageError(f"There is no interrupted run in {path.parent}: {path.name} is missing.") from error
    except (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError) as error:
        raise UsageError(f"The checkpoint {path} is damaged; remove it and train again.") from error
    if facts["config"] != config_json:
        raise UsageError(f"The interrupted run in {path.parent} has another configuration: {facts['config']}.")
    if facts["data_hash"] != data_hash:
        raise UsageError(f"The interrupted run in {path.parent} was trained on other pictures or another split.")
    return Checkpoint(facts["config"], facts["data_hash"], facts["history"], arrays)
