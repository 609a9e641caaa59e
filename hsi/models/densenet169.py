"""DenseNet169 (Huang et al. 2017, arXiv 1608.06993), for images and patches of any size.

From 96 pixels on it is that of `keras.applications`; smaller inputs skip the first halvings of the
map, the 7x7 convolution keeps its kernel. The weights fit in every case.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.dense_blocks import dense_block, head, normalised, transition
from hsi.models.sizing import scaled, strides

STEPS = (6, 12, 32, 32)
GROWTH = 32


def build(input_shape: tuple[int, int, int], classes: int, *, width: float = 1.0) -> keras.Model:
    """(n, rows, cols, channels) -> (n, classes) softmax; `width` scales the growth and the stem."""
    stem, pool, *between = strides(min(input_shape[:2]))
    inputs = keras.Input(input_shape)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = layers.Conv2D(scaled(64, width), 7, strides=stem, use_bias=False, name="conv1_conv")(x)
    x = normalised(x, "conv1_")
    if pool == 2:
        x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
        x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for block, steps in enumerate(STEPS, start=2):
        x = dense_block(x, steps, scaled(GROWTH, width), f"conv{block}")
        if block < 5:
            x = transition(x, f"pool{block}", stride=between[block - 2])
    return keras.Model(inputs, head(x, classes), name="densenet169")
