"""MixerSENet of Alkhatib, Roy and Jamali 2025 (IEEE GRSL; arXiv 2606.01700).

A light network with attention (doi:10.1109/LGRS.2025.3616338). A 1x1 convolution to 64
channels; five mixers, each of which adds depthwise convolutions of 3x3, 5x5 and 7x7 to its
input and mixes the channels of the sum by a 1x1 convolution beside which the input goes on;
squeeze-and-excitation (Hu et al. 2018), which weighs the channels by what they hold over the
patch; the mean over the map, the classes. GELU before every batch norm. Made for 15 principal
components at patch 9: 53,146 parameters at 18 classes, as published.
"""

from __future__ import annotations

from typing import Any

import tf_keras as keras
from tf_keras import layers


def build(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: int = 64,
    depth: int = 5,
) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax, for any patch size.

    Args:
        filters: channels of all maps.
        depth: how many mixers.
    """
    inputs = keras.Input(input_shape)
    x = _activated(layers.Conv2D(filters, 1, name="conv_0")(inputs), "conv_0")
    for number in range(1, depth + 1):
        x = _mixer(x, filters, f"mixer_{number}")
    x = _weighed(x, filters)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="mixersenet")


def _mixer(x: Any, filters: int, name: str) -> Any:
    around = [
        layers.DepthwiseConv2D(size, padding="same", name=f"{name}_{size}x{size}")(x)
        for size in (3, 5, 7)
    ]
    mixed = layers.Add(name=f"{name}_sum")([x, *around])
    mixed = _activated(layers.Conv2D(filters, 1, name=f"{name}_conv")(mixed), f"{name}_conv")
    return layers.Add(name=f"{name}_add")([mixed, x])


def _weighed(x: Any, filters: int) -> Any:
    """Every channel times a factor of 0 to 1 that the means of all channels decide."""
    squeezed = layers.GlobalAveragePooling2D(name="squeeze")(x)
    squeezed = layers.Dense(max(1, filters // 8), activation="relu", name="se_dense_1")(squeezed)
    factors = layers.Dense(filters, activation="sigmoid", name="se_dense_2")(squeezed)
    factors = layers.Reshape((1, 1, filters), name="excite")(factors)
    return layers.Multiply(name="weighed")([x, factors])


def _activated(x: Any, name: str) -> Any:
    x = layers.Activation("gelu", name=f"{name}_gelu")(x)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
