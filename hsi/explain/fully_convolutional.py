"""A classifier of patches over a whole image in one pass, instead of once for every patch.

Neighbouring patches share most of their pixels, and a layer without padding answers the same for
both where they overlap. So such layers are slid over the image, and what a patch's own map holds at
(i, j) is found in the map of the image at

    (row + i * step, col + j * step)

where (row, col) is the corner of the patch, and `step` is 1 until a layer has strides: that layer
is slid with stride 1, and all after it read values that lie so many times further apart (dilated
convolutions; the "filter rarefaction" of Long, Shelhamer and Darrell, "Fully convolutional networks
for semantic segmentation", 2015). Global pooling becomes pooling over the size of the patch's map.

A layer that sees the border of the patch (padding), or that lays the map flat, takes the windows of
the map, one for each patch, and from there on the network runs as it does on patches: exact for
every layer. In networks for small patches little work is left there, mostly dense layers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.errors import ModelError
from hsi.explain.walk import all_nodes, run

_SLIDING = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)
_POOLS = {
    keras.layers.MaxPooling2D: tf.maximum,
    keras.layers.AveragePooling2D: tf.add,
}
_GLOBAL_POOLS = {
    keras.layers.GlobalMaxPooling2D: tf.maximum,
    keras.layers.GlobalAveragePooling2D: tf.add,
}
_ELEMENTWISE = (
    keras.layers.Activation,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
    keras.layers.Rescaling,
    keras.layers.SpatialDropout2D,
)
"""One position at a time, in inference mode."""

_MERGES = (
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Concatenate,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.Subtract,
)


@dataclass(frozen=True)
class Spread:
    """How the map of one patch lies in the map of the image.

    Attributes:
        rows, cols: size of the map of the patch.
        down, right: distance of its values in the map of the image.
    """

    rows: int
    cols: int
    down: int = 1
    right: int = 1


@dataclass
class _Map:
    """The map of an image (n, rows, cols, channels) with the spread of a patch's map in it."""

    values: tf.Tensor
    spread: Spread


class FullyConvolutional:
    """A patch classifier that is slid over images; made by `fully_convolutional`.

    Attributes:
        patch_size: side of the patches.
        cut: name of the layer from which on every patch has its own window; "" where none has
            one of more than one position.
        values: most values (of 4 bytes) that a layer reads and makes for a pixel; what a strip of
            pixels takes in memory is about this times their number.
    """

    def __init__(self, model: keras.Model, patch_size: int) -> None:
        self._model, self.patch_size = model, patch_size
        self.cut, self.values = "", 0
        channels = model.inputs[0].shape[-1]
        spec = tf.TensorSpec((None, None, None, channels), model.inputs[0].dtype)
        self._compiled = tf.function(self._traced, input_signature=[spec], autograph=False)
        self._compiled.get_concrete_function()

    def __call__(self, images: np.ndarray | tf.Tensor) -> tf.Tensor:
        """(n, rows, cols, channels) -> (n, rows - p + 1, cols - p + 1, classes) for patches p x p.

        What is at (i, j) is what the model answers to the patch with its corner there.
        """
        return self._compiled(tf.cast(images, self._model.inputs[0].dtype))

    def _traced(self, images: tf.Tensor) -> tf.Tensor:
        walk = _Walk(self._model, images, self.patch_size)
        scores = walk.answers()
        self.cut, self.values = walk.cut, walk.values
        rows, cols = (tf.shape(images)[axis] - self.patch_size + 1 for axis in (1, 2))
        return tf.reshape(scores, [-1, rows, cols, scores.shape[-1]])


