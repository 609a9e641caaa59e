"""The operators of a `.tflite` graph, put together to what a user calls layers.

A converter fuses a convolution with its batch norm and its ReLU into one operator, and writes
other layers as several operators. It names a tensor after all that it stands for, for example
`cao/conv_1/Relu;cao/conv_1/Conv2D`. Here operators of one Keras layer become one `Step`, called
by the Keras layer whose output it gives; the other layers that it holds are names for it too. In
files that name tensors otherwise each operator is a step with its tensor's name. TensorFlow is not
needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hsi.deploy.differentiable.flatbuffer import Graph, Operator
from hsi.deploy.differentiable.kinds import WEIGHTED

FORMATS = ("QUANTIZE", "DEQUANTIZE")
"""Operators that change how numbers are written: part of whatever is before them."""

SQUASHES = ("SOFTMAX", "LOGISTIC")

_SEVERAL = (
    "MUL", "ADD", "SUB", "DIV", "RSQRT", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SHAPE",
    "STRIDED_SLICE", "PACK", "PAD", "CONCATENATION", "CAST", "MEAN", *FORMATS,
)  # fmt: skip
"""Operators that one layer may consist of more than once; another of any other kind means that
the layer is applied again."""

_SCOPES = {
    "batchnorm", "separable_conv2d", "Conv1D", "Conv2D", "Conv3D", "Tensordot", "Reshape",
    "moments", "depthwise",
}  # fmt: skip
"""Parts of a tensor's name between the layer and its operation."""

_UNTOLD = re.compile(r"(output|Identity)?(_\d+)?|(Stateful)?PartitionedCall.*")
"""Names of outputs that say nothing of a layer."""

_ROOTS = ("StatefulPartitionedCall", "PartitionedCall")


