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
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

BLOCK = 384
"""Products that one matrix product of oneDNN adds in order."""
COLUMNS = 128
"""Sums that are continued together; each of them costs a product with the identity for all."""
FEW = 8
"""Matrix products up to which a loop would take longer to build than they do."""
TOGETHER = 16
"""Channels of a depthwise convolution that share a matrix product; all its others are zeros."""
LARGEST_WINDOW = 25
"""Taps of a depthwise window that XNNPACK sums column by column."""
PART = 2**24
"""Numbers that the windows of one part of a batch may take (64 MB)."""
SMALL = 2**18
"""Numbers up to which those of one sample do not count."""


@cache
def is_kept() -> bool:
    """Whether a matrix product adds in order on this processor: tried on one."""
    draw = np.random.default_rng(0)
    a, b = (draw.uniform(-2, 2, shape).astype(np.float32) for shape in ((3, 300), (300, 5)))
    total = np.zeros((3, 5), np.float32)
    for k in range(300):  # a product of two float32 numbers is exact in float64
        total = (total + a[:, k : k + 1].astype(np.float64) * b[k]).astype(np.float32)
    with tf.init_scope():
        return bool((tf.matmul(a, b).numpy() == total).all())


def dense(x: tf.Tensor, w: tf.Tensor, b: tf.Tensor | None) -> tf.Tensor:
    """(..., k) x (n, k) + (n) -> (..., n)."""
    outputs, products = w.shape
    with tf.init_scope():
        kernel, offsets = tf.transpose(w), _bias(b, outputs)
    y = _in_order([tf.reshape(x, [-1, products])], kernel, offsets)
    return tf.reshape(y, [-1, *(_size(x, axis) for axis in range(1, len(x.shape) - 1)), outputs])


def convolution(
    x: tf.Tensor, w: tf.Tensor, b: tf.Tensor | None, *, strides: Sequence[int], padding: str
) -> tf.Tensor:
    """(n, rows, cols, c) * (h, w, c, m) + (m), in groups where `w` takes fewer channels."""
    height, width, taken, outputs = w.shape
    groups = x.shape[-1] // taken
    with tf.init_scope():
        kernels = [
            tf.reshape(part, [height * width * taken, -1]) for part in tf.split(w, groups, -1)
        ]
        offsets = tf.split(_bias(b, outputs), groups)

    def part(pixels: tf.Tensor) -> tf.Tensor:
        taps = [tap for row in _taps(pixels, (height, width), strides) for tap in row]
        found = []
        for g, (kernel, offset) in enumerate(zip(kernels, offsets, strict=True)):
            rows = [tap[..., g * taken : (g + 1) * taken] for tap in taps] if groups > 1 else taps
            found.append(_in_order([_flat(row) for row in rows], kernel, offset))
        return _unflat(tf.concat(found, -1) if groups > 1 else found[0], taps[0])

    x = padded(x, (height, width), strides, padding)
    return _by_parts(part, x, (height, width), strides, outputs)


def depthwise(
    x: tf.Tensor, w: tf.Tensor, b: tf.Tensor | None, *, strides: Sequence[int], padding: str
) -> tf.Tensor:
    """(n, rows, cols, c) * (h, w, c, m) + (c m): products with zeros leave a sum as it is.

    So some channels share a matrix product, whose kernel has a block for each of them, and all
    these products are one of batches. XNNPACK has kernels of its own for small windows with m = 1;
    the others it runs as grouped convolutions.
    """
    height, width, channels, each = w.shape
    taps = height * width
    by_columns = each == 1 and taps <= LARGEST_WINDOW
    pieces = -(-channels // min(TOGETHER, max(1, (BLOCK - 1) // taps)))
    together = max(-(-channels // pieces), 2)  # a single column is computed in another way
    spare = pieces * together - channels
    with tf.init_scope():
        weights = tf.transpose(w, [1, 0, 2, 3]) if by_columns else w
        weights = tf.pad(tf.reshape(weights, [taps, channels, each]), [[0, 0], [0, spare], [0, 0]])
        blocks = tf.reshape(weights, [taps, pieces, together, 1, each])
        blocks *= tf.eye(together)[:, :, None]
        kernel = tf.reshape(tf.transpose(blocks, [1, 0, 2, 3, 4]), [pieces, taps * together, -1])
        offsets = tf.pad(_bias(b, channels * each), [[0, spare * each]])
        kernel = tf.concat([tf.reshape(offsets, [pieces, 1, -1]), kernel], 1)

    def part(pixels: tf.Tensor) -> tf.Tensor:
        lines = _taps(pixels, (height, width), strides)
        if by_columns:
            lines = [list(column) for column in zip(*lines, strict=True)]
        rows = tf.stack([tap for line in lines for tap in line], 3)
        rows = tf.reshape(rows, [-1, taps, pieces, together])
        rows = tf.reshape(tf.transpose(rows, [2, 0, 1, 3]), [pieces, -1, taps * together])
        y = tf.matmul(tf.concat([tf.ones_like(rows[..., :1]), rows], 2), kernel)
        y = tf.reshape(tf.transpose(y, [1, 0, 2]), [-1, pieces * together * each])
        return _unflat(y[:, : channels * each] if spare else y, lines[0][0])

    x = padded(x, (height, width), strides, padding)
    x = tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, spare]]) if spare else x
    return _by_parts(part, x, (height, width), strides, channels * each)


