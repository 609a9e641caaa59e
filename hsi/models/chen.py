"""The 3-D CNN of Chen, Jiang, Li, Jia and Ghamisi 2016 (IEEE TGRS 54(10)), with 32 kernels
a layer.

Three convolutions of 4 x 4 x 32 with 2 x 2 spatial pooling and dropout between them, as the
DeepHyperX toolbox has it. With the published start, deviations of 0.001, less than a
thousandth of a signal would reach the scores; here the kernels begin as He et al. 2015 have them.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.layouts import cube, volume


def build(input_shape: tuple[int, int, int], classes: int, *, planes: int = 32) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 25 pixels or more.

    Args:
        planes: kernels of each convolution.
    """
    inputs = keras.Input(input_shape)
    x = cube(inputs)
    for number in (1, 2, 3):
        x = volume(x, planes, (4, 4, 32), activation="relu", name=f"conv_{number}")
        if number < 3:
            x = layers.MaxPooling3D((2, 2, 1), name=f"pool_{number}")(x)
        x = layers.Dropout(0.5, name=f"dropout_{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="chen")
