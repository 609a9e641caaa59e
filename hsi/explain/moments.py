"""Mean and variance of gradients over noisy copies, for the square and variance forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.explain import gradient
from hsi.explain.affine import Split, step_name
from hsi.explain.attribution import in_batches
from hsi.explain.score import score_of
from hsi.explain.smoothgrad import noise_split, scaled_draws

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
    batch_size: int,
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
    draws = scaled_draws(inputs, seed=seed, samples=samples, noise=noise, ranges=ranges)
    plain = gradient.attribute(score, inputs, classes=classes, batch_size=batch_size)
    origin = plain.maps.astype(inputs.dtype)
    given = (inputs, plain.classes.astype(np.int32), origin)
    split, shifts, weights = noise_split(score, inputs, draws, batch_size=batch_size)
    step = score.compiled(step_name("gradient_moments", split), lambda _: _moments_step(split))
    shift, square = (
        found.astype(np.float64)
        for found in in_batches(
            lambda *batch: step(*batch, shifts, weights), *given, batch_size=batch_size
        )
    )
    mean, variance = origin + shift, square - shift**2
    largest = np.abs(mean).reshape(len(mean), -1).max(axis=1)
    least = (ROUNDING * largest.reshape(-1, *[1] * (mean.ndim - 1))) ** 2
    variance = np.where(variance > least, variance, 0.0)
    notes = (*score.notes, split.note) if split.note else score.notes
    return Moments(mean, variance, plain.classes, plain.scores, notes)


def _moments_step(split: Split) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    def step(
        inputs: tf.Tensor,
        wanted: tf.Tensor,
        about: tf.Tensor,
        shifts: tf.Tensor,
        weights: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        starts, size = split.front(inputs), tf.shape(weights)[1]
        flat = tf.concat([[-1], tf.shape(starts)[1:]], 0)
        classes = tf.tile(wanted, [size])
        copies = tf.tile(inputs, tf.concat([[size], tf.ones([tf.rank(inputs) - 1], tf.int32)], 0))

        def add(i: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, ...]:
            noisy = tf.reshape(starts[None] + shifts[i][:, None], flat)
            with tf.GradientTape() as tape:
                tape.watch(noisy)
                logits = split.rest(noisy)
                chosen = tf.one_hot(classes, tf.shape(logits)[1], dtype=logits.dtype)
                picked = tf.reduce_sum(logits * chosen)
            slopes = tape.gradient(picked, noisy, unconnected_gradients="zero")
            # Squares are taken at the input, so every copy goes back on its own.
            each = tf.reshape(split.back(copies, slopes), tf.concat([[size], tf.shape(inputs)], 0))
            away = each - about[None]
            sums = [tf.tensordot(weights[i], values, 1) for values in (away, away**2)]
            return i + 1, first + sums[0], second + sums[1]

        zero, chunks = tf.zeros_like(inputs), tf.shape(weights)[0]
        _, first, second = tf.while_loop(
            lambda i, *_: i < chunks, add, [tf.constant(0), zero, zero], parallel_iterations=1
        )
        return first, second

    return step
