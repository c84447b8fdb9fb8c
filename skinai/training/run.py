"""One run from a data folder to a model folder, and the one look at `test` that follows it."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image

from skinai.artefacts import hash_file, predictions_file, remove_stale_temporaries, write_atomic, write_json
from skinai.data.drawing import draw_lesion
from skinai.data.images import FrameRule, frame_picture
from skinai.data.metadata import DataFolder, Remark
from skinai.data.predictions import GATE_COLUMN, build_predictions, read_predictions, write_predictions
from skinai.data.split import SPLIT_FILE, SUBSETS, check_split, read_near_duplicates, read_split
from skinai.data.summary import DATASET_FILE, build_summary
from skinai.data.tables import listed
from skinai.errors import DataError, UsageError
from skinai.labels import HAM10000, LabelSet
from skinai.model.architectures import LOGITS, find_architecture, finish_network
from skinai.model.bundle import (
    BUNDLE_FILE,
    EMBEDDING,
    EXPORT_FILE,
    KERAS_FILE,
    PROBABILITIES,
    PROBE_FILE,
    Bundle,
    load_bundle,
    write_bundle,
)
from skinai.model.efficientnet_lite import find_imagenet_weights, load_imagenet_weights
from skinai.model.export import export_litert, save_keras_model
from skinai.model.gates import Gates, build_features, read_gates
from skinai.model.head import HEAD_FILE, write_head
from skinai.model.reference import REFERENCE_FILE, build_reference, read_reference, take_print, write_reference
from skinai.model.session import Session
from skinai.training.calibration import fit_calibration, log_softmax
from skinai.training.cases import write_folder_cases
from skinai.training.checkpoint import CHECKPOINT_FILE
from skinai.training.config import TrainingConfig
from skinai.training.fit import (
    Subset,
    check_init,
    choose_precision,
    class_prior,
    configured_architecture,
    fit_network,
    kept_epoch,
    run_network,
)
from skinai.training.frames import Frames, frame_cache, load_frames
from skinai.training.peers import ALONE, Peers
from skinai.training.pretraining import (
    Pretrained,
    PretrainingConfig,
    check_pretraining,
    pretrain_network,
    read_pretrained,
)
from skinai.training.record import LOG_FILE, RUN_FILE, list_versions, start_record

BOARD_FOLDER, BOARD_FILE = "tensorboard", "events.out.tfevents.0.skinai"
LOOKS_FILE = "TEST_LOG.md"
_LOOKS_HEAD = """# Looks at the test subset

One row for each time that a model answered for `test`. A model is shown `test` once; every choice is made on `valid`.

