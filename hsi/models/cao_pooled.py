"""The CNN of Cao, Zhou, Xu, Meng, Xu and Paisley 2018 (arXiv 1705.00727), with its max-pooling.

Patch 9, 2 x 2 max-pooling (same) after each convolution, ReLU after the dense layers, Xavier
(Glorot) initialisation, which is the default of Keras.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 7 pixels or more."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(300, 3, activation="relu", name="conv_1"),
            layers.MaxPooling2D(2, padding="same", name="pool_1"),
            layers.Conv2D(200, 3, activation="relu", name="conv_2"),
            layers.MaxPooling2D(2, padding="same", name="pool_2"),
            layers.Flatten(name="flatten"),
            layers.Dense(200, activation="relu", name="dense_1"),
            layers.Dense(100, activation="relu", name="dense_2"),
            layers.Dense(classes, activation="softmax", name="scores"),
        ],
        name="cao_pooled",
    )
