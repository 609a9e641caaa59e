"""The recurrent network of Mou, Ghamisi and Zhu 2017 (IEEE TGRS 55(7)).

Sixty-four gated recurrent units read the spectrum of a pixel band by band; all their answers,
after batch norm and tanh, go to the classes. With tanh in the units instead of the paper's
parametric one, as in the DeepHyperX toolbox.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.layouts import spectrum


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; of a patch its centre pixel."""
    inputs = keras.Input(input_shape)
    x = layers.GRU(64, return_sequences=True, name="gru")(spectrum(inputs))
    x = layers.Flatten(name="flatten")(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="bn")(x)
    x = layers.Activation("tanh", name="tanh")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="mou")
