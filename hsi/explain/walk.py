"""A walk through a `tf_keras` network, node by node on tensors, with stand-ins for its layers.

The walk calls the network's own layers on tensors, never on symbolic ones: weights are shared, and
the model does not notice. Models nested in the model are opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
import tf_keras as keras

from hsi.explain.frozen_norm import frozen, is_frozen_norm
from hsi.explain.one_position import is_one_position, quickest

StandIn = Callable[[str, Any], Callable[..., Any]]
"""Name of a node and its layer -> what is called in the place of the layer."""


def run(
    model: keras.Model,
    inputs: tf.Tensor,
    found: dict[str, Any] | None = None,
    *,
    stand_in: StandIn = lambda _, layer: layer,
    prefix: str = "",
) -> tf.Tensor:
    """The model's only output, of one evaluation in inference mode.

    Args:
        model: functional or sequential, with one input and one output.
        inputs: (n, ...) samples.
        found: its keys are names of layers; what these answer is put into it.
        stand_in: takes the place of layers.
        prefix: of the names, within a nested model.
    """
    found = {} if found is None else found
    values = {str(id(model.inputs[0])): _Held(tf.cast(inputs, model.inputs[0].dtype))}
    for name, node in named_nodes(model):
        if node.is_input or any(i not in values for i in node.flat_input_ids):
            continue
        args, kwargs = node.map_arguments(values)
        if opens(node):
            within = f"{prefix}{name}/"
            outputs = run(node.layer, args[0], found, stand_in=stand_in, prefix=within)
        else:
            if node.layer._expects_training_arg:
                kwargs["training"] = False
            layer = stand_in(prefix + name, node.layer)
            call = frozen(layer) if is_frozen_norm(layer) else quickest(layer, *args)
            outputs = call(*args, **kwargs)
            if prefix + name in found:
                found[prefix + name] = outputs
        for i, value in zip(node.flat_output_ids, tf.nest.flatten(outputs), strict=True):
            values[i] = _Held(value)
    return values[str(id(model.outputs[0]))].pop()


class _Held:
    """A value that may be taken as often as it is needed (a node takes its inputs by `pop`)."""

    def __init__(self, value: tf.Tensor) -> None:
        self._value = value

    def pop(self) -> tf.Tensor:
        return self._value


def named_nodes(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Nodes of this model alone in the order of execution, with the names that layers go by."""
    seen: dict[str, int] = {}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            name = getattr(node.layer, "stands_for", node.layer.name)
            if not node.is_input and not isinstance(node.outputs, list | tuple | dict):
                seen[name] = times = seen.get(name, 0) + 1
                name = name if times == 1 else f"{name}#{times}"
            yield name, node


def all_nodes(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, node) of every layer with one output, nested models opened, inputs left out."""
    for name, node in named_nodes(model):
        if node.is_input or isinstance(node.outputs, list | tuple | dict):
            continue
        if opens(node):
            yield from all_nodes(node.layer, f"{prefix}{name}/")
        else:
            yield prefix + name, node


def opens(node: Any) -> bool:
    """Whether the node is a nested model that can be walked through."""
    layer = node.layer
    return (
        isinstance(layer, keras.Model)
        and getattr(layer, "_is_graph_network", False)
        and len(node.keras_inputs) == len(layer.inputs) == len(layer.outputs) == 1
    )


def is_quicker(network: Any) -> bool:
    """Whether the walk is quicker than the network: by `one_position` or `frozen_norm`."""
    return getattr(network, "_is_graph_network", False) and any(
        is_frozen_norm(node.layer) or is_one_position(node.layer, tuple(node.keras_inputs[0].shape))
        for _, node in all_nodes(network)
    )
