"""Mistakes are listed by cell, and missed melanomas come first."""

from conftest import make_photograph_predictions, make_predictions

from skinai.evaluation.mistakes import list_cell, rank_mistakes


def test_missed_melanomas_come_first_then_other_malignant_then_by_certainty():
    truths = ["nv", "mel", "bcc", "mel", "nv", "mel"]
    table = make_predictions(truths, mel=[0.97, 0.2, 0.1, 0.4, 0.1, 0.9])
    wrong = rank_mistakes(table)
    assert wrong["image"].tolist() == ["I001", "I003", "I002", "I000"]
    assert wrong["kind"].tolist() == ["missed melanoma", "missed melanoma", "missed malignant", "other mistake"]
    assert wrong["certainty"].round(2).tolist() == [0.8, 0.6, 0.9, 0.97]


def test_a_cell_holds_the_pictures_of_one_truth_and_one_answer():
    table = make_predictions(["mel", "mel", "nv", "mel"], mel=[0.2, 0.4, 0.1, 0.9])
    assert list_cell(table, "mel", "nv")["image"].tolist() == ["I000", "I001"]
    assert list_cell(table, "mel", "mel")["image"].tolist() == ["I003"]
    assert list_cell(table, "df", "nv").empty


def test_where_no_class_is_malignant_the_most_certain_mistake_comes_first(photographs):
    wrong = rank_mistakes(make_photograph_predictions(photographs), photographs)
    assert len(wrong) > 50
    assert set(wrong["kind"]) == {"other mistake"}
    assert wrong["certainty"].is_monotonic_decreasing
    assert (wrong["truth"] != wrong["answer"]).all()
