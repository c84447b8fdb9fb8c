"""An audit finds what was done to a data folder on purpose, and nothing in a sound one."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinai.data.audit import (
    ACROSS,
    PUBLISHED,
    WITHIN,
    audit_folder,
    hash_state,
    keep_audit,
    read_audit,
    write_audit,
    write_pairs,
)
from skinai.data.drawing import draw_lesion
from skinai.data.metadata import METADATA_FILE
from skinai.data.sources import read_source
from skinai.data.split import read_near_duplicates, read_pairs, split_lesions
from skinai.errors import DataError
from skinai.labels import HAM10000


@pytest.fixture
def folder(small_data, tmp_path):
    return shutil.copytree(small_data, tmp_path / "ham")


def read(folder):
    return read_source(folder, for_training=False)


def edit(folder, change):
    """Change the metadata table."""
    table = pd.read_csv(folder / METADATA_FILE, dtype=str, keep_default_na=False)
    table = change(table)
    (table if isinstance(table, pd.DataFrame) else pd.DataFrame(table)).to_csv(folder / METADATA_FILE, index=False)


def path_of(folder, image_id):
    return next(folder.glob(f"*/{image_id}.jpg"))


def count(audit):
    return {finding.code: finding.count for finding in audit.findings}


def test_a_sound_folder_has_nothing_wrong(folder):
    audit = audit_folder(read(folder), near=False)
    found = count(audit)
    assert not audit.is_wrong
    assert found["absent"] == 1
    assert found["unknown_age"] == 1
    wrong = ("unreadable", "repeated", "label_conflict", "copies", "copies_across", "pair_conflict")
    assert {code: found[code] for code in wrong} == dict.fromkeys(wrong, 0)
    assert audit.sizes.to_dict("records") == [{"width_px": 128, "height_px": 96, "pictures": 83}]
    assert audit.counts["present"].sum() == 83
    assert audit.counts["published"].tolist() == [PUBLISHED[code][0] for code in HAM10000.codes]
    assert sum(pictures for pictures, _ in PUBLISHED.values()) == 10_015
    assert sum(lesions for _, lesions in PUBLISHED.values()) == 7_470


def test_everything_done_to_a_folder_is_found(folder):
    path_of(folder, "ISIC_0000010").write_bytes(b"\xff\xd8\xff no picture")
    shutil.copy(path_of(folder, "ISIC_0000000"), path_of(folder, "ISIC_0000080"))  # another lesion, another diagnosis
    picture = Image.open(path_of(folder, "ISIC_0000001"))
    sister = path_of(folder, "ISIC_0000002")
    sister.unlink()
    picture.save(sister.with_suffix(".png"))  # the same pixels in another file, of the same lesion
    edit(
        folder,
        lambda table: table.assign(
            age=table["age"].mask(table["image_id"].isin(["ISIC_0000020", "ISIC_0000021"]), "0.0")
        ),
    )
    edit(folder, lambda table: table.assign(dx=table["dx"].where(table["image_id"] != "ISIC_0000011", "nv")))
    audit = audit_folder(read(folder), near=False)
    found = count(audit)
    assert audit.is_wrong
    assert found["unreadable"] == 1
    assert found["copies"] == 2
    assert found["copies_across"] == 1
    assert found["repeated"] == 0
    assert found["pair_conflict"] == 1
    assert found["label_conflict"] == 1
    assert found["age_zero"] == 2
    rows = audit.pairs.set_index("image_a")
    assert rows.loc["ISIC_0000000", ["kind", "lesions", "dx_b"]].tolist() == ["same file", ACROSS, "vasc"]
    assert rows.loc["ISIC_0000001", ["kind", "lesions"]].tolist() == ["same pixels", WITHIN]
    assert "ISIC_0000010" in next(one.sentence for one in audit.findings if one.code == "unreadable")


def test_an_audit_is_kept_and_read_as_it_was(folder, tmp_path):
    shutil.copy(path_of(folder, "ISIC_0000000"), path_of(folder, "ISIC_0000080"))
    audit = audit_folder(read(folder), source="HAM10000, Kaggle's layout", near=False)
    write_audit(audit, tmp_path / "audit.json")
    again = read_audit(tmp_path / "audit.json")
    for name in ("counts", "sizes", "pairs"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(audit, name), check_dtype=False)
    assert (again.findings, again.state, again.source) == (audit.findings, audit.state, audit.source)
    assert not again.near_searched


def test_a_quick_audit_does_not_replace_a_full_one(folder, tmp_path):
    data = read(folder)
    quick = audit_folder(data, near=False)
    full = replace(quick, near_searched=True)
    for audit, kept in ((quick, False), (full, True), (quick, True)):
        keep_audit(audit, tmp_path / "audit.json")
        assert read_audit(tmp_path / "audit.json").near_searched is kept
    keep_audit(replace(quick, state="another"), tmp_path / "audit.json")
    assert not read_audit(tmp_path / "audit.json").near_searched


def test_what_a_reader_left_out_is_counted(tmp_path):
    """Absent and repeated rows of one's own table are gone from it; the audit tells of them all the same."""
    from conftest import encode

    from skinai.data.drawing import draw_lesion

    (tmp_path / "own").mkdir()
    for number in range(4):
        content = encode(draw_lesion(number, width_px=64, height_px=48))
        (tmp_path / "own" / f"{number}.jpg").write_bytes(content)
    rows = [("0.jpg", "a"), ("1.jpg", "a"), ("2.jpg", "b"), ("2.jpg", "b"), ("8.jpg", "b"), ("9.jpg", "b")]
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(tmp_path / "t.csv", index=False)
    audit = audit_folder(read_source(tmp_path / "own", table_file=tmp_path / "t.csv", for_training=False), near=False)
    found = count(audit)
    assert (found["absent"], found["repeated"], found["not_listed"]) == (2, 1, 1)
    assert sorted(found) == sorted({finding.code for finding in audit.findings}), "a code comes once"
    assert audit.counts["published"].isna().all()


