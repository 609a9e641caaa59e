"""CONV_2D, DEPTHWISE_CONV_2D, CONV_3D, TRANSPOSE_CONV.

The file's weights are OHWI (convolution, transposed convolution), 1HWC*M (depthwise) and DHWIO
(3-D). Dilation is done by spreading the kernel's taps with zeros between them, which is exact and
works where TensorFlow has no gradient of a dilated convolution on CPUs.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import tensorflow as tf

from hsi.deploy.differentiable.call import Call
from hsi.deploy.differentiable.operators import ordered
from hsi.deploy.differentiable.operators.affine import affine, by_row, by_sample, by_sample_tflite
from hsi.errors import ModelError

PADDINGS = {0: "SAME", 1: "VALID"}


def padding_of(call: Call) -> str:
    """SAME or VALID."""
    code = int(call.option("padding"))
    if code not in PADDINGS:
        raise ModelError(f"{call.operator.label}: padding {code} is not known.")
    return PADDINGS[code]


def numbers_of(call: Call, *names: str, least: int = 1) -> list[int]:
    """Options such as strides, which must be 1 or more."""
    found = [int(call.option(name, 1)) for name in names]
    if any(n < least for n in found):
        raise ModelError(
            f"{call.operator.label}: expected {', '.join(names)} above 0, got {found}."
        )
    return found


def spread(kernel: np.ndarray, dilations: list[int]) -> np.ndarray:
    """Zeros between the taps of the leading axes of a kernel."""
    for axis, dilation in enumerate(dilations):
        if dilation == 1:
            continue
        shape = list(kernel.shape)
        shape[axis] = (shape[axis] - 1) * dilation + 1
        wide = np.zeros(shape, kernel.dtype)
        place: list[slice] = [slice(None)] * kernel.ndim
        place[axis] = slice(None, None, dilation)
        wide[tuple(place)] = kernel
        kernel = wide
    return kernel


def conv_2d(call: Call) -> tf.Tensor:
    """act(x * w + b); in groups where the weights take fewer channels than there are."""
    strides = numbers_of(call, "strideH", "strideW")
    dilations = numbers_of(call, "dilationHFactor", "dilationWFactor")
    padding = padding_of(call)
    groups = _groups(call)
    # XNNPACK runs these as dense layers, which quantize every pixel by itself
    pointwise = strides == [1, 1] and call.tensor(1).shape[1:3] == (1, 1) and groups == 1

    def multiply(x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        if groups == 1:
            return tf.nn.conv2d(x, w, strides, padding)
        parts = zip(tf.split(x, groups, -1), tf.split(w, groups, -1), strict=True)
        return tf.concat([tf.nn.conv2d(a, b, strides, padding) for a, b in parts], -1)

    return affine(
        call,
        multiply,
        layout=lambda w: spread(w.transpose(1, 2, 3, 0), dilations),
        quantize=by_row if pointwise else by_sample,
        in_order=partial(ordered.convolution, strides=strides, padding=padding),
    )


def _groups(call: Call) -> int:
    channels, taken = call.value(0).shape[-1], call.tensor(1).shape[-1]
    outputs = call.tensor(1).shape[0]
    if channels is None or taken < 1 or channels % taken or outputs % (channels // taken):
        raise ModelError(f"{call.operator.label}: {channels} channels into weights for {taken}.")
    return channels // taken


def depthwise_conv_2d(call: Call) -> tf.Tensor:
    """Each channel with kernels of its own; (1, H, W, C * M) weights."""
    stride_h, stride_w = numbers_of(call, "strideH", "strideW")
    dilations = numbers_of(call, "dilationHFactor", "dilationWFactor")
    padding = padding_of(call)
    channels = call.value(0).shape[-1]
    outputs = call.tensor(1).shape[-1]
    if not channels or outputs % channels:
        raise ModelError(f"{call.operator.label}: {channels} channels into {outputs} kernels.")

    def multiply(x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        if stride_h == stride_w:
            return tf.nn.depthwise_conv2d(x, w, [1, stride_h, stride_w, 1], padding)
        # TensorFlow wants equal strides: compute every position, keep those that are wanted
        x = ordered.padded(x, w.shape[:2], (stride_h, stride_w), padding)
        every = tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "VALID")
        return every[:, ::stride_h, ::stride_w]

    return affine(
        call,
        multiply,
        layout=lambda w: spread(w[0].reshape(*w.shape[1:3], channels, -1), dilations),
        quantize=by_sample_tflite,
        in_order=partial(ordered.depthwise, strides=(stride_h, stride_w), padding=padding),
    )


def conv_3d(call: Call) -> tf.Tensor:
    """act(x * w + b) over depth, rows and columns."""
    strides = numbers_of(call, "strideD", "strideH", "strideW")
    dilations = numbers_of(call, "dilationDFactor", "dilationHFactor", "dilationWFactor")
    padding = padding_of(call)
    return affine(
        call,
        lambda x, w: tf.nn.conv3d(x, w, [1, *strides, 1], padding),
        layout=lambda w: spread(w, dilations),
    )


def transpose_conv(call: Call) -> tf.Tensor:
    """Inputs: output shape, weights, x, bias. The gradient of a convolution, as a layer."""
    strides = numbers_of(call, "strideH", "strideW")
    padding = padding_of(call)
    # a batch that is left free makes the file compute the output's shape while running
    sizes = call.value(0)[1:3] if call.data(0) is None else call.numbers(0)[1:3]
    channels = call.tensor(1).shape[0]

    def multiply(x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        shape = tf.stack([tf.shape(x)[0], sizes[0], sizes[1], channels])
        return tf.nn.conv2d_transpose(x, w, shape, strides, padding)

    return affine(call, multiply, layout=lambda w: w.transpose(1, 2, 0, 3), indices=(2, 1, 3))
