"""Maps of volumes in a `.tflite` file: tensors in which the planes of a sample are samples.

A 3-D convolution that was written as 2-D ones (`hsi.compress.planar`) takes the planes of
(n, rows, cols, depth, channels) one by one, as (n x rows, cols, depth, channels). Such a tensor
is a map of three axes all the same, and read as one of two it would be laid over the wrong axes of
the input. TensorFlow is not needed.
"""

from __future__ import annotations

from hsi.deploy.differentiable.flatbuffer import Graph

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