def test_sizes_are_those_of_the_files(folder):
    Image.new("RGB", (5000, 3600), (200, 150, 120)).save(path_of(folder, "ISIC_0000000"))
    audit = audit_folder(read(folder), near=False)
    assert {"width_px": 5000, "height_px": 3600, "pictures": 1} in audit.sizes.to_dict("records")


def test_many_copies_are_a_chain_and_not_a_square(folder):
    for number in range(1, 40):
        if number != 5:
            shutil.copy(path_of(folder, "ISIC_0000000"), path_of(folder, f"ISIC_00000{number:02d}"))
    assert count(audit_folder(read(folder), near=False))["copies"] == 38


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 9}', "\xff"])
def test_what_is_no_audit_is_a_sentence(tmp_path, text):
    (tmp_path / "audit.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="is not an audit"):
        read_audit(tmp_path / "audit.json")
    with pytest.raises(DataError, match="does not exist"):
        read_audit(tmp_path / "absent.json")


def test_a_changed_folder_is_another_state(folder):
    before = hash_state(read(folder))
    assert hash_state(read(folder)) == before
    os.utime(path_of(folder, "ISIC_0000000"), (1, 1))
    assert hash_state(read(folder)) != before


def test_the_pairs_found_keep_a_split_honest(folder):
    """Fed to the split, the two pictures of a pair land on one side, whatever the seed."""
    shutil.copy(path_of(folder, "ISIC_0000000"), path_of(folder, "ISIC_0000002"))
    shutil.copy(path_of(folder, "ISIC_0000000"), path_of(folder, "ISIC_0000009"))
    data = read(folder)
    audit = audit_folder(data, near=False)
    assert write_pairs(audit, folder / "near_duplicates.csv") == len(audit.across)
    assert read_pairs(folder / "near_duplicates.csv")
    pairs = read_near_duplicates(folder)
    for seed in range(6):
        split = split_lesions(data.table, pairs, seed=seed).set_index("image_id")["subset"]
        assert split["ISIC_0000000"] == split["ISIC_0000009"]


def test_near_duplicates_are_found_and_published_ones_named(folder):
    rng = np.random.default_rng(0)
    for number in (30, 50):
        noise = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        skin = np.asarray(Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC))
        Image.fromarray(skin).save(path_of(folder, f"ISIC_00000{number}"), quality=92)
        moved = np.roll(skin, (6, 10), axis=(0, 1))
        Image.fromarray(moved).save(path_of(folder, f"ISIC_00000{number + 5}"), quality=80)
    steps = []
    known = [("ISIC_0000035", "ISIC_0000030")]
    audit = audit_folder(read(folder), known=known, on_progress=lambda step, share: steps.append((step, share)))
    rows = audit.across[audit.across["kind"] == "near"].set_index("image_a")
    assert rows.loc["ISIC_0000030", ["image_b", "known"]].tolist() == ["ISIC_0000035", True]
    assert rows.loc["ISIC_0000050", ["image_b", "known"]].tolist() == ["ISIC_0000055", False]
    assert {step for step, _ in steps} == {"reading", "comparing"}
    assert steps[-1] == ("comparing", 1.0)


def test_a_table_of_pixels_is_audited_without_files(folder):
    data = read(folder)
    pixels = np.zeros((len(data.table), 28, 28, 3), np.uint8)
    pixels[:, :, :, 0] = np.arange(len(pixels))[:, None, None]
    audit = audit_folder(replace(data, pixels=pixels), near=False)
    assert audit.sizes.to_dict("records") == [{"width_px": 28, "height_px": 28, "pictures": len(pixels)}]
    assert count(audit)["absent"] == 0


@pytest.mark.data
def test_the_counts_of_the_real_folder_are_known(real_data):
    """What is listed equals what is published; what is present is counted, whatever part of it a copy has."""
    from skinai.data.audit import count_classes

    counts = count_classes(read(real_data)).set_index("dx")
    assert counts["listed"].tolist() == counts["published"].tolist()
    assert counts["lesions"].tolist() == counts["published_lesions"].tolist()
    assert (counts["present"] <= counts["listed"]).all()


def test_a_mark_that_all_pictures_carry_makes_no_pairs(tmp_path):
    """Without covering it, the logo alone makes near-duplicates of pictures that have nothing else in common."""
    rng = np.random.default_rng(4)
    logo = rng.integers(0, 2, (60, 80, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)[:80, :110] * 255
    for name in ("red", "dark"):
        (tmp_path / name).mkdir()
    for number in range(10):
        picture = draw_lesion(number, width_px=320, height_px=240, network=False)
        picture[160:, :110] = logo
        Image.fromarray(picture).save(tmp_path / ("red", "dark")[number % 2] / f"{number}.png")
    data = read(tmp_path)
    assert count(audit_folder(data))["near_across"] > 5
    assert count(audit_folder(replace(data, mark=(0.0, 0.66, 0.35, 1.0))))["near_across"] == 0
