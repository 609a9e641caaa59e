"""The multi-scale 3-D CNN of He, Li and Chen 2017 (ICIP).

A convolution of 3 x 3 x 11 and spectral stride 3; twice four spectral convolutions of 1, 3,
5 and 11 taps side by side, whose sum goes on; a last convolution of 2 x 2 x 3; 16 kernels
everywhere. Without the pooling that the paper's figure has, as in the DeepHyperX toolbox.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.layouts import cube, volume

SCALES = (1, 3, 5, 11)
"""Taps along the spectral axis of the convolutions side by side."""


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 4 pixels or more."""
    uniform = "he_uniform"
    inputs = keras.Input(input_shape)
    x = cube(inputs)
    x = volume(x, 16, (3, 3, 11), step=3, activation="relu", initializer=uniform, name="conv_1")
    for stage in (2, 3):
        parts = [
            layers.Conv3D(
                16, (1, 1, taps), padding="same", kernel_initializer=uniform,
                name=f"conv_{stage}_{number}",
            )(x)
            for number, taps in enumerate(SCALES, start=1)
        ]  # fmt: skip
        x = layers.Add(name=f"sum_{stage}")(parts)
        x = layers.ReLU(name=f"sum_{stage}_relu")(x)
    x = volume(x, 16, (2, 2, 3), activation="relu", initializer=uniform, name="conv_4")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.6, name="dropout")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="he")
