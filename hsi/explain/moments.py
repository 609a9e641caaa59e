"""Mean and variance of gradients over noisy copies, for the square and variance forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.explain import gradient
from hsi.explain.affine import Split, step_name
from hsi.explain.attribution import in_batches, rows_at_once
from hsi.explain.keras_layers import check_places
from hsi.explain.noise import noise_of
from hsi.explain.score import score_of
from hsi.explain.slopes import in_turn
from hsi.explain.smoothgrad import noise_split

ROUNDING = 1e-6
"""A spread below this share of the largest gradient of a sample is rounding, and taken for none."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Of the gradients of some samples over noisy copies.

    Attributes:
        mean: (n, rows, cols, channels) float64.
        variance: the same shape, of the copies themselves (divided by their number).
        classes: (n,) explained.
        scores: (n,) logits of these classes without noise.
        notes: of the score.
    """

    mean: np.ndarray
    variance: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    notes: tuple[str, ...]


def gradient_moments(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None,
    batch_size: int | None,
    seed: int,
    samples: int,
    noise: float,
    ranges: np.ndarray | None,
) -> Moments:
    """Mean and variance over the noisy copies that SmoothGrad takes; arguments as there.

    Sums are of the distance from the gradient without noise, so that a small variance beside a
    large mean is not lost to rounding.
    """
    score = score_of(model)
    inputs = score.prepare(inputs)
    batch_size = rows_at_once(inputs.shape[1:], batch_size)
    if ranges is None:
        check_places(score)
    drawn = noise_of(inputs, seed=seed, samples=samples, noise=noise, ranges=ranges)
    plain = gradient.attribute(score, inputs, classes=classes, batch_size=batch_size)
    origin = plain.maps.astype(inputs.dtype)
    given = (inputs, plain.classes.astype(np.int32), origin)
    split = noise_split(score, inputs, drawn)
    step = score.compiled(step_name("gradient_moments", split), lambda _: _moments_step(split))
    shift, square = np.zeros((2, *inputs.shape))
    for group in drawn.groups(score, split, inputs, batch_size=batch_size):
        sums = in_batches(
            lambda *batch, group=group: step(
                *batch, group.shifts, group.weights, group.count, group.at_once
            ),
            *given,
            batch_size=batch_size,
        )
        shift += sums[0]
        square += sums[1]
    mean, variance = origin + shift, square - shift**2
    largest = np.abs(mean).reshape(len(mean), -1).max(axis=1)
    least = (ROUNDING * largest.reshape(-1, *[1] * (mean.ndim - 1))) ** 2
    variance = np.where(variance > least, variance, 0.0)
    notes = (*score.notes, split.note) if split.note else score.notes
    return Moments(mean, variance, plain.classes, plain.scores, notes)


def _moments_step(split: Split) -> Callable[..., list[tf.Tensor]]:
    def step(
        inputs: tf.Tensor,
        wanted: tf.Tensor,
        about: tf.Tensor,
        shifts: tf.Tensor,
        weights: tf.Tensor,
        count: tf.Tensor,
        at_once: tf.Tensor,
    ) -> list[tf.Tensor]:
        starts = split.front(inputs)
        flat = tf.concat([[-1], tf.shape(starts)[1:]], 0)

        def add(first: tf.Tensor, last: tf.Tensor) -> list[tf.Tensor]:
            size = last - first
            noisy = tf.reshape(starts[None] + shifts[first:last][:, None], flat)
            with tf.GradientTape() as tape:
                tape.watch(noisy)
                logits = split.rest(noisy)
                classes = tf.tile(wanted, [size])
                chosen = tf.one_hot(classes, tf.shape(logits)[1], dtype=logits.dtype)
                picked = tf.reduce_sum(logits * chosen)
            slopes = tape.gradient(picked, noisy, unconnected_gradients="zero")
            # Squares are taken at the input, so every copy goes back on its own.
            copies = tf.tile(
                inputs, tf.concat([[size], tf.ones([tf.rank(inputs) - 1], tf.int32)], 0)
            )
            each = tf.reshape(split.back(copies, slopes), tf.concat([[size], tf.shape(inputs)], 0))
            away = each - about[None]
            return [tf.tensordot(weights[first:last], v, 1) for v in (away, away**2)]

        return in_turn(count, at_once, add, [tf.zeros_like(inputs)] * 2)

    return step
