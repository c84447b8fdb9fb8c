"""What lies at a path is recognised, read by its reader and called by its name."""

import shutil

import numpy as np
import pandas as pd
import pytest
import test_hmnist
import test_isic
from conftest import ROOT
from test_tables import write

from skinai.data.hmnist import write_pictures
from skinai.data.metadata import DataFolder
from skinai.data.sources import describe_source, read_source
from skinai.data.split import require_lesions, split_lesions
from skinai.errors import DataError, UsageError

HAM_NAMES, HAM_ROWS = test_hmnist.metadata_table()


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def kaggle(tmp_path):
    folder = tmp_path / "kaggle"
    put(folder, *(f"HAM10000_images_part_{1 + at % 2}/{row[1]}.jpg" for at, row in enumerate(HAM_ROWS)))
    (folder / "HAM10000_metadata.csv").write_bytes(write(HAM_NAMES, HAM_ROWS))
    return folder


@pytest.fixture
def dataverse(tmp_path):
    folder = put(tmp_path / "dataverse", *(f"{row[1]}.jpg" for row in HAM_ROWS))
    rows = [[*row, "rosendahl"] for row in HAM_ROWS]
    (folder / "HAM10000_metadata").write_bytes(write([*HAM_NAMES, "dataset"], rows, delimiter="\t"))
    return folder


@pytest.fixture
def isic(tmp_path):
    folder = put(tmp_path / "isic", *(f"ISIC_{number:07d}.jpg" for number in range(1, 6)), "licenses/CC-BY.txt")
    return test_isic.fill(folder, test_isic.ROWS)


@pytest.fixture
def hmnist(tmp_path):
    (tmp_path / "pixels").mkdir()
    path = tmp_path / "pixels" / "hmnist_28_28_RGB.csv"
    path.write_bytes(write(*test_hmnist.pixel_table()))
    return path


@pytest.fixture
def classes(tmp_path):
    return put(tmp_path / "classes", *(f"{code}/{number}.jpg" for code in ("dark", "pale") for number in range(6)))


@pytest.mark.parametrize(
    ("fixture", "name", "pictures"),
    [
        ("kaggle", "HAM10000, Kaggle's layout", 9),
        ("dataverse", "HAM10000, Harvard Dataverse's layout", 9),
        ("isic", "ISIC Archive, isic-cli's layout", 5),
        ("hmnist", "HAM10000 as 28 x 28 pixels, Kaggle's hmnist table", 9),
        ("classes", "a folder a class", 12),
    ],
)
@pytest.mark.parametrize("for_training", [True, False])
def test_each_kind_is_recognised_and_named(request, fixture, name, pictures, for_training):
    data = read_source(request.getfixturevalue(fixture), for_training=for_training)
    assert describe_source(data) == name
    assert len(data.table) == len(data.present) == pictures
    columns = ["image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization", "age_band", "path"]
    assert set(columns) <= set(data.table.columns)
    assert data.table["image_id"].is_monotonic_increasing
    assert set(data.table["dx"]) <= set(data.labels.codes)
    assert len(data.metadata_hash) == 64


def test_a_folder_read_by_hand_has_a_description_too():
    assert describe_source(DataFolder(ROOT, pd.DataFrame(), (), "")) == "a data set of unknown kind"


def test_a_table_may_be_given_instead_of_its_folder(kaggle, dataverse, isic):
    for file in (kaggle / "HAM10000_metadata.csv", dataverse / "HAM10000_metadata", isic / "metadata.csv"):
        pd.testing.assert_frame_equal(read_source(file).table, read_source(file.parent).table)


def test_ham10000s_metadata_come_before_the_archives_and_before_class_folders(kaggle, isic):
    shutil.copy(isic / "metadata.csv", kaggle)
    put(kaggle, "dark/0.jpg")
    assert read_source(kaggle).source == "HAM10000, Kaggle's layout"


def test_the_archives_metadata_come_before_class_folders(isic):
    put(isic, *(f"{code}/{number}.jpg" for code in ("dark", "pale") for number in range(6)))
    assert read_source(isic).source == "ISIC Archive, isic-cli's layout"


def test_a_metadata_table_that_is_not_the_archives_is_no_hindrance(classes):
    (classes / "metadata.csv").write_text("image,label\n")
    assert read_source(classes).source == "a folder a class"


def test_a_table_of_the_users_own_comes_before_all_metadata(kaggle):
    rows = [[f"HAM10000_images_part_{1 + at % 2}/{row[1]}", "ab"[at % 2]] for at, row in enumerate(HAM_ROWS)]
    (kaggle / "own.csv").write_bytes(write(["image", "label"], rows))
    data = read_source(kaggle, table_file=kaggle / "own.csv", malignant=["a"], for_training=False)
    assert data.source == "pictures listed in own.csv"
    assert data.labels.malignant_codes == ("a",)


