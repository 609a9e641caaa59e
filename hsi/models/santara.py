"""BASS-Net of Santara, Mani, Hatwar, Singh, Garg, Padia and Mitra 2017 (IEEE TGRS 55(9)),
its fourth configuration (arXiv 1612.00144).

A 1x1 convolution to as many channels as there are bands, which are divided into ten groups;
four spectral convolutions (20, 20, 10 and 5 kernels), the first of which reads all pixels of
the patch, go over each group with the same weights; 100 units and the classes.

Channel k of the first convolution belongs to group k % groups, so that one dilated convolution
serves all groups: a group's neighbours lie `groups` apart. The published code takes the next
number of groups that divides the bands; where that leaves groups of less than 11, which the
four convolutions need, there are ten of 11 or more and the first convolution makes as many
channels as that takes. Its channels become positions, so none of them can be pruned.
"""

from __future__ import annotations

from math import ceil

import tf_keras as keras
from tf_keras import layers

KERNELS = ((20, 3), (20, 3), (10, 3), (5, 5))
"""Filters and taps of the spectral convolutions."""
LEAST = 1 + sum(taps - 1 for _, taps in KERNELS)
"""Channels of a group that they need."""


def groups_of(bands: int) -> tuple[int, int]:
    """How many groups there are, and how many channels each has.

    Example:
        >>> groups_of(220), groups_of(224), groups_of(30)
        ((10, 22), (14, 16), (10, 11))
    """
    for groups in range(10, bands // LEAST + 1):
        if bands % groups == 0:
            return groups, bands // groups
    return 10, max(LEAST, ceil(bands / 10))


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax, for any patch size."""
    rows, cols, bands = input_shape
    groups, size = groups_of(bands)
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(groups * size, 1, activation="relu", name="conv_0")(inputs)
    x = layers.Reshape((rows * cols, groups * size, 1), name="groups")(x)
    for number, (filters, taps) in enumerate(KERNELS, start=1):
        x = layers.Conv2D(
            filters, (x.shape[1], taps), dilation_rate=(1, groups), activation="relu",
            name=f"conv_{number}",
        )(x)  # fmt: skip
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(100, activation="relu", name="dense")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="santara")
