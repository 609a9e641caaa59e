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
AT_ONCE = 4
"""Samples whose transforms are in memory at a time: they are larger than what TensorFlow keeps."""
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
        inputs: (n, rows, cols, bands, channels); `AT_ONCE` samples at a time are transformed.
        kernel: (rows, cols, bands, channels, filters).

    Returns:
        (n, rows, cols, bands, filters), smaller by the kernel less one; and its gradients.
    """
    (_, height, width, bands, channels), (rows, cols, taps, _, filters) = inputs.shape, kernel.shape
    length = scipy.fft.next_fast_len(bands, real=True)
    mixing = _mixing(kernel, length)
    left = (height - rows + 1, width - cols + 1, bands - taps + 1, filters)

    def forward(some: tf.Tensor) -> tf.Tensor:
        return _back(_correlated(_transformed(some, length), mixing), length, left[2])

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        turned = tf.reverse(tf.transpose(mixing, (0, 1, 2, 4, 3)), (1, 2))
        around = [[0, 0], [0, 0], [rows - 1, rows - 1], [cols - 1, cols - 1], [0, 0]]

        def to_inputs(given: tf.Tensor) -> tf.Tensor:
            return _back(_correlated(tf.pad(given, around), turned), length, bands)

        def backward(i: tf.Tensor, parts: tf.TensorArray, total: tf.Tensor) -> tuple:
            given = _transformed(_part(upstream, i), length)
            total += _of_taps(_transformed(_part(inputs, i), length), given, rows, cols)
            return i + 1, parts.write(i, to_inputs(given)), total

        total = tf.zeros((rows * cols, length // 2 + 1, 2 * channels, 2 * filters))
        parts, total = _through(upstream, backward, total)
        whole = tf.ensure_shape(parts.concat(), inputs.shape)
        return whole, _to_kernel(total, kernel.shape, length)

    def step(i: tf.Tensor, parts: tf.TensorArray) -> tuple:
        return i + 1, parts.write(i, forward(_part(inputs, i)))

    (parts,) = _through(inputs, step)
    return tf.ensure_shape(parts.concat(), (None, *left)), gradients


def _through(samples: tf.Tensor, step: Callable, *beside: tf.Tensor) -> tuple:
    """Take every part of a batch; `step` is given its number, where to write, and what is kept."""
    count = -(-tf.shape(samples)[0] // AT_ONCE)
    parts = tf.TensorArray(tf.float32, count, infer_shape=False)
    found = tf.while_loop(
        lambda i, *_: i < count, step, (tf.constant(0), parts, *beside), parallel_iterations=1
    )
    return tuple(found[1:])


def _part(samples: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    return samples[number * AT_ONCE : (number + 1) * AT_ONCE]


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


def _of_taps(seen: tf.Tensor, given: tf.Tensor, down: int, right: int) -> tf.Tensor:
    """(taps, frequencies, 2 channels, 2 filters): what is seen times what comes from above."""
    count, _, height, width, after = given.shape
    above = tf.reshape(given, (count, -1, after))
    found = []
    for i in range(down):
        for j in range(right):
            window = seen[:, :, i : i + height, j : j + width]
            window = tf.reshape(window, (count, -1, seen.shape[-1]))
            found.append(tf.matmul(window, above, transpose_a=True))
    return tf.stack(found)


def _to_kernel(products: tf.Tensor, shape: tf.TensorShape, length: int) -> tf.Tensor:
    """The gradient of the kernel: what is seen, correlated with what comes from above."""
    down, right, taps, channels, filters = shape
    blocks = tf.reshape(products, (down, right, length // 2 + 1, 2, channels, 2, filters))
    blocks = tf.transpose(blocks, (3, 5, 0, 1, 4, 6, 2))  # 2, 2, rows, cols, c, f, frequencies
    spectra = tf.complex(blocks[0, 0] + blocks[1, 1], blocks[1, 0] - blocks[0, 1])
    return tf.transpose(tf.signal.irfft(spectra, [length])[..., :taps], (0, 1, 4, 2, 3))
