"""What tests share: a small HAM10000-like folder drawn by program, a network trained on it, and where real data lie."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import itertools
import os
import shutil
import socket
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from skinai.artefacts import predictions_file, write_json
from skinai.data.drawing import draw_lesion
from skinai.data.predictions import SUBGROUPS, write_predictions
from skinai.data.split import SPLIT_FILE, read_split
from skinai.data.summary import DATASET_FILE
from skinai.labels import HAM10000, LabelSet, build_label_set
from skinai.model.bundle import (
    CLINICAL_MODEL,
    DEFAULT_MODEL,
    EXPORT_FILE,
    PROBE_FILE,
    load_bundle,
    models_folder,
    write_bundle,
)

ROOT = Path(__file__).resolve().parents[1]
DERMOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.7"
SHIPPED_MODELS = (DEFAULT_MODEL, "ham10000-efficientnet-lite0")
# Also the run that is kept for its predictions and its report.
SHIPPED_REPORTS = (*SHIPPED_MODELS, "ham10000-seed-cnn")
# In this order; what is not named comes last.
_ORDER = (
    *("training", "browser/test_browser.py", "test_command_line.py", "faults", "app", "service", "serving"),
    *("evaluation/test_checks.py", "evaluation/test_metrics.py", "model", "bulk", "browser", "hostile", "evaluation"),
)
PIGMENTS = {
    "akiec": (205, 120, 110),
    "bcc": (180, 140, 150),
    "bkl": (150, 120, 70),
    "df": (190, 110, 60),
    "mel": (40, 32, 44),
    "nv": (110, 66, 44),
    "vasc": (170, 20, 40),
}


def shared_folder(config: pytest.Config) -> Path | None:
    """Return the folder that the workers of a run share; None where there are none."""
    return Path(config.getoption("basetemp")).parent if hasattr(config, "workerinput") else None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file that all processes of a run respect."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Closing it is not enough where a process was forked meanwhile.
            fcntl.flock(file, fcntl.LOCK_UN)


def pytest_configure(config: pytest.Config) -> None:
    """Let a worker compute with one thread where other workers want the cores too: threads that wait spin."""
    if shared_folder(config) is not None:
        # TensorFlow takes this from the environment when it is imported, in the processes that tests start as well.
        os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
        # SciPy has a library of its own, which is limited only once it is there.
        import scipy.linalg  # noqa: F401
        from threadpoolctl import threadpool_limits

        from skinai.model.session import Session

        threadpool_limits(1, user_api="blas")
        Session.__init__.__kwdefaults__["threads"] = 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take minutes first, so that no worker is left with one when the others have ended."""
    places = [ROOT / "tests" / place for place in _ORDER]
    items.sort(
        key=lambda item: next(
            (rank for rank, place in enumerate(places) if place in (item.path, *item.path.parents)), len(places)
        )
    )


def encode(picture: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    """Encode an array as a picture file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format=kind, **options)
    return buffer.getvalue()


_PORTS = itertools.count(os.getpid())


def free_port() -> int:
    """Return a port of this machine that nobody listens on, and that no other worker and no connection will take."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw"))
    for port in _PORTS:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", 20_000 + 1_000 * worker + port % 1_000))
            return listener.getsockname()[1]
    raise AssertionError


