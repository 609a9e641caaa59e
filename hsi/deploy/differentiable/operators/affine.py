"""Sums of products: what convolutions and dense layers share, in every number format.

Float: y = act(w x + b).

Integer (Jacob et al. 2018, arXiv 1712.05877): the levels are multiplied and summed as whole
numbers, the stored bias is added to that sum, and sum * (s_x s_w / s_y) is rounded to the output's
grid. The sums run in float32, which holds whole numbers up to 2^24 exactly and beyond that is off
by less than 1e-4 of an output step, or in float64 for 16-bit activations.

Dynamic range: weights are integers, activations are quantized while running, each sample (or row)
to its own 256 levels between its least and its largest value, 0 included. The scale of that is
treated as a constant by the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.deploy.differentiable import rounding
from hsi.deploy.differentiable.call import Call, real_data
from hsi.deploy.differentiable.flatbuffer import Tensor
from hsi.deploy.differentiable.operators.fixed_point import factor

Multiply = Callable[[tf.Tensor, "tf.Tensor | None"], tf.Tensor]
Layout = Callable[[np.ndarray], np.ndarray]
InOrder = Callable[[tf.Tensor, tf.Tensor, "tf.Tensor | None"], tf.Tensor]
Quantize = Callable[[tf.Tensor], "tuple[tf.Tensor, tf.Tensor]"]


def affine(
    call: Call,
    multiply: Multiply,
    *,
    layout: Layout,
    x: tf.Tensor | None = None,
    quantize: Quantize | None = None,
    in_order: InOrder | None = None,
    indices: tuple[int, int, int] = (0, 1, 2),
) -> tf.Tensor:
    """act(multiply(x, w) + b) in the number format of the operands, output channels last.

    Args:
        call: the operator.
        multiply: linear in both operands; the second is the weights in the layout wanted.
        layout: from the file's order of the weights to that of `multiply`.
        x: the input in real units, if not as it is.
        quantize: for dynamic range, x to (whole levels, scale of a level); None: weights are made
            real and the computation is float.
        in_order: multiply(x, w) + b in float, summed as the interpreter does it; see `ordered`.
        indices: which inputs are x, weights and bias.
    """
    data, weights, bias = indices
    x = call.value(data) if x is None else x
    if call.tensor(data).quantized and call.tensor(weights).quantized:
        return _integer(call, multiply, x, layout, indices)
    stored = call.tensor(weights).quantized and call.data(weights) is not None
    if stored and quantize is not None and call.rounded:
        return _dynamic(call, multiply, x, layout, quantize, indices)
    if call.data(weights) is None:
        w = _reordered(call.value(weights), layout, call.tensor(weights))
    else:
        w = call.kept(weights, "weights", lambda _: layout(real_data(call.tensor(weights))))
    b = call.value(bias) if call.given(bias) else None
    known = call.data(weights) is not None and (b is None or call.data(bias) is not None)
    if call.exact and known and in_order is not None and x.dtype == tf.float32:
        return call.store(_in_order(x, w, b, multiply, in_order))
    y = multiply(x, w)
    return call.store(y if b is None else y + b)


def _in_order(
    x: tf.Tensor,
    w: tf.Tensor,
    b: tf.Tensor | None,
    multiply: Multiply,
    in_order: InOrder,
) -> tf.Tensor:
    """The value of `in_order` with the gradient of `multiply`, which is faster."""

    @tf.custom_gradient
    def function(x: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = multiply(x, w)
            return tape.gradient(y, x, upstream)

        return in_order(x, w, b), gradient

    return function(x)


def _integer(
    call: Call, multiply: Multiply, x: tf.Tensor, layout: Layout, indices: tuple[int, int, int]
) -> tf.Tensor:
    data, weights, bias = indices
    source, kernel = call.tensor(data), call.tensor(weights)
    grid, kernel_grid, output_grid = call.grid(data), call.grid(weights), call.output_grid
    wide = source.dtype == "int16"
    kind = tf.float64 if wide else tf.float32
    if kernel.data is None:
        w = _reordered(call.levels(weights), layout, kernel)
    else:
        w = call.kept(weights, "levels", lambda d: layout(rounding.centred(d, kernel_grid)))
    steps = rounding.levels(x, grid, rounded=call.rounded)
    total = multiply(tf.cast(steps, kind), tf.cast(w, kind))
    if call.given(bias):
        # as stored, whatever scale the file gives it: the kernels add whole numbers
        total += tf.cast(call.kept(bias, "stored", lambda d: d.astype(np.float64)), kind)
    scales = kernel_grid.scales
    if wide:
        ratios = grid.scale.astype(np.float64) * scales / output_grid.scale
        # convolutions multiply 64-bit sums with 15 bits of the ratio, dense layers with all 31
        full = call.operator.kind == "FULLY_CONNECTED" or (
            call.given(bias) and call.tensor(bias).dtype == "int32"
        )
        factors = np.array([factor(r, bits=31 if full else 15) for r in ratios])
        return call.store_steps(total * factors, rounding_=rounding.half_up)
    factors = grid.scale * scales / output_grid.scale
    return call.store_steps(total * factors, rounding_=rounding.half_even)


def _dynamic(
    call: Call,
    multiply: Multiply,
    x: tf.Tensor,
    layout: Layout,
    quantize: Quantize,
    indices: tuple[int, int, int],
) -> tf.Tensor:
    _, weights, bias = indices
    quantization = call.grid(weights)
    w = call.kept(weights, "levels", lambda d: layout(rounding.centred(d, quantization)))
    steps, scale = quantize(x)
    total = multiply(steps, w)
    zeros = tf.zeros(len(quantization.scales))
    b = call.value(bias) if call.given(bias) else zeros
    if quantize is by_sample_tflite:
        # both factors round the product; the type between them keeps a compiler from joining them
        scaled = tf.cast(total * quantization.scales, tf.float64) * tf.cast(scale, tf.float64)
        return call.store(tf.cast(scaled, tf.float32) + b)
    # XNNPACK rounds product and bias once, by a fused instruction; float64 gives the same value
    y = tf.cast(total * scale, tf.float64) * quantization.scales.astype(np.float64)
    return call.store(tf.cast(y + tf.cast(b, tf.float64), tf.float32))


def by_sample(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """XNNPACK's quantization while running, a scale per sample (all but the first axis)."""
    return _xnnpack(x, axes=list(range(1, len(x.shape))))


