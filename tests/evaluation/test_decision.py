"""Rules are fitted on valid, say what they reach, and belong to one model."""

import json
import shutil

import numpy as np
import pytest

from skinai.data.predictions import probability_matrix, read_predictions
from skinai.errors import DataError
from skinai.evaluation.decision import conformal_quantile, find_clear_margin, fit_decision, rates, read_decision
from skinai.evaluation.report import evaluate_predictions
from skinai.labels import HAM10000
from skinai.model.bundle import load_bundle


@pytest.fixture
def folder(small_model, tmp_path):
    return shutil.copytree(small_model, tmp_path / "model")


def test_the_quantile_covers_what_it_promises():
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(400):
        scores = rng.beta(1, 4, size=61)
        covered.append(scores[0] <= conformal_quantile(scores[1:], 0.9))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.04)
    assert conformal_quantile(np.array([0.2, 0.1, 0.3]), 0.5) == 0.2
    assert conformal_quantile(np.arange(8) / 10, 0.9) == 1.0
    assert conformal_quantile(np.array([]), 0.9) == 1.0


def test_operating_points_reach_on_valid_what_they_are_named_after(folder):
    bundle = load_bundle(folder)
    decision = fit_decision(folder, fingerprint=bundle.fingerprint)
    assert decision == read_decision(folder, fingerprint=bundle.fingerprint)
    table = read_predictions(folder / "predictions_valid.csv")
    malignant = [HAM10000.index(code) for code in HAM10000.malignant_codes]
    positive = table["truth"].isin(HAM10000.malignant_codes).to_numpy()
    summed = probability_matrix(table)[:, malignant].sum(axis=1)
    stored = {point["name"]: point for point in json.loads((folder / "decision.json").read_text())["operating_points"]}
    for point in decision.operating_points:
        # In millionths, as probabilities are stored: sums of them differ in the last binary digits.
        found = np.rint(summed * 1e6) >= round(point.threshold * 1e6)
        kind, _, wanted = point.name.partition("_")
        reached = found[positive].mean() if kind == "sensitivity" else (~found[~positive]).mean()
        assert reached >= float(wanted)
        assert stored[point.name][kind] == pytest.approx(reached, abs=1e-4)


def test_prediction_sets_hold_the_top_class_and_every_class_within_its_quantile(folder):
    decision = fit_decision(folder, fingerprint="x")
    probabilities = probability_matrix(read_predictions(folder / "predictions_test.csv"))
    sets = decision.build_sets(probabilities, HAM10000)
    assert sets[np.arange(len(sets)), probabilities.argmax(axis=1)].all()
    limits = 1 - np.array([decision.quantiles[code] for code in HAM10000.codes])
    assert sets[probabilities > limits + 1e-6].all()


def test_the_report_says_what_the_rules_reach(folder):
    bundle = load_bundle(folder)
    decision = fit_decision(folder, fingerprint=bundle.fingerprint)
    report = evaluate_predictions(
        folder / "predictions_valid.csv", model_name="m", fingerprint="f", subset="valid", decision=decision
    )
    stored = json.loads((folder / "decision.json").read_text())
    assert report.decision["coverage"].value == pytest.approx(stored["conformal"]["reached"], abs=1e-4)
    assert report.decision["set_size"].value == pytest.approx(stored["conformal"]["mean_size"], abs=1e-4)
    for point in stored["operating_points"]:
        assert report.decision[f"{point['name']}:specificity"].value == pytest.approx(point["specificity"], abs=1e-4)
        assert report.decision[f"{point['name']}:sensitivity"].n == (
            read_predictions(folder / "predictions_valid.csv")["truth"].isin(HAM10000.malignant_codes).sum()
        )


def test_rates_of_a_threshold():
    positive, score = np.array([True, True, False, False]), np.array([0.9, 0.2, 0.5, 0.1])
    got = rates(positive, score, 0.5, np.array([[1, 1, 1, 1], [2, 0, 1, 1], [0, 0, 1, 1]]))
    np.testing.assert_allclose(got["sensitivity"], [0.5, 1.0, np.nan])
    np.testing.assert_allclose(got["specificity"], [0.5, 0.5, 0.5])


@pytest.mark.parametrize("damage", ["{", "{}", '{"fingerprint": "x", "operating_points": 3}'])
def test_a_damaged_file_is_a_sentence(folder, damage):
    (folder / "decision.json").write_text(damage)
    with pytest.raises(DataError, match="is damaged"):
        read_decision(folder, fingerprint="x")


