"""Layers of Keras that can be slid over a whole image, and those of one position at a time."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras as keras

from hsi.sliding import slid_volumes
from hsi.sliding.slid_maps import SlidMap

CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)
POOLS = {
    keras.layers.MaxPooling2D: tf.maximum,
    keras.layers.AveragePooling2D: tf.add,
}
GLOBAL_POOLS = {
    keras.layers.GlobalMaxPooling2D: tf.maximum,
    keras.layers.GlobalAveragePooling2D: tf.add,
}
ALL_GLOBAL_POOLS = (*GLOBAL_POOLS, *slid_volumes.GLOBAL_POOLS)

NOTHING = (
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)
"""What does nothing in inference mode."""

ELEMENTWISE = (
    *NOTHING,
    keras.layers.Activation,
    keras.layers.Dense,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
    keras.layers.Rescaling,
)
"""One position at a time, in inference mode."""

MERGES = (
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Concatenate,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.Subtract,
)


def relaid(layer: Any, given: SlidMap) -> SlidMap | None:
    """After a reshaping of the values at each position; None where it mixes positions."""
    place = len(given.rows), len(given.cols)
    shape = layer.compute_output_shape((None, *place, *given.shape))[1:]
    return given.reshaped(shape[2:]) if tuple(shape[:2]) == place and len(shape) > 2 else None


def at_each_position(layer: Any, rank: int) -> bool:
    """Whether it is a layer of options under which it looks at one position of a map at a time.

    Args:
        rank: of the map's tensors, 4, or 5 of volumes.
    """
    if type(layer) in (keras.layers.BatchNormalization, keras.layers.LayerNormalization):
        axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
        return all(axis % rank >= 3 for axis in axes)
    if type(layer) is keras.layers.Softmax:
        return isinstance(layer.axis, int) and layer.axis % rank >= 3
    if type(layer) is keras.layers.PReLU:
        return {1, 2} <= set(layer.shared_axes or ())
    return False
