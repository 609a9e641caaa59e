"""What a convolution of a `.tflite` file sees at once, on every axis of its map.

Kernel, steps and padding stand in the operator, in the blocks of pixels that a dilation was written
as, and of planes (`hsi.deploy.lite.planes`) in the operators before it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hsi.deploy.differentiable.flatbuffer import Graph, Operator
from hsi.deploy.lite.planes import across
from hsi.deploy.lite.steps import Step
from hsi.explain.layered import Window

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D")

Shapes = dict[int, tuple[int | None, ...]]
"""Number of a tensor -> its shape for one sample, channels last; None where a size is free."""


def window_of(graph: Graph, step: Step, shapes: Shapes, rows: Mapping[int, int]) -> Window | None:
    """Of the first convolution of the step; None where sizes are free or axes do not match.

    Args:
        rows: `hsi.deploy.lite.planes.rows_of` the graph.
    """
    first = next(op for op in step.operators if op.kind in CONVOLUTIONS)
    block = next((op for op in step.operators if op.kind == "SPACE_TO_BATCH_ND"), None)
    source = block.inputs[0] if block else first.inputs[0]
    sizes, out = (_sizes(i, shapes) for i in (source, step.tensor if block else first.outputs[0]))
    if sizes is None or out is None or len(sizes) != len(out):
        return None
    planes = across(graph, source, rows) if source in rows else None
    if planes is not None:
        sizes, out = sizes[1:], out[1:]
    found = _inside(graph, first, block, sizes, out)
    if found is None:
        return None
    if planes is None:
        return _without(found, _added(graph, step))
    return Window(
        (planes.kernel, *found.kernel),
        (planes.stride, *found.strides),
        (planes.before, *found.before),
        (planes.size, *found.sizes),
    )


def _inside(
    graph: Graph,
    convolution: Operator,
    block: Operator | None,
    sizes: tuple[int, ...],
    out: tuple[int, ...],
) -> Window | None:
    """Over the axes that the operator itself goes along."""
    kernel = graph.tensors[convolution.inputs[1]].shape
    taps = kernel[:3] if convolution.kind == "CONV_3D" else kernel[1:3]
    if len(sizes) != len(taps):
        return None
    letters = "DHW"[-len(taps) :]
    dilations = [_number(convolution, f"dilation{c}Factor") for c in letters]
    strides = [_number(convolution, f"stride{c}") for c in letters]
    pads = [0] * len(taps)
    if block is not None:  # a dilation that the converter wrote as blocks of pixels
        given = [graph.tensors[i].data for i in block.inputs[1:3]]
        if given[0] is None or given[1] is None or len(given[0]) != len(taps):
            return None
        dilations = [int(n) for n in given[0]]
        pads = [int(n) for n in np.reshape(given[1], (-1, 2))[:, 0]]
    extent = [(k - 1) * d + 1 for k, d in zip(taps, dilations, strict=True)]
    if block is None and _number(convolution, "padding", 0) == 0:  # SAME
        each = zip(out, strides, extent, sizes, strict=True)
        pads = [max((n - 1) * s + k - size, 0) // 2 for n, s, k, size in each]
    return Window(tuple(extent), tuple(strides), tuple(pads), sizes)


def _number(operator: Operator, option: str, default: int = 1) -> int:
    """An option of an operator; files leave out what has its usual value."""
    value = operator.options.get(option)
    return default if value is None else int(value)


def _sizes(tensor: int, shapes: Shapes) -> tuple[int, ...] | None:
    """Of a map, without channels; None where they are not known."""
    shape = shapes.get(tensor, ())
    sizes = tuple(n for n in shape[:-1] if n is not None)
    return sizes if len(sizes) == len(shape) - 1 else None


def _added(graph: Graph, step: Step) -> set[int]:
    """Axes that a one-dimensional convolution was given to make it one of images."""
    found = set()
    for op in step.operators:
        if op.kind == "EXPAND_DIMS" and (axis := graph.tensors[op.inputs[1]].data) is not None:
            found.add(int(np.reshape(axis, -1)[0]) % len(graph.tensors[op.outputs[0]].shape))
    return found


def _without(window: Window, axes: set[int]) -> Window:
    """The window without these axes, counted with samples as 0."""
    kept = [i for i in range(len(window.sizes)) if i + 1 not in axes]
    sides = (window.kernel, window.strides, window.before, window.sizes)
    return Window(*(tuple(side[i] for i in kept) for side in sides))