def fully_convolutional(model: keras.Model, patch_size: int) -> FullyConvolutional:
    """The same network, weights shared, over images of any size.

    Args:
        model: functional or sequential, (n, p, p, channels) -> (n, classes).
        patch_size: p.

    Raises:
        ModelError: its layers do not allow it, or nothing would be gained; the text says why.
    """
    if not getattr(model, "_is_graph_network", False):
        raise ModelError("it is no graph of layers")
    shape, answers = model.inputs[0].shape, model.outputs[0].shape
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(shape) != 4 or len(answers) != 2:
        raise ModelError("it does not map patches to scores")
    if any(size not in (None, patch_size) for size in shape[1:3]):
        raise ModelError(f"it takes patches of {shape[1]} x {shape[2]} pixels")
    read = [tensor for _, node in all_nodes(model) for tensor in node.keras_inputs]
    if any(tensor.dtype != model.inputs[0].dtype for tensor in read):
        raise ModelError("its layers compute in several types")
    return FullyConvolutional(model, patch_size)


class _Walk:
    """One evaluation of a model on an image: which of its tensors are maps of the image."""

    def __init__(self, model: keras.Model, images: tf.Tensor, patch_size: int) -> None:
        self.cut, self.values = "", 0
        self._model, self._images = model, images
        self._slid = False
        self._maps: dict[int, _Map] = {}
        self._mark(images, Spread(patch_size, patch_size))

    def answers(self) -> tf.Tensor:
        """(patches, classes)"""
        return run(self._model, self._images, stand_in=self._stand_in)

    def _stand_in(self, name: str, layer: Any) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            tensors = [item for item in tf.nest.flatten((args, kwargs)) if tf.is_tensor(item)]
            maps = [self._maps.get(id(tensor)) for tensor in tensors]
            if any(maps):
                found = self._slide(layer, args, maps, kwargs) if all(maps) else None
                if found is not None:
                    self._count(maps, found)
                    if type(layer) in _GLOBAL_POOLS and not layer.keepdims:
                        return tf.reshape(found.values, [-1, found.values.shape[-1]])
                    return self._mark(found.values, found.spread)
                args, kwargs = tf.nest.map_structure(
                    lambda item: self._windows(item, name), (args, kwargs)
                )
            outputs = layer(*args, **kwargs)
            self._count(args, outputs)
            return outputs

        return call

    def _mark(self, values: tf.Tensor, spread: Spread) -> tf.Tensor:
        """Remember that a tensor is a map; it is held, so that its id stays its own."""
        self._maps[id(values)] = _Map(values, spread)
        return values

    def _slide(
        self, layer: Any, args: Any, maps: Sequence[Any], kwargs: dict[str, Any]
    ) -> _Map | None:
        """What the layer makes of maps; None where it cannot be slid."""
        kind, first = type(layer), maps[0]
        if getattr(layer, "data_format", "channels_last") not in ("channels_last", None):
            return None
        if kind in _SLIDING and (layer.padding == "valid" or set(layer.kernel_size) == {1}):
            self._slid = True
            return _convolved(layer, first)
        if kind in _POOLS and layer.padding == "valid":
            return _pooled(layer, first)
        if kind in _GLOBAL_POOLS:
            return _pooled_globally(layer, first)
        if kind is keras.layers.Cropping2D:
            return _cropped(layer, first)
        if kind in _ELEMENTWISE or _along_channels(layer):
            self._slid |= kind is keras.layers.Dense
            return _Map(layer(*args, **kwargs), first.spread)
        alike = all(found.spread == first.spread for found in maps)
        if kind in _MERGES and alike and getattr(layer, "axis", -1) in (-1, 3):
            return _Map(layer(*args, **kwargs), first.spread)
        return None

    def _windows(self, item: Any, name: str) -> Any:
        """Of a map the window of every patch (patches, rows, cols, channels); others stay."""
        found = self._maps.get(id(item))
        if found is None:
            return item
        if not self._slid:
            raise ModelError(f"{name} needs the borders of each patch, before any convolution")
        values, spread = found.values, found.spread
        rows, cols = (tf.shape(self._images)[axis] - self._patch + 1 for axis in (1, 2))
        parts = [
            values[:, i * spread.down :, j * spread.right :][:, :rows, :cols]
            for i in range(spread.rows)
            for j in range(spread.cols)
        ]
        if len(parts) > 1:
            self.cut = self.cut or name
        shape = [-1, spread.rows, spread.cols, values.shape[-1]]
        return tf.reshape(tf.stack(parts, axis=3) if len(parts) > 1 else parts[0], shape)

    @property
    def _patch(self) -> int:
        return self._maps[id(self._images)].spread.rows

    def _count(self, *tensors: Any) -> None:
        """Keep the largest number of values that a layer reads and makes for a pixel."""
        total = 0
        for item in tf.nest.flatten(tensors):
            if not tf.is_tensor(item) and not isinstance(item, _Map):
                continue
            shape = item.values.shape[3:] if isinstance(item, _Map) else item.shape[1:]
            total += int(np.prod([size or 1 for size in shape]))
        self.values = max(self.values, total)


