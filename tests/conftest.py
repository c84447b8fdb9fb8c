"""What tests share: a small HAM10000-like folder drawn by program, a network trained on it, and where real data lie."""

from __future__ import annotations

import csv
import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from skinai.data.drawing import draw_lesion
from skinai.labels import HAM10000
from skinai.model.bundle import DEFAULT_MODEL, models_folder

ROOT = Path(__file__).resolve().parents[1]
DERMOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.7"
SINGLE_NETWORKS = ("ham10000-efficientnet-lite0", "ham10000-seed-cnn")
SHIPPED_MODELS = (DEFAULT_MODEL, *SINGLE_NETWORKS)
PIGMENTS = {
    "akiec": (205, 120, 110),
    "bcc": (180, 140, 150),
    "bkl": (150, 120, 70),
    "df": (190, 110, 60),
    "mel": (40, 32, 44),
    "nv": (110, 66, 44),
    "vasc": (170, 20, 40),
}


def encode(picture: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    """Encode an array as a picture file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format=kind, **options)
    return buffer.getvalue()


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
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
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


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HAM10000-like folder of 83 drawn pictures."""
    return build_data_folder(tmp_path_factory.mktemp("ham"))


@pytest.fixture(scope="session")
def small_model(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a seed-cnn trained on `small_data` through the command line, test looked at."""
    from skinai.__main__ import main

    out = tmp_path_factory.mktemp("models") / "small"
    arguments = ["train", "--data", str(small_data), "--architecture", "seed-cnn", "--epochs", "2", "--out", str(out)]
    assert main(arguments) == 0
    return out


@pytest.fixture(scope="session")
def gated_model(small_model: Path, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with a gate; blue squares stand for photographs that are no dermoscopy."""
    from skinai.__main__ import main

    folder = Path(shutil.copytree(small_model, tmp_path_factory.mktemp("gated") / "small"))
    photographs = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(8)
    for number in range(60):
        picture = np.clip(np.array((40, 60, 190)) + rng.normal(0, 20, (240, 320, 3)), 0, 255).astype(np.uint8)
        (photographs / f"{number:03d}.jpg").write_bytes(encode(picture))
    (photographs / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    assert main(["gates", str(folder), "--data", str(small_data), "--unlike", str(photographs)]) == 0
    return folder


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
def own_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a user's own two classes, none of them malignant."""
    from skinai.__main__ import main

    folder = tmp_path_factory.mktemp("moles")
    for name, pigment in (("dark", (40, 32, 44)), ("red", (170, 20, 40))):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            picture = draw_lesion(number, width_px=128, height_px=96, pigment=pigment)
            (folder / name / f"{number}.jpg").write_bytes(encode(picture))
    out = tmp_path_factory.mktemp("models") / "own"
    command = ["train", "--data", str(folder), "--architecture", "seed-cnn", "--epochs", "1", "--out", str(out)]
    assert main(command) == 0
    return out
