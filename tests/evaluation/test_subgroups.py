"""Parts of the pictures have their own figures, say where they rest on few lesions, and are compared with the rest."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_predictions

from skinai.data.cases import COLUMNS
from skinai.evaluation import metrics
from skinai.evaluation.subgroups import Subgroup, compute_subgroups, find_gaps, list_parts
from skinai.labels import HAM10000, build_label_set


def compute(table, *, threshold=0.5, cases=None):
    truth = np.array([HAM10000.index(code) for code in table["truth"]])
    probabilities = table[[label.isic_code for label in HAM10000]].to_numpy()
    weights = metrics.resample_weights(table["group"].to_numpy(), draws=400, seed=1)
    weights = np.vstack([np.ones(len(table)), weights])
    return compute_subgroups(table, truth, probabilities, weights, HAM10000, threshold=threshold, cases=cases)


def pick(groups, column, value):
    return next(group for group in groups if (group.column, group.value) == (column, value))


@pytest.fixture
def table():
    """80 lesions of men and women; every melanoma of a woman is missed."""
    rows = []
    for number in range(320):
        sex, truth = ("female", "male")[number % 2], ("mel", "nv")[number // 2 % 2]
        found = truth == "mel" and sex == "male"
        rows.append((truth, 0.9 if found else 0.1, sex))
    truths, mel, sex = zip(*rows, strict=True)
    return make_predictions(truths, mel=mel, sex=sex)


def test_the_figures_of_a_part_are_those_worked_by_hand(table):
    groups = compute(table)
    women, men = pick(groups, "sex", "female"), pick(groups, "sex", "male")
    assert (women.pictures, women.lesions, women.malignant_lesions, women.benign_lesions) == (160, 160, 80, 80)
    assert women.figures["sensitivity"].value == 0
    assert men.figures["sensitivity"].value == 1
    assert women.figures["specificity"].value == men.figures["specificity"].value == 1
    assert women.figures["sensitivity"].n == 80
    # Women: .1 said and one half malignant; men: .9 and .1 said in halves.
    assert women.figures["calibration_gap"].value == pytest.approx(-0.4)
    assert men.figures["calibration_gap"].value == pytest.approx(0.0)
    assert women.few == ()


def test_a_part_that_fares_worse_beyond_chance_is_found_and_a_small_one_is_not(table):
    found = find_gaps(compute(table))
    assert {(group.value, name) for group, name, _ in found} == {("female", "sensitivity"), ("female", "accuracy")}
    assert all(gap.value == -1 for _, name, gap in found if name == "sensitivity")
    few = table.groupby(["sex", "truth"]).head(12).reset_index(drop=True)
    assert find_gaps(compute(few)) == []


def test_few_lesions_are_said_and_no_malignant_one_is_not_applicable(table):
    benign = table[(table["truth"] == "nv") | (table["sex"] == "male")].reset_index(drop=True)
    women = pick(compute(benign), "sex", "female")
    assert str(women.figures["sensitivity"]) == "not applicable"
    assert women.few == ("sensitivity",)


def test_a_column_with_one_part_divides_nothing(table):
    assert {group.column for group in compute(table)} == {"sex"}
    assert compute(table, threshold=None)[0].figures.keys() == {"accuracy"}


def test_lesions_with_several_pictures_and_picture_quality_are_parts(table):
    table["lesion"] = [f"L{number // 2}" if number < 100 else f"L{number}" for number in range(len(table))]
    cases = pd.DataFrame(0, index=pd.Index(table["image"], name="image"), columns=list(COLUMNS[1:]))
    cases["sharpness"] = np.arange(len(table)) / 100
    cases["share_black"] = np.where(np.arange(len(table)) < 40, 0.2, 0.0)
    parts = list_parts(table, cases)
    assert (parts["lesion_pictures"] == "several pictures").sum() == 100
    assert parts["sharpness"].iloc[[0, 160, 319]].tolist() == ["least sharp third", "middle third", "sharpest third"]
    assert (parts["dark_corners"] == "dark corners").sum() == 40
    assert "sharpness" not in list_parts(table, cases.iloc[1:])
    # Only a picture through a dermatoscope has dark corners.
    others = list_parts(table, cases, build_label_set("photographs", ["a", "b"]))
    assert "dark_corners" not in others
    assert (others["black_areas"] == "black areas").sum() == 40


def test_a_patient_with_lesions_of_both_kinds_counts_in_both():
    table = make_predictions(["mel", "nv"] * 40, mel=[0.9, 0.1] * 40, sex=["female", "male"] * 40)
    table["lesion"] = table["group"] = [f"patient {number // 4}" for number in range(80)]
    table.loc[:1, "sex"] = "female"
    women = pick(compute(table), "sex", "female")
    assert (women.pictures, women.lesions) == (41, 20)
    assert (women.malignant_lesions, women.benign_lesions) == (20, 1)


def test_a_part_is_read_back_as_it_was_written(table):
    for group in compute(table):
        assert Subgroup.from_dict(group.as_dict()) == group


def test_a_part_is_not_called_worse_than_one_or_two_others():
    """One lesion outside that is answered rightly proves nothing."""
    rng = np.random.default_rng(4)
    truths = rng.choice(["mel", "nv"], 300)
    mel = np.where(truths == "mel", 0.8, 0.2)
    wrong = rng.random(300) < 0.15
    mel[wrong] = 1 - mel[wrong]
    sex = np.array(["female"] * 298 + ["male"] * 2)
    mel[298:] = np.where(truths[298:] == "mel", 0.9, 0.1)
    assert find_gaps(compute(make_predictions(truths, mel=mel, sex=sex))) == []
