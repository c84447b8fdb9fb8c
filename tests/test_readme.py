"""The figures of the README are those of the stored reports, to the last digit."""

import re

import pytest
from conftest import ROOT, SHIPPED_REPORTS

from skinai.evaluation.report import read_report
from skinai.model.bundle import DEFAULT_MODEL, models_folder

README = (ROOT / "README.md").read_text(encoding="utf-8")


def spell(estimate):
    """Write an estimate as the README does, without the leading zeros."""
    return re.sub(r"\b0\.", ".", str(estimate))


@pytest.mark.shipped
@pytest.mark.parametrize("name", SHIPPED_REPORTS)
def test_the_table_of_models_is_that_of_the_reports(name):
    report = read_report(models_folder() / name)
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`"))
    figures = [report.overall[figure] for figure in ("accuracy", "balanced_accuracy", "macro_f1")]
    figures += [report.classes["mel"]["recall"], report.classes["mel"]["auc"], report.scores["malignant_auc"]]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == [spell(figure) for figure in figures]


@pytest.mark.shipped
def test_the_sentences_about_the_default_model_are_those_of_its_report():
    report = read_report(models_folder() / DEFAULT_MODEL)
    text = " ".join(README.split())
    rules = ("sensitivity_0.95:sensitivity", "sensitivity_0.95:specificity", "clear_lead:right")
    for name in (*rules, "malignant_with_benign_clear_lead", "calibration_error_before"):
        assert spell(report.decision[name]) in text, name
    assert spell(report.scores["expected_calibration_error"]) in text
    assert f"{report.pictures:,} pictures of {report.lesions:,} lesions" in text
    always = [report.baseline[name] for name in ("accuracy", "balanced_accuracy", "macro_f1")]
    row = next(line for line in README.splitlines() if line.startswith("| always naevus"))
    assert [cell.strip() for cell in row.split("|")[2:5]] == [f"{one.value:.3f}".lstrip("0") for one in always]
