"""HSI-CNN of Luo, Zou, Yao, Li and Bai 2018 (ICPR; arXiv 1802.10478).

A 3-D convolution of 3 x 3 x 24 and spectral stride 9 makes 90 vectors; they are laid side by
side as an image, over which 64 kernels of 3 x 3 go; then 1024 units and the classes. Rows of that
image are spectral steps and its columns the 90 kernels (the DeepHyperX toolbox reshapes without
transposing, so that they mix). The 1024 units read 104 million weights at 200 bands. Which
kernels lie side by side matters to the second convolution, so none of the 90 can be pruned.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.layouts import cube, volume

PLANES = 90


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 3 pixels or more."""
    uniform = "he_uniform"
    inputs = keras.Input(input_shape)
    x = volume(
        cube(inputs), PLANES, (3, 3, 24), step=9, activation="relu", initializer=uniform,
        name="conv_1",
    )  # fmt: skip
    steps = x.shape[1] * x.shape[2] * x.shape[3]
    x = layers.Reshape((steps, PLANES, 1), name="image")(x)
    x = layers.Conv2D(
        64, (min(3, steps), 3), activation="relu", kernel_initializer=uniform, name="conv_2"
    )(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(1024, activation="relu", kernel_initializer=uniform, name="dense")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="luo")
