"""The 3-D CNN of Ben Hamida, Benoit, Lambert and Ben Amar 2018 (IEEE TGRS 56(8)).

Two 3 x 3 x 3 convolutions of 20 and 35 kernels, each followed by a spectral convolution
of stride 2 in the place of a pooling; two more spectral convolutions, then the classes. No
activation behind the two that pool, as in the DeepHyperX toolbox.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.layouts import cube, volume


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 3 pixels or more.

    A patch of 3 is padded with zeros before the first convolution, as in DeepHyperX.
    """
    inputs = keras.Input(input_shape)
    x = cube(inputs)
    if min(input_shape[:2]) < 5:
        x = layers.ZeroPadding3D(1, name="zeros")(x)
    x = volume(x, 20, (3, 3, 3), activation="relu", name="conv_1")
    x = volume(x, 20, (1, 1, 3), step=2, zeros=1, name="pool_1")
    x = volume(x, 35, (3, 3, 3), zeros=1, activation="relu", name="conv_2")
    x = volume(x, 35, (1, 1, 3), step=2, zeros=1, name="pool_2")
    x = volume(x, 35, (1, 1, 3), zeros=1, activation="relu", name="conv_3")
    x = volume(x, 35, (1, 1, 2), step=2, zeros=1, activation="relu", name="conv_4")
    x = layers.Flatten(name="flatten")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="hamida")
