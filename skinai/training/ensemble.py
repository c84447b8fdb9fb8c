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

from skinai.artefacts import remove_stale_temporaries, write_atomic
from skinai.data.images import FrameRule
from skinai.data.metadata import DataFolder
from skinai.data.split import SPLIT_FILE, check_split, read_near_duplicates, read_split
from skinai.errors import UsageError
from skinai.model.architectures import LOGITS, build_network, find_architecture
from skinai.model.bundle import EMBEDDING, FEATURE_MAP, KERAS_FILE, PROBABILITIES, Bundle, load_bundle
from skinai.model.export import load_keras_model
from skinai.training.calibration import Calibration, fit_calibration
from skinai.training.config import removed_prior
from skinai.training.fit import class_prior, run_network
from skinai.training.record import LOG_FILE, list_versions
from skinai.training.run import (
    add_unreadable_test_pictures,
    as_subset,
    check_out,
    load_run_data,
    tell_absent_classes,
    with_labels_of,
    write_folder,
)


def build_ensemble(
    members: Sequence[Path],
    data: DataFolder,
    out: Path,
    *,
    views: Sequence[str] = ("plain",),
    full_weights: bool = False,
    say: Callable[[str], object] = print,
) -> Bundle:
    """Write the model folder of an ensemble, all but the look at `test`.

    Parameters
    ----------
    members : sequence of Path
        Model folders of networks trained on the same split, with the same frame, label set and treatment of the
        class prior.
    data : DataFolder
        The data they were trained on; `valid` is read from it.
    out : Path
        The model folder; must not hold a finished model.
    views : sequence of str
        Names in `VIEWS`: every member answers for each view. The first is the one whose feature map and embedding are
        kept.
    full_weights : bool
        Keep the weights in 32 bits, for :func:`skinai.training.slim.slim_model`; by default they take 16 bits, in which
        several networks fit into a model folder.
    say : callable
        Receives one sentence at a time.

    Raises
    ------
    UsageError
        If members and views leave one answer only, a view is unknown, members do not fit together, or `out` holds a
        model.
    """
    check_out(out, resume=False)
    bundles = [load_bundle(Path(member)) for member in members]
    check_views(views)
    _check_members(bundles, answers=len(bundles) * len(views))
    first = bundles[0]
    data = with_labels_of(first, data)
    split = check_split(read_split(first.folder / SPLIT_FILE), data.table, read_near_duplicates(data.path))
    run = load_run_data(data, split, first.frame, subsets=("train", "valid"))
    run = tell_absent_classes(add_unreadable_test_pictures(run, data, split), data, split)
    for remark in run.remarks:
        say(remark.sentence)
    train, valid = (as_subset(run.frames[subset], data.labels.codes) for subset in ("train", "valid"))
    any_size = any(view in _OF_ANOTHER_SIZE for view in views)
    networks = [_uncalibrated(bundle, any_size=any_size) for bundle in bundles]
    if run.data_hash != first.facts["data"]["pictures_sha256"]:
        raise UsageError(f"{data.path} does not hold the pictures and diagnoses that the members were trained on.")
    out.mkdir(parents=True, exist_ok=True)
    remove_stale_temporaries(out)
    neutral = Calibration(0.0, 1.0, (0.0,) * len(data.labels))
    averaged = join_networks(networks, first.frame, views, neutral)
    logits = run_network(keras.Model(averaged.input, averaged.get_layer(LOGITS).output), valid.pixels)
    prior = class_prior(train.truth, len(data.labels))
    removed = removed_prior(first.facts["training"]["configuration"])
    calibration, tried = fit_calibration(logits, valid.truth, prior, removed=removed)
    facts = {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": first.facts["data"],
        "training": {
            "ensemble": "mean of the members' logits for each view",
            "views": list(views),
            "weight_bits": 32 if full_weights else 16,
            "fit_seconds": sum(bundle.facts["training"]["fit_seconds"] for bundle in bundles),
            "parameters": sum(bundle.facts["training"]["parameters"] for bundle in bundles),
        },
        "members": [
            {"name": bundle.name, "fingerprint": bundle.fingerprint, "training": bundle.facts["training"]}
            for bundle in bundles
        ],
        "calibration": calibration.as_dict() | {"tried_on_valid": tried},
        "versions": list_versions(),
        "licence": first.facts["licence"],
        "notes": list(first.notes),
    }
    logs = [pd.read_csv(bundle.folder / LOG_FILE).assign(member=bundle.name) for bundle in bundles]
    write_atomic(out / LOG_FILE, pd.concat(logs).to_csv(index=False, lineterminator="\n"))
    model = join_networks(networks, first.frame, views, calibration)
    # A map of the close view would be stretched over the whole frame.
    head = join_heads(bundles, networks, calibration) if views[0] != "close" else None
    return write_folder(
        model,
        first.frame,
        out,
        data,
        split,
        run,
        facts,
        head=head,
        with_keras_file=False,
        half_weights=not full_weights,
    )


def check_views(views: Sequence[str]) -> None:
    """Refuse a list of views that is empty, repeats one, names an unknown one, or starts with one that is turned.

    Raises
    ------
    UsageError
    """
    unknown = [view for view in views if view not in VIEWS]
    if unknown or not views or len(set(views)) < len(views):
        raise UsageError(f"Views are some of {list(VIEWS)}, each once. Received: {list(views)}.")
    if views[0] not in _UPRIGHT:
        raise UsageError(f"The first view is one of {list(_UPRIGHT)}. Received: {views[0]!r}.")


