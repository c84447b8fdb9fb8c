"""All that is said about a picture or a lesion: gate, probabilities, what else is plausible, decision, map, similar
cases, and how steady the answer is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from skinai.data.images import frame_picture
from skinai.data.stressors import STRESSORS
from skinai.errors import DataError, ModelError
from skinai.evaluation.decision import CANNOT_ASSESS, DECISION_FILE, Decision, read_decision
from skinai.labels import Label, LabelSet
from skinai.model.bundle import EMBEDDING, FEATURE_MAP, check_seal
from skinai.model.gates import Gates, Verdict, build_features, count_features, read_gates
from skinai.model.head import HEAD_FILE, map_class, read_head
from skinai.model.reference import REFERENCE_FILE, ReferenceIndex, read_reference
from skinai.serving.overlay import overlay_map
from skinai.serving.predictor import Prediction, Predictor

# Mirrored left to right, upside down, and both: a lesion has no up.
_TURNS = (np.s_[:, ::-1], np.s_[::-1, :], np.s_[::-1, ::-1])
_STRESSED_SIDE_PX = 800
AS_GIVEN = "as_given"
# So many pictures of one lesion are taken together.
MOST_PICTURES = 6
_WORTH_A_REMARK = 0.1


@dataclass(frozen=True)
class SimilarCase:
    """One training picture that lies near in the network's own space.

    Attributes
    ----------
    image_id, lesion_id : str
    label : Label
    similarity : float
        Cosine, from -1 to 1.
    method : str
        How the diagnosis was established, such as ``"histo"``; empty where nobody stated it.
    """

    image_id: str
    lesion_id: str
    label: Label
    similarity: float
    method: str = ""


@dataclass(frozen=True)
class Call:
    """The summed malignant probability against one threshold fitted on `valid`.

    Attributes
    ----------
    name : str
        Of the operating point, such as ``"sensitivity_0.90"``.
    threshold : float
    above : bool
        Whether the sum reaches the threshold.
    """

    name: str
    threshold: float
    above: bool


@dataclass(frozen=True)
class Agreement:
    """What the model says of several versions of one picture, or of several pictures of one lesion.

    Attributes
    ----------
    tops : tuple of Label
        The most probable diagnosis of each.
    malignant : tuple of float
        The summed malignant probability of each.
    """

    tops: tuple[Label, ...]
    malignant: tuple[float, ...]

    def count_for(self, label: Label) -> int:
        """Return for how many `label` is the most probable diagnosis."""
        return self.tops.count(label)


@dataclass(frozen=True)
class StressResult:
    """What becomes of the answer once something is drawn over the picture.

    Attributes
    ----------
    name : str
        `AS_GIVEN`, or one of :data:`skinai.data.stressors.STRESSORS`.
    picture : ndarray of shape (height, width, 3), uint8
        With it drawn over.
    assessment : Assessment
    """

    name: str
    picture: np.ndarray
    assessment: Assessment


@dataclass(frozen=True)
class Assessment:
    """What the model says about one picture, or about several pictures of one lesion together.

    Attributes
    ----------
    prediction : Prediction
        Also of a refused picture; who shows it must say that it was refused.
    verdict : Verdict or None
        Of the gate; None where the model has none. Of several pictures together that of the first one refused.
    certainty : str or None
        ``"clear_lead"``, ``"undecided"`` or ``"cannot_assess"``, which a refused picture always is; None where the
        model has no rules.
    plausible : tuple of Label
        The prediction set, in the fixed order; empty where the model has no rules.
    calls : tuple of Call
        One an operating point; empty where the model has no rules.
    answer : mapping of str to ndarray
        All outputs of the network; empty of several pictures together.
    leading : tuple of int
        Positions of :attr:`leaders` in the label set.
    """

    prediction: Prediction
    verdict: Verdict | None
    certainty: str | None
    plausible: tuple[Label, ...]
    calls: tuple[Call, ...]
    answer: Mapping[str, np.ndarray]
    leading: tuple[int, int] = (0, 0)

    @property
    def refused(self) -> bool:
        """Whether the gate refuses the picture."""
        return self.verdict is not None and self.verdict.reason is not None

    @property
    def needs_dermoscopy(self) -> bool:
        """Whether a class that a dermatoscope has to be held to is on top, plausible, or has a tenth of all."""
        codes = set(self.prediction.labels.dermoscopy_codes)
        likely = {code for code, share in self.prediction.by_code.items() if share >= _WORTH_A_REMARK}
        return bool(codes & ({self.prediction.top.code} | {label.code for label in self.plausible} | likely))

    @property
    def gate(self) -> str:
        """``"passed"``, ``"refused"``, or ``"none"`` where the model has no gate."""
        return "none" if self.verdict is None else "refused" if self.refused else "passed"

    @property
    def reasons(self) -> tuple[tuple[str, str], ...]:
        """Code and sentence of each reason for which the picture is refused."""
        if self.verdict is None or self.verdict.reason is None or self.verdict.sentence is None:
            return ()
        return ((self.verdict.reason, self.verdict.sentence),)

    @property
    def leaders(self) -> tuple[Label, Label]:
        """The two diagnoses in the lead: the most probable one, and the second that counts."""
        first, second = (self.prediction.labels.labels[index] for index in self.leading)
        return first, second

    @property
    def severest(self) -> Label | None:
        """The most severe diagnosis in the prediction set; None where none is malignant, or no order is known."""
        return find_severest(self.plausible, self.prediction.labels)


class Assessor:
    """Assesses pictures with one model folder.

    Parameters
    ----------
    predictor : Predictor
    decision : Decision or None
    gates : Gates or None
    reference : ReferenceIndex or None
    kernel : ndarray of shape (channels, classes) or None
        The last layer's weights.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        decision: Decision | None = None,
        gates: Gates | None = None,
        reference: ReferenceIndex | None = None,
        kernel: np.ndarray | None = None,
    ) -> None:
        self.predictor, self.decision, self.gates = predictor, decision, gates
        self.reference, self.kernel = reference, kernel

    @classmethod
    def load(cls, folder: Path | str, *, threads: int = 2, copies: int = 1) -> Assessor:
        """Load a model folder with all that it holds; parts that a model may lack are left out.

        Parameters
        ----------
        folder : Path or str
        threads, copies : int
            Of the interpreters, see :class:`skinai.model.session.Session`.

        Raises
        ------
        ModelError
            If the folder or a part of it is refused.
        """
        predictor = Predictor.load(folder, threads=threads, copies=copies)
        bundle = predictor.bundle
        check_seal(bundle.folder)
        decision = reference = kernel = None
        try:
            # Also where it is a link that leads nowhere, which is not the same as no rules.
            if os.path.lexists(bundle.folder / DECISION_FILE):
                decision = read_decision(bundle.folder, fingerprint=bundle.fingerprint, labels=bundle.labels)
        except DataError as error:
            raise ModelError(str(error)) from error
        # Parts without a hash in bundle.json may be those of another model.
        if REFERENCE_FILE in bundle.facts["files"]:
            reference = read_reference(bundle.folder / REFERENCE_FILE)
        if HEAD_FILE in bundle.facts["files"]:
            kernel = read_head(bundle.folder / HEAD_FILE)
            if kernel.shape != (predictor.session.channels, len(bundle.labels)):
                raise ModelError(f"{HEAD_FILE} in {bundle.folder} does not fit the export.")
        gates = read_gates(bundle.folder, fingerprint=bundle.fingerprint)
        if gates is not None and (reference is None or gates.network.mean.shape != (count_features(reference),)):
            raise ModelError(f"The gate in {bundle.folder} does not fit the model's {REFERENCE_FILE}.")
        return cls(predictor, decision=decision, gates=gates, reference=reference, kernel=kernel)

    def assess(self, picture: np.ndarray) -> Assessment:
        """Assess one picture.

        Parameters
        ----------
        picture : ndarray of shape (height, width, 3), uint8
            Upright RGB, as :func:`skinai.data.images.decode_picture` returns it.
        """
        frame = frame_picture(picture, self.predictor.bundle.frame)
        prediction, answer = self.predictor.answer(frame)
        verdict = None
        if self.gates is not None and self.reference is not None:
            verdict = self.gates.judge(build_features(frame, answer[EMBEDDING], self.reference))
        return self._judge(prediction, verdict, answer)

    def pool(self, assessments: Sequence[Assessment]) -> Assessment:
        """Return one assessment of a lesion from those of several pictures of it.

        The probabilities are the geometric means over the pictures, brought to a sum of 1: of 205 lesions of `valid`
        with several pictures this was right for .771, the pictures one by one for .735. The rules were fitted on single
        pictures. Where the gate refuses one of the pictures, the whole is refused.

        Raises
        ------
        ValueError
            If there is none.
        """
        if not assessments:
            raise ValueError("There is no assessment to pool.")
        if len(assessments) == 1:
            return assessments[0]
        first = assessments[0].prediction
        logs = [np.log(np.maximum(one.prediction.probabilities, 1e-12)) for one in assessments]
        odds = np.exp(np.mean(logs, axis=0))
        probabilities = tuple(float(value) for value in odds / odds.sum())
        pooled = Prediction(first.labels, probabilities, first.model_name, first.fingerprint)
        refused = next((one.verdict for one in assessments if one.refused), assessments[0].verdict)
        return self._judge(pooled, refused, {})

    def compare_turns(self, picture: np.ndarray, given: Prediction) -> Agreement:
        """Return what the model says of a picture as it is, mirrored, upside down, and both.

        Parameters
        ----------
        picture : ndarray of shape (height, width, 3), uint8
        given : Prediction
            For the picture as it is.
        """
        frame = frame_picture(picture, self.predictor.bundle.frame)
        answers = [given, *(self.predictor.answer(np.ascontiguousarray(frame[turn]))[0] for turn in _TURNS)]
        return Agreement(
            tuple(answer.top for answer in answers), tuple(answer.malignant_probability for answer in answers)
        )

    def stress(self, picture: np.ndarray) -> list[StressResult]:
        """Return the answer as given, and under hair, ruler, ink, dark corners, blur, tint and rotation.

        A large picture is reduced first, for the one as given too, so that reducing it is not taken for an effect.
        """
        height, width = picture.shape[:2]
        share = _STRESSED_SIDE_PX / max(height, width)
        if share < 1:
            image = Image.fromarray(picture)
            picture = np.asarray(image.resize((max(round(width * share), 1), max(round(height * share), 1))))
        results = [StressResult(AS_GIVEN, picture, self.assess(picture))]
        for name, draw in STRESSORS.items():
            drawn = draw(picture)
            results.append(StressResult(name, drawn, self.assess(drawn)))
        return results

    def _judge(self, prediction: Prediction, verdict: Verdict | None, answer: Mapping[str, np.ndarray]) -> Assessment:
        """Apply the rules to probabilities."""
        labels = prediction.labels
        certainty = None
        order = np.argsort(-np.array(prediction.probabilities), kind="stable")
        leading = (int(order[0]), int(order[1]))
        plausible: tuple[Label, ...] = ()
        calls: tuple[Call, ...] = ()
        if self.decision is not None:
            row = np.array([prediction.probabilities])
            inside = self.decision.build_sets(row, labels)[0]
            plausible = tuple(label for label, held in zip(labels, inside, strict=True) if held)
            malignant = round(prediction.malignant_probability, 6)  # thresholds have six decimals
            calls = tuple(
                Call(point.name, point.threshold, malignant >= point.threshold)
                for point in self.decision.operating_points
            )
            if self.decision.clear_margin is not None:
                kinds, leaders = self.decision.tell_certainty(row, labels)
                refused = verdict is not None and verdict.reason is not None
                certainty = CANNOT_ASSESS if refused else str(kinds[0])
                leading = (int(leaders[0, 0]), int(leaders[0, 1]))
        return Assessment(prediction, verdict, certainty, plausible, calls, answer, leading)

    def draw_map(self, assessment: Assessment, code: str) -> np.ndarray | None:
        """Return the class activation map of one class, shape (height, width); None where the network has none."""
        if self.kernel is None:
            return None
        index = assessment.prediction.labels.index(code)
        return map_class(assessment.answer[FEATURE_MAP], self.kernel, index)

    def draw_overlay(
        self, picture: np.ndarray, assessment: Assessment, code: str, *, opacity: float = 0.6
    ) -> np.ndarray | None:
        """Return a picture as the model sees it under the class activation map of one class; None where there is none.

        Parameters
        ----------
        picture : ndarray of shape (height, width, 3), uint8
            The one that was assessed.
        assessment : Assessment
        code : str
        opacity : float
            0 to 1.
        """
        drawn = self.draw_map(assessment, code)
        if drawn is None:
            return None
        shown = overlay_map(frame_picture(picture, self.predictor.bundle.frame), drawn, opacity=opacity)
        if shown is not None and picture.shape[0] > picture.shape[1]:
            shown = np.ascontiguousarray(np.rot90(shown, -1))  # a portrait picture was turned to be framed
        return shown

    def find_same(self, picture: np.ndarray) -> str | None:
        """Return the id of the training picture that this one is a copy of, also re-coded or resized; else None."""
        if self.reference is None:
            return None
        return self.reference.find_same(frame_picture(picture, self.predictor.bundle.frame))

    def find_similar(self, assessment: Assessment, count: int = 6) -> list[SimilarCase]:
        """Return the training pictures nearest in the network's space, one a lesion, the nearest first."""
        if self.reference is None:
            return []
        rows, similarities = self.reference.find_nearest(assessment.answer[EMBEDDING], count)
        labels = assessment.prediction.labels
        return [
            SimilarCase(
                str(self.reference.image_ids[row]),
                str(self.reference.lesion_ids[row]),
                labels.by_code(str(self.reference.codes[row])),
                float(similarity),
                str(self.reference.methods[row]) if len(self.reference.methods) else "",
            )
            for row, similarity in zip(rows, similarities, strict=True)
        ]


def find_severest(plausible: tuple[Label, ...], labels: LabelSet) -> Label | None:
    """Return the most severe malignant label among those given; None where there is none, or no order of severity."""
    codes = [label.code for label in plausible]
    return next((labels.by_code(code) for code in labels.severity if code in codes), None)


def describe_assessment(assessment: Assessment, *, insist: bool = False) -> dict[str, Any]:
    """Return an assessment as ``predict --json`` prints it; a refused picture has no probabilities unless insisted."""
    prediction = assessment.prediction
    shown = insist or not assessment.refused
    return {
        "probabilities": {code: round(value, 6) for code, value in prediction.by_code.items()} if shown else None,
        "malignant_probability": round(prediction.malignant_probability, 6) if shown else None,
        "plausible": [label.code for label in assessment.plausible] if shown else None,
        "certainty": assessment.certainty,
        "needs_dermoscopy": assessment.needs_dermoscopy if shown else None,
        "calls": {call.name: {"threshold": call.threshold, "above": call.above} for call in assessment.calls}
        if shown
        else None,
        "gate": {
            "status": "refused" if assessment.refused else "passed",
            "reasons": [{"code": code, "sentence": sentence} for code, sentence in assessment.reasons],
            "insisted": assessment.refused and insist,
        },
    }
