"""Everything a run can vary, on one screen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from skinai.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The configuration of one run; it is written into ``bundle.json`` as it stands.

    Attributes
    ----------
    architecture : str
    init : str
        ``"imagenet"``, ``"random"`` or ``"pretrained"``.
    pretrained : str
        SHA-256 of the file of pre-trained weights; empty without one.
    epochs : int
        The cosine schedule ends here.
    batch_size : int
    optimizer : str
        ``"adam"`` or ``"adamw"``.
    learning_rate, weight_decay : float
    schedule : str
        ``"constant"``, or ``"cosine"`` with a linear warm-up over the first `warmup_epochs`.
    warmup_epochs : float
    label_smoothing : float
    logit_adjustment : float
        Exponent of the class prior added to the logits in the loss (Menon et al. 2021, arXiv:2007.07314); 0 is
        plain categorical cross-entropy.
    class_weight : float
        Each picture's loss counts in proportion to its class's share to the power minus this; 0 is off.
    balance : float
        Pictures are drawn, with repetition, in proportion to the same power; 0 takes each once an epoch, 1 draws all
        classes equally often.
    focal : float
        Exponent that weighs down pictures already answered well (Lin et al. 2017, arXiv:1708.02002); 0 is off.
    average_decay : float
        Decay of the running average of the weights that is validated and saved; 0 turns it off.
    augment : bool
    frame_width_px : int
        Width of the 4:3 frames that are trained on and served; 0 is the architecture's.
    crop_px : tuple of int
        Sides of the square crops, one for each of as many equally long stages of the run; empty is the
        architecture's crop throughout (progressive resizing, Tan and Le 2021, arXiv:2104.00298).
    least_area : float
        Least share of the largest inner crop that a training view shows.
    degrees : float
        Free rotation to either side, on top of a random right angle.
    frozen_blocks : int
        So many parts of the backbone, counted from the picture, keep their initial weights: 1 is the stem alone.
    layer_decay : float
        The learning rate shrinks by this factor with each block towards the picture; 1 is one rate for all.
    drop_path : float
        Probability of leaving out the last residual branch, growing linearly from 0 at the first (Huang et al. 2016,
        arXiv:1603.09382).
    artefacts : float
        Chance of each of drawn hair, dark corners and blur in a training view; 0 is off.
    mixup : float
        Parameter of the Beta distribution of mixing weights (Zhang et al. 2018, arXiv:1710.09412); 0 is off.
    cutmix : float
        The same for a rectangle pasted from another picture (Yun et al. 2019, arXiv:1905.04899); 0 is off.
    teacher : str
        Fingerprint of the model whose answers are learned beside the diagnoses (Hinton et al. 2015, arXiv:1503.02531);
        empty without one.
    teacher_share : float
        What share of the target its answer is.
    teacher_temperature : float
        Its answers to the power of 1 over this are learned: above 1 they tell more of the less probable classes.
    patience : int
        Epochs without a better valid log loss after which training stops.
    keep : str
        ``"best"`` epoch by valid log loss, or the ``"last"`` one, for runs whose `valid` must choose nothing.
    precision : str
        ``"float32"``, ``"bfloat16"`` or ``"float16"`` for the layers inside the network, or ``"auto"``.
    seed : int
    """

    architecture: str
    init: str = "random"
    pretrained: str = ""
    epochs: int = 20
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    logit_adjustment: float = 0.0
    class_weight: float = 0.0
    balance: float = 0.0
    focal: float = 0.0
    average_decay: float = 0.0
    augment: bool = True
    frame_width_px: int = 0
    crop_px: tuple[int, ...] = ()
    least_area: float = 0.45
    degrees: float = 14.0
    frozen_blocks: int = 0
    layer_decay: float = 1.0
    drop_path: float = 0.0
    artefacts: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    teacher: str = ""
    teacher_share: float = 0.7
    teacher_temperature: float = 2.0
    patience: int = 8
    keep: str = "best"
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(f"{name} is one of {list(known)}. Received: {getattr(self, name)!r}.")
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is from {low:g} to {high:g}. Received: {getattr(self, name)}.")
        if self.frame_width_px % 4 or 0 < self.frame_width_px < 32:
            raise UsageError(f"frame_width_px is 0 or a multiple of 4 from 32 on. Received: {self.frame_width_px}.")
        if any(not 32 <= side <= 1024 for side in self.crop_px):
            raise UsageError(f"crop_px has sides from 32 to 1024. Received: {list(self.crop_px)}.")
        if self.architecture in _OF_ONE_SIZE and (self.crop_px or self.frame_width_px):
            raise UsageError(f"{self.architecture} has one picture size: leave crop_px and frame_width_px out.")

    @property
    def removed_prior(self) -> float:
        """The exponent of the class prior that training takes out of the logits."""
        return removed_prior(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration as it is written to disk."""
        return asdict(self)

    def as_json(self) -> str:
        """Return the configuration as one line, to compare two runs."""
        return json.dumps(self.as_dict(), sort_keys=True)


_RANGES = {
    "epochs": (1, 10_000),
    "batch_size": (1, 4096),
    "learning_rate": (1e-9, 10.0),
    "patience": (1, 10_000),
    "seed": (0, 2**31 - 10),
    "weight_decay": (0.0, 10.0),
    "warmup_epochs": (0.0, 1000.0),
    "label_smoothing": (0.0, 0.9),
    "logit_adjustment": (0.0, 3.0),
    "class_weight": (0.0, 1.0),
    "balance": (0.0, 1.0),
    "focal": (0.0, 10.0),
    "average_decay": (0.0, 0.99999),
    "frame_width_px": (0, 2048),
    "least_area": (0.01, 1.0),
    "degrees": (0.0, 180.0),
    "frozen_blocks": (0, 24),
    "layer_decay": (0.01, 1.0),
    "drop_path": (0.0, 0.9),
    "artefacts": (0.0, 1.0),
    "mixup": (0.0, 10.0),
    "cutmix": (0.0, 10.0),
    "teacher_share": (0.0, 1.0),
    "teacher_temperature": (0.1, 20.0),
}
_OF_ONE_SIZE = ("seed-cnn",)
_CHOICES = {
    "init": ("imagenet", "random", "pretrained"),
    "optimizer": ("adam", "adamw"),
    "schedule": ("constant", "cosine"),
    "keep": ("best", "last"),
    "precision": ("auto", "float32", "bfloat16", "float16"),
}

_FINE_TUNED = TrainingConfig(
    architecture="efficientnet-lite0",
    init="imagenet",
    epochs=12,
    optimizer="adamw",
    learning_rate=6e-4,
    weight_decay=0.02,
    schedule="cosine",
    warmup_epochs=1.0,
    logit_adjustment=1.0,
    average_decay=0.998,
    least_area=0.3,
    drop_path=0.1,
)

DEFAULTS = {
    "seed-cnn": TrainingConfig(architecture="seed-cnn", epochs=60, patience=10),
    **{
        name: replace(_FINE_TUNED, architecture=name)
        for name in ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "mobilenet-v2")
    },
}


def removed_prior(configuration: Mapping[str, Any]) -> float:
    """Return the exponent of the class prior that a written configuration takes out of the logits.

    Logit adjustment, class weights and balanced drawing each take the prior out to a power, and the powers add up: the
    true posterior is the softmax of the logits plus this times the logarithm of the prior.
    """
    return float(sum(configuration.get(name, 0.0) for name in ("logit_adjustment", "class_weight", "balance")))


def default_config(architecture: str) -> TrainingConfig:
    """Return the tried configuration of an architecture.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if architecture not in DEFAULTS:
        raise UsageError(f"Unknown architecture {architecture!r}. Known are: {sorted(DEFAULTS)}.")
    return DEFAULTS[architecture]


def configure(architecture: str, changes: dict[str, Any], settings: Sequence[str] = ()) -> TrainingConfig:
    """Return the tried configuration of an architecture with changes.

    Parameters
    ----------
    architecture : str
    changes : dict
        Entry to value.
    settings : sequence of str
        ``name=value``, the value written as JSON, or as plain text for an entry that is text.

    Raises
    ------
    UsageError
        If an entry does not exist or a value is of another kind.
    """
    changes = dict(changes)
    names = [field.name for field in fields(TrainingConfig) if field.name != "architecture"]
    kinds = {name: type(getattr(default_config(architecture), name)) for name in names}
    for setting in settings:
        name, sign, text = setting.partition("=")
        if not sign or name not in kinds:
            raise UsageError(f"--set takes NAME=VALUE with one of {sorted(kinds)}. Received: {setting!r}.")
        value = _read_value(text, kinds[name])
        if value is None:
            raise UsageError(f"{name} is a {_KIND_NAMES[kinds[name]]}. Received: {text!r}.")
        changes[name] = value
    return replace(default_config(architecture), **changes)


_KIND_NAMES = {
    str: "text",
    bool: "truth value: true or false",
    int: "whole number",
    float: "number",
    tuple: "list of whole numbers, such as [128,160]",
}


def _read_value(text: str, kind: type) -> Any:
    """Return a value of this kind, or None where the text is none."""
    if kind is str:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if kind is tuple:
        whole = isinstance(value, list) and all(type(side) is int for side in value)
        return tuple(value) if whole else None
    if kind is float and type(value) in (int, float):
        return float(value)
    return value if type(value) is kind else None
