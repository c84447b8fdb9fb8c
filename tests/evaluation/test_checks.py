"""Each named check passes on a sound report and finds what it is there for; broken parts are made from sound ones."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import make_photograph_predictions, make_predictions

from skinai.artefacts import hash_file
from skinai.data.predictions import read_predictions, write_predictions
from skinai.data.split import read_near_duplicates, read_split
from skinai.evaluation import report as report_module
from skinai.evaluation.checks import TITLES, VOIDING, assign_columns, check_folder, check_table
from skinai.evaluation.decision import fit_decision
from skinai.evaluation.report import evaluate_table, read_report
from skinai.labels import CIRCULATING_ORDERS, HAM10000
from skinai.model.bundle import load_bundle


@pytest.fixture
def folder(shipped_model, tmp_path):
    """The shipped model's tables; its weights are left where they are."""
    target = tmp_path / "model"
    target.mkdir()
    for path in shipped_model.iterdir():
        if path.suffix in (".csv", ".json", ".gz"):
            shutil.copy(path, target)
    return target


def run(folder, **changes):
    report = read_report(folder)
    fingerprint = changes.get("fingerprint", json.loads((folder / "bundle.json").read_text())["fingerprint"])
    return {check.code: check for check in check_folder(folder, report, fingerprint=fingerprint)}


