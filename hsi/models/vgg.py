"""VGG16's thirteen convolutions, sized for patches.

Simonyan and Zisserman 2015 (arXiv 1409.1556), with batch norm (Ioffe and Szegedy 2015) since it
does not train from scratch without. A block is pooled only while the map is 2 pixels or more wide,
and the head is one dense layer of 512 for such small maps.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax, for any patch size."""
    inputs = keras.Input(input_shape)
    x = inputs
    for block, (filters, convolutions) in enumerate(BLOCKS, start=1):
        for number in range(1, convolutions + 1):
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
            x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
        if x.shape[1] >= 2:
            x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(512, activation="relu", name="dense_1")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="vgg")
