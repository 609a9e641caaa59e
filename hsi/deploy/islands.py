"""Float islands: what a `.tflite` file of integers computes in float all the same.

Converters leave what they cannot quantize in float, between a DEQUANTIZE and a QUANTIZE, and say
nothing: 3-D convolutions, say, also under "int8 only". Dynamic range leaves weights of fewer than
1,024 elements in float. Both are read from the file; TensorFlow is not needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hsi.deploy.differentiable.flatbuffer import Graph, Operator, Tensor, parse, read
from hsi.deploy.differentiable.kinds import WEIGHTED, fold
from hsi.deploy.lite.steps import steps_of

_FORMATS = ("QUANTIZE", "DEQUANTIZE", "DENSIFY")
"""Operators that change how numbers are written and compute nothing."""
_FLOATS = ("float16", "float32", "float64")
_SHOWN = 3
"""How many layers a line names."""


@dataclass(frozen=True)
class Island:
    """An operator that computes in float in a file whose other operators compute in integers.

    Attributes:
        kind: the operator's builtin name.
        layer: the Keras layer that it belongs to, where the file says so; else its tensor's name.
        macs: its multiply-accumulates for one sample.
        share: of the file's multiply-accumulates, 0..1.
    """

    kind: str
    layer: str
    macs: int
    share: float


@dataclass(frozen=True)
class FloatWeight:
    """A kernel that stayed in float in a file that holds others as integers."""

    kind: str
    layer: str
    elements: int


def float_islands(source: str | Path | bytes) -> list[Island]:
    """The operators of a file of integers that compute in float, the costliest first.

    An operator computes in float if what it reads and what it answers are float and it has no
    integer kernel. Empty for files whose activations are float by design: float32, float16,
    dynamic range and weight-only.

    Args:
        source: a `.tflite` file, or its bytes.

    Raises:
        ModelError: missing, no TensorFlow Lite file, damaged, or with control flow.
    """
    return _islands(_opened(source))


def float_weights(source: str | Path | bytes) -> list[FloatWeight]:
    """The kernels left in float in a file that holds others as integers, the largest first.

    Raises:
        ModelError: missing, no TensorFlow Lite file, damaged, or with control flow.
    """
    return _float_weights(_opened(source))


def float_summary(source: str | Path | bytes) -> str:
    """One line for the user: what of a file computes in float.

    Example:
        >>> print(float_summary("quantized_model_int8.tflite"))
        int8 file: 2 of 7 operators compute in float (CONV_3D conv_1, CONV_3D conv_2): 63 % of the
        multiply-accumulates

    Raises:
        ModelError: missing, no TensorFlow Lite file, damaged, or with control flow.
    """
    graph = _opened(source)
    count = len(_computing(graph))
    kind = _integer_kind(graph)
    if kind:
        islands = _islands(graph)
        if not islands:
            return f"{kind} file: all {count} operators compute in integers"
        share = sum(island.share for island in islands)
        verb = "computes" if len(islands) == 1 else "compute"
        return (
            f"{kind} file: {len(islands)} of {count} operators {verb} in float "
            f"({_listed(f'{i.kind} {i.layer}' for i in islands)}): {_percent(share)} of the "
            "multiply-accumulates"
        )
    return _weights_line(graph)


def _weights_line(graph: Graph) -> str:
    kernels = _kernels(graph)
    integers = [direct for stored, direct in kernels.values() if stored.quantized]
    if not integers:
        return "float file: all operators compute in float"
    left = _float_weights(graph)
    file = (
        "dynamic file (integer weights, activations quantized while running)"
        if all(integers)
        else "weight-only file (integer weights, float computation)"
    )
    if not left:
        return f"{file}: no kernel stays in float"
    verb = "stays" if len(left) == 1 else "stay"
    return (
        f"{file}: {len(left)} of {len(kernels)} kernels {verb} in float "
        f"({_listed(f'{w.layer} {w.elements:,} elements' for w in left)})"
    )


def _opened(source: str | Path | bytes) -> Graph:
    return parse(source) if isinstance(source, bytes) else read(source)


def _computing(graph: Graph) -> list[Operator]:
    """Operators that compute with real numbers, those of shapes and number formats left out."""
    return [
        operator
        for operator in fold(graph).operators
        if operator.kind not in _FORMATS
        and any(_is_real(graph.tensors[i]) for i in operator.outputs)
    ]


def _is_real(tensor: Tensor) -> bool:
    return tensor.quantized or tensor.dtype in _FLOATS


def _integer_kind(graph: Graph) -> str:
    """int8, uint8 or int16x8 if activations are integers, else ""."""
    found = [
        graph.tensors[operator.outputs[0]].dtype
        for operator in _computing(graph)
        if graph.tensors[operator.outputs[0]].quantized
    ]
    if not found:
        return ""
    most = max(sorted(set(found)), key=found.count)
    return "int16x8" if most == "int16" else most


def _islands(graph: Graph) -> list[Island]:
    if not _integer_kind(graph):
        return []
    macs, names = macs_of(graph), _layer_names(graph)
    total = max(1, sum(macs.values()))
    found = []
    for operator in _computing(graph):
        reads = [graph.tensors[i] for i in operator.inputs if i >= 0]
        computed = [t for t in reads if t.data is None and _is_real(t)]
        kernel = WEIGHTED.get(operator.kind)
        hybrid = kernel is not None and len(reads) > kernel and reads[kernel].quantized
        answers = graph.tensors[operator.outputs[0]]
        if answers.quantized or hybrid or any(t.quantized for t in computed):
            continue
        cost = macs.get(operator.index, 0)
        found.append(Island(operator.kind, names[operator.index], cost, cost / total))
    return sorted(found, key=lambda island: -island.macs)


def _kernels(graph: Graph) -> dict[int, tuple[Tensor, bool]]:
    """Number of a weighted operator -> its kernel as stored, and whether it reads that itself."""
    made_from = {
        op.outputs[0]: op.inputs[0] for op in graph.operators if op.kind in _FORMATS and op.inputs
    }
    found = {}
    for operator in graph.operators:
        place = WEIGHTED.get(operator.kind)
        if place is None or place >= len(operator.inputs):
            continue
        index = stored = operator.inputs[place]
        while graph.tensors[stored].data is None and stored in made_from:
            stored = made_from[stored]
        if graph.tensors[stored].data is not None:
            found[operator.index] = graph.tensors[stored], index == stored
    return found


def _float_weights(graph: Graph) -> list[FloatWeight]:
    kernels = _kernels(graph)
    if not any(stored.quantized for stored, _ in kernels.values()):
        return []
    kinds, names = {op.index: op.kind for op in graph.operators}, _layer_names(graph)
    found = [
        FloatWeight(kinds[i], names[i], math.prod(stored.shape))
        for i, (stored, _) in kernels.items()
        if stored.dtype in _FLOATS
    ]
    return sorted(found, key=lambda weight: -weight.elements)


def macs_of(graph: Graph) -> dict[int, int]:
    """Number of an operator with weights -> its multiply-accumulates for one sample.

    Each weight is used once per output position (input position for a transposed convolution),
    taps on padding included, as in `hsi.compress.cost`.
    """
    samples = _samples(graph)
    found = {}
    for operator in graph.operators:
        place = WEIGHTED.get(operator.kind)
        if place is None or place >= len(operator.inputs):
            continue
        kernel = graph.tensors[operator.inputs[place]].shape
        transposed = operator.kind == "TRANSPOSE_CONV"
        index = operator.inputs[2] if transposed else operator.outputs[0]
        positions = _elements(graph.tensors[index].shape[:-1]) * samples.get(index, 1.0)
        found[operator.index] = round(positions * math.prod(kernel))
    return found


def _samples(graph: Graph) -> Mapping[int, float]:
    """Number of a tensor -> how many times its recorded shape goes into one sample.

    Where the batch is free, a reshape that puts other axes to it, and the blocks of a dilated
    convolution, are recorded with a first axis of 1; what that leaves out is counted here.
    """
    batch = max(1, (graph.tensors[graph.inputs[0]].shape or (1,))[0]) if graph.inputs else 1
    found = dict.fromkeys(graph.inputs, 1.0 / batch)
    for operator in graph.operators:
        sources = [i for i in operator.inputs if i in found]
        if not sources:
            continue
        times = max(found[i] for i in sources)
        for i in operator.outputs:
            found[i] = times * _left_out(graph, operator, graph.tensors[i])
    return found


def _left_out(graph: Graph, operator: Operator, output: Tensor) -> float:
    """How many times more samples the output's recorded shape leaves out than the input's."""
    x = graph.tensors[operator.inputs[0]]
    if operator.kind == "RESHAPE":
        return _elements(x.shape) / _elements(output.shape)
    if operator.kind in ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"):
        sizes = graph.tensors[operator.inputs[1]].data
        blocks = 1 if sizes is None else math.prod(int(n) for n in sizes)
        grown = float(blocks) if operator.kind.startswith("SPACE") else 1 / max(1, blocks)
        return grown * _elements(x.shape[:1]) / _elements(output.shape[:1])
    return 1.0


def _elements(shape: Sequence[int]) -> int:
    return math.prod(max(1, n) for n in shape)


def _layer_names(graph: Graph) -> dict[int, str]:
    """Number of an operator -> the layer that it belongs to."""
    folded = fold(graph)
    found = {}
    for step in steps_of(folded):
        name = step.names[0] if step.names else graph.tensors[step.tensor].name or "without a name"
        found.update({operator.index: name for operator in step.operators})
    return found


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _percent(share: float) -> str:
    if share == 0:
        return "none"
    return f"{100 * share:.0f} %" if share >= 0.005 else "under 1 %"
