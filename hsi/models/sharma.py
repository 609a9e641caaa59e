"""The CNN of Sharma, Diba, Tuytelaars and Van Gool 2016 (technical report, KU Leuven).

Convolutions of 96 kernels 6x6 and 256 kernels 3x3, both with stride 2, batch norm and 2x2 pooling,
one of 512 kernels 3x3, 1024 units without activation, the classes. The 3-D convolutions of
the DeepHyperX toolbox take all bands at once: they are these 2-D ones. Patches are odd here,
so the side is 65 instead of 64, which gives maps of the same sizes.
"""

from __future__ import annotations

import tf_keras as keras
from tf_keras import layers


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 56 pixels or more."""
    inputs = keras.Input(input_shape)
    x = inputs
    for number, (filters, size) in enumerate(((96, 6), (256, 3)), start=1):
        conv = f"conv_{number}"
        x = layers.Conv2D(filters, size, 2, kernel_initializer="he_normal", name=conv)(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{conv}_bn")(x)
        x = layers.ReLU(name=f"{conv}_relu")(x)
        x = layers.MaxPooling2D(2, name=f"pool_{number}")(x)
    x = layers.Conv2D(512, 3, activation="relu", kernel_initializer="he_normal", name="conv_3")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(1024, kernel_initializer="he_normal", name="dense")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="sharma")
