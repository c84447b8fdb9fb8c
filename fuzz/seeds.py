"""What the fuzzer begins with, made by program: whole files of every kind, and the hostile ones of the tests."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fuzz.targets import BETWEEN, IMAGES, Metadata, Models, Pictures, Predictions, Splits, make_predictions
from skinai.data.cases import COLUMNS as CASE_COLUMNS
from skinai.data.hmnist import LABEL_ORDER
from skinai.data.isic import DIAGNOSES
from skinai.data.metadata import COLUMNS
from skinai.evaluation.scoring import write_pair

_TESTS = Path(__file__).resolve().parents[1] / "tests"
# One of these takes up to a second and holds a hundred megabytes; the tests decode each of them.
_LEFT_OUT = {"bombs"}
TRAINING = 0x80


def build_seeds(name: str) -> Iterator[bytes]:
    """Yield the seeds of a target."""
    yield from _BUILDERS[name]()


def _pictures() -> Iterator[bytes]:
    for place in (_TESTS, _TESTS / "hostile"):
        if str(place) not in sys.path:
            sys.path.insert(0, str(place))
    from corpus import FAMILIES, build_archives, pack, whole_files

    contents = [item[1] for name, make in FAMILIES.items() if name not in _LEFT_OUT for item in make()]
    contents += [*build_archives().values(), pack({"a.jpg": whole_files()["baseline.jpg"], "b/c.png": b""})]
    yield from (content for content in contents if len(content) <= Pictures.most_bytes)


def _write(names: tuple[str, ...], rows: list[list[str]], delimiter: str = ",") -> bytes:
    return "\n".join(delimiter.join(row) for row in [list(names), *rows]).encode()


def _metadata() -> Iterator[bytes]:
    sites = ("back", "face", "trunk")
    rows = [
        [f"HAM_{row // 2}", image, ("mel", "nv", "bkl")[row // 2 % 3], "histo", f"{row * 7}.0", "male", sites[row % 3]]
        for row, image in enumerate(IMAGES)
    ]
    kaggle = _write(COLUMNS, rows)
    tab = _write((*COLUMNS, "dataset"), [[f'"{cell}"' for cell in row] + ['"rosendahl"'] for row in rows], "\t")
    names: tuple[str, ...] = (
        "isic_id",
        "age_approx",
        "sex",
        "anatom_site_general",
        "diagnosis_1",
        "diagnosis_3",
        "diagnosis_4",
    )
    names += ("diagnosis_confirm_type", "lesion_id", "patient_id", "image_type")
    known = sorted(DIAGNOSES)
    archive = [
        [image, str(5 * at), "female", "back", "Benign", known[at * 2], "", "histopathology", f"IL_{at}", "", ""]
        for at, image in enumerate(IMAGES)
    ]
    older = _write(("isic_id", "diagnosis", "patient_id"), [[image, "nevus", "IP_1"] for image in IMAGES])
    for training in (0, TRAINING):
        for kind in (Metadata.KAGGLE, Metadata.DATAVERSE, Metadata.ALONE):
            for table in (kaggle, tab, kaggle.replace(b",", b";"), b"\xef\xbb\xbf" + kaggle.replace(b"\n", b"\r\n")):
                yield bytes([_select(kind, training)]) + table
            yield bytes([_select(kind, training)]) + kaggle.decode().encode("utf-16")
        for table in (_write(names, archive), _write(names, archive, "\t"), older):
            yield bytes([_select(Metadata.ISIC, training)]) + table
            yield bytes([_select(Metadata.ALONE, training)]) + table
        yield from (bytes([_select(kind, training)]) + table for kind, table in _list_pixel_tables())
        yield bytes([_select(Metadata.ORDER, training)]) + _write(
            COLUMNS,
            [[f"HAM_{row}", f"I{row}", ("mel", "nv")[row % 2], "histo", "50", "male", "back"] for row in range(4)],
        )
        yield from (bytes([_select(kind, training)]) + table for kind, table in _list_own_tables())


def _select(kind: int, training: int) -> int:
    """Return the first byte of an input for a kind of file, for a training or not."""
    return next(byte for byte in range(training, training + 9) if byte % 9 == kind)


def _list_pixel_tables() -> Iterator[tuple[int, bytes]]:
    for side, channels in ((2, 1), (2, 3), (8, 1), (8, 3)):
        count = side * side * channels
        names = (*(f"pixel{number:04d}" for number in range(count)), "label")
        rows = [[*(str((row * 37 + at * 11) % 256) for at in range(count)), str((6, 4)[row % 2])] for row in range(4)]
        yield Metadata.PIXELS, _write(names, rows)
        yield Metadata.PIXELS_AND_METADATA, _write(names, rows)
        yield (
            Metadata.PIXELS,
            _write(names, [[*row[:-1], str(at % len(LABEL_ORDER))] for at, row in enumerate(rows)], ";"),
        )


def _list_own_tables() -> Iterator[tuple[int, bytes]]:
    names = ("image", "label", "lesion_id", "patient_id", "group", "age", "sex", "localization", "dx_type")
    rows = [
        [image, ("a class", "b")[at % 2], f"L{at}", "", f"g{at}", str(at * 9), "male", "back", "histo"]
        for at, image in enumerate(IMAGES)
    ]
    yield Metadata.OWN, _write(names, rows)
    yield Metadata.OWN, _write(("image", "condition", "block"), [[f"{row[0]}.jpg", row[1], row[2]] for row in rows])
    yield (
        Metadata.LABELS,
        _write(("label", "name", "code", "risk"), [["a", "Alpha", "al", "malignant"], ["b", "", "", ""]]),
    )
    yield Metadata.LABELS, _write(("label", "risk"), [["b", "dermoscopy"], ["c", "benign"]])


def _splits() -> Iterator[bytes]:
    names: tuple[str, ...] = ("image_id", "lesion_id", "group", "subset")
    subsets = ("train", "train", "valid", "test")
    rows = [[f"I{at}", f"L{at // 2}", f"L{at // 4}", subsets[at // 4]] for at in range(16)]
    table, torn = _write(names, rows), _write(names, [[*row[:3], subsets[at % 4]] for at, row in enumerate(rows)])
    for kind in (Splits.OURS, Splits.BY_PICTURE):
        yield bytes([kind]) + table
        yield bytes([kind]) + torn
        yield bytes([kind]) + _write((*names, "note"), [[*row, "x"] for row in rows])
    for delimiter in (",", ";", "\t"):
        for names in (
            ("image_id", "subset", "lesion_id"),
            ("filename", "Split", "lesion_id"),
            ("image", "fold", "other"),
        ):
            others = [[f"a/{row[0]}.jpg", ("training", "val", "tst")[at % 3], row[1]] for at, row in enumerate(rows)]
            yield bytes([Splits.ANY]) + _write(names, others, delimiter)
    yield bytes([Splits.PAIRS]) + _write(("image_id_a", "image_id_b"), [["I1", "I2"], ["I4", "I3"]])


def _predictions() -> Iterator[bytes]:
    table = make_predictions()
    content = table.to_csv(index=False, float_format="%.6f").encode()
    yield bytes([Predictions.OWN]) + content
    yield bytes([Predictions.OWN]) + table.assign(gate="").to_csv(index=False).encode()
    yield bytes([Predictions.OWN]) + table.head(2).to_csv(index=False, float_format="%.3f").encode()
    with tempfile.TemporaryDirectory() as place:
        files = [path.read_bytes() for path in write_pair(table, Path(place))]
    yield bytes([Predictions.PAIR]) + BETWEEN.join(files)
    known = table[["image", "truth", "lesion"]].set_axis(["image_id", "dx", "lesion_id"], axis=1)
    yield bytes([Predictions.PAIR]) + BETWEEN.join([files[0], known.to_csv(index=False).encode()])
    weighted = files[1].replace(b"VASC", b"VASC,score_weight").replace(b".0\n", b".0,0.5\n")
    yield bytes([Predictions.PAIR]) + BETWEEN.join([files[0], weighted])
    cases = [[f"I{at}", "0.5", "0.01", *["I9", "nv", "0.9"] * 3] for at in range(6)]
    yield bytes([Predictions.CASES]) + _write(CASE_COLUMNS, cases)
    yield bytes([Predictions.CASES]) + _write(CASE_COLUMNS, [[*row[:6], *[""] * 6] for row in cases])


def _models() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as place:
        contents = Models(Path(place)).contents
    for kind, content in enumerate(contents):
        # As it stands, and with the hashes made to agree after a change.
        yield bytes([kind]) + content
        yield bytes([kind | TRAINING]) + content


_BUILDERS: dict[str, Callable[[], Iterator[bytes]]] = {
    "pictures": _pictures,
    "metadata": _metadata,
    "split": _splits,
    "predictions": _predictions,
    "models": _models,
}
