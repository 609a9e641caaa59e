"""Where a network's logits are: what its output looks through, and which operator makes them."""

from __future__ import annotations

from hsi.deploy.differentiable.flatbuffer import Graph

LOOKED_THROUGH = ("SOFTMAX", "LOGISTIC")
AFTER_SCORES = ("DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CAST")
"""What may stand between a final softmax and the output."""


def looked_through(graph: Graph, output: int) -> frozenset[int]:
    """Numbers of the operators between the logits and a tensor; none where there is no softmax.

    They are a final softmax or sigmoid and the number formats behind it.
    """
    made_by = {i: op for op in graph.operators for i in op.outputs}
    passed: list[int] = []
    index = output
    while index in made_by:
        operator = made_by[index]
        if operator.kind in LOOKED_THROUGH:
            return frozenset([*passed, operator.index])
        if operator.kind not in AFTER_SCORES:
            break
        if operator.kind in ("DEQUANTIZE", "QUANTIZE"):
            passed.append(operator.index)
        index = operator.inputs[0]
    return frozenset()


def logits_operator(graph: Graph, output: int) -> int:
    """The operator that computes the logits, -1 without one: what is behind it passes them on."""
    made_by = {i: op for op in graph.operators for i in op.outputs}
    through, index = looked_through(graph, output), output
    while index in made_by:
        operator = made_by[index]
        if operator.index not in through and operator.kind not in AFTER_SCORES:
            return operator.index
        index = operator.inputs[0]
    return -1
