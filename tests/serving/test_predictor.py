"""A picture in, seven probabilities out: the same ones every time, from any thread."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from conftest import encode

from skinai.data.drawing import draw_lesion
from skinai.data.images import decode_picture
from skinai.errors import ModelError
from skinai.labels import HAM10000
from skinai.model.bundle import load_bundle
from skinai.serving.predictor import Prediction, Predictor


class FixedSession:
    """Answers with given probabilities; the predictor takes its session as an argument for this."""

    def __init__(self, probabilities):
        self.probabilities = np.array(probabilities, dtype=np.float32)
        self.frames = []

    def run(self, frame):
        self.frames.append(frame)
        return {"probabilities": self.probabilities}


def prediction(*probabilities):
    return Prediction(HAM10000, probabilities, "name", "print")


def test_the_malignant_sum_is_akiec_bcc_and_mel():
    answer = prediction(0.1, 0.2, 0.05, 0.05, 0.3, 0.25, 0.05)
    assert answer.malignant_probability == pytest.approx(0.6)
    assert answer.top.code == "mel"
    assert list(answer.by_code) == list(HAM10000.codes)


@pytest.mark.parametrize(
    "probabilities", [(1.0,), (0.2,) * 7, (1.2, -0.2, 0, 0, 0, 0, 0), (float("nan"),) * 7], ids=str
)
def test_what_are_no_seven_probabilities_is_refused(probabilities):
    with pytest.raises(ModelError, match="probabilities"):
        prediction(*probabilities)


def test_a_prediction_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        prediction(1, 0, 0, 0, 0, 0, 0).model_name = "other"


def test_the_session_gets_the_frame_and_its_answer_comes_out_in_order(small_model, lesion):
    session = FixedSession([0.1, 0.2, 0.05, 0.05, 0.3, 0.25, 0.05])
    answer = Predictor(load_bundle(small_model), session).predict(lesion)
    assert session.frames[0].shape == (96, 128, 3)
    assert answer.by_code["nv"] == pytest.approx(0.25)
    assert answer.model_name == "small"
    assert answer.fingerprint == load_bundle(small_model).fingerprint


def test_answers_are_the_same_to_the_last_bit_across_calls_threads_and_loads(small_model):
    pictures = [decode_picture(encode(draw_lesion(seed))) for seed in range(4)]
    predictor = Predictor.load(small_model)
    expected = [predictor.predict(picture).probabilities for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: predictor.predict(pictures[n % 4]).probabilities, range(80)))
    assert all(answer == expected[n % 4] for n, answer in enumerate(answers))
    assert Predictor.load(small_model).predict(pictures[0]).probabilities == expected[0]


def test_a_model_of_a_split_that_leaks_on_purpose_answers_nobody(small_model, tmp_path):
    """As a run by picture leaves it that was killed before it could remove its weights."""
    folder = shutil.copytree(small_model, tmp_path / "leaks")
    assert Predictor.load(folder)
    facts = json.loads((folder / "bundle.json").read_text())
    facts["data"]["by_picture"] = True
    (folder / "bundle.json").write_text(json.dumps(facts))
    with pytest.raises(ModelError, match="was trained on a split that leaks on purpose: it answers nobody"):
        Predictor.load(folder)
