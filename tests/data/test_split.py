"""No lesion and no near-identical pair lies on both sides of a split."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinai.data.metadata import DataFolder, read_data_folder, read_metadata
from skinai.data.split import (
    SHARES,
    check_split,
    find_leaks,
    read_near_duplicates,
    read_split,
    require_lesions,
    rotate_split,
    split_lesions,
    split_pictures,
    write_split,
)
from skinai.errors import DataError


def table_of(lesions, dx="nv"):
    rows = [
        {"image_id": f"I{lesion:04d}{picture}", "lesion_id": f"L{lesion:04d}", "dx": dx}
        for lesion in range(lesions)
        for picture in range(1 + lesion % 3)
    ]
    return pd.DataFrame(rows)


def test_no_lesion_crosses_and_the_shares_count_lesions():
    table = pd.concat([table_of(1000), table_of(100, "mel").replace({"L": "M", "I": "J"}, regex=True)])
    split = split_lesions(table)
    assert find_leaks(split) == []
    lesions = split.groupby("subset")["lesion_id"].nunique() / 1100
    for subset, share in SHARES.items():
        assert lesions[subset] == pytest.approx(share, abs=0.003)
    melanoma = split[split["lesion_id"].str.startswith("M")].groupby("subset")["lesion_id"].nunique()
    assert melanoma.to_dict() == {"train": 65, "valid": 15, "test": 20}


def test_the_same_seed_gives_the_same_split_in_any_row_order():
    table = table_of(200)
    split = split_lesions(table, seed=4)
    assert split.equals(split_lesions(table.sample(frac=1, random_state=1), seed=4))
    assert not split.equals(split_lesions(table, seed=5))


def test_near_duplicates_stay_together_also_in_chains():
    table = table_of(300)
    pairs = [(f"I{n:04d}0", f"I{n + 1:04d}0") for n in range(0, 60, 2)] + [("I00010", "I00020"), ("absent", "I00000")]
    split = split_lesions(table, pairs).set_index("image_id")["subset"]
    for a, b in pairs[:-1]:
        assert split[a] == split[b]
    assert split["I00000"] == split["I00030"]


def test_a_leak_is_found_and_refused(tmp_path):
    split = split_lesions(table_of(50))
    row = split.index[split["lesion_id"].duplicated()][0]
    split.loc[row, "subset"] = "test" if split.loc[row, "subset"] != "test" else "train"
    assert find_leaks(split) == [split.loc[row, "lesion_id"]]
    path = tmp_path / "split.csv"
    split.to_csv(path, index=False)
    with pytest.raises(DataError, match=f"more than one subset in .*: {split.loc[row, 'lesion_id']}"):
        read_split(path)


def test_a_split_that_invents_its_own_lesion_ids_is_refused():
    """A split by picture, with the picture's id written where the lesion's belongs."""
    table = table_of(50)
    by_picture = split_lesions(table.assign(lesion_id=table["image_id"]))
    assert find_leaks(by_picture) == []
    with pytest.raises(DataError, match="lesions in more than one subset"):
        check_split(by_picture, table, [])
    honest = split_lesions(table)
    forged = check_split(honest.assign(group=honest["image_id"]), table, [])
    assert forged.equals(honest)
    train, test = (honest.loc[honest["subset"] == subset, "image_id"].iloc[0] for subset in ("train", "test"))
    with pytest.raises(DataError, match="lesions in more than one subset"):
        check_split(honest, table, [(train, test)])


def test_groups_that_a_split_was_made_with_stay_when_it_is_checked(tmp_path):
    table = table_of(60)
    pairs = [("I00000", "I00010"), ("I00010", "I00300"), ("I00050", "I00060")]
    write_split(split_lesions(table, pairs), tmp_path / "split.csv")
    split = read_split(tmp_path / "split.csv")
    assert split["group"].nunique() == 57
    assert check_split(split, table, []).equals(split)
    fewer = table[table["lesion_id"] != "L0000"]
    left = check_split(split, fewer, []).set_index("image_id")["group"]
    assert left["I00011"] == left["I00300"] == "L0001"
    assert left["I00050"] == left["I00060"] == "L0005"


def test_a_group_of_a_split_joins_nothing_across_subsets():
    table = table_of(60)
    split = split_lesions(table)
    every = check_split(split.assign(group="x"), table, [])
    assert every["subset"].equals(split["subset"])
    assert every.groupby("subset")["group"].nunique().to_dict() == {"test": 1, "train": 1, "valid": 1}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image_id,lesion_id,subset\na,b,train\n", r"Missing columns .*'group'"),
        ("image_id,lesion_id,group,subset\na,b,b,holdout\n", "Unknown subsets .*: holdout"),
        ("image_id,lesion_id,group,subset\na,b,b,train\na,b,b,train\n", "Repeated image_id .*: a"),
        ("", "not a comma-separated UTF-8 table"),
    ],
)
def test_a_damaged_split_is_refused(tmp_path, text, sentence):
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_split(path)


def test_a_split_is_written_once_and_read_back(tmp_path):
    split = split_lesions(table_of(50))
    write_split(split, tmp_path / "split.csv")
    assert read_split(tmp_path / "split.csv").equals(split.astype(str))
    with pytest.raises(DataError, match="written once"):
        write_split(split, tmp_path / "split.csv")


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(DataError, match="sum to 1"):
        split_lesions(table_of(10), shares={"train": 0.5, "test": 0.4})


def test_a_folder_may_add_near_duplicates(tmp_path):
    (tmp_path / "near_duplicates.csv").write_text("image_id_a,image_id_b\nB,A\n")
    assert len(read_near_duplicates()) == 18
    assert ("A", "B") in read_near_duplicates(tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a,b\nB,A\n", "needs image_id_a and image_id_b"),
        (b"image_id_a,image_id_b\nB,\n", "rows without a picture"),
        (b"", "not a comma-separated UTF-8 table"),
        (b"image_id_a,image_id_b\n\xff\xfe,A\n", "not a comma-separated UTF-8 table"),
        (b"image_id_a,image_id_b\nA,B\nA,B,C,D\n", "not a comma-separated UTF-8 table"),
    ],
)
def test_a_damaged_list_of_near_duplicates_is_refused(tmp_path, content, sentence):
    (tmp_path / "near_duplicates.csv").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        read_near_duplicates(tmp_path)


@pytest.mark.shipped
def test_the_shipped_split_keeps_lesions_and_near_duplicates_together(shipped_model):
    split = read_split(shipped_model / "split.csv")
    subset = split.set_index("image_id")["subset"]
    assert len(split) == 10_015
    assert split["lesion_id"].nunique() == 7_470
    assert [pair for pair in read_near_duplicates() if subset[pair[0]] != subset[pair[1]]] == []
    lesions = split.groupby("subset")["lesion_id"].nunique() / 7_470
    for name, share in SHARES.items():
        assert lesions[name] == pytest.approx(share, abs=0.002)


@pytest.mark.data
@pytest.mark.shipped
def test_the_shipped_split_is_the_one_that_the_code_makes(real_data, shipped_model):
    table = read_metadata(real_data / "HAM10000_metadata.csv")
    made = split_lesions(table, read_near_duplicates(real_data))
    assert made.astype(str).equals(read_split(shipped_model / "split.csv"))


def test_pictures_that_are_absent_are_split_too(small_data):
    data = read_data_folder(small_data)
    assert len(split_lesions(data.table)) == len(data.table) == len(data.present) + 1


def test_folds_divide_train_and_valid_and_leave_test_alone():
    table = pd.concat([table_of(300), table_of(50, "mel").replace({"L": "M", "I": "J"}, regex=True)])
    split = split_lesions(table)
    folds = [rotate_split(split, table, fold=fold, folds=4) for fold in (1, 2, 3, 4)]
    for rotated in folds:
        assert find_leaks(rotated) == []
        assert (rotated["subset"] == "test").equals(split["subset"] == "test")
        melanoma = rotated[rotated["image_id"].str.startswith("J")].groupby("subset")["lesion_id"].nunique()
        assert melanoma["valid"] == pytest.approx(10, abs=1)
    held_out = [set(rotated.loc[rotated["subset"] == "valid", "image_id"]) for rotated in folds]
    assert sum(map(len, held_out)) == len(set().union(*held_out)) == (split["subset"] != "test").sum()
    for fold, count in ((0, 4), (5, 4), (1, 1)):
        with pytest.raises(DataError, match="A fold is one of 1 to"):
            rotate_split(split, table, fold=fold, folds=count)


def test_a_split_by_picture_leaks_and_is_refused_unless_asked_for(tmp_path):
    table = table_of(600)
    split = split_pictures(table)
    assert len(find_leaks(split)) > 100
    shares = split["subset"].value_counts(normalize=True)
    assert shares.to_dict() == pytest.approx(SHARES, abs=0.002)
    write_split(split, tmp_path / "split.csv")
    with pytest.raises(DataError, match="Lesions in more than one subset"):
        read_split(tmp_path / "split.csv")
    assert len(read_split(tmp_path / "split.csv", by_picture=True)) == len(split)


def test_pixels_without_lesion_ids_are_not_split_by_lesion(small_data):
    table, pixels = table_of(2), np.zeros((3, 8, 8, 3), np.uint8)
    file = Path("hmnist_28_28_RGB.csv")
    with pytest.raises(DataError) as refusal:
        require_lesions(DataFolder(file, table, (), "", lesions_known=False, pixels=pixels))
    assert str(refusal.value) == (
        "hmnist_28_28_RGB.csv has no lesion ids, so it cannot be split by lesion: give HAM10000's metadata too "
        "(--metadata HAM10000_metadata.csv)."
    )
    require_lesions(DataFolder(file, table, (), "", pixels=pixels))
    require_lesions(DataFolder(Path("own"), table, (), "", lesions_known=False))
    require_lesions(read_data_folder(small_data))
