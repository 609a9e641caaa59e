"""Activation functions, softmax among them."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from hsi.deploy.differentiable import rounding
from hsi.deploy.differentiable.call import Call, Function
from hsi.deploy.differentiable.operators.fixed_point import (
    rescale,
    sigmoid_int16,
    softmax_int16,
    tanh_int16,
)


def relu(name: str) -> Function:
    """RELU, RELU6, RELU_0_TO_1 or RELU_N1_TO_1 as an operator of its own."""
    return lambda call: call.store(call.relu(call.value(0), name))


def leaky_relu(call: Call) -> tf.Tensor:
    """x, or alpha x below 0."""
    alpha = float(call.option("alpha", 0.0))
    y = tf.nn.leaky_relu(call.value(0), alpha)
    source, output = call.tensor(0), call.output()
    if output.dtype != "int16" or not source.quantization or not output.quantization:
        return call.store(y)
    levels = tf.cast(call.levels(0), tf.int64)
    ratio = float(source.quantization.scale) / float(output.quantization.scale)
    exact = tf.where(levels >= 0, rescale(levels, ratio), rescale(levels, ratio * alpha))
    steps = y / output.quantization.scale
    return call.store_steps(steps, rounding_=rounding.half_away, exact=exact)


def prelu(call: Call) -> tf.Tensor:
    """x, or alpha x below 0, with an alpha per channel."""
    x, alpha = call.value(0), call.value(1)
    return call.store(tf.maximum(x, 0.0) + alpha * tf.minimum(x, 0.0))


def elu(call: Call) -> tf.Tensor:
    """x, or exp(x) - 1 below 0."""
    return call.store(tf.nn.elu(call.value(0)))


def gelu(call: Call) -> tf.Tensor:
    """x times the normal distribution's share below x (or its tanh approximation)."""
    return call.store(tf.nn.gelu(call.value(0), bool(call.option("approximate", False))))


def hard_swish(call: Call) -> tf.Tensor:
    """x relu6(x + 3) / 6."""
    x = call.value(0)
    return call.store(x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0))


def logistic(call: Call) -> tf.Tensor:
    """1 / (1 + exp(-x))."""
    return _squashed(call, tf.sigmoid(call.value(0)), sigmoid_int16)


def tanh(call: Call) -> tf.Tensor:
    """tanh(x)."""
    return _squashed(call, tf.tanh(call.value(0)), tanh_int16)


def _squashed(
    call: Call, y: tf.Tensor, kernel: Callable[[tf.Tensor, float], tf.Tensor]
) -> tf.Tensor:
    source, output = call.tensor(0), call.output()
    if output.dtype != "int16" or not source.quantization or not output.quantization:
        return call.store(y)
    exact = kernel(tf.cast(call.levels(0), tf.int64), float(source.quantization.scale))
    steps = y / output.quantization.scale
    return call.store_steps(steps, rounding_=rounding.half_away, exact=exact)


def softmax(call: Call) -> tf.Tensor:
    """exp(beta x) / sum exp(beta x) over the last axis."""
    beta = float(call.option("beta", 1.0))
    y = tf.nn.softmax(call.value(0) * beta)
    source, output = call.tensor(0), call.output()
    if output.dtype != "int16" or not source.quantization or not output.quantization:
        return call.store(y, rounding_=rounding.half_away)
    levels = tf.cast(call.levels(0), tf.int64)
    exact = softmax_int16(levels, float(source.quantization.scale) * beta)
    steps = y / output.quantization.scale
    return call.store_steps(steps, rounding_=rounding.half_away, exact=exact)


def log_softmax(call: Call) -> tf.Tensor:
    """log of the softmax over the last axis."""
    return call.store(tf.nn.log_softmax(call.value(0)))


def l2_normalization(call: Call) -> tf.Tensor:
    """x / |x| over the last axis."""
    return call.store(tf.math.l2_normalize(call.value(0), axis=-1, epsilon=1e-12))
