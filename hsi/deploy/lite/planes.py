"""Maps of volumes in a `.tflite` file: tensors in which the planes of a sample are samples.

A 3-D convolution that was written as 2-D ones (`hsi.compress.planar`) takes the planes of
(n, rows, cols, depth, channels) one by one, as (n x rows, cols, depth, channels). Such a tensor
is a map of three axes all the same, and read as one of two it would be laid over the wrong axes of
the input. TensorFlow is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hsi.deploy.differentiable.flatbuffer import Graph, Operator

_WHOLE, _PLANES = 5, 4
"""Axes of a volume, with samples and channels, and of its planes."""


def rows_of(graph: Graph) -> dict[int, int]:
    """Number of each tensor of planes -> how many planes of it are one sample."""
    found: dict[int, int] = {}
    for operator in graph.operators:
        rows = {found[i] for i in operator.inputs if i in found}
        if operator.kind == "RESHAPE":
            before, after = (
                graph.tensors[i].shape for i in (operator.inputs[0], operator.outputs[0])
            )
            if len(before) == _WHOLE and before[2:] == after[1:]:
                rows = {before[1]}
            elif before[1:] != after[1:]:
                rows = set()
        if len(rows) == 1:
            planes = [i for i in operator.outputs if len(graph.tensors[i].shape) == _PLANES]
            found.update(dict.fromkeys(planes, rows.pop()))
    return found


@dataclass(frozen=True)
class Across:
    """What a convolution of planes sees along the axis whose planes are samples.

    Attributes:
        kernel: extent, with dilation.
        stride: step.
        before: padding before the first plane.
        size: planes of the map that it reads.
    """

    kernel: int
    stride: int
    before: int
    size: int


def across(graph: Graph, source: int, rows: Mapping[int, int]) -> Across | None:
    """The window along its planes of a convolution that reads this tensor; None where it has none.

    Its taps along them are shifted copies of the map, put behind each other as channels.

    Args:
        rows: `rows_of` the graph.
    """
    made_by = {i: op for op in graph.operators for i in op.outputs}
    whole = made_by.get(source)
    if whole is None or whole.kind != "RESHAPE":
        return None
    joined = made_by.get(whole.inputs[0])
    shifted = [whole.inputs[0]]
    if joined is not None and joined.kind == "CONCATENATION":
        shifted = list(joined.inputs)
    cuts = [_cut(graph, made_by, i) for i in shifted]
    if len({index for index, _, _ in cuts}) != 1:
        return None
    source, before = cuts[0][0], 0
    padding = made_by.get(source)
    if padding is not None and padding.kind == "PAD":
        amounts = graph.tensors[padding.inputs[1]].data
        if amounts is not None and not np.delete(np.reshape(amounts, (-1, 2)), 1, axis=0).any():
            source, before = padding.inputs[0], int(np.reshape(amounts, (-1, 2))[1, 0])
    begins = [begin for _, begin, _ in cuts]
    return Across(
        kernel=max(begins) - min(begins) + 1,
        stride=cuts[0][2],
        before=before - min(begins),
        size=rows.get(source, graph.tensors[source].shape[1]),
    )


def _cut(graph: Graph, made_by: dict[int, Operator], tensor: int) -> tuple[int, int, int]:
    """(what a shifted copy is cut out of, its first plane, its step)."""
    index, stride = _every(made_by, tensor)
    operator = made_by.get(index)
    if operator is not None and operator.kind == "STRIDED_SLICE":
        begin = graph.tensors[operator.inputs[1]].data
        if begin is not None:
            return operator.inputs[0], int(np.reshape(begin, -1)[1]), stride
    return index, 0, stride


_EVERY = ("TRANSPOSE", "RESHAPE", "MAX_POOL_2D", "RESHAPE", "TRANSPOSE")
"""Operators, from the last to the first, that take every so many planes by a pool of one value."""


def _every(made_by: dict[int, Operator], tensor: int) -> tuple[int, int]:
    """(the tensor before them, their step); the tensor itself and 1 where they are not there."""
    index, stride = tensor, 1
    for kind in _EVERY:
        operator = made_by.get(index)
        if operator is None or operator.kind != kind:
            return tensor, 1
        if kind == "MAX_POOL_2D":
            sides = [operator.options.get(f"filter{side}") or 1 for side in ("Height", "Width")]
            if sides != [1, 1]:
                return tensor, 1
            stride = int(operator.options.get("strideH") or 1)
        index = operator.inputs[0]
    return index, stride
