"""Three dense layers over the spectrum of a pixel: the baseline network of the DeepHyperX toolbox.

Audebert, Le Saux and Lefevre 2019 (IEEE Geoscience and Remote Sensing Magazine 7(2)): 2048,
4096 and 2048 units with ReLU, without dropout; 17 million parameters.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.layouts import spectrum


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; of a patch its centre pixel."""
    inputs = keras.Input(input_shape)
    x = layers.Flatten(name="flatten")(spectrum(inputs))
    for number, units in enumerate((2048, 4096, 2048), start=1):
        x = layers.Dense(
            units, activation="relu", kernel_initializer="he_normal", name=f"dense_{number}"
        )(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="nn")
