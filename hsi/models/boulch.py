"""The encoder of Boulch, Audebert and Dubucq 2017 (GRETSI) with its classifier, supervised.

Convolutions of 3 taps along the spectrum, each with pooling by 2, ReLU and batch norm, until
one value is left: 32 kernels, then 16 in all others. Three features (a colour, which is what
the paper is after) go to the classes. The paper trains a decoder beside them that restores
the spectrum; a model here has one output and one loss, so it is left out and labelled pixels
alone are learnt from.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.layouts import spectrum


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; of a patch its centre pixel."""
    inputs = keras.Input(input_shape)
    x = spectrum(inputs)
    number = 0
    while x.shape[1] > 1:
        number += 1
        x = _conv(x, 32 if number == 1 else 16, f"conv_{number}")
        x = layers.MaxPooling1D(2, name=f"pool_{number}")(x)
        x = layers.ReLU(name=f"relu_{number}")(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"bn_{number}")(x)
    x = layers.Activation("tanh", name="colour")(_conv(x, 3, "conv_colour"))
    x = layers.Flatten(name="flatten")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="boulch")


def _conv(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    return layers.Conv1D(filters, 3, padding="same", kernel_initializer="he_normal", name=name)(x)
