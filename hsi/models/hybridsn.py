"""HybridSN of Roy, Krishna, Dubey and Chaudhuri 2020 (IEEE GRSL 17(2); arXiv 1902.06701).

Three 3-D convolutions (8 kernels of 3 x 3 x 7, 16 of 3 x 3 x 5, 32 of 3 x 3 x 3), whose spectral
axis then becomes channels of a 2-D convolution of 64 kernels; 256 and 128 units with dropout,
and the classes. Made for 15 or 30 principal components: 5,122,176 parameters at 25 x 25 x 30
and 16 classes, as published. (`roy` in other toolboxes.)
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.layouts import cube, volume


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 9 pixels or more."""
    inputs = keras.Input(input_shape)
    x = cube(inputs)
    for number, (filters, taps) in enumerate(((8, 7), (16, 5), (32, 3)), start=1):
        x = volume(
            x, filters, (3, 3, taps), activation="relu", initializer="glorot_uniform",
            name=f"conv_{number}",
        )  # fmt: skip
    rows, cols, depth, channels = x.shape[1:]
    x = layers.Reshape((rows, cols, depth * channels), name="flat")(x)
    x = layers.Conv2D(64, 3, activation="relu", name="conv_4")(x)
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate((256, 128), start=1):
        x = layers.Dense(units, activation="relu", name=f"dense_{number}")(x)
        x = layers.Dropout(0.4, name=f"dropout_{number}")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="hybridsn")
