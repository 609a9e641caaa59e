"""The kernels that make channels, and values per channel drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import tf_keras as keras

from hsi.compress.calls import walk
from hsi.compress.criteria.probes import average, per_channel
from hsi.compress.graph import Group
from hsi.compress.layers import SeparableConvolution, TransposedConvolution, rule_for
from hsi.compress.weights import kernel_layers

Layer: TypeAlias = keras.layers.Layer


def producing_kernel(layer: Layer) -> tuple[Any, int]:
    """The kernel (a variable) that makes a layer's outputs, and the axis they lie along.

    Of a separable convolution it is the pointwise one: its depthwise one filters the inputs.
    """
    rule = rule_for(layer)
    if isinstance(rule, SeparableConvolution):
        return layer.pointwise_kernel, -1
    return layer.kernel, -2 if isinstance(rule, TransposedConvolution) else -1


def filters(layer: Layer) -> np.ndarray:
    """The weights that make each output: (outputs, weights) float64, biases not among them."""
    kernel, axis = producing_kernel(layer)
    outputs_first = np.moveaxis(kernel.numpy().astype(float), axis, 0)
    return outputs_first.reshape(len(outputs_first), -1)


def over_producers(
    model: keras.Model, groups: Sequence[Group], value: Callable[[Layer], np.ndarray]
) -> dict[str, np.ndarray]:
    """Group name -> (channels,) float64: the mean of its producers' values for each channel.

    Args:
        value: (outputs,) of a producing layer, one for each of its outputs.
    """
    layers = {call.name: call.layer for call in walk(model).calls}
    return {
        group.name: average(
            [
                per_channel(
                    value(layers[producer.layer]),
                    np.array(producer.channels),
                    np.arange(group.channels),
                )
                for producer in group.producers
            ]
        )
        for group in groups
    }


def weight_kernels(model: keras.Model) -> dict[str, Any]:
    """Layer name -> the kernel (a variable) whose single weights are scored and pruned.

    Those of convolutions of any rank, transposed ones too, and of dense layers (see
    `hsi.compress.weights.kernel_layers`); not of depthwise and separable convolutions.
    """
    return {name: layer.kernel for name, layer in kernel_layers(model).items()}
