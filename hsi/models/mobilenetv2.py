"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381), for images and patches of any size.

From 96 pixels on it is that of `keras.applications`, names and padding included; smaller inputs
skip the first halvings of the map. The weights fit in every case.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

from hsi.models.sizing import scaled, strides

GROUPS = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
"""(expansion, filters, blocks) of each group."""
HALVING = (1, 2, 3, 5)
"""The groups whose first block halves the map, from 0; the stem does before them."""
EPSILON = 1e-3
MOMENTUM = 0.9
"""Of batch norm's running means: at the published 0.999 a few epochs never reach them."""


def build(input_shape: tuple[int, int, int], classes: int, *, width: float = 1.0) -> keras.Model:
    """(n, rows, cols, channels) -> (n, classes) softmax; `width` is the paper's multiplier."""
    stem, *steps = strides(min(input_shape[:2]))
    halving = dict(zip(HALVING, steps, strict=True))
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(
        scaled(32, width), 3, strides=stem, padding="same", use_bias=False, name="Conv1"
    )(inputs)
    x = _norm(x, "bn_Conv1")
    x = layers.ReLU(6.0, name="Conv1_relu")(x)
    block = 0
    for group, (expansion, filters, blocks) in enumerate(GROUPS):
        for number in range(blocks):
            stride = halving.get(group, 1) if number == 0 else 1
            x = _block(x, block, expansion, scaled(filters, width), stride)
            block += 1
    last = scaled(1280, max(1.0, width))
    x = layers.Conv2D(last, 1, use_bias=False, name="Conv_1")(x)
    x = _norm(x, "Conv_1_bn")
    x = layers.ReLU(6.0, name="out_relu")(x)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="mobilenetv2")


def _norm(x: tf.Tensor, name: str) -> tf.Tensor:
    return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=name)(x)


def _block(x: tf.Tensor, number: int, expansion: int, filters: int, stride: int) -> tf.Tensor:
    """Widen, filter each channel, narrow; added to what came in where the shapes agree."""
    prefix = f"block_{number}_" if number else "expanded_conv_"
    start, channels = x, int(x.shape[-1])
    if expansion > 1:
        x = layers.Conv2D(expansion * channels, 1, use_bias=False, name=f"{prefix}expand")(x)
        x = _norm(x, f"{prefix}expand_BN")
        x = layers.ReLU(6.0, name=f"{prefix}expand_relu")(x)
    if stride == 2:
        rows, cols = (n % 2 for n in x.shape[1:3])  # an even side has no pixel before the first
        x = layers.ZeroPadding2D(((rows, 1), (cols, 1)), name=f"{prefix}pad")(x)
    x = layers.DepthwiseConv2D(
        3,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        name=f"{prefix}depthwise",
    )(x)
    x = _norm(x, f"{prefix}depthwise_BN")
    x = layers.ReLU(6.0, name=f"{prefix}depthwise_relu")(x)
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{prefix}project")(x)
    x = _norm(x, f"{prefix}project_BN")
    if stride == 1 and channels == filters:
        x = layers.Add(name=f"{prefix}add")([start, x])
    return x
