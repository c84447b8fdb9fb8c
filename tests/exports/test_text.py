"""Reports and comparisons as text keep their columns, whatever the classes are called."""

import re

import pytest
from conftest import make_photograph_predictions

from skinai.data.predictions import write_predictions
from skinai.evaluation.comparison import compare_predictions
from skinai.evaluation.report import evaluate_table, read_report
from skinai.exports.text import format_comparison, format_report


@pytest.fixture
def table(photographs):
    return make_photograph_predictions(photographs)


def test_long_codes_push_no_column_aside(table, photographs):
    report = evaluate_table(table, model_name="x", labels=photographs)
    lines = format_report(report).splitlines()
    head = next(line for line in lines if line.lstrip().startswith("n  precision"))
    for code in photographs.codes:
        line = next(line for line in lines if line.startswith(f"{code} "))
        assert line[head.index("precision") :].startswith(f"{report.classes[code]['precision']}")
    start = next(number for number, line in enumerate(lines) if line.startswith("confusion"))
    assert lines[start] == "confusion (rows: truth, columns: answer, by the numbers of the rows)"
    assert lines[start + 1].split() == [str(number) for number in range(1, 13)]
    assert len({len(line) for line in lines[start + 1 : start + 14]}) == 1
    for number, (code, row) in enumerate(zip(photographs.codes, report.confusion, strict=True), 1):
        assert lines[start + 1 + number].split() == [str(number), code, *(str(count) for count in row)]


def test_a_model_without_a_malignant_class_has_no_malignant_line(table, photographs):
    report = evaluate_table(table, model_name="x", labels=photographs)
    text = format_report(report)
    assert f"300 pictures of {report.lesions} cases" in text
    assert "95 % intervals: bootstrap by case" in text
    shown, share = report.scores["top3_accuracy"], report.baseline["top3_accuracy"].value
    assert re.search(rf"^top3 accuracy +{re.escape(str(shown))} +{share:.3f} \(the three most frequent\)$", text, re.M)
    assert re.findall("^.*malignant.*$", text, re.M) == ["no class of this model is marked malignant"]
    assert "lesion" not in text.replace("pigmented-or-keratotic-lesion", "")
    assert "sensitivity" not in text


def test_ham10000_keeps_its_columns_and_its_malignant_lines(small_model):
    text = format_report(read_report(small_model))
    assert "confusion (rows: truth, columns: answer)\n" + " " * 7 + "  akiec    bcc" in text
    assert "malignant auc" in text
    assert "(the three most frequent)" in text


def test_a_comparison_of_long_codes_keeps_its_columns(table, photographs, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_predictions(table, tmp_path / name / "predictions_test.csv")
    found = compare_predictions(tmp_path / "a", tmp_path / "b", subset="test", labels=photographs)
    lines = format_comparison(found, "one", "other").splitlines()
    assert "bootstrap by case" in lines[0]
    place = lines[2].index("one")
    specificity = next(line for line in lines if line.startswith("pigmented-or-keratotic-lesion specificity"))
    assert re.match(r"0\.\d{3}", specificity[place:])
    assert f"Of {found.mcnemar.lesions} cases only the first" in lines[-1]
