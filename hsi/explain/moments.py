"""Mean and variance of gradients over noisy copies, for the square and variance forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.explain import gradient
from hsi.explain.attribution import batch_rows, in_batches
from hsi.explain.score import Score, chosen_classes, score_of
from hsi.explain.smoothgrad import chunks_of, scaled_draws

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
    explained, scores = chosen_classes(score, inputs, classes, batch_size=batch_size)
    origin = gradient.attribute(score, inputs, classes=explained, batch_size=batch_size).maps
    rows = batch_rows(len(inputs), batch_size)
    chunks, weights = chunks_of(draws, np.ones(samples, inputs.dtype), max(1, batch_size // rows))
    step = score.compiled("gradient_moments", _moments_step)

    def sums(batch: np.ndarray, wanted: np.ndarray, about: np.ndarray) -> list[np.ndarray]:
        first, second = np.zeros(batch.shape), np.zeros(batch.shape)
        for chunk, weight in zip(chunks, weights, strict=True):
            found = step(batch, wanted, about, chunk, weight)
            first, second = first + found[0].numpy(), second + found[1].numpy()
        return [first / samples, second / samples]

    shift, square = in_batches(
        sums,
        inputs,
        explained.astype(np.int32),
        origin.astype(inputs.dtype),
        batch_size=batch_size,
    )
    mean, variance = origin + shift, square - shift**2
    largest = np.abs(mean).reshape(len(mean), -1).max(axis=1)
    least = (ROUNDING * largest.reshape(-1, *[1] * (mean.ndim - 1))) ** 2
    variance = np.where(variance > least, variance, 0.0)
    return Moments(mean, variance, explained, scores, score.notes)


def _moments_step(score: Score) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    def step(
        inputs: tf.Tensor, wanted: tf.Tensor, about: tf.Tensor, draws: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        copies = tf.shape(draws)[0]
        with tf.GradientTape() as tape:
            flat = tf.concat([[-1], tf.shape(inputs)[1:]], 0)
            noisy = tf.reshape(inputs[None] + draws[:, None], flat)
            tape.watch(noisy)
            logits = score(noisy)
            chosen = tf.one_hot(tf.tile(wanted, [copies]), tf.shape(logits)[1], dtype=logits.dtype)
            picked = tf.reduce_sum(logits * chosen)
        each = tape.gradient(picked, noisy, unconnected_gradients="zero")
        away = tf.reshape(each, tf.concat([[copies], tf.shape(inputs)], 0)) - about[None]
        return tf.tensordot(weights, away, 1), tf.tensordot(weights, away**2, 1)

    return step
