"""A router is read only as it was written, for the model it was fitted for, and chooses by its thresholds."""

import json

import numpy as np
import pytest

from skinai.artefacts import hash_file
from skinai.data.quality import MEASURES
from skinai.errors import ModelError
from skinai.model.perceptron import Perceptron, write_arrays
from skinai.model.router import ROUTES, Route, Router, read_router

CHANNELS, DIMENSIONS, UNITS = 12, 4, 5
FEATURES = len(MEASURES) + DIMENSIONS + 1


def build_router():
    rng = np.random.default_rng(3)
    shapes = ((FEATURES,), (FEATURES,), (FEATURES, UNITS), (UNITS,), (UNITS, 3), (3,))
    arrays = [rng.uniform(0.5, 1.5, size=shape).astype(np.float32) for shape in shapes]
    directions = np.linalg.qr(rng.normal(size=(CHANNELS, DIMENSIONS)))[0].T.astype(np.float32)
    centre = rng.normal(size=CHANNELS).astype(np.float32) / 10
    return Router(Perceptron(*arrays), centre, directions, {"dermoscopy": 0.4, "clinical": 0.3})


def write(router, folder, **changes):
    write_arrays(folder / "router.npz", router.network, centre=router.centre, directions=router.directions)
    facts = {
        "fingerprint": "abc",
        "routes": list(ROUTES),
        "measures": list(MEASURES),
        "thresholds": dict(router.thresholds),
        "weights_sha256": hash_file(folder / "router.npz"),
    }
    (folder / "router.json").write_text(json.dumps(facts | changes))


def test_what_was_written_is_read(tmp_path):
    router = build_router()
    write(router, tmp_path)
    found = read_router(tmp_path, fingerprint="abc", embedding_size=CHANNELS)
    frame = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    embedding = np.random.default_rng(2).normal(size=CHANNELS).astype(np.float32)
    features = found.build_features(frame, embedding)
    assert features.shape == (FEATURES,)
    np.testing.assert_allclose(features, router.build_features(frame, embedding), rtol=1e-5)
    route = found.route(features)
    assert isinstance(route, Route)
    assert tuple(route.shares) == ROUTES
    assert sum(route.shares.values()) == pytest.approx(1)
    assert read_router(tmp_path / "elsewhere", fingerprint="abc", embedding_size=CHANNELS) is None


def test_a_picture_goes_where_its_threshold_is_reached_and_to_the_likelier_of_two():
    shares = np.array([[0.5, 0.2, 0.3], [0.2, 0.35, 0.45], [0.41, 0.42, 0.17], [0.2, 0.2, 0.6], [0.39, 0.29, 0.32]])
    assert [ROUTES[place] for place in build_router().choose(shares)] == [
        "dermoscopy",
        "clinical",
        "clinical",
        "neither",
        "neither",
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fingerprint": "other"}, "belongs to the model other"),
        ({"weights_sha256": "0"}, "damaged"),
        ({"routes": ["clinical", "dermoscopy", "neither"]}, "damaged"),
        ({"measures": list(MEASURES[1:])}, "damaged"),
        ({"thresholds": {"dermoscopy": 0.4}}, "damaged"),
        ({"thresholds": {"dermoscopy": 0.4, "clinical": 1.5}}, "damaged"),
        ({"thresholds": {"dermoscopy": "much", "clinical": 0.5}}, "damaged"),
    ],
)
def test_a_router_that_does_not_belong_is_refused(tmp_path, changes, sentence):
    write(build_router(), tmp_path, **changes)
    with pytest.raises(ModelError, match=sentence):
        read_router(tmp_path, fingerprint="abc", embedding_size=CHANNELS)


def test_a_router_for_another_network_and_damaged_files_are_refused(tmp_path):
    write(build_router(), tmp_path)
    with pytest.raises(ModelError, match="damaged"):
        read_router(tmp_path, fingerprint="abc", embedding_size=CHANNELS + 1)
    (tmp_path / "router.npz").write_bytes(b"PK nothing")
    with pytest.raises(ModelError, match="damaged"):
        read_router(tmp_path, fingerprint="abc", embedding_size=CHANNELS)
    (tmp_path / "router.npz").unlink()
    with pytest.raises(ModelError, match=r"router\.npz is missing"):
        read_router(tmp_path, fingerprint="abc", embedding_size=CHANNELS)
    for text in ("{", "[]"):
        (tmp_path / "router.json").write_text(text)
        with pytest.raises(ModelError, match="damaged"):
            read_router(tmp_path, fingerprint="abc", embedding_size=CHANNELS)
