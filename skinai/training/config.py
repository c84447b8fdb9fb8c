"""Everything a run can vary, on one screen."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
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
    patience : int
        Epochs without a better valid log loss after which training stops.
    precision : str
        ``"float32"`` or ``"bfloat16"`` for the layers inside the network.
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
    patience: int = 8
    precision: str = "float32"
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
    "precision": ("float32", "bfloat16"),
}

# bfloat16 halves the time of plain convolutions where the processor has AVX512-BF16 and slows depthwise ones:
# 332 against 189 pictures/s for seed-cnn, 33 against 50 for efficientnet-lite0 (2 cores, batch 32).
DEFAULTS = {
    "seed-cnn": TrainingConfig(architecture="seed-cnn", epochs=60, precision="bfloat16", patience=10),
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
