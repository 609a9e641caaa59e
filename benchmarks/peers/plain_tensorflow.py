"""The networks in TensorFlow operations, which the reference and the hand-written functions run."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from common import Network, weights_of

Relu = Callable[[tf.Tensor], tf.Tensor]
Forward = Callable[..., tuple[tf.Tensor, dict[str, tf.Tensor]]]


def forward_of(network: Network, dtype: str = "float32") -> Forward:
    """A function: inputs and the ReLU to use -> logits and the outputs of the convolutions."""
    weights = [(tf.constant(k, dtype), tf.constant(b, dtype)) for k, b in weights_of(network)]

    def forward(x: tf.Tensor, relu: Relu = tf.nn.relu) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        waiting, maps = iter(weights), {}
        for layer in network.layers:
            if layer.kind == "pool":
                x = tf.nn.max_pool2d(x, 2, 2, "VALID")
            elif layer.kind == "flatten":
                x = tf.reshape(x, (tf.shape(x)[0], x.shape[1] * x.shape[2] * x.shape[3]))
            else:
                kernel, bias = next(waiting)
                if layer.kind == "conv":
                    x = tf.nn.conv2d(x, kernel, 1, network.padding.upper())
                else:
                    x = tf.matmul(x, kernel)
                x = tf.nn.bias_add(x, bias)
                x = relu(x) if layer.relu else x
                maps[layer.name] = x
        return x, maps

    return forward


@tf.custom_gradient
def guided_relu(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """A ReLU that lets back what is positive, where it is positive (Springenberg 2015)."""
    return tf.nn.relu(x), lambda above: tf.where((x > 0) & (above > 0), above, 0)
