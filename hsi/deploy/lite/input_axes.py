"""Which axis of its input a `.tflite` file takes for the channels.

What `hsi.explain.channel_axis` finds in Keras models. The operators have their channels last, so
the way in which the input is turned before the first of them says it.
"""

from __future__ import annotations

from hsi.deploy.differentiable.flatbuffer import Graph
from hsi.deploy.lite.steps import FORMATS
from hsi.deploy.lite.windows import CONVOLUTIONS

_ALONG_PLACES = (*CONVOLUTIONS, "MAX_POOL_2D", "AVERAGE_POOL_2D")
_KEEPING = (
    *FORMATS, "CAST", "MUL", "ADD", "SUB", "DIV", "PAD", "PADV2", "MIRROR_PAD", "SPACE_TO_BATCH_ND",
    "RELU", "RELU6", "LEAKY_RELU", "PRELU", "ELU", "LOGISTIC", "TANH",
)  # fmt: skip
"""Operators whose answers have the axes of what they read."""


def taken_axes(graph: Graph) -> dict[int, tuple[int, int]]:
    """Tensor of each operator that reads the input, turned or as it is, and goes along places ->
    the axis of the input that it takes for the channels, and the last."""
    start = graph.inputs[0]
    held = {start: tuple(range(len(graph.tensors[start].shape)))}
    taken = {}
    for operator in graph.operators:
        given = next((held[i] for i in operator.inputs if i in held), None)
        if given is None:
            continue
        answer = operator.outputs[0]
        if operator.kind in _KEEPING:
            held[answer] = given
        elif operator.kind == "TRANSPOSE":
            order = graph.tensors[operator.inputs[1]].data
            if order is not None:
                held[answer] = tuple(given[axis] for axis in order)
        elif operator.kind in _ALONG_PLACES and given[0] == 0:
            taken[answer] = (given[-1], len(given) - 1)
    return taken