def join_networks(
    networks: Sequence[keras.Model], frame: FrameRule, views: Sequence[str], calibration: Calibration
) -> keras.Model:
    """Return the network that is exported: calibrated probabilities, feature maps and embeddings.

    Returns
    -------
    keras.Model
        ``feature_map`` and ``embedding`` are those of the members for the first view, one behind the other along the
        channels.
    """
    inside = [
        keras.Model(
            network.input,
            [network.output, network.get_layer(FEATURE_MAP).output, network.get_layer(EMBEDDING).output],
        )
        for network in networks
    ]
    pictures = keras.Input((frame.height_px, frame.width_px, 3), name="pictures")
    shown = [View(view, name=f"view_{view}")(pictures) for view in views]
    answers = [[network(view) for view in shown] for network in inside]
    logits = [logits for member in answers for logits, _, _ in member]
    mean = layers.Average(name=LOGITS)(logits)
    offset = [value / calibration.temperature for value in calibration.offset]
    scaled = layers.Rescaling(1 / calibration.temperature, offset=offset, name="calibration")(mean)
    outputs = [layers.Softmax(name=PROBABILITIES, dtype="float32")(scaled)]
    for position, name in ((1, FEATURE_MAP), (2, EMBEDDING)):
        parts = [member[0][position] for member in answers]
        joined = layers.Concatenate(name=name)(parts) if len(parts) > 1 else layers.Identity(name=name)(parts[0])
        outputs.append(joined)
    return keras.Model(pictures, outputs, name="ensemble")


def join_heads(
    bundles: Sequence[Bundle], networks: Sequence[keras.Model], calibration: Calibration
) -> np.ndarray | None:
    """Return the last layers' weights for the joined feature map, shape (channels, classes), calibrated.

    They give the members' mean answer for the first view. None where a member has no global average.
    """
    names = [bundle.facts["training"]["configuration"]["architecture"] for bundle in bundles]
    if not all(find_architecture(name).is_pooled for name in names):
        return None
    kernels = [network.get_layer(LOGITS).get_weights()[0] for network in networks]
    return np.concatenate(kernels) / len(kernels) / calibration.temperature


class View(layers.Layer):
    """The same picture, looked at differently.

    Parameters
    ----------
    view : str
        One of `VIEWS`.
    """

    def __init__(self, view: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.view = view

    def call(self, pictures: Any) -> Any:
        return VIEWS[self.view](pictures)


def _show_close(pictures: Any) -> Any:
    """Enlarge the middle eight tenths of each side."""
    height, width = pictures.shape[1:3]
    top, left = height // 10, width // 10
    middle = pictures[:, top : height - top, left : width - left]
    return keras.ops.image.resize(middle, (height, width), interpolation="bilinear")


def _show_small(pictures: Any) -> Any:
    """Reduce each picture to about the scale of the widest training crop, 160 of 192 pixels."""
    size = tuple(round(side * 0.8125) for side in pictures.shape[1:3])
    return keras.ops.image.resize(pictures, size, interpolation="bilinear")


VIEWS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda pictures: pictures,
    "mirrored": lambda pictures: keras.ops.flip(pictures, axis=2),
    "upside_down": lambda pictures: keras.ops.flip(pictures, axis=1),
    "turned": lambda pictures: keras.ops.transpose(pictures, (0, 2, 1, 3)),
    "close": _show_close,
    "small": _show_small,
    "small_mirrored": lambda pictures: keras.ops.flip(_show_small(pictures), axis=2),
    "small_turned": lambda pictures: keras.ops.transpose(_show_small(pictures), (0, 2, 1, 3)),
}
_UPRIGHT = ("plain", "close", "small")
_OF_ANOTHER_SIZE = ("turned", "small", "small_mirrored", "small_turned")


def _uncalibrated(bundle: Bundle, *, any_size: bool) -> keras.Model:
    """Return a member's network with the calibration taken out of its last layer, giving logits."""
    model = load_keras_model(bundle.folder / KERAS_FILE)
    calibration = bundle.facts["calibration"]
    last = model.get_layer(LOGITS)
    kernel, bias = last.get_weights()
    temperature = calibration["temperature"]
    last.set_weights([kernel * temperature, bias * temperature - np.array(calibration["offset"])])
    network = keras.Model(model.input, last.output)
    if not any_size:
        return network
    architecture = find_architecture(bundle.facts["training"]["configuration"]["architecture"])
    if not architecture.is_pooled:
        raise UsageError(f"{architecture.name} takes pictures of one size only, so no view of another size.")
    free = build_network(architecture, len(bundle.labels), fixed_size=False)
    free.set_weights(network.get_weights())
    # Without a name of its own, which two members would share.
    return keras.Model(free.input, free.output)


def _check_members(bundles: Sequence[Bundle], *, answers: int) -> None:
    if answers < 2:
        raise UsageError("An ensemble has two members or two views, or more. Received: one of each.")
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
            ("covered mark", bundle.mark, first.mark),
            ("pictures", bundle.facts["data"]["pictures_sha256"], first.facts["data"]["pictures_sha256"]),
            (
                "treatment of the class prior",
                removed_prior(bundle.facts["training"]["configuration"]),
                removed_prior(first.facts["training"]["configuration"]),
            ),
        ):
            if mine != other:
                raise UsageError(f"{bundle.name} and {first.name} differ in their {what}.")