def _convolved(layer: Any, given: _Map) -> _Map:
    """A convolution with stride 1, its kernel as far apart as the values of the patch's map."""
    spread, strides = given.spread, layer.strides
    steps = (spread.down, spread.right)
    extents = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    twin = copy.copy(layer)  # on the same weights; set past Keras, which would track it
    apart = [d * step for d, step in zip(layer.dilation_rate, steps, strict=True)]
    vars(twin)["strides"], vars(twin)["dilation_rate"] = (1, 1), tuple(apart)
    return _strided(twin(given.values), spread, extents, strides)


def _pooled(layer: Any, given: _Map) -> _Map:
    found = _reduced(given, layer.pool_size, _POOLS[type(layer)])
    return _strided(found, given.spread, layer.pool_size, layer.strides)


def _pooled_globally(layer: Any, given: _Map) -> _Map:
    """Over the size of the patch's map, of which one position is left."""
    spread = given.spread
    found = _reduced(given, (spread.rows, spread.cols), _GLOBAL_POOLS[type(layer)])
    return _Map(found, Spread(1, 1, spread.down, spread.right))


def _reduced(given: _Map, window: Sequence[int], join: Any) -> tf.Tensor:
    """Maximum or mean over a window of the patch's map, at every position."""
    values, spread = given.values, given.spread
    height, width = window
    down, right = (height - 1) * spread.down, (width - 1) * spread.right
    rows, cols = tf.shape(values)[1] - down, tf.shape(values)[2] - right
    values = reduce(join, [values[:, i * spread.down :][:, :rows] for i in range(height)])
    parts = [values[:, :, j * spread.right :][:, :, :cols] for j in range(width)]
    values = reduce(join, parts)
    return values / (height * width) if join is tf.add else values


def _strided(
    values: tf.Tensor, spread: Spread, window: Sequence[int], strides: Sequence[int]
) -> _Map:
    """What stride 1 gave, with the spread that the strides leave to a patch."""
    sizes = (spread.rows - window[0], spread.cols - window[1])
    # What a patch's window does not reach any more at its end is cut off, so that every map is as
    # large as the patches ask for and branches fit each other.
    over = [
        size % stride * step
        for size, stride, step in zip(sizes, strides, (spread.down, spread.right), strict=True)
    ]
    rows, cols = (size // stride + 1 for size, stride in zip(sizes, strides, strict=True))
    values = values[:, : -over[0] or None, : -over[1] or None]
    return _Map(values, Spread(rows, cols, spread.down * strides[0], spread.right * strides[1]))


def _cropped(layer: Any, given: _Map) -> _Map:
    spread, values = given.spread, given.values
    (top, bottom), (left, right) = layer.cropping
    down, across = (
        slice(before * step, -after * step or None)
        for before, after, step in ((top, bottom, spread.down), (left, right, spread.right))
    )
    size = (spread.rows - top - bottom, spread.cols - left - right)
    return _Map(values[:, down, across], Spread(*size, spread.down, spread.right))


def _along_channels(layer: Any) -> bool:
    """Whether it is a layer of options under which it looks along the channels alone."""
    if type(layer) in (keras.layers.BatchNormalization, keras.layers.LayerNormalization):
        axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
        return list(axes) in ([3], [-1])
    if type(layer) is keras.layers.Softmax:
        return layer.axis in (-1, 3)
    if type(layer) is keras.layers.PReLU:
        return tuple(layer.shared_axes or ()) == (1, 2)
    return False
