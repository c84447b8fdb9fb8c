"""The layer-wise optimiser is AdamW where all factors are 1."""

import keras
import numpy as np
import pytest

from skinai.training.optimizer import LayerwiseAdamW


def walk(optimizer, variables, steps=4):
    rng = np.random.default_rng(0)
    for _ in range(steps):
        optimizer.apply(
            [keras.ops.convert_to_tensor(rng.normal(size=v.shape), "float32") for v in variables], variables
        )
    return [np.array(variable) for variable in variables]


def make():
    kernel = keras.Variable(np.linspace(-1, 1, 6).reshape(2, 3), dtype="float32", name="kernel")
    return [kernel, keras.Variable(np.ones(3), dtype="float32", name="bias")]


def test_with_factors_of_1_it_is_adamw():
    variables, reference = make(), make()
    ours = walk(LayerwiseAdamW(0.01, decay=0.1, factors=[]), variables)
    adamw = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    adamw.exclude_from_weight_decay(var_list=[reference[1]])
    for got, expected in zip(ours, walk(adamw, reference), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_a_factor_scales_step_and_decay(factor):
    variables, reference = make(), make()
    before = [np.array(variable) for variable in reference]
    slow = walk(LayerwiseAdamW(0.01, decay=0.1, factors=[(variables[0], factor)]), variables, steps=1)
    fast = walk(LayerwiseAdamW(0.01, decay=0.1, factors=[]), reference, steps=1)
    np.testing.assert_allclose(slow[0] - before[0], factor * (fast[0] - before[0]), rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(slow[1], fast[1])