| UTC | model | fingerprint | pictures | split | purpose |
|---|---|---|---|---|---|
"""
PROBE_SEED = 7
_WITHOUT_A_CLASS = {
    "valid": "its probabilities are not checked before test",
    "test": "the report says nothing of it",
}
_LICENCE = (
    "Weights trained on HAM10000 (Tschandl et al. 2018, doi:10.7910/DVN/DBW86T, CC BY-NC 4.0): "
    "non-commercial use only, see models/LICENSE. Not a medical device."
)


@dataclass(frozen=True)
class RunData:
    """The pictures of a run.

    Attributes
    ----------
    frames : dict
        Subset name to its frames.
    data_hash : str
        SHA-256 over the ids, subsets, diagnoses and contents of these pictures, and the mark that is covered in them.
    unreadable : dict
        `image_id` to the reason, for the pictures left out.
    remarks : tuple of Remark
    """

    frames: dict[str, Frames]
    data_hash: str
    unreadable: dict[str, str]
    remarks: tuple[Remark, ...]


def train_model(
    config: TrainingConfig,
    data: DataFolder,
    split: pd.DataFrame,
    out: Path,
    *,
    resume: bool = False,
    by_picture: bool = False,
    teacher: Path | None = None,
    pretrained: Path | None = None,
    licence: str | None = None,
    notes: Sequence[str] = (),
    verbose: bool = True,
    say: Callable[[str], object] = print,
    peers: Peers = ALONE,
) -> Bundle | None:
    """Train a network and write its model folder, all but the look at `test`.

    Parameters
    ----------
    config : TrainingConfig
    data : DataFolder
    split : DataFrame
        See :mod:`skinai.data.split`.
    out : Path
        The model folder; must not hold a finished model.
    resume : bool
        Go on with the interrupted run in `out`; where it was interrupted before an epoch had ended, from the beginning.
    by_picture : bool
        The split is by picture and leaks on purpose; see :func:`skinai.data.split.split_pictures`.
    teacher : Path, optional
        Model folder whose answers for `train` are learned beside the diagnoses.
    pretrained : Path, optional
        File of :func:`skinai.training.pretraining.pretrain_network` to start from.
    licence : str, optional
        Under which terms the weights may be used; default: what follows from the data.
    notes : sequence of str
        What else is to be known of the data, a sentence each; shown on the model card and on the About page.
    verbose : bool
        Show progress bars.
    say : callable
        Receives one sentence at a time.
    peers : Peers
        The processes that train together; each sees the same data and the same folder `out`.

    Returns
    -------
    Bundle or None
        None in a process that only helped the first one.

    Raises
    ------
    UsageError
        If `out` holds a finished model, or an interrupted run and `resume` is not set, or the reverse; if the teacher
        has other classes or frames, or was trained on pictures of `valid` or `test`; if the processes that train
        together have other data or configurations.
    DataError
        If the split leaks, leaves `train` or `valid` without pictures, or `train` without any of a class.
    """
    check_out(out, resume=resume)
    resume = resume and (out / CHECKPOINT_FILE).exists()
    check_init(config)
    if not by_picture:
        split = check_split(split, data.table, read_near_duplicates(data.path))
    if not peers.is_first:
        verbose, say = False, lambda sentence: None
    architecture, codes = configured_architecture(config), data.labels.codes
    if teacher is None and config.teacher:
        raise UsageError("A teacher is a model folder: give --teacher FOLDER.")
    if teacher is not None:
        config = replace(config, teacher=check_teacher(teacher, data, split, architecture.frame).fingerprint)
    initial = None
    if (pretrained is None) == (config.init == "pretrained"):
        raise UsageError("Pre-trained weights come from a file: give --init FILE.")
    if pretrained is not None:
        initial = check_pretrained(pretrained, config.architecture, split)
        done, wanted = initial.facts.get("epochs"), initial.facts["configuration"].get("epochs")
        if done != wanted:
            say(f"{pretrained.name} holds the weights after {done} of the {wanted} epochs of its pre-training.")
        config = replace(config, pretrained=hash_file(pretrained))
    with peers.first_goes_first():  # the others find what it has decoded
        out.mkdir(parents=True, exist_ok=True)
        if peers.is_first:
            remove_stale_temporaries(out)
        run = load_run_data(data, split, architecture.frame, subsets=("train", "valid"), verbose=verbose)
    run = tell_absent_classes(add_unreadable_test_pictures(run, data, split), data, split)
    if not peers.agree((config.as_json(), choose_precision(config), run.data_hash)):
        raise UsageError("The processes that train together have other pictures, another split or configuration.")
    for remark in run.remarks:
        say(remark.sentence)
    train, valid = (as_subset(run.frames[subset], codes) for subset in ("train", "valid"))
    with peers.first_goes_first():  # the others read what it has written
        record = start_record(
            out,
            configuration=config.as_dict(),
            precision=choose_precision(config),
            data_hash=run.data_hash,
            pictures={subset: len(frames.table) for subset, frames in run.frames.items()},
            by_picture=by_picture,
            resume=resume or not peers.is_first,
        )
    if teacher is not None:
        say("Asking the teacher.")
    network, history = fit_network(
        config,
        train,
        valid,
        class_count=len(codes),
        checkpoint_path=out / CHECKPOINT_FILE,
        data_hash=run.data_hash,
        taught=None if teacher is None else ask_teacher(teacher, train, config, peers),
        initial=initial,
        resume=resume,
        verbose=verbose,
        on_epoch=lambda rows: _write_log(rows, out),
        peers=peers,
    )
    if not peers.is_first:
        return None
    # A run that was killed after its last checkpoint has not written the last row yet.
    _write_log(history, out)
    prior = class_prior(train.truth, len(codes))
    calibration, calibrations = fit_calibration(
        run_network(network, valid.pixels), valid.truth, prior, removed=config.removed_prior
    )
    model = finish_network(network, offset=np.array(calibration.offset), temperature=calibration.temperature)
    facts = {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {
            "name": data.labels.name,
            "metadata_sha256": data.metadata_hash,
            "pictures_sha256": run.data_hash,
            "listed": len(data.table),
            "train": len(train.truth),
            "valid": len(valid.truth),
        }
        | ({} if data.mark is None else {"mark": list(data.mark)})
        | ({"by_picture": True} if by_picture else {}),
        "training": {
            "configuration": config.as_dict(),
            "epochs": len(history),
            "best_epoch": kept_epoch(history, config),
            "fit_seconds": round(sum(row["seconds"] for row in history)),
            "parameters": int(model.count_params()),
            "precision": record["precision"],
            "commit": record["commit"],
            "machine": record["machine"],
        },
        "calibration": calibration.as_dict() | {"tried_on_valid": calibrations},
        "versions": list_versions(),
        "licence": licence or describe_licence(data.labels),
        "notes": list(notes),
    }
    head = model.get_layer(LOGITS).get_weights()[0] if architecture.is_pooled else None
    bundle = write_folder(model, architecture.frame, out, data, split, run, facts, head=head)
    (out / CHECKPOINT_FILE).unlink(missing_ok=True)
    return bundle


def check_teacher(folder: Path, data: DataFolder, split: pd.DataFrame, rule: FrameRule) -> Bundle:
    """Return the teacher in a folder, if it may teach.

    Raises
    ------
    UsageError
        If it has other classes or frames, or was trained on pictures that are `valid` or `test` here: then it would
        tell what is to be found out.
    """
    bundle = load_bundle(folder)
    if bundle.labels.codes != data.labels.codes or bundle.frame != rule:
        raise UsageError(f"{bundle.name} cannot teach: it has other classes, or pictures of another size.")
    kept = set(split.loc[split["subset"] != "train", "image_id"])
    learned = read_split(folder / SPLIT_FILE)
    leaked = sorted(kept & set(learned.loc[learned["subset"] == "train", "image_id"]))
    if leaked:
        raise UsageError(f"{bundle.name} cannot teach: it was trained on pictures of valid or test: {listed(leaked)}.")
    return bundle


def check_pretrained(path: Path, architecture: str, split: pd.DataFrame) -> Pretrained:
    """Return pre-trained weights, if a run may start from them.

    Raises
    ------
    UsageError
        If there are none, they are another network's, or pictures were learned from that are `valid` or `test` here.
    ModelError
        If the file is damaged.
    """
    initial = read_pretrained(path)
    theirs = initial.facts.get("configuration", {}).get("architecture")
    if theirs != architecture:
        raise UsageError(f"{path} holds weights of {theirs}, not of {architecture}.")
    leaked = sorted(initial.image_ids & set(split.loc[split["subset"] != "train", "image_id"]))
    if leaked:
        raise UsageError(f"{path} was pre-trained on pictures of valid or test: {listed(leaked)}.")
    return initial


def pretrain(
    config: PretrainingConfig,
    data: DataFolder,
    split: pd.DataFrame,
    out: Path,
    *,
    imagenet: bool = True,
    resume: bool = False,
) -> list[float]:
    """Pre-train a network on the pictures of `train`, whose diagnoses it does not see; return the losses.

    Raises
    ------
    UsageError
        If `out` exists and `resume` is not set, or the reverse: there is no interrupted pre-training.
    DataError
        If the split leaks or leaves `train` without pictures.
    ModelError
        If ImageNet weights are asked for and not installed.
    """
    check_pretraining(out, resume=resume)
    split = check_split(split, data.table, read_near_duplicates(data.path))
    architecture = find_architecture(config.architecture)
    weights = find_imagenet_weights(architecture.imagenet) if imagenet and architecture.imagenet else None
    run = load_run_data(data, split, architecture.frame, subsets=("train",), verbose=True)
    table = run.frames["train"].table
    return pretrain_network(
        config,
        run.frames["train"].pixels,
        table["lesion_id"].to_numpy(),
        table["image_id"].to_numpy(),
        out,
        data_hash=run.data_hash,
        initial=lambda network: weights and load_imagenet_weights(network, weights),
        resume=resume,
    )


def ask_teacher(folder: Path, train: Subset, config: TrainingConfig, peers: Peers = ALONE) -> np.ndarray:
    """Return a model's answers for `train` as they would be under the prior of `train`, shape (n, classes)."""
    bundle, cores = load_bundle(folder), os.cpu_count() or 1
    session = Session(folder / EXPORT_FILE, threads=1, copies=cores)
    with ThreadPoolExecutor(cores) as pool:
        rows = list(pool.map(lambda frame: session.run(frame)[PROBABILITIES], peers.share(train.pixels)))
    answers = peers.join(np.array(rows, dtype=np.float64).reshape(len(rows), len(bundle.labels.codes)))
    calibration = bundle.facts["calibration"]
    prior = class_prior(train.truth, answers.shape[1])
    logits = np.log(answers + 1e-9) + (1 - calibration["exponent"]) / calibration["temperature"] * np.log(prior)
    return np.exp(log_softmax(logits / config.teacher_temperature)).astype(np.float32)


