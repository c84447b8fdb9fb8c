"""The reference index finds the lesion itself first, and each lesion once."""

import numpy as np
import pytest
from PIL import Image

from skinai.data.drawing import draw_lesion
from skinai.data.images import FrameRule, frame_picture, read_picture
from skinai.data.metadata import read_data_folder
from skinai.errors import ModelError
from skinai.model.reference import build_reference, read_reference, take_print, write_reference
from skinai.serving.predictor import Predictor


def test_training_pictures_find_themselves(small_model, small_data):
    index = read_reference(small_model / "reference.npz")
    predictor = Predictor.load(small_model)
    paths = read_data_folder(small_data).present.set_index("image_id")["path"]
    split = (small_model / "split.csv").read_text()
    assert all(f"{image}," in split for image in index.image_ids)
    for row in range(0, len(index.image_ids), 7):
        picture = read_picture(paths[index.image_ids[row]])
        embedding = predictor.session.run(frame_picture(picture, predictor.bundle.frame))["embedding"]
        rows, similarities = index.find_nearest(embedding, 3)
        assert index.lesion_ids[rows[0]] == index.lesion_ids[row]
        assert similarities[0] == pytest.approx(1, abs=0.02)
        assert (np.diff(similarities) <= 0).all()
        assert len(set(index.lesion_ids[rows])) == 3


def test_only_training_pictures_are_in_the_index(small_model):
    rows = [line.split(",") for line in (small_model / "split.csv").read_text().splitlines()[1:]]
    train = {row[0] for row in rows if row[3] == "train"}
    assert set(read_reference(small_model / "reference.npz").image_ids) <= train


def test_what_is_written_is_read(tmp_path):
    rng = np.random.default_rng(1)
    embeddings = rng.normal(size=(30, 200)).astype(np.float32)
    names = np.array([f"p{number}" for number in range(30)])
    index = build_reference(embeddings, names, names, np.array(["nv"] * 30))
    assert index.vectors.shape == (30, 29)
    np.testing.assert_allclose(np.linalg.norm(index.vectors, axis=1), 1, rtol=1e-5)
    write_reference(index, tmp_path / "reference.npz")
    read = read_reference(tmp_path / "reference.npz")
    np.testing.assert_allclose(read.vectors, index.vectors, atol=1e-3)
    np.testing.assert_array_equal(read.directions, index.directions)
    assert read.image_ids.tolist() == names.tolist()


def test_a_damaged_index_is_a_sentence(tmp_path):
    with pytest.raises(ModelError, match="is missing"):
        read_reference(tmp_path / "reference.npz")
    (tmp_path / "reference.npz").write_bytes(b"PK\3\4 not much")
    with pytest.raises(ModelError, match="is damaged"):
        read_reference(tmp_path / "reference.npz")
    np.savez(tmp_path / "reference.npz", image_ids=np.array(["a"]))
    with pytest.raises(ModelError, match="is damaged"):
        read_reference(tmp_path / "reference.npz")


def test_a_copy_is_known_again_and_another_picture_is_not():
    frames = [frame_picture(draw_lesion(number), FrameRule(128, 96)) for number in range(30)]
    names = np.array([f"p{number}" for number in range(30)])
    embeddings = np.random.default_rng(3).normal(size=(30, 12)).astype(np.float32)
    prints = np.stack([take_print(frame) for frame in frames[:20]])
    index = build_reference(embeddings[:20], names[:20], names[:20], np.array(["nv"] * 20), prints)
    for number in (0, 7, 19):
        small = Image.fromarray(draw_lesion(number)).resize((320, 240))
        assert index.find_same(frame_picture(np.asarray(small), FrameRule(128, 96))) == f"p{number}"
    assert [index.find_same(frame) for frame in frames[20:]] == [None] * 10


def test_an_index_without_prints_is_read_and_knows_nobody_again(tmp_path):
    embeddings = np.random.default_rng(4).normal(size=(10, 6)).astype(np.float32)
    names = np.array([f"p{number}" for number in range(10)])
    write_reference(build_reference(embeddings, names, names, names), tmp_path / "reference.npz")
    with np.load(tmp_path / "reference.npz") as file:
        arrays = {name: file[name] for name in file if name != "prints"}
    np.savez_compressed(tmp_path / "reference.npz", **arrays)
    index = read_reference(tmp_path / "reference.npz")
    assert index.find_same(np.zeros((48, 64, 3), np.uint8)) is None
    np.savez_compressed(tmp_path / "reference.npz", **arrays, prints=np.zeros((3, 32), np.uint8))
    with pytest.raises(ModelError, match="damaged"):
        read_reference(tmp_path / "reference.npz")