def report_table(table, labels=HAM10000):
    """Return the report of a table without its curves, which no check looks at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_module, "compute_curves", lambda *arguments, **options: None)
        return evaluate_table(table, model_name="x", labels=labels)


def run_table(table, *, labels=HAM10000, report=None, **options):
    found = check_table(table, report or report_table(table, labels), **options)
    return {check.code: check for check in found}


def edit_split(folder, change):
    split = pd.read_csv(folder / "split.csv", dtype=str)
    split.loc[change(split)] = "train"
    split.to_csv(folder / "split.csv", index=False)


@pytest.mark.shipped
def test_the_shipped_model_has_no_issue_that_voids_its_figures(folder):
    found = run(folder)
    assert list(found) == list(TITLES)
    assert not [check.code for check in found.values() if check.voiding]
    assert found["enough_lesions"].state == "issue"
    assert "df (15)" in found["enough_lesions"].finding
    assert found["enough_lesions"].advice
    assert found["label_map"].state == "passed"
    assert found["label_map"].advice == ""


@pytest.mark.shipped
def test_one_leaked_lesion_is_named(folder):
    split = read_split(folder / "split.csv")
    tested = split[split["subset"] == "test"]
    lesion = tested["lesion_id"].value_counts().index[0]  # several pictures, one of them moved to train
    image = tested.loc[tested["lesion_id"] == lesion, "image_id"].iloc[0]
    edit_split(folder, lambda table: (table["image_id"] == image, "subset"))
    check = run(folder)["lesion_leakage"]
    assert check.state == "issue"
    assert check.voiding
    assert check.finding == f"1 lesion lies in more than one subset: {lesion}."


@pytest.mark.shipped
def test_a_tested_lesion_that_was_trained_on_is_named(folder):
    tested = read_split(folder / "split.csv").query("subset == 'test'")
    lesion, image = tested["lesion_id"].iloc[0], tested["image_id"].iloc[0]
    edit_split(folder, lambda table: (table["lesion_id"] == lesion, "subset"))
    assert run(folder)["lesion_leakage"].finding == f"1 tested picture is not in test: {image}."


@pytest.mark.shipped
def test_a_divided_pair_of_near_duplicates_is_named(folder):
    a, b = read_near_duplicates()[0]
    split = pd.read_csv(folder / "split.csv", dtype=str)
    split.loc[split["image_id"] == a, "subset"] = "test"
    split.loc[split["image_id"] == b, "subset"] = "train"
    split.to_csv(folder / "split.csv", index=False)
    check = run(folder)["near_duplicate_leakage"]
    assert check.state == "issue"
    assert f"{a} and {b}" in check.finding


@pytest.mark.shipped
@pytest.mark.parametrize("trained", [name for name in CIRCULATING_ORDERS if name != "alphabetical codes"])
def test_permuted_labels_are_found_and_the_permutation_is_named(shipped_model, trained):
    """Probabilities in one order in circulation, written under the headings of another."""
    table = read_predictions(shipped_model / "predictions_test.csv")
    inside, headings = CIRCULATING_ORDERS[trained], CIRCULATING_ORDERS["alphabetical codes"]
    columns = {
        HAM10000.by_code(heading).isic_code: table[HAM10000.by_code(code).isic_code]
        for heading, code in zip(headings, inside, strict=True)
    }
    check = run_table(table.assign(**columns))["label_map"]
    assert check.state == "issue"
    assert check.voiding
    for heading, code in zip(headings, inside, strict=True):
        assert (f"the column of {heading} answers like {code}" in check.finding) == (heading != code)
    assert f"if the order of {trained} were read as that of alphabetical codes" in check.finding


@pytest.mark.shipped
def test_two_swapped_columns_are_found_for_the_weakest_network_too(shipped_model):
    table = read_predictions(shipped_model.parent / "ham10000-seed-cnn" / "predictions_test.csv")
    assert run_table(table)["label_map"].state == "passed"
    swapped = table.assign(MEL=table["NV"], NV=table["MEL"])
    assert "the column of mel answers like nv" in run_table(swapped)["label_map"].finding


def test_a_network_without_skill_is_not_called_permuted():
    rng = np.random.default_rng(3)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truths = rng.choice(HAM10000.codes, 220, p=[0.1, 0.1, 0.15, 0.05, 0.15, 0.4, 0.05])
        table = make_predictions(truths, mel=np.zeros(220))
        table[list(HAM10000.isic_order)] = rng.dirichlet(np.ones(7) * 3, 220)
        found = run_table(table)
        assert found["label_map"].state != "issue", seed
        assert found["better_than_baseline"].state == "issue"
    assert run_table(table.head(190))["label_map"].state == "not applicable"


def test_columns_are_assigned_by_share_and_not_by_frequency():
    """A frequent answer and a frequent class count no more than rare ones."""
    assert assign_columns(np.array([[50.0, 1.0], [30.0, 3.0]])).tolist() == [0, 1]
    assert assign_columns(np.array([[1.0, 50.0], [3.0, 30.0]])).tolist() == [1, 0]


@pytest.mark.shipped
def test_a_threshold_fitted_on_test_is_named(folder):
    facts = json.loads((folder / "decision.json").read_text())
    facts["predictions_sha256"] = hash_file(folder / "predictions_test.csv")
    (folder / "decision.json").write_text(json.dumps(facts))
    check = run(folder)["threshold_on_valid"]
    assert check.voiding
    assert "was fitted on the predictions for test" in check.finding


@pytest.mark.shipped
def test_a_threshold_that_valid_does_not_give_is_named(folder):
    facts = json.loads((folder / "decision.json").read_text())
    facts["operating_points"][0]["threshold"] += 0.01
    (folder / "decision.json").write_text(json.dumps(facts))
    found = run(folder)
    assert "these differ from decision.json: sensitivity_0.90" in found["threshold_on_valid"].finding
    assert "decision.json was changed after the report was made" in found["fingerprint"].finding


@pytest.mark.shipped
def test_parts_of_another_model_are_named(folder):
    check = run(folder, fingerprint="0123456789ab")["fingerprint"]
    assert check.voiding
    assert "The model is 0123456789ab, but the report belongs to" in check.finding


@pytest.mark.shipped
def test_new_rules_fitted_on_valid_are_sound_but_the_report_is_older(folder):
    fit_decision(folder, fingerprint=json.loads((folder / "bundle.json").read_text())["fingerprint"])
    found = run(folder)
    assert found["threshold_on_valid"].state == "passed"
    assert found["fingerprint"].state == "issue"
    assert (folder / "decision.v1.json").exists()


def test_probabilities_that_promise_too_much_are_named():
    truths = ["mel"] * 60 + ["nv"] * 140
    sure = make_predictions(truths, mel=[0.95, 0.05] * 30 + [0.95, 0.05] * 70)
    check = run_table(sure)["calibrated"]
    assert check.state == "issue"
    assert not check.voiding
    assert "The calibration error is 0.450; perfect probabilities show up to" in check.finding
    assert run_table(make_predictions(truths, mel=[1.0] * 60 + [0.0] * 140))["calibrated"].state == "passed"


@pytest.mark.shipped
def test_a_model_that_is_much_better_on_valid_is_named(folder):
    table = read_predictions(folder / "predictions_valid.csv")
    columns = list(HAM10000.isic_order)
    table[columns] = np.eye(7)[[columns.index(HAM10000.by_code(code).isic_code) for code in table["truth"]]]
    write_predictions(table, folder / "predictions_valid.csv")
    check = run(folder)["valid_test_gap"]
    assert check.state == "issue"
    assert "accuracy 1.000 on valid and 0.836 here" in check.finding


@pytest.mark.shipped
def test_without_a_split_leaks_are_not_applicable_and_with_one_they_and_unknown_pictures_are_looked_for(shipped_model):
    table = read_predictions(shipped_model / "predictions_test.csv")
    report = report_table(table)
    found = run_table(table, report=report)
    assert found["lesion_leakage"].state == found["valid_test_gap"].state == "not applicable"
    split = read_split(shipped_model / "split.csv")
    assert run_table(table, report=report, split=split)["lesion_leakage"].state == "passed"
    by_picture = read_split(shipped_model.parent / "ham10000-seed-cnn-by-picture" / "split.csv", by_picture=True)
    assert run_table(table, report=report, split=by_picture)["lesion_leakage"].state == "issue"
    few = split[~split["image_id"].isin(table["image"].head(3))]
    check = run_table(table, report=report, split=few)["lesion_leakage"]
    assert check.state == "issue"
    assert check.finding.startswith("3 tested pictures are not in test")


def test_every_check_is_documented():
    from conftest import ROOT

    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert all(f"`{code}`" in text for code in TITLES)
    assert set(VOIDING) < set(TITLES)


def test_a_small_trained_model_goes_through_every_check(small_model):
    report = read_report(small_model)
    found = check_folder(small_model, report, fingerprint=load_bundle(small_model).fingerprint)
    assert not [check.code for check in found if check.voiding]


def give_a_name_twice(facts):
    facts["operating_points"].insert(0, facts["operating_points"][0] | {"threshold": 0.01})


@pytest.mark.shipped
@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda facts: facts["operating_points"][0].update(threshold=float("nan")), "a number is not from 0 to 1.01"),
        (give_a_name_twice, "two operating points have one name"),
        (lambda facts: facts["conformal"]["quantiles"].update(mel=0.999), "differ from decision.json: quantile of mel"),
        (lambda facts: facts["clear_lead"].update(margin=0.11), "differ from decision.json: margin of a clear lead"),
        (lambda facts: facts["operating_points"].clear(), "has no threshold, although a class is malignant"),
        (lambda facts: facts.pop("conformal"), "is damaged"),
    ],
)
def test_rules_that_valid_does_not_give_are_named(folder, change, finding):
    facts = json.loads((folder / "decision.json").read_text())
    change(facts)
    (folder / "decision.json").write_text(json.dumps(facts))
    check = run(folder)["threshold_on_valid"]
    assert check.voiding
    assert finding in check.finding


@pytest.mark.shipped
def test_missing_or_damaged_parts_are_issues_and_never_a_crash(folder):
    (folder / "gates.json").write_text("[]")
    assert "gates.json belongs to None" in run(folder)["fingerprint"].finding
    (folder / "decision.json").unlink()
    found = run(folder)
    assert "decision.json is missing" in found["fingerprint"].finding
    assert read_report(folder).subgroups == ()
    (folder / "split.csv").unlink()
    found = run(folder)
    assert found["lesion_leakage"].voiding
    assert found["near_duplicate_leakage"].voiding


def test_perfect_probabilities_are_not_called_miscalibrated_for_being_few():
    """The calibration error of 150 pictures is far above .03 by chance alone."""
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mel = rng.random(150)
        table = make_predictions(np.where(rng.random(150) < mel, "mel", "nv"), mel=mel)
        check = run_table(table)["calibrated"]
        assert float(check.finding.split()[4].rstrip(";")) > 0.03
        alarms += check.state == "issue"
    assert alarms <= 3


def test_no_check_speaks_of_lesions_where_no_class_is_malignant(photographs, twelve_class_folder):
    table = make_photograph_predictions(photographs)
    split = pd.DataFrame({"image_id": table["image"], "lesion_id": table["lesion"], "group": table["group"]})
    found = [
        *run_table(table, labels=photographs, split=split.assign(subset="test")).values(),
        *run_table(table, labels=photographs, split=split.assign(subset=["test", "train"] * 150)).values(),
        *check_folder(
            twelve_class_folder,
            read_report(twelve_class_folder, photographs),
            fingerprint=load_bundle(twelve_class_folder).fingerprint,
        ),
    ]
    said = " ".join(f"{check.title} {check.finding} {check.advice}" for check in found)
    for word in ("lesion", "malignant", "melanoma", "0 thresholds"):
        assert word not in said.replace("pigmented-or-keratotic-lesion", "")
    assert f"None of the {table['lesion'].nunique()} cases of test is in train or valid." in said
    assert "Split by case and train anew" in said
    assert "The prediction sets and the margin come out the same" in said
    assert not [check.code for check in found[-len(TITLES) :] if check.voiding]


def test_two_swapped_columns_of_twelve_are_found(photographs):
    table = make_photograph_predictions(photographs, pictures=1200)
    assert run_table(table, labels=photographs)["label_map"].state == "passed"
    swapped = table.assign(ECZEMA=table["FUNGAL-INFECTION"], **{"FUNGAL-INFECTION": table["ECZEMA"]})
    check = run_table(swapped, labels=photographs)["label_map"]
    assert check.voiding
    assert "the column of eczema answers like fungal-infection" in check.finding
