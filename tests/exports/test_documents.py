"""Documents for the record: what they say, what they never say, and that they fit their standards."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pypdfium2
import pytest
from conftest import encode
from fhir.resources.diagnosticreport import DiagnosticReport
from PIL import Image

from skinai import wording
from skinai.data.drawing import draw_lesion
from skinai.data.images import decode_picture, hash_pixels
from skinai.evaluation.report import read_report
from skinai.exports.fhir import build_report, write_fhir
from skinai.exports.pdf import write_pdf
from skinai.exports.record import (
    OwnAnswer,
    PatientFacts,
    build_record,
    write_csv,
    write_json,
    write_table,
)
from skinai.labels import HAM10000, build_label_set
from skinai.serving.assessment import Assessor

NOW = datetime(2026, 11, 24, 10, 30, 5, tzinfo=UTC)
MARKERS = (b"Jane Doe", b"MRN 12345", b"holiday.jpg", b"Canon")


@pytest.fixture(scope="module")
def assessor(gated_model):
    return Assessor.load(gated_model)


@pytest.fixture(scope="module")
def report(small_model):
    return read_report(small_model)


def record_of(assessor, pictures, **options):
    assessments = [assessor.assess(picture) for picture in pictures]
    options.setdefault("insisted", False)
    return build_record(pictures, assessments, assessor.pool(assessments), now=NOW, **options)


def documents(record, pictures):
    return {
        "json": write_json(record),
        "csv": write_csv(record),
        "fhir": write_fhir(record),
        "pdf": write_pdf(record, pictures),
    }


def read_pdf(content):
    document = pypdfium2.PdfDocument(content)
    assert len(document) == 1
    return " ".join(document[0].get_textpage().get_text_range().split())


def blue():
    rng = np.random.default_rng(3)
    return np.clip(np.array((40, 60, 190)) + rng.normal(0, 20, (240, 320, 3)), 0, 255).astype(np.uint8)


def test_all_documents_say_the_same_with_fingerprint_threshold_and_limits(assessor, report):
    pictures = [draw_lesion(2)]
    agreement = assessor.compare_turns(pictures[0], assessor.predictor.predict(pictures[0]))
    record = record_of(
        assessor,
        pictures,
        agreement=agreement,
        patient=PatientFacts(54, "female", "back"),
        own=OwnAnswer(HAM10000.by_code("df"), "unsure"),
        report=report,
    )
    facts = json.loads(write_json(record))
    prediction = assessor.assess(pictures[0]).prediction
    assert facts["probabilities"] == {code: round(value, 6) for code, value in prediction.by_code.items()}
    assert facts["created_utc"] == "2026-11-24T10:30:05Z"
    assert facts["model"]["fingerprint"] == prediction.fingerprint
    assert facts["threshold"]["value"] == assessor.decision.operating_points[0].threshold
    held = report.decision["sensitivity_0.90:sensitivity"]
    assert facts["threshold"]["holdout"]["sensitivity"] == held.as_dict()
    assert facts["turned_versions"]["versions"] == 4
    assert facts["patient"] == {"age_years": 54, "sex": "female", "site": "back"}
    assert facts["own_answer_first"] == {"code": "df", "certainty": "unsure"}
    assert facts["pictures"][0]["pixels_sha256"] == hash_pixels(pictures[0])
    rows = dict(list(csv.reader(io.StringIO(write_csv(record).decode())))[1:])
    assert float(rows["probabilities.mel"]) == facts["probabilities"]["mel"]
    assert rows["model.fingerprint"] == prediction.fingerprint
    text = read_pdf(write_pdf(record, pictures))
    for part in (
        wording.RECORD_NOTICE,
        prediction.top.name,
        prediction.fingerprint,
        f"{facts['threshold']['value']:.1%}",
        "Dermatofibroma, unsure",
        "age 54 years",
        *wording.RECORD_LIMITS,
    ):
        assert part in text
    assert str(held) in text


def test_the_fhir_report_is_valid_preliminary_and_names_no_subject(assessor, report):
    record = record_of(assessor, [draw_lesion(2)], patient=PatientFacts(54, None, None), report=report)
    resource = DiagnosticReport.model_validate_json(write_fhir(record))
    assert resource.status == "preliminary"
    assert resource.subject is None
    inside = {one.id: one for one in resource.contained}
    assert {reference.reference for reference in resource.result} == {f"#{name}" for name in inside if name != "model"}
    assert all(one.status == "preliminary" for name, one in inside.items() if name != "model")
    assert inside["model"].version[0].value == record.answer.prediction.fingerprint
    values = [float(inside[f"probability-{number}"].valueQuantity.value) for number in range(1, 8)]
    assert inside["pixels-1"].valueString == record.pictures[0].pixels_sha256
    assert all(wording.RECORD_NOTICE in one.note[-1].text for name, one in inside.items() if name != "model")
    assert values == pytest.approx(record.answer.prediction.probabilities, abs=1e-6)
    assert inside["stated-age-years"].valueString == "54"
    assert float(inside["threshold"].valueQuantity.value) == record.answer.calls[0].threshold
    broken = build_report(record) | {"status": 7}
    with pytest.raises(ValueError, match="status"):
        DiagnosticReport.model_validate(broken)


def test_no_document_says_diagnosis_but_for_the_name_that_fhir_gives(assessor, report):
    pictures = [draw_lesion(2), blue()]
    for insisted in (False, True):
        made = documents(record_of(assessor, pictures, insisted=insisted, report=report), pictures)
        assert b"diagnos" not in made["json"].lower()
        assert b"diagnos" not in made["csv"].lower()
        assert "diagnos" not in read_pdf(made["pdf"]).lower()
        assert made["fhir"].lower().replace(b"diagnosticreport", b"").count(b"diagnos") == 0


def test_a_refused_picture_has_no_answer_in_any_document_unless_insisted(assessor, report):
    pictures = [blue()]
    record = record_of(assessor, pictures, report=report)
    sentence = "This does not look like a picture taken with a dermatoscope."
    assert record.reasons == (sentence,)
    facts = json.loads(write_json(record))
    assert (facts["status"], facts["probabilities"], facts["malignant_probability"]) == ("refused", None, None)
    assert facts["certainty"] == "cannot_assess"
    assert facts["pictures"][0]["malignant_probability"] is None
    made = documents(record, pictures)
    text = read_pdf(made["pdf"])
    for shown in (text, made["fhir"].decode(), made["csv"].decode()):
        assert sentence in shown
        for name in HAM10000.names:
            assert name not in shown
    assert b"probability_" not in made["fhir"]

    record = record_of(assessor, pictures, insisted=True, report=report)
    facts = json.loads(write_json(record))
    assert facts["insisted"] is True
    assert facts["probabilities"]["mel"] == pytest.approx(record.answer.prediction.by_code["mel"], abs=1e-6)
    made = documents(record, pictures)
    for shown in (read_pdf(made["pdf"]), json.loads(made["fhir"])["conclusion"]):
        assert wording.RECORD_INSISTED in shown
        assert sentence in shown


def test_several_pictures_make_one_page_with_the_spread(assessor, report):
    pictures = [draw_lesion(number) for number in range(6)]
    record = record_of(assessor, pictures, report=report)
    text = read_pdf(write_pdf(record, pictures, draw_lesion(0)))
    assert "6 pictures of one lesion, taken together" in text
    assert len(json.loads(write_json(record))["pictures"]) == 6
    tall = [np.rot90(picture).copy() for picture in pictures]
    read_pdf(write_pdf(record_of(assessor, tall, report=report), tall))


def test_nothing_of_the_files_metadata_reaches_a_document(assessor, report):
    exif = Image.Exif()
    exif[0x010F], exif[0x010E] = "Canon", "Jane Doe MRN 12345 holiday.jpg"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "N", (48.0, 12.0, 30.0)
    content = encode(draw_lesion(2), exif=exif, comment=b"Jane Doe")
    assert all(marker in content for marker in MARKERS)
    picture = decode_picture(content)
    made = documents(record_of(assessor, [picture], report=report), [picture])
    page = pypdfium2.PdfDocument(made["pdf"])[0]
    pictures = [one.extract for one in page.get_objects() if one.type == pypdfium2.raw.FPDF_PAGEOBJ_IMAGE]
    assert len(pictures) == 1
    buffer = io.BytesIO()
    pictures[0](buffer)
    made |= {"text": read_pdf(made["pdf"]).encode(), "picture": buffer.getvalue()}
    assert made["picture"].startswith(b"\xff\xd8")
    for document in made.values():
        assert not any(marker in document for marker in (*MARKERS, b"Exif", b"GPS"))


def test_the_same_record_gives_the_same_bytes(assessor, report):
    pictures = [draw_lesion(2)]
    first, second = (documents(record_of(assessor, pictures, report=report), pictures) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "facts",
    [{"age_years": 121}, {"age_years": -1}, {"sex": "x"}, {"site": "moon"}],
    ids=lambda facts: next(iter(facts)),
)
def test_facts_that_cannot_be_are_refused(facts):
    with pytest.raises(ValueError, match="Received"):
        PatientFacts(**facts)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_cell_is_a_formula(cell):
    row = list(csv.reader(io.StringIO(write_table(["file", "value"], [[cell, -0.5]]).decode())))[1]
    assert row == ["'" + cell, "-0.5"]


def test_several_pictures_are_refused_together_where_one_is(assessor, report):
    pictures = [draw_lesion(2), blue()]
    record = record_of(assessor, pictures, insisted=True, report=report)
    assert record.answer.refused
    assert record.answer.certainty == "cannot_assess"
    facts = json.loads(write_json(record))
    assert [one["gate"] for one in facts["pictures"]] == ["passed", "refused"]
    assert facts["certainty"] == "cannot_assess"
    assert facts["taken_together"] == wording.SEVERAL_REMARK


def test_a_model_without_a_gate_never_says_passed(small_model, report):
    bare = Assessor.load(small_model)
    record = record_of(bare, [draw_lesion(2)], report=report)
    made = documents(record, [draw_lesion(2)])
    assert json.loads(made["json"])["pictures"][0]["gate"] == "none"
    for text in (made["fhir"].decode(), read_pdf(made["pdf"])):
        assert wording.NO_GATE in text
        assert wording.GATE_PASSED not in text


def test_names_of_own_classes_are_no_ids(assessor, report):
    record = record_of(assessor, [draw_lesion(2)], report=report)
    own = build_label_set("mine", ["dark mole", "a_b", "a-b", "N\u00e4vus", "x" * 70, "f", "g"])
    prediction = replace(record.answer.prediction, labels=own)
    answer = replace(record.answer, prediction=prediction, plausible=(), calls=())
    made = write_fhir(replace(record, answer=answer))
    names = [one["id"] for one in json.loads(made)["contained"]]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", name) for name in names)
    assert "malignant_probability" not in [row["id"] for row in json.loads(made)["contained"]]
    read_pdf(write_pdf(replace(record, answer=answer), [draw_lesion(2)]))


def test_a_record_of_photographs_speaks_of_no_lesion_and_of_no_dermoscopy(assessor, report, photographs):
    picture = draw_lesion(2)
    record = record_of(
        assessor,
        [picture],
        agreement=assessor.compare_turns(picture, assessor.predictor.predict(picture)),
        report=report,
    )
    labels = replace(photographs, labels=tuple(replace(label, dermoscopy=False) for label in photographs))
    prediction = replace(record.answer.prediction, labels=labels, probabilities=(1 / 12,) * 12)
    answer = replace(record.answer, prediction=prediction, plausible=(), calls=())
    agreement = replace(record.agreement, tops=(labels.labels[0],) * 4, malignant=(0.0,) * 4)
    record = replace(record, answer=answer, agreement=agreement, holdout={})
    made = documents(record, [picture])
    text = read_pdf(made["pdf"])
    assert text.startswith("Record of a model's answer for pictures of the skin")
    assert all(name in text for name in photographs.names)
    assert wording.NONE_MALIGNANT_REMARK in text
    assert "The model knows 12 classes" in text
    assert json.loads(made["json"])["turned_versions"]["malignant_probability"] is None
    for shown in (text, made["json"].decode(), made["fhir"].decode(), made["csv"].decode()):
        for known in (*photographs.codes, *photographs.names, "needs_dermoscopy"):
            shown = shown.replace(known, "")
        for word in ("lesion", "dermoscop", "seven"):
            assert word not in shown, word
