"""The ISIC Archive's metadata: every name of a diagnosis is mapped or listed, and what is left out is told."""

import pandas as pd
import pytest
from test_tables import REFUSED_TEXT, SAME, WIDER, said, write

from skinai.data.isic import DIAGNOSES, SQUAMOUS, is_isic_table, read_isic
from skinai.errors import DataError
from skinai.labels import HAM10000

# The columns in the order in which isic-cli writes them: three, then the others by name.
NAMES = [
    *("isic_id", "attribution", "copyright_license", "age_approx", "anatom_site_general", "anatom_site_special"),
    *("concomitant_biopsy", "diagnosis_1", "diagnosis_2", "diagnosis_3", "diagnosis_4", "diagnosis_5"),
    *("diagnosis_confirm_type", "image_type", "lesion_id", "melanocytic", "sex"),
]
LEVELS = {
    "bcc": ("Malignant", "Malignant adnexal epithelial proliferations - Follicular", "Basal cell carcinoma"),
    "mel": ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma Invasive"),
    "nv": ("Benign", "Benign melanocytic proliferations", "Nevus"),
    "vasc": ("Benign", "Benign soft tissue proliferations - Vascular", ""),
    "lentigo": ("Benign", "Benign melanocytic proliferations", "Lentigo simplex"),
    "scc": ("Malignant", "Malignant epidermal proliferations", "Squamous cell carcinoma, NOS"),
}


def row(number, *levels, **values):
    """Return a row as the archive has it; `levels` are diagnosis_1 and so on."""
    known = {
        "isic_id": f"ISIC_{number:07d}",
        "attribution": "Department of Dermatology, Medical University of Vienna",
        "copyright_license": "CC-BY-NC",
        "age_approx": "50",
        "anatom_site_general": "posterior torso",
        "concomitant_biopsy": "True",
        "diagnosis_confirm_type": "histopathology",
        "image_type": "dermoscopic",
        "lesion_id": f"IL_{number:07d}",
        "melanocytic": "True",
        "sex": "male",
        **{f"diagnosis_{at}": name for at, name in enumerate(levels, start=1)},
    } | values
    return [known.get(name, "") for name in NAMES]


ROWS = [
    row(3, *LEVELS["mel"], "Melanoma Invasive, Superficial spreading", lesion_id="IL_0000001"),
    row(1, *LEVELS["mel"], age_approx="", sex=""),
    row(2, *LEVELS["nv"], diagnosis_confirm_type="serial imaging showing no change", anatom_site_general=""),
    row(4, *LEVELS["vasc"], diagnosis_confirm_type=""),
    row(5, *LEVELS["bcc"]),
]


@pytest.fixture
def folder(tmp_path):
    """A folder as isic-cli leaves it; the reader looks at the pictures' names only."""
    for number in range(1, 6):
        (tmp_path / f"ISIC_{number:07d}.jpg").write_bytes(b"")
    (tmp_path / "attribution.txt").write_text("")
    (tmp_path / "licenses").mkdir()
    (tmp_path / "licenses" / "CC-BY-NC.txt").write_text("")
    return fill(tmp_path, ROWS, end="\r\n")


def fill(folder, rows, names=NAMES, **options):
    (folder / "metadata.csv").write_bytes(write(names, rows, **options))
    return folder


def codes_of(data):
    return [remark.code for remark in data.remarks]


def test_the_archives_metadata_read_like_ham10000s(folder):
    data = read_isic(folder)
    assert data.labels is HAM10000
    assert data.table["image_id"].tolist() == [f"ISIC_{number:07d}" for number in range(1, 6)]
    assert data.table["dx"].tolist() == ["mel", "nv", "mel", "vasc", "bcc"]
    assert data.table["dx_type"].tolist() == ["histo", "follow_up", "histo", "unknown", "histo"]
    assert data.table["lesion_id"].tolist()[:3] == ["IL_0000001", "IL_0000002", "IL_0000001"]
    assert data.table["sex"].tolist()[:2] == ["unknown", "male"]
    assert data.table["localization"].tolist()[:2] == ["posterior torso", "unknown"]
    assert data.table["age_band"].tolist()[:2] == ["unknown", "50-64"]
    assert data.lesions_known
    assert len(data.present) == 5
    assert [remark.sentence for remark in data.remarks] == ["1 pictures have no age: ISIC_0000001; kept as unknown."]


