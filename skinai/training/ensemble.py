"""Several trained networks as one: their logits are averaged inside one graph, and calibrated together on `valid`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import layers

from skinai.artefacts import remove_stale_temporaries
from skinai.data.metadata import DataFolder
from skinai.data.split import SPLIT_FILE, check_split, read_near_duplicates, read_split
from skinai.errors import UsageError
from skinai.model.architectures import LOGITS
from skinai.model.bundle import EMBEDDING, FEATURE_MAP, KERAS_FILE, PROBABILITIES, Bundle, load_bundle
from skinai.model.export import load_keras_model
from skinai.training.calibration import Calibration, fit_calibration
from skinai.training.fit import class_prior, run_network
from skinai.training.record import LOG_FILE, list_versions
from skinai.training.run import as_subset, check_out, describe_licence, load_run_data, write_folder


def build_ensemble(
    members: Sequence[Path], data: DataFolder, out: Path, *, mirror: bool = False, say: Callable[[str], object] = print
) -> Bundle:
    """Write the model folder of an ensemble, all but the look at `test`.

    Parameters
    ----------
    members : sequence of Path
        Model folders of networks trained on the same split, with the same frame, label set and logit adjustment.
    data : DataFolder
        The data they were trained on; `valid` is read from it.
    out : Path
        The model folder; must not hold a finished model.
    mirror : bool
        Let every member answer for the mirrored picture too.
    say : callable
        Receives one sentence at a time.

    Raises
    ------
    UsageError
        If there are fewer than two members, they do not fit together, or `out` holds a model.
    """
    check_out(out, resume=False)
    bundles = [load_bundle(Path(member)) for member in members]
    _check_members(bundles)
    first = bundles[0]
    split = check_split(read_split(first.folder / SPLIT_FILE), data.table, read_near_duplicates(data.path))
    out.mkdir(parents=True, exist_ok=True)
    remove_stale_temporaries(out)
    run = load_run_data(data, split, first.frame, subsets=("train", "valid"))
    for remark in run.remarks:
        say(remark.sentence)
    train, valid = (as_subset(run.frames[subset], data.labels.codes) for subset in ("train", "valid"))
    networks = [_uncalibrated(bundle) for bundle in bundles]
    logits = np.mean([run_network(network, valid.pixels) for network in networks], axis=0)
    if mirror:
        mirrored = valid.pixels[:, :, ::-1]
        logits = (logits + np.mean([run_network(network, mirrored) for network in networks], axis=0)) / 2
    prior = class_prior(train.truth, len(data.labels))
    adjustment = first.facts["training"]["configuration"]["logit_adjustment"]
    calibration, tried = fit_calibration(logits, valid.truth, prior, logit_adjustment=adjustment)
    facts = {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": first.facts["data"],
        "training": {
            "ensemble": "mean of the members' logits"
            + (", each for the picture and its mirror image" if mirror else ""),
            "fit_seconds": sum(bundle.facts["training"]["fit_seconds"] for bundle in bundles),
            "parameters": sum(bundle.facts["training"]["parameters"] for bundle in bundles),
        },
        "members": [
            {"name": bundle.name, "fingerprint": bundle.fingerprint, "training": bundle.facts["training"]}
            for bundle in bundles
        ],
        "calibration": calibration.as_dict() | {"tried_on_valid": tried},
        "versions": list_versions(),
        "licence": describe_licence(data.labels),
    }
    logs = [pd.read_csv(bundle.folder / LOG_FILE).assign(member=bundle.name) for bundle in bundles]
    pd.concat(logs).to_csv(out / LOG_FILE, index=False, lineterminator="\n")
    model = join_networks(networks, calibration, mirror=mirror)
    return write_folder(model, first.frame, out, data, split, run, facts, keep_keras=False)


def join_networks(networks: Sequence[keras.Model], calibration: Calibration, *, mirror: bool) -> keras.Model:
    """Return one network whose logits are the mean of the others', calibrated, with a softmax behind.

    Parameters
    ----------
    networks : sequence of keras.Model
        Each gives logits and has layers called ``feature_map`` and ``embedding``.
    calibration : Calibration
    mirror : bool

    Returns
    -------
    keras.Model
        ``feature_map`` and ``embedding`` are those of the members, one behind the other along the channels, for the
        picture as it is.
    """
    pictures = keras.Input(networks[0].input.shape[1:], name="pictures")
    flipped = _Mirror(name="mirror")(pictures) if mirror else None
    parts: list[Any] = []
    feature_maps, embeddings = [], []
    for number, network in enumerate(networks):
        served = keras.Model(
            network.input,
            [network.output, network.get_layer(FEATURE_MAP).output, network.get_layer(EMBEDDING).output],
            name=f"member{number}",
        )
        logits, feature_map, embedding = served(pictures)
        parts.append(logits)
        feature_maps.append(feature_map)
        embeddings.append(embedding)
        if flipped is not None:
            parts.append(served(flipped)[0])
    mean = layers.Average(name=LOGITS)(parts)
    scaled = layers.Rescaling(
        1 / calibration.temperature,
        offset=[value / calibration.temperature for value in calibration.offset],
        name="calibration",
    )(mean)
    probabilities = layers.Softmax(name=PROBABILITIES, dtype="float32")(scaled)
    outputs = [probabilities, layers.Concatenate(name=FEATURE_MAP)(feature_maps)]
    outputs.append(layers.Concatenate(name=EMBEDDING)(embeddings))
    return keras.Model(pictures, outputs, name="ensemble")


class _Mirror(layers.Layer):
    """Reverse each picture from left to right."""

    def call(self, pictures: Any) -> Any:
        return keras.ops.flip(pictures, axis=2)


def _uncalibrated(bundle: Bundle) -> keras.Model:
    """Return a member's network with the calibration taken out of its last layer, giving logits."""
    model = load_keras_model(bundle.folder / KERAS_FILE)
    calibration = bundle.facts["calibration"]
    last = model.get_layer(LOGITS)
    kernel, bias = last.get_weights()
    temperature = calibration["temperature"]
    last.set_weights([kernel * temperature, bias * temperature - np.array(calibration["offset"])])
    return keras.Model(model.input, last.output)


def _check_members(bundles: Sequence[Bundle]) -> None:
    if len(bundles) < 2:
        raise UsageError(f"An ensemble has two members or more. Received: {len(bundles)}.")
    if len({bundle.fingerprint for bundle in bundles}) < len(bundles):
        raise UsageError("A member is named twice.")
    first = bundles[0]
    for bundle in bundles:
        if not (bundle.folder / KERAS_FILE).is_file():
            raise UsageError(f"{bundle.folder} has no {KERAS_FILE}, so it cannot be a member.")
        for what, mine, other in (
            ("frame rule", bundle.frame, first.frame),
            ("label set", bundle.labels, first.labels),
            ("split", bundle.facts["files"][SPLIT_FILE], first.facts["files"][SPLIT_FILE]),
            ("pictures", bundle.facts["data"]["pictures_sha256"], first.facts["data"]["pictures_sha256"]),
            (
                "logit adjustment",
                bundle.facts["training"]["configuration"]["logit_adjustment"],
                first.facts["training"]["configuration"]["logit_adjustment"],
            ),
        ):
            if mine != other:
                raise UsageError(f"{bundle.name} and {first.name} differ in their {what}.")
