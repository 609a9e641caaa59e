"""The 3-D CNN of Li, Zhang and Shen 2017 (Remote Sensing 9(1), 67).

Two convolutions, 3 x 3 x 7 and 3 x 3 x 3, the second of twice as many kernels, then the classes;
16 and 32 kernels as in the DeepHyperX toolbox.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.layouts import cube, volume


def build(input_shape: tuple[int, int, int], classes: int, *, planes: int = 16) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 5 pixels or more.

    Args:
        planes: kernels of the first convolution.
    """
    xavier = "glorot_uniform"
    inputs = keras.Input(input_shape)
    x = cube(inputs)
    x = volume(x, planes, (3, 3, 7), zeros=1, activation="relu", initializer=xavier, name="conv_1")
    x = volume(
        x, 2 * planes, (3, 3, 3), zeros=1, activation="relu", initializer=xavier, name="conv_2"
    )
    x = layers.Flatten(name="flatten")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="li")
