"""Kaggle's tables of pixels: their own label order, lesions from the metadata, and a sentence for every mistake."""

import numpy as np
import pandas as pd
import pytest
from test_tables import REFUSED, SAME, WIDER, write

from skinai.artefacts import TEMPORARY_PREFIX
from skinai.data import hmnist
from skinai.data.hmnist import is_hmnist, read_hmnist, write_pictures
from skinai.data.images import read_picture
from skinai.data.metadata import read_data_folder
from skinai.data.own import read_pictures
from skinai.errors import DataError, UsageError

# Worked by hand from Kaggle's table: label 6 is melanoma, label 4 naevus.
CODES = {0: "akiec", 1: "bcc", 2: "bkl", 3: "df", 4: "nv", 5: "vasc", 6: "mel"}
LABELS = [2, 2, 4, 6, 0, 1, 3, 5, 6]


def pixel_table(side=28, channels=3, labels=LABELS):
    """Return names and rows as Kaggle has them: the pixels of a picture, row by row, then its label."""
    count = side * side * channels
    pixels = np.random.default_rng(3).integers(0, 256, (len(labels), count))
    pixels[0, :2] = (0, 255)
    rows = [[*map(str, row), str(label)] for row, label in zip(pixels, labels, strict=True)]
    return [*(f"pixel{number:04d}" for number in range(count)), "label"], rows


def metadata_table(labels=LABELS):
    """Return HAM10000's metadata in the order of the pixels, which is not that of the ids."""
    names = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    ids = [f"ISIC_{number:07d}" for number in (9, 8, 7, 1, 2, 3, 4, 5, 6)]
    lesions = ["HAM_1", "HAM_1", *(f"HAM_{number}" for number in range(2, 9))]
    rows = zip(lesions, ids, labels, strict=True)
    return names, [[lesion, image, CODES[label], "histo", "50.0", "male", "back"] for lesion, image, label in rows]


@pytest.fixture
def table():
    return pixel_table()


@pytest.fixture
def file(tmp_path, table):
    path = tmp_path / "hmnist_28_28_RGB.csv"
    path.write_bytes(write(*table))
    return path


@pytest.fixture
def metadata(tmp_path):
    path = tmp_path / "HAM10000_metadata.csv"
    path.write_bytes(write(*metadata_table()))
    return path


def assert_same(data, clean):
    pd.testing.assert_frame_equal(data.table, clean.table)
    np.testing.assert_array_equal(data.pixels, clean.pixels)


def change_value(names, rows, column, value, row=1):
    rows = [list(values) for values in rows]
    rows[row][names.index(column)] = value
    return write(names, rows)


def test_melanoma_is_label_6_and_naevus_label_4(file):
    data = read_hmnist(file)
    assert data.table["dx"].tolist() == ["bkl", "bkl", "nv", "mel", "akiec", "bcc", "df", "vasc", "mel"]
    assert tuple(CODES[label] for label in range(7)) == hmnist.LABEL_ORDER


def test_the_pixels_are_the_rows_of_the_table_in_its_order(file, table):
    data = read_hmnist(file)
    assert data.pixels.shape == (9, 28, 28, 3)
    assert data.pixels.dtype == np.uint8
    names, rows = table
    assert data.pixels[4, 0, 1].tolist() == [int(rows[4][names.index(f"pixel{at:04d}")]) for at in (3, 4, 5)]
    assert data.pixels[4, 1, 0, 2] == int(rows[4][names.index("pixel0086")])


