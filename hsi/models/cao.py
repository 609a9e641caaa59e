"""The Cao CNN as the Keras system for it has it: 1,141,709 parameters at 5 x 5 x 200, 9 classes.

After Cao, Zhou, Xu, Meng, Xu and Paisley 2018 (arXiv 1705.00727), without the pooling. The three
dense layers have no activation between them: together they are one linear map.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 5 pixels or more."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(300, 3, activation="relu", name="conv_1"),
            layers.Conv2D(200, 3, activation="relu", name="conv_2"),
            layers.Flatten(name="flatten"),
            layers.Dense(200, name="dense_1"),
            layers.Dense(100, name="dense_2"),
            layers.Dense(classes, activation="softmax", name="scores"),
        ],
        name="cao",
    )
