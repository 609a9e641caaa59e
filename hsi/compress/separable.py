"""Convolutions replaced by depthwise-separable ones, as a start for distillation.

A separable convolution has the kernel K[i, j, s, t] = sum over m of D[i, j, s, m] P[s, m, t]: taps
for every input channel, then a 1 x 1 mix (MobileNets: Howard et al. 2017, arXiv 1704.04861). For
each input channel s the best such kernel in the least-squares sense is the truncated SVD of the
matrix (taps, out). With 3 x 3 taps and one multiplier it costs about a ninth, and is a rough
approximation: train afterwards, best against the original's outputs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Call
from hsi.compress.fold.draft import Draft, Layer, filled
from hsi.compress.fold.kernels import weights_of
from hsi.compress.fold.merges import Cost, cost
from hsi.compress.lowrank.factors import relative_error
from hsi.compress.lowrank.table import Replaced, Row
from hsi.errors import SettingsError, one_of

SHARED = (
    "filters", "kernel_size", "strides", "padding", "dilation_rate", "use_bias", "trainable",
    "dtype", "bias_initializer", "bias_regularizer", "bias_constraint", "activity_regularizer",
)  # fmt: skip
"""Settings that a convolution and a separable one have in common."""


def separate(
    model: keras.Model, *, layers: Iterable[str] | None = None, multiplier: int = 1
) -> Replaced:
    """A new model with separable convolutions in place of its own, and the table of them.

    A 2-D convolution of several taps changes where that saves multiply-accumulates; grouped ones,
    those of unequal strides (a depthwise convolution takes none) and layers called twice stay.
    Names, biases and activations stay. The ranks of the table are the multiplier.

    Args:
        layers: names of those that may change; None for all.
        multiplier: depthwise kernels for each input channel, 1 or more; the rank.

    Raises:
        SettingsError: an unknown layer, or no multiplier.
        ModelError: the model is no graph of layers.
    """
    if multiplier < 1:
        raise SettingsError(f"multiplier: expected 1 or more, got {multiplier}.")
    draft = Draft(model)
    found = [call for call in draft.calls if _separable(draft, call)]
    if layers is not None:
        chosen = {one_of(name, [call.name for call in found], what="layer") for name in layers}
        found = [call for call in found if call.name in chosen]
    rows = []
    for call in found:
        (kernel,), _ = weights_of(call.layer)
        before, after = cost(call), _cost(call, multiplier)
        if after.macs < before.macs and after.parameters <= before.parameters:
            depthwise, pointwise = separable_kernels(kernel, multiplier)
            draft.exchange([call], [_layer(call, depthwise, pointwise)])
            error = relative_error(kernel, rebuilt(depthwise, pointwise))
            rows.append(Row(call.name, "separable", (multiplier,), before, after, error))
        else:
            rows.append(Row(call.name, "", (), before, before, 0.0))
    return Replaced(draft.model(), tuple(rows))


def separable_kernels(kernel: np.ndarray, multiplier: int) -> tuple[np.ndarray, np.ndarray]:
    """The best depthwise (rows, cols, in, m) and pointwise (1, 1, in * m, out) kernels.

    Args:
        kernel: (rows, cols, in, out).
    """
    rows, cols, into, out = kernel.shape
    each = kernel.transpose(2, 0, 1, 3).reshape(into, rows * cols, out)
    left, values, right = np.linalg.svd(each, full_matrices=False)
    root = np.sqrt(values[:, :multiplier])
    taps = left[:, :, :multiplier] * root[:, None]
    mix = root[:, :, None] * right[:, :multiplier]
    depthwise = taps.reshape(into, rows, cols, -1).transpose(1, 2, 0, 3)
    return depthwise, mix.reshape(1, 1, -1, out)


def rebuilt(depthwise: np.ndarray, pointwise: np.ndarray) -> np.ndarray:
    """The kernel (rows, cols, in, out) that these two make together."""
    mix = pointwise.reshape(*depthwise.shape[2:], -1)
    return np.einsum("ijsm,smt->ijst", depthwise, mix)


def _separable(draft: Draft, call: Call) -> bool:
    layer = call.layer
    if type(layer) is not keras.layers.Conv2D or layer.data_format != "channels_last":
        return False
    taps = max(layer.kernel_size) > 1 and layer.groups == 1
    return taps and len({*layer.strides}) == 1 and draft.once(call)


def _cost(call: Call, multiplier: int) -> Cost:
    rows, cols, into, out = call.layer.kernel.shape
    weights = rows * cols * into * multiplier + into * multiplier * out
    positions = int(np.prod([size or 1 for size in call.output_shapes[0][:-1]]))
    return Cost(weights + (out if call.layer.use_bias else 0), weights * positions)


def _layer(call: Call, depthwise: np.ndarray, pointwise: np.ndarray) -> Layer:
    old = call.layer
    config = {name: value for name, value in old.get_config().items() if name in SHARED}
    layer = keras.layers.SeparableConv2D(
        **config,
        depth_multiplier=depthwise.shape[-1],
        activation=old.activation,
        name=call.name,
    )
    _, bias = weights_of(old)
    arrays = [depthwise, pointwise] if bias is None else [depthwise, pointwise, bias]
    return filled(layer, call.input_shapes[0], arrays)
