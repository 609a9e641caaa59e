"""A small DenseNet for small images: DenseNet-BC of growth 12 and depth 40.

Huang et al. 2017 (arXiv 1608.06993), the networks for CIFAR: a 3x3 convolution to twice the growth,
three dense blocks of 6 steps, half the channels and half the map between them.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers

from hsi.models.dense_blocks import dense_block, head, transition
from hsi.models.sizing import strides


def build(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    width: float = 1.0,
    growth: int = 12,
    steps: int = 6,
) -> keras.Model:
    """(n, rows, cols, channels) -> (n, classes) softmax.

    Args:
        width: factor of the growth.
        growth, steps: of each dense block; 12 and 16 are the paper's DenseNet-BC of depth 100.
    """
    growth = max(1, round(growth * width))
    halvings = strides(min(input_shape[:2]), halvings=2)
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(2 * growth, 3, padding="same", use_bias=False, name="conv1_conv")(inputs)
    for block in (2, 3, 4):
        x = dense_block(x, steps, growth, f"conv{block}")
        if block < 4:
            x = transition(x, f"pool{block}", stride=halvings[block - 2])
    return keras.Model(inputs, head(x, classes), name="densenet")
