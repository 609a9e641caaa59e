"""The preparation of the input as a part of the network, which then takes the sensor's counts.

Clipping x to [low, high] is done by layers that every converter knows: with u = 6 (x - low) / (high
- low), a ReLU that ends at 6 (one operator with the layer before it in a `.tflite` file) clips u to
0 .. 6, and low + u (high - low) / 6 is the clipped value. All that follows (standardisation,
PCA or another affine method, a selection of bands, the scale of the components) is one affine map
of channels, in the first kernel or before it.
"""

from __future__ import annotations

import numpy as np
import tf_keras as keras

from hsi.bands import Preparation
from hsi.compress.fold.draft import Draft, Layer, filled
from hsi.compress.fold.kernels import ChannelMap
from hsi.compress.fold.merges import map_merge
from hsi.errors import ModelError, one_of

PLACES = ("kernel", "layer")
CLIP, LIMIT, AFFINE = "preparation_clip", "preparation_limit", "preparation"
"""Names of the layers: scaled to 0 .. 6, cut there, and the affine rest."""

TOP = 6.0


def fold_preparation(
    model: keras.Model, preparation: Preparation, *, into: str | None = None, clip: bool = True
) -> keras.Model:
    """A model of raw counts (n, rows, cols, bands), equal to the model of prepared ones.

    The layers of the preparation are not trainable, so that a later fine-tuning leaves them.

    Args:
        model: takes (n, rows, cols, channels) of this preparation.
        preparation: without a method, or with an affine one, as all selections of bands are.
        into: where the affine part goes: "kernel", into the first layer's kernel; "layer", a 1 x 1
            convolution before it (depthwise without a reducer); None for whichever takes fewer
            multiply-accumulates, the kernel where they are equal.
        clip: False leaves the clipping out, which is right for values within the bounds alone.

    Raises:
        SettingsError: another place.
        ModelError: a method that is not affine, another number of channels, an input that is not of
            patches; or the kernel was asked for and cannot take it in (padding, another layer
            first).
    """
    if into is not None:
        one_of(into, PLACES, what="into")
    draft = Draft(model)
    rows, cols = _patch(draft, preparation)
    bounds = _bounds(preparation) if clip else None
    shape = (rows, cols, preparation.bands)
    layers = [] if bounds is None else _clipping(*bounds, shape)
    rest = _affine(preparation, bounds)
    draft.put_in_front(shape, [*layers, _as_layer(rest, shape)])
    first = next(call for call in draft.calls if call.name == AFFINE)
    merge = None if into == "layer" else map_merge(draft, first)
    if into == "kernel" and merge is None:
        raise ModelError(
            f"{model.name}: the preparation cannot go into the first kernel: expected a first "
            "layer without padding (padding puts zeros between prepared values) that alone reads "
            "the input; use into='layer'."
        )
    if merge and (into == "kernel" or merge.after.macs <= merge.before.macs):
        merge.apply(draft)
    return draft.model()


def _patch(draft: Draft, preparation: Preparation) -> tuple[int | None, int | None]:
    """Rows and columns of the network's input, which must suit the preparation."""
    if preparation.kind not in ("none", "affine"):
        raise ModelError(
            f"{preparation.reducer} cannot be folded into a network: its components are no affine "
            "map of the bands; expected PCA, another affine method, a selection or none."
        )
    shapes = draft.input_shapes
    if len(shapes) != 1 or len(shapes[0]) != 3:
        raise ModelError(
            f"Expected a network of one input (rows, cols, channels), got inputs {shapes}."
        )
    rows, cols, channels = shapes[0]
    if channels != preparation.channels:
        raise ModelError(
            f"Expected a network that takes the {preparation.channels} channels of its "
            f"preparation, it takes {channels}; use the preparation of its own run."
        )
    if {CLIP, AFFINE} & {call.name for call in draft.calls}:
        raise ModelError("The network has its preparation folded in already; it takes raw counts.")
    return rows, cols


def _bounds(preparation: Preparation) -> tuple[np.ndarray, np.ndarray] | None:
    low, high = preparation.low, preparation.high
    if np.isneginf(low).all() and np.isposinf(high).all():
        return None
    if not np.isfinite([low, high]).all():
        raise ModelError("Expected clipping bounds for every band or for none, got a mixture.")
    return low, high


def _clipping(low: np.ndarray, high: np.ndarray, shape: tuple[int | None, ...]) -> list[Layer]:
    wide = high > low  # a band of one value: whatever comes, it is that value
    scale = np.divide(TOP, high - low, out=np.zeros(len(low)), where=wide)
    scaled = keras.layers.DepthwiseConv2D(1, name=CLIP, trainable=False)
    limited = keras.layers.ReLU(max_value=TOP, name=LIMIT)
    return [filled(scaled, shape, [scale[None, None, :, None], -low * scale]), limited]


def _affine(preparation: Preparation, bounds: tuple[np.ndarray, np.ndarray] | None) -> ChannelMap:
    """From what the clipping gives, or from counts, to the network's channels."""
    low, width = np.zeros(preparation.bands), np.ones(preparation.bands)
    if bounds is not None:
        low, width = bounds[0], (bounds[1] - bounds[0]) / TOP
    scale, start = width / preparation.scale, (low - preparation.offset) / preparation.scale
    if preparation.reducer == "none":
        return ChannelMap(scale, start)
    axes = preparation.components.T / preparation.out_scale
    shift = (start - preparation.mean) @ axes - preparation.out_offset / preparation.out_scale
    return ChannelMap(scale[:, None] * axes, shift)


def _as_layer(affine: ChannelMap, shape: tuple[int | None, ...]) -> Layer:
    if affine.diagonal:
        layer = keras.layers.DepthwiseConv2D(1, name=AFFINE, trainable=False)
        return filled(layer, shape, [affine.matrix[None, None, :, None], affine.constant])
    layer = keras.layers.Conv2D(len(affine.constant), 1, name=AFFINE, trainable=False)
    return filled(layer, shape, [affine.matrix[None, None], affine.constant])
