"""Fit the gate of a model: pictures of its kind against all that people upload instead."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from skinai.artefacts import hash_file, write_json
from skinai.data.drawing import RASHES, draw_lesion, draw_photograph
from skinai.data.images import SUFFIXES, cover_mark, decode_picture, frame_picture
from skinai.data.metadata import DataFolder
from skinai.data.split import SPLIT_FILE, check_split, read_near_duplicates, read_split
from skinai.errors import PictureError, UsageError
from skinai.labels import HAM10000
from skinai.model.bundle import EMBEDDING, EXPORT_FILE, load_bundle
from skinai.model.gates import (
    DERMOSCOPY,
    GATE_WEIGHTS_FILE,
    GATES_FILE,
    KINDS,
    PHOTOGRAPH,
    Gates,
    build_features,
    describe_gates,
    read_gates,
)
from skinai.model.perceptron import Perceptron, write_arrays
from skinai.model.reference import REFERENCE_FILE, ReferenceIndex, read_reference
from skinai.model.session import Session
from skinai.training.run import load_run_data, with_labels_of

# Share of valid that the gate may refuse; on test at most 3 % are to be refused.
_REFUSED_ON_VALID = 0.02
_HIDDEN_UNITS = 128
_PASSING = 2000
_DRAWN = 100
_OF_EACH_WRECK = 400
_CROPS = 16
_MARK = (0.0, 0.62, 0.36, 1.0)  # where photographs carry the mark of their owner
_RUN = 20  # neighbours of a folder that are fitted on, or held out, together
_DISCOLOURED = ("channels_swapped", "contrast", "light", "inverted")
WRECKS = {
    DERMOSCOPY: {"enlarged": "low_detail", "blurred": "blurred", "absent": "no_lesion", "cut_off": "no_lesion"}
    | dict.fromkeys(_DISCOLOURED, "colours"),
    # A rash may be anywhere, also at the edge.
    PHOTOGRAPH: {"enlarged": "low_detail", "blurred": "blurred"} | dict.fromkeys(_DISCOLOURED, "photo_colours"),
}


def fit_gates(
    folder: Path,
    data: DataFolder,
    *,
    unlike: Path | None = None,
    seed: int = 0,
    say: Callable[[str], object] = print,
) -> Gates:
    """Fit the gate of a model and write ``gates.json`` and ``gates.npz`` into its folder.

    A model with HAM10000's classes is for dermoscopy, any other for photographs of diseased skin. What passes are
    pictures of `train`, and a few drawn by program, so that the examples of the app pass. What is refused are pictures
    of `train` that were wrecked (enlarged from 16 to 44 px, blurred, channels swapped, and so on; of dermoscopy also
    with the lesion cut off or replaced by the skin beside it), natural pictures that come with scikit-image and
    scikit-learn, documents and patterns drawn by program, and the pictures in `unlike`. The threshold is fitted on
    `valid`. How much of each kind is refused is measured on pictures that were held out: wrecked pictures of `valid`,
    crops of every other natural picture, newly drawn documents, and every other run of neighbours of those in `unlike`.

    Parameters
    ----------
    folder : Path
        A model folder with a reference index.
    data : DataFolder
        What the model was trained on.
    unlike : Path, optional
        A folder of pictures of another kind: of photographs for a model for dermoscopy, and the reverse; its
        subfolders are searched.
    seed : int
    say : callable
        Receives one sentence at a time.

    Raises
    ------
    UsageError
        If the model has no reference index, or `unlike` holds no picture.
    """
    bundle = load_bundle(folder)
    passes = DERMOSCOPY if bundle.labels is HAM10000 else PHOTOGRAPH
    told = KINDS[passes]
    if not (folder / REFERENCE_FILE).is_file():
        raise UsageError(f"{folder} has no {REFERENCE_FILE}, which the gate needs; train the model anew.")
    data = with_labels_of(bundle, data)
    split = check_split(read_split(folder / SPLIT_FILE), data.table, read_near_duplicates(data.path))
    others_runs = list_runs(unlike) if unlike else None
    run = load_run_data(data, split, bundle.frame, subsets=("train", "valid"))
    if run.data_hash != bundle.facts["data"]["pictures_sha256"]:
        raise UsageError(f"{data.path} does not hold the pictures and diagnoses that {bundle.name} was trained on.")
    rng = np.random.default_rng(seed)
    look = _Look(read_reference(folder / REFERENCE_FILE), Session(bundle.folder / EXPORT_FILE))
    train, valid = (run.frames[subset].pixels for subset in ("train", "valid"))
    order = rng.permutation(len(train))

    say("Looking at pictures that pass.")
    drawn = (frame_picture(picture, bundle.frame) for picture in draw_examples(passes, seed=1000))
    fitted: list[tuple[str, np.ndarray]] = [(passes, look.at(train[order[:_PASSING]])), (passes, look.at(drawn))]
    passing = look.at(valid)
    drawn = (frame_picture(picture, bundle.frame) for picture in draw_examples(passes, seed=2000))
    held: dict[str, np.ndarray] = {_DRAWN_NAMES[passes]: look.at(drawn)}
    say("Looking at wrecked ones.")
    for position, (wreck, kind) in enumerate(WRECKS[passes].items()):
        rows = np.roll(order, -position * _OF_EACH_WRECK)[:_OF_EACH_WRECK]
        fitted.append((kind, look.at(wreck_picture(train[row], wreck, rng) for row in rows)))
        chosen = rng.permutation(len(valid))[:_OF_EACH_WRECK]
        held[wreck] = look.at(wreck_picture(valid[row], wreck, rng) for row in chosen)
    say("Looking at other pictures.")
    natural = list_samples()
    others: dict[str, list[Iterable[np.ndarray]]] = {
        "natural": [natural[0::2], natural[1::2]],
        "documents_and_patterns": [draw_documents(rng), draw_documents(rng)],
    }
    if others_runs:
        others[_OTHERS_NAMES[passes]] = [decode_files(half) for half in others_runs]
    for name, halves in others.items():
        parts = []
        for half in halves:
            views = (view for picture in half for view in _show_parts(picture, name, rng))
            parts.append(look.at(frame_picture(view, bundle.frame) for view in views))
        fitted.append((f"not_{passes}", parts[0]))
        held[name] = parts[1]

    features = np.concatenate([values for _, values in fitted])
    kinds = np.concatenate([np.full(len(values), told.index(kind)) for kind, values in fitted])
    network = fit_perceptron(features, kinds, seed=seed)
    passed = np.sort(network.tell_kinds(passing)[:, 0])
    threshold = float(passed[int(_REFUSED_ON_VALID * len(passed))])
    gates = Gates(threshold, network, told)

    def count_refused(values: np.ndarray) -> dict[str, int]:
        return {"pictures": len(values), "refused": int((network.tell_kinds(values)[:, 0] < threshold).sum())}

    # Stopped in between, the folder is a model without a gate, not one with half of another.
    (folder / GATES_FILE).unlink(missing_ok=True)
    write_arrays(folder / GATE_WEIGHTS_FILE, network)
    facts = describe_gates(
        gates, fingerprint=bundle.fingerprint, weights_sha256=hash_file(folder / GATE_WEIGHTS_FILE)
    ) | {
        "fitted_on": {"pictures": {kind: int((kinds == index).sum()) for index, kind in enumerate(told)}},
        "valid": count_refused(passing),
        "held_out": {name: count_refused(values) for name, values in held.items()},
    }
    write_json(folder / GATES_FILE, facts)
    for name, counts in {"valid": facts["valid"], **facts["held_out"]}.items():
        say(f"{name.replace('_', ' ')}: {counts['refused']} of {counts['pictures']} refused.")
    found = read_gates(folder, fingerprint=bundle.fingerprint)
    assert found is not None
    return found


def fit_perceptron(
    features: np.ndarray,
    kinds: np.ndarray,
    *,
    seed: int,
    penalty: float = 0.3,
    units: int = _HIDDEN_UNITS,
    members: int = 1,
) -> Perceptron:
    """Fit the small network that tells kinds apart, shape (n,), by features of shape (n, features).

    Parameters
    ----------
    features, kinds : ndarray of shape (n, features) and (n,)
    seed : int
    penalty : float
        On the squares of its weights.
    units : int
        In the hidden layer of each member.
    members : int
        So many networks are fitted with seeds in a row, and their logits averaged: one network with all their units.
    """
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    fitted = [
        MLPClassifier(
            (units,), alpha=penalty, max_iter=400, early_stopping=True, n_iter_no_change=20, random_state=seed + member
        ).fit(scaler.transform(features), kinds)
        for member in range(members)
    ]
    hidden = np.concatenate([one.coefs_[0] for one in fitted], axis=1)
    hidden_bias = np.concatenate([one.intercepts_[0] for one in fitted])
    last = np.concatenate([one.coefs_[1] for one in fitted]) / members
    last_bias = np.mean([one.intercepts_[1] for one in fitted], axis=0)
    arrays = (scaler.mean_, scaler.scale_, hidden, hidden_bias, last, last_bias)
    return Perceptron(*(np.asarray(values, dtype=np.float32) for values in arrays))


class _Look:
    """Features of frames, by one model."""

    def __init__(self, reference: ReferenceIndex, session: Session) -> None:
        self.reference, self.session = reference, session

    def at(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        """Return the features of frames, shape (n, features)."""
        return np.stack([build_features(frame, self.session.run(frame)[EMBEDDING], self.reference) for frame in frames])


# ---- pictures ------------------------------------------------------------------------------------------------------

# Of scikit-image's pictures those whose files come with the package.
_SAMPLES = (
    *("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry", "retina", "hubble_deep_field", "camera"),
    *("coins", "page", "text", "moon", "brick", "grass", "gravel", "clock", "cell", "colorwheel"),
)


_DRAWN_NAMES = {DERMOSCOPY: "drawn_lesions", PHOTOGRAPH: "drawn_photographs"}
_OTHERS_NAMES = {DERMOSCOPY: "photographs", PHOTOGRAPH: "dermoscopy"}


def draw_examples(kind: str, *, seed: int) -> Iterator[np.ndarray]:
    """Draw pictures of the kind that passes."""
    for number in range(seed, seed + _DRAWN):
        if kind == DERMOSCOPY:
            yield draw_lesion(number)
        else:
            yield draw_photograph(number, kind=RASHES[number % len(RASHES)], width_px=320, height_px=240)


def list_samples() -> list[np.ndarray]:
    """Return the natural pictures that come with scikit-image and scikit-learn.

    Raises
    ------
    UsageError
        If scikit-image is not installed.
    """
    try:
        from skimage import data as samples  # a developer's package, used here alone
    except ImportError as error:
        raise UsageError("The gate is fitted with scikit-image: pip install -r requirements-dev.txt.") from error
    from sklearn.datasets import load_sample_images

    found = [_as_colour(getattr(samples, name)()) for name in _SAMPLES]
    return [*found, *(np.asarray(picture) for picture in load_sample_images().images)]


def wreck_picture(frame: np.ndarray, wreck: str, rng: np.random.Generator) -> np.ndarray:
    """Return a picture spoiled in one of the ways that `WRECKS` names for each kind."""
    height, width = frame.shape[:2]
    image = Image.fromarray(frame)
    if wreck == "enlarged":
        side = int(rng.integers(16, 45))
        small = image.resize((side, max(side * height // width, 8)), Image.Resampling.BOX)
        filters = ("NEAREST", "BILINEAR", "BICUBIC", "LANCZOS")
        return np.asarray(small.resize((width, height), Image.Resampling[str(rng.choice(filters))]))
    if wreck == "blurred":
        return np.asarray(image.filter(ImageFilter.GaussianBlur(width / 320 * float(rng.uniform(3, 10)))))
    if wreck == "channels_swapped":
        orders = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
        return frame[..., list(orders[rng.integers(len(orders))])]
    if wreck == "inverted":
        return 255 - frame
    if wreck == "absent":
        return _cover_with_skin(frame, rng)
    if wreck == "cut_off":
        return _push_aside(frame, rng)
    pixels = frame.astype(np.float32)
    if wreck == "light":
        changed = pixels * rng.uniform(0.05, 0.3) if rng.random() < 0.5 else pixels + rng.uniform(80, 160)
    else:
        factor = rng.uniform(0.08, 0.35) if rng.random() < 0.5 else rng.uniform(2.5, 6)
        middle = pixels.mean() if rng.random() < 0.5 else 128
        changed = (pixels - middle) * factor + middle + rng.uniform(-30, 30)
    return np.clip(changed, 0, 255).astype(np.uint8)


def _cover_with_skin(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a frame of the skin in one corner, mirrored over and over at its own scale."""
    height, width = frame.shape[:2]
    tall, wide = (int(side * rng.uniform(0.14, 0.24)) for side in (height, width))
    # Away from the very edge, where some pictures are dark.
    margin_y, margin_x = (int(side * rng.uniform(0.02, 0.1)) for side in (height, width))
    turned = frame[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
    patch = turned[margin_y : margin_y + tall, margin_x : margin_x + wide]
    lead_y, lead_x = int(rng.integers(0, tall)), int(rng.integers(0, wide))
    pads = ((lead_y, height - tall), (lead_x, width - wide), (0, 0))
    return np.ascontiguousarray(np.pad(patch, pads, mode="symmetric")[:height, :width])


def _push_aside(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a frame whose middle is moved to an edge or a corner, over the skin of one corner."""
    height, width = frame.shape[:2]
    down, right = ((0.5, 0.0), (0.0, 0.5), (0.45, 0.45))[rng.integers(3)]
    down, right = int(height * down * rng.uniform(0.9, 1.1)), int(width * right * rng.uniform(0.9, 1.1))
    turned = frame[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
    pushed = _cover_with_skin(frame, rng)
    pushed[down:, right:] = turned[: height - down, : width - right]
    return pushed


def draw_documents(rng: np.random.Generator, count: int = 120) -> Iterator[np.ndarray]:
    """Draw pages of text, flat colours, noise and gradients, in turn."""
    for number in range(count):
        if number % 4:
            page = Image.new("RGB", (600, 450), tuple(int(value) for value in rng.integers(200, 256, 3)))
            pen = ImageDraw.Draw(page)
            for line in range(20, 430, int(rng.integers(14, 30))):
                words = "".join(rng.choice(list("abcdefghijk lmnop qrstu"), int(rng.integers(10, 90))))
                pen.text((20, line), words, fill=tuple(int(value) for value in rng.integers(0, 90, 3)))
            if number % 3 == 0:
                left, top = (int(value) for value in rng.integers(0, 250, 2))
                pen.rectangle((left, top, left + 200, top + 130), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
            yield np.asarray(page)
        elif number % 8:
            yield np.full((240, 320, 3), rng.integers(0, 256, 3), dtype=np.uint8)
        elif number % 16:
            yield rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
        else:
            ramp = np.linspace(0, 1, 320)[None, :, None] * np.ones((240, 1, 1))
            ends = rng.integers(0, 256, (2, 3))
            yield (ends[0] + ramp * (ends[1] - ends[0])).astype(np.uint8)


def _show_parts(picture: np.ndarray, kind: str, rng: np.random.Generator) -> list[np.ndarray]:
    """Return what of a picture that is no dermoscopy is looked at."""
    if kind == "natural":
        return [cut_part(picture, rng) for _ in range(_CROPS)]
    if kind == "photographs":
        return [cut_part(picture, rng), cover_mark(picture, _MARK)]
    return [picture]


def cut_part(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a 4:3 part that leaves out the lower corners, where photographs carry the mark of their owner."""
    height, width = picture.shape[:2]
    tall = max(int(height * rng.uniform(0.5, 0.66)), 1)
    wide = min(tall * 4 // 3, width)
    left = int(rng.integers(0, width - wide + 1))
    return picture[:tall, left : left + wide]


def _as_colour(picture: np.ndarray) -> np.ndarray:
    picture = np.asarray(picture)
    if picture.dtype != np.uint8:
        picture = (picture / max(float(picture.max()), 1e-9) * 255).astype(np.uint8)
    return picture[..., :3] if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def list_runs(folder: Path, *, one_in: int = 2) -> list[list[Path]]:
    """Return the picture files of a folder to fit on, and those to hold out: one in so many runs of neighbours.

    Neighbours are often of one patient or one source.

    Raises
    ------
    UsageError
        If either part has no readable picture.
    """
    files = list_pictures(folder)
    is_held = [number // _RUN % one_in == one_in - 1 for number in range(len(files))]
    parts = [[path for path, held in zip(files, is_held, strict=True) if held == wanted] for wanted in (False, True)]
    for part in parts:
        if next(iter(decode_files(part)), None) is None:
            raise UsageError(f"{folder} holds too few pictures to fit on: {len(files)}.")
    return parts


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files below a folder, sorted."""
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)


def decode_files(files: Iterable[Path]) -> Iterator[np.ndarray]:
    for path in files:
        with contextlib.suppress(PictureError, OSError):
            yield decode_picture(path.read_bytes())
