"""What a network would answer in other bit widths, by simulation: activations, weights, sums.

Post-training quantization as in Jacob et al. 2018 (arXiv 1712.05877): activations on an affine
grid between their smallest and largest value in training samples, weights on a symmetric grid,
the bias as the accumulator's first value. Convolution and dense layers are computed in integers,
exactly; all other layers in float, their outputs put back on the grid; batch norm and activations
right after a convolution or dense layer count as part of it. Unlike in a `.tflite` file,
accumulators can be as narrow as hardware has them: they saturate at every addition, in the order
of the kernel (rows, columns, channels), or wrap around as two's complement does. Scores are not
rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Call, CallGraph, walk
from hsi.compress.integer_sums import IntegerLayer
from hsi.compress.widths import BitWidths
from hsi.errors import ModelError

_MOVES = (
    keras.layers.Flatten, keras.layers.Reshape, keras.layers.Permute, keras.layers.Dropout,
    keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D,
    keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D, keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D, keras.layers.Cropping1D,
    keras.layers.Cropping2D, keras.layers.Cropping3D,
)  # fmt: skip
"""Layers that only choose or move values, or put zeros around them, which the grid has."""
_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_NORM = keras.layers.BatchNormalization
_FOLLOWERS = (
    _NORM, keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU,
    keras.layers.Softmax,
)  # fmt: skip
"""Layers that are part of the convolution or dense layer before, as in a deployed file."""
_INTEGER = (*_CONVOLUTIONS, keras.layers.DepthwiseConv2D, keras.layers.Dense)


@dataclass(frozen=True)
class Simulated:
    """What a simulation answers.

    Attributes:
        scores: (n, classes) float64.
        overflowed: share of the accumulators' results that overflow changed, 0..1.
    """

    scores: np.ndarray
    overflowed: float


@dataclass(frozen=True)
class SweepRow:
    """One setting of a sweep: accuracy and agreement with the float network in percent."""

    bits: BitWidths
    accuracy: float
    agreement: float
    overflowed: float


@dataclass(frozen=True)
class Grid:
    """real = scale * (level - zero_point), levels from 0 to 2^bits - 1; 0 is on it."""

    scale: float
    zero_point: int
    bits: int

    @classmethod
    def over(cls, low: float, high: float, bits: int) -> Grid:
        """The grid between two values, widened to hold 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / (2**bits - 1) or 1.0
        return cls(scale, round(-low / scale), bits)

    def centred(self, values: np.ndarray) -> np.ndarray:
        """Levels minus the zero point, int64: the value in steps of the scale."""
        levels = np.clip(np.rint(values / self.scale) + self.zero_point, 0, 2**self.bits - 1)
        return levels.astype(np.int64) - self.zero_point

    def snap(self, values: np.ndarray) -> np.ndarray:
        """The nearest values of the grid."""
        return self.centred(values) * self.scale


Ranges = Mapping[int, tuple[float, float]]
"""Key of a tensor of the graph -> its smallest and largest value."""


def predict_bits(
    model: keras.Model,
    inputs: np.ndarray,
    bits: BitWidths,
    *,
    calibration: np.ndarray,
    batch_size: int = 256,
) -> Simulated:
    """The scores of a network computed in these bit widths.

    Args:
        model: sequential or functional, one input and one output.
        inputs: (n, ...) samples.
        calibration: (m, ...) *training* samples that give the activations' ranges.

    Raises:
        ModelError: a layer with weights that has no integer form here, or one whose output is no
            float numbers (named); several inputs; or no calibration samples.
    """
    graph = _checked(walk(model))
    return _simulate(graph, inputs, bits, _ranges(graph, calibration, batch_size), batch_size)


def sweep(
    model: keras.Model,
    inputs: np.ndarray,
    classes: np.ndarray,
    settings: Sequence[BitWidths],
    *,
    calibration: np.ndarray,
    batch_size: int = 256,
) -> list[SweepRow]:
    """A row for each setting, in their order.

    Args:
        inputs, classes: (n, ...) samples and (n,) the numbers of their true classes.

    Raises:
        ModelError: as `predict_bits`.
    """
    graph = _checked(walk(model))
    ranges = _ranges(graph, calibration, batch_size)
    each = _float_values(graph, inputs, batch_size)
    plain = np.concatenate([values[graph.outputs[0]].argmax(axis=1) for values in each])
    rows = []
    for bits in settings:
        found = _simulate(graph, inputs, bits, ranges, batch_size)
        answers = found.scores.argmax(axis=1)
        accuracy, agreement = (100 * float(np.mean(answers == t)) for t in (classes, plain))
        rows.append(SweepRow(bits, accuracy, agreement, found.overflowed))
    return rows


