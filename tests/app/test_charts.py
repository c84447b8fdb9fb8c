"""The chart that is drawn without a chart library says what its table says."""

import re

import pandas as pd
import pytest

from skinai.evaluation.figures import DARK, LIGHT
from skinai.ui.charts import write_intervals

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
