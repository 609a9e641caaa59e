"""The supervised part of Liu, Yu, Zhang, Tan, Yu and Xue 2017 (Remote Sensing Letters 8(9)).

One convolution of 80 kernels 3x3 with batch norm, 2x2 pooling and ReLU, then the classes. The
paper trains a decoder beside them on pixels without labels (a ladder network); a model here
has one output and one loss, so that decoder is left out and labelled pixels alone are learnt from.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 4 pixels or more."""
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(80, 3, kernel_initializer="he_normal", name="conv")(inputs)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="conv_bn")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Flatten(name="flatten")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="liu")
