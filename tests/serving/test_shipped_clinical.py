"""The model for clinical photographs that lies in models/ is what is said of it."""

import numpy as np
import pytest

from skinai.artefacts import predictions_file
from skinai.data.images import cover_mark, read_picture
from skinai.data.predictions import read_predictions
from skinai.evaluation.report import read_report
from skinai.labels import build_label_set
from skinai.model.bundle import CLINICAL_MODEL, load_bundle, models_folder
from skinai.serving.predictor import Predictor

pytestmark = pytest.mark.shipped
MOST_MB = 45


@pytest.fixture(scope="module")
def folder():
    return models_folder() / CLINICAL_MODEL


def test_the_label_set_travels_with_the_model(folder):
    labels = load_bundle(folder).labels
    assert len(labels) == 12
    assert {"acne", "eczema", "psoriasis", "fungal-infection"} <= set(labels.codes)
    assert labels.by_code("fungal-infection").name == "Fungal infection"
    assert labels.dermoscopy_codes == ("pigmented-or-keratotic-lesion",)
    assert labels.malignant_codes == ()
    again = build_label_set(
        labels.name,
        labels.codes,
        names=dict(zip(labels.codes, labels.names, strict=True)),
        dermoscopy=labels.dermoscopy_codes,
    )
    assert again == labels


def test_the_model_is_far_better_than_always_the_largest_group(folder):
    report = read_report(folder, load_bundle(folder).labels)
    assert report.overall["accuracy"].low > report.baseline["accuracy"].value + 0.1
    assert report.overall["macro_f1"].low > 3 * report.baseline["macro_f1"].value
    assert report.scores["top3_accuracy"].low > report.baseline["top3_accuracy"].value


def test_its_card_says_what_it_rests_on(folder):
    bundle = load_bundle(folder)
    said = " ".join(bundle.notes)
    for word in ("atlas", "rosacea 78", "patient"):
        assert word in said
    assert "non-commercial" in bundle.facts["licence"]


def test_all_model_folders_together_are_small():
    size = sum(path.stat().st_size for path in models_folder().rglob("*") if path.is_file())
    assert size <= MOST_MB * 1e6


@pytest.mark.data
def test_photographs_with_and_without_the_atlas_mark_are_answered_equally_well(folder, holdout_photographs):
    predictor = Predictor.load(folder)
    stored = read_predictions(folder / predictions_file("test"), predictor.bundle.labels).set_index("image")
    right = []
    for path in holdout_photographs:
        picture = read_picture(path)
        truth = stored.loc[f"{path.parent.name}/{path.name}", "truth"]
        both = (picture, cover_mark(picture, predictor.bundle.mark))
        right.append([predictor.predict(one).top.code == truth for one in both])
    assert len(right) >= 80
    with_mark, without = np.mean(right, axis=0)
    assert abs(with_mark - without) <= 0.06
