"""A model as the list of its layer calls: read from its graph, and built again from one.

The only place that knows how tf_keras stores a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.errors import ModelError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Place:
    """Stands for the tensor `inputs[index]` of a call among the call's arguments."""

    index: int


@dataclass(frozen=True)
class Call:
    """One application of one layer; a layer that is called twice has two.

    Attributes:
        name: the layer's name, unique in the network with nested models opened.
        inputs, outputs: keys of tensors.
        input_shapes, output_shapes: without the batch axis.
        plain: whether its inputs are its first argument, and it has no other without a name (so
            that channels can be followed through it).
        args, kwargs: all that the layer is called with, a `Place` for each tensor of `inputs`.
    """

    name: str
    layer: keras.layers.Layer
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]
    plain: bool = True
    args: tuple[Any, ...] = (Place(0),)
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def listed(self) -> bool:
        """Whether the layer takes its inputs as a list."""
        return bool(self.args) and isinstance(self.args[0], list | tuple)

    def apply(self, layer: Callable[..., Any], tensors: Sequence[Any]) -> list[Any]:
        """Call a layer as this call does its own, with `tensors` for `inputs`.

        Returns:
            One tensor for each of `outputs`.
        """
        args, kwargs = tf.nest.map_structure(
            lambda value: tensors[value.index] if isinstance(value, Place) else value,
            (self.args, dict(self.kwargs)),
        )
        return list(tf.nest.flatten(layer(*args, **kwargs)))


@dataclass(frozen=True)
class CallGraph:
    """A model as a list of calls, nested models opened.

    Attributes:
        inputs: (input layer, tensor key) of each input.
        outputs: tensor keys.
        tensors: tensor key -> the Keras tensor; those inside a nested model belong to its graph.
    """

    name: str
    inputs: tuple[tuple[keras.layers.Layer, int], ...]
    calls: tuple[Call, ...]
    outputs: tuple[int, ...]
    tensors: Mapping[int, Any]


def walk(model: keras.Model) -> CallGraph:
    """The calls of a functional or sequential model, nested models opened.

    A layer in a nested model keeps its name where that is free, else the nested model's name
    goes before it.

    Raises:
        ModelError: the model is no graph of layers (subclassed, or without an input shape).
    """
    walker = _Walker()
    tensors = {id(tensor): walker.key() for tensor in _graph(model).inputs}
    inputs = tuple((tensor.node.layer, tensors[id(tensor)]) for tensor in model.inputs)
    # The model's own layers have the first claim to their names, whatever is visited first.
    own = [layer for layer in model.layers if not isinstance(layer, keras.Model)]
    walker.names.update({id(layer): layer.name for layer in own})
    outputs = walker.visit(model, tensors, prefix="", training=None)
    walker.tensors.update({tensors[id(tensor)]: tensor for tensor in model.inputs})
    return CallGraph(model.name, inputs, tuple(walker.calls), outputs, walker.tensors)


def replay(
    graph: CallGraph,
    layers: Mapping[str, Callable[..., Any]],
    *,
    masks: Mapping[int, np.ndarray] | None = None,
) -> keras.Model:
    """Build a model by calling `layers` (by name) where the network called its own.

    Args:
        masks: tensor key -> factors along the last axis, to put on that tensor.
    """
    tensors: dict[int, Any] = {}
    for layer, key in graph.inputs:
        tensors[key] = keras.layers.InputLayer.from_config(layer.get_config()).output
    inputs = [tensors[key] for _, key in graph.inputs]
    for call in graph.calls:
        made = call.apply(layers[call.name], [tensors[key] for key in call.inputs])
        for key, tensor in zip(call.outputs, made, strict=True):
            if masks and key in masks:
                mask = keras.layers.Rescaling(masks[key].tolist(), name=f"{call.name}_mask_{key}")
                tensor = mask(tensor)
            tensors[key] = tensor
    outputs = [tensors[key] for key in graph.outputs]
    single_in, single_out = len(inputs) == 1, len(outputs) == 1
    return keras.Model(
        inputs[0] if single_in else inputs, outputs[0] if single_out else outputs, name=graph.name
    )


