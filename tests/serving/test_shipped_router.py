"""The shipped router and the model for clinical photographs do what is said of them."""

import json

import numpy as np
import pytest
from conftest import ROOT

from skinai.data.drawing import draw_page
from skinai.data.images import cover_mark, read_picture
from skinai.data.split import read_split
from skinai.evaluation.report import read_report
from skinai.labels import build_label_set
from skinai.model.bundle import CLINICAL_MODEL, find_clinical_folder, find_model_folder, load_bundle, models_folder
from skinai.model.router import expect_route
from skinai.serving.routing import Desk
from skinai.ui.examples import DRAWN, PHOTOGRAPHS

pytestmark = pytest.mark.shipped
LEAST = {"dermoscopy": 0.98, "clinical": 0.95, "neither": 0.97}
MOST_MB = 45


@pytest.fixture(scope="module")
def folder():
    return models_folder() / CLINICAL_MODEL


@pytest.fixture(scope="module")
def desk():
    return Desk.load(find_model_folder(), find_clinical_folder())


@pytest.fixture(scope="module")
def photographs():
    """Paths of every eighth holdout photograph, where they are at hand."""
    data = ROOT.parent / "shared" / "data" / "clinical"
    if not (data / "photographs.csv").is_file():
        pytest.skip("the clinical photographs are not at hand")
    split = read_split(models_folder() / CLINICAL_MODEL / "split.csv")
    return [data / name for name in split.loc[split["subset"] == "test", "image_id"][::8]]


def test_pictures_that_were_held_out_go_where_they_belong(folder):
    held = json.loads((folder / "router.json").read_text())["held_out"]
    for marked in (False, True):
        right, all_of = dict.fromkeys(LEAST, 0), dict.fromkeys(LEAST, 0)
        for name, counts in held.items():
            if name.startswith("drawn") or (name.endswith("_marked") or name == "clinical_as_it_is") != marked:
                continue
            kind = expect_route(name)
            right[kind] += counts[kind]
            all_of[kind] += counts["pictures"]
        for kind, least in LEAST.items():
            assert all_of[kind] >= 200
            assert right[kind] / all_of[kind] >= least, (kind, marked)


def test_drawn_examples_are_answered_by_the_model_for_their_kind(desk):
    for name, draw in DRAWN.items():
        kind = "clinical" if name in PHOTOGRAPHS else "neither" if draw is draw_page else "dermoscopy"
        assert desk.route([draw()]).routes[0].kind == kind, name
    for draw in PHOTOGRAPHS.values():
        assert not desk.assessors["clinical"].assess(draw()).refused


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
def test_photographs_with_and_without_the_atlas_mark_are_treated_alike(desk, photographs):
    pictures = [read_picture(path) for path in photographs]
    assert len(pictures) >= 80
    mark = desk.assessors["clinical"].predictor.bundle.mark
    tops, kinds, moved = [], [], []
    for picture in pictures:
        both = [picture, cover_mark(picture, mark)]
        answers = [desk.assessors["clinical"].predictor.predict(one) for one in both]
        tops.append(answers[0].top == answers[1].top)
        moved.append(np.abs(np.subtract(answers[0].probabilities, answers[1].probabilities)).max())
        kinds.append([desk.route([one]).routes[0].kind for one in both])
    assert np.mean(tops) >= 0.85
    assert np.mean(moved) <= 0.08
    for way in (0, 1):
        assert np.mean([pair[way] == "clinical" for pair in kinds]) >= 0.95
