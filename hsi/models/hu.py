"""The 1-D CNN of Hu, Huang, Wei, Zhang and Li 2015 (Journal of Sensors, 258619).

One convolution of 20 kernels along the spectrum of a pixel, max-pooling, tanh, 100 units and
the classes. Of n bands the kernel takes n // 9 (24 of 220 and of 224, 11 of 103 in the paper;
the DeepHyperX toolbox rounds up), the pooling a fifth of that, rounded up: 81,408 parameters
at 220 bands and 8 classes, as published. All kernels begin between -0.05 and 0.05.
"""

from __future__ import annotations

from math import ceil

import tf_keras as keras
from tf_keras import layers

from hsi.models.layouts import spectrum


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; of a patch its centre pixel."""
    kernel = max(1, input_shape[2] // 9)

    def near_zero() -> keras.initializers.Initializer:  # one of its own for each layer
        return keras.initializers.RandomUniform(-0.05, 0.05)

    inputs = keras.Input(input_shape)
    x = spectrum(inputs)
    x = layers.Conv1D(20, kernel, kernel_initializer=near_zero(), name="conv")(x)
    x = layers.MaxPooling1D(ceil(kernel / 5), padding="same", name="pool")(x)
    x = layers.Activation("tanh", name="tanh")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(100, activation="tanh", kernel_initializer=near_zero(), name="dense")(x)
    outputs = layers.Dense(
        classes, activation="softmax", kernel_initializer=near_zero(), name="scores"
    )(x)
    return keras.Model(inputs, outputs, name="hu")
