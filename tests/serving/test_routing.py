"""The desk sends pictures to the model for their kind, and says so when the user wants another."""

from types import SimpleNamespace

import numpy as np
import pytest

from skinai.data.images import FrameRule
from skinai.errors import ModelError
from skinai.labels import HAM10000, build_label_set
from skinai.model.router import NEITHER, Route
from skinai.serving.routing import Desk, Routing, find_common
from skinai.wording import say_routing

SHARES = {
    "dermoscopy": {"dermoscopy": 0.97, "clinical": 0.02, "neither": 0.01},
    "clinical": {"dermoscopy": 0.1, "clinical": 0.85, "neither": 0.05},
    "neither": {"dermoscopy": 0.1, "clinical": 0.2, "neither": 0.7},
}


class ByColour:
    """Stands for a router: red pictures are dermoscopy, green ones photographs, all others neither."""

    second_name, second_fingerprint = "second", "def"

    def build_features(self, frame, embeddings):
        assert set(embeddings) == {"clinical", "dermoscopy"}
        return frame.mean(axis=(0, 1))

    def route(self, features):
        kind = "dermoscopy" if features[0] > 128 else "clinical" if features[1] > 128 else "neither"
        return Route(kind, SHARES[kind])


def picture(red, green):
    return np.broadcast_to(np.array((red, green, 0), np.uint8), (48, 64, 3)).copy()


SIZES = ((32, 24), (16, 12))
RED, GREEN, BLACK = picture(255, 0), picture(0, 255), picture(0, 0)


@pytest.fixture
def desk():
    session = SimpleNamespace(run=lambda frame: {"embedding": np.zeros(3, np.float32)})
    looks = [SimpleNamespace(bundle=SimpleNamespace(frame=FrameRule(*size)), session=session) for size in SIZES]
    clinical = SimpleNamespace(predictor=looks[0])
    return Desk({"dermoscopy": SimpleNamespace(), "clinical": clinical}, ByColour(), looks[1])


@pytest.mark.parametrize(
    ("pictures", "answered_by"),
    [
        ([RED], "dermoscopy"),
        ([GREEN], "clinical"),
        ([BLACK], None),
        ([RED, RED], "dermoscopy"),
        ([RED, GREEN], None),
        ([GREEN, BLACK], None),
    ],
)
def test_the_router_decides_for_all_pictures_together(desk, pictures, answered_by):
    routing = desk.route(pictures)
    assert (routing.answered_by, routing.proposed, routing.overruled) == (answered_by, answered_by, False)
    assert len(routing.routes) == len(pictures)


def test_a_choice_against_the_router_is_marked_and_one_with_it_is_not(desk):
    assert desk.route([RED], chosen="dermoscopy").overruled is False
    against = desk.route([RED], chosen="clinical")
    assert against.overruled
    assert against.as_dict() == {
        "answered_by": "clinical",
        "overruled": True,
        "pictures": [
            {"kind": "dermoscopy", "share_dermoscopy": 0.97, "share_clinical": 0.02, "share_neither": 0.01},
        ],
    }
    assert desk.route([BLACK], chosen="dermoscopy").overruled
    assert desk.route([RED, GREEN], chosen="dermoscopy").overruled


@pytest.mark.parametrize(
    ("pictures", "chosen", "said"),
    [
        ([RED], None, "The model for dermoscopy answers: the router takes this for a dermoscopy picture (97.0%)."),
        ([GREEN, GREEN], None, "takes these pictures for a clinical photograph, taken without a dermatoscope (85.0%)"),
        ([BLACK], None, "so neither model answers"),
        ([RED, GREEN], None, "for different kinds (1: a dermoscopy picture; 2: a clinical photograph"),
        ([RED], "clinical", "You chose the model for clinical photographs, and the router takes this for a dermoscopy"),
    ],
)
def test_it_is_said_which_model_answers_and_why(desk, pictures, chosen, said):
    assert said in say_routing(desk.route(pictures, chosen=chosen))


def test_one_model_alone_needs_no_router():
    own = SimpleNamespace(predictor=SimpleNamespace(bundle=SimpleNamespace(labels=build_label_set("own", ["a", "b"]))))
    for desk in (Desk.join(own, None), Desk.join(own, SimpleNamespace())):
        assert desk.router is None
        assert desk.main is own
        assert desk.route([BLACK]) == Routing((), "dermoscopy")
        assert not desk.route([BLACK]).overruled


def test_a_second_model_without_a_router_is_refused(tmp_path):
    main = SimpleNamespace(predictor=SimpleNamespace(bundle=SimpleNamespace(labels=HAM10000)))
    bundle = SimpleNamespace(folder=tmp_path, fingerprint="abc", name="second")
    second = SimpleNamespace(predictor=SimpleNamespace(bundle=bundle, session=SimpleNamespace(embedding_size=3)))
    with pytest.raises(ModelError, match="second has no router"):
        Desk.join(main, second)


def test_pictures_that_are_neither_have_nothing_in_common():
    route = Route(NEITHER, SHARES[NEITHER])
    assert find_common([]) is None
    assert find_common([route, route]) is None
