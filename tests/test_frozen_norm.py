"""Batch norm in inference mode: TensorFlow's values to the last bit, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

from hsi.explain.frozen_norm import frozen, is_frozen_norm
from hsi.explain.walk import is_quicker, run


def drawn(layer: Any, shape: tuple[int, ...]) -> Any:
    """The layer with statistics, gains and offsets that are not 0 or 1."""
    layer.build((None, *shape))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.uniform(0.2, 2, w.shape) for w in layer.get_weights()])
    return layer


@pytest.mark.parametrize(
    "options",
    [{}, {"epsilon": 1e-7}, {"scale": False}, {"center": False, "epsilon": 0.1}],
    ids=str,
)
def test_values_and_slopes_are_those_of_the_layer(options: dict[str, Any]) -> None:
    layer = drawn(layers.BatchNormalization(**options), (4, 5, 6))
    if options.get("epsilon") == 1e-7:  # so that it counts
        layer.moving_variance.assign(np.full(6, 1e-6, np.float32))
    rng = np.random.default_rng(2)
    x, upstream = (tf.constant(rng.normal(size=(3, 4, 5, 6)).astype(np.float32)) for _ in range(2))
    answers, slopes = [], []
    for call in (frozen(layer), lambda values: layer(values, training=False)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            answers.append(call(x))
        slopes.append(tape.gradient(answers[-1], x, upstream))
    np.testing.assert_array_equal(*answers)
    np.testing.assert_allclose(*slopes, rtol=1e-6)
    assert np.ptp(slopes[0]) > 0.1


def test_slopes_of_slopes_pass_through_it() -> None:
    """The gradient of a squared gradient, against the layer's own."""
    layer = drawn(layers.BatchNormalization(), (2, 2, 3))
    x = tf.constant(np.random.default_rng(3).normal(size=(1, 2, 2, 3)).astype(np.float32))
    found = []
    for call in (frozen(layer), lambda values: layer(values, training=False)):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                score = tf.reduce_sum(tf.tanh(call(x)))
            squared = tf.reduce_sum(inner.gradient(score, x) ** 2)
        found.append(outer.gradient(squared, x))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


def test_other_norms_are_left_as_they_are() -> None:
    class Own(layers.BatchNormalization):
        pass

    unbuilt = layers.BatchNormalization()
    half = layers.BatchNormalization(dtype="mixed_float16")
    others = ((Own(), (2, 2, 3)), (layers.BatchNormalization(), (3,)), (half, (2, 2, 3)),
              (layers.BatchNormalization(axis=1), (2, 2, 3)))  # fmt: skip
    assert not is_frozen_norm(unbuilt)
    assert not any(is_frozen_norm(drawn(layer, shape)) for layer, shape in others)
    assert is_frozen_norm(drawn(layers.BatchNormalization(), (2, 2, 3)))


def test_a_network_is_walked_through_for_it() -> None:
    inputs = keras.Input((6, 6, 2))
    x = layers.BatchNormalization()(layers.Conv2D(3, 3)(inputs))
    model = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(layers.ReLU()(x))))
    plain = keras.Model(inputs, layers.Conv2D(3, 3)(inputs))
    assert is_quicker(model)
    assert not is_quicker(plain)
    batch = tf.constant(np.random.default_rng(4).normal(size=(5, 6, 6, 2)).astype(np.float32))
    np.testing.assert_array_equal(run(model, batch), model(batch, training=False))
    layer = model.layers[2]
    before = run(model, batch).numpy()
    layer.moving_mean.assign(layer.moving_mean + 1)  # it follows the weights
    np.testing.assert_array_equal(run(model, batch), model(batch, training=False))
    assert (run(model, batch).numpy() != before).any()