def look_at_test(
    folder: Path,
    data: DataFolder,
    *,
    purpose: str,
    by_picture: bool = False,
    verbose: bool = True,
    say: Callable[[str], object] = print,
) -> Path:
    """Predict the `test` subset, once, and log the look beside the model folder.

    Parameters
    ----------
    folder : Path
        A model folder without ``predictions_test.csv``.
    data : DataFolder
    purpose : str
        Why `test` is looked at; goes into ``TEST_LOG.md``.
    by_picture : bool
        The split of the model is by picture.
    verbose : bool
        Show a progress bar.
    say : callable
        Receives one sentence at a time.

    Returns
    -------
    Path
        The table written.

    Raises
    ------
    UsageError
        If `test` has been looked at with this model.
    """
    bundle = load_bundle(folder)
    path = folder / predictions_file("test")
    if path.exists():
        raise UsageError(f"{path} exists: test is looked at once for a model.")
    data = with_labels_of(bundle, data)
    split = read_split(folder / SPLIT_FILE, by_picture=by_picture)
    run = load_run_data(data, split, bundle.frame, subsets=("test",), verbose=verbose)
    for remark in run.remarks:
        say(remark.sentence)
    log_look(folder, bundle, pictures=len(run.frames["test"].table), purpose=purpose)
    gates = read_gates(folder, fingerprint=bundle.fingerprint)
    # The predictions come last: where they are, the look is over.
    write_folder_cases(folder, run.frames["test"])
    write_folder_predictions(folder, run.frames["test"], data.labels, "test", gates=gates)
    return path


