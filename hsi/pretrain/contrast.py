"""The loss of contrastive learning, NT-Xent: Chen et al. 2020 (arXiv 2002.05709), equation 1.

    loss(i, j) = -log( exp(cos(z_i, z_j) / T) / sum over k != i of exp(cos(z_i, z_k) / T) )

where i and j are the two views of one sample and k runs over all views of the batch; the mean over
both views of all samples. Chance is log(2 n - 1) for n samples.
"""

from __future__ import annotations

import tensorflow as tf

ITSELF = -1e9
"""In the place of a view's likeness to itself: its exponential is nothing."""


def nt_xent(first: tf.Tensor, second: tf.Tensor, *, temperature: float) -> tf.Tensor:
    """(n, width) of the first views and of the second ones, sample by sample -> the loss, ()."""
    likeness, partner = _likeness(first, second)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(partner, likeness / temperature)
    return tf.reduce_mean(losses)


def found(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Share of the views, 0..1, to which the other view of their sample is nearest of all; ()."""
    likeness, partner = _likeness(first, second)
    nearest = tf.argmax(likeness, axis=1, output_type=tf.int32)
    return tf.reduce_mean(tf.cast(nearest == partner, tf.float32))


def _likeness(first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cosines (2n, 2n) of all views with one another, and where each one's partner stands."""
    views = tf.math.l2_normalize(tf.concat([first, second], axis=0), axis=1)
    count = tf.shape(first)[0]
    cosines = tf.linalg.matmul(views, views, transpose_b=True)
    others = tf.linalg.set_diag(cosines, tf.fill([2 * count], ITSELF))
    return others, tf.math.floormod(tf.range(2 * count) + count, 2 * count)
