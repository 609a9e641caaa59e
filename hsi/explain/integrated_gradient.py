"""Integrated gradients: gradients along the straight way from a baseline to the input.

    map(x) = (x - x0) * integral over t in [0, 1] of  d logit_c / d x  at  x0 + t (x - x0)

The map sums to logit_c(x) - logit_c(x0) (completeness), so it says how the difference is shared
out, and its own error can be read off. The integral is taken by Gauss-Legendre quadrature, which
at 32 points is closer than the trapezoid rule at 50; where the error is above the tolerance the
number of points is doubled, for the samples that need it, as long as that helps.

Source: Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.errors import SettingsError
from hsi.explain.attribution import Attribution, batch_rows, in_batches, make_attribution
from hsi.explain.baselines import Baseline, baseline_of
from hsi.explain.score import Score, chosen_classes, score_of
from hsi.explain.smoothgrad import chunks_of

ROUNDING = 1e-5
"""A score difference below this share of the scores is rounding, and nothing to compare with."""

SETTLED = 0.05
"""A doubling that moves the sum of a map by less than this share of its gap has not helped; after
two of them in a row no number of points will (an integer network rounds the score itself)."""


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int = 64,
    seed: int = 0,
    points: int = 32,
    baseline: Baseline = "zero",
    tolerance: float = 0.01,
    most_points: int = 512,
) -> Attribution:
    """Contributions to the difference of the logit to that of the baseline.

    Args:
        model: a `tf_keras` model, or a differentiable callable to logits (n, k).
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains the predicted class.
        batch_size: most rows (points of paths) at once.
        seed: not used, there is nothing random here; part of the common signature.
        points: of the quadrature.
        baseline: see `hsi.explain.baselines.baseline_of`.
        tolerance: completeness error above which the points are doubled, as a share.
        most_points: where the doubling ends.

    Returns:
        Maps in units of the logit; `completeness_error` is |sum of the map - difference| over
        |difference| (at least `ROUNDING` of the scores).

    Raises:
        SettingsError: no samples, a class out of range, points or a baseline that cannot be.
        ModelError: samples that do not fit the network.
    """
    if not 1 <= points <= most_points or not tolerance > 0:
        raise SettingsError(
            f"Expected 1 to {most_points} points and a tolerance above 0, "
            f"got {points} and {tolerance}."
        )
    score = score_of(model)
    inputs = score.prepare(inputs)
    origins = baseline_of(inputs, baseline)
    explained, scores = chosen_classes(score, inputs, classes, batch_size=batch_size)
    _, origin_scores = chosen_classes(score, origins, explained, batch_size=batch_size)
    found = _until_complete(
        score, inputs, origins, explained, (scores, origin_scores), (points, most_points),
        tolerance=tolerance, batch_size=batch_size,
    )  # fmt: skip
    return make_attribution(
        found.maps,
        explained,
        scores,
        method="integrated_gradient",
        completeness_error=found.error,
        notes=(*score.notes, *_notes(inputs, origins, found, points, tolerance)),
        quantity="contribution",
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """Maps (n, ...), and for each sample its completeness error, its points, and whether more of
    them would not help."""

    maps: np.ndarray
    error: np.ndarray
    used: np.ndarray
    settled: np.ndarray


def _until_complete(
    score: Score,
    inputs: np.ndarray,
    origins: np.ndarray,
    classes: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    points: tuple[int, int],
    *,
    tolerance: float,
    batch_size: int,
) -> _Found:
    """Double the points, from the first of `points` to the second, where the error asks for it.

    Args:
        ends: scores (n,) of the inputs and of their baselines.
    """
    difference = ends[0].astype(np.float64) - ends[1]
    floor = ROUNDING * np.maximum(np.maximum(np.abs(ends[0]), np.abs(ends[1])), 1e-30)
    maps = np.zeros(inputs.shape, np.float64)
    used, error = np.zeros(len(inputs), int), np.full(len(inputs), np.inf)
    sums, settled = np.zeros(len(inputs)), np.zeros(len(inputs), int)
    todo, (count, most) = np.arange(len(inputs)), points
    while len(todo):
        mean = path_gradient(
            score, inputs[todo], origins[todo], classes[todo], count, batch_size=batch_size
        )
        maps[todo] = (inputs[todo] - origins[todo]) * mean
        before, sums[todo] = sums[todo], maps[todo].reshape(len(todo), -1).sum(axis=1)
        gap = np.abs(sums[todo] - difference[todo])
        error[todo] = gap / np.maximum(np.abs(difference[todo]), floor[todo])
        moved = np.abs(sums[todo] - before) > SETTLED * gap
        settled[todo] = np.where(moved | (count == points[0]), 0, settled[todo] + 1)
        used[todo] = count
        # A comparison with NaN is false: what is not finite gets better no more.
        todo = todo[(error[todo] > tolerance) & (settled[todo] < 2)]
        count = min(2 * count, most) if count < most else 0
        todo = todo if count else todo[:0]
    return _Found(maps, error, used, settled >= 2)


def path_gradient(
    score: Score,
    inputs: np.ndarray,
    origins: np.ndarray,
    classes: np.ndarray,
    points: int,
    *,
    batch_size: int,
) -> np.ndarray:
    """The gradient averaged over the ways from `origins` to `inputs`, in the shape of the inputs.

    This is all that integrated gradients cost; a faster way for some networks takes its place here.
    """
    places, weights = quadrature(points)
    rows = batch_rows(len(inputs), batch_size)
    at, share = chunks_of(
        places.astype(inputs.dtype), weights.astype(inputs.dtype), max(1, batch_size // rows)
    )
    step = score.compiled("integrated_gradient", _path_step)

    def mean_gradient(batch: np.ndarray, start: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
        total = np.zeros(batch.shape, np.float64)
        for chunk, weight in zip(at, share, strict=True):
            total += step(batch, start, wanted, chunk, weight).numpy()
        return [total]

    wanted = classes.astype(np.int32)
    return in_batches(mean_gradient, inputs, origins, wanted, batch_size=batch_size)[0]


@lru_cache(maxsize=32)
def quadrature(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Places in (0, 1) and weights that sum to 1, of the Gauss-Legendre rule."""
    places, weights = np.polynomial.legendre.leggauss(points)
    return (places + 1) / 2, weights / 2