def _checked(graph: CallGraph) -> CallGraph:
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ModelError(
            f"{graph.name}: expected one input and one output, got {len(graph.inputs)} and "
            f"{len(graph.outputs)}."
        )
    for call in graph.calls:
        layer = call.layer
        norm = isinstance(layer, _NORM)
        if layer.weights and not norm and type(layer) not in _INTEGER:
            raise ModelError(
                f"layer {call.name!r}: expected layers with weights to be Conv1D, Conv2D, Conv3D, "
                f"DepthwiseConv2D, Dense or BatchNormalization, got {type(layer).__name__}."
            )
        if type(layer) in _INTEGER and getattr(layer, "groups", 1) != 1:
            raise ModelError(f"layer {call.name!r}: expected no groups, got {layer.groups}.")
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise ModelError(f"layer {call.name!r}: expected channels last, got channels first.")
        if len(call.outputs) != 1:
            raise ModelError(f"layer {call.name!r}: expected one output, got {len(call.outputs)}.")
        kind = graph.tensors[call.outputs[0]].dtype
        if not kind.is_floating:
            raise ModelError(
                f"layer {call.name!r}: expected an output of float numbers, which go on a grid, "
                f"got {kind.name}."
            )
    return graph


def _in_float(call: Call, values: Mapping[int, np.ndarray]) -> np.ndarray:
    tensors = [keras.backend.constant(values[key], "float32") for key in call.inputs]
    (output,) = call.apply(call.layer, tensors)
    return np.asarray(output)


def _float_values(
    graph: CallGraph, samples: np.ndarray, batch_size: int
) -> Iterator[dict[int, np.ndarray]]:
    """All tensors of the float network by their keys, batch after batch."""
    for start in range(0, len(samples), batch_size):
        values = {graph.inputs[0][1]: samples[start : start + batch_size]}
        for call in graph.calls:
            values[call.outputs[0]] = _in_float(call, values)
        yield values


def _ranges(graph: CallGraph, calibration: np.ndarray, batch_size: int) -> Ranges:
    if not len(calibration):
        raise ModelError(f"{graph.name}: expected training samples to calibrate with.")
    found: dict[int, tuple[float, float]] = {}
    for values in _float_values(graph, calibration, batch_size):
        for key, value in values.items():
            low, high = found.get(key, (np.inf, -np.inf))
            found[key] = min(low, float(value.min())), max(high, float(value.max()))
    return found


def _unrounded(graph: CallGraph) -> frozenset[int]:
    """Tensors that nobody stores: scores, and what batch norm or an activation reads at once."""
    readers: dict[int, list[Call]] = {}
    for call in graph.calls:
        for key in call.inputs:
            readers.setdefault(key, []).append(call)
    found = set(graph.outputs)
    for call in graph.calls:
        (key,) = call.outputs
        after = readers.get(key, [])
        if type(call.layer) in (*_INTEGER, _NORM) and len(after) == 1:
            found |= {key} if type(after[0].layer) in _FOLLOWERS else set()
    return frozenset(found)


def _simulate(
    graph: CallGraph, inputs: np.ndarray, bits: BitWidths, ranges: Ranges, batch_size: int
) -> Simulated:
    kernels = {c.name: _integers(c, bits) for c in graph.calls if type(c.layer) in _INTEGER}
    entry = graph.inputs[0][1]
    scores, unrounded = [], _unrounded(graph)
    for start in range(0, len(inputs), batch_size):
        grids = {entry: Grid.over(*ranges[entry], bits.activation)}
        values = {entry: grids[entry].snap(inputs[start : start + batch_size].astype(np.float64))}
        for call in graph.calls:
            _compute(
                call, kernels, values, grids, ranges, bits, stored=call.outputs[0] not in unrounded
            )
        scores.append(values[graph.outputs[0]].astype(np.float64))
    changed = sum(kernel.changed for kernel in kernels.values())
    sums = sum(kernel.sums for kernel in kernels.values())
    return Simulated(np.concatenate(scores), changed / max(1, sums))


def _integers(call: Call, bits: BitWidths) -> IntegerLayer:
    return IntegerLayer(
        call.layer,
        bits=bits.weight,
        accumulator=bits.accumulator,
        per_channel=bits.per_channel,
        overflow=bits.overflow,
    )


def _compute(
    call: Call,
    kernels: Mapping[str, IntegerLayer],
    values: dict[int, np.ndarray],
    grids: dict[int, Grid],
    ranges: Ranges,
    bits: BitWidths,
    *,
    stored: bool,
) -> None:
    """Add the value of one call's output, and the grid that it is on."""
    (key,) = call.outputs
    if call.name in kernels:
        grid = grids[call.inputs[0]]
        result = kernels[call.name](grid.centred(values[call.inputs[0]]), grid.scale)
    else:
        result = _in_float(call, values).astype(np.float64)
        if type(call.layer) in _MOVES:
            grids[key] = grids[call.inputs[0]]
    grids.setdefault(key, Grid.over(*ranges[key], bits.activation))
    values[key] = grids[key].snap(result) if stored else result
