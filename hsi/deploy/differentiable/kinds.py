"""What can be said of a graph before it runs: number format, constants, names of layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hsi.deploy.differentiable.flatbuffer import Graph, Tensor

WEIGHTED: dict[str, int] = {
    "CONV_2D": 1,
    "CONV_3D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "FULLY_CONNECTED": 1,
    "TRANSPOSE_CONV": 1,
}
"""Operators with weights, and which of their inputs these are."""
_UNFOLDED = ("DEQUANTIZE", "DENSIFY")


@dataclass(frozen=True)
class Layer:
    """One output of one operator, in the order of execution.

    Attributes:
        name: of the tensor, as `DifferentiableModel.tensors` has it.
        kind: the operator's builtin name.
        shape: of the output; None for the batch and whatever else is free.
        keras_layers: the Keras layers whose names the converter left in the operator's weights
            and output, the weights' first; empty in files that name tensors otherwise.
        tensor: its number in the file.
        operator: the operator's number in the file.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    keras_layers: tuple[str, ...]
    tensor: int
    operator: int


def kind_of(graph: Graph) -> str:
    """float32, float16, dynamic, int8, int16x8, uint8 or mixed, by how weighted operators compute.

    A file that calls itself int8 and computes a layer in float (3-D convolutions, for one) is
    mixed. Small layers that a dynamic-range file keeps in float do not change what it is.
    """
    made_from = {
        op.outputs[0]: op.inputs[0]
        for op in graph.operators
        if op.kind in _UNFOLDED and op.inputs and op.outputs
    }
    found, stored = set(), set()
    for operator in graph.operators:
        place = WEIGHTED.get(operator.kind)
        if place is None or len(operator.inputs) <= place:
            continue
        sample = 2 if operator.kind == "TRANSPOSE_CONV" else 0
        index = operator.inputs[place]
        stored.add(_stored(graph, index, made_from).dtype)
        x, weights = graph.tensors[operator.inputs[sample]], graph.tensors[index]
        found.add(x.dtype if x.quantized and weights.quantized else "float")
    integers = found - {"float"}
    if integers:
        names = {"int16": "int16x8"}
        only = next(iter(integers))
        return names.get(only, only) if len(found) == 1 else "mixed"
    if stored & {"int8", "int4", "uint8"}:
        return "dynamic"
    return "float16" if "float16" in stored else "float32"


def _stored(graph: Graph, index: int, made_from: dict[int, int]) -> Tensor:
    """The constant behind DEQUANTIZE and DENSIFY."""
    for _ in range(len(_UNFOLDED)):
        index = made_from.get(index, index)
    return graph.tensors[index]


def fold(graph: Graph) -> Graph:
    """The graph with DEQUANTIZE and DENSIFY of constants done once, beforehand."""
    known: dict[int, np.ndarray] = {}
    kept: dict[int, Tensor] = {}
    for operator in graph.operators:
        if operator.kind not in _UNFOLDED or len(operator.inputs) != 1:
            continue
        source = kept.get(operator.inputs[0], graph.tensors[operator.inputs[0]])
        if source.data is None or len(operator.outputs) != 1:
            continue
        target = operator.outputs[0]
        if operator.kind == "DENSIFY":
            kept[target] = source
        if source.quantized and source.quantization and operator.kind == "DEQUANTIZE":
            known[target] = source.quantization.real(source.data)
        elif operator.kind == "DEQUANTIZE":
            known[target] = source.data.astype(np.float32)
    return graph.with_constants(known, kept)


def keras_names(names: Iterable[str]) -> tuple[str, ...]:
    """Layers in names such as `cao/conv_1/Relu;cao/conv_1/BiasAdd`, where fused ones are joined.

    A part names its model, nested models, the layer, and the layer's operation.
    """
    found: list[str] = []
    for name in names:
        for part in re.split(";", name):
            path = part.split("/")
            if len(path) >= 2 and path[-2] not in found:
                found.append(path[-2])
    return tuple(found)


def layers_of(graph: Graph, names: Sequence[str]) -> tuple[Layer, ...]:
    """The outputs of all operators that compute something; `names` are the tensors'."""
    tensors, found = graph.tensors, []
    for operator in graph.operators:
        weights = [
            tensors[i].name
            for i in operator.inputs[1:]
            if i >= 0 and operator.kind in WEIGHTED and tensors[i].data is not None
        ]
        for index in operator.outputs:
            tensor = tensors[index]
            if tensor.data is None:
                layers = keras_names([*weights, tensor.name])
                row = (names[index], operator.kind, free_shape(tensor), layers)
                found.append(Layer(*row, index, operator.index))
    return tuple(found)


def free_shape(tensor: Tensor) -> tuple[int | None, ...]:
    """A recorded shape with None for the batch and for what the file leaves free."""
    sizes = zip(tensor.shape, tensor.signature, strict=True)
    return tuple(None if i == 0 or s < 0 or n < 0 else n for i, (n, s) in enumerate(sizes))


def unique_names(graph: Graph) -> tuple[str, ...]:
    """Names of all tensors; where one is empty or taken, its number is added."""
    found: list[str] = []
    taken = {""}
    for tensor in graph.tensors:
        name = f"{tensor.name}#{tensor.index}" if tensor.name in taken else tensor.name
        taken.add(name)
        found.append(name)
    return tuple(found)
