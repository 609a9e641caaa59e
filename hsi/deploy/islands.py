"""Float islands: what a `.tflite` file of integers computes in float all the same.

Converters leave what they cannot quantize in float, between a DEQUANTIZE and a QUANTIZE, and say
nothing: 3-D convolutions, say, also under "int8 only". Dynamic range leaves weights of fewer than
1,024 elements in float. Both are read from the file; TensorFlow is not needed. Sizes that a file
leaves open are those of one sample run through it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hsi.deploy.differentiable.flatbuffer import Graph, Operator, Tensor, parse, read
from hsi.deploy.differentiable.kinds import WEIGHTED, fold
from hsi.deploy.lite.steps import steps_of
from hsi.errors import ModelError
from hsi.quiet import quiet

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
        macs: its multiply-accumulates for one sample; 0 where they cannot be told.
        share: of the file's multiply-accumulates, 0..1; NaN where they cannot be told.
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
    return _islands(source, _opened(source))


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
        islands = _islands(source, graph)
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


def _islands(source: str | Path | bytes, graph: Graph) -> list[Island]:
    if not _integer_kind(graph):
        return []
    try:
        macs = _macs(source, graph)
        total = float(max(1, sum(macs.values())))
    except ModelError:  # which they are is known all the same
        macs, total = {}, math.nan
    names = _layer_names(graph)
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


def macs_of(source: str | Path | bytes) -> dict[int, int]:
    """Number of an operator -> its multiply-accumulates for one sample, where it has any.

    Each weight is used once per output position (input position for a transposed convolution),
    taps on padding included, and a product of matrices likewise, as in `hsi.compress.cost`.

    Raises:
        ModelError: missing, no TensorFlow Lite file, damaged, with control flow, of a size that is
            free beside the batch, or of one that shows in a run alone and it does not run.
    """
    return _macs(source, _opened(source))


def _macs(source: str | Path | bytes, graph: Graph) -> dict[int, int]:
    shapes, samples = _shapes(source, graph)
    found = {}
    for operator in graph.operators:
        place = WEIGHTED.get(operator.kind)
        if operator.kind == "BATCH_MATMUL":
            reads = shapes[operator.inputs[0]]
            length = reads[-2 if operator.options.get("adjX") else -1]
            found[operator.index] = _elements(shapes[operator.outputs[0]]) * length
        elif place is not None and place < len(operator.inputs):
            transposed = operator.kind == "TRANSPOSE_CONV"
            index = operator.inputs[2] if transposed else operator.outputs[0]
            kernel = shapes[operator.inputs[place]]
            found[operator.index] = _elements(shapes[index][:-1]) * math.prod(kernel)
    return {index: count // samples for index, count in found.items()}


def _shapes(source: str | Path | bytes, graph: Graph) -> tuple[Mapping[int, tuple[int, ...]], int]:
    """Number of a tensor -> its shape, and for how many samples.

    What is recorded holds where nothing is free. Else free sizes are recorded as 1, the batch's
    like those that the graph itself computes, such as of a reshape to (-1, channels).
    """
    inputs = [graph.tensors[i] for i in graph.inputs]
    if any(-1 in tensor.signature[1:] for tensor in inputs):
        raise ModelError(
            f"{inputs[0].name}: expected a fixed size to count operations, got "
            f"{inputs[0].signature}; convert the model with a fixed input shape."
        )
    samples = max(1, inputs[0].shape[0]) if inputs and inputs[0].shape else 1
    if all(-1 not in tensor.signature for tensor in graph.tensors):
        return {tensor.index: tensor.shape for tensor in graph.tensors}, samples
    return _run_shapes(source, graph), samples


def _run_shapes(source: str | Path | bytes, graph: Graph) -> dict[int, tuple[int, ...]]:
    """The shapes as they are after one run; a free batch is 1."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    with quiet():
        try:
            interpreter = Interpreter(
                model_content=content,
                # delegates do not tell the shapes inside them
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
            interpreter.allocate_tensors()
            interpreter.invoke()
            details = interpreter.get_tensor_details()
        except (RuntimeError, ValueError) as error:
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise ModelError(f"the file does not run on one sample: {reason}") from error
    if graph.inputs != tuple(entry["index"] for entry in interpreter.get_input_details()):
        raise ModelError("expected the file's only graph to count operations, got one of several.")
    return {detail["index"]: tuple(map(int, detail["shape"])) for detail in details}


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
    if math.isnan(share):
        return "an unknown share"
    if share == 0:
        return "none"
    return f"{100 * share:.0f} %" if share >= 0.005 else "under 1 %"
