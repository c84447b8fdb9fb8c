"""The readers that are fuzzed, each with what it promises of whatever it accepts."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from fuzz.harness import require
from skinai.artefacts import hash_file, predictions_file, write_gzip
from skinai.data.archives import MAX_FILES, is_archive, list_archive, read_archive
from skinai.data.cases import CASES_FILE, read_cases
from skinai.data.dicom import decode_dicom, is_dicom, read_identifiers
from skinai.data.drawing import draw_lesion
from skinai.data.images import (
    MAX_BYTES,
    MAX_PIXELS_DECODED,
    SUFFIXES,
    FrameRule,
    decode_picture,
    encode_preview,
    frame_picture,
)
from skinai.data.metadata import AGE_BANDS, COLUMNS, DataFolder, band_ages, find_torn_lesions
from skinai.data.predictions import (
    SUBGROUPS,
    build_predictions,
    probability_matrix,
    read_predictions,
    write_predictions,
)
from skinai.data.sources import read_source
from skinai.data.split import SUBSETS, find_leaks, read_pairs, read_split
from skinai.data.split_audit import audit_split, read_any_split
from skinai.errors import DataError, PictureError
from skinai.evaluation.decision import DECISION_FILE, fit_decision, read_decision
from skinai.evaluation.report import KINDS, REPORT_FILE, evaluate_predictions, read_report, write_report
from skinai.evaluation.scoring import read_pair, score_challenge
from skinai.labels import HAM10000
from skinai.model import bundle as bundles
from skinai.model.bundle import BUNDLE_FILE, EXPORT_FILE, PROBE_FILE, SEAL_FILE, check_seal, load_bundle, seal_folder

FRAME = FrameRule(64, 48)
# Between the two tables of one input.
BETWEEN = b"\n%%\n"
# What the tables of the seeds list, so that something of them is there.
IMAGES = tuple(f"ISIC_{number:07d}" for number in range(24306, 24318))
_DECODED_OF_AN_ARCHIVE = 3


class Target(Protocol):
    """A reader; its inputs are at most so long."""

    most_bytes: int

    def __init__(self, folder: Path) -> None:
        """Prepare what the reader needs in an empty folder."""

    def read(self, content: bytes) -> None:
        """Read one input."""


class Pictures:
    """The decoder: JPEG, PNG, DICOM, and zip archives of them."""

    most_bytes = 48 * 1024

    def __init__(self, folder: Path) -> None:
        """Nothing has to be prepared."""

    def read(self, content: bytes) -> None:
        """Decode a picture, or list and read an archive and decode the first pictures in it."""
        identifiers = read_identifiers(content)
        require(all(len(value) <= 120 for value in identifiers.values()), "what names a patient is cut")
        if is_archive(content):
            _read_archive(content)
            return
        if is_dicom(content):
            facts = decode_dicom(content).facts
            require(all(len(value) <= 120 for value in facts.values()), "what a file says of a picture is cut")
            parts = " ".join(identifiers.values()).lower().replace("^", " ").split()
            told = [value.lower() for name, value in facts.items() if name not in ("Kind", "Beware")]
            require(not any(len(part) > 2 and part in value for part in parts for value in told), "facts name nobody")
        _check_picture(decode_picture(content))


def _read_archive(content: bytes) -> None:
    names = list_archive(content)
    require(len(names) <= MAX_FILES, "only so many files are listed")
    require(all(name.lower().endswith(SUFFIXES) and "\0" not in name for name in names), "only pictures are listed")
    read = []
    for name, inside in read_archive(content):
        read.append(name)
        require(len(inside) <= MAX_BYTES + 1, "a file is cut behind the limit")
        if len(read) <= _DECODED_OF_AN_ARCHIVE:
            try:
                _check_picture(decode_picture(inside))
            except PictureError:
                continue
    require(read == names, "what is listed is read")


def _check_picture(picture: np.ndarray) -> None:
    require(picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3, "a picture is RGB of 8 bits")
    require(min(picture.shape[:2]) >= 30 and picture.size <= 3 * MAX_PIXELS_DECODED, "a picture has a size in bounds")
    require(frame_picture(picture, FRAME).shape == (FRAME.height_px, FRAME.width_px, 3), "a picture can be framed")
    require(encode_preview(picture).startswith(b"\xff\xd8\xff"), "a picture can be shown")


class Metadata:
    """Every table of pictures that is recognised, through the one door that data come in by.

    The first byte of an input says which file it is (its remainder by nine) and whether it is for a training (its
    highest bit); the rest is the file.
    """

    most_bytes = 32 * 1024
    KAGGLE, DATAVERSE, ISIC, PIXELS, PIXELS_AND_METADATA, ORDER, OWN, LABELS, ALONE = range(9)

    def __init__(self, folder: Path) -> None:
        """Write pictures in the layouts that there are."""
        self._folder = folder
        small = _encode(64, 48)
        for part in ("kaggle/HAM10000_images_part_1", "dataverse", "isic", "own"):
            (folder / part).mkdir(parents=True)
            for number, name in enumerate(IMAGES):
                (folder / part / f"{name}.jpg").write_bytes(small + bytes([number % 10]))
        rows = [
            f"HAM_{row},{name},{('mel', 'nv')[row % 2]},histo,50.0,male,back" for row, name in enumerate(IMAGES[:4])
        ]
        (folder / "metadata.csv").write_text("\n".join([",".join(COLUMNS), *rows]))
        pixels = [f"{row},{row + 7},0,{255 - row},{(6, 4)[row % 2]}" for row in range(4)]
        (folder / "order.csv").write_text("\n".join(["pixel0000,pixel0001,pixel0002,pixel0003,label", *pixels]))
        listed = "\n".join(
            ["image,label,lesion_id", *(f"{name},{'ab'[at % 2]},{at}" for at, name in enumerate(IMAGES))]
        )
        (folder / "listed.csv").write_text(listed)

    def read(self, content: bytes) -> None:
        """Read one table, in its place."""
        kind, for_training = content[0] % 9 if content else 0, bool(content and content[0] & 0x80)
        folder = self._folder
        places: dict[int, tuple[str, str, dict[str, Any]]] = {
            self.KAGGLE: ("kaggle/HAM10000_metadata.csv", "kaggle", {}),
            self.DATAVERSE: ("dataverse/HAM10000_metadata.tab", "dataverse", {}),
            self.ISIC: ("isic/metadata.csv", "isic", {}),
            self.PIXELS: ("hmnist.csv", "hmnist.csv", {}),
            self.PIXELS_AND_METADATA: ("hmnist.csv", "hmnist.csv", {"metadata": folder / "metadata.csv"}),
            self.ORDER: ("changed.csv", "order.csv", {"metadata": folder / "changed.csv"}),
            self.OWN: ("table.csv", "own", {"table_file": folder / "table.csv"}),
            self.LABELS: (
                "labels.csv",
                "own",
                {"table_file": folder / "listed.csv", "labels_file": folder / "labels.csv"},
            ),
            self.ALONE: ("isic/HAM10000_metadata", "isic/HAM10000_metadata", {}),
        }
        written, given, files = places[kind]
        (folder / written).write_bytes(content[1:])
        data = read_source(folder / given, for_training=for_training, **files)
        own = kind in (self.OWN, self.LABELS)
        _check_data(data, own=own, one_diagnosis=for_training and kind not in (self.ISIC, self.ALONE) and not own)


def _check_data(data: DataFolder, *, own: bool, one_diagnosis: bool) -> None:
    table = data.table
    require({*COLUMNS, "age_band", "path"} <= set(table.columns), "a table has all columns")
    require(len(table), "a table has rows")
    require(table["image_id"].is_unique, "an image_id is there once")
    require(table["image_id"].map(lambda name: isinstance(name, str) and name != "").all(), "each row has an image_id")
    require(list(table["image_id"]) == sorted(table["image_id"]), "a table is sorted by image_id")
    require(table["lesion_id"].map(lambda name: isinstance(name, str) and name != "").all(), "each row has a lesion")
    require(table["dx"].isin(data.labels.codes).all(), "every diagnosis is one of the label set")
    ages = table["age"].dropna().to_numpy(dtype=float)
    require(((ages >= 0 if own else ages > 0) & (ages <= 120)).all(), "an age is one")
    require(table["age_band"].isin(AGE_BANDS).all(), "an age band is one")
    require((table["age_band"] == band_ages(table["age"])).all(), "an age band is that of the age")
    require(not one_diagnosis or not find_torn_lesions(table), "a lesion has one diagnosis")
    require(len(data.metadata_hash) == 64, "the table's hash is stated")
    if data.pixels is None:
        require(
            all(path is None or path.is_file() for path in table["path"].dropna()), "a picture that has a path exists"
        )
        require(len(data.present), "some picture is present")
    else:
        pixels = data.pixels
        require(pixels.dtype == np.uint8 and pixels.shape == (len(table), *pixels.shape[1:2] * 2, 3), "pixels are RGB")
    for remark in data.remarks:
        require(remark.code.isidentifier() and remark.count >= 1, "a remark has a code and a count")
        require(remark.sentence.endswith(".") and len(remark.sentence) < 5000, "a remark is a sentence")


class Splits:
    """Splits: those of skinai, by lesion and by picture, anybody's, and lists of near-identical pictures.

    The first byte of an input says which (its remainder by four); the rest is the file.
    """

    most_bytes = 16 * 1024
    OURS, BY_PICTURE, ANY, PAIRS = range(4)

    def __init__(self, folder: Path) -> None:
        """Keep the folder, to write the file in."""
        self._file = folder / "split.csv"

    def read(self, content: bytes) -> None:
        """Read one table."""
        kind = content[0] % 4 if content else 0
        self._file.write_bytes(content[1:])
        if kind == self.PAIRS:
            pairs = read_pairs(self._file)
            require(all(first <= second and first and second for first, second in pairs), "a pair is two pictures")
            _find_rows(content[1:])
            return
        if kind == self.ANY:
            self._audit()
            return
        split = read_split(self._file, by_picture=kind == self.BY_PICTURE)
        _check_split(split, ("image_id", "lesion_id", "group", "subset"))
        require(kind == self.BY_PICTURE or not find_leaks(split), "no lesion lies in two subsets")
        _check_rows(content[1:], split, "image_id")

    def _audit(self) -> None:
        split = read_any_split(self._file)
        _check_split(split, ("image_id", "subset"))
        names = list(split["image_id"])
        try:
            audit = audit_split(split, None, list(pairwise(names))[:50])
        except DataError:
            require("lesion_id" not in split, "a split with lesions is looked through")
            return
        leaks = audit.leaks
        require(leaks["share"].between(0, 1).all() and leaks["expected"].between(0, 1).all(), "a share is from 0 to 1")
        require((leaks["leaked"] <= leaks["pictures"]).all(), "no more leaks than there is")


def _check_split(split: pd.DataFrame, columns: tuple[str, ...]) -> None:
    require(set(columns) <= set(split.columns), "a split has its columns")
    require(len(split), "a split has rows")
    for column in columns:
        require(
            split[column].map(lambda text: isinstance(text, str) and text != "").all(), f"each row has its {column}"
        )
    require(split["image_id"].is_unique, "a picture is there once")
    require(split["subset"].isin(SUBSETS).all(), "a subset is one of three")


def _find_rows(content: bytes) -> list[list[str]]:
    """Return what another reader makes of a table that was accepted; nothing where that is a matter of taste."""
    text = content.decode("utf-8").removeprefix("\ufeff")
    if any(odd in text for odd in ('"', "\r", "\0")):
        return []
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    require(all(len(row) == len(rows[0]) for row in rows), "a row has as many values as the header has names")
    return rows


def _check_rows(content: bytes, table: pd.DataFrame, column: str) -> None:
    """Compare a column with what another reader makes of the same bytes."""
    if rows := _find_rows(content):
        at = rows[0].index(column)
        require([row[at] for row in rows[1:]] == list(table[column]), "a row is read as it stands")


class Predictions:
    """Tables of predictions: a model folder's own, a challenge's with its truth, and what is known of test pictures.

    The first byte of an input says which (its remainder by three); the rest is the file, or two with `BETWEEN` between.
    """

    most_bytes = 16 * 1024
    OWN, PAIR, CASES = range(3)

    def __init__(self, folder: Path) -> None:
        """Keep the folder, to write the files in."""
        self._folder = folder

    def read(self, content: bytes) -> None:
        """Read one table, or two that belong together."""
        kind, rest = content[0] % 3 if content else 0, content[1:]
        if kind == self.CASES:
            write_gzip(self._folder / CASES_FILE, rest)
            cases = read_cases(self._folder)
            require(cases is not None and cases.index.is_unique, "a picture is there once")
        elif kind == self.PAIR:
            self._read_pair(rest)
        else:
            file = self._folder / "predictions.csv"
            file.write_bytes(rest)
            table = read_predictions(file)
            _check_predictions(table)
            require(not (table[["lesion", "group"]] == "").any(axis=None), "each row has lesion and group")
            require({*SUBGROUPS} <= set(table.columns), "a table has all columns")
            _check_rows(rest, table, "image")

    def _read_pair(self, content: bytes) -> None:
        files = self._folder / "predictions.csv", self._folder / "truth.csv"
        first, _, second = content.partition(BETWEEN)
        files[0].write_bytes(first)
        files[1].write_bytes(second)
        table, weights = read_pair(*files)
        _check_predictions(table)
        require(len(weights) == len(table) and np.isfinite(weights).all() and (weights >= 0).all(), "a weight is one")
        score = score_challenge(table, weights)
        figures = [*score.per_category.to_numpy().ravel(), *score.macro_average, score.balanced_accuracy]
        require(all(math.isnan(one) or -1e-9 <= one <= 1 + 1e-9 for one in figures), "a figure is from 0 to 1")
        for content in (first, second):
            _find_rows(content)


def _check_predictions(table: pd.DataFrame) -> None:
    probabilities = probability_matrix(table)
    require(np.isfinite(probabilities).all() and (probabilities >= 0).all() and (probabilities <= 1).all(), "0 to 1")
    require(np.isclose(probabilities.sum(axis=1), 1, atol=1e-3).all(), "probabilities sum to 1")
    require(table["truth"].isin(HAM10000.codes).all(), "every truth is a class")
    require(table["image"].is_unique and (table["image"] != "").all(), "a picture is named, and there once")


class Models:
    """The descriptions in a model folder: ``bundle.json``, ``decision.json``, ``report.json`` and ``seal.json``.

    The first byte of an input says which (its remainder by four), and by its highest bit that who changed the file made
    the fingerprint or hash in it agree; the rest is the file.
    """

    most_bytes = 24 * 1024
    BUNDLE, DECISION, REPORT, SEAL = range(4)
    FILES = (BUNDLE_FILE, DECISION_FILE, REPORT_FILE, SEAL_FILE)

    def __init__(self, folder: Path) -> None:
        """Write a model folder with everything but a network."""
        self.folder = folder / "model"
        self.folder.mkdir()
        for name, content in _build_model().items():
            (self.folder / name).write_bytes(content)
        self._fingerprint = load_bundle(self.folder).fingerprint
        self.contents = [(self.folder / name).read_bytes() for name in self.FILES]

    def read(self, content: bytes) -> None:
        """Read one description in an otherwise whole folder."""
        kind, rest = content[0] % 4 if content else 0, content[1:]
        if content and content[0] & 0x80:
            rest = self._make_agree(kind, rest)
        path = self.folder / self.FILES[kind]
        path.write_bytes(rest)
        try:
            (self._read_bundle, self._read_decision, self._read_report, self._read_seal)[kind]()
        finally:
            path.write_bytes(self.contents[kind])

    def _read_bundle(self) -> None:
        bundle = load_bundle(self.folder)
        require(all(isinstance(text, str) for text in (*bundle.labels.codes, *bundle.labels.names)), "names are text")
        size = (bundle.frame.width_px, bundle.frame.height_px)
        require(all(type(side) is int for side in size) and max(size) <= 10_000, "a frame's sides are pixels")
        require(
            list(bundle.probe) and all(0 <= one <= 1 for one in bundle.probe.values()), "a probability is from 0 to 1"
        )
        require(all(isinstance(text, str) for text in (*bundle.notes, *bundle.views)), "notes and views are text")

    def _read_decision(self) -> None:
        decision = read_decision(self.folder, fingerprint=self._fingerprint)
        probabilities = np.vstack([np.eye(len(HAM10000)), np.full(len(HAM10000), 1 / len(HAM10000))])
        require(decision.build_sets(probabilities, HAM10000).any(axis=1).all(), "the top class is in a set")
        if decision.clear_margin is not None:
            kinds, leaders = decision.tell_certainty(probabilities, HAM10000)
            require(set(kinds) <= {"clear_lead", "undecided", "cannot_assess"}, "a certainty is one of three")
            require((leaders[:, 0] == probabilities.argmax(axis=1)).all(), "the most probable class leads")
        require(decision.version >= 1, "a version counts from 1")

    def _read_report(self) -> None:
        report = read_report(self.folder)
        texts = (report.model_name, report.fingerprint, report.subset, report.predictions_hash, report.decision_hash)
        require(all(isinstance(text, str) for text in texts), "names and hashes are text")
        require(report.baseline_code in HAM10000.codes, "the most frequent class is one")
        require(report.pictures >= 0 and report.lesions >= 0 and (report.confusion >= 0).all(), "a count is one")
        for kind in KINDS:
            targets = {group.column for group in report.subgroups} if kind == "subgroups" else {""}
            for target in targets:
                report.frame(kind, target)

    def _read_seal(self) -> None:
        check_seal(self.folder)

    def _make_agree(self, kind: int, content: bytes) -> bytes:
        """Return a description with the hashes that go with it, where it is one."""
        try:
            facts: Any = json.loads(content)
            if kind == self.BUNDLE:
                order, frame = tuple(facts["labels"]["order"]), FrameRule(**facts["frame"])
                facts["fingerprint"] = bundles._fingerprint(dict(facts["files"]), order, frame)
            elif kind == self.DECISION:
                facts["predictions_sha256"] = hash_file(self.folder / predictions_file("valid"))
                facts["fingerprint"] = self._fingerprint
            elif kind == self.REPORT:
                facts["predictions_sha256"] = hash_file(self.folder / predictions_file("test"))
            return json.dumps(facts).encode()
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return content


@lru_cache(maxsize=1)
def _build_model() -> dict[str, bytes]:
    """Return the files of a model folder with everything but a network, by name."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "model")
        folder.mkdir()
        for subset in ("valid", "test"):
            write_predictions(make_predictions(), folder / predictions_file(subset))
        for part in (EXPORT_FILE, PROBE_FILE):
            (folder / part).write_bytes(b"none")
        bundle = bundles.write_bundle(
            folder,
            labels=HAM10000,
            frame=FRAME,
            probe=dict.fromkeys(HAM10000.codes, 1 / len(HAM10000)),
            facts={"training": {"views": ["plain", "turned"]}, "notes": ["Made by program."], "data": {"mark": None}},
            parts=[predictions_file("valid")],
        )
        decision = fit_decision(folder, fingerprint=bundle.fingerprint)
        report = evaluate_predictions(
            folder / predictions_file("test"),
            model_name="model",
            fingerprint=bundle.fingerprint,
            subset="test",
            decision=decision,
        )
        write_report(report, folder)
        seal_folder(folder)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def make_predictions(count: int = 28) -> pd.DataFrame:
    """Return made-up predictions, four pictures a class."""
    codes = [HAM10000.codes[row % len(HAM10000)] for row in range(count)]
    rows = pd.DataFrame({"image_id": [f"ISIC_{row:07d}" for row in range(count)], "dx": codes})
    rows = rows.assign(lesion_id=[f"HAM_{row // 2}" for row in range(count)], age_band="35-49", sex="male")
    rows = rows.assign(group=rows["lesion_id"], localization="back", dx_type="histo")
    odds = np.exp(
        2 * np.eye(len(HAM10000))[np.arange(count) % len(HAM10000)] + np.sin(np.arange(count * 7)).reshape(-1, 7)
    )
    return build_predictions(rows, odds / odds.sum(axis=1, keepdims=True))


def _encode(width: int, height: int) -> bytes:
    return encode_preview(draw_lesion(3, width_px=width, height_px=height))


TARGETS: dict[str, Callable[[Path], Target]] = {
    "pictures": Pictures,
    "metadata": Metadata,
    "split": Splits,
    "predictions": Predictions,
    "models": Models,
}
