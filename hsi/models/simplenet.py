"""SimpleNet: thirteen plain convolutions, 5.48 million parameters.

Hasanpour et al. 2016 (arXiv 1608.06037), the network for CIFAR: every convolution with batch norm
and ReLU, dropout after each pooling, the largest value of each map to the classes. The map is
pooled only while it is 2 pixels or more wide.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.sizing import scaled

POOL = 0
Layout = tuple[tuple[int, int], ...]
"""(filters, kernel) of each convolution; (POOL, 2) halves the map."""

LAYOUT: Layout = (
    (64, 3), (128, 3), (128, 3), (128, 3), (POOL, 2),
    (128, 3), (128, 3), (256, 3), (POOL, 2),
    (256, 3), (256, 3), (POOL, 2),
    (512, 3), (2048, 1), (256, 1), (POOL, 2),
    (256, 3),
)  # fmt: skip


def build(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    width: float = 1.0,
    layout: Layout = LAYOUT,
    name: str = "simplenet",
) -> keras.Model:
    """(n, rows, cols, channels) -> (n, classes) softmax; `width` scales all channels."""
    inputs = keras.Input(input_shape)
    x, convolutions, pools = inputs, 0, 0
    for filters, kernel in layout:
        if filters == POOL:
            pools += 1
            if min(x.shape[1:3]) >= 2:
                x = layers.MaxPooling2D(2, name=f"pool_{pools}")(x)
            x = layers.Dropout(0.1, name=f"dropout_{pools}")(x)
            continue
        convolutions += 1
        conv = f"conv_{convolutions}"
        x = layers.Conv2D(
            scaled(filters, width), kernel, padding="same", use_bias=False, name=conv
        )(x)
        x = layers.BatchNormalization(momentum=0.95, epsilon=1e-5, name=f"{conv}_bn")(x)
        x = layers.ReLU(name=f"{conv}_relu")(x)
    x = layers.GlobalMaxPooling2D(name="max_pool")(x)
    x = layers.Dropout(0.1, name="dropout")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name=name)
