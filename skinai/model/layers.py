"""Layers that train faster than Keras' own and are exchanged for them once the network is trained."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import layers


class FusedBatchNormalization(layers.BatchNormalization):
    """Batch normalisation by TensorFlow's fused kernel, for training.

    Keras computes mean, variance and result by separate operations, each of which reads the whole feature map again.
    The weights are those of ``keras.layers.BatchNormalization``, in the same order; the moving variance is the
    unbiased one.

    Notes
    -----
    In and out: (batch, height, width, channels). Only the last axis is normalised.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        learning = bool(training) and self.trainable
        nothing = tf.zeros((0,), tf.float32)
        result, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=nothing if learning else self.moving_mean.value,
            variance=nothing if learning else self.moving_variance.value,
            epsilon=self.epsilon,
            is_training=learning,
        )
        if learning:
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return result
