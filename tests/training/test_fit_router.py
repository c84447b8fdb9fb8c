"""A router's thresholds keep the two kinds where they belong; its members are averaged into one network."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import encode

from skinai.artefacts import hash_file
from skinai.data.drawing import draw_lesion
from skinai.model.perceptron import read_arrays, write_arrays
from skinai.model.router import CLINICAL, DERMOSCOPY, choose_route
from skinai.training.gates import fit_perceptron
from skinai.training.router import learn_overlay, set_thresholds


def draw(rng, sharpness, index, count=2000):
    """Probabilities for pictures of one kind, of which a few look like another."""
    logits = rng.normal(size=(count, 3))
    logits[:, index] += sharpness
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def shares():
    rng = np.random.default_rng(4)
    return draw(rng, 5, 0), draw(rng, 4.5, 1), draw(rng, 3, 2)


def miss(shares, thresholds):
    """Return the shares of each kind that go elsewhere."""
    return [float((choose_route(one, thresholds) != index).mean()) for index, one in enumerate(shares)]


def miss_at_all(shares):
    steps = np.arange(0.02, 0.91, 0.02)
    return [miss(shares, {DERMOSCOPY: first, CLINICAL: second}) for first in steps for second in steps]


def test_a_mark_is_learned_as_if_files_that_cannot_be_read_were_not_there(tmp_path):
    """Photographs with a white line, and a white field that is no line: what is learned is the line."""
    paths = []
    for number in range(8):
        picture = draw_lesion(number, width_px=320, height_px=240)
        picture[210:218, 10:90] = picture[:80, 200:] = 255
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(encode(picture, "PNG"))
    broken = [tmp_path / f"broken {number}.png" for number in range(8)]
    for path in broken:
        path.write_bytes(b"no picture")
    mark = (0.0, 0.75, 0.4, 1.0)
    learned = learn_overlay([*paths, *broken], mark)
    np.testing.assert_array_equal(learned.cover, learn_overlay(paths, mark).cover)
    laid = learned.lay_over(np.zeros((240, 320, 3), np.uint8))
    assert laid[211:217, 12:88].min() > 200
    assert laid[:80, 200:].max() == 0


def test_they_keep_what_is_wanted_and_none_that_keep_it_tell_more(shares):
    thresholds = set_thresholds({DERMOSCOPY: shares[0], CLINICAL: shares[1]}, shares[2])
    lost = miss(shares, thresholds)
    wanted = 0.015, 0.02
    assert all(share <= most for share, most in zip(lost, wanted, strict=False))
    others = miss_at_all(shares)
    kept = [other[2] for other in others if other[0] <= wanted[0] and other[1] <= wanted[1]]
    assert 0 < len(kept) < len(others)
    assert lost[2] == pytest.approx(min(kept))


def test_where_none_keep_it_those_are_taken_that_come_nearest(shares):
    rng = np.random.default_rng(5)
    blurred = draw(rng, 1, 0), draw(rng, 1, 1), shares[2]
    thresholds = set_thresholds({DERMOSCOPY: blurred[0], CLINICAL: blurred[1]}, blurred[2])

    def exceed(lost):
        return max(lost[0] - 0.015, lost[1] - 0.02)

    nearest = min(map(exceed, miss_at_all(blurred)))
    assert nearest > 0
    assert exceed(miss(blurred, thresholds)) == pytest.approx(nearest)


def test_what_is_told_at_any_thresholds_leaves_the_two_kinds_the_least():
    sure = np.eye(3)
    kinds = {DERMOSCOPY: sure[[0] * 10], CLINICAL: sure[[1] * 10]}
    assert set_thresholds(kinds, sure[[2] * 10]) == {DERMOSCOPY: 0.02, CLINICAL: 0.02}


def test_members_are_averaged_by_their_logits_and_kept_in_half_the_bytes(tmp_path):
    rng = np.random.default_rng(6)
    kinds = rng.integers(0, 3, 300)
    features = (rng.normal(size=(300, 5)) + kinds[:, None]).astype(np.float32)
    options = {"penalty": 1.0, "units": 8}
    joined = fit_perceptron(features, kinds, seed=3, members=2, **options)
    apart = [fit_perceptron(features, kinds, seed=seed, **options).tell_kinds(features) for seed in (3, 4)]
    odds = np.exp(np.mean(np.log(apart), axis=0))
    np.testing.assert_allclose(joined.tell_kinds(features), odds / odds.sum(axis=1, keepdims=True), rtol=1e-4)
    assert np.abs(apart[0] - apart[1]).max() > 0.01
    half = replace(joined, hidden=joined.hidden.astype(np.float16))
    write_arrays(tmp_path / "whole.npz", joined)
    write_arrays(tmp_path / "half.npz", half)
    read, _ = read_arrays(tmp_path / "half.npz", sha256=hash_file(tmp_path / "half.npz"))
    assert read.hidden.dtype == np.float32
    assert (read.hidden == half.hidden).all()
    with np.load(tmp_path / "half.npz") as file:
        assert file["hidden"].nbytes * 2 == joined.hidden.nbytes