@pytest.mark.parametrize(("side", "channels"), [(8, 3), (28, 1), (8, 1)])
def test_the_three_sisters_are_read_and_grey_becomes_rgb(tmp_path, side, channels):
    names, rows = pixel_table(side, channels)
    (tmp_path / "sister.csv").write_bytes(write(names, rows))
    data = read_hmnist(tmp_path / "sister.csv")
    assert data.pixels.shape == (9, side, side, 3)
    flat = data.pixels[..., :channels].reshape(9, -1)
    assert flat.tolist() == [[int(value) for value in row[:-1]] for row in rows]
    if channels == 1:
        assert (data.pixels == data.pixels[..., :1]).all()


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_a_copy_in_another_form_reads_the_same(file, table, change):
    clean = read_hmnist(file)
    file.write_bytes(change(*table))
    assert is_hmnist(file)
    assert_same(read_hmnist(file), clean)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        *REFUSED.values(),
        (WIDER["extra column"], "so on, each once; it also has 'note'."),
        (WIDER["quoted newlines"], "so on, each once; it also has 'note'."),
        (WIDER["a column without a name"], "so on, each once; it also has ''."),
        (lambda names, rows: write(names[:-1], [row[:-1] for row in rows]), "so on, each once; it lacks label."),
        (
            lambda names, rows: write(names[1:], [row[1:] for row in rows]),
            "so on, each once; it lacks pixel0000.",
        ),
        (
            lambda names, rows: write(names[:-2] + names[-1:], [row[:-2] + row[-1:] for row in rows]),
            ".csv has 2,351 pixels a row, which is no square of one or three channels.",
        ),
        (lambda names, rows: write([*names, "label"], [[*row, "1"] for row in rows]), "each once; it has twice label."),
        (
            lambda names, rows: write([*names, "PIXEL0007"], [[*row, "1"] for row in rows]),
            "each once; it has twice pixel0007.",
        ),
        (lambda names, rows: write(["label"], [["1"]]), "so on, each once; it lacks pixel0000."),
        (
            lambda names, rows: write(names, [rows[0], rows[1][1:], *rows[2:]]),
            "Row 3 of hmnist_28_28_RGB.csv has 2,352 values and its header 2,353 names.",
        ),
        (
            lambda names, rows: write(names, [[*rows[0], "1"], *rows[1:]]),
            "Row 2 of hmnist_28_28_RGB.csv has 2,354 values and its header 2,353 names.",
        ),
        (
            lambda names, rows: write(names, [["1\n2", *rows[0][1:]], *rows[1:]]),
            "Row 2 of hmnist_28_28_RGB.csv has 1 values and its header 2,353 names.",
        ),
        (lambda names, rows: change_value(names, rows, "label", "7"), "has label = '7' in row 3; label is a whole"),
        (lambda names, rows: change_value(names, rows, "label", "-1"), "label is a whole number from 0 to 6."),
        (lambda names, rows: change_value(names, rows, "label", "mel"), "has label = 'mel' in row 3; label is a"),
        (lambda names, rows: change_value(names, rows, "label", "6.0"), "has label = '6.0' in row 3; label is a"),
        (lambda names, rows: change_value(names, rows, "label", ""), "has label = '' in row 3; label is a"),
        (
            lambda names, rows: change_value(names, rows, "pixel0005", "-1"),
            "hmnist_28_28_RGB.csv has pixel0005 = '-1' in row 3; pixel0005 is a whole number from 0 to 255.",
        ),
        (
            lambda names, rows: change_value(names, rows, "pixel0005", "256"),
            "has pixel0005 = '256' in row 3; pixel0005",
        ),
        (lambda names, rows: change_value(names, rows, "pixel0005", "12.5"), "has pixel0005 = '12.5' in row 3; pixel"),
        (lambda names, rows: change_value(names, rows, "pixel0005", "1e2"), "has pixel0005 = '1e2' in row 3; pixel"),
        (
            lambda names, rows: change_value(names, rows, "pixel0005", "white"),
            "has pixel0005 = 'white' in row 3; pixel",
        ),
        (
            lambda names, rows: change_value(names, rows, "pixel0005", "nan", 8),
            "has pixel0005 = 'nan' in row 10; pixel",
        ),
        (lambda names, rows: change_value(names, rows, "pixel2351", ""), "has pixel2351 = '' in row 3; pixel2351 is a"),
        (
            lambda names, rows: change_value(names, rows, "pixel0000", "9" * 20),
            "has pixel0000 = '99999999999999999999'",
        ),
        (
            lambda names, rows: change_value(names, rows, "pixel0000", "1" * 140_000),
            "11111... in row 3; pixel",
        ),
        (
            lambda names, rows: write(names, rows).replace(b"\n", b'\n"', 1),
            "RGB.csv is not a comma-separated UTF-8 table",
        ),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_the_place(file, table, change, sentence):
    file.write_bytes(change(*table))
    with pytest.raises(DataError) as refusal:
        read_hmnist(file)
    assert sentence in str(refusal.value)
    assert str(refusal.value).endswith(".")
    assert len(str(refusal.value)) < 300


