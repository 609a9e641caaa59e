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


def in_turn(
    count: tf.Tensor,
    size: tf.Tensor,
    add: Callable[[tf.Tensor, tf.Tensor], list[tf.Tensor]],
    zeros: list[tf.Tensor],
) -> list[tf.Tensor]:
    """Sums of what `add` gives for the points `first` to before `last`, so many at a time.

    The last of them may be fewer: no point is computed that does not count.

    Args:
        count: of the points.
        size: most of them at a time.
        add: (first, last) -> what is summed, each in the shape of its `zeros`.
        zeros: where the sums start.
    """

    def turn(first: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        last = tf.minimum(first + size, count)
        return last, *(total + more for total, more in zip(sums, add(first, last), strict=True))

    return tf.while_loop(
        lambda first, *_: first < count, turn, [tf.constant(0), *zeros], parallel_iterations=1
    )[1:]


def mean_slope(
    rest: Callable[[tf.Tensor], tf.Tensor],
    starts: tf.Tensor,
    shifts: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    weights: tf.Tensor,
    classes: tf.Tensor,
    count: tf.Tensor,
    size: tf.Tensor,
) -> tf.Tensor:
    """Sum over points p of  weight_p * d logit / d a  at  starts + shift_p,  (n, ...).

    So many points at a time, so that no more than `size` * n rows are in memory.

    Args:
        rest: maps (rows, ...) to logits (rows, classes).
        starts: (n, ...).
        shifts: (first, last) -> (last - first, n or 1, ...) shifts of these points.
        weights: (at least `count`,) of the points.
        classes: (n,) whose logit it is.
        count: of the points.
        size: most of them at a time.
    """
    shape = tf.concat([[-1], tf.shape(starts)[1:]], 0)

    def add(first: tf.Tensor, last: tf.Tensor) -> list[tf.Tensor]:
        weight = weights[first:last]
        with tf.GradientTape() as tape:
            tape.watch(starts)
            logits = rest(tf.reshape(starts[None] + shifts(first, last), shape))
            # The points of a sample share its start, so their slopes add up there.
            chosen = tf.one_hot(classes, tf.shape(logits)[1], dtype=logits.dtype)
            each = tf.reshape(logits, tf.concat([[-1], tf.shape(chosen)], 0))
            picked = tf.reduce_sum(each * chosen[None] * weight[:, None, None])
        slopes = tape.gradient(picked, starts, unconnected_gradients="zero")
        slopes.set_shape(starts.shape)
        return [slopes]

    return in_turn(count, size, add, [tf.zeros_like(starts)])[0]
