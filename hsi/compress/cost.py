"""What a network costs: its parameters and its multiply-accumulates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Call, Shape, walk
from hsi.errors import ModelError

L = keras.layers


def parameters(model: keras.Model) -> int:
    """All weights as Keras counts them, trainable or not: moving statistics of batch norm too."""
    return int(model.count_params())


def macs(model: keras.Model) -> int:
    """Multiply-accumulates for one sample of the layers with kernels, and of attention.

    Each kernel weight is used once per output position (input position for a transposed
    convolution), taps on padding included; those of recurrent layers once per step. Products of
    matrices count likewise. Layers of other types count as none, as is usual: batch norm folds
    into the convolution before it. Kernels of types that are not in `COUNTS` count as none too,
    see `known_macs`. A layer that is called twice counts twice.

    Raises:
        ModelError: the model is no graph of layers, or its spatial input size is not fixed.
    """
    return sum(_of(call) for call in walk(model).calls)


def known_macs(model: keras.Model) -> int | None:
    """As `macs`; None where a layer has kernels of which it is not known how often they are used.

    Raises:
        ModelError: as `macs`.
    """
    count = macs(model)
    return None if any(_unknown(call.layer) for call in walk(model).calls) else count


def _of(call: Call) -> int:
    count = COUNTS.get(type(call.layer))
    return count(call) if count else 0


def _unknown(layer: Any) -> bool:
    """Whether a layer, or one inside it, has kernels that are not counted."""
    if isinstance(layer, keras.Model):
        return any(_unknown(call.layer) for call in walk(layer).calls)
    inner = INNER.get(type(layer))
    if inner:
        return any(map(_unknown, inner(layer)))
    known = type(layer) in COUNTS or type(layer) in CELLS or type(layer) in WITHOUT
    return not known and any(len(weight.shape) > 1 for weight in layer.weights)


def _product(sizes: Shape, call: Call) -> int:
    if None in sizes:
        raise ModelError(
            f"layer {call.name!r}: expected a fixed size to count operations, got {sizes}; "
            "give the model's input a fixed shape."
        )
    return int(np.prod([size for size in sizes if size is not None], dtype=np.int64))


def _places(layer: Any, shape: Shape) -> Shape:
    """A shape of samples without the axis of a convolution's channels."""
    if getattr(layer, "data_format", None) == "channels_first":
        channels = len(shape) - len(layer.kernel_size) - 1
        return (*shape[:channels], *shape[channels + 1 :])
    return shape[:-1]


def _at_outputs(call: Call) -> int:
    weights = [w for w in call.layer.weights if len(w.shape) > 1]
    positions = _product(_places(call.layer, call.output_shapes[0]), call)
    return positions * sum(int(np.prod(w.shape)) for w in weights)


def _at_inputs(call: Call) -> int:
    positions = _product(_places(call.layer, call.input_shapes[0]), call)
    return positions * int(np.prod(call.layer.kernel.shape))


def _locally_connected(call: Call) -> int:
    """As a convolution, whatever form its kernels are kept in."""
    inputs, outputs = call.input_shapes[0], call.output_shapes[0]
    channels = inputs[0 if call.layer.data_format == "channels_first" else -1]
    return _product((*outputs, *call.layer.kernel_size, channels), call)


def _einsum(call: Call) -> int:
    """The kernel once for every index of the inputs that it does not have."""
    reads, kernel = call.layer.equation.replace(" ", "").split("->")[0].split(",")
    before, dots, after = reads.partition("...")
    sizes = (1, *call.input_shapes[0])
    letters = [*before, *dots[:1] * (len(sizes) - len(before) - len(after)), *after]
    free = tuple(size for size, k in zip(sizes, letters, strict=True) if k not in kernel)
    return _product(free, call) * int(np.prod(call.layer.kernel.shape))


def _recurrent(call: Call) -> int:
    """Both kernels of its cells at every step; of a convolution at every position too."""
    positions = _product(call.input_shapes[0][:1], call)
    if isinstance(call.layer.cell, CONVOLUTION_CELLS):
        size = len(call.layer.cell.kernel_size)
        positions *= _product(_places(call.layer.cell, call.output_shapes[0])[-size:], call)
    return positions * _kernels(call.layer.cell)