def _bias(b: tf.Tensor | None, outputs: int) -> tf.Tensor:
    return tf.zeros(outputs) if b is None else b


def _flat(pixels: tf.Tensor) -> tf.Tensor:
    """(n, rows, cols, c) -> (n rows cols, c)."""
    return tf.reshape(pixels, [-1, pixels.shape[-1]])


def _unflat(sums: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """(n rows cols, m) -> (n, rows, cols, m), as `pixels` has them."""
    return tf.reshape(sums, [-1, _size(pixels, 1), _size(pixels, 2), sums.shape[-1]])


def _in_order(rows: Sequence[tf.Tensor], w: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """b + the products of `rows`, (m, k) in all, with w (k, n), one after the other."""
    products, outputs = w.shape
    groups = -(-outputs // COLUMNS) if products >= BLOCK else 1
    size = max(-(-outputs // groups), 2)  # a single column is computed in another way
    spare = groups * size - outputs
    end = min(products, BLOCK - 1)
    with tf.init_scope():  # made once, and not by each call
        w, b = tf.pad(w, [[0, 0], [0, spare]]), tf.pad(b, [[0, spare]])
        begin = tf.concat([b[None], w[:end]], 0)
    x = tf.concat(rows, 1) if len(rows) > 1 else rows[0]
    y = tf.matmul(tf.concat([tf.ones_like(x[:, :1]), x[:, :end]], 1), begin)
    if end < products:
        y = _continued(y, x, w, end, groups)
    return y[:, :outputs] if spare else y


def _continued(y: tf.Tensor, x: tf.Tensor, w: tf.Tensor, end: int, groups: int) -> tf.Tensor:
    """The sums y (m, n) so far, of the first `end` products, to their end.

    All parts are equally long, so that one loop does them where they are many: the last of them
    begins earlier than it would, and meets zeros where the products are in the sums already.
    """
    products, outputs = w.shape
    size = outputs // groups
    step = min(BLOCK - size, products - end)
    starts = [*range(end, products - step, step), products - step]
    with tf.init_scope():
        summed = [end, *(start + step for start in starts[:-1])]
        parts = [
            tf.pad(w[done : start + step], [[done - start, 0], [0, 0]])
            for start, done in zip(starts, summed, strict=True)
        ]
        through = tf.tile(tf.eye(size), [1, groups])
        kernels = tf.stack([tf.concat([through, part], 0) for part in parts])
        kernels = tf.stack(tf.split(kernels, groups, -1), 1)
        begins = tf.constant(starts)

    def add(i: Any, begin: Any, totals: list[tf.Tensor]) -> list[tf.Tensor]:
        part = tf.slice(x, [0, begin], [-1, step])
        return [
            tf.matmul(tf.concat([total, part], 1), kernels[i, g]) for g, total in enumerate(totals)
        ]

    totals = tf.split(y, groups, 1)
    if len(starts) * groups <= FEW:
        for i, start in enumerate(starts):
            totals = add(i, start, totals)
    else:
        _, totals = tf.while_loop(
            lambda i, _: i < len(starts),
            lambda i, totals: (i + 1, add(i, begins[i], totals)),
            (0, totals),
        )
    return tf.concat(totals, 1)


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
        most = max if isinstance(length, int) else tf.maximum
        total = most((-(-length // stride) - 1) * stride + size - length, 0)
        pads.append([total // 2, total - total // 2])
    return tf.pad(x, [[0, 0], *pads, [0, 0]])


def _size(x: tf.Tensor, axis: int) -> Any:
    """A whole number where it is known beforehand."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def _by_parts(
    function: Callable[[tf.Tensor], tf.Tensor],
    x: tf.Tensor,
    window: tuple[int, int],
    strides: Sequence[int],
    outputs: int,
) -> tf.Tensor:
    """`function` of as many samples at once as `PART` allows, one part after the other."""
    taps = math.prod(window)
    small = None not in x.shape[1:] and math.prod(x.shape[1:]) * taps <= SMALL
    if small or taps == 1:  # windows of one pixel take no more than the input itself
        return function(x)
    sizes = [None if size is None else (size - w) // step + 1
             for size, w, step in zip(x.shape[1:3], window, strides, strict=True)]  # fmt: skip
    sample = math.prod(_size(x, axis) for axis in range(1, 4)) * taps
    each = tf.maximum(PART // sample, 1)
    parts = -(-tf.shape(x)[0] // each)
    done = tf.TensorArray(x.dtype, parts, infer_shape=False, element_shape=[None, *sizes, outputs])
    _, done = tf.while_loop(
        lambda i, _: i < parts,
        lambda i, done: (i + 1, done.write(i, function(x[i * each : (i + 1) * each]))),
        (0, done),
        parallel_iterations=1,
    )
    return done.concat()