def describe_cases(folder: Path, data: DataFolder) -> None:
    """Write ``cases_test.csv.gz`` of a model that was tested before there was such a file; no probability is looked at.

    Raises
    ------
    UsageError
        If the model has other classes than the data, or has not answered for exactly these pictures of `test`: finding
        the nearest training cases of others would be a look at `test`.
    """
    bundle = load_bundle(folder)
    data = with_labels_of(bundle, data)
    path = folder / predictions_file("test")
    if not path.is_file():
        raise UsageError(
            f"{bundle.name} has not been shown test yet; `evaluate --data DIR` does it, and writes its cases."
        )
    tested = set(read_predictions(path, bundle.labels)["image"])
    run = load_run_data(data, read_split(folder / SPLIT_FILE), bundle.frame, subsets=("test",))
    missing = sorted(tested ^ set(run.frames["test"].table["image_id"]))
    if missing:
        raise UsageError(f"The pictures of test here are not those that the model was tested on: {listed(missing)}.")
    write_folder_cases(folder, run.frames["test"])


def with_labels_of(bundle: Bundle, data: DataFolder) -> DataFolder:
    """Return the data with the model's label set, which knows its malignant classes, and with the mark that it covered.

    Raises
    ------
    UsageError
        If the data have other classes than the model, or another mark.
    """
    if data.labels.codes != bundle.labels.codes:
        raise UsageError(
            f"{bundle.name} has the classes {list(bundle.labels.codes)} and the data have {list(data.labels.codes)}."
        )
    if data.mark is not None and data.mark != bundle.mark:
        covered = "no mark" if bundle.mark is None else f"the mark {list(bundle.mark)}"
        raise UsageError(f"{bundle.name} was trained with {covered} covered, not with {list(data.mark)}.")
    return replace(data, labels=bundle.labels, mark=bundle.mark)


