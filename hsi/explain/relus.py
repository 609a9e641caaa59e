"""ReLUs of `tf_keras` layers: where they are, and the same layers with another one in its place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras as keras

from hsi.explain.layered import Relu

RELU_NAMES = {"relu": None, "relu6": 6.0}
"""Activation functions that are ReLUs, and their upper limits."""

_RELU_SYMBOLS = {"nn.relu": None, "nn.relu6": 6.0}

_PLAIN_WRAPPERS = ("TimeDistributed", "PruneLowMagnitude")
"""Wrappers that call the `layer` in them as it is."""


def activation_name(layer: Any) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "")


def _wrapped_activation_name(layer: Any) -> str:
    """Of an activation inside another object, as quantization-aware training puts it."""
    return activation_name(getattr(layer, "activation", None))


def _is_relu_layer(layer: Any) -> bool:
    """A ReLU layer proper: no slope below zero, no threshold."""
    return isinstance(layer, keras.layers.ReLU) and not (layer.negative_slope or layer.threshold)


def replaceable(layer: Any) -> bool:
    """Whether `twin_of` can replace the ReLU in it."""
    if _is_relu_layer(layer) or getattr(layer, "symbol", "") in _RELU_SYMBOLS:
        return True
    if type(layer).__name__ in _PLAIN_WRAPPERS:
        inner = layer.layer
        return replaceable(inner) and "activation" in vars(inner)
    return "activation" in vars(layer) and activation_name(layer) in RELU_NAMES


def holds_relu(layer: Any) -> bool:
    """Whether a ReLU is anywhere inside."""
    return any(
        _is_relu_layer(part)
        or activation_name(part) in RELU_NAMES
        or _wrapped_activation_name(part) in RELU_NAMES
        for part in layer._flatten_layers()
    )


def twin_of(layer: Any, relu: Relu) -> Callable[..., Any]:
    """What stands in for a layer with a ReLU: a function, or a shallow copy on the same weights."""
    if isinstance(layer, keras.layers.ReLU):
        return _limited(relu, layer.max_value)
    symbol = getattr(layer, "symbol", "")
    if symbol in _RELU_SYMBOLS:
        return _limited(relu, _RELU_SYMBOLS[symbol])
    twin = copy.copy(layer)
    # The TFLite converter leaves a `call` bound to the layer that was copied.
    vars(twin).pop("call", None)
    # Not by setattr: Keras would track the part as one more of the original's.
    if type(layer).__name__ in _PLAIN_WRAPPERS:
        vars(twin)["layer"] = twin_of(layer.layer, relu)
    else:
        vars(twin)["activation"] = _limited(relu, RELU_NAMES[activation_name(layer)])
    return twin


def _limited(relu: Relu, most: float | None) -> Callable[..., tf.Tensor]:
    """The ReLU with an upper limit; beyond it the slope is zero."""

    def function(x: tf.Tensor, *_: Any, **__: Any) -> tf.Tensor:
        y = relu(x)
        return y if most is None else tf.minimum(y, tf.cast(most, y.dtype))

    return function
