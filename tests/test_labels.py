"""The class order is typed once, and the circulating orders are told apart."""

import pytest

from skinai.labels import HAM10000, Label, LabelSet, build_label_set


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


def test_a_label_set_of_ones_own_has_names_and_classes_for_a_dermatoscope():
    labels = build_label_set("own", ["bad", "good", "mole"], names={"mole": "A mole"}, dermoscopy=["mole"])
    assert labels.names == ("bad", "good", "A mole")
    assert labels.dermoscopy_codes == ("mole",)
    assert [label.dermoscopy for label in labels] == [False, False, True]
    assert labels.malignant_codes == ()
    assert HAM10000.dermoscopy_codes == ()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"names": {"x": "X"}}, r"^Unknown named classes: \['x'\]\. The classes are: \['a', 'b'\]\.$"),
        ({"malignant": ["x"]}, r"^Unknown malignant classes: \['x'\]"),
        ({"dermoscopy": ["x"]}, r"^Unknown dermoscopy classes: \['x'\]"),
        ({"names": {"a": "A *b*"}}, r"^Names of classes are printable and without .* Received: \['A \*b\*'\]"),
        ({"names": {"a": "A\tb"}}, r"^Names of classes are printable"),
        ({"names": {"a": ""}}, r"^Names of classes are printable .* Received: \[''\]"),
        ({"names": {"a": "b"}}, r"^Two classes have the same name\. The names are: \['b', 'b'\]\.$"),
    ],
)
def test_a_label_set_that_cannot_be_is_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_label_set("own", ["a", "b"], **given)
