"""A patch as networks of spectra and of volumes take it: the centre's spectrum, or a cube.

The published kernels were made for hundreds of bands. Where an input has fewer channels than such a
kernel has taps (after PCA, say), the kernel takes all channels that there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tf_keras import layers


def spectrum(inputs: Any) -> Any:
    """(n, rows, cols, channels) -> (n, channels, 1): the centre pixel, channels along the line."""
    rows, cols, channels = inputs.shape[1:]
    x = inputs
    if (rows, cols) != (1, 1):
        around = [(size // 2, size - 1 - size // 2) for size in (rows, cols)]
        x = layers.Cropping2D(around, name="centre")(x)
    return layers.Reshape((channels, 1), name="spectrum")(x)


def cube(inputs: Any) -> Any:
    """(n, rows, cols, channels) -> (n, rows, cols, channels, 1), for 3-D convolutions.

    The spectral axis is the last of the three: written as 2-D layers (`hsi.compress.planar`), a
    convolution is then a sum over its few rows of taps and not over its many spectral ones.
    """
    return layers.Reshape((*inputs.shape[1:], 1), name="cube")(inputs)


def volume(
    x: Any,
    filters: int,
    kernel: Sequence[int],
    *,
    name: str,
    step: int = 1,
    zeros: int = 0,
    activation: str | None = None,
    initializer: Any = "he_normal",
    padding: str = "valid",
) -> Any:
    """A 3-D convolution of (n, rows, cols, depth, channels) with a kernel (rows, cols, depth).

    Args:
        step: along the spectral axis. Where the output has one value along it no step is made: with
            one channel TensorFlow 2.21 (oneDNN) answers garbage for a step there.
        zeros: put before and behind the spectral axis; then the padding is "valid".
    """
    if zeros:
        x = layers.ZeroPadding3D(((0, 0), (0, 0), (zeros, zeros)), name=f"{name}_zeros")(x)
    rows, cols, taps = kernel
    depth = x.shape[3]
    taps = min(taps, depth)
    if padding == "valid" and step > 1 and depth < taps + step:
        if depth > taps:
            x = layers.Cropping3D((0, 0, (0, depth - taps)), name=f"{name}_first")(x)
        step = 1
    return layers.Conv3D(
        filters,
        (rows, cols, taps),
        strides=(1, 1, step),
        padding=padding,
        activation=activation,
        kernel_initializer=initializer,
        name=name,
    )(x)
