"""Sums, products and functions of single numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hsi.deploy.differentiable import rounding
from hsi.deploy.differentiable.call import Call
from hsi.deploy.differentiable.operators.fixed_point import rescale, rescale_once

Unary = Callable[[tf.Tensor], tf.Tensor]
Binary = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def add(call: Call) -> tf.Tensor:
    """x + y."""
    return _weighted(call, 1.0) if call.output().quantized else call.store(_two(call, tf.add))


def sub(call: Call) -> tf.Tensor:
    """x - y."""
    return _weighted(call, -1.0) if call.output().quantized else call.store(_two(call, tf.subtract))


def _weighted(call: Call, sign: float) -> tf.Tensor:
    """Levels times s_x / s_y with the kernels' whole-number factors, added, shifted back."""
    a, b, output = call.grid(0), call.grid(1), call.output_grid
    ratios = np.array([a.scale, b.scale], np.float32) / output.scale
    if call.output().dtype == "int8" and ratios.max() > 0:
        # XNNPACK: 21 bits for the larger factor
        shift = 20 - (int(np.frexp(ratios.max())[1]) - 1)
        factors = np.round(np.ldexp(ratios.astype(np.float64), shift)) / 2.0**shift
    else:
        factors = ratios.astype(np.float64)
    x, y = (tf.cast(call.levels(i), tf.float64) for i in (0, 1))
    steps = x * factors[0] + y * (sign * factors[1])
    if call.output().dtype == "int8":
        return call.store_steps(steps, rounding_=rounding.half_up)
    same = call.value(0).shape.as_list()[1:] == call.value(1).shape.as_list()[1:]
    scales = float(a.scale), float(b.scale), float(output.scale)
    exact = _added(x, sign * y, scales, rescale_once if same else rescale)
    return call.store_steps(steps, rounding_=rounding.half_away, exact=exact)


def _added(
    x: tf.Tensor,
    y: tf.Tensor,
    scales: tuple[float, float, float],
    first: Callable[[tf.Tensor, float], tf.Tensor],
) -> tf.Tensor:
    """TFLite's ADD and SUB: both inputs to a common scale with 15 more bits, added, back.

    Args:
        x: levels.
        y: levels.
        scales: of x, of y and of the output.
        first: how the inputs are rounded; equal shapes and broadcast ones run different kernels.
    """
    a, b, output = scales
    common = 2 * max(a, b)
    if not common > 0:
        return x * 0 + y * 0
    left = first(tf.cast(x, tf.int64) * 2**15, a / common)
    right = first(tf.cast(y, tf.int64) * 2**15, b / common)
    return rescale(left + right, common / (2**15 * output))


def mul(call: Call) -> tf.Tensor:
    """x y."""
    if not call.output().quantized:
        return call.store(_two(call, tf.multiply))
    a, b, output = call.grid(0), call.grid(1), call.output_grid
    if call.output().dtype == "int8":
        product = call.levels(0) * call.levels(1)
        return call.store_steps(
            product * (a.scale * b.scale / output.scale), rounding_=rounding.half_even
        )
    x, y = (tf.cast(call.levels(i), tf.float64) for i in (0, 1))
    ratio = float(a.scale * b.scale / output.scale)  # in float32, as the kernel takes it
    exact = rescale(tf.cast(x * y, tf.int64), ratio)
    return call.store_steps(x * y * ratio, rounding_=rounding.half_away, exact=exact)


def _two(call: Call, function: Binary) -> tf.Tensor:
    return function(call.value(0), call.value(1))


def add_n(call: Call) -> tf.Tensor:
    """The sum of all inputs."""
    return call.store(sum(call.values[1:], call.value(0)))


def binary(function: Binary) -> Callable[[Call], tf.Tensor]:
    """The operator that applies `function` to two inputs."""
    return lambda call: call.store(_two(call, function))


def unary(function: Unary) -> Callable[[Call], tf.Tensor]:
    """The operator that applies `function` to one input."""
    return lambda call: call.store(function(call.value(0)))


def select(call: Call) -> tf.Tensor:
    """Where the first input holds, the second, else the third."""
    return call.store(tf.where(call.value(0), call.value(1), call.value(2)))


def comparison(function: Binary) -> Callable[[Call], tf.Tensor]:
    """A comparison: true or false, without a gradient."""
    return lambda call: function(call.value(0), call.value(1))