@pytest.mark.parametrize("change", [*SAME.values(), *WIDER.values()], ids=[*SAME, *WIDER])
def test_a_copy_in_another_form_reads_the_same(folder, change):
    clean = read_isic(folder)
    (folder / "metadata.csv").write_bytes(change(NAMES, ROWS))
    assert is_isic_table(folder / "metadata.csv")
    data = read_isic(folder)
    pd.testing.assert_frame_equal(data.table, clean.table)
    assert data.remarks == clean.remarks


@pytest.mark.parametrize(("change", "sentence"), REFUSED_TEXT.values(), ids=REFUSED_TEXT)
def test_a_copy_that_cannot_be_read_is_one_sentence(folder, change, sentence):
    (folder / "metadata.csv").write_bytes(change(NAMES, ROWS))
    with pytest.raises(DataError) as refusal:
        read_isic(folder)
    assert str(refusal.value).endswith(said(sentence, "metadata.csv", NAMES, ROWS))


def drop(*columns):
    kept = [at for at, name in enumerate(NAMES) if name not in columns]
    return [NAMES[at] for at in kept], [[values[at] for at in kept] for values in ROWS]


def test_a_missing_id_column_is_refused(folder):
    names, rows = drop("isic_id")
    with pytest.raises(DataError, match=r"^Missing columns in metadata\.csv: \['isic_id'\]\. It has: \['attribution'"):
        read_isic(fill(folder, rows, names))


def test_a_table_without_any_diagnosis_is_refused(folder):
    names, rows = drop(*(f"diagnosis_{level}" for level in range(1, 6)))
    with pytest.raises(DataError) as refusal:
        read_isic(fill(folder, rows, names))
    assert str(refusal.value) == "metadata.csv has neither diagnosis_1 to diagnosis_5 nor diagnosis."


def test_a_column_that_is_there_twice_is_refused(folder):
    with pytest.raises(DataError, match=r"^metadata\.csv has columns twice: 'sex'\.$"):
        read_isic(fill(folder, [[*values, "male"] for values in ROWS], [*NAMES, "Sex"]))


@pytest.mark.parametrize("column", sorted(set(NAMES) - {"isic_id", "diagnosis_1", "diagnosis_2", "diagnosis_3"}))
def test_columns_that_the_archive_leaves_out_are_not_needed(folder, column):
    """It writes only those in which some picture has a value."""
    names, rows = drop(column)
    assert read_isic(fill(folder, rows, names)).table["dx"].tolist() == ["mel", "nv", "mel", "vasc", "bcc"]


def test_one_row_is_a_table(folder):
    data = read_isic(fill(folder, ROWS[:1]))
    assert data.table["image_id"].tolist() == ["ISIC_0000003"]
    assert codes_of(data) == ["not_listed"]


@pytest.mark.parametrize(("name", "code"), DIAGNOSES.items())
def test_every_listed_name_is_mapped_at_its_level_and_in_older_tables(folder, name, code):
    rows = [row(1, "Benign", "Something", name.capitalize()), row(2, "Benign", name.upper())]
    assert read_isic(fill(folder, rows)).table["dx"].tolist() == [code, code]
    old = write(["isic_id", "diagnosis", "benign_malignant"], [["ISIC_0000001", name, "benign"]])
    (folder / "metadata.csv").write_bytes(old)
    assert read_isic(folder).table["dx"].tolist() == [code]


def test_all_seven_diagnoses_have_names_and_no_other():
    assert set(DIAGNOSES.values()) == set(HAM10000.codes)
    assert all(name == name.lower() for name in (*DIAGNOSES, *SQUAMOUS))


