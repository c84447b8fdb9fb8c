"""A network in training and the same network in serving compute the same."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from skinai.data.images import FrameRule
from skinai.model.architectures import BuildOptions, build_network, find_architecture
from skinai.model.layers import FusedBatchNormalization


@pytest.fixture
def pictures():
    return np.random.default_rng(1).normal(2.0, 3.0, size=(4, 5, 6, 8)).astype(np.float32)


def test_the_fused_normalisation_is_keras_own(pictures):
    fused, plain = FusedBatchNormalization(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    np.testing.assert_allclose(fused(pictures, training=True), plain(pictures, training=True), atol=2e-5)
    np.testing.assert_allclose(fused.moving_mean, plain.moving_mean, rtol=1e-4)
    count = pictures[..., 0].size
    unbiased = 0.9 + (np.array(plain.moving_variance) - 0.9) * count / (count - 1)
    np.testing.assert_allclose(fused.moving_variance, unbiased, rtol=1e-4)
    plain.set_weights(fused.get_weights())
    np.testing.assert_allclose(fused(pictures, training=False), plain(pictures, training=False), atol=2e-5)


def test_a_frozen_normalisation_does_not_learn(pictures):
    layer = FusedBatchNormalization()
    layer.build(pictures.shape)
    layer.trainable = False
    before = layer.get_weights()
    np.testing.assert_allclose(layer(pictures, training=True), layer(pictures, training=False))
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_and_serving_networks_exchange_their_weights():
    architecture = replace(find_architecture("efficientnet-lite0"), frame=FrameRule(64, 48))
    learning = build_network(architecture, 7, options=BuildOptions(for_training=True, drop_path=0.2))
    served = build_network(architecture, 7)
    rng = np.random.default_rng(2)
    served.set_weights([np.abs(rng.normal(0.4, 0.1, size=weight.shape)) for weight in learning.get_weights()])
    learning.set_weights(served.get_weights())
    frames = rng.uniform(0, 255, size=(2, 48, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(learning.predict_on_batch(frames), served.predict_on_batch(frames), rtol=1e-3, atol=1e-3)
    assert any(layer.name.endswith("drop_path") for layer in learning.layers)
    assert not any(layer.name.endswith("drop_path") for layer in served.layers)
