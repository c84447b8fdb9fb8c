"""Adam with decoupled weight decay and one learning-rate factor for each variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class LayerwiseAdamW(keras.optimizers.Adam):
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) in which early layers may learn more slowly.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    decay : float
        Weight decay of kernels; biases and normalisation are not pulled towards 0.
    factors : sequence of (variable, float)
        What the learning rate and the decay of a variable are multiplied with; 1 for one that is absent.
    """

    def __init__(self, learning_rate: Any, *, decay: float, factors: Sequence[tuple[keras.Variable, float]]) -> None:
        super().__init__(learning_rate, name="layerwise_adamw")
        self.decay = decay
        # Keras hands TensorFlow's variables to `update_step`, which know no path; their references can be looked up.
        self.factors = {variable.value.ref(): factor for variable, factor in factors}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = ops.cast(learning_rate, variable.dtype) * self.factors.get(variable.ref(), 1.0)
        if self.decay and len(variable.shape) >= 2:
            self.assign_sub(variable, variable * rate * self.decay)
        super().update_step(gradient, variable, rate)
