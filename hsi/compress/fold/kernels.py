"""Affine maps of channels, and what they make of the kernels beside them.

A map of channels x -> x M + c is the same at every position: a batch norm in inference (Ioffe and
Szegedy 2015), a 1 x 1 convolution, a dense layer on the last axis. With K the kernel of a
convolution (taps, in, out) and b its bias,

    convolution, then map:  kernel K M,  bias b M + c                     always
    map, then convolution:  kernel M K,  bias b + sum over taps of c K    without padding, or c = 0

since the zeros of a padding are put in after the map. All in float64; float32 only in the layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Call

Layer: TypeAlias = keras.layers.Layer
L = keras.layers

PLAIN = (L.Conv1D, L.Conv2D, L.Conv3D, L.Dense)
TRANSPOSED = (L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose)
SEPARABLE = (L.SeparableConv1D, L.SeparableConv2D)
DEPTHWISE = (L.DepthwiseConv1D, L.DepthwiseConv2D)
KERNELS = (*PLAIN, *TRANSPOSED, *SEPARABLE, *DEPTHWISE)
"""Layers that are affine but for their activation. Exact types: a subclass may do anything."""

IDENTITIES = (
    L.Dropout, L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D, L.AlphaDropout,
    L.GaussianDropout, L.GaussianNoise, L.ActivityRegularization, L.Activation,
)  # fmt: skip
"""Layers that do nothing in inference; an `Activation` only where it is linear."""


@dataclass(frozen=True)
class ChannelMap:
    """x -> x M + c at every position.

    Attributes:
        matrix: M (in, out); (channels,) where it is diagonal.
        constant: c (out,).
    """

    matrix: np.ndarray
    constant: np.ndarray

    @property
    def diagonal(self) -> bool:
        return self.matrix.ndim == 1

    def of(self, rows: np.ndarray) -> np.ndarray:
        """rows (..., in) times M."""
        return rows * self.matrix if self.diagonal else rows @ self.matrix


@dataclass(frozen=True)
class Weights:
    """New weights of a kernel layer: its kernels, and its bias where it needs one."""

    kernels: tuple[np.ndarray, ...]
    bias: np.ndarray | None

    def arrays(self) -> list[np.ndarray]:
        return [*self.kernels, *([] if self.bias is None else [self.bias])]


def linear(layer: Layer) -> bool:
    """Whether the layer ends without a non-linearity."""
    return getattr(layer, "activation", None) in (None, keras.activations.linear)


def in_training(call: Call) -> bool:
    """Whether the call runs as in training even in inference (`training=True` was built in)."""
    return bool(call.kwargs.get("training"))


def identity(call: Call) -> bool:
    """Whether a call does nothing in inference."""
    return type(call.layer) in IDENTITIES and linear(call.layer) and not in_training(call)


def kernel_layer(call: Call) -> bool:
    """Whether it is a convolution or dense layer of a kind known here."""
    first = getattr(call.layer, "data_format", None) == "channels_first"
    return type(call.layer) in KERNELS and not first


def channel_map(call: Call) -> ChannelMap | None:
    """The map of channels that a call is, but for its activation; None if it is none."""
    find = CHANNEL_MAPS.get(type(call.layer))
    if find is None or in_training(call):
        return None
    return find(call)


def followed(layer: Layer, after: ChannelMap) -> Weights | None:
    """Weights of a linear kernel layer and a map of channels after it, as one layer."""
    kernels, bias = weights_of(layer)
    *others, kernel = kernels
    if type(layer) in DEPTHWISE:
        if not after.diagonal:
            return None
        kernel = kernel * after.matrix.reshape(kernel.shape[-2:])
    elif type(layer) in TRANSPOSED:
        kernel = np.swapaxes(after.of(np.swapaxes(kernel, -1, -2)), -1, -2)
    elif _groups(layer) > 1 and not after.diagonal:
        return None
    else:
        kernel = after.of(kernel)
    constant = after.constant if bias is None else after.of(bias) + after.constant
    needed = bias is not None or bool(after.constant.any())
    return Weights((*others, kernel), constant if needed else None)


def preceded(layer: Layer, before: ChannelMap) -> Weights | None:
    """Weights of a map of channels and a kernel layer after it, as one layer."""
    if before.constant.any() and (pads(layer) or type(layer) in TRANSPOSED):
        return None
    kernels, bias = weights_of(layer)
    first, *others = kernels
    mixed = type(layer) in (*DEPTHWISE, *SEPARABLE) or _groups(layer) > 1
    if mixed and not before.diagonal:
        return None
    if type(layer) in TRANSPOSED:
        first = first * before.matrix if before.diagonal else first @ before.matrix.T
        return Weights((first,), bias)
    taps = tuple(range(first.ndim - 2))
    if mixed:
        shift = (_by_input(layer, first, before.constant) * first).sum(axis=taps)
        first = _by_input(layer, first, before.matrix) * first
        shift = shift.sum(axis=0) if type(layer) in PLAIN else shift.reshape(-1)
    else:
        shift = before.constant @ first.sum(axis=taps)
        first = before.matrix[:, None] * first if before.diagonal else before.matrix @ first
    for pointwise in others:
        shift = shift @ pointwise.reshape(pointwise.shape[-2:])
    needed = bias is not None or bool(before.constant.any())
    return Weights((first, *others), (0 if bias is None else bias) + shift if needed else None)


def pads(layer: Layer) -> bool:
    """Whether zeros are put around the layer's input."""
    padding = getattr(layer, "padding", "valid")
    return padding != "valid" and any(size > 1 for size in layer.kernel_size)


