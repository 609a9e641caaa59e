"""What a network costs: its parameters and its multiply-accumulates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Call, walk
from hsi.errors import ModelError


def parameters(model: keras.Model) -> int:
    """All weights as Keras counts them, trainable or not: moving statistics of batch norm too."""
    return int(model.count_params())


def macs(model: keras.Model) -> int:
    """Multiply-accumulates for one sample of the convolution and dense layers.

    Each kernel weight is used once per output position (input position for a transposed
    convolution), taps on padding included. Layers of other types count as none, as is usual:
    batch norm folds into the convolution before it. A layer that is called twice counts twice.

    Raises:
        ModelError: the model is no graph of layers, or its spatial input size is not fixed.
    """
    return sum(
        COUNTS[type(call.layer)](call) for call in walk(model).calls if type(call.layer) in COUNTS
    )


def _positions(call: Call, shape: tuple[int | None, ...]) -> int:
    if None in shape:
        raise ModelError(
            f"layer {call.name!r}: expected a fixed size to count operations, got shape {shape}; "
            "give the model's input a fixed shape."
        )
    return int(np.prod([size for size in shape[:-1] if size is not None], dtype=np.int64))


def _at_outputs(call: Call) -> int:
    weights = [w for w in call.layer.weights if len(w.shape) > 1]
    return _positions(call, call.output_shapes[0]) * sum(int(np.prod(w.shape)) for w in weights)


def _at_inputs(call: Call) -> int:
    return _positions(call, call.input_shapes[0]) * int(np.prod(call.layer.kernel.shape))


COUNTS: dict[type, Callable[[Call], int]] = {
    keras.layers.Conv1D: _at_outputs,
    keras.layers.Conv2D: _at_outputs,
    keras.layers.Conv3D: _at_outputs,
    keras.layers.SeparableConv1D: _at_outputs,
    keras.layers.SeparableConv2D: _at_outputs,
    keras.layers.DepthwiseConv1D: _at_outputs,
    keras.layers.DepthwiseConv2D: _at_outputs,
    keras.layers.Conv1DTranspose: _at_inputs,
    keras.layers.Conv2DTranspose: _at_inputs,
    keras.layers.Conv3DTranspose: _at_inputs,
    keras.layers.Dense: _at_outputs,
}
"""Layer type -> its multiply-accumulates per call."""
