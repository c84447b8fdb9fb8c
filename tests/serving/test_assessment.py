"""An assessment says no more than its rules allow."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import encode
from PIL import Image

from skinai.artefacts import hash_file
from skinai.data.drawing import draw_lesion
from skinai.data.images import decode_picture, read_picture
from skinai.data.metadata import read_data_folder
from skinai.data.split import read_split
from skinai.errors import ModelError
from skinai.labels import HAM10000, build_label_set
from skinai.model.gates import Verdict
from skinai.model.head import write_head
from skinai.serving.assessment import Assessor, describe_assessment, find_severest


@pytest.fixture(scope="module")
def assessor(shipped_model):
    return Assessor.load(shipped_model)


def test_the_answer_is_the_predictors_own(assessor, lesion):
    assessment = assessor.assess(lesion)
    assert assessment.prediction == assessor.predictor.predict(lesion)


def test_the_set_holds_the_top_class_and_every_class_above_its_limit(assessor):
    for number in range(20):
        assessment = assessor.assess(draw_lesion(number))
        codes = {label.code for label in assessment.plausible}
        prediction = assessment.prediction
        assert prediction.top.code in codes
        for code, probability in prediction.by_code.items():
            if probability >= 1 - assessor.decision.quantiles[code] + 1e-6:
                assert code in codes


def test_a_call_compares_the_sum_with_the_threshold(assessor):
    for number in range(20):
        assessment = assessor.assess(draw_lesion(number))
        assert len(assessment.calls) == len(assessor.decision.operating_points)
        for call in assessment.calls:
            assert call.above == (round(assessment.prediction.malignant_probability, 6) >= call.threshold)


def test_the_severest_is_melanoma_before_carcinoma_before_keratosis():
    by_code = HAM10000.by_code
    assert find_severest(tuple(map(by_code, ("akiec", "bcc", "mel", "nv"))), HAM10000) == by_code("mel")
    assert find_severest(tuple(map(by_code, ("akiec", "bcc", "nv"))), HAM10000) == by_code("bcc")
    assert find_severest((by_code("nv"), by_code("bkl")), HAM10000) is None
    own = build_label_set("mine", ["a", "b", "c"], malignant=["c", "b"])
    assert find_severest((own.by_code("c"), own.by_code("b")), own) is None  # nobody stated an order


def test_a_refused_picture_has_no_probabilities_unless_one_insists(assessor, lesion):
    refused = replace(assessor.assess(lesion), verdict=Verdict(0.01, "blurred"))
    assert refused.refused
    assert refused.reasons == (("blurred", "The picture is blurred."),)
    facts = describe_assessment(refused)
    assert facts["gate"]["status"] == "refused"
    assert {facts[name] for name in ("probabilities", "malignant_probability", "plausible", "calls")} == {None}
    insisted = describe_assessment(refused, insist=True)
    assert insisted["gate"]["status"] == "refused"
    assert insisted["gate"]["insisted"] is True
    assert insisted["probabilities"] is not None
    assert describe_assessment(replace(refused, verdict=None), insist=True)["gate"] == {
        "status": "passed",
        "reasons": [],
        "insisted": False,
    }


def test_similar_cases_are_of_different_lesions_and_the_nearest_comes_first(assessor, lesion):
    cases = assessor.find_similar(assessor.assess(lesion), 6)
    assert len({case.lesion_id for case in cases}) == 6
    similarities = [case.similarity for case in cases]
    assert similarities == sorted(similarities, reverse=True)
    assert all(-1.001 <= value <= 1.001 for value in similarities)


def test_the_map_is_that_of_the_class_asked_for(assessor):
    """The more a class gains from one picture to another, the more its map does, and no other class's."""
    pictures = [draw_lesion(number) for number in range(24)]
    assessments = [assessor.assess(picture) for picture in pictures]
    scores = np.log(np.maximum([assessment.prediction.probabilities for assessment in assessments], 1e-9))
    scores -= scores.mean(axis=1, keepdims=True)
    maps = np.array([[assessor.draw_map(a, code).mean() for code in HAM10000.codes] for a in assessments])
    related = np.corrcoef(scores.T, maps.T)[:7, 7:]
    assert (related.argmax(axis=1) == np.arange(7)).all()
    assert related.diagonal().min() > 0.7


def test_parts_that_a_model_lacks_are_left_out(small_model, lesion, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "model")
    (folder / "decision.json").unlink()
    assessor = Assessor.load(folder)
    assessment = assessor.assess(lesion)
    assert (assessment.verdict, assessment.plausible, assessment.calls) == (None, (), ())
    assert assessment.severest is None
    assert assessor.draw_map(assessment, "mel") is None  # seed-cnn has no global average
    assert not assessment.refused


def test_parts_that_bundle_json_does_not_vouch_for_are_not_used(shipped_model, tmp_path):
    folder = shutil.copytree(shipped_model, tmp_path / "model")
    facts = json.loads((folder / "bundle.json").read_text())
    for part in ("head.npz", "reference.npz"):
        del facts["files"][part]
    (folder / "bundle.json").write_text(json.dumps(facts))
    with pytest.raises(ModelError, match=r"does not fit the model's reference\.npz"):
        Assessor.load(folder)
    (folder / "gates.json").unlink()
    assessor = Assessor.load(folder)
    assert assessor.kernel is None
    assert assessor.reference is None
    assert assessor.find_same(draw_lesion(3)) is None


def test_a_head_of_another_network_is_refused(shipped_model, tmp_path):
    folder = shutil.copytree(shipped_model, tmp_path / "model")
    write_head(np.zeros((12, 7)), folder / "head.npz")
    facts = json.loads((folder / "bundle.json").read_text())
    facts["files"]["head.npz"] = hash_file(folder / "head.npz")
    (folder / "bundle.json").write_text(json.dumps(facts))
    with pytest.raises(ModelError, match="does not fit the export"):
        Assessor.load(folder)


@pytest.mark.data
def test_a_training_picture_is_known_again_and_a_holdout_picture_is_not(assessor, real_data, shipped_model):
    split = read_split(shipped_model / "split.csv").set_index("image_id")["subset"]
    rows = read_data_folder(real_data).present
    subset = rows["image_id"].map(split)
    known = rows[subset == "train"].iloc[::90]
    for row in known.itertuples():
        assert assessor.find_same(read_picture(row.path)) == row.image_id
    copies = [
        decode_picture(encode(np.asarray(Image.fromarray(read_picture(path)).resize((600, 450))), quality=60))
        for path in known["path"]
    ]
    found = [assessor.find_same(copy) for copy in copies]
    assert np.mean([name == image for name, image in zip(found, known["image_id"], strict=True)]) >= 0.9
    others = [assessor.find_same(read_picture(path)) for path in rows.loc[subset == "test", "path"].iloc[::9]]
    assert np.mean([name is not None for name in others]) <= 0.01


def test_rules_of_another_model_are_refused(small_model, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "model")
    text = (folder / "decision.json").read_text()
    (folder / "decision.json").write_text(text.replace('"fingerprint": "', '"fingerprint": "0'))
    with pytest.raises(ModelError, match="belongs to the model"):
        Assessor.load(folder)
