"""The convolutions of the VGG networks and a head for small maps.

Simonyan and Zisserman 2015 (arXiv 1409.1556), with batch norm (Ioffe and Szegedy 2015) since they
do not train from scratch without. A block is pooled only while the map is 2 pixels or more wide,
and the head is one dense layer of 512 for such small maps.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.sizing import scaled

Blocks = tuple[tuple[int, int], ...]
"""(filters, convolutions) of each block."""

VGG11: Blocks = ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2))
VGG16: Blocks = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def build_vgg(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    blocks: Blocks,
    name: str,
    width: float = 1.0,
    batch_norm: bool = True,
) -> keras.Model:
    """(n, rows, cols, channels) -> (n, classes) softmax, for any size.

    Without batch norm the convolutions have biases and names as in `keras.applications`.
    """
    inputs = keras.Input(input_shape)
    x = inputs
    for block, (filters, convolutions) in enumerate(blocks, start=1):
        for number in range(1, convolutions + 1):
            conv = f"block{block}_conv{number}"
            x = layers.Conv2D(
                scaled(filters, width), 3, padding="same", use_bias=not batch_norm, name=conv
            )(x)
            if batch_norm:
                x = layers.BatchNormalization(momentum=0.9, name=f"{conv}_bn")(x)
            x = layers.ReLU(name=f"{conv}_relu")(x)
        if min(x.shape[1:3]) >= 2:
            x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(scaled(512, width), activation="relu", name="dense_1")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name=name)