def pack(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive of files by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def write_dicom(picture, *, kind=DERMOSCOPIC, syntax=ExplicitVRLittleEndian, photometric="RGB", **changes):
    """Return the bytes of a DICOM file of one patient with a name."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid(entropy_srcs=["tests"])
    meta.TransferSyntaxUID = syntax
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    file.PatientName, file.PatientID, file.PatientBirthDate = "Doe^Jane", "MRN12345", "19700131"
    file.Manufacturer, file.ManufacturerModelName, file.ImageLaterality = "Maker", "Scope 4", "L"
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "77568009", "SCT", "Back"
    file.AnatomicRegionSequence = [region]
    file.Rows, file.Columns = picture.shape[:2]
    file.SamplesPerPixel = 1 if picture.ndim == 2 else 3
    file.PhotometricInterpretation, file.PlanarConfiguration = photometric, 0
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    file.PixelData = picture.tobytes()
    for tag, value in changes.items():
        setattr(file, tag, value)
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def build_data_folder(folder: Path, *, lesions_per_class: int = 8) -> Path:
    """Write a folder in Kaggle's layout: every other lesion has two pictures, one picture is absent."""
    rows = []
    number = 0
    for code in HAM10000.codes:
        for lesion in range(lesions_per_class):
            for _ in range(1 + lesion % 2):
                rows.append(
                    {
                        "lesion_id": f"HAM_{HAM10000.index(code)}{lesion:03d}",
                        "image_id": f"ISIC_{number:07d}",
                        "dx": code,
                        "dx_type": "histo",
                        "age": "" if number == 3 else str(20 + 5 * (number % 12)) + ".0",
                        "sex": ("male", "female")[number % 2],
                        "localization": ("back", "face", "trunk")[number % 3],
                    }
                )
                number += 1
    for index, row in enumerate(rows):
        if index == 5:
            continue
        part = folder / f"HAM10000_images_part_{1 + index % 2}"
        part.mkdir(parents=True, exist_ok=True)
        picture = draw_lesion(index, width_px=128, height_px=96, pigment=PIGMENTS[row["dx"]])
        (part / f"{row['image_id']}.jpg").write_bytes(encode(picture, quality=90))
    with (folder / "HAM10000_metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


BuildOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def build_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BuildOnce:
    """A function that returns the folder of a name: the first worker to ask fills it, no test may write into it."""
    base = shared_folder(request.config) or tmp_path_factory.getbasetemp()

    def build(name: str, fill: Callable[[Path], object]) -> Path:
        folder, filled = base / name, base / f"{name}.filled"
        with locked(base / f"{name}.lock"):
            if not filled.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                filled.touch()
        return folder

    return build


@pytest.fixture(scope="session")
def small_data(build_once: BuildOnce) -> Path:
    """A HAM10000-like folder of 83 drawn pictures."""
    return build_once("ham", build_data_folder)


@pytest.fixture(scope="session")
def small_model(small_data: Path, build_once: BuildOnce) -> Path:
    """The model folder of a seed-cnn trained on `small_data` through the command line, test looked at."""
    from skinai.__main__ import main

    def fill(folder: Path) -> None:
        command = ["train", "--data", str(small_data), "--architecture", "seed-cnn", "--epochs", "2"]
        assert main([*command, "--out", str(folder / "small")]) == 0

    return build_once("trained", fill) / "small"


@pytest.fixture(scope="session")
def gated_model(small_model: Path, small_data: Path, build_once: BuildOnce) -> Path:
    """The small model with a gate; blue squares stand for photographs that are no dermoscopy."""
    from skinai.__main__ import main

    def fill(folder: Path) -> None:
        photographs = folder / "photographs"
        photographs.mkdir()
        rng = np.random.default_rng(8)
        for number in range(60):
            picture = np.clip(np.array((40, 60, 190)) + rng.normal(0, 20, (240, 320, 3)), 0, 255).astype(np.uint8)
            (photographs / f"{number:03d}.jpg").write_bytes(encode(picture))
        (photographs / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
        model = shutil.copytree(small_model, folder / "gated" / "small")
        with draw_smaller_examples():
            assert main(["gates", str(model), "--data", str(small_data), "--unlike", str(photographs)]) == 0

    return build_once("gated", fill) / "gated" / "small"


@pytest.fixture(scope="session")
def shipped_model() -> Path:
    """The default model folder."""
    return models_folder() / DEFAULT_MODEL


@pytest.fixture(scope="session")
def real_data() -> Path:
    """HAM10000, from SKINAI_DATA or beside the checkout; its tests are skipped where there is none."""
    folder = Path(os.environ.get("SKINAI_DATA") or ROOT.parent / "shared" / "data" / "ham10000")
    if not (folder / "HAM10000_metadata.csv").is_file():
        pytest.skip("HAM10000 is not at hand: set SKINAI_DATA")
    return folder


@pytest.fixture
def lesion() -> np.ndarray:
    """One drawn lesion of 600 x 450."""
    return draw_lesion(11)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep decoded pictures of tests out of the user's cache."""
    os.environ["SKINAI_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _installed_packages_once() -> Iterator[None]:
    """Have Streamlit look once for packages with components, and not for every app that a test starts."""
    if "streamlit" not in sys.modules:
        yield
        return
    from streamlit.components.v2 import manifest_scanner

    with pytest.MonkeyPatch.context() as patch:
        name = "scan_component_manifests"
        patch.setattr(manifest_scanner, name, cache(getattr(manifest_scanner, name)))
        yield


def make_predictions(truths, *, mel, **columns) -> pd.DataFrame:
    """Return predictions that divide each row between melanoma (`mel`) and naevus; every picture is its own lesion."""
    images = [f"I{number:03d}" for number in range(len(truths))]
    table = pd.DataFrame({"image": images})
    for code in HAM10000.isic_order:
        table[code] = 0.0
    table["MEL"], table["NV"] = np.array(mel, dtype=float), 1 - np.array(mel, dtype=float)
    table["truth"], table["lesion"], table["group"] = list(truths), images, images
    for column in ("age_band", "sex", "localization", "dx_type"):
        table[column] = columns.get(column, "unknown")
    return table


@pytest.fixture(scope="session")
def own_model_folder(build_once: BuildOnce) -> Path:
    """A model of a user's own two classes, none of them malignant."""
    from skinai.__main__ import main

    def fill(folder: Path) -> None:
        data = folder / "moles"
        for name, pigment in (("dark", (40, 32, 44)), ("red", (170, 20, 40))):
            (data / name).mkdir(parents=True)
            for number in range(8):
                picture = draw_lesion(number, width_px=128, height_px=96, pigment=pigment)
                (data / name / f"{number}.jpg").write_bytes(encode(picture))
        command = ["train", "--data", str(data), "--architecture", "seed-cnn", "--epochs", "1"]
        assert main([*command, "--out", str(folder / "models" / "own")]) == 0

    return build_once("own", fill) / "models" / "own"


def make_photograph_predictions(labels: LabelSet, *, pictures: int = 300, seed: int = 5) -> pd.DataFrame:
    """Return made-up predictions of a label set of photographs: of skill, and in cases of one to four pictures.

    Of every tenth case the last picture has another class, as a patient may have two diseases. Nothing else is known.
    """
    rng = np.random.default_rng(seed)
    shares = np.linspace(3, 1, len(labels)) / np.linspace(3, 1, len(labels)).sum()
    truths, cases = [], []
    while len(truths) < pictures:
        number = len(set(cases))
        several = [int(rng.choice(len(labels), p=shares))] * int(rng.integers(1, 5))
        if number % 10 == 0:
            several.append((several[0] + 1) % len(labels))
        truths += several
        cases += [f"patient block-{number:03d}"] * len(several)
    truth, cases = np.array(truths[:pictures]), cases[:pictures]
    logits = rng.normal(0, 1, (pictures, len(labels)))
    logits[np.arange(pictures), truth] += 2
    odds = np.exp(logits)
    table = pd.DataFrame({"image": [f"photographs/{number:04d}.jpg" for number in range(pictures)]})
    table[list(labels.isic_order)] = odds / odds.sum(axis=1, keepdims=True)
    table["truth"] = [labels.codes[index] for index in truth]
    table["lesion"], table["group"] = cases, cases
    for column in SUBGROUPS:
        table[column] = "unknown"
    return table


@pytest.fixture(scope="session")
def three_class_model(build_once: BuildOnce) -> Path:
    """A model of three classes of photographs with long names, none malignant, that a table names and groups."""
    from skinai.__main__ import main

    def fill(folder: Path) -> None:
        data = folder / "photographs"
        data.mkdir()
        pigments = {"acne": (190, 90, 80), "fungal infection": (160, 60, 60), "psoriasis": (205, 140, 140)}
        rows = []
        for label, pigment in pigments.items():
            for number in range(20):
                name = f"{label.split()[0]}-{number:02d}.jpg"
                (data / name).write_bytes(encode(draw_lesion(number, width_px=128, height_px=96, pigment=pigment)))
                rows.append({"image": name, "label": label, "group": f"{label} {number // 2}"})
        pd.DataFrame(rows).to_csv(data / "photographs.csv", index=False)
        command = ["train", "--data", str(data), "--table", str(data / "photographs.csv"), "--epochs", "1"]
        assert main([*command, "--architecture", "seed-cnn", "--out", str(folder / "models" / "three")]) == 0

    return build_once("three", fill) / "models" / "three"


@pytest.fixture(scope="session")
def photographs() -> LabelSet:
    """Twelve classes of photographs, none of them malignant."""
    names = (
        *("Acne", "Another condition", "Bacterial infection", "Blistering disease", "Eczema", "Fungal infection"),
        *("Lichen planus", "Lupus", "Pigmented or keratotic lesion", "Psoriasis", "Rosacea", "Viral infection"),
    )
    codes = {name.lower().replace(" ", "-"): name for name in names}
    return build_label_set("photographs (own)", list(codes), names=codes, dermoscopy=["pigmented-or-keratotic-lesion"])


@pytest.fixture(scope="session")
def twelve_class_folder(
    photographs: LabelSet, three_class_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model folder of twelve classes with made-up predictions; it has no network and answers for no picture."""
    from skinai.__main__ import main

    folder = tmp_path_factory.mktemp("models") / "twelve"
    folder.mkdir()
    parts = []
    for seed, subset in enumerate(("test", "valid", "train"), 5):
        table = make_photograph_predictions(photographs, pictures=900 if subset == "train" else 300, seed=seed)
        table = table.assign(**{name: f"{subset} " + table[name] for name in ("image", "lesion", "group")})
        if subset != "train":
            write_predictions(table, folder / predictions_file(subset))
        parts.append(table.assign(subset=subset))
    split = pd.concat(parts, ignore_index=True)
    split = split.rename(columns={"image": "image_id", "lesion": "lesion_id", "truth": "dx"})
    split[["image_id", "lesion_id", "group", "subset"]].to_csv(folder / SPLIT_FILE, index=False)
    counted = split.assign(value="unknown").groupby(["dx", "subset", "value"], as_index=False)
    counts = counted.agg(pictures=("image_id", "size"), lesions=("lesion_id", "nunique"))
    write_json(
        folder / DATASET_FILE,
        {
            "name": photographs.name,
            "pictures": len(split),
            "lesions": int(split["lesion_id"].nunique()),
            "used": counts.drop(columns="value").to_dict("records"),
            "by_column": {column: counts.to_dict("records") for column in SUBGROUPS},
            "remarks": [],
        },
    )
    for part in (EXPORT_FILE, PROBE_FILE):
        (folder / part).write_bytes(b"none")
    kept = ("data", "training", "versions", "licence", "created_utc")
    facts = {name: part for name, part in load_bundle(three_class_model).facts.items() if name in kept}
    facts["calibration"] = {"temperature": 1.0, "exponent": 0.0, "offset": [0.0] * len(photographs)}
    write_bundle(
        folder,
        labels=photographs,
        frame=load_bundle(three_class_model).frame,
        probe=dict.fromkeys(photographs.codes, 1 / len(photographs)),
        facts=facts,
        parts=[SPLIT_FILE, DATASET_FILE],
    )
    assert main(["evaluate", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def holdout_photographs() -> list[Path]:
    """Paths of every eighth holdout photograph of the shipped clinical model, where they are at hand."""
    data = ROOT.parent / "shared" / "data" / "clinical"
    if not (data / "photographs.csv").is_file():
        pytest.skip("the clinical photographs are not at hand")
    split = read_split(models_folder() / CLINICAL_MODEL / "split.csv")
    return [data / name for name in split.loc[split["subset"] == "test", "image_id"][::8]]


@contextlib.contextmanager
def draw_smaller_examples() -> Iterator[None]:
    """Have gates and routers fitted on lesions of 300 px in place of 600, which the small model sees at 128."""
    from skinai.training import gates

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gates, "draw_lesion", partial(draw_lesion, width_px=300, height_px=225))
        yield


def shorten_lite0(patch: pytest.MonkeyPatch) -> None:
    """Have EfficientNet-Lite0 consist of five blocks, which take a quarter of the time to build.

    There is one of every kind: with and without expansion, of 3 and of 5 pixels, with and without a residual, with and
    without a stride.
    """
    from skinai.model.architectures import ARCHITECTURES, build_inverted_residuals
    from skinai.model.efficientnet_lite import LITE0

    short = replace(LITE0, plan=((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 1, 6, 40, 2), (5, 1, 6, 80, 1)))
    build = partial(build_inverted_residuals, short)
    patch.setitem(ARCHITECTURES, LITE0.name, replace(ARCHITECTURES[LITE0.name], build=build))