def test_the_archives_metadata_may_have_another_name(isic):
    (isic / "metadata.csv").rename(isic.parent / "bcn.csv")
    data = read_source(isic, table_file=isic.parent / "bcn.csv")
    assert data.source == "ISIC Archive, isic-cli's layout"
    assert len(data.present) == 5


def test_metadata_give_a_table_of_pixels_its_lesions(hmnist, kaggle):
    with pytest.raises(DataError, match="has no lesion ids, so it cannot be split by lesion"):
        require_lesions(read_source(hmnist))
    data = read_source(hmnist, metadata=kaggle / "HAM10000_metadata.csv")
    require_lesions(data)
    split = split_lesions(data.table).set_index("image_id")["subset"]
    assert split["ISIC_0000008"] == split["ISIC_0000009"]


def test_pixels_written_as_pictures_are_read_as_kaggles_layout(hmnist, kaggle, tmp_path):
    data = read_source(hmnist, metadata=kaggle / "HAM10000_metadata.csv")
    write_pictures(data, tmp_path / "written")
    again = read_source(tmp_path / "written")
    assert describe_source(again) == "HAM10000, Kaggle's layout"
    assert again.table["lesion_id"].equals(data.table["lesion_id"])
    assert np.array_equal(again.table["dx"], data.table["dx"])


def test_arguments_that_do_not_fit_are_sentences(hmnist, kaggle, classes):
    with pytest.raises(UsageError, match=r"^--metadata goes with a table of pixels"):
        read_source(classes, metadata=kaggle / "HAM10000_metadata.csv")
    with pytest.raises(UsageError, match=r"^--table goes with a folder of pictures\.$"):
        read_source(hmnist, table_file=kaggle / "HAM10000_metadata.csv")


def test_what_is_nothing_known_is_a_sentence(tmp_path, hmnist):
    with pytest.raises(DataError, match=r"absent does not exist\.$"):
        read_source(tmp_path / "absent")
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        DataError, match=r"^notes\.csv is no table that can be read by itself: give a folder, a table of"
    ):
        read_source(tmp_path / "notes.csv")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"^No \.jpg or \.png picture was found in "):
        read_source(tmp_path / "none", for_training=False)
    with pytest.raises(DataError, match=r"pixels holds tables of pixels: give one of them as --data FILE \(hmnist_28"):
        read_source(hmnist.parent)


def test_what_spoils_a_training_can_be_looked_at(kaggle, isic, classes):
    (kaggle / "HAM10000_metadata.csv").write_bytes(write(HAM_NAMES, [*HAM_ROWS, HAM_ROWS[0]]))
    test_isic.fill(isic, [*test_isic.ROWS, test_isic.ROWS[0]])
    shutil.rmtree(classes / "dark")
    for folder in (kaggle, isic, classes):
        with pytest.raises(DataError):
            read_source(folder)
        assert read_source(folder, for_training=False).remarks


def test_a_shelf_of_conditions_is_read_by_folder_and_by_table(tmp_path):
    """Like the clinical photographs that are not dermoscopy: groups of conditions, blocks of similar pictures."""
    rows = [
        [f"{condition}/{at:04d}.jpg", condition, group, f"{condition}-{at // 2:02d}"]
        for condition, group in (("acne-vulgaris", "acne"), ("orf", "viral infection"), ("scabies", "other"))
        for at in range(4)
    ]
    folder = put(tmp_path / "clinical", *(row[0] for row in rows))
    (folder / "photographs.csv").write_bytes(write(["image", "condition", "group", "block"], rows))
    plain = read_source(folder, for_training=False)
    assert plain.labels.codes == ("acne-vulgaris", "orf", "scabies")
    table = read_source(folder, table_file=folder / "photographs.csv", for_training=False)
    assert table.labels.codes == ("acne", "other", "viral-infection")
    assert table.labels.names == ("acne", "other", "Viral infection")
    assert table.table["lesion_id"].nunique() == 6
    assert {remark.code for remark in table.remarks} == {"few_lesions"}


@pytest.mark.data
def test_the_real_copy_is_kaggles_layout(real_data):
    data = read_source(real_data)
    assert describe_source(data) == "HAM10000, Kaggle's layout"
    counts = {"nv": 5431, "mel": 936, "bkl": 928, "bcc": 444, "akiec": 315, "vasc": 141, "df": 112}
    assert data.present["dx"].value_counts().to_dict() == counts


@pytest.mark.data
def test_the_real_clinical_photographs_are_read_by_folder_and_by_table(real_data):
    folder = real_data.parent / "clinical"
    if not folder.is_dir():
        pytest.skip("the clinical photographs are not at hand")
    plain = read_source(folder, for_training=False)
    assert {"acne-vulgaris", "vitiligo"} <= set(plain.labels.codes)
    data = read_source(folder, table_file=folder / "photographs.csv", for_training=False)
    assert "pigmented-or-keratotic-lesion" in data.labels.codes
    assert len(data.table) == len(plain.table) > 3000
    assert data.table["lesion_id"].nunique() < 1000