def test_rules_of_another_model_or_other_predictions_are_refused(folder):
    fit_decision(folder, fingerprint="x")
    with pytest.raises(DataError, match="belongs to the model x"):
        read_decision(folder, fingerprint="y")
    with (folder / "predictions_valid.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(DataError, match="was not fitted on"):
        read_decision(folder, fingerprint="x")
    (folder / "decision.json").unlink()
    with pytest.raises(DataError, match="does not exist"):
        read_decision(folder, fingerprint="x")


def test_the_clear_margin_is_the_least_that_is_right_often_enough():
    lead = np.linspace(0, 1, 101)
    probabilities = np.stack([0.5 + lead / 2, 0.5 - lead / 2], axis=1)
    truth = np.where(np.arange(101) % 2, 0, (lead < 0.4).astype(int))  # every other one is wrong below .4
    margin = find_clear_margin(probabilities, truth)
    ahead = lead >= margin - 1e-9
    right = probabilities.argmax(axis=1) == truth
    assert right[ahead].mean() >= 0.9
    before = lead >= margin - 0.01 - 1e-9
    assert right[before].mean() < 0.9
    assert find_clear_margin(probabilities, np.ones(101, dtype=int)) > 1


def test_what_certainty_is_worth_is_counted_from_the_stored_predictions(folder):
    bundle = load_bundle(folder)
    decision = fit_decision(folder, fingerprint=bundle.fingerprint)
    path = folder / "predictions_test.csv"
    table = read_predictions(path)
    probabilities = probability_matrix(table)
    truth = np.array([HAM10000.index(code) for code in table["truth"]])
    said, leaders = decision.tell_certainty(probabilities, HAM10000)
    assert (leaders[:, 0] == probabilities.argmax(axis=1)).all()
    report = evaluate_predictions(
        path, model_name="m", fingerprint=bundle.fingerprint, subset="test", decision=decision
    ).decision
    shares = [report[kind].value for kind in ("clear_lead", "undecided", "cannot_assess")]
    assert sum(shares) == pytest.approx(1)
    for kind, share in zip(("clear_lead", "undecided", "cannot_assess"), shares, strict=True):
        assert share == pytest.approx((said == kind).mean())
    clear = said == "clear_lead"
    if clear.any():
        right = (probabilities.argmax(axis=1) == truth)[clear].mean()
        assert report["clear_lead:right"].value == pytest.approx(right)
        assert report["clear_lead:right"].n == clear.sum()


def test_a_model_without_a_margin_says_nothing_of_certainty(folder):
    path = folder / "decision.json"
    facts = json.loads(path.read_text())
    del facts["clear_lead"]
    path.write_text(json.dumps(facts))
    decision = read_decision(folder, fingerprint=load_bundle(folder).fingerprint)
    assert decision.clear_margin is None
    with pytest.raises(ValueError, match="No margin"):
        decision.tell_certainty(np.ones((1, 7)) / 7, HAM10000)


def test_versions_of_the_rules_never_overwrite_each_other(folder):
    fingerprint = load_bundle(folder).fingerprint
    for share in ("0.80", "0.70"):
        fit_decision(folder, fingerprint=fingerprint, names=[f"sensitivity_{share}"])
    assert read_decision(folder, fingerprint=fingerprint).version == 3
    kept = {path.name: path.read_bytes() for path in folder.glob("decision.v*.json")}
    assert sorted(kept) == ["decision.v1.json", "decision.v2.json"]
    (folder / "decision.json").unlink()
    assert fit_decision(folder, fingerprint=fingerprint).version == 3
    (folder / "decision.json").write_text("damaged")
    assert fit_decision(folder, fingerprint=fingerprint).version == 4
    assert (folder / "decision.v3.json").read_text() == "damaged"
    assert {name: (folder / name).read_bytes() for name in kept} == kept


def test_an_operating_point_that_is_none_is_refused(folder):
    for name in ("luck", "sensitivity_1.2", "sensitivity_x", "specificity_0.3"):
        with pytest.raises(DataError, match="An operating point is sensitivity_S or specificity_S"):
            fit_decision(folder, fingerprint="x", names=[name])
    with pytest.raises(DataError, match=r"coverage of prediction sets is from \.5 to \.99"):
        fit_decision(folder, fingerprint="x", coverage=0.3)
