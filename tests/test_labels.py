"""The class order is typed once, and the circulating orders are told apart."""

import pytest

from skinai.labels import HAM10000, Label, LabelSet


def test_the_order_is_alphabetical_by_code():
    assert HAM10000.codes == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert HAM10000.isic_order == ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


def test_the_malignant_group_is_mel_bcc_and_akiec():
    assert set(HAM10000.malignant_codes) == {"mel", "bcc", "akiec"}


def test_isic_columns_lead_back_to_the_codes():
    assert [HAM10000.by_isic_code(isic_code).code for isic_code in HAM10000.isic_order] == [
        "mel",
        "nv",
        "bcc",
        "akiec",
        "bkl",
        "df",
        "vasc",
    ]


def test_a_repeated_code_is_refused():
    label = Label("a", "A", False, "A")
    with pytest.raises(ValueError, match="repeats a code"):
        LabelSet("twice", (label, label), ("A",))


def test_an_isic_order_that_misses_a_label_is_refused():
    labels = (Label("a", "A", False, "A"), Label("b", "B", False, "B"))
    with pytest.raises(ValueError, match="does not cover"):
        LabelSet("short", labels, ("A",))
