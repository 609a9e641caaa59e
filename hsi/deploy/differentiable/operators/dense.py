"""FULLY_CONNECTED and BATCH_MATMUL."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from hsi.deploy.differentiable import rounding
from hsi.deploy.differentiable.call import Call
from hsi.deploy.differentiable.operators import ordered
from hsi.deploy.differentiable.operators.affine import affine, by_row
from hsi.deploy.differentiable.operators.fixed_point import factor
from hsi.errors import ModelError


def fully_connected(call: Call) -> tf.Tensor:
    """act(x w' + b) with weights (out, in); x is flattened to rows of `in` unless told not to."""
    if int(call.option("weightsFormat")) != 0:
        raise ModelError(f"{call.operator.label}: shuffled weights are not supported.")
    width = call.tensor(1).shape[-1]
    x = call.value(0)
    if not (call.option("keepNumDims", False) and len(x.shape) > 2):
        x = tf.reshape(x, [-1, width])

    def multiply(a: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        rows = a if len(a.shape) == 2 else tf.reshape(a, [-1, width])
        y = tf.matmul(rows, w, transpose_b=True)
        if len(a.shape) == 2:
            return y
        return tf.reshape(y, tf.concat([tf.shape(a)[:-1], tf.shape(y)[-1:]], 0))

    return affine(
        call,
        multiply,
        layout=np.asarray,
        x=x,
        quantize=by_row,
        in_order=ordered.dense,
    )


def batch_matmul(call: Call) -> tf.Tensor:
    """x y over the last two axes, either of them transposed on demand."""
    adjoint = {
        "transpose_a": bool(call.option("adjX", False)),
        "transpose_b": bool(call.option("adjY", False)),
    }
    if not call.output().quantized:
        return call.store(tf.matmul(call.value(0), call.value(1), **adjoint))
    a, b, output = call.grid(0), call.grid(1), call.output_grid
    wide = call.tensor(0).dtype == "int16"
    kind = tf.float64 if wide else tf.float32
    total = tf.matmul(tf.cast(call.levels(0), kind), tf.cast(call.levels(1), kind), **adjoint)
    if wide:
        ratio = factor(float(a.scale) * float(b.scale) / float(output.scale), bits=15)
        return call.store_steps(total * ratio, rounding_=rounding.half_up)
    return call.store_steps(
        total * (a.scale * b.scale / output.scale), rounding_=rounding.half_even
    )
