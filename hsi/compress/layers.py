"""What each layer type does to channels: one small class a kind, one visible table.

A rule says how a layer passes channel ids from its inputs to its output, which of its weights
belong to which channel, and which of its settings follow their number. To make a new layer type
known, write a class (or reuse one) and add a line to `RULES`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Shape
from hsi.compress.space import Kept, Site
from hsi.errors import ModelError

Layer: TypeAlias = keras.layers.Layer

EXACT_ZERO = frozenset({"relu", "relu6", "hard_sigmoid"})
"""Activations that are exactly zero over a whole range of inputs."""

ELEMENTWISE = EXACT_ZERO | {
    "linear", "sigmoid", "tanh", "elu", "selu", "softplus", "softsign", "swish", "silu", "gelu",
    "exponential", "mish", "leaky_relu",
}  # fmt: skip
"""Activations that treat each channel by itself; channels under any other cannot be removed."""


class Rule:
    """A layer that leaves the channel axis as it is and has no weights: pooling, padding ..."""

    emits = False
    """Whether it can turn a zeroed channel into other values (so that masks go after it)."""

    def counts(self, layer: Layer) -> bool:
        """Whether a setting is the number of its output's channels, the same at every call."""
        return False

    def kind(self, layer: Layer) -> str:
        """`convolution` or `dense` where the layer makes channels of its own, else ''."""
        return ""

    def activation(self, layer: Layer) -> str:
        """Name of the non-linearity that the layer ends with; `linear` where it has none."""
        return "linear"

    def trace(self, site: Site) -> np.ndarray:
        """Channel ids of the output's last axis; ties and pins ids where the layer does."""
        return site.inputs[0]

    def changes(self, layer: Layer, kept: Kept) -> dict[str, Any]:
        """Settings of the smaller layer that differ."""
        return {}

    def weights(self, layer: Layer, kept: Kept) -> list[np.ndarray]:
        """The layer's weights without those of the removed channels."""
        return layer.get_weights()


class Activated(Rule):
    """A layer that ends with its `activation`; one that looks across channels pins them."""

    emits = True

    def activation(self, layer: Layer) -> str:
        return getattr(layer.activation, "__name__", "unknown")

    def trace(self, site: Site) -> np.ndarray:
        ids = self.output(site)
        if self.activation(site.layer) not in ELEMENTWISE:
            site.space.pin(ids)
        return ids

    def output(self, site: Site) -> np.ndarray:
        return site.inputs[0]


class Dense(Activated):
    """Kernel (in, out), on the last axis."""

    size = "units"

    def kind(self, layer: Layer) -> str:
        return "dense"

    def output(self, site: Site) -> np.ndarray:
        return site.space.new(len_of(site.output_shape))

    def changes(self, layer: Layer, kept: Kept) -> dict[str, Any]:
        return {self.size: int(kept.output.sum())}

    def weights(self, layer: Layer, kept: Kept) -> list[np.ndarray]:
        kernel, *bias = layer.get_weights()
        return [kernel[..., kept.inputs[0], :][..., kept.output], *(b[kept.output] for b in bias)]


