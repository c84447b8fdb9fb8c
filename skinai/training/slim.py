"""A trained network in a form to ship: without the Keras file, and with smaller weights where that costs little."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from skinai.artefacts import predictions_file, remove_stale_temporaries
from skinai.data.images import frame_picture, read_picture
from skinai.data.metadata import DataFolder
from skinai.data.predictions import probability_matrix, read_predictions
from skinai.data.split import SPLIT_FILE, read_split
from skinai.data.summary import DATASET_FILE
from skinai.errors import UsageError
from skinai.model.bundle import EXPORT_FILE, KERAS_FILE, PROBABILITIES, PROBE_FILE, Bundle, load_bundle, write_bundle
from skinai.model.export import shrink_export
from skinai.model.head import HEAD_FILE
from skinai.model.reference import REFERENCE_FILE
from skinai.model.session import Session
from skinai.training.record import LOG_FILE, RUN_FILE
from skinai.training.run import check_out, load_run_data, with_labels_of, write_folder_predictions

# What the lighter form may cost on valid.
MOST_BALANCED_ACCURACY = 0.005
MOST_SENSITIVITY = 0.02


def slim_model(
    folder: Path,
    data: DataFolder,
    out: Path,
    *,
    licence: str | None = None,
    notes: Sequence[str] = (),
    say: Callable[[str], object] = print,
) -> Bundle:
    """Write the lighter form of a trained network, all but the look at `test`.

    Parameters
    ----------
    folder : Path
        A model folder of a single network, or of an ensemble whose weights have 32 bits.
    data : DataFolder
        What it was trained on; `valid` is read from it.
    out : Path
        The model folder to write; must not hold a finished model.
    licence : str, optional
        Under which terms the weights may be used, in place of what the network's folder says.
    notes : sequence of str
        What else is to be known of the data, in place of what the network's folder says.
    say : callable
        Receives one sentence at a time.

    Raises
    ------
    UsageError
        If the weights were made lighter before, the data are others, or on `valid` the lighter form costs more than
        .005 balanced accuracy, or more than .02 of a class's sensitivity.
    """
    check_out(out, resume=False)
    bundle = load_bundle(folder)
    whole = (folder / KERAS_FILE).is_file() or bundle.facts["training"].get("weight_bits") == 32
    if not whole or "slimmed" in bundle.facts:
        raise UsageError(f"The weights in {folder} do not have 32 bits; they were made lighter before.")
    data = with_labels_of(bundle, data)
    run = load_run_data(data, read_split(folder / SPLIT_FILE), bundle.frame, subsets=("train", "valid"))
    if run.data_hash != bundle.facts["data"]["pictures_sha256"]:
        raise UsageError(f"{data.path} does not hold the pictures and diagnoses that {bundle.name} was trained on.")
    out.mkdir(parents=True, exist_ok=True)
    remove_stale_temporaries(out)
    shrink_export(folder / EXPORT_FILE, out / EXPORT_FILE)
    write_folder_predictions(out, run.frames["valid"], data.labels, "valid")
    costs = compare_on_valid(folder, out, bundle)
    say(
        f"On valid, {costs['pictures']:,} pictures: {costs['changed']} have another most probable class, balanced "
        f"accuracy is less by {costs['balanced_accuracy']:.4f}, the sensitivity of a class by up to "
        f"{costs['sensitivity']:.4f}."
    )
    if costs["balanced_accuracy"] > MOST_BALANCED_ACCURACY or costs["sensitivity"] > MOST_SENSITIVITY:
        for part in (EXPORT_FILE, predictions_file("valid")):
            (out / part).unlink()
        raise UsageError(
            f"The lighter form costs too much: at most {MOST_BALANCED_ACCURACY} of balanced accuracy and "
            f"{MOST_SENSITIVITY} of a class's sensitivity are given up."
        )
    copied = (SPLIT_FILE, DATASET_FILE, LOG_FILE, RUN_FILE, REFERENCE_FILE, HEAD_FILE, PROBE_FILE)
    for part in copied:
        if (folder / part).is_file():
            shutil.copyfile(folder / part, out / part)
    answer = Session(out / EXPORT_FILE).run(frame_picture(read_picture(out / PROBE_FILE), bundle.frame))
    parts = [part for part in (*copied, predictions_file("valid")) if (out / part).is_file()]
    kept = ("data", "training", "calibration", "versions", "licence", "notes", "split", "members")
    return write_bundle(
        out,
        labels=bundle.labels,
        frame=bundle.frame,
        probe=dict(zip(bundle.labels.codes, answer[PROBABILITIES], strict=True)),
        facts={name: bundle.facts[name] for name in kept if name in bundle.facts}
        | ({"licence": licence} if licence else {})
        | ({"notes": list(notes)} if notes else {})
        | {
            "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "slimmed": {"from": bundle.fingerprint, "weights": "8 bits in large convolutions, else 16"} | costs,
        },
        parts=[part for part in parts if part != PROBE_FILE],
    )


def compare_on_valid(first: Path, second: Path, bundle: Bundle) -> dict[str, float | int]:
    """Return what the predictions for `valid` in a second folder are worse by than those in a first.

    ``balanced_accuracy``, ``sensitivity`` (of the class that loses most), ``changed`` (pictures with another most
    probable class) and ``pictures``.
    """
    tables = [read_predictions(folder / predictions_file("valid"), bundle.labels) for folder in (first, second)]
    truth = np.array([bundle.labels.index(code) for code in tables[0]["truth"]])
    chosen = [probability_matrix(table, bundle.labels).argmax(axis=1) for table in tables]
    recalls = [
        np.array([(answers[truth == index] == index).mean() for index in np.unique(truth)]) for answers in chosen
    ]
    lost = recalls[0] - recalls[1]
    return {
        "pictures": len(truth),
        "changed": int((chosen[0] != chosen[1]).sum()),
        "balanced_accuracy": round(float(lost.mean()), 4),
        "sensitivity": round(float(lost.max()), 4),
    }
