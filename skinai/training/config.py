"""Everything a run can vary, on one screen."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
        ``"imagenet"`` or ``"random"``.
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
        So many stages of the backbone, counted from the picture, keep their ImageNet weights.
    layer_decay : float
        The learning rate shrinks by this factor with each block towards the picture; 1 is one rate for all.
    drop_path : float
        Probability of leaving out the last residual branch, growing linearly from 0 at the first (Huang et al. 2016,
        arXiv:1603.09382).
    mixup : float
        Parameter of the Beta distribution of mixing weights (Zhang et al. 2018, arXiv:1710.09412); 0 is off.
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
    epochs: int = 20
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    logit_adjustment: float = 0.0
    average_decay: float = 0.0
    augment: bool = True
    frame_width_px: int = 0
    crop_px: tuple[int, ...] = ()
    least_area: float = 0.45
    degrees: float = 14.0
    frozen_blocks: int = 0
    layer_decay: float = 1.0
    drop_path: float = 0.0
    mixup: float = 0.0
    patience: int = 8
    keep: str = "best"
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(f"{name} is one of {list(known)}. Received: {getattr(self, name)!r}.")
        for name in ("epochs", "batch_size", "learning_rate", "patience"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is greater than 0. Received: {getattr(self, name)}.")

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration as it is written to disk."""
        return asdict(self)

    def as_json(self) -> str:
        """Return the configuration as one line, to compare two runs."""
        return json.dumps(self.as_dict(), sort_keys=True)


_CHOICES = {
    "init": ("imagenet", "random"),
    "optimizer": ("adam", "adamw"),
    "schedule": ("constant", "cosine"),
    "keep": ("best", "last"),
    "precision": ("auto", "float32", "bfloat16", "float16"),
}

# bfloat16 halves the time of plain convolutions where the processor has AVX512-BF16 and slows depthwise ones:
# 332 against 189 pictures/s for seed-cnn, 33 against 50 for efficientnet-lite0 (2 cores, batch 32).
DEFAULTS = {
    "seed-cnn": TrainingConfig(architecture="seed-cnn", epochs=60, patience=10),
    "efficientnet-lite0": TrainingConfig(
        architecture="efficientnet-lite0",
        init="imagenet",
        epochs=20,
        optimizer="adamw",
        learning_rate=6e-4,
        weight_decay=0.02,
        schedule="cosine",
        warmup_epochs=1.0,
        label_smoothing=0.05,
        logit_adjustment=1.0,
        average_decay=0.998,
    ),
}


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
    kinds = {field.name: type(getattr(default_config(architecture), field.name)) for field in fields(TrainingConfig)}
    for setting in settings:
        name, sign, text = setting.partition("=")
        if not sign or name not in kinds:
            raise UsageError(f"--set takes NAME=VALUE with one of {sorted(kinds)}. Received: {setting!r}.")
        try:
            value = text if kinds[name] is str else json.loads(text)
            changes[name] = tuple(int(side) for side in value) if kinds[name] is tuple else kinds[name](value)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{name} is a {kinds[name].__name__}. Received: {text!r}.") from error
    return replace(default_config(architecture), **changes)
