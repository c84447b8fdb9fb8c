"""An assessment says no more than its rules allow."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import encode
from PIL import Image

from skinai.artefacts import hash_file
from skinai.data.drawing import draw_irregular_lesion, draw_lesion
from skinai.data.images import decode_picture, read_picture
from skinai.data.metadata import read_data_folder
from skinai.data.split import read_split
from skinai.data.stressors import STRESSORS
from skinai.errors import ModelError
from skinai.labels import HAM10000, build_label_set
from skinai.model.gates import Verdict
from skinai.model.head import write_head
from skinai.serving.assessment import AS_GIVEN, Assessor, describe_assessment, find_severest
from skinai.ui.examples import DRAWN
from skinai.wording import describe_certainty


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
    assert replace(refused, verdict=None).gate == "none"
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
    folder = shutil.copytree(shipped_model, tmp_path / "model", ignore=shutil.ignore_patterns("seal.json"))
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
    folder = shutil.copytree(shipped_model, tmp_path / "model", ignore=shutil.ignore_patterns("seal.json"))
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


def test_pictures_of_one_lesion_are_pooled_by_the_geometric_mean(assessor):
    assessments = [assessor.assess(draw_lesion(number)) for number in (6, 21, 9)]
    pooled = assessor.pool(assessments)
    rows = np.array([one.prediction.probabilities for one in assessments])
    expected = np.exp(np.log(rows).mean(axis=0))
    np.testing.assert_allclose(pooled.prediction.probabilities, expected / expected.sum(), rtol=1e-5)
    assert pooled.prediction.fingerprint == assessor.predictor.bundle.fingerprint
    summed = round(pooled.prediction.malignant_probability, 6)
    assert [call.above for call in pooled.calls] == [
        summed >= point.threshold for point in assessor.decision.operating_points
    ]
    assert assessor.pool(assessments[:1]) is assessments[0]
    assert assessor.pool(assessments[::-1]).prediction.probabilities == pytest.approx(pooled.prediction.probabilities)
    with pytest.raises(ValueError, match="no assessment"):
        assessor.pool([])


def test_turned_versions_are_answers_for_the_turned_picture(assessor, lesion):
    agreement = assessor.compare_turns(lesion, assessor.predictor.predict(lesion))
    turned = [lesion, lesion[:, ::-1], lesion[::-1], lesion[::-1, ::-1]]
    for found, picture in zip(agreement.malignant, turned, strict=True):
        expected = assessor.assess(np.ascontiguousarray(picture)).prediction
        # Resampling is not quite symmetrical.
        assert found == pytest.approx(expected.malignant_probability, abs=0.02)
    assert len(agreement.tops) == 4
    assert agreement.count_for(agreement.tops[0]) == agreement.tops.count(agreement.tops[0]) >= 1


def test_stress_asks_the_model_about_each_drawn_artefact(assessor):
    picture = draw_irregular_lesion(0, size=0.4)
    results = {result.name: result for result in assessor.stress(picture)}
    given = results.pop(AS_GIVEN).assessment.prediction
    assert given == assessor.assess(picture).prediction
    assert list(results) == ["hair", "ruler", "ink", "dark_corners", "blur", "tint", "rotation"]
    for name, result in results.items():
        assert (result.picture == STRESSORS[name](picture)).all()
        assert result.assessment.prediction == assessor.assess(result.picture).prediction
    moved = [one.assessment.prediction.malignant_probability - given.malignant_probability for one in results.values()]
    assert max(map(abs, moved)) > 0.01
    large = np.repeat(np.repeat(picture, 3, axis=0), 3, axis=1)
    assert all(max(one.picture.shape) == 800 for one in assessor.stress(large))


def test_certainty_follows_the_margin_the_set_and_the_gate(assessor):
    base = assessor.assess(draw_lesion(21))
    margin = assessor.decision.clear_margin

    def judge(verdict=base.verdict, **shares):
        rest = (1 - sum(shares.values())) / (7 - len(shares))
        values = tuple(shares.get(code, rest) for code in HAM10000.codes)
        return assessor._judge(replace(base.prediction, probabilities=values), verdict, {})

    def said(**shares):
        return judge(**shares).certainty

    assert said(mel=0.5 + margin / 2, nv=0.5 - margin / 2) == "clear_lead"
    assert said(mel=0.49 + margin / 2, nv=0.51 - margin / 2) == "undecided"
    assert said(nv=0.35, bkl=0.24) == "cannot_assess"
    assert said(mel=0.44, bkl=0.13) == "cannot_assess"  # the lead is wide, but of too little
    assert said(nv=0.97, bkl=0.03) == "clear_lead"
    # A benign class has no clear lead while a malignant one is plausible, and the malignant one is named.
    held = judge(nv=0.6, bkl=0.2, mel=0.15)
    assert held.certainty == "undecided"
    assert [label.code for label in held.leaders] == ["nv", "mel"]
    assert describe_certainty(held) == "Undecided between Melanocytic naevus and Melanoma"
    assert judge(Verdict(0.1, "blurred"), nv=0.9, bkl=0.05).certainty == "cannot_assess"
    assert base.leaders[0] == base.prediction.top
    assert describe_certainty(base) == "Clear lead"
    assert describe_certainty(replace(base, certainty="cannot_assess")) == "Cannot assess"
    assert describe_certainty(replace(base, certainty=None)) == ""


def test_the_examples_cover_clear_undecided_above_and_refused(assessor):
    found = {name: assessor.assess(draw()) for name, draw in DRAWN.items()}
    assert found["A regular lesion"].certainty == "clear_lead"
    assert not found["A regular lesion"].calls[0].above
    assert found["A small irregular lesion"].certainty == "undecided"
    assert found["A large irregular lesion"].calls[0].above
    reasons = {name: one.reasons[0][0] if one.refused else None for name, one in found.items()}
    assert list(reasons.values()) == [None, None, None, "blurred", "low_detail", "not_dermoscopy"]
