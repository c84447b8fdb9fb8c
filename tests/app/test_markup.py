"""What pages write as HTML says what its table says, and nothing in it is taken for markup."""

import re

import pandas as pd
import pytest
from markup_reader import read

from skinai.evaluation.figures import DARK, LIGHT
from skinai.ui.markup import write_cards, write_intervals, write_table

HOSTILE = "<script>alert(1)</script> & \"b\" 'c'"
TABLE = pd.DataFrame(
    {
        "diagnosis": ["A & b", "C", "D"],
        "pictures": [1200, 3, 0],
        "f1": [0.5, 1.0, float("nan")],
        "f1_low": [0.25, float("nan"), float("nan")],
        "f1_high": [0.75, float("nan"), float("nan")],
    }
)


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_points_and_whiskers_stand_where_the_figures_are(colours):
    drawn = write_intervals(TABLE, "f1", colours, alt='F1: "A & b" 0.500')
    assert re.findall(r"left:calc\(([\d.]+)% - 6px\)", drawn) == ["50.00", "100.00"]
    assert re.findall(r"left:([\d.]+)%;width:([\d.]+)%", drawn) == [("25.00", "50.00")]
    assert drawn.count("not applicable") == 1
    assert "n 1,200" in drawn
    assert "A &amp; b<br>" in drawn
    assert 'role="img" aria-label="F1: &quot;A &amp; b&quot; 0.500"' in drawn
    assert colours.highlight in drawn


def test_a_table_says_each_cell_and_nothing_in_it_is_markup():
    table = pd.DataFrame({HOSTILE: ["A", HOSTILE], "n": [1, None], "Value": [0.5, float("nan")]}, dtype=object)
    [found] = read(write_table(table, alt=HOSTILE)).tables
    assert found == [[HOSTILE, "n", "Value"], ["A", "1", "0.5"], [HOSTILE, "", ""]]


def test_an_empty_table_has_its_head():
    [found] = read(write_table(pd.DataFrame(columns=["A", "B"]), alt="Nothing")).tables
    assert found == [["A", "B"]]


def test_a_card_says_its_figure_what_it_means_and_what_belongs_to_it():
    first, second = read(
        write_cards([("F1", "Means.", "0.5", ["n = 3.", "Always: 0."]), (HOSTILE, HOSTILE, HOSTILE, [HOSTILE])])
    ).cards
    assert (first.label, first.help, first.value, first.below) == ("F1", "Means.", "0.5", "n = 3. Always: 0.")
    assert (second.label, second.help, second.value, second.below) == (HOSTILE,) * 4
