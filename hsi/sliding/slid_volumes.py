"""3-D layers on maps of a whole image: along the spectrum as they are, over the image slid.

A map of volumes has values (depth, channels) at each position, so (n, rows, cols, depth, channels).
The depth is the same in a patch and in the image: whatever a layer does along it, padding and
strides included, it does here too. Rows and columns are slid as `hsi.sliding.slid_maps` says.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from hsi.sliding import slid_maps
from hsi.sliding.slid_maps import SlidMap

POOLS = {
    keras.layers.MaxPooling3D: tf.maximum,
    keras.layers.AveragePooling3D: tf.add,
}
GLOBAL_POOLS = {
    keras.layers.GlobalMaxPooling3D: (tf.maximum, tf.reduce_max),
    keras.layers.GlobalAveragePooling3D: (tf.add, tf.reduce_mean),
}


def slide(layer: Any, given: SlidMap) -> tuple[SlidMap, int] | None:
    """A 3-D layer's map and its multiply-adds for a pixel; None where it cannot be slid.

    Args:
        layer: channels last.
        given: of values (depth, channels).
    """
    kind = type(layer)
    if kind is keras.layers.Conv3D:
        return _convolved(layer, given)
    if kind in POOLS:
        return _pooled(layer, given), 0
    if kind in GLOBAL_POOLS:
        join, reduce = GLOBAL_POOLS[kind]
        flat = given.mapped(lambda values: reduce(values, axis=3, keepdims=layer.keepdims))
        return slid_maps.pooled(flat, (len(given.rows), len(given.cols)), (1, 1), join), 0
    if kind is keras.layers.Cropping3D:
        rows, cols, (before, after) = layer.cropping
        cut = given.mapped(lambda values: values[:, :, :, before : values.shape[3] - after])
        return slid_maps.cropped(cut, rows, cols), 0
    if kind is keras.layers.ZeroPadding3D and layer.padding[:2] == ((0, 0), (0, 0)):
        return given.mapped(layer), 0
    return None


def _convolved(layer: Any, given: SlidMap) -> tuple[SlidMap, int] | None:
    window, strides, dilation = layer.kernel_size, layer.strides, layer.dilation_rate
    if layer.groups != 1 or (layer.padding != "valid" and set(window[:2]) != {1}):
        return None
    steps = slid_maps.even_steps(given, window[:2], dilation[:2])
    if steps is None:
        return None
    twin = copy.copy(layer)  # on the same weights; set past Keras, which would track it
    vars(twin)["strides"] = (1, 1, strides[2])
    vars(twin)["dilation_rate"] = (1, 1, dilation[2])

    def spread(values: tf.Tensor) -> tf.Tensor:
        return _far_apart(twin, values, window[:2], steps)

    found = slid_maps.evenly_convolved(given, window[:2], strides[:2], dilation[:2], spread)
    depth = int(found.shape[0])
    return found, int(layer.kernel.shape.num_elements()) * depth


def _far_apart(
    layer: Any, values: tf.Tensor, window: Sequence[int], steps: tuple[int, int]
) -> tf.Tensor:
    """A convolution without padding of rows and columns, whose taps there lie `steps` apart.

    TensorFlow dilates no 3-D convolution with strides: so every `steps`-th row and column becomes
    an image of its own.
    """
    if steps == (1, 1):
        return layer(values)
    sizes = [tf.shape(values)[axis] for axis in (1, 2)]
    rest = [[0, -size % step] for size, step in zip(sizes, steps, strict=True)]
    apart = tf.space_to_batch(values, steps, rest)
    found = tf.batch_to_space(layer(apart), steps, [[0, 0], [0, 0]])
    rows, cols = (
        size - (reads - 1) * step for size, reads, step in zip(sizes, window, steps, strict=True)
    )
    return found[:, :rows, :cols]


def _pooled(layer: Any, given: SlidMap) -> SlidMap:
    window, strides, join = layer.pool_size, layer.strides, POOLS[type(layer)]
    if (window[2], strides[2]) != (1, 1):
        deep = type(layer)((1, 1, window[2]), (1, 1, strides[2]), layer.padding)
        given = given.mapped(deep)
    same = layer.padding == "same"
    return slid_maps.pooled(given, window[:2], strides[:2], join, same=same)
