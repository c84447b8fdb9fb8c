"""Charts of other classes than HAM10000's are as legible as those of its seven."""

import pandas as pd

from skinai.evaluation.figures import LIGHT
from skinai.labels import HAM10000
from skinai.ui.charts import draw_facet, draw_no_probabilities, pick_colours


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
