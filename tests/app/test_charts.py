"""The chart that is drawn without a chart library says what its table says."""

import re

import pandas as pd
import pytest

from skinai.evaluation.figures import DARK, LIGHT
from skinai.labels import HAM10000
from skinai.ui.charts import draw_facet, draw_no_probabilities, pick_colours, write_intervals

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


def test_twelve_classes_are_told_apart_by_colour_and_pattern(photographs):
    colours = pick_colours(photographs)
    assert len(set(colours.values())) == 12
    assert [colours[code] for code in photographs.codes[:2]] == [("#E69F00", ""), ("#0072B2", "")]
    assert {pattern for _, pattern in pick_colours(HAM10000).values()} == {""}


def test_bars_of_twelve_classes_are_as_thick_as_those_of_seven(photographs):
    few, many = (draw_no_probabilities(labels, LIGHT).layout.height for labels in (HAM10000, photographs))
    assert few == 340
    assert many / 12 > 0.9 * few / 7
    counts = pd.DataFrame(1, index=["back"], columns=list(photographs.codes))
    drawn = draw_facet(counts, ["back"], LIGHT, facet="localization", unit="pictures", chosen=[], labels=photographs)
    assert [bar.name for bar in drawn.data] == list(photographs.names)
    assert drawn.data[8].marker.pattern.shape
