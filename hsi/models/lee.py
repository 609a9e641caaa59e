"""The contextual CNN of Lee and Kwon 2016 (IGARSS; arXiv 1604.03519).

A 1x1 and a 3x3 convolution over all bands side by side, then 1x1 convolutions of 128 with two
residual blocks, and scores for every position. Two things differ from the DeepHyperX toolbox.
There every pixel of a patch is labelled; here a patch has the label of its centre, and the scores
of the positions whose 3x3 neighbourhood lies in the patch are averaged before the softmax. And
local response normalisation is left out: with its factor of 1e-4 it divides standardised maps
by 1.0001 or so, and no rule for pruning or integer arithmetic could pass through it.
"""

from __future__ import annotations

from typing import Any

import tf_keras as keras
from tf_keras import layers


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 3 pixels or more."""
    inputs = keras.Input(input_shape)
    narrow = layers.Cropping2D(1, name="inner")(inputs)
    x = layers.Concatenate(name="inception")([
        _conv(inputs, "conv_3x3", size=3),
        _conv(narrow, "conv_1x1"),
    ])  # fmt: skip
    x = _conv(layers.ReLU(name="inception_relu")(x), "conv_1", activation="relu")
    for block in (1, 2):
        inner = _conv(x, f"conv_{2 * block}", activation="relu")
        inner = _conv(inner, f"conv_{2 * block + 1}")
        x = layers.Add(name=f"add_{block}")([x, inner])
        x = layers.ReLU(name=f"add_{block}_relu")(x)
    for last in (6, 7):
        x = _conv(x, f"conv_{last}", activation="relu")
        x = layers.Dropout(0.5, name=f"dropout_{last}")(x)
    x = _conv(x, "conv_8", filters=classes)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    outputs = layers.Activation("softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="lee")


def _conv(
    x: Any, name: str, *, filters: int = 128, size: int = 1, activation: str | None = None
) -> Any:
    return layers.Conv2D(
        filters, size, activation=activation, kernel_initializer="he_uniform", name=name
    )(x)
