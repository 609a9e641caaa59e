"""Which axis of a feature map holds the channels, for layers that do not have them last.

A convolution says it by its `data_format`; what follows it (batch norm, activations, additions)
does not, and keeps the order that it is given. So the axis is followed through the network, from
layer to layer and into nested models. The network's own input has its channels last, unless the
layers that read it, turned or as it is, take another of its axes for them.
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


Order = tuple[int, ...]
"""The axes of the network's input, in the order in which a tensor that only holds them has them."""

Channels = int | None | Order
"""Where the channels of a tensor are: an axis, the last (None), or not said yet by any layer."""


@dataclass(frozen=True)
class ChannelAxes:
    """Where the channels of a network's layers are.

    Attributes:
        axes: name of each layer that has them elsewhere than last -> their axis in its output,
            samples counted as 0.
        taken: name of each layer that says which axis of the network's input it takes for the
            channels -> that axis, and the last.
    """

    axes: dict[str, int] = field(default_factory=dict)
    taken: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def against(self) -> tuple[str, Order] | None:
        """A layer to which the last axis of the input is none of channels: its places are others.

        Returns:
            Its name, and the `Permute` that makes what it takes of samples with channels last; None
            where a layer takes the last axis, or none says.
        """
        if any(axis == last for axis, last in self.taken.values()):
            return None
        return next(((n, turned_from_last(*found)) for n, found in self.taken.items()), None)


def channel_axes(model: keras.Model) -> ChannelAxes:
    """The axes in a functional or sequential model."""
    found = ChannelAxes()
    _follow(model, tuple(range(len(model.inputs[0].shape))), found)
    return found


def turned_from_last(axis: int, last: int) -> Order:
    """What `Permute` takes to bring the channels of samples from the last axis to another.

    Example:
        >>> turned_from_last(1, 3), turned_from_last(2, 3)
        ((3, 1, 2), (1, 3, 2))
    """
    return (*range(1, axis), last, *range(axis, last))


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
    model: keras.Model, channels: Channels, found: ChannelAxes, prefix: str = ""
) -> Channels:
    """Put the axes within a model into `found`, of an input with these; returns the output's."""
    known = {id(model.inputs[0]): channels}
    for name, node in named_nodes(model):
        if node.is_input or isinstance(node.outputs, list | tuple | dict):
            continue
        reads = [(len(t.shape), known.get(id(t))) for t in node.keras_inputs]
        if opens(node):
            answer = _follow(node.layer, reads[0][1], found, f"{prefix}{name}/")
        else:
            answer, (rank, given) = _answered(node, reads), reads[0]
            axis = answer.index(len(answer) - 1) if isinstance(answer, tuple) else answer
            if axis is not None and axis != len(node.outputs.shape) - 1:
                found.axes[prefix + name] = axis
            if isinstance(given, tuple) and given[0] == 0 and _says(node.layer):
                last = len(given) - 1
                found.taken[prefix + name] = (given[own_axis(node.layer, rank) or last], last)
        known[id(node.outputs)] = answer
    return known.get(id(model.outputs[0]))


def _answered(node: Any, reads: list[tuple[int, Channels]]) -> Channels:
    """Where they are in a layer's output, from rank and channels of each of its inputs."""
    layer, rank = _innermost(node.layer), len(node.outputs.shape)
    if rank < 3 or isinstance(layer, _ANEW) or _function(layer) == "reshape":
        return None
    order = _order(node, layer, rank)
    if order is not None:
        given = reads[0][1]
        if isinstance(given, tuple):
            return tuple(given[axis] for axis in order)
        at = order.index(given or rank - 1)
        return None if at == rank - 1 else at
    if _says(layer):
        return own_axis(layer, rank)
    kept = [channels for size, channels in reads if size == rank and channels is not None]
    said = [channels for channels in kept if isinstance(channels, int)]
    return max(said) if said else next(iter(kept), None)


def _says(layer: Any) -> bool:
    """Whether a layer goes along places, so that it says where the channels are."""
    layer = _innermost(layer)
    return bool(_spatial(layer)) and not isinstance(layer, keras.layers.Dropout)


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