def test_values_that_hide_a_delimiter_in_quotes_are_refused(file, table):
    names, rows = table
    rows[0][:2] = ["1,2"]
    rows[1][:2] = ["1,2"]
    file.write_bytes(write(names, rows))
    with pytest.raises(DataError):
        read_hmnist(file)


def test_one_row_is_a_table(file, table):
    names, rows = table
    clean = read_hmnist(file)
    file.write_bytes(write(names, rows[:1]))
    data = read_hmnist(file)
    pd.testing.assert_frame_equal(data.table, clean.table[:1])
    np.testing.assert_array_equal(data.pixels, clean.pixels[:1])


def test_a_missing_table_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"^hmnist_8_8_L\.csv is missing in "):
        read_hmnist(tmp_path / "hmnist_8_8_L.csv")


def test_large_tables_go_through_the_fast_reader(file, monkeypatch):
    engines = []
    plain = pd.read_csv
    monkeypatch.setattr(
        hmnist.pd, "read_csv", lambda *given, **options: engines.append(options["engine"]) or plain(*given, **options)
    )
    read_hmnist(file)
    assert engines == ["c"]


def test_without_metadata_lesions_are_unknown_and_that_is_told(file):
    data = read_hmnist(file)
    assert not data.lesions_known
    assert data.table["lesion_id"].is_unique
    assert [remark.sentence for remark in data.remarks] == [
        "hmnist_28_28_RGB.csv has no lesion ids: a split by lesion needs --metadata HAM10000_metadata.csv."
    ]
    assert len(data.present) == 9
    assert data.table["path"].isna().all()


def test_metadata_that_lie_beside_are_named_but_not_taken(file, metadata):
    data = read_hmnist(file)
    assert not data.lesions_known
    assert data.remarks[0].sentence.endswith(f"needs --metadata {metadata}.")


def test_with_metadata_the_pictures_have_their_ids_and_lesions(file, metadata, table):
    data = read_hmnist(file, metadata)
    assert data.lesions_known
    assert not data.remarks
    assert data.table["image_id"].is_monotonic_increasing
    rows = data.table.set_index("image_id")
    assert rows.loc["ISIC_0000001", "dx"] == "mel"
    assert rows.loc["ISIC_0000009", "lesion_id"] == rows.loc["ISIC_0000008", "lesion_id"] == "HAM_1"
    _, pixels = table
    place = data.table.index[data.table["image_id"] == "ISIC_0000001"][0]
    assert data.pixels[place].ravel().tolist() == [int(value) for value in pixels[3][:-1]]


def test_metadata_in_another_order_are_refused(file, metadata):
    names, rows = metadata_table()
    metadata.write_bytes(write(names, sorted(rows, key=lambda row: row[1])))
    with pytest.raises(DataError) as refusal:
        read_hmnist(file, metadata)
    assert str(refusal.value) == (
        "HAM10000_metadata.csv is not in the order of hmnist_28_28_RGB.csv: 9 rows have another diagnosis, "
        "the first of them row 2 (bkl against mel)."
    )


def test_metadata_of_other_pictures_are_refused(file, metadata):
    names, rows = metadata_table()
    metadata.write_bytes(write(names, rows[:-1]))
    with pytest.raises(DataError, match=r"has 9 rows and HAM10000_metadata\.csv has 8: they do not belong together"):
        read_hmnist(file, metadata)