@pytest.mark.parametrize(
    ("levels", "code"),
    [
        ((*LEVELS["nv"], "Nevus, Atypical, Dysplastic, or Clark"), "nv"),
        ((*LEVELS["nv"], "Nevus, NOS, Compound", "Whatever"), "nv"),
        ((*LEVELS["bcc"], "Basal cell carcinoma, Nodular"), "bcc"),
        (("Malignant", "Malignant melanocytic proliferations (Melanoma)"), "mel"),
        (("Benign", "Benign soft tissue proliferations - Vascular", "Hemangioma", "Hemangioma, Cherry"), "vasc"),
        (("Benign", "Benign soft tissue proliferations - Vascular", "Lymphangioma"), ""),
        (("Benign", "Benign melanocytic proliferations"), ""),
        (LEVELS["lentigo"], ""),
        (("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Merkel"), ""),
    ],
)
def test_a_kind_follows_its_disease_and_a_disease_not_its_group(folder, levels, code):
    data = read_isic(fill(folder, [row(1, *levels), row(5, *LEVELS["bcc"])]))
    assert data.table["dx"].tolist() == ([code] if code else []) + ["bcc"]


def test_an_older_column_is_asked_only_where_no_disease_is_named(folder):
    names = [*NAMES, "diagnosis"]
    rows = [
        [*row(1, "Benign"), "nevus"],
        [*row(2, *LEVELS["lentigo"]), "nevus"],
        [*row(3, *LEVELS["mel"]), "melanoma"],
    ]
    data = read_isic(fill(folder, rows, names))
    assert data.table["dx"].tolist() == ["nv", "mel"]


def test_a_squamous_cell_carcinoma_is_in_situ_in_ham10000_only(folder):
    (folder / "ISIC_0024306.jpg").write_bytes(b"")
    rows = [row(24306, *LEVELS["scc"]), row(24305, *LEVELS["scc"]), row(34321, *LEVELS["scc"])]
    data = read_isic(fill(folder, rows))
    assert data.table[["image_id", "dx"]].to_numpy().tolist() == [["ISIC_0024306", "akiec"]]
    assert "2 pictures have another diagnosis than HAM10000's seven: Squamous cell carcinoma, NOS (2); left out." in [
        remark.sentence for remark in data.remarks
    ]


def test_unmapped_names_are_listed_with_their_counts(folder):
    rows = [*ROWS, *(row(number, *LEVELS["lentigo"]) for number in (10, 11)), row(12, *LEVELS["scc"]), row(13)]
    told = {remark.code: remark.sentence for remark in read_isic(fill(folder, rows)).remarks}
    assert told["unmapped"] == (
        "4 pictures have another diagnosis than HAM10000's seven: Lentigo simplex (2), Squamous cell carcinoma, "
        "NOS (1), none given (1); left out."
    )


def test_a_table_without_any_of_the_seven_is_refused(folder):
    with pytest.raises(DataError) as refusal:
        read_isic(fill(folder, [row(1, *LEVELS["lentigo"])]))
    assert str(refusal.value) == (
        "No picture in metadata.csv has one of HAM10000's seven diagnoses; they have: Lentigo simplex (1)."
    )


def test_pictures_that_are_not_dermoscopic_are_left_out_and_told(folder):
    rows = [*ROWS, row(6, *LEVELS["nv"], image_type="clinical: close-up"), row(7, *LEVELS["nv"], image_type="")]
    rows += [row(8, *LEVELS["nv"], image_type="TBP tile: close-up")]
    data = read_isic(fill(folder, rows))
    assert len(data.table) == 6
    assert data.remarks[0].sentence == (
        "2 pictures are not dermoscopic: TBP tile: close-up (1), clinical: close-up (1); left out."
    )
    with pytest.raises(DataError, match=r"^None of the 1 pictures listed in metadata\.csv is dermoscopic: clinical"):
        read_isic(fill(folder, rows[5:6]))