class Convolution(Dense):
    """Kernel (..., in / groups, out).

    With as many groups as inputs it is a depthwise convolution and passes channels on. Any other
    grouped convolution needs equal parts, so its channels are pinned.
    """

    size = "filters"

    def kind(self, layer: Layer) -> str:
        return "convolution" if layer.groups == 1 else ""

    def output(self, site: Site) -> np.ndarray:
        groups, (ids,) = site.layer.groups, site.inputs
        if groups == 1:
            return super().output(site)
        if groups == len(ids):
            return np.repeat(ids, site.layer.filters // groups)
        site.space.pin(ids)
        made = super().output(site)
        site.space.pin(made)
        return made

    def changes(self, layer: Layer, kept: Kept) -> dict[str, Any]:
        groups = (
            {"groups": int(kept.inputs[0].sum())} if layer.groups == kept.inputs[0].size else {}
        )
        return {**super().changes(layer, kept), **(groups if layer.groups > 1 else {})}

    def weights(self, layer: Layer, kept: Kept) -> list[np.ndarray]:
        if layer.groups == 1:
            return super().weights(layer, kept)
        return [w[..., kept.output] for w in layer.get_weights()]


class TransposedConvolution(Dense):
    """Kernel (..., out, in)."""

    size = "filters"

    def kind(self, layer: Layer) -> str:
        return "convolution"

    def weights(self, layer: Layer, kept: Kept) -> list[np.ndarray]:
        kernel, *bias = layer.get_weights()
        return [kernel[..., kept.output, :][..., kept.inputs[0]], *(b[kept.output] for b in bias)]


class SeparableConvolution(Dense):
    """Depthwise kernel (..., in, multiplier), then pointwise (..., in * multiplier, out)."""

    size = "filters"

    def kind(self, layer: Layer) -> str:
        return "convolution"

    def weights(self, layer: Layer, kept: Kept) -> list[np.ndarray]:
        depthwise, pointwise, *bias = layer.get_weights()
        between = np.repeat(kept.inputs[0], layer.depth_multiplier)
        return [
            depthwise[..., kept.inputs[0], :],
            pointwise[..., between, :][..., kept.output],
            *(b[kept.output] for b in bias),
        ]


class DepthwiseConvolution(Activated):
    """Kernel (..., in, multiplier); output in * multiplier + q belongs to channel `in`."""

    def output(self, site: Site) -> np.ndarray:
        return np.repeat(site.inputs[0], site.layer.depth_multiplier)

    def weights(self, layer: Layer, kept: Kept) -> list[np.ndarray]:
        kernel, *bias = layer.get_weights()
        return [kernel[..., kept.inputs[0], :], *(b[kept.output] for b in bias)]


class BatchNormalization(Rule):
    """Gamma, beta, moving mean and variance, each along the last axis."""

    emits = True

    def trace(self, site: Site) -> np.ndarray:
        axis = site.layer.axis
        axes = list(axis) if isinstance(axis, list | tuple) else [axis]
        rank = len(site.output_shape) + 1
        if [a % rank for a in axes] != [rank - 1]:
            raise refuse(site.layer, f"it normalises axis {axes}, not the last one")
        return site.inputs[0]

    def weights(self, layer: Layer, kept: Kept) -> list[np.ndarray]:
        return [w[kept.output] for w in layer.get_weights()]


class ReLU(Rule):
    """Zero below the threshold, unless it has a negative slope."""

    emits = True

    def activation(self, layer: Layer) -> str:
        return "leaky_relu" if getattr(layer, "negative_slope", 0) else "relu"


class LeakyReLU(Rule):
    """Non-linear, elementwise, without weights, and hardly ever exactly zero."""

    def activation(self, layer: Layer) -> str:
        return type(layer).__name__


class PReLU(LeakyReLU):
    """Alpha of the input's shape, with 1 along shared axes."""

    def weights(self, layer: Layer, kept: Kept) -> list[np.ndarray]:
        (alpha,) = layer.get_weights()
        shared = alpha.shape[-1] == 1 and kept.output.size > 1
        return [alpha if shared else alpha[..., kept.output]]


class Across(Rule):
    """A layer that mixes channels without a kernel, or has settings of each: all of them stay."""

    def activation(self, layer: Layer) -> str:
        return type(layer).__name__

    def trace(self, site: Site) -> np.ndarray:
        site.space.pin(site.inputs[0])
        return site.inputs[0]


class Rescaling(Rule):
    """One factor and one offset for all channels; with a list of them the channels are pinned."""

    emits = True

    def trace(self, site: Site) -> np.ndarray:
        if np.ndim(site.layer.scale) or np.ndim(site.layer.offset):
            site.space.pin(site.inputs[0])
        return site.inputs[0]


class Reshape(Rule):
    """Flatten and reshape: positions that come to lie in one column are tied.

    Channel c of a (rows, cols, C) map comes to the positions c + C * k of the flat vector.
    """

    def trace(self, site: Site) -> np.ndarray:
        shape, columns = site.input_shapes[0], site.output_shape[-1]
        known = [size for size in shape if size is not None]
        if len(known) < len(shape) or columns is None:
            raise refuse(site.layer, f"its input shape {shape} is not fully known")
        rows = np.broadcast_to(site.inputs[0], known).reshape(-1, columns)
        for row in rows[1:]:
            if not np.array_equal(row, rows[0]):
                site.space.tie(rows[0], row)
        if columns == 1 and len(site.inputs[0]) > 1:
            site.space.pin(rows[0])  # all channels in one column: it cannot go
        return rows[0]

    def counts(self, layer: Layer) -> bool:
        return hasattr(layer, "target_shape") and layer.target_shape[-1] != -1

    def changes(self, layer: Layer, kept: Kept) -> dict[str, Any]:
        if not self.counts(layer):
            return {}
        return {"target_shape": (*layer.target_shape[:-1], int(kept.output.sum()))}


class Permute(Rule):
    """Passes channels on where the last axis stays the last."""

    def trace(self, site: Site) -> np.ndarray:
        if site.layer.dims[-1] != len(site.output_shape):
            raise refuse(site.layer, "it moves the channel axis")
        return site.inputs[0]


class Elementwise(Rule):
    """Add, multiply ...: channel k of each input belongs to channel k of the others."""

    emits = True

    def trace(self, site: Site) -> np.ndarray:
        widest = max(site.inputs, key=len)
        for ids in site.inputs:
            if len(ids) == len(widest):
                site.space.tie(widest, ids)
            else:  # one channel against many: it acts on all of them
                site.space.pin(ids)
        return widest


class Concatenate(Rule):
    """On the channel axis one after the other; on any other axis the channels are tied."""

    def trace(self, site: Site) -> np.ndarray:
        rank = len(site.output_shape) + 1
        if site.layer.axis % rank == rank - 1:
            return np.concatenate(site.inputs)
        for ids in site.inputs[1:]:
            site.space.tie(site.inputs[0], ids)
        return site.inputs[0]


def len_of(shape: Shape) -> int:
    """Length of the last axis."""
    return int(shape[-1] or 0)


def _named(names: str) -> dict[type, Rule]:
    return {getattr(keras.layers, name): Rule() for name in names.split()}


RULES: dict[type, Rule] = {
    keras.layers.Conv1D: Convolution(),
    keras.layers.Conv2D: Convolution(),
    keras.layers.Conv3D: Convolution(),
    keras.layers.Conv1DTranspose: TransposedConvolution(),
    keras.layers.Conv2DTranspose: TransposedConvolution(),
    keras.layers.Conv3DTranspose: TransposedConvolution(),
    keras.layers.SeparableConv1D: SeparableConvolution(),
    keras.layers.SeparableConv2D: SeparableConvolution(),
    keras.layers.DepthwiseConv1D: DepthwiseConvolution(),
    keras.layers.DepthwiseConv2D: DepthwiseConvolution(),
    keras.layers.Dense: Dense(),
    keras.layers.BatchNormalization: BatchNormalization(),
    keras.layers.Activation: Activated(),
    keras.layers.ReLU: ReLU(),
    keras.layers.ThresholdedReLU: ReLU(),
    keras.layers.LeakyReLU: LeakyReLU(),
    keras.layers.ELU: LeakyReLU(),
    keras.layers.PReLU: PReLU(),
    keras.layers.Softmax: Across(),
    keras.layers.LayerNormalization: Across(),
    keras.layers.GroupNormalization: Across(),
    keras.layers.UnitNormalization: Across(),
    keras.layers.Normalization: Across(),
    keras.layers.Rescaling: Rescaling(),
    keras.layers.Flatten: Reshape(),
    keras.layers.Reshape: Reshape(),
    keras.layers.Permute: Permute(),
    keras.layers.Add: Elementwise(),
    keras.layers.Subtract: Elementwise(),
    keras.layers.Multiply: Elementwise(),
    keras.layers.Average: Elementwise(),
    keras.layers.Maximum: Elementwise(),
    keras.layers.Minimum: Elementwise(),
    keras.layers.Concatenate: Concatenate(),
    **_named(
        "MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D "
        "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GlobalAveragePooling1D "
        "GlobalAveragePooling2D GlobalAveragePooling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D "
        "Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D Resizing "
        "CenterCrop RandomCrop RandomFlip RandomRotation RandomZoom RandomTranslation Dropout "
        "SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout "
        "GaussianNoise ActivityRegularization RepeatVector"
    ),
}
"""Layer type -> what it does to channels. Exact types: a subclass may do anything."""


def rule_for(layer: Layer) -> Rule:
    """The rule of a layer's type.

    Raises:
        ModelError: no rule for the type, or the layer keeps its channels on the first axis.
    """
    rule = RULES.get(type(layer))
    if rule is None:
        known = ", ".join(sorted(kind.__name__ for kind in RULES))
        raise refuse(layer, f"expected layers of the types {known}")
    if getattr(layer, "data_format", None) == "channels_first":
        raise refuse(layer, "its data format is channels_first, expected channels_last")
    return rule


def refuse(layer: Layer, why: str) -> ModelError:
    """The error for a layer that channels cannot be followed through."""
    return ModelError(
        f"layer {layer.name!r} of type {type(layer).__name__} cannot be pruned through: {why}."
    )