def by_row(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The same with a scale per row (last axis)."""
    return _xnnpack(x, axes=[-1])


def _xnnpack(x: tf.Tensor, axes: list[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """`xnn_f32_qd8_asymmetric_quantization_params`, in float32 as there."""
    low = tf.minimum(tf.reduce_min(x, axes, keepdims=True), 0.0)
    high = tf.maximum(tf.reduce_max(x, axes, keepdims=True), 0.0)
    per_unit = tf.where(high > low, 255.0 / tf.where(high > low, high - low, 1.0), 1.0)
    from_low, from_high = -128.0 + low * per_unit, 127.0 + high * per_unit
    zero = tf.where(from_low + from_high > 0, -128.0 - low * per_unit, 127.0 - high * per_unit)
    zero = tf.round(tf.clip_by_value(zero, -128.0, 127.0))
    per_unit, zero = tf.stop_gradient(per_unit), tf.stop_gradient(zero)
    steps = x * per_unit
    whole = tf.clip_by_value(tf.round(steps) + zero, -128.0, 127.0) - zero
    return rounding.straight_through(steps, whole), _inverse(per_unit)


def by_sample_tflite(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """TFLite's own (`AsymmetricQuantizeFloats`), a scale per sample; for depthwise convolutions."""
    axes = list(range(1, len(x.shape)))
    least = tf.minimum(tf.reduce_min(x, axes, keepdims=True), 0.0)
    most = tf.maximum(tf.reduce_max(x, axes, keepdims=True), 0.0)
    # the difference is a float32; divided in float64, which no compiler turns into a product
    # that is seen in float32
    scale = tf.where(most > least, tf.cast(most - least, tf.float64) / 255.0, 1.0)
    low, high = tf.cast(least, tf.float64), tf.cast(most, tf.float64)
    closer_low = 128.0 + tf.abs(low / scale) < 127.0 + tf.abs(high / scale)
    zero = tf.where(closer_low, -128.0 - low / scale, 127.0 - high / scale)
    zero = tf.cast(rounding.half_away(tf.clip_by_value(zero, -128.0, 127.0)), tf.float32)
    scale, zero = tf.stop_gradient(tf.cast(scale, tf.float32)), tf.stop_gradient(zero)
    steps = x * _inverse(scale)
    # rounded before the zero point is added: a tie goes away from the real zero
    whole = tf.clip_by_value(rounding.half_away(steps) + zero, -128.0, 127.0) - zero
    return rounding.straight_through(steps, whole), scale


def _inverse(x: tf.Tensor) -> tf.Tensor:
    """1 / x to the last bit: TensorFlow turns a plain 1 / x into a float32 approximation."""
    return tf.cast(1.0 / tf.cast(x, tf.float64), tf.float32)


def _reordered(w: tf.Tensor, layout: Layout, tensor: Tensor) -> tf.Tensor:
    """`layout` for weights that are computed: read off what it does to an array of positions."""
    positions = layout(np.arange(math.prod(tensor.shape)).reshape(tensor.shape))
    return tf.gather(tf.reshape(w, [-1]), positions)