def copy_layer(
    layer: keras.layers.Layer, name: str, changes: Mapping[str, Any] | None = None
) -> keras.layers.Layer:
    """A new, unbuilt layer of the same configuration, but for `changes`."""
    config = {**layer.get_config(), **(changes or {}), "name": name}
    if "activation" in config:
        config["activation"] = layer.activation  # the function itself: custom ones have no name
    return type(layer).from_config(config)


class _Walker:
    """Collects calls over a model and the models inside it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.names: dict[int, str] = {}
        self.tensors: dict[int, Any] = {}
        self._keys = 0

    def key(self) -> int:
        self._keys += 1
        return self._keys - 1

    def visit(
        self, model: keras.Model, tensors: dict[int, int], *, prefix: str, training: bool | None
    ) -> tuple[int, ...]:
        """Add the calls of a model whose input tensors have keys; return its outputs' keys."""
        depths = model._nodes_by_depth
        for node in (node for depth in sorted(depths, reverse=True) for node in depths[depth]):
            if node.is_input:
                continue
            inputs = tuple(tensors[id(tensor)] for tensor in node.keras_inputs)
            args, kwargs = _arguments(node)
            mode = _training(node, args, kwargs)
            if isinstance(node.layer, keras.Model):
                inner = _graph(node.layer)
                feed = dict(zip(map(id, inner.inputs), inputs, strict=True))
                outputs = self.visit(
                    inner,
                    feed,
                    prefix=f"{prefix}{inner.name}_",
                    training=training if mode is None else mode,
                )
            else:
                takes = mode is None and node.layer._call_spec.expects_training_arg
                if training is not None and takes:
                    kwargs["training"] = training
                outputs = self._call(node, inputs, prefix, args, kwargs)
            tensors.update(zip(map(id, tf.nest.flatten(node.outputs)), outputs, strict=True))
        return tuple(tensors[id(tensor)] for tensor in model.outputs)

    def _call(
        self,
        node: Any,
        inputs: tuple[int, ...],
        prefix: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[int, ...]:
        layer = node.layer
        if id(layer) not in self.names:
            taken = set(self.names.values())
            self.names[id(layer)] = prefix + layer.name if layer.name in taken else layer.name
        made = tf.nest.flatten(node.outputs)
        outputs = tuple(self.key() for _ in made)
        self.tensors.update(zip(outputs, made, strict=True))
        self.calls.append(
            Call(
                self.names[id(layer)],
                layer,
                inputs,
                outputs,
                tuple(tuple(tensor.shape[1:]) for tensor in node.keras_inputs),
                tuple(tuple(tensor.shape[1:]) for tensor in made),
                plain=len(args) == 1 and len(tf.nest.flatten(args[0])) == len(inputs),
                args=args,
                kwargs=kwargs,
            )
        )
        return outputs


def _arguments(node: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a layer was called with, a `Place` for each tensor; named None are left out."""
    places = count()
    args, values = tf.nest.map_structure(
        lambda value: Place(next(places)) if hasattr(value, "_keras_history") else value,
        (tuple(node.call_args), tuple(node.call_kwargs.values())),  # the order of keras_inputs
    )
    named = zip(node.call_kwargs, values, strict=True)
    return args, {name: value for name, value in named if value is not None}


def _training(node: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The mode that a call asks for, by name or by place; None where it leaves it open."""
    spec = node.layer._call_spec
    if not spec.arg_was_passed("training", args, kwargs, inputs_in_args=True):
        return None
    return spec.get_arg_value("training", args, kwargs, inputs_in_args=True)


def _graph(model: keras.Model) -> keras.Model:
    if not isinstance(model, keras.Model) or not getattr(model, "_is_graph_network", False):
        raise ModelError(
            f"{getattr(model, 'name', model)!r}: expected a functional or sequential tf_keras "
            "model with a known input shape, got one whose layers form no graph."
        )
    return model