@dataclass(eq=False)
class Step:
    """Operators that are one layer.

    Attributes:
        operators: in the order of execution.
        inputs: numbers of the computed tensors that it reads.
        tensor: number of the tensor that it answers.
        names: all layers that it stands for, the one whose output it gives first; empty where
            the file does not say.
    """

    operators: list[Operator]
    inputs: list[int]
    tensor: int
    names: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Kinds of the operators, number formats left out."""
        kinds = [op.kind for op in self.operators]
        return " + ".join([k for k in kinds if k not in FORMATS] or kinds[:1])

    @property
    def inner(self) -> list[int]:
        """Numbers of the tensors between its operators."""
        made = [i for op in self.operators for i in op.outputs]
        return [i for i in made if i != self.tensor]


def steps_of(graph: Graph, *, through: frozenset[int] = frozenset()) -> list[Step]:
    """All steps in the order of execution.

    Args:
        graph: constants unfolded.
        through: operators that only hand their input on; they make no steps.
    """
    root, told = _root(t.name for t in graph.tensors), _told(graph)
    readers: dict[int, int] = {}
    for operator in graph.operators:
        for i in set(operator.inputs):
            readers[i] = readers.get(i, 0) + 1
    steps: list[Step] = []
    made_by: dict[int, Step] = {}
    for operator in graph.operators:
        if all(graph.tensors[i].data is not None for i in operator.outputs):
            continue
        sources = [i for i in operator.inputs if i >= 0 and graph.tensors[i].data is None]
        names = _layers(graph, operator, root, told)
        step = None if operator.index in through else _joined(operator, sources, names, made_by)
        if step is None or readers[step.tensor] > 1:
            step = Step([], sources, -1)
            if operator.index not in through:
                steps.append(step)
        step.operators.append(operator)
        step.names = [*names, *(n for n in step.names if n not in names)]
        step.tensor = operator.outputs[-1]
        made_by.update(dict.fromkeys(operator.outputs, step))
    return steps


def _joined(
    operator: Operator, sources: Sequence[int], names: Sequence[str], made_by: dict[int, Step]
) -> Step | None:
    """The step before that this operator belongs to."""
    for i in sources:
        step = made_by.get(i)
        if step is not None and step.tensor == i and _belongs(operator, sources, names, step):
            return step
    return None


def _belongs(operator: Operator, sources: Sequence[int], names: Sequence[str], step: Step) -> bool:
    if not set(sources) <= {step.tensor, *step.inner, *step.inputs}:
        return False
    if operator.kind in FORMATS:
        return True
    if operator.kind in SQUASHES and step.names and names in ([], step.names[:1]):
        # a dense layer's own activation: a layer of its own would have given the output its name
        return True
    again = operator.kind not in _SEVERAL and operator.kind in {op.kind for op in step.operators}
    return bool(step.names) and set(step.names) <= set(names) and not again


def _told(graph: Graph) -> dict[int, str]:
    """Number of a tensor -> what the signature calls it, before a change of number format too."""
    made_by = {i: op for op in graph.operators for i in op.outputs}
    found = {}
    for index, name in graph.output_names.items():
        if _UNTOLD.fullmatch(name):
            continue
        found[index] = name
        while index in made_by and made_by[index].kind in FORMATS:
            index = made_by[index].inputs[0]
            found[index] = name
    return found


_MULTIPLIES = re.compile(r"matmul|conv|einsum", re.IGNORECASE)


def _layers(graph: Graph, operator: Operator, root: str, told: dict[int, str]) -> list[str]:
    """Keras layers in the name of an operator's output, that whose output it is first.

    Where the name says nothing the signature's is taken, else that of the weights.
    """
    tensor = graph.tensors[operator.outputs[-1]]
    if operator.kind in FORMATS:
        return []
    parts = list(_parts(tensor.name, root))
    if not parts and tensor.index in told:
        parts = [(told[tensor.index], "")]
    place = WEIGHTED.get(operator.kind)
    if not parts and place is not None and place < len(operator.inputs):
        parts = list(_parts(graph.tensors[operator.inputs[place]].name, root))
    if place is not None:
        # what is computed first may be named first; padding is done before all of it
        parts = [part for part in parts if part[1] != "Pad"]
        # a bias of the layer before may be in the name; the kernel is this layer's own
        owners = {layer for layer, operation in parts if _MULTIPLIES.search(operation)}
        parts.sort(key=lambda p: (-_rank(p[1]), p[0] not in owners))
    return list(dict.fromkeys(layer for layer, _ in parts))


def _parts(name: str, root: str) -> Iterator[tuple[str, str]]:
    """(layer, operation) in a tensor's name; the layer "outer/inner" in nested models."""
    for part in name.split(";"):
        path = [p for p in part.split("/") if p not in _ROOTS]
        path = path[1:] if path[0:1] == [root] else path
        if len(path) < 2 or path[-1].startswith("ReadVariableOp"):
            continue
        layer, operation = path[:-1], path[-1]
        while len(layer) > 1 and layer[-1] in _SCOPES:
            operation = f"{layer.pop()}/{operation}"
        yield "/".join(layer), re.sub(r"_?\d+$", "", operation)


def _root(names: Iterable[str]) -> str:
    """The model's name, which all names with a path begin with; "" where there is none."""
    first = set()
    for name in names:
        for part in name.split(";"):
            path = [p for p in part.split("/") if p not in _ROOTS]
            if len(path) > 1:
                first.add(path[0])
    return first.pop() if len(first) == 1 else ""


def _rank(operation: str) -> int:
    """How late an operation comes among those that are fused into one with weights."""
    if re.search("relu|tanh|sigmoid", operation, re.IGNORECASE):
        return 3
    return 2 if "batchnorm" in operation.lower() else int("BiasAdd" in operation)


def named(steps: Sequence[Step], tensors: Sequence[str]) -> dict[int, list[str]]:
    """Number of each tensor that a step makes -> the names it goes by, the best first.

    A layer that is applied again is "name#2". A name that more than one step is called by stays
    with those that give this layer's output, and the tensors' own names are always known.

    Args:
        tensors: unique names of all tensors of the file.
    """
    found: dict[int, list[str]] = {}
    taken: set[str] = set()
    for step in steps:
        name = step.names[0] if step.names else tensors[step.tensor]
        found[step.tensor] = [_numbered(name, taken)]
    own = set(taken)
    for step in steps:
        for name in step.names[1:]:
            if name not in own:
                found[step.tensor].append(_numbered(name, taken))
        for i in (step.tensor, *step.inner):
            names = found.setdefault(i, [])
            if tensors[i] not in names:
                names.append(_numbered(tensors[i], taken))
    return found


def _numbered(name: str, taken: set[str]) -> str:
    times, free = 1, name
    while free in taken:
        times += 1
        free = f"{name}#{times}"
    taken.add(free)
    return free
