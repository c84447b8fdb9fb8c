"""The explorer's counts are those of a plain group-by, and both of its sources agree."""

import pandas as pd
import pytest

from skinai.data.facets import SIZES, SummaryFacets, TableFacets, build_facets
from skinai.data.metadata import DataFolder
from skinai.data.sources import read_source
from skinai.data.split import read_split
from skinai.data.summary import read_summary
from skinai.labels import HAM10000


@pytest.fixture(scope="module")
def facets(small_data, small_model):
    return build_facets(read_source(small_data, for_training=False), read_split(small_model / "split.csv"))


@pytest.fixture(scope="module")
def summary(small_model):
    return SummaryFacets(HAM10000, read_summary(small_model / "dataset.json"))


def test_counts_are_worked_by_hand():
    table = pd.DataFrame(
        {
            "image_id": list("abcde"),
            "lesion_id": ["1", "1", "2", "3", "4"],
            "dx": ["mel", "mel", "nv", "nv", "mel"],
            "sex": ["male", "male", "female", "unknown", "female"],
            "dx_type": "histo",
            "age_band": "unknown",
            "localization": "back",
        }
    )
    facets = TableFacets(HAM10000, table, ("dx", "sex"))
    assert facets.count("sex").to_dict("index") == {
        "female": {"mel": 1, "nv": 1},
        "male": {"mel": 2, "nv": 0},
        "unknown": {"mel": 0, "nv": 1},
    }
    assert facets.count("sex", unit="lesions").loc["male", "mel"] == 1
    assert facets.total({"dx": ["mel"]}) == 3
    assert facets.total({"dx": ["mel"]}, "lesions") == 2
    unknown = facets.count_unknown({"dx": ["nv"]}).set_index("column").loc["sex"]
    assert (unknown["unknown"], unknown["share"]) == (1, 0.5)


def test_what_is_never_known_is_told(facets):
    """A column of unknowns is no facet, and is missing all the same."""
    nothing = facets.table.assign(sex="unknown")
    data = DataFolder(None, nothing.assign(age=50.0), (), "", HAM10000)
    unknown = build_facets(data).count_unknown({}).set_index("column")
    assert "sex" not in build_facets(data).columns
    assert unknown.loc["sex", "unknown"] == len(nothing)


def test_rare_values_of_very_many_are_one(facets):
    sites = [f"place {number % 60}" for number in range(len(facets.table))]
    data = DataFolder(None, facets.table.assign(localization=sites, age=50.0), (), "", HAM10000)
    values = build_facets(data).values("localization")
    assert len(values) <= 31
    assert "other" in values


def test_a_facets_own_filter_leaves_its_other_values_to_be_seen(facets):
    filtered = facets.count("sex", filters={"sex": ["male"], "dx": ["mel"]})
    assert (filtered.sum(axis=1) > 0).all()
    assert filtered.drop(columns="mel").to_numpy().sum() == 0
    assert facets.total({"sex": ["male"], "dx": ["mel"]}) == filtered.loc["male"].sum()


def test_an_empty_filter_filters_nothing_and_an_impossible_one_everything(facets):
    assert facets.total({"dx": []}) == facets.total({}) == 84
    assert facets.total({"dx": ["mel"], "subset": ["nowhere"]}) == 0
    assert facets.count("sex", filters={"subset": ["nowhere"]}).to_numpy().sum() == 0


def test_the_counts_of_a_model_agree_with_its_table(facets, summary):
    """Absent pictures are listed in the table and not counted in the summary."""
    present = {"picture": ["present"]}
    for column in summary.columns:
        if column not in facets.columns:
            continue  # it has one value only here
        for filters in ({}, {"dx": ["mel", "nv"]}, {"subset": ["train"]}, {"dx": ["bcc"], "subset": ["test"]}):
            theirs = facets.count(column, filters={**filters, **present})
            ours = summary.count(column, filters=filters)
            assert ours.loc[theirs.index].equals(theirs[ours.columns]), (column, filters)
    assert summary.total({"dx": ["mel"]}, "lesions") == 8
    assert summary.count("dx", "subset").equals(summary.count("subset", "dx").T)


def test_values_keep_their_order(facets):
    assert facets.values("dx") == list(HAM10000.codes)
    assert facets.values("subset") == ["train", "valid", "test"]
    assert facets.values("lesion_size") == list(SIZES[:2])
    bands = facets.values("age_band")
    assert bands[-1] == "unknown"
    assert bands[:-1] == sorted(bands[:-1])


def test_a_facet_with_one_value_is_left_out_and_diagnosis_stays(facets):
    assert "dx_type" not in facets.columns
    one = facets.table.assign(dx="mel", age=50.0).drop(columns=["subset", "lesion_size", "picture"])
    data = DataFolder(None, one, (), "", HAM10000, lesions_known=False)
    assert build_facets(data).columns[0] == "dx"
    assert "subset" not in build_facets(data).columns
