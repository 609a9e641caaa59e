"""Sums of float products in the interpreter's order, to the last bit.

XNNPACK starts each sum with the bias and adds one product after the other by fused multiply-add:
a convolution's window row by row, each pixel's channels in turn; a small depthwise window column
by column. Two float32 sums in different orders are 1e-6 apart, and what is 1e-6 apart behind one
layer is 1e-5 apart behind fifty, or another level of a layer that rounds while it runs.

oneDNN's matrix product adds in order, too, from 0 and for as many products as fit its block. So
the bias is a product with 1, in front of the others; a longer sum is cut, and each part but the
first begins with the sum so far, which a product with the identity brings in unchanged. That
holds on processors with AVX-512; on others the sums are right, but for their last bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

BLOCK = 384
"""Products that one matrix product of oneDNN adds in order."""
COLUMNS = 128
"""Sums that are continued together; each of them costs a product with the identity for all."""
LARGEST_WINDOW = 25
"""Taps of a depthwise window that XNNPACK sums column by column."""
PART = 2**24
"""Numbers that the windows of one part of a batch may take (64 MB)."""
SMALL = 2**18
"""Numbers up to which those of one sample do not count."""


def dense(x: tf.Tensor, w: tf.Tensor, b: tf.Tensor | None) -> tf.Tensor:
    """(..., k) x (n, k) + (n) -> (..., n)."""
    with tf.init_scope():
        kernel, offsets = tf.transpose(w), _bias(b, w.shape[0])
    y = _in_order([tf.reshape(x, [-1, w.shape[1]])], kernel, offsets)
    return tf.reshape(y, [-1, *(_size(x, axis) for axis in range(1, len(x.shape) - 1)), w.shape[0]])


def convolution(
    x: tf.Tensor, w: tf.Tensor, b: tf.Tensor | None, *, strides: Sequence[int], padding: str
) -> tf.Tensor:
    """(n, rows, cols, c) * (h, w, c, m) + (m), in groups where `w` takes fewer channels."""
    height, width, taken, outputs = w.shape
    groups = x.shape[-1] // taken
    each = outputs // groups
    with tf.init_scope():
        kernels = [tf.reshape(part, [-1, each]) for part in tf.split(w, groups, -1)]
        offsets = tf.split(_bias(b, outputs), groups)

    def part(pixels: tf.Tensor) -> tf.Tensor:
        taps = [tap for row in _taps(pixels, (height, width), strides) for tap in row]
        found = []
        for g, (kernel, offset) in enumerate(zip(kernels, offsets, strict=True)):
            rows = [tap[..., g * taken : (g + 1) * taken] for tap in taps] if groups > 1 else taps
            found.append(_windows(rows, kernel, offset))
        return tf.concat(found, -1) if groups > 1 else found[0]

    return _by_parts(part, padded(x, (height, width), strides, padding), height * width)


def depthwise(
    x: tf.Tensor, w: tf.Tensor, b: tf.Tensor | None, *, strides: Sequence[int], padding: str
) -> tf.Tensor:
    """(n, rows, cols, c) * (h, w, c, m) + (c m): products with zeros leave a sum as it is.

    XNNPACK has kernels of their own for small windows with m = 1; the others it runs as grouped
    convolutions.
    """
    height, width, channels, each = w.shape
    by_columns = each == 1 and height * width <= LARGEST_WINDOW
    together = max(1, (BLOCK - 1) // (height * width))
    pieces = [(at, min(channels, at + together)) for at in range(0, channels, together)]
    with tf.init_scope():
        weights = tf.transpose(w, [1, 0, 2, 3]) if by_columns else w
        kernels = [
            tf.reshape(
                weights[:, :, a:z, None] * tf.eye(z - a)[..., None],
                [-1, (z - a) * each],
            )
            for a, z in pieces
        ]
        every = _bias(b, channels * each)
        offsets = [every[a * each : z * each] for a, z in pieces]

    def part(pixels: tf.Tensor) -> tf.Tensor:
        taps = _taps(pixels, (height, width), strides)
        taps = [list(column) for column in zip(*taps, strict=True)] if by_columns else taps
        rows = [tap for line in taps for tap in line]
        found = [
            _windows([tap[..., a:z] for tap in rows], kernel, offset)
            for (a, z), kernel, offset in zip(pieces, kernels, offsets, strict=True)
        ]
        return tf.concat(found, -1)

    return _by_parts(part, padded(x, (height, width), strides, padding), height * width)


def _bias(b: tf.Tensor | None, outputs: int) -> tf.Tensor:
    return tf.zeros(outputs) if b is None else b


def _windows(taps: Sequence[tf.Tensor], kernel: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """The sums over (n, rows, cols, c) pixels of each tap."""
    y = _in_order([tf.reshape(tap, [-1, tap.shape[-1]]) for tap in taps], kernel, b)
    return tf.reshape(y, [-1, _size(taps[0], 1), _size(taps[0], 2), kernel.shape[1]])


def _in_order(rows: Sequence[tf.Tensor], w: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """b + the products of `rows`, (m, k) in all, with w (k, n), one after the other."""
    if w.shape[1] % COLUMNS == 1:  # a product with a single column is computed in another way
        with tf.init_scope():
            w, b = tf.pad(w, [[0, 0], [0, 1]]), tf.pad(b, [[0, 1]])
        return _in_order(rows, w, b)[:, :-1]
    x = tf.concat(rows, 1) if len(rows) > 1 else rows[0]
    products, outputs = w.shape
    end = min(products, BLOCK - 1)
    with tf.init_scope():  # made once, and not by each call
        kernel = tf.concat([b[None], w[:end]], 0)
    y = tf.matmul(tf.concat([tf.ones_like(x[:, :1]), x[:, :end]], 1), kernel)
    if end == products:
        return y
    found = []
    for first in range(0, outputs, COLUMNS):
        total = y[:, first : first + COLUMNS]
        size = total.shape[1]
        for start in range(end, products, BLOCK - size):
            stop = min(products, start + BLOCK - size)
            with tf.init_scope():
                kernel = tf.concat([tf.eye(size), w[start:stop, first : first + size]], 0)
            total = tf.matmul(tf.concat([total, x[:, start:stop]], 1), kernel)
        found.append(total)
    return tf.concat(found, 1)


def _taps(x: tf.Tensor, window: tuple[int, int], strides: Sequence[int]) -> list[list[tf.Tensor]]:
    """For each row and column of the window, the pixels that lie under it as it moves."""
    high, wide = (
        (_size(x, axis + 1) - size) // stride * stride + 1
        for axis, (size, stride) in enumerate(zip(window, strides, strict=True))
    )
    down, right = strides
    return [
        [x[:, i : i + high : down, j : j + wide : right] for j in range(window[1])]
        for i in range(window[0])
    ]


def padded(
    x: tf.Tensor, window: tuple[int, int], strides: Sequence[int], padding: str
) -> tf.Tensor:
    """Zeros around x so that a VALID window sees what a SAME one would."""
    if padding == "VALID":
        return x
    pads = []
    for axis, (size, stride) in enumerate(zip(window, strides, strict=True)):
        length = _size(x, axis + 1)
        total = tf.maximum((-(-length // stride) - 1) * stride + size - length, 0)
        pads.append([total // 2, total - total // 2])
    return tf.pad(x, [[0, 0], *pads, [0, 0]])


def _size(x: tf.Tensor, axis: int) -> Any:
    """A whole number where it is known beforehand."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def _by_parts(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, taps: int) -> tf.Tensor:
    """`function` of as many samples at once as `PART` allows, one part after the other."""
    known = None not in x.shape[1:]
    if known and math.prod(x.shape[1:]) * taps <= SMALL:
        return function(x)
    sample = math.prod(_size(x, axis) for axis in range(1, 4)) * taps
    each = tf.maximum(PART // sample, 1)
    parts = -(-tf.shape(x)[0] // each)
    shape = function(x[:1]).shape[1:]
    done = tf.TensorArray(x.dtype, parts, infer_shape=False, element_shape=[None, *shape])
    _, done = tf.while_loop(
        lambda i, _: i < parts,
        lambda i, done: (i + 1, done.write(i, function(x[i * each : (i + 1) * each]))),
        (0, done),
        parallel_iterations=1,
    )
    return done.concat()
