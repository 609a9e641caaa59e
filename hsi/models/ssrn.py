"""SSRN, the spectral-spatial residual network of Zhong, Li, Luo and Chapman 2018 (IEEE TGRS
56(2)).

Spectral: a convolution of 24 kernels with 7 taps and stride 2, two residual blocks of such
convolutions, then 128 kernels over all of the spectral axis. Spatial: 24 kernels of 3x3 over
those 128, two residual blocks, the mean over the map, the classes. Batch norm behind every
convolution. At 7 x 7 x 200 and 16 classes 364,168 trainable parameters, as published.
"""

from __future__ import annotations

from typing import Any

import tf_keras as keras
from tf_keras import layers

from hsi.models.layouts import cube, volume


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax; the patch must be 3 pixels or more."""
    inputs = keras.Input(input_shape)
    x = _normed(volume(cube(inputs), 24, (1, 1, 7), step=2, name="spectral"), "spectral")
    for block in (1, 2):
        x = _residual(x, f"spectral_{block}", (1, 1, 7))
    x = _normed(volume(x, 128, (1, 1, x.shape[3]), name="compress"), "compress")
    x = layers.Reshape((*x.shape[1:3], 128), name="flat")(x)
    x = _normed(_plane(x, "valid", "spatial"), "spatial")
    for block in (1, 2):
        x = _residual(x, f"spatial_{block}", (3, 3))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="ssrn")


def _residual(x: Any, name: str, kernel: tuple[int, ...]) -> Any:
    """x + two convolutions of it; ReLU behind the first and behind the sum."""
    y = x
    for number in (1, 2):
        conv = f"{name}_conv_{number}"
        if len(kernel) == 3:
            y = volume(y, 24, kernel, padding="same", name=conv)
        else:
            y = _plane(y, "same", conv)
        y = _normed(y, conv, activated=number == 1)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def _plane(x: Any, padding: str, name: str) -> Any:
    return layers.Conv2D(24, 3, padding=padding, kernel_initializer="he_normal", name=name)(x)


def _normed(x: Any, name: str, *, activated: bool = True) -> Any:
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if activated else x
