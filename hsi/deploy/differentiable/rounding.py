"""Straight-through rounding: the value of a quantized tensor, the slope of the real one.

A quantized tensor is carried in real units, on its grid: scale * (level - zero_point). Going
forward, a value is rounded to the nearest level and clipped to the levels its type has. Going
back, rounding has slope 1 (Bengio, Leonard and Courville 2013, arXiv 1308.3432) and clipping has
the slope of a clip: 1 for values that round to a level, 0 for those beyond the last one. So the
gradient is that of the function without its stairs, saturation included.

That function can be had, too: `rounded=False` clips to the grid's range and does not round.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hsi.deploy.differentiable.flatbuffer import Quantization, Tensor

Round = Callable[[tf.Tensor], tf.Tensor]

LIMITS: dict[str, tuple[int, int]] = {
    "int4": (-8, 7),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "int32": (-(2**31), 2**31 - 1),
}


def half_even(x: tf.Tensor) -> tf.Tensor:
    """Round, ties to even: what x86 does and XNNPACK's kernels use."""
    return tf.round(x)


def half_up(x: tf.Tensor) -> tf.Tensor:
    """Round, ties upwards: an arithmetic shift after adding half."""
    return tf.floor(x + tf.constant(0.5, x.dtype))


def half_away(x: tf.Tensor) -> tf.Tensor:
    """Round, ties away from zero: std::round, as TFLite's own kernels use."""
    # tf.round(|x|) is exact where |x| + 0.5 would not be; only true ties differ
    magnitude = tf.abs(x)
    whole = tf.floor(magnitude)
    up = tf.cast(magnitude - whole >= 0.5, x.dtype)
    return tf.sign(x) * (whole + up)


@tf.custom_gradient
def straight_through(smooth: tf.Tensor, exact: tf.Tensor) -> tf.Tensor:
    """The value of `exact`, bit for bit, with the gradient of `smooth`; equal shapes."""
    return tf.identity(exact), lambda upstream: (upstream, None)


def levels(x: tf.Tensor, quantization: Quantization, *, rounded: bool = True) -> tf.Tensor:
    """Levels minus zero point of values on their grid: whole numbers as floats.

    The slope is 1 / scale everywhere: a value on the grid has nothing to clip.
    """
    steps = x / safe(quantization.scale)
    return straight_through(steps, tf.round(steps)) if rounded else steps


def to_grid(
    steps: tf.Tensor,
    tensor: Tensor,
    *,
    rounding: Round = half_even,
    exact: tf.Tensor | None = None,
    open_ended: bool = False,
    rounded: bool = True,
) -> tf.Tensor:
    """Real values on the grid of `tensor` from unrounded steps (level - zero point).

    Args:
        steps: real value / scale; float32 or float64.
        tensor: whose scale, zero point and type to use.
        rounding: how ties go.
        exact: the rounded steps in the type of `steps`, where a kernel rounds in a way of its
            own; `steps` then only gives the gradient.
        open_ended: let the gradient through where values are clipped, too.
        rounded: without it values are only clipped, and not even that where they are open-ended:
            a function cannot be flat and have the slope of what is not.

    Returns:
        float32 real values; see the module for the gradient.
    """
    assert tensor.quantization is not None
    low, high = _range(tensor)
    if not rounded:
        within = steps if open_ended else tf.clip_by_value(steps, low, high)
        return tf.cast(within, tf.float32) * tensor.quantization.scale

    @tf.custom_gradient
    def clipped(steps: tf.Tensor, nearest: tf.Tensor) -> tuple[tf.Tensor, Round]:
        def slope(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
            if open_ended:
                return upstream, None
            level = rounding(steps)
            inside = (level >= low) & (level <= high)
            return upstream * tf.cast(inside, upstream.dtype), None

        return tf.clip_by_value(nearest, low, high), slope

    value = clipped(steps, rounding(steps) if exact is None else exact)
    return tf.cast(value, tf.float32) * tensor.quantization.scale


def snap(
    x: tf.Tensor,
    tensor: Tensor,
    *,
    rounding: Round = half_even,
    open_ended: bool = False,
    rounded: bool = True,
) -> tf.Tensor:
    """Real values rounded and clipped to the grid of `tensor` (one scale); see `to_grid`."""
    assert tensor.quantization is not None
    scale = safe(tensor.quantization.scale)
    steps = x / tf.constant(scale, x.dtype)
    return to_grid(steps, tensor, rounding=rounding, open_ended=open_ended, rounded=rounded)


def real(data: np.ndarray, quantization: Quantization) -> np.ndarray:
    """The float32 values that a quantized constant stands for."""
    return quantization.real(data)


def centred(data: np.ndarray, quantization: Quantization) -> np.ndarray:
    """Levels minus zero points of a quantized constant, as float32 whole numbers."""
    zeros = quantization.along(quantization.zero_points, data.ndim)
    return (data.astype(np.int64) - zeros).astype(np.float32)


def _range(tensor: Tensor) -> tuple[float, float]:
    assert tensor.quantization is not None
    low, high = LIMITS.get(tensor.dtype, LIMITS["int32"])
    zero = tensor.quantization.zero_point
    return float(low - zero), float(high - zero)


def safe(scale: np.float32) -> np.float32:
    # a tensor that is always 0 may be given scale 0; every value of it is 0 whatever we divide by
    return scale if scale > 0 else np.float32(1)
