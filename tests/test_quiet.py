"""Memory that TensorFlow keeps is given back between the cells of a study."""

from __future__ import annotations

import gc

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.quiet import forget_models


def graphs() -> int:
    """Graphs of functions that are alive."""
    gc.collect()
    return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())


def trained(seed: int) -> None:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Softmax()])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.ones((8, 3), np.float32), np.zeros(8, np.int64), verbose=0)


def differentiated() -> None:
    @tf.custom_gradient
    def doubled(x):
        return 2 * x, lambda upstream: 2 * upstream

    @tf.function
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = doubled(x) ** 2
        return tape.gradient(y, x)

    np.testing.assert_allclose(slope(tf.constant(3.0)), 24)


def test_graphs_of_models_are_gone_when_they_are_forgotten():
    trained(0)  # what TensorFlow itself makes once and keeps
    differentiated()
    forget_models()
    before = graphs()
    for seed in (1, 2, 3):
        trained(seed)
        differentiated()
    assert graphs() > before
    forget_models()
    assert graphs() == before