def remove_weights(folder: Path) -> None:
    """Leave of a model folder what shows how it answered: predictions, report, split, log and record."""
    for part in (BUNDLE_FILE, KERAS_FILE, EXPORT_FILE, PROBE_FILE, DATASET_FILE, REFERENCE_FILE, HEAD_FILE):
        (folder / part).unlink(missing_ok=True)


def _write_reference(model: keras.Model, out: Path, frames: Frames) -> None:
    embedding = run_network(keras.Model(model.input, model.get_layer(EMBEDDING).output), frames.pixels)
    image_ids, lesion_ids, codes = (frames.table[column].to_numpy() for column in ("image_id", "lesion_id", "dx"))
    prints = np.stack([take_print(frame) for frame in frames.pixels])
    methods = frames.table["dx_type"].to_numpy() if "dx_type" in frames.table.columns else None
    index = build_reference(embedding, image_ids, lesion_ids, codes, prints, methods)
    write_reference(index, out / REFERENCE_FILE)


def write_folder_predictions(
    folder: Path, frames: Frames, labels: LabelSet, subset: str, *, gates: Gates | None = None
) -> None:
    """Let the export answer for every frame, so that what is evaluated is what is served; so for the gate."""
    session = Session(folder / EXPORT_FILE)
    reference = read_reference(folder / REFERENCE_FILE) if gates is not None else None
    probabilities, refused = [], []
    for frame in frames.pixels:
        answer = session.run(frame)
        probabilities.append(answer[PROBABILITIES])
        if gates is not None and reference is not None:
            refused.append(gates.judge(build_features(frame, answer[EMBEDDING], reference)).reason or "")
    table = build_predictions(frames.table, np.stack(probabilities), labels)
    if gates is not None:
        table[GATE_COLUMN] = refused
    write_predictions(table, folder / predictions_file(subset))


def load_run_data(
    data: DataFolder, split: pd.DataFrame, rule: FrameRule, *, subsets: tuple[str, ...], verbose: bool = False
) -> RunData:
    """Decode the pictures of the named subsets, with the mark of the data covered."""
    rows = data.present.merge(split[["image_id", "group", "subset"]], on="image_id", how="left")
    remarks = list(data.remarks)
    outside = rows.loc[rows["subset"].isna(), "image_id"]
    if len(outside):
        remarks.append(
            Remark("not_split", f"{len(outside)} pictures are not in the split: {listed(outside)}; left out.")
        )
    rows = rows[rows["subset"].isin(subsets)]
    bar = keras.utils.Progbar(len(rows), unit_name="picture", verbose=int(verbose and sys.stdout.isatty()))
    rows = rows.reset_index(drop=True)
    loaded = load_frames(rows, rule, mark=data.mark, cache=frame_cache(), on_progress=bar.update)
    _refuse_vanished(rows, loaded.unreadable)
    for image_id, reason in loaded.unreadable.items():
        remarks.append(_unreadable_remark(image_id, reason))
    frames = {}
    digest = hashlib.sha256()
    if data.mark is not None:
        digest.update(f"mark {list(data.mark)}\n".encode())
    for subset in subsets:
        mask = (loaded.table["subset"] == subset).to_numpy()
        if not mask.any():
            raise DataError(f"The split leaves no readable picture in {subset}.")
        hashes = [file_hash for file_hash, inside in zip(loaded.hashes, mask, strict=True) if inside]
        frames[subset] = Frames(loaded.table[mask].reset_index(drop=True), loaded.pixels[mask], hashes, {})
        rows_read = frames[subset].table
        for image_id, dx, file_hash in zip(rows_read["image_id"], rows_read["dx"], hashes, strict=True):
            digest.update(f"{image_id} {subset} {dx} {file_hash}\n".encode())
    return RunData(frames, digest.hexdigest(), loaded.unreadable, tuple(remarks))


