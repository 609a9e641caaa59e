"""MAX_POOL_2D, AVERAGE_POOL_2D, L2_POOL_2D, and what reduces whole axes (MEAN, SUM ...)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hsi.deploy.differentiable import rounding
from hsi.deploy.differentiable.call import Call
from hsi.deploy.differentiable.operators.convolution import numbers_of, padding_of
from hsi.deploy.differentiable.operators.fixed_point import rescale_mean


def max_pool_2d(call: Call) -> tf.Tensor:
    """The largest value under each window."""
    x, window, strides, padding = _windows(call)
    return _moved_and_activated(call, tf.nn.max_pool2d(x, window, strides, padding))


def average_pool_2d(call: Call) -> tf.Tensor:
    """The mean under each window, padding not counted."""
    x, window, strides, padding = _windows(call)
    if window == strides == [2, 2] and padding == "VALID":
        y = _quarter(x)
    else:
        y = tf.nn.avg_pool2d(x, window, strides, padding)
    if not call.output().quantized:
        return call.store(y)
    quantization = call.output_grid
    # the kernel takes the mean of the levels themselves and rounds it away from zero
    zero = float(quantization.zero_point)
    levels = rounding.levels(x, quantization) + zero
    mean = tf.nn.avg_pool2d(levels, window, strides, padding)
    return call.store_steps(
        y / quantization.scale,
        rounding_=rounding.half_even,
        exact=rounding.half_away(mean) - zero,
    )


def _quarter(x: tf.Tensor) -> tf.Tensor:
    """The mean of 2 x 2 pixels, summed in XNNPACK's order: equal to the last bit.

    Dynamic-range layers round what follows to 256 levels, so a last bit can matter there.
    """
    rows, cols = tf.shape(x)[1] // 2 * 2, tf.shape(x)[2] // 2 * 2
    x = x[:, :rows, :cols]
    pairs = x[:, ::2] + x[:, 1::2]
    return (pairs[:, :, ::2] + pairs[:, :, 1::2]) * 0.25


def l2_pool_2d(call: Call) -> tf.Tensor:
    """The root of the mean square under each window."""
    x, window, strides, padding = _windows(call)
    return call.store(tf.sqrt(tf.nn.avg_pool2d(tf.square(x), window, strides, padding)))


def _windows(call: Call) -> tuple[tf.Tensor, list[int], list[int], str]:
    window = numbers_of(call, "filterHeight", "filterWidth")
    strides = numbers_of(call, "strideH", "strideW")
    return call.value(0), window, strides, padding_of(call)


def _moved_and_activated(call: Call, y: tf.Tensor) -> tf.Tensor:
    return call.moved(call.activate(y))


def mean(call: Call) -> tf.Tensor:
    """The mean over the axes of the second input."""
    keep, axes = bool(call.option("keepDims", False)), call.numbers(1)
    y = tf.reduce_mean(call.value(0), axes, keepdims=keep)
    if not call.output().quantized or not call.tensor(0).quantized:
        return call.store(y)
    a, b = call.grid(0), call.output_grid
    levels = call.levels(0)
    total = tf.reduce_sum(levels, axes, keepdims=keep)
    sizes = [levels.shape[axis] for axis in set(axes)]
    if None in sizes or 0 in sizes:
        return call.store(y)
    count = math.prod(sizes)
    if call.output().dtype != "int16":
        steps = total * (a.scale / (b.scale * np.float32(count)))
        return call.store_steps(steps, rounding_=rounding.half_even)
    exact = rescale_mean(tf.cast(total, tf.int64), float(a.scale) / float(b.scale), count)
    steps = tf.cast(total, tf.float64) * (float(a.scale) / float(b.scale) / count)
    return call.store_steps(steps, rounding_=rounding.half_away, exact=exact)


def reduction(reduce: Callable[..., tf.Tensor]) -> Callable[[Call], tf.Tensor]:
    """The operator that applies `reduce` to the axes of its second input."""

    def function(call: Call) -> tf.Tensor:
        keep = bool(call.option("keepDims", False))
        axes = call.numbers(1)
        return call.store(reduce(call.value(0), axes, keepdims=keep))

    return function