def weights_of(layer: Layer) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Kernels (depthwise before pointwise) and bias of a kernel layer, float64."""
    arrays = [np.asarray(w, np.float64) for w in layer.get_weights()]
    return (arrays[:-1], arrays[-1]) if layer.use_bias else (arrays, None)


def _groups(layer: Layer) -> int:
    return int(getattr(layer, "groups", 1))


def _by_input(layer: Layer, kernel: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of the input channels (in,), laid out as the last two axes of a kernel."""
    if type(layer) not in PLAIN:
        return values[:, None]
    groups = _groups(layer)
    return np.repeat(values.reshape(groups, -1).T, kernel.shape[-1] // groups, axis=1)


def _batch_norm(call: Call) -> ChannelMap | None:
    layer, rank = call.layer, len(call.output_shapes[0])
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if [axis % (rank + 1) for axis in axes] != [rank]:
        return None
    mean, variance = (np.asarray(w, np.float64) for w in (layer.moving_mean, layer.moving_variance))
    scale = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale = scale * np.asarray(layer.gamma, np.float64)
    shift = np.asarray(layer.beta, np.float64) if layer.center else 0.0
    return ChannelMap(scale, shift - mean * scale)


def _rescaling(call: Call) -> ChannelMap | None:
    layer, channels = call.layer, call.input_shapes[0][-1]
    if channels is None or np.ndim(layer.scale) > 1 or np.ndim(layer.offset) > 1:
        return None
    return ChannelMap(*(np.broadcast_to(v, channels) * 1.0 for v in (layer.scale, layer.offset)))


def _dense(call: Call) -> ChannelMap:
    (kernel,), bias = weights_of(call.layer)
    return ChannelMap(kernel, np.zeros(kernel.shape[1]) if bias is None else bias)


def _one_by_one(call: Call) -> ChannelMap | None:
    layer = call.layer
    depthwise = type(layer) in DEPTHWISE
    if {*layer.kernel_size, *layer.strides} != {1} or not kernel_layer(call):
        return None
    if _groups(layer) > 1 or (depthwise and layer.depth_multiplier > 1):
        return None
    (kernel,), bias = weights_of(layer)
    matrix = kernel.reshape(-1) if depthwise else kernel.reshape(kernel.shape[-2:])
    return ChannelMap(matrix, np.zeros(call.output_shapes[0][-1] or 0) if bias is None else bias)


CHANNEL_MAPS: dict[type, Callable[[Call], ChannelMap | None]] = {
    L.BatchNormalization: _batch_norm,
    L.Rescaling: _rescaling,
    L.Dense: _dense,
    **dict.fromkeys((L.Conv1D, L.Conv2D, L.Conv3D, *DEPTHWISE), _one_by_one),
}
"""Layer type -> the map of channels that such a call is."""


def ending(layer: Layer) -> Any:
    """The activation that a layer ends with; linear where it has none."""
    return getattr(layer, "activation", None) or keras.activations.linear
