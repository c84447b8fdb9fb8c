"""The record as a FHIR R5 DiagnosticReport with the status `preliminary`, checked against the standard."""

from __future__ import annotations

import json
from typing import Any

from skinai import __version__, wording
from skinai.exports.record import Record

# Codes of our own: no terminology has one for a model's share of a label set.
_SYSTEM = "urn:skinai:record"


def write_fhir(record: Record) -> bytes:
    """Return the record as FHIR JSON.

    The device that made it and one Observation a probability are contained; no Patient is, and the subject stays empty
    for the receiving system to fill in.

    Raises
    ------
    ValueError
        If what is built does not fit the standard.
    """
    from fhir.resources.diagnosticreport import DiagnosticReport  # R5; it takes a second to import

    report = DiagnosticReport.model_validate(build_report(record))
    return (json.dumps(json.loads(report.model_dump_json(exclude_none=True)), indent=1) + "\n").encode()


def build_report(record: Record) -> dict[str, Any]:
    """Return the DiagnosticReport as plain data, before it is checked."""
    facts, prediction = record.as_dict(), record.answer.prediction
    created = facts["created_utc"]
    device = {
        "resourceType": "Device",
        "id": "model",
        "displayName": f"skinai {__version__}, model {prediction.model_name}",
        "version": [{"value": prediction.fingerprint}],
        "note": [{"text": wording.NOT_A_DEVICE}],
    }
    observations: list[dict[str, Any]] = []
    # An Observation may be filed without its report, so each says what it is.
    notes = [
        {"text": text} for text in ([wording.RECORD_INSISTED] if record.insisted else []) + [wording.RECORD_NOTICE]
    ]

    def observe(name: str, text: str, **content: Any) -> None:
        observations.append(
            {
                "resourceType": "Observation",
                "id": name.replace("_", "-"),
                "note": notes,
                "status": "preliminary",
                "code": {"coding": [{"system": _SYSTEM, "code": name, "display": text}], "text": text},
                "effectiveDateTime": created,
                "device": {"reference": "#model"},
                **content,
            }
        )

    if record.shown:
        for number, (label, value) in enumerate(zip(prediction.labels, prediction.probabilities, strict=True), 1):
            # Numbered, for names of a user's own classes need not be fit for an id.
            observe(f"probability_{number}", f"Model's share for {label.name}", valueQuantity=_share(value))
        if prediction.labels.malignant_codes:
            observe("malignant_sum", wording.MALIGNANT_LABEL, valueQuantity=_share(prediction.malignant_probability))
            if facts["threshold"]:
                text = f"Threshold of the sum, {facts['threshold']['name'].replace('_', ' ')} on other pictures"
                observe("threshold", text, valueQuantity=_share(facts["threshold"]["value"]))
        observe("certainty", "How sure", valueString=wording.describe_certainty(record.answer) or "no rules")
        if said := wording.say_dermoscopy(record.answer):
            observe("needs_dermoscopy", "Dermatoscope", valueString=said)
    if record.routing is not None:
        observe("routing", "Which model answered", valueString=wording.say_routing(record.routing))
    for number, one in enumerate(record.pictures, 1):
        said = "; ".join(sentence for _, sentence in one.assessment.reasons)
        said = said or (wording.NO_GATE if one.assessment.gate == "none" else wording.GATE_PASSED)
        observe(f"gate_{number}", f"Gate, picture {number}", valueString=said)
        observe(f"pixels_{number}", f"SHA-256 of the pixels, picture {number}", valueString=one.pixels_sha256)
    for name, value in record.patient.as_dict().items():
        if value is not None:
            observe(f"stated_{name}", f"Stated by the user: {name.replace('_', ' ')}", valueString=str(value))
    if record.own is not None:
        text = f"{record.own.label.name}, {record.own.certainty}"
        observe("own_answer_first", "The user's own answer, locked before the model's was shown", valueString=text)
    return {
        "resourceType": "DiagnosticReport",
        "status": "preliminary",
        "category": [{"text": wording.name_aid(prediction.labels)}],
        "code": {"text": wording.name_shares(prediction.labels)},
        "effectiveDateTime": created,
        "issued": created,
        "contained": [device, *observations],
        "result": [{"reference": f"#{one['id']}"} for one in observations],
        "conclusion": f"{wording.summarise(record.answer, shown=record.shown, insisted=record.insisted)} "
        f"{' '.join(record.reasons)} {wording.RECORD_NOTICE} {' '.join(facts['limits'])}".replace("  ", " "),
    }


def _share(value: float) -> dict[str, Any]:
    return {"value": round(float(value), 6), "unit": "1", "system": "http://unitsofmeasure.org", "code": "1"}
