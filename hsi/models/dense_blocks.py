"""Dense blocks, of which the DenseNets are made (Huang et al. 2017, arXiv 1608.06993).

Each step adds `growth` channels to all that came before: batch norm, ReLU, 1x1 convolution to
4 * growth, batch norm, ReLU, 3x3 convolution. Names as in `keras.applications`, with "_" for "/".
"""

from __future__ import annotations

import tensorflow as tf
from tf_keras import layers

EPSILON = 1.001e-5
MOMENTUM = 0.9
"""Of batch norm's running means: at 0.99 a few epochs of a small set never reach them."""


def normalised(x: tf.Tensor, name: str) -> tf.Tensor:
    """Batch norm and ReLU, named `<name>bn` and `<name>relu`."""
    x = layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}bn")(x)
    return layers.ReLU(name=f"{name}relu")(x)


def dense_block(x: tf.Tensor, steps: int, growth: int, name: str) -> tf.Tensor:
    """`steps` steps, after which the map has steps * growth more channels."""
    for step in range(1, steps + 1):
        prefix = f"{name}_block{step}"
        new = normalised(x, f"{prefix}_0_")
        new = layers.Conv2D(4 * growth, 1, use_bias=False, name=f"{prefix}_1_conv")(new)
        new = normalised(new, f"{prefix}_1_")
        new = layers.Conv2D(growth, 3, padding="same", use_bias=False, name=f"{prefix}_2_conv")(new)
        x = layers.Concatenate(name=f"{prefix}_concat")([x, new])
    return x


def transition(x: tf.Tensor, name: str, *, stride: int) -> tf.Tensor:
    """Half the channels and, at stride 2, half the map."""
    x = normalised(x, f"{name}_")
    x = layers.Conv2D(int(x.shape[-1]) // 2, 1, use_bias=False, name=f"{name}_conv")(x)
    return layers.AveragePooling2D(2, name=f"{name}_pool")(x) if stride == 2 else x


def head(x: tf.Tensor, classes: int) -> tf.Tensor:
    """The last batch norm, the mean over the map, and the class scores."""
    x = normalised(x, "")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return layers.Dense(classes, activation="softmax", name="scores")(x)
