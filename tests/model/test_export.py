"""What is served is what was trained: export and Keras agree on every class."""

import json
import shutil
import zipfile

import keras
import numpy as np
import pytest

from skinai.data.drawing import draw_lesion
from skinai.data.images import FrameRule, frame_picture, read_picture
from skinai.data.metadata import read_data_folder
from skinai.data.predictions import probability_matrix, read_predictions
from skinai.errors import ModelError
from skinai.labels import HAM10000
from skinai.model.bundle import write_bundle
from skinai.model.export import export_litert, load_keras_model, shrink_export
from skinai.model.session import Session
from skinai.serving.predictor import Predictor


def compare(folder, pictures):
    predictor = Predictor.load(folder)
    model = load_keras_model(folder / "model.keras")
    served = np.array([predictor.predict(picture).probabilities for picture in pictures])
    frames = np.stack([frame_picture(picture, predictor.bundle.frame) for picture in pictures]).astype(np.float32)
    expected = model.predict_on_batch(frames)
    assert np.abs(served - expected).max() <= 1e-4
    assert (served.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_the_export_agrees_with_keras_on_a_small_model(small_model):
    compare(small_model, [draw_lesion(seed) for seed in range(24)])


def test_a_lighter_export_answers_nearly_the_same(tmp_path):
    keras.utils.set_random_seed(3)
    pictures = keras.Input((24, 32, 3))
    x = keras.layers.Conv2D(400, 3, strides=4, activation="relu")(pictures)
    x = keras.layers.Conv2D(400, 1, activation="relu", name="feature_map")(x)
    x = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    answer = keras.layers.Dense(7, activation="softmax", name="probabilities")(keras.layers.Rescaling(0.02)(x))
    whole, lighter = tmp_path / "whole.tflite", tmp_path / "lighter.tflite"
    export_litert(keras.Model(pictures, answer), whole)
    shrink_export(whole, lighter)
    # 160,000 weights of 8 bits and the other 13,600 of 16, in place of 32 bits each.
    assert lighter.stat().st_size < 0.32 * whole.stat().st_size
    frames = [frame_picture(draw_lesion(seed), FrameRule(32, 24)) for seed in range(12)]
    expected, found = ([Session(path).run(frame) for frame in frames] for path in (whole, lighter))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other["probabilities"], one["probabilities"], atol=0.01)
        assert other["probabilities"].argmax() == one["probabilities"].argmax()
    assert any((one["embedding"] != other["embedding"]).any() for one, other in zip(expected, found, strict=True))


@pytest.mark.data
@pytest.mark.shipped
def test_serving_reproduces_the_stored_predictions(shipped_model, real_data):
    """Decoder, frame, export and class order together give what training wrote down."""

    predictor = Predictor.load(shipped_model)
    stored = read_predictions(shipped_model / "predictions_test.csv")
    path = read_data_folder(real_data).present.set_index("image_id")["path"]
    stored = stored[stored["image"].isin(path.index)].iloc[::8]
    assert len(stored) >= 200
    served = np.array([predictor.predict(read_picture(path[image])).probabilities for image in stored["image"]])
    assert np.abs(served - probability_matrix(stored)).max() <= 1e-4


def test_the_export_gives_feature_map_and_embedding(small_model):
    predictor = Predictor.load(small_model)
    answer = predictor.session.run(frame_picture(draw_lesion(1), predictor.bundle.frame))
    assert answer["feature_map"].shape == (12, 16, 256)
    assert answer["embedding"].shape == (6 * 8 * 256,)


def test_a_hostile_keras_file_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures = keras.Input((4,))
    hostile = keras.layers.Lambda(lambda x: (__import__("pathlib").Path("owned").touch(), x)[1], output_shape=(4,))
    keras.Model(pictures, hostile(pictures)).save(tmp_path / "hostile.keras")
    (tmp_path / "owned").unlink(missing_ok=True)
    with pytest.raises(ModelError, match="not a readable Keras model"):
        load_keras_model(tmp_path / "hostile.keras")
    assert not (tmp_path / "owned").exists()


def test_a_damaged_keras_file_is_a_sentence(small_model, tmp_path):
    path = tmp_path / "damaged.keras"
    path.write_bytes((small_model / "model.keras").read_bytes()[:5000])
    assert not zipfile.is_zipfile(path)
    with pytest.raises(ModelError, match="not a readable Keras model"):
        load_keras_model(path)


def export_network(path, class_count, size):
    pictures = keras.Input((*size, 3))
    x = keras.layers.Conv2D(4, 3, name="feature_map")(pictures)
    x = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    export_litert(
        keras.Model(pictures, keras.layers.Dense(class_count, activation="softmax", name="probabilities")(x)), path
    )


def redescribe(folder):
    """Write a description whose hashes fit whatever lies in the folder now."""
    bundle = json.loads((folder / "bundle.json").read_text())
    labels, frame = HAM10000, FrameRule(**bundle["frame"])
    write_bundle(folder, labels=labels, frame=frame, probe=bundle["probe"], facts={}, parts=[])


@pytest.mark.parametrize(
    ("class_count", "size", "sentence"),
    [
        (5, (96, 128), "has 5 classes, not 7"),
        (7, (64, 64), r"takes \(1, 64, 64, 3\); \(1, 96, 128, 3\) is what"),
        (7, (96, 128), "fails its self-test"),
    ],
)
def test_an_export_of_another_network_is_refused_even_with_fitting_hashes(
    small_model, tmp_path, class_count, size, sentence
):
    folder = shutil.copytree(small_model, tmp_path / "model")
    export_network(folder / "model.tflite", class_count, size)
    redescribe(folder)
    with pytest.raises(ModelError, match=sentence):
        Predictor.load(folder)


def test_a_file_that_is_no_export_is_refused_even_with_fitting_hashes(small_model, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "model")
    (folder / "model.tflite").write_bytes(b"TFL3" + b"\0" * 1000)
    redescribe(folder)
    with pytest.raises(ModelError, match="is not a readable export"):
        Predictor.load(folder)
