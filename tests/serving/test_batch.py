"""A batch answers for every file, and one that cannot be read stops nobody."""

import numpy as np
import pytest
from conftest import encode

from skinai.data.drawing import draw_lesion
from skinai.serving.assessment import Assessor
from skinai.serving.batch import COLUMNS, assess_files, describe_row


@pytest.fixture(scope="module")
def assessor(gated_model):
    return Assessor.load(gated_model)


def test_each_file_is_a_row_with_its_reason(assessor):
    blue = np.clip(np.array((40, 60, 190)) + np.random.default_rng(3).normal(0, 20, (240, 320, 3)), 0, 255)
    files = [
        ("a.jpg", encode(draw_lesion(1))),
        ("broken.jpg", b"\xff\xd8\xff nothing"),
        ("blue.jpg", encode(blue.astype(np.uint8))),
        ("empty.png", b""),
        ("b.png", encode(draw_lesion(2), "PNG")),
    ]
    rows = list(assess_files(assessor, files))
    assert [row.name for row in rows] == [name for name, _ in files]
    assert [row.status for row in rows] == ["answered", "unreadable", "refused", "unreadable", "answered"]
    assert rows[1].sentence == "The picture is damaged or incomplete and could not be read."
    assert rows[2].sentence == "This does not look like a picture taken with a dermatoscope."
    assert rows[3].sentence == "The file is empty."
    labels = assessor.predictor.bundle.labels
    facts = [describe_row(row, labels) for row in rows]
    columns = [*COLUMNS, *(f"probability_{code}" for code in labels.codes)]
    assert all(list(one) == columns for one in facts)
    expected = assessor.assess(draw_lesion(2)).prediction
    assert facts[4]["probability_mel"] == round(expected.by_code["mel"], 6)
    assert facts[4]["most_probable"] == expected.top.code
    for silent in facts[1:4]:
        assert silent["certainty"] == "cannot_assess"
        assert silent["most_probable"] is None
        assert silent["malignant_probability"] is None
    insisted = describe_row(rows[2], labels, insist=True)
    assert insisted["status"] == "refused"
    assert insisted["reason"] == rows[2].sentence
    assert insisted["probability_mel"] == round(rows[2].assessment.prediction.by_code["mel"], 6)
    assert describe_row(rows[1], labels, insist=True)["most_probable"] is None