def test_missing_lesion_ids_are_told(folder):
    rows = [row(1, *LEVELS["nv"], lesion_id=""), row(2, *LEVELS["nv"], lesion_id=""), row(5, *LEVELS["bcc"])]
    data = read_isic(fill(folder, rows))
    told = {remark.code: remark.sentence for remark in data.remarks}
    assert told["no_lesions"] == "2 pictures have no lesion id; each counts as a lesion of its own."
    assert data.lesions_known
    assert data.table["lesion_id"].is_unique
    assert not read_isic(fill(folder, rows[:2])).lesions_known


def test_the_pictures_of_a_patient_stay_together(folder):
    names = [*NAMES, "patient_id"]
    patients = ["IP_1", "IP_1", "IP_1", "", ""]
    rows = [[*values, patient] for values, patient in zip(ROWS, patients, strict=True)]
    data = read_isic(fill(folder, rows, names))
    assert data.table["lesion_id"].tolist() == ["patient IP_1"] * 3 + ["IL_0000004", "IL_0000005"]
    assert "3 pictures name a patient; all pictures of a patient count as one lesion." in [
        remark.sentence for remark in data.remarks
    ]


@pytest.mark.parametrize(
    ("rows", "code", "sentence", "pictures"),
    [
        (
            [*ROWS, row(6, *LEVELS["nv"], lesion_id="IL_0000001")],
            "torn_lesions",
            "Lesions with more than one diagnosis in metadata.csv: IL_0000001",
            6,
        ),
        ([*ROWS, ROWS[1]], "repeated", "Repeated isic_id in metadata.csv: ISIC_0000001", 5),
        (
            [*ROWS[1:], row(3, *LEVELS["mel"], age_approx="old")],
            "no_age",
            "Values that are no age in metadata.csv: old",
            5,
        ),
    ],
)
def test_doubtful_rows_are_refused_for_training_and_told_otherwise(folder, rows, code, sentence, pictures):
    fill(folder, rows)
    with pytest.raises(DataError) as refusal:
        read_isic(folder)
    assert str(refusal.value) == sentence + "."
    data = read_isic(folder, for_training=False)
    assert {remark.code: remark.sentence for remark in data.remarks}[code].startswith(sentence + "; ")
    assert len(data.table) == pictures


def test_a_lesion_with_one_of_the_seven_and_another_diagnosis_is_not_torn(folder):
    rows = [*ROWS, row(6, *LEVELS["lentigo"], lesion_id="IL_0000001")]
    assert len(read_isic(fill(folder, rows)).table) == 5


def test_pictures_are_found_in_folders_below_and_absent_ones_are_told(folder):
    (folder / "images").mkdir()
    (folder / "ISIC_0000001.jpg").rename(folder / "images" / "ISIC_0000001.JPG")
    (folder / "images" / "ISIC_0000002.jpg").write_bytes(b"")
    (folder / ".isic-partial.7.ISIC_0000009.jpg").write_bytes(b"")
    (folder / "ISIC_0000005.jpg").rename(folder / "ISIC_0000055.jpg")
    data = read_isic(folder)
    told = {remark.code: remark.sentence for remark in data.remarks}
    assert data.table.loc[0, "path"] == folder / "images" / "ISIC_0000001.JPG"
    assert told["picture_twice"] == "ISIC_0000002 is there twice; images/ISIC_0000002.jpg left out."
    assert told["picture_absent"].startswith("1 of the 5 listed pictures are absent: ISIC_0000005; ")
    assert told["not_listed"] == "1 pictures are not listed in metadata.csv: ISIC_0000055; left out."
    assert len(data.present) == 4


def test_a_folder_without_a_listed_picture_is_refused(folder):
    for path in folder.glob("*.jpg"):
        path.unlink()
    with pytest.raises(DataError, match=r"^None of the 5 pictures listed in metadata\.csv was found in "):
        read_isic(folder, for_training=False)


def test_a_users_own_table_is_not_the_archives(tmp_path):
    (tmp_path / "own.csv").write_text("image,label,isic_id\n")
    assert not is_isic_table(tmp_path / "own.csv")
    assert not is_isic_table(tmp_path)
