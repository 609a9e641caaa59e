"""Slopes of the logit at many points near a sample, summed with their weights.

Integrated gradients and SmoothGrad are this sum, over the points of a way and over noisy copies.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from hsi.explain.score import PREDICTED


def class_of(logits: tf.Tensor, wanted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Classes (n,), the predicted ones where `PREDICTED` is wanted, and one-hot (n, classes)."""
    predicted = tf.argmax(logits, axis=1, output_type=tf.int32)
    classes = tf.where(wanted == PREDICTED, predicted, wanted)
    return classes, tf.one_hot(classes, tf.shape(logits)[1], dtype=logits.dtype)


def even_chunks(points: int, most: int) -> tuple[int, int]:
    """How many chunks of at most `most` points there are, and their size, with little left over.

    Example:
        >>> even_chunks(50, 16)
        (4, 13)
    """
    chunks = -(-points // max(most, 1))
    return chunks, -(-points // chunks)


def mean_slope(
    rest: Callable[[tf.Tensor], tf.Tensor],
    starts: tf.Tensor,
    shifts: Callable[[tf.Tensor], tf.Tensor],
    weights: tf.Tensor,
    chosen: tf.Tensor,
    chunks: tf.Tensor,
) -> tf.Tensor:
    """Sum over points p of  weight_p * d logit / d a  at  starts + shift_p,  (n, ...).

    Chunk after chunk, so that no more rows than those of one are in memory.

    Args:
        rest: maps (rows, ...) to logits (rows, classes).
        starts: (n, ...).
        shifts: number of a chunk -> (size, n or 1, ...) shifts of its points.
        weights: (at least `chunks`, size) of the points.
        chosen: (n, classes) one-hot.
        chunks: how many there are.
    """
    shape = tf.concat([[-1], tf.shape(starts)[1:]], 0)

    def add(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        weight = weights[i]
        with tf.GradientTape() as tape:
            tape.watch(starts)
            logits = rest(tf.reshape(starts[None] + shifts(i), shape))
            # The points of a sample share its start, so their slopes add up there.
            each = tf.reshape(logits, tf.concat([[-1], tf.shape(chosen)], 0))
            picked = tf.reduce_sum(each * chosen[None] * weight[:, None, None])
        slopes = tape.gradient(picked, starts, unconnected_gradients="zero")
        slopes.set_shape(starts.shape)
        return i + 1, total + slopes

    zero = tf.zeros_like(starts)
    return tf.while_loop(
        lambda i, _: i < chunks, add, [tf.constant(0), zero], parallel_iterations=1
    )[1]