def _path_step(score: Score) -> Callable[..., tf.Tensor]:
    def step(
        inputs: tf.Tensor, origins: tf.Tensor, wanted: tf.Tensor, at: tf.Tensor, share: tf.Tensor
    ) -> tf.Tensor:
        copies, rows = tf.shape(at)[0], tf.shape(inputs)[0]
        along = tf.reshape(at, tf.concat([[-1], tf.ones([tf.rank(inputs)], tf.int32)], 0))
        shift = tf.zeros_like(inputs)
        with tf.GradientTape() as tape:
            tape.watch(shift)
            path = (shift + origins)[None] + along * (inputs - origins)[None]
            logits = score(tf.reshape(path, tf.concat([[-1], tf.shape(inputs)[1:]], 0)))
            chosen = tf.one_hot(tf.tile(wanted, [copies]), tf.shape(logits)[1], dtype=logits.dtype)
            picked = tf.reshape(tf.reduce_sum(logits * chosen, axis=1), [copies, rows])
            # The points of a sample share its shift, so their gradients add up here.
            total = tf.reduce_sum(picked * share[:, None])
        return tape.gradient(total, shift, unconnected_gradients="zero")

    return step


def _notes(
    inputs: np.ndarray,
    origins: np.ndarray,
    found: _Found,
    points: int,
    tolerance: float,
) -> list[str]:
    """What the reader must know, samples counted from 1."""
    used, error = found.used, found.error
    notes = []
    for i in np.flatnonzero((inputs == origins).reshape(len(inputs), -1).all(axis=1)):
        notes.append(f"sample {i + 1} is its own baseline: there is nothing to share out")
    if (raised := used > points).any():
        notes.append(
            f"points were raised from {points} to {used.max()} for {raised.sum()} of {len(used)} "
            f"samples, to bring the completeness error under {100 * tolerance:g} %"
        )
    for i in np.flatnonzero(~(error <= tolerance)):
        notes.append(
            f"the completeness error of sample {i + 1} is {100 * error[i]:.2g} % "
            f"at {used[i]} points"
            + (", and more of them would not lower it" if found.settled[i] else "")
        )
    return notes