def _kernels(cell: Any) -> int:
    if isinstance(cell, L.StackedRNNCells):
        return sum(map(_kernels, cell.cells))
    if type(cell) not in CELLS:
        return 0
    return int(np.prod(cell.kernel.shape) + np.prod(cell.recurrent_kernel.shape))


def _each_step(call: Call) -> int:
    """A layer, or a model, that is applied to every step."""
    steps = _product(call.input_shapes[0][:1], call)
    inner = call.layer.layer
    if isinstance(inner, keras.Model):
        return steps * macs(inner)
    return steps * _of(
        replace(
            call,
            layer=inner,
            input_shapes=tuple(shape[1:] for shape in call.input_shapes),
            output_shapes=tuple(shape[1:] for shape in call.output_shapes),
        )
    )


def _both(call: Call) -> int:
    """One layer forward, one backward."""
    layer = call.layer
    return sum(_of(replace(call, layer=one)) for one in (layer.forward_layer, layer.backward_layer))


def _heads(call: Call) -> int:
    """The four maps of a multi-head attention, and its two products of matrices."""
    layer, query, value = call.layer, call.input_shapes[0], call.input_shapes[1]
    key = call.input_shapes[2] if len(call.input_shapes) > 2 else value
    asked, answered = _product(query[:-1], call), _product(value[:-1], call)
    at = (
        (layer._query_dense, asked),
        (layer._key_dense, _product(key[:-1], call)),
        (layer._value_dense, answered),
        (layer._output_dense, asked),
    )
    maps = sum(int(np.prod(dense.kernel.shape)) * positions for dense, positions in at)
    attended = _product(tuple(value[axis - 1] for axis in layer._attention_axes), call)
    width = int(np.prod(layer._key_dense.kernel.shape[1:]))
    width += int(np.prod(layer._value_dense.kernel.shape[1:]))
    return maps + asked * attended * width


CONVOLUTION_CELLS = tuple(
    {type(kind(1, 1).cell) for kind in (L.ConvLSTM1D, L.ConvLSTM2D, L.ConvLSTM3D)}
)
CELLS = (L.GRUCell, L.LSTMCell, L.SimpleRNNCell, *CONVOLUTION_CELLS)
"""What recurrent layers repeat."""
INNER: dict[type, Callable[[Any], list[Any]]] = {
    L.TimeDistributed: lambda layer: [layer.layer],
    L.Bidirectional: lambda layer: [layer.forward_layer, layer.backward_layer],
    L.RNN: lambda layer: [layer.cell],
    L.StackedRNNCells: lambda layer: layer.cells,
}
"""Layer type -> the layers inside one."""
WITHOUT = (
    L.Embedding, L.PReLU, L.BatchNormalization, L.LayerNormalization, L.GroupNormalization,
    L.Normalization,
)  # fmt: skip
"""Layer types whose weights, of several axes too, are no kernels."""
COUNTS: dict[type, Callable[[Call], int]] = {
    L.Conv1D: _at_outputs,
    L.Conv2D: _at_outputs,
    L.Conv3D: _at_outputs,
    L.SeparableConv1D: _at_outputs,
    L.SeparableConv2D: _at_outputs,
    L.DepthwiseConv1D: _at_outputs,
    L.DepthwiseConv2D: _at_outputs,
    L.Conv1DTranspose: _at_inputs,
    L.Conv2DTranspose: _at_inputs,
    L.Conv3DTranspose: _at_inputs,
    L.LocallyConnected1D: _locally_connected,
    L.LocallyConnected2D: _locally_connected,
    L.Dense: _at_outputs,
    L.EinsumDense: _einsum,
    L.GRU: _recurrent,
    L.LSTM: _recurrent,
    L.SimpleRNN: _recurrent,
    L.RNN: _recurrent,
    L.ConvLSTM1D: _recurrent,
    L.ConvLSTM2D: _recurrent,
    L.ConvLSTM3D: _recurrent,
    L.TimeDistributed: _each_step,
    L.Bidirectional: _both,
    L.MultiHeadAttention: _heads,
}
"""Layer type -> its multiply-accumulates per call."""
