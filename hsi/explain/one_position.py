"""A convolution whose map has one position is one matrix product.

Its window is put on the map once, so the part of the map under it, laid flat, times the part of the
kernel that lies on the map is the answer: the same sums, without the search for windows, and
without the taps that lie on the padding (of a 3 x 3 kernel on a map of one position eight of nine).
Such convolutions end every network for small patches.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

TOLERANCE = 1e-4
"""Most that the product may differ from the layer, as a share of the largest answer."""

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)

_AGREES: weakref.WeakKeyDictionary[Any, dict[tuple[int, ...], bool]] = weakref.WeakKeyDictionary()


def quickest(layer: Any, *args: Any) -> Callable[..., Any]:
    """The layer as a matrix product where it is one on these arguments; the layer otherwise.

    The product is compared with the layer on random rows at its first use, and not taken where
    they disagree.
    """
    if len(args) != 1 or type(layer) not in _CONVOLUTIONS or not layer.built:
        return layer
    window = _window(layer, tuple(getattr(args[0], "shape", ())))
    if window is None:
        return layer
    known = _AGREES.setdefault(layer, {})
    shape = tuple(args[0].shape[1:])
    if shape not in known:
        known[shape] = _agree(layer, window, shape)
    return (lambda x, **_: _product(layer, window, x)) if known[shape] else layer


def is_one_position(layer: Any, shape: tuple[int | None, ...]) -> bool:
    """Whether `quickest` tries a product for a layer that reads (n, *sizes, channels)."""
    return type(layer) in _CONVOLUTIONS and _window(layer, shape) is not None


def _window(layer: Any, shape: tuple[int | None, ...]) -> list[tuple[int, int]] | None:
    """For each axis of the map how many values the window reads, and how much padding is before.

    None where there are several positions, unknown sizes, groups, dilation or unusual padding.
    """
    usual = (
        layer.padding in ("valid", "same")
        and layer.data_format == "channels_last"
        and layer.groups == 1
        and all(d == 1 for d in layer.dilation_rate)
    )
    if not usual or len(shape) != layer.rank + 2 or None in shape[1:]:
        return None
    found = []
    for size, kernel, stride in zip(shape[1:-1], layer.kernel_size, layer.strides, strict=True):
        assert size is not None
        if layer.padding == "same":
            positions, before = -(-size // stride), max(kernel - size, 0) // 2
        else:
            positions, before = (size - kernel) // stride + 1, 0
        if positions != 1:
            return None
        found.append((min(size, kernel - before), before))
    return found


def _product(layer: Any, window: list[tuple[int, int]], x: tf.Tensor) -> tf.Tensor:
    seen = tuple(slice(0, reads) for reads, _ in window)
    taps = tuple(slice(before, before + reads) for reads, before in window)
    values = tf.cast(x, layer.compute_dtype)[(slice(None), *seen)]
    kernel = tf.cast(layer.kernel, layer.compute_dtype)[taps]
    length = int(np.prod(kernel.shape[:-1]))
    answers = tf.reshape(values, [-1, length]) @ tf.reshape(kernel, [length, layer.filters])
    if layer.use_bias:
        answers = tf.nn.bias_add(answers, tf.cast(layer.bias, answers.dtype))
    answers = tf.reshape(answers, [-1, *[1] * layer.rank, layer.filters])
    return answers if layer.activation is None else layer.activation(answers)


def _agree(layer: Any, window: list[tuple[int, int]], shape: tuple[int, ...]) -> bool:
    with tf.init_scope():  # at once, also while a function around it is being traced
        rows = np.random.default_rng(0).normal(size=(2, *shape))
        x = tf.constant(rows, layer.compute_dtype)
        plain, product = layer(x).numpy(), _product(layer, window, x).numpy()
    largest = np.abs(plain).max()
    return bool(np.allclose(product, plain, rtol=0, atol=TOLERANCE * largest, equal_nan=True))
