"""A network for very small files: spectra down to a few values by a linear map, then two layers.

The 1x1 convolution without activation does to spectra what a PCA does, but is learnt (a student
begins with one: `hsi.models.components`) and quantized with the rest. Two small convolutions and
one dense layer follow. Made as the student of a larger network (`hsi.compress.distill`); about
8,000 weights at 200 bands.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.components import COMPONENTS


def build(input_shape: tuple[int, int, int], classes: int, width: float = 1.0) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 5 pixels or more.

    Args:
        width: factor of 16 components and 16 and 16 filters.
    """
    filters = max(2, round(16 * width))
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(filters, 1, use_bias=False, name=COMPONENTS),
            layers.Conv2D(filters, 3, activation="relu", name="conv_1"),
            layers.Conv2D(filters, 3, activation="relu", name="conv_2"),
            layers.Flatten(name="flatten"),
            layers.Dense(classes, activation="softmax", name="scores"),
        ],
        name="compact",
    )
