"""The documents of the service: what its OpenAPI description says, and what every answer is checked against."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from skinai import __version__, wording
from skinai.service.answer import MOST_NEIGHBOURS, Wishes
from skinai.service.upload import FIELD, MAX_PICTURES

DEFAULT_DEADLINE_MS, MAX_DEADLINE_MS = 10_000, 120_000

Kind = Literal["dermoscopy", "clinical"]


class Document(BaseModel):
    """A part of an answer; what the description does not name is a mistake of ours."""

    model_config = ConfigDict(extra="forbid")


class Options(BaseModel):
    """The query of ``POST /v1/predict``."""

    model_config = ConfigDict(extra="forbid")

    with_map: bool = Field(False, alias="map", description="Add the class activation map of the most probable class.")
    neighbours: int = Field(0, ge=0, le=MOST_NEIGHBOURS, description="So many similar training pictures.")
    fhir: bool = Field(False, description="Add the record as a FHIR R5 DiagnosticReport.")
    insist: bool = Field(False, description="Answer also for pictures that the gate refuses, and say so.")
    chosen: Kind | None = Field(None, alias="as", description="Whose model answers, whatever the router says.")
    deadline_ms: int = Field(
        DEFAULT_DEADLINE_MS,
        ge=1,
        le=MAX_DEADLINE_MS,
        description="Milliseconds from the request's arrival after which its answer is of no use.",
    )

    @property
    def wishes(self) -> Wishes:
        """What is wanted for each picture."""
        return Wishes(self.with_map, self.neighbours, self.fhir, self.insist, self.chosen)


class Reason(Document):
    """Why a picture is not answered."""

    code: str
    sentence: str


class Gate(Document):
    """What the gate, or before it the decoder, says of a picture."""

    status: Literal["passed", "refused"]
    reasons: list[Reason]
    insisted: bool


class Call(Document):
    """The summed malignant probability against a threshold fitted on valid."""

    threshold: float
    above: bool


class Routing(Document):
    """Which model answered, and what the router says of the picture."""

    answered_by: Kind | None
    overruled: bool
    pictures: list[dict[str, Any]]


class Map(Document):
    """The class activation map of one class, laid over the picture as the model sees it."""

    code: str
    png_base64: str | None = Field(description="null where there is none; the sentence says why.")
    sentence: str


class Neighbour(Document):
    """A training picture that lies near in the network's own space."""

    image_id: str
    lesion_id: str
    code: str
    similarity: float = Field(description="Cosine, from -1 to 1.")
    method: str = Field(description="How the diagnosis was established; empty where nobody stated it.")


class Neighbours(Document):
    """The training pictures nearest to a picture, one a lesion, the nearest first."""

    pictures: list[Neighbour]
    same_as: str | None = Field(description="The training picture that this one is a copy of.")
    sentences: list[str]


class Item(Document):
    """What came of one picture: what ``predict --json`` prints, without the file's name, and what was asked for."""

    picture: int = Field(ge=1, description="Its place in the request, from 1.")
    status: Literal["answered", "refused", "unreadable"]
    model: str
    fingerprint: str
    routing: Routing | None = Field(None, description="Absent where there is one model.")
    probabilities: dict[str, float] | None
    malignant_probability: float | None
    plausible: list[str] | None
    certainty: str | None
    needs_dermoscopy: bool | None
    calls: dict[str, Call] | None
    gate: Gate
    sentences: list[str] = Field(description="What the page says of it.")
    map: Map | None = Field(None, description="Absent unless asked for, and for a picture without an answer.")
    neighbours: Neighbours | None = Field(None, description="Absent unless asked for, and without an answer.")
    fhir: dict[str, Any] | None = Field(None, description="Absent unless asked for, and for an unreadable picture.")


class Answers(Document):
    """One item a picture, in the order of the request."""

    request_id: str
    skinai: str
    notice: str
    pictures: list[Item]


class LabelFacts(Document):
    """One class of a model, at its place in the order of the probabilities."""

    code: str
    name: str
    malignant: bool
    group: str


class Threshold(Document):
    """An operating point fitted on valid."""

    name: str
    threshold: float


class ModelFacts(Document):
    """One model that answers."""

    kind: Kind
    name: str
    fingerprint: str
    created_utc: str
    licence: str
    labels: list[LabelFacts]
    frame_px: tuple[int, int] = Field(description="Width and height of what the network sees.")
    thresholds: list[Threshold]
    has_gate: bool
    limits: list[str]


class Models(Document):
    """The models in use, and whether a router tells their pictures apart."""

    skinai: str
    notice: str
    has_router: bool
    models: list[ModelFacts]


class State(Document):
    """How the service is."""

    status: Literal["alive", "ready"]


class ProblemFacts(Document):
    """Why there is no answer."""

    code: str
    sentence: str
    request_id: str


NOTICE = f"{wording.NOTICE} {wording.NOT_A_DEVICE}"

FORM = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "additionalProperties": False,
                "properties": {
                    FIELD: {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": MAX_PICTURES,
                        "items": {"type": "string", "format": "binary"},
                        "description": "JPEG, PNG or DICOM files, up to 20 MB each and 64 MB together.",
                    }
                },
            },
            "encoding": {FIELD: {"contentType": "image/jpeg, image/png, application/dicom"}},
        }
    },
}

ANSWERS_EXAMPLE: dict[str, Any] = {
    "request_id": "2f1c9d6e5b0a4c7f8e3d1a2b3c4d5e6f",
    "skinai": __version__,
    "notice": NOTICE,
    "pictures": [
        {
            "picture": 1,
            "status": "answered",
            "model": "ham10000-ensemble",
            "fingerprint": "0123456789ab",
            "probabilities": {
                "akiec": 0.0,
                "bcc": 0.0,
                "bkl": 0.0,
                "df": 0.0,
                "mel": 0.0,
                "nv": 0.758,
                "vasc": 0.242,
            },
            "malignant_probability": 0.0,
            "plausible": ["nv"],
            "certainty": "undecided",
            "needs_dermoscopy": False,
            "calls": {"sensitivity_0.90": {"threshold": 0.183985, "above": False}},
            "gate": {"status": "passed", "reasons": [], "insisted": False},
            "sentences": ["Most probable: Melanocytic naevus (75.8%).", wording.RESULT_NOTE],
        },
        {
            "picture": 2,
            "status": "unreadable",
            "model": "ham10000-ensemble",
            "fingerprint": "0123456789ab",
            "probabilities": None,
            "malignant_probability": None,
            "plausible": None,
            "certainty": "cannot_assess",
            "needs_dermoscopy": None,
            "calls": None,
            "gate": {
                "status": "refused",
                "reasons": [{"code": "empty", "sentence": "The file is empty."}],
                "insisted": False,
            },
            "sentences": ["The file is empty."],
        },
    ],
}
MODELS_EXAMPLE: dict[str, Any] = {
    "skinai": __version__,
    "notice": NOTICE,
    "has_router": False,
    "models": [
        {
            "kind": "dermoscopy",
            "name": "ham10000-ensemble",
            "fingerprint": "0123456789ab",
            "created_utc": "2026-01-01T00:00:00Z",
            "licence": "CC BY-NC 4.0",
            "labels": [{"code": "mel", "name": "Melanoma", "malignant": True, "group": "malignant"}],
            "frame_px": [256, 192],
            "thresholds": [{"name": "sensitivity_0.90", "threshold": 0.183985}],
            "has_gate": True,
            "limits": list(wording.RECORD_LIMITS),
        }
    ],
}
