"""3-D convolutions whose kernels span many bands, trained by Fourier transforms along the bands.

A kernel of 32 bands costs 32 multiplications a value. Between Fourier transforms along the bands
(the convolution theorem) it costs four, and the transforms cost little; TensorFlow's gradient of
such kernels, the slowest part of a step, gains most. The numbers are those of the layer itself, up
to rounding: 1e-6 of the largest.

The layers stay what they are, in the model and in its file: `by_fourier` gives them another way to
compute while a network is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import scipy.fft
import tensorflow as tf
import tf_keras as keras

LONG = 16
"""Bands of a kernel, and of what it leaves, from which on the transforms pay."""
MIXED = 8
"""Channels, before and after, below which there is little to multiply between the transforms."""
HEAVY = 1e8
"""Multiply-adds for a sample below which a layer is done before the transforms were."""


@contextmanager
def by_fourier(model: keras.Model) -> Iterator[None]:
    """Within it, functions that are traced compute convolutions of long kernels by transforms."""
    chosen = [layer for layer in model._flatten_layers(include_self=False) if pays(layer)]
    for layer in chosen:
        layer.convolution_op = convolve
    try:
        yield
    finally:
        for layer in chosen:
            del layer.convolution_op


def pays(layer: keras.layers.Layer) -> bool:
    """Whether `convolve` is this layer's convolution, and quicker."""
    if type(layer) is not keras.layers.Conv3D or len(layer._inbound_nodes) != 1:
        return False
    plain = {*layer.strides, *layer.dilation_rate, layer.groups} == {1}
    if not plain or layer.padding != "valid" or layer.data_format != "channels_last":
        return False
    after = layer.output_shape[1:4]
    if None in after or min(layer.kernel_size[2], after[2]) < LONG:
        return False
    if min(layer.kernel.shape[3:]) < MIXED:
        return False
    return bool(math.prod(layer.kernel.shape) * math.prod(after) >= HEAVY)


@tf.custom_gradient
def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """What `tf.nn.conv3d` answers without padding, in single steps.

    Args:
        inputs: (n, rows, cols, bands, channels).
        kernel: (rows, cols, bands, channels, filters).

    Returns:
        (n, rows, cols, bands, filters), smaller by the kernel less one; and its gradients.
    """
    bands, taps = inputs.shape[3], kernel.shape[2]
    length = scipy.fft.next_fast_len(bands, real=True)
    seen, mixing = _transformed(inputs, length), _mixing(kernel, length)
    outputs = _back(_correlated(seen, mixing), length, bands - taps + 1)

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        given = _transformed(upstream, length)
        rows, cols = kernel.shape[0] - 1, kernel.shape[1] - 1
        wide = tf.pad(given, [[0, 0], [0, 0], [rows, rows], [cols, cols], [0, 0]])
        turned = tf.reverse(tf.transpose(mixing, (0, 1, 2, 4, 3)), (1, 2))
        to_inputs = _back(_correlated(wide, turned), length, bands)
        return to_inputs, _to_kernel(seen, given, kernel.shape, length)

    return outputs, gradients


def _transformed(values: tf.Tensor, length: int) -> tf.Tensor:
    """(n, rows, cols, bands, channels) -> (frequencies, n, rows, cols, 2 channels), real first."""
    spectra = tf.signal.rfft(tf.transpose(values, (0, 1, 2, 4, 3)), [length])
    spectra = tf.transpose(spectra, (4, 0, 1, 2, 3))
    return tf.concat([tf.math.real(spectra), tf.math.imag(spectra)], -1)


def _back(spectra: tf.Tensor, length: int, bands: int) -> tf.Tensor:
    """The inverse of `_transformed`; the first so many bands."""
    real, imaginary = tf.split(spectra, 2, axis=-1)
    whole = tf.transpose(tf.complex(real, imaginary), (1, 2, 3, 4, 0))
    values = tf.signal.irfft(whole, [length])[..., :bands]
    return tf.transpose(values, (0, 1, 2, 4, 3))


def _mixing(kernel: tf.Tensor, length: int) -> tf.Tensor:
    """(frequencies, rows, cols, 2 channels, 2 filters): times the kernel's conjugate, in reals."""
    spectra = tf.signal.rfft(tf.transpose(kernel, (0, 1, 3, 4, 2)), [length])
    spectra = tf.transpose(spectra, (4, 0, 1, 2, 3))
    real, imaginary = tf.math.real(spectra), tf.math.imag(spectra)
    upper, lower = tf.concat([real, -imaginary], -1), tf.concat([imaginary, real], -1)
    return tf.concat([upper, lower], -2)


def _correlated(spectra: tf.Tensor, mixing: tf.Tensor) -> tf.Tensor:
    """Each frequency by itself: a 2-D convolution without padding, a product for each tap."""
    count, _, rows, cols, before = spectra.shape
    down, right, after = mixing.shape[1], mixing.shape[2], mixing.shape[4]
    height, width = rows - down + 1, cols - right + 1
    total = tf.constant(0.0)
    for i in range(down):
        for j in range(right):
            window = spectra[:, :, i : i + height, j : j + width]
            total += tf.matmul(tf.reshape(window, (count, -1, before)), mixing[:, i, j])
    return tf.reshape(total, (count, -1, height, width, after))


def _to_kernel(seen: tf.Tensor, given: tf.Tensor, shape: tf.TensorShape, length: int) -> tf.Tensor:
    """The gradient of the kernel: what is seen, correlated with what comes from above."""
    down, right, taps, channels, filters = shape
    count, _, height, width, _ = given.shape
    above = tf.reshape(given, (count, -1, 2 * filters))
    found = []
    for i in range(down):
        for j in range(right):
            window = seen[:, :, i : i + height, j : j + width]
            window = tf.reshape(window, (count, -1, 2 * channels))
            found.append(tf.matmul(window, above, transpose_a=True))
    stacked = tf.reshape(tf.stack(found), (down, right, count, 2, channels, 2, filters))
    blocks = tf.transpose(stacked, (3, 5, 0, 1, 4, 6, 2))  # 2, 2, rows, cols, c, f, frequencies
    spectra = tf.complex(blocks[0, 0] + blocks[1, 1], blocks[1, 0] - blocks[0, 1])
    return tf.transpose(tf.signal.irfft(spectra, [length])[..., :taps], (0, 1, 4, 2, 3))