def as_subset(frames: Frames, codes: tuple[str, ...]) -> Subset:
    """Return frames with their classes as indices of `codes`."""
    index = {code: position for position, code in enumerate(codes)}
    return Subset(frames.pixels, np.array([index[code] for code in frames.table["dx"]], dtype=np.int64))


def describe_licence(labels: LabelSet) -> str:
    """Return under which terms weights trained on this data may be used."""
    if labels.name == HAM10000.name:
        return _LICENCE
    return (
        f"Weights trained on {labels.name}: the rights in its pictures decide who may use them. Not a medical device."
    )


def check_out(out: Path, *, resume: bool) -> None:
    """Refuse a folder that holds a finished model, or an interrupted run that is not to go on, or none that is."""
    if (out / BUNDLE_FILE).exists():
        raise UsageError(f"{out} holds a finished model; name another folder or remove it first.")
    if (out / predictions_file("test")).exists():
        raise UsageError(f"{out} holds the predictions of another run; name another folder or remove it first.")
    interrupted = (out / CHECKPOINT_FILE).exists()
    if interrupted and not resume:
        raise UsageError(f"{out} holds an interrupted run; give --resume to go on, or remove the folder first.")
    if resume and not interrupted and not (out / RUN_FILE).exists():
        raise UsageError(f"There is no interrupted run in {out}: {RUN_FILE} and {CHECKPOINT_FILE} are missing.")


def tell_absent_classes(run: RunData, data: DataFolder, split: pd.DataFrame) -> RunData:
    """Return the run with a remark for each class that no readable picture of `valid` or `test` has.

    Raises
    ------
    DataError
        If `train` has none: a network would answer for a class that it has never seen.
    """
    rows = data.present.merge(split[["image_id", "subset"]], on="image_id")
    rows = rows[~rows["image_id"].isin(run.unreadable)]
    remarks = []
    for subset in SUBSETS:
        seen = set(rows.loc[rows["subset"] == subset, "dx"])
        absent = [code for code in data.labels.codes if code not in seen]
        sentence = f"The split leaves no readable picture of {listed(absent)} in {subset}"
        if absent and subset == "train":
            raise DataError(f"{sentence}.")
        if absent:
            remarks.append(Remark("class_absent", f"{sentence}: {_WITHOUT_A_CLASS[subset]}.", len(absent)))
    return replace(run, remarks=(*run.remarks, *remarks))


def add_unreadable_test_pictures(run: RunData, data: DataFolder, split: pd.DataFrame) -> RunData:
    """Find the test pictures that cannot be decoded, so that they are told and not counted; nothing is predicted."""
    rows = data.present[data.present["image_id"].isin(split.loc[split["subset"] == "test", "image_id"])]
    unreadable = load_frames(rows, FrameRule(32, 24), mark=data.mark, cache=frame_cache()).unreadable
    _refuse_vanished(rows, unreadable)
    remarks = tuple(_unreadable_remark(image_id, reason) for image_id, reason in unreadable.items())
    return replace(run, unreadable=run.unreadable | unreadable, remarks=run.remarks + remarks)


def _refuse_vanished(rows: pd.DataFrame, unreadable: Mapping[str, str]) -> None:
    """Refuse to go on with the rest where pictures went away after they had been listed, as a lost disk's do."""
    listed_at = dict(zip(rows["image_id"], rows["path"], strict=True))
    gone = [image_id for image_id in unreadable if not Path(listed_at[image_id]).exists()]
    if gone:
        raise DataError(f"{len(gone):,} listed pictures went away before they were read: {listed(gone)}.")


