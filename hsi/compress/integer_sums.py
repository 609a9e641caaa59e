"""Convolution and dense layers in integers: sums as accumulators of a given width compute them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras as keras

from hsi.compress.widths import Overflow


@dataclass(frozen=True)
class Taps:
    """The factors of sums of products.

    Attributes:
        values: int64 (positions, taps), or (positions, taps, out) where each output sums over
            values of its own.
        weights: int64 (taps, out).
        shape: of the sums, (n, ..., out).
    """

    values: np.ndarray
    weights: np.ndarray
    shape: tuple[int, ...]

    def dot(self, *, magnitude: bool = False) -> np.ndarray:
        """(positions, out) sums of all products, or of their magnitudes, without overflow."""
        a, b = self.values, self.weights
        if magnitude:
            a, b = np.abs(a), np.abs(b)
        if a.ndim == 3:
            return np.einsum("ptk,tk->pk", a, b)
        # whole numbers in float64 are exact to 2^53, and products of matrices are much faster
        return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)

    def saturated(self, rows: np.ndarray, start: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
        """(rows, out) sums at these positions that stop at the limits at every addition."""
        low, high = limits
        values = self.values[rows]
        # half the memory where every sum before it is cut fits as well
        largest = int(np.abs(values).max()) * int(np.abs(self.weights).max()) - low
        kind = np.int32 if largest < 2**31 else np.int64
        columns, weights = np.moveaxis(values, 1, 0).astype(kind), self.weights.astype(kind)
        found = np.empty((len(values), weights.shape[1]), kind)
        found[:] = np.clip(start, low, high)
        products = np.empty_like(found)
        for column, weight in zip(columns, weights, strict=True):
            np.multiply(column if column.ndim == 2 else column[:, None], weight, out=products)
            found += products
            np.maximum(found, low, out=found)
            np.minimum(found, high, out=found)
        return found


def accumulate(
    taps: Taps, start: np.ndarray, *, bits: int, overflow: Overflow
) -> tuple[np.ndarray, int]:
    """Sum products into accumulators of `bits` bits, two's complement.

    Args:
        start: int64 (out,), what accumulators begin with.
        overflow: "saturate" stops at the ends of the range at every addition; "wrap" goes on at
            the other end.

    Returns:
        int64 sums in `taps.shape`, and how many of them are not the exact sum.
    """
    exact = taps.dot() + start
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if overflow == "wrap":
        found = (exact - low) % 2**bits + low
    else:
        reached = taps.dot(magnitude=True) + np.abs(start)
        rows = np.flatnonzero((reached > high).any(axis=1))  # elsewhere no sum leaves the range
        found = exact.copy()
        if len(rows):
            found[rows] = taps.saturated(rows, start, (low, high))
    return found.reshape(taps.shape), int(np.count_nonzero(found != exact))


def taps_of(layer: Any, x: np.ndarray, levels: np.ndarray) -> Taps:
    """The factors of a convolution's or dense layer's sums.

    Args:
        layer: Dense, Conv1D, Conv2D, Conv3D or DepthwiseConv2D of tf_keras, channels last.
        x: int64 (n, ..., in), 0 standing for 0.
        levels: int64 kernel, in Keras' order; (rows, cols, 1, out) for a depthwise one.
    """
    outputs = levels.shape[-1]
    if isinstance(layer, keras.layers.Dense):
        return Taps(x.reshape(-1, x.shape[-1]), levels, (*x.shape[:-1], outputs))
    windows = _windows(x, layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding)
    rank = len(layer.kernel_size)
    shape = (*windows.shape[: rank + 1], outputs)
    positions = int(np.prod(shape[:-1]))
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        values = windows.reshape(positions, -1, x.shape[-1])
        own = np.repeat(values, outputs // x.shape[-1], axis=-1)
        return Taps(own, levels.reshape(-1, outputs), shape)
    return Taps(windows.reshape(positions, -1), levels.reshape(-1, outputs), shape)


def _windows(
    x: np.ndarray,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: str,
) -> np.ndarray:
    """(n, *size, in) -> (n, *positions, *kernel, in), zeros around as TensorFlow pads."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if padding == "same":
        pads = []
        for size, r, s in zip(x.shape[1:-1], reach, strides, strict=True):
            total = max((-(-size // s) - 1) * s + r - size, 0)
            pads.append((total // 2, total - total // 2))
        x = np.pad(x, ((0, 0), *pads, (0, 0)))
    elif padding == "causal":
        x = np.pad(x, ((0, 0), (reach[0] - 1, 0), (0, 0)))
    rank = len(kernel)
    axes = tuple(range(1, rank + 1))
    views = np.lib.stride_tricks.sliding_window_view(x, reach, axis=axes)
    steps = tuple(slice(None, None, s) for s in strides)
    taps = tuple(slice(None, None, d) for d in dilations)
    views = views[(slice(None), *steps, slice(None), *taps)]
    return np.moveaxis(views, rank + 1, -1)


class IntegerLayer:
    """A convolution or dense layer with integer weights on a symmetric grid.

    The bias starts the sum, so it has to fit there: where it would take more than half of the
    accumulator, the scale of that filter's weights is raised until it takes half, as TensorFlow
    Lite's converter does. Filters of tiny weights need it, such as a batch norm of small gamma
    leaves when it is folded.

    Args:
        layer: as in `taps_of`.
        bits: of the weights.
        accumulator: bits of the sums.
        per_channel: a scale for each output channel.
        overflow: as in `accumulate`.

    Attributes:
        sums, changed: how many sums were computed, and how many of them overflow changed.
        limit: the largest bias, in steps of a sum.
    """

    def __init__(
        self, layer: Any, *, bits: int, accumulator: int, per_channel: bool, overflow: Overflow
    ) -> None:
        self.layer, self._bits, self._overflow = layer, accumulator, overflow
        kernel, *bias = (w.astype(np.float64) for w in layer.get_weights())
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
        largest = np.abs(kernel).reshape(-1, kernel.shape[-1]).max(axis=0)
        if not per_channel:
            largest = np.full_like(largest, largest.max())
        self._kernel, self._per_channel = kernel, per_channel
        self._scales = np.where(largest > 0, largest, 1.0) / (2 ** (bits - 1) - 1)
        self._bias = bias[0] if bias else np.zeros(kernel.shape[-1])
        self.limit = (2 ** (accumulator - 1) - 1) // 2
        self.sums = self.changed = 0

    def weights(self, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Levels, int64 in the kernel's shape, and their scales, (out,), for inputs of `scale`."""
        least = np.abs(self._bias) / (scale * self.limit)
        scales = np.maximum(self._scales, least if self._per_channel else least.max())
        return np.rint(self._kernel / scales).astype(np.int64), scales

    def __call__(self, x: np.ndarray, scale: float) -> np.ndarray:
        """(n, ..., in) int64, in steps of `scale` -> (n, ..., out) real values, float64."""
        levels, scales = self.weights(scale)
        start = np.rint(self._bias / (scale * scales)).astype(np.int64)
        found, changed = accumulate(
            taps_of(self.layer, x, levels), start, bits=self._bits, overflow=self._overflow
        )
        self.sums += found.size
        self.changed += changed
        values, activation = found * (scale * scales), self.layer.activation
        if activation is keras.activations.linear:
            return values
        return np.asarray(activation(keras.backend.constant(values, "float64")))
