"""Which axis of a feature map holds the channels, for layers that do not have them last.

A convolution says it by its `data_format`; what follows it (batch norm, activations, additions)
does not, and keeps the order that it is given. So the axis is followed through the network, from
layer to layer and into nested models. The network's own input has its channels last.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
import tf_keras as keras

from hsi.explain.walk import named_nodes, opens

_ANEW = (
    keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Flatten,
    keras.layers.MultiHeadAttention, keras.layers.RepeatVector, keras.layers.Reshape,
)  # fmt: skip
"""Layers whose answers have their channels last, whatever they read."""


AS_GIVEN = 0
"""The axis in the network's input: the last, unless a layer reads it as another."""


@dataclass(frozen=True)
class ChannelAxes:
    """Where the channels of a network's layers are.

    Attributes:
        axes: name of each layer that has them elsewhere than last -> their axis in its output,
            samples counted as 0.
        against: layers that take another axis of the network's input for the channels than its
            last: what they answer has other places than the input.
    """

    axes: dict[str, int] = field(default_factory=dict)
    against: list[str] = field(default_factory=list)


def channel_axes(model: keras.Model) -> ChannelAxes:
    """The axes in a functional or sequential model."""
    found = ChannelAxes()
    _follow(model, AS_GIVEN, found)
    return found


def own_axis(layer: Any, rank: int) -> int | None:
    """The axis of the channels that a layer itself names, in what it reads or answers.

    Args:
        layer: also one in a wrapper, such as TimeDistributed.
        rank: of the tensor, samples included.

    Returns:
        None for the last, and for layers that do not say it.
    """
    layer = _innermost(layer)
    sizes = _spatial(layer)
    if getattr(layer, "data_format", None) != "channels_first" or not sizes:
        return None
    return rank - sizes - 1 if rank - sizes - 1 > 0 else None


def moved(shape: tuple[int | None, ...], axis: int | None) -> tuple[int | None, ...]:
    """The shape of a sample with its channels last; `axis` counts the samples' axis too."""
    if axis is None:
        return shape
    return (*shape[: axis - 1], *shape[axis:], shape[axis - 1])


def restored(shape: tuple[int | None, ...], axis: int | None) -> tuple[int | None, ...]:
    """What `moved` was given."""
    if axis is None:
        return shape
    return (*shape[: axis - 1], shape[-1], *shape[axis - 1 : -1])


def through_channels_last(
    call: Callable[..., tf.Tensor], axis: int, keep: Callable[[tf.Tensor], None]
) -> Callable[..., tf.Tensor]:
    """The layer, whose answer goes on by way of one with the channels last, which is kept.

    By way of it, so that there is a slope of the logits with respect to what is kept.
    """

    def called(*args: Any, **kwargs: Any) -> tf.Tensor:
        answer = call(*args, **kwargs)
        order = [i for i in range(answer.shape.rank) if i != axis] + [axis]
        last = tf.transpose(answer, order)
        keep(last)
        return tf.transpose(last, [order.index(i) for i in range(len(order))])

    return called


def _follow(
    model: keras.Model, axis: int | None, found: ChannelAxes, prefix: str = ""
) -> int | None:
    """Put the axes within a model into `found`, of an input with this one; returns the output's."""
    known = {id(model.inputs[0]): axis}
    for name, node in named_nodes(model):
        if node.is_input or isinstance(node.outputs, list | tuple | dict):
            continue
        reads = [(len(t.shape), known.get(id(t))) for t in node.keras_inputs]
        if opens(node):
            answer = _follow(node.layer, reads[0][1], found, f"{prefix}{name}/")
        else:
            answer = _answered(node, reads)
            if answer:
                found.axes[prefix + name] = answer
            if reads[0][1] == AS_GIVEN and own_axis(node.layer, reads[0][0]) is not None:
                found.against.append(prefix + name)
        known[id(node.outputs)] = answer
    return known.get(id(model.outputs[0]))


def _answered(node: Any, reads: list[tuple[int, int | None]]) -> int | None:
    """The axis in a layer's output, from rank and axis of each of its inputs; None for the last."""
    layer, rank = _innermost(node.layer), len(node.outputs.shape)
    if rank < 3 or isinstance(layer, _ANEW) or _function(layer) == "reshape":
        return None
    order = _order(node, layer, rank)
    if order is not None:
        at = order.index(reads[0][1] or rank - 1)
        return None if at == rank - 1 else at
    if _spatial(layer) and not isinstance(layer, keras.layers.Dropout):
        return own_axis(layer, rank)
    kept = [axis for size, axis in reads if size == rank and axis is not None]
    return max(kept, default=None)


def _order(node: Any, layer: Any, rank: int) -> list[int] | None:
    """Which axis of the input each axis of the output is, for a layer that only moves axes."""
    if isinstance(layer, keras.layers.Permute):
        return [0, *layer.dims]
    if _function(layer) != "transpose":
        return None
    given = node.call_kwargs.get("perm", node.call_args[1] if len(node.call_args) > 1 else None)
    return list(range(rank))[::-1] if given is None else [int(axis) % rank for axis in given]


def _function(layer: Any) -> str:
    """The TensorFlow function that a layer calls, such as "transpose"; "" for other layers."""
    return str(getattr(layer, "symbol", "")).split(".")[-1]


def _innermost(layer: Any) -> Any:
    while isinstance(layer, keras.layers.Wrapper):
        layer = layer.layer
    return layer


def _spatial(layer: Any) -> int:
    """How many axes of places a layer goes along, as the name of its kind says; 0 for none."""
    if not hasattr(layer, "data_format"):
        return 0
    names = (re.search(r"([123])D", kind.__name__) for kind in type(layer).__mro__)
    return next((int(name[1]) for name in names if name), 0)