def _unreadable_remark(image_id: str, reason: str) -> Remark:
    return Remark("unreadable", f"{image_id} could not be read and is left out: {reason}")


def write_folder(
    model: keras.Model,
    frame: FrameRule,
    out: Path,
    data: DataFolder,
    split: pd.DataFrame,
    run: RunData,
    facts: dict[str, Any],
    *,
    head: np.ndarray | None,
    with_keras_file: bool = True,
    half_weights: bool = False,
) -> Bundle:
    """Write every part, and ``bundle.json`` last: a folder without it is no model.

    `head` holds the last layer's weights, shape (channels, classes), where it follows a global average.
    """
    if with_keras_file:
        save_keras_model(model, out / KERAS_FILE)
    export_litert(model, out / EXPORT_FILE, half_weights=half_weights)
    write_atomic(out / SPLIT_FILE, split.to_csv(index=False, lineterminator="\n"))
    write_folder_predictions(out, run.frames["valid"], data.labels, "valid")
    _write_reference(model, out, run.frames["train"])
    if head is not None:
        write_head(head, out / HEAD_FILE)
    remarks = tuple(remark.sentence for remark in run.remarks)
    write_json(out / DATASET_FILE, build_summary(data, split, unreadable=run.unreadable, remarks=remarks))
    probe = _write_probe(out)
    answer = Session(out / EXPORT_FILE).run(frame_picture(probe, frame))[PROBABILITIES]
    parts = (SPLIT_FILE, predictions_file("valid"), DATASET_FILE, LOG_FILE, RUN_FILE, REFERENCE_FILE, HEAD_FILE)
    return write_bundle(
        out,
        labels=data.labels,
        frame=frame,
        probe=dict(zip(data.labels.codes, answer, strict=True)),
        facts=facts | {"split": split["subset"].value_counts().sort_index().to_dict()},
        parts=[part for part in parts if (out / part).exists()],
    )


def _write_log(history: list[dict[str, Any]], out: Path) -> None:
    write_atomic(out / LOG_FILE, pd.DataFrame(history).to_csv(index=False, lineterminator="\n"))
    write_atomic(out / BOARD_FOLDER / BOARD_FILE, lambda path: _write_events(history, path))


def _write_events(history: list[dict[str, Any]], path: Path) -> None:
    """Write TensorBoard's event file anew: the same rows give the same bytes, so a resumed run has no gap."""
    seconds = 0.0
    with tf.io.TFRecordWriter(str(path)) as file:
        file.write(tf.compat.v1.Event(file_version="brain.Event:2").SerializeToString())
        for row in history:
            seconds += row["seconds"]
            values = [tf.compat.v1.Summary.Value(tag=name, simple_value=value) for name, value in row.items()]
            event = tf.compat.v1.Event(wall_time=seconds, step=row["epoch"], summary=tf.compat.v1.Summary(value=values))
            file.write(event.SerializeToString())


def _write_probe(out: Path) -> np.ndarray:
    probe = draw_lesion(PROBE_SEED, width_px=300, height_px=225)
    buffer = io.BytesIO()
    Image.fromarray(probe).save(buffer, format="PNG", optimize=True)
    write_atomic(out / PROBE_FILE, buffer.getvalue())
    return probe


def log_look(folder: Path, bundle: Bundle, *, pictures: int, purpose: str) -> None:
    """Append to the list of looks beside a model folder before one is taken, so that an interrupted one counts too."""
    path = folder.resolve().parent / LOOKS_FILE
    text = path.read_text(encoding="utf-8") if path.exists() else _LOOKS_HEAD
    now = datetime.now(UTC).isoformat(timespec="seconds")
    split_hash = hash_file(folder / SPLIT_FILE)[:12]
    cells = (now, bundle.name, bundle.fingerprint, str(pictures), split_hash, purpose)
    row = " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    write_atomic(path, f"{text}| {row} |\n")
