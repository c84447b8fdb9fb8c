"""A split is judged by its lesions, whatever its columns are called."""

import numpy as np
import pandas as pd
import pytest

from skinai.data.split import read_near_duplicates, split_lesions, split_pictures
from skinai.data.split_audit import TOTAL, audit_split, expect_leak, read_any_split
from skinai.errors import DataError

TABLE = pd.DataFrame(
    {
        "image_id": ["a1", "a2", "b1", "c1", "c2", "d1"],
        "lesion_id": ["a", "a", "b", "c", "c", "d"],
        "dx": ["mel", "mel", "nv", "nv", "nv", "nv"],
    }
)


def split(**subsets):
    return pd.DataFrame({"image_id": list(subsets), "subset": list(subsets.values())})


def test_leaks_are_counted_by_class_and_subset():
    audit = audit_split(split(a1="train", a2="test", b1="test", c1="train", c2="valid", d1="train"), TABLE)
    rows = {(row.dx, row.subset): (row.pictures, row.by_lesion, row.leaked) for row in audit.leaks.itertuples()}
    assert rows == {
        ("mel", "test"): (1, 1, 1),
        ("nv", "test"): (1, 0, 0),
        ("nv", "valid"): (1, 1, 1),
        (TOTAL, "test"): (2, 1, 1),
        (TOTAL, "valid"): (1, 1, 1),
    }
    assert audit.lesions == ("a", "c")
    assert not audit.is_clean


def test_a_near_duplicate_in_train_leaks_and_one_beside_it_does_not():
    parts = split(a1="train", a2="train", b1="test", c1="train", c2="train", d1="test")
    audit = audit_split(parts, TABLE, [("b1", "c1"), ("b1", "d1"), ("a1", "c1"), ("b1", "nowhere")])
    assert audit.pairs == ("b1 and c1",)
    assert audit.leaks.set_index(["dx", "subset"]).loc[("nv", "test"), ["by_lesion", "by_pair", "leaked"]].tolist() == [
        0,
        1,
        1,
    ]
    assert not audit.is_clean


def test_a_pair_between_valid_and_test_is_told_and_is_no_leak_from_train():
    audit = audit_split(split(a1="train", a2="train", b1="test", d1="valid"), TABLE, [("b1", "d1")])
    assert audit.pairs == ("b1 and d1",)
    assert audit.leaks["leaked"].sum() == 0


def test_a_clean_split_is_clean_and_says_what_is_not_in_it():
    audit = audit_split(split(a1="train", a2="train", b1="test", e9="test"), TABLE)
    assert audit.is_clean
    assert (audit.not_listed, audit.not_split) == (("e9",), ("c1", "c2", "d1"))


def test_the_splits_own_lesions_are_taken_without_the_data_and_not_believed_with_it():
    own = split(a1="train", a2="test").assign(lesion_id=["x", "y"])
    assert audit_split(own).is_clean
    assert not audit_split(own, TABLE).is_clean
    with pytest.raises(DataError, match="no lesion ids"):
        audit_split(split(a1="train"))
    with pytest.raises(DataError, match="no picture in common"):
        audit_split(split(z="train"), TABLE)


def test_the_expected_leak_is_worked_by_hand():
    """Four pictures, two of a lesion; half go into train: the sister of one held out is in train in 2 of 3 cases."""
    expected = expect_leak(pd.Series(["a", "a", "b", "c"]), train_share=0.5)
    assert expected.round(6).tolist() == [0.666667, 0.666667, 0.0, 0.0]


def test_the_expected_leak_is_what_random_splits_leak():
    rng = np.random.default_rng(4)
    lesions = pd.Series(rng.integers(0, 60, 120).astype(str))
    leaked = []
    for _ in range(400):
        held = np.zeros(120, bool)
        held[rng.permutation(120)[:24]] = True
        leaked.append(lesions[held].isin(set(lesions[~held])).mean())
    assert expect_leak(lesions, train_share=0.8).mean() == pytest.approx(np.mean(leaked), abs=0.01)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("image_id,subset\nISIC_1,train\nISIC_2,test\n", ["train", "test"]),
        ("subset;image\nTrain;part_1/ISIC_1.jpg\nVAL;part_2\\ISIC_2.JPEG\n", ["train", "valid"]),
        ("isic_id\tsplit\textra\nISIC_1\ttraining\tx\nISIC_2\tholdout\ty\n", ["train", "test"]),
    ],
)
def test_splits_of_other_projects_are_read(tmp_path, text, read):
    (tmp_path / "s.csv").write_text(text)
    found = read_any_split(tmp_path / "s.csv")
    assert found["subset"].tolist() == read
    table = pd.DataFrame({"image_id": ["ISIC_1", "ISIC_2"], "lesion_id": ["a", "a"], "dx": ["mel", "mel"]})
    audit = audit_split(found, table)
    assert (audit.lesions, audit.not_listed) == (("a",), ())


def test_names_inside_folders_are_taken_as_they_are(tmp_path):
    """One's own pictures are called by their path, and two folders may hold the same name."""
    (tmp_path / "s.csv").write_text("image_id,subset\na/1.jpg,train\nb/1.jpg,test\n")
    table = pd.DataFrame({"image_id": ["a/1.jpg", "b/1.jpg"], "lesion_id": ["x", "x"], "dx": ["all", "all"]})
    audit = audit_split(read_any_split(tmp_path / "s.csv"), table)
    assert audit.lesions == ("x",)
    assert audit.leaks["dx"].tolist() == ["all", TOTAL]


def test_nothing_is_called_clean_where_no_lesion_is_known(tmp_path):
    (tmp_path / "s.csv").write_text("image_id,subset,lesion_id\na,train,\nb,test,\n")
    audit = audit_split(read_any_split(tmp_path / "s.csv"))
    assert audit.lesions == ()
    assert not audit.lesions_known
    assert not audit_split(split(a1="train"), TABLE, lesions_known=False).lesions_known


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,part\na,train\n", "needs a column image_id and a column subset"),
        ("image_id,subset\na,left\n", "Unknown subsets in s.csv: left. Known are: train, valid, test."),
        ("image_id,subset\na,train\na,test\n", "Repeated pictures in s.csv: a."),
        ("image_id,subset\n", "s.csv has no rows."),
        ("image_id,subset\na,\n", "has no subset in the"),
    ],
)
def test_a_split_that_is_none_is_a_sentence(tmp_path, text, sentence):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_any_split(tmp_path / "s.csv")


@pytest.mark.data
def test_by_picture_leaks_what_was_computed_and_by_lesion_nothing(real_data):
    """The shares of a random 80/20 split by picture that were computed elsewhere, within two points."""
    from skinai.data.metadata import find_metadata, read_metadata

    table = read_metadata(find_metadata(real_data))
    expected = expect_leak(table["lesion_id"], train_share=0.8).groupby(table["dx"]).mean()
    known = {"akiec": 0.46, "bcc": 0.57, "bkl": 0.52, "df": 0.57, "mel": 0.69, "nv": 0.29, "vasc": 0.46}
    assert {code: abs(expected[code] - share) <= 0.02 for code, share in known.items()} == dict.fromkeys(known, True)
    pairs = read_near_duplicates()
    assert audit_split(split_lesions(table, pairs), table, pairs).is_clean
    leaking = audit_split(split_pictures(table), table, pairs)
    overall = leaking.leaks[leaking.leaks["dx"] == TOTAL].set_index("subset").loc["test"]
    assert overall["share"] == pytest.approx(overall["expected"], abs=0.03)
    assert len(leaking.lesions) > 1000
