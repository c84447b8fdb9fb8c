"""A model folder and a picture in, a `Prediction` out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skinai.data.images import frame_picture, read_picture
from skinai.errors import ModelError
from skinai.labels import Label, LabelSet
from skinai.model.bundle import EXPORT_FILE, PROBABILITIES, PROBE_FILE, Bundle, check_probe, load_bundle
from skinai.model.session import Session


@dataclass(frozen=True)
class Prediction:
    """A network's answer for one picture.

    Attributes
    ----------
    labels : LabelSet
    probabilities : tuple of float
        In the order of `labels`; each from 0 to 1, together 1.
    model_name, fingerprint : str
        Which model answered.
    """

    labels: LabelSet
    probabilities: tuple[float, ...]
    model_name: str
    fingerprint: str

    def __post_init__(self) -> None:
        if len(self.probabilities) != len(self.labels):
            raise ModelError(f"{len(self.probabilities)} probabilities for {len(self.labels)} classes.")
        within = all(-1e-6 <= value <= 1 + 1e-6 for value in self.probabilities)
        if not within or not math.isclose(sum(self.probabilities), 1, abs_tol=1e-3):
            raise ModelError(f"The model's answers are no probabilities: {list(self.probabilities)}.")

    @property
    def by_code(self) -> dict[str, float]:
        """Code to probability, in the fixed order."""
        return dict(zip(self.labels.codes, self.probabilities, strict=True))

    @property
    def top(self) -> Label:
        """The class with the greatest probability."""
        return self.labels.labels[int(np.argmax(self.probabilities))]

    @property
    def malignant_probability(self) -> float:
        """The summed probability of the malignant group."""
        return sum(self.by_code[code] for code in self.labels.malignant_codes)


class Predictor:
    """Answers for pictures with one checked model folder.

    Parameters
    ----------
    bundle : Bundle
    session : Session
        Anything with the same `run`, so that tests need no weights.
    """

    def __init__(self, bundle: Bundle, session: Session) -> None:
        self.bundle, self.session = bundle, session

    @classmethod
    def load(cls, folder: Path | str, *, threads: int = 2, copies: int = 1) -> Predictor:
        """Load a model folder, check that its parts agree, and run its self-test.

        Parameters
        ----------
        folder : Path or str
        threads, copies : int
            Of the :class:`Session`; every copy has to pass the self-test.

        Raises
        ------
        ModelError
            If the folder is refused; the sentence says which part.
        """
        bundle = load_bundle(Path(folder))
        if bundle.facts.get("data", {}).get("by_picture"):  # a run that was killed before it removed its weights
            raise ModelError(f"{bundle.name} was trained on a split that leaks on purpose: it answers nobody.")
        session = Session(bundle.folder / EXPORT_FILE, threads=threads, copies=copies)
        if session.file_hash != bundle.facts["files"][EXPORT_FILE]:
            raise ModelError(f"{EXPORT_FILE} in {folder} was replaced while it was loaded.")
        shape = (1, bundle.frame.height_px, bundle.frame.width_px, 3)
        if session.input_shape != shape:
            raise ModelError(
                f"The export in {folder} takes {session.input_shape}; {shape} is what bundle.json describes."
            )
        if session.class_count != len(bundle.labels):
            raise ModelError(f"The export in {folder} has {session.class_count} classes, not {len(bundle.labels)}.")
        predictor = cls(bundle, session)
        probe = read_picture(bundle.folder / PROBE_FILE)
        for _ in range(copies):  # which answer in turn
            check_probe(bundle, predictor.predict(probe).by_code)
        return predictor

    def predict(self, picture: np.ndarray) -> Prediction:
        """Return the class probabilities of a picture.

        Parameters
        ----------
        picture : ndarray of shape (height, width, 3), uint8
            Upright RGB, as :func:`skinai.data.images.decode_picture` returns it.
        """
        return self.answer(frame_picture(picture, self.bundle.frame))[0]

    def answer(self, frame: np.ndarray) -> tuple[Prediction, dict[str, np.ndarray]]:
        """Return the class probabilities of a frame, and all outputs of the network.

        Parameters
        ----------
        frame : ndarray of shape (height, width, 3), uint8
            From :func:`skinai.data.images.frame_picture`.
        """
        outputs = self.session.run(frame)
        probabilities = tuple(float(value) for value in outputs[PROBABILITIES])
        return Prediction(self.bundle.labels, probabilities, self.bundle.name, self.bundle.fingerprint), outputs