@pytest.mark.parametrize(
    ("column", "value", "code", "sentence"),
    [
        ("image_id", "ISIC_0000009", "repeated", "Repeated image_id in HAM10000_metadata.csv: ISIC_0000009"),
        ("lesion_id", "HAM_2", "torn_lesions", "Lesions with more than one dx in HAM10000_metadata.csv: HAM_2"),
        ("age", "old", "no_age", "Values that are no age in HAM10000_metadata.csv: old"),
    ],
)
def test_doubtful_metadata_are_refused_for_training_and_told_otherwise(file, metadata, column, value, code, sentence):
    names, rows = metadata_table()
    metadata.write_bytes(change_value(names, rows, column, value))
    if column == "lesion_id":
        metadata.write_bytes(change_value(names, rows, column, value, row=3))
    with pytest.raises(DataError, match=sentence):
        read_hmnist(file, metadata)
    data = read_hmnist(file, metadata, for_training=False)
    told = {remark.code: remark.sentence for remark in data.remarks}
    assert told[code].startswith(sentence + "; ")
    assert len(data.table) == len(data.pixels) == (8 if column == "image_id" else 9)


def test_written_with_metadata_they_are_kaggles_layout(file, metadata, tmp_path):
    data = read_hmnist(file, metadata)
    write_pictures(data, tmp_path / "new" / "ham")
    read = read_data_folder(tmp_path / "new" / "ham")
    columns = [column for column in data.table if column != "path"]
    pd.testing.assert_frame_equal(read.table[columns], data.table[columns])
    assert not read.remarks
    assert len(read.present) == 9
    for path, pixels in zip(read.table["path"], data.pixels, strict=True):
        picture = read_picture(path)
        assert picture.shape == (56, 56, 3)
        np.testing.assert_array_equal(picture[::2, 1::2], pixels)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["ham"]


def test_written_without_metadata_they_are_a_folder_a_class(file, tmp_path):
    write_pictures(read_hmnist(file), tmp_path / "ham")
    data = read_pictures(tmp_path / "ham", for_training=False)
    assert data.table["dx"].value_counts().to_dict()["mel"] == 2
    assert sorted(path.name for path in (tmp_path / "ham" / "mel").iterdir()) == [
        "hmnist_00003.png",
        "hmnist_00008.png",
    ]


def test_an_interrupted_writing_leaves_nothing_behind(file, metadata, tmp_path, monkeypatch):
    data = read_hmnist(file, metadata)
    before = sorted(tmp_path.rglob("*"))

    def fail(*given, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(OSError, match="No space left"):
        write_pictures(data, tmp_path / "ham")
    assert sorted(tmp_path.rglob("*")) == before


def test_while_they_are_written_they_lie_under_a_temporary_name(file, tmp_path, monkeypatch):
    places = []
    plain = hmnist._write_layout
    monkeypatch.setattr(hmnist, "_write_layout", lambda *given: places.append(given[-1]) or plain(*given))
    write_pictures(read_hmnist(file), tmp_path / "ham")
    assert places[0].parent.name.startswith(TEMPORARY_PREFIX)
    assert places[0].parent.parent == tmp_path
    assert (tmp_path / "ham").stat().st_mode & 0o777 == (tmp_path / "ham" / "nv").stat().st_mode & 0o777


def test_pictures_are_written_into_a_new_folder_only_and_from_pixels_only(file, small_data, tmp_path):
    (tmp_path / "ham").mkdir()
    with pytest.raises(UsageError, match=r"ham exists\. Name a new folder\."):
        write_pictures(read_hmnist(file), tmp_path / "ham")
    with pytest.raises(UsageError, match="is no table of pixels"):
        write_pictures(read_data_folder(small_data), tmp_path / "other")


def test_other_tables_are_no_tables_of_pixels(metadata, tmp_path):
    assert not is_hmnist(metadata)
    assert not is_hmnist(tmp_path)
    assert not is_hmnist(tmp_path / "absent.csv")
