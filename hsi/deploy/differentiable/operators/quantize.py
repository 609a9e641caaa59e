"""QUANTIZE, DEQUANTIZE, CAST, DENSIFY: from one number format to another."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from hsi.deploy.differentiable import rounding
from hsi.deploy.differentiable.call import Call
from hsi.deploy.differentiable.operators.fixed_point import rescale
from hsi.errors import ModelError

CASTS = {
    "float16": tf.float32,
    "float32": tf.float32,
    "float64": tf.float32,
    "int8": tf.int8,
    "int16": tf.int16,
    "int32": tf.int32,
    "int64": tf.int64,
    "uint8": tf.uint8,
    "bool": tf.bool,
}


def quantize(call: Call) -> tf.Tensor:
    """Real values to a grid, or from one grid to another."""
    source, target = call.tensor(0), call.output()
    x = call.value(0)
    if source.quantized:
        return _between(call)
    # the kernels multiply with the reciprocal, in float32
    inverse = np.float32(1) / rounding.safe(call.output_grid.scale)
    return rounding.to_grid(x * inverse, target, rounded=call.rounded)


def _between(call: Call) -> tf.Tensor:
    """From one grid to another."""
    a, b = call.grid(0), call.output_grid
    x = tf.cast(call.levels(0), tf.float64)
    ratio = float(a.scale) / float(rounding.safe(b.scale))
    exact = rescale(tf.cast(x, tf.int64), ratio)
    return call.store_steps(x * ratio, rounding_=rounding.half_away, exact=exact)


def dequantize(call: Call) -> tf.Tensor:
    """Values are in real units already."""
    return call.value(0)


def cast(call: Call) -> tf.Tensor:
    """To another type; what was carried as float because it has a gradient stays so."""
    x, kind = call.value(0), CASTS.get(call.output().dtype)
    if kind is None:
        raise ModelError(f"{call.operator.label}: cannot cast to {call.output().dtype}.")
    return tf.cast(x, kind)


def densify(call: Call) -> tf.Tensor:
    """Sparse constants are unfolded when the file is read."""
    return call.value(0)
