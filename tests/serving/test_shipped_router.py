"""The shipped router sends pictures where they belong."""

import json

import numpy as np
import pytest

from skinai.data.drawing import draw_page
from skinai.data.images import cover_mark, read_picture
from skinai.model.bundle import CLINICAL_MODEL, find_clinical_folder, find_model_folder, models_folder
from skinai.model.router import expect_route
from skinai.serving.routing import Desk
from skinai.ui.examples import DRAWN, PHOTOGRAPHS

pytestmark = pytest.mark.shipped
LEAST = {"dermoscopy": 0.98, "clinical": 0.95, "neither": 0.97}


@pytest.fixture(scope="module")
def desk():
    return Desk.load(find_model_folder(), find_clinical_folder())


def test_pictures_that_were_held_out_go_where_they_belong():
    held = json.loads((models_folder() / CLINICAL_MODEL / "router.json").read_text())["held_out"]
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
    for name, draw in {**DRAWN, **PHOTOGRAPHS}.items():
        kind = "clinical" if name in PHOTOGRAPHS else "neither" if draw is draw_page else "dermoscopy"
        assert desk.route([draw()]).routes[0].kind == kind, name
    for draw in PHOTOGRAPHS.values():
        assert not desk.assessors["clinical"].assess(draw()).refused


@pytest.mark.data
def test_photographs_go_to_their_model_with_and_without_the_atlas_mark(desk, holdout_photographs):
    pictures = [read_picture(path) for path in holdout_photographs]
    assert len(pictures) >= 80
    mark = desk.assessors["clinical"].predictor.bundle.mark
    kinds = [[desk.route([one]).routes[0].kind for one in (picture, cover_mark(picture, mark))] for picture in pictures]
    # All 600 are counted above; of these few, two standard errors below the bound are chance.
    least = LEAST["clinical"] - 2 * np.sqrt(LEAST["clinical"] * (1 - LEAST["clinical"]) / len(kinds))
    for way in (0, 1):
        assert np.mean([pair[way] == "clinical" for pair in kinds]) >= least
