"""A gate is read only as it was written, for the model it was fitted for."""

import json
from dataclasses import replace

import numpy as np
import pytest

from skinai.artefacts import hash_file
from skinai.data.quality import MEASURES
from skinai.errors import ModelError
from skinai.model.gates import DERMOSCOPY, KINDS, SENTENCES, Gates, build_features, describe_gates, read_gates
from skinai.model.perceptron import Perceptron, write_arrays
from skinai.model.reference import build_reference

FEATURES, UNITS = len(MEASURES) + 5, 6


def build_gates(kinds=KINDS[DERMOSCOPY], threshold=0.4):
    rng = np.random.default_rng(5)
    shapes = ((FEATURES,), (FEATURES,), (FEATURES, UNITS), (UNITS,), (UNITS, len(kinds)), (len(kinds),))
    arrays = [rng.uniform(0.5, 1.5, size=shape).astype(np.float32) for shape in shapes]
    return Gates(threshold, Perceptron(*arrays), kinds)


def write(gates, folder, **changes):
    write_arrays(folder / "gates.npz", gates.network)
    facts = describe_gates(gates, fingerprint="abc", weights_sha256=hash_file(folder / "gates.npz")) | changes
    (folder / "gates.json").write_text(json.dumps(facts))


@pytest.mark.parametrize("passes", list(KINDS))
def test_what_was_written_is_read(tmp_path, passes):
    gates = build_gates(KINDS[passes])
    write(gates, tmp_path)
    found = read_gates(tmp_path, fingerprint="abc")
    assert found.kinds == KINDS[passes]
    features = np.random.default_rng(6).normal(size=(8, FEATURES))
    answers = found.network.tell_kinds(features)
    np.testing.assert_allclose(answers, gates.network.tell_kinds(features), rtol=1e-5)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


def test_a_model_without_a_gate_has_none(tmp_path):
    assert read_gates(tmp_path, fingerprint="abc") is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fingerprint": "other"}, "belongs to the model other"),
        ({"weights_sha256": "0"}, "damaged"),
        ({"kinds": list(reversed(KINDS[DERMOSCOPY]))}, "damaged"),
        ({"kinds": list(KINDS["photograph"])}, "damaged"),
        ({"measures": list(MEASURES[:-1])}, "damaged"),
        ({"threshold": None}, "damaged"),
    ],
)
def test_a_gate_that_does_not_belong_is_refused(tmp_path, changes, sentence):
    write(build_gates(), tmp_path, **changes)
    with pytest.raises(ModelError, match=sentence):
        read_gates(tmp_path, fingerprint="abc")


def test_damaged_and_missing_weights_are_refused(tmp_path):
    write(build_gates(), tmp_path)
    (tmp_path / "gates.npz").write_bytes(b"PK nothing")
    with pytest.raises(ModelError, match="damaged"):
        read_gates(tmp_path, fingerprint="abc")
    (tmp_path / "gates.npz").unlink()
    with pytest.raises(ModelError, match=r"gates\.npz is missing"):
        read_gates(tmp_path, fingerprint="abc")
    (tmp_path / "gates.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        read_gates(tmp_path, fingerprint="abc")


@pytest.mark.parametrize("passes", list(KINDS))
def test_the_reason_is_the_likeliest_kind_of_those_refused(passes):
    kinds = KINDS[passes]
    network = build_gates(kinds).network
    for kind in kinds:
        # Whatever the features are, the last layer's constant decides.
        last_bias = np.where(np.array(kinds) == kind, 8.0, 0.0)
        decided = Gates(0.5, replace(network, last=network.last * 0, last_bias=last_bias), kinds)
        verdict = decided.judge(np.zeros(FEATURES))
        assert verdict.reason == (None if kind == passes else kind)
        assert verdict.sentence == SENTENCES.get(kind)
        assert (verdict.probability > 0.9) == (kind == passes)


def test_features_are_the_measures_and_the_place_among_the_training_pictures():
    rng = np.random.default_rng(7)
    embeddings = rng.normal(size=(40, 20)).astype(np.float32)
    names = np.array([f"p{number}" for number in range(40)])
    reference = build_reference(embeddings, names, names, np.array(["nv"] * 40))
    features = build_features(np.zeros((48, 64, 3), np.uint8), embeddings[0], reference)
    assert features.shape == (len(MEASURES) + reference.directions.shape[0] + 1,)
    # Along the directions and off them together make the whole distance from the mean.
    unit = embeddings[0] / np.linalg.norm(embeddings[0])
    assert np.linalg.norm(features[len(MEASURES) :]) == pytest.approx(np.linalg.norm(unit - reference.mean), rel=1e-2)
