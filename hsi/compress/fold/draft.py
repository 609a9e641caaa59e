"""A network while its layers are exchanged: the list of its calls, and edits of that list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Call, CallGraph, Shape, copy_layer, replay, walk
from hsi.errors import ModelError

Layer: TypeAlias = keras.layers.Layer


class Draft:
    """The calls of a model; edits leave the model as it is, `model` builds the edited one.

    Attributes:
        calls: in an order in which they can be made.

    Raises:
        ModelError: the model is no graph of layers, or a layer takes more than tensors from it.
    """

    def __init__(self, model: keras.Model) -> None:
        self._graph = walk(model)
        self.calls = list(self._graph.calls)
        self._inputs = list(self._graph.inputs)
        self._outputs = list(self._graph.outputs)
        for call in self.calls:
            if not call.plain or len(call.outputs) != 1:
                raise ModelError(
                    f"layer {call.name!r} of type {type(call.layer).__name__} takes or gives more "
                    "than one set of tensors, so the network cannot be built again around it."
                )
        used = [key for call in self.calls for key in (*call.inputs, *call.outputs)]
        self._next = max([*used, *(key for _, key in self._inputs)], default=-1) + 1

    def once(self, call: Call) -> bool:
        """Whether the layer is called once: the weights of shared layers are not changed."""
        return sum(other.name == call.name for other in self.calls) == 1

    def reader(self, call: Call) -> Call | None:
        """The one call that reads this call's output alone; None if others, or the user, do."""
        (key,) = call.outputs
        found = [other for other in self.calls if key in other.inputs]
        alone = len(found) == 1 and found[0].inputs == (key,) and key not in self._outputs
        return found[0] if alone else None

    def source(self, call: Call) -> Call | None:
        """The call whose output this one reads, where nobody else reads it."""
        made = [other for other in self.calls if call.inputs == other.outputs]
        return made[0] if made and self.reader(made[0]) is call else None

    def ends(self) -> list[Call]:
        """The calls that make the model's outputs."""
        return [call for call in self.calls if call.outputs[0] in self._outputs]

    def free(self, name: str) -> str:
        """The name, or with a number after it where a layer has it."""
        taken = {call.name for call in self.calls} | {layer.name for layer, _ in self._inputs}
        number = 2
        free = name
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        return free

    def exchange(self, old: Sequence[Call], new: Sequence[Layer]) -> list[Call]:
        """Put built layers where a chain of calls was; without layers the chain is left out."""
        start, (end,) = old[0].inputs, old[-1].outputs
        where = self.calls.index(old[-1])
        made = self._chained(start[0], new, old[0].input_shapes[0], end)
        if not new:
            self._rename(end, start[0])
        self.calls[where : where + 1] = made
        self.calls = [call for call in self.calls if not any(call is gone for gone in old)]
        if not new:
            self.calls = [_reading(call, end, start[0]) for call in self.calls]
        return made

    def put_in_front(self, shape: Shape, new: Sequence[Layer]) -> list[Call]:
        """Built layers before the only input, which then has this shape (without batch axis)."""
        ((layer, key),) = self._inputs
        first = keras.layers.InputLayer(input_shape=shape, name=layer.name, dtype=layer.dtype)
        start = self._key()
        made = self._chained(start, new, shape, key)
        self._inputs = [(first, start)]
        self.calls[:0] = made
        return made

    def model(self) -> keras.Model:
        """The edited network, with new layers; it is not compiled."""
        layers: dict[str, Layer] = {}
        weights: dict[str, list[np.ndarray]] = {}
        for call in self.calls:
            if call.name not in layers:
                layers[call.name] = copy_layer(call.layer, call.name)
                weights[call.name] = call.layer.get_weights()
        graph = CallGraph(
            self._graph.name, tuple(self._inputs), tuple(self.calls), tuple(self._outputs), {}
        )
        model = replay(graph, layers)
        for name, values in weights.items():
            layers[name].set_weights(values)
        return model

    @property
    def input_shapes(self) -> list[Shape]:
        """Without the batch axis."""
        return [tuple(_shape(layer)[1:]) for layer, _ in self._inputs]

    def _chained(self, start: int, new: Sequence[Layer], shape: Shape, end: int) -> list[Call]:
        made = []
        for position, layer in enumerate(new):
            out = tuple(layer.compute_output_shape((None, *shape)))[1:]
            key = end if position == len(new) - 1 else self._key()
            made.append(Call(layer.name, layer, (start,), (key,), (shape,), (out,)))
            start, shape = key, out
        return made

    def _rename(self, old: int, new: int) -> None:
        self._outputs = [new if key == old else key for key in self._outputs]

    def _key(self) -> int:
        self._next += 1
        return self._next - 1


def made(
    layer: Layer,
    name: str,
    shape: Shape,
    weights: Sequence[np.ndarray],
    *,
    changes: Mapping[str, Any] | None = None,
    activation: Any = None,
) -> Layer:
    """A built layer like this one but for `changes`, with these weights.

    Args:
        shape: of its input, without the batch axis.
        activation: instead of the layer's own, where it has one.
    """
    new = copy_layer(layer, name, changes)
    if activation is not None:
        new.activation = activation
    return filled(new, shape, weights)


def filled(layer: Layer, shape: Shape, weights: Sequence[np.ndarray]) -> Layer:
    """The layer, built for inputs of this shape (without the batch axis), with these weights."""
    layer.build((None, *shape))
    layer.set_weights(weights)
    return layer


def _shape(layer: Layer) -> tuple[int | None, ...]:
    """(batch, ...) of an input layer; a list of one where the model was loaded from a file."""
    shape = layer.output_shape
    return shape[0] if isinstance(shape, list) else shape


def _reading(call: Call, old: int, new: int) -> Call:
    return replace(call, inputs=tuple(new if key == old else key for key in call.inputs))
