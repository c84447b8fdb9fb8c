"""A router is read only as it was written, for the model it was fitted for, and chooses by its thresholds."""

import json

import numpy as np
import pytest

from skinai.artefacts import hash_file
from skinai.data.quality import MEASURES
from skinai.errors import ModelError
from skinai.model.perceptron import Perceptron, write_arrays
from skinai.model.router import ROUTES, SPACES, Route, Router, Space, name_arrays, read_router

CHANNELS, DIMENSIONS, UNITS = {"clinical": 12, "dermoscopy": 9}, 4, 5
FEATURES = len(MEASURES) + 2 * (DIMENSIONS + 1)


def build_router():
    rng = np.random.default_rng(3)
    shapes = ((FEATURES,), (FEATURES,), (FEATURES, UNITS), (UNITS,), (UNITS, 3), (3,))
    arrays = [rng.uniform(0.5, 1.5, size=shape).astype(np.float32) for shape in shapes]
    spaces = {}
    for kind, channels in CHANNELS.items():
        directions = np.linalg.qr(rng.normal(size=(channels, DIMENSIONS)))[0].T.astype(np.float32)
        spaces[kind] = Space(rng.normal(size=channels).astype(np.float32) / 10, directions)
    return Router(Perceptron(*arrays), spaces, {"dermoscopy": 0.4, "clinical": 0.3}, "second", "def")


def write(router, folder, **changes):
    arrays = [array for kind in SPACES for array in (router.spaces[kind].centre, router.spaces[kind].directions)]
    write_arrays(folder / "router.npz", router.network, **dict(zip(name_arrays(), arrays, strict=True)))
    facts = {
        "fingerprint": "abc",
        "routes": list(ROUTES),
        "measures": list(MEASURES),
        "thresholds": dict(router.thresholds),
        "weights_sha256": hash_file(folder / "router.npz"),
        "second": {"name": router.second_name, "fingerprint": router.second_fingerprint},
    }
    (folder / "router.json").write_text(json.dumps(facts | changes))


def test_what_was_written_is_read(tmp_path):
    router = build_router()
    write(router, tmp_path)
    found = read_router(tmp_path, fingerprint="abc", embedding_size=CHANNELS["clinical"])
    frame = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    rng = np.random.default_rng(2)
    embeddings = {kind: rng.normal(size=channels).astype(np.float32) for kind, channels in CHANNELS.items()}
    features = found.build_features(frame, embeddings)
    assert features.shape == (FEATURES,)
    np.testing.assert_allclose(features, router.build_features(frame, embeddings), rtol=1e-5)
    route = found.route(features)
    assert isinstance(route, Route)
    assert tuple(route.shares) == ROUTES
    assert sum(route.shares.values()) == pytest.approx(1)
    assert read_router(tmp_path / "elsewhere", fingerprint="abc", embedding_size=CHANNELS["clinical"]) is None


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
        ({"second": {"name": "second"}}, "damaged"),
        ({"second": {"name": "../second", "fingerprint": "def"}}, "damaged"),
        ({"second": {"name": "..", "fingerprint": "def"}}, "damaged"),
    ],
)
def test_a_router_that_does_not_belong_is_refused(tmp_path, changes, sentence):
    write(build_router(), tmp_path, **changes)
    with pytest.raises(ModelError, match=sentence):
        read_router(tmp_path, fingerprint="abc", embedding_size=CHANNELS["clinical"])


def test_a_router_for_another_network_and_damaged_files_are_refused(tmp_path):
    write(build_router(), tmp_path)
    with pytest.raises(ModelError, match="damaged"):
        read_router(tmp_path, fingerprint="abc", embedding_size=CHANNELS["clinical"] + 1)
    (tmp_path / "router.npz").write_bytes(b"PK nothing")
    with pytest.raises(ModelError, match="damaged"):
        read_router(tmp_path, fingerprint="abc", embedding_size=CHANNELS["clinical"])
    (tmp_path / "router.npz").unlink()
    with pytest.raises(ModelError, match=r"router\.npz is missing"):
        read_router(tmp_path, fingerprint="abc", embedding_size=CHANNELS["clinical"])
    for text in ("{", "[]"):
        (tmp_path / "router.json").write_text(text)
        with pytest.raises(ModelError, match="damaged"):
            read_router(tmp_path, fingerprint="abc", embedding_size=CHANNELS["clinical"])
