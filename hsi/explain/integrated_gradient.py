"""Integrated gradients: gradients along the straight way from a baseline to the input.

    map(x) = (x - x0) * integral over t in [0, 1] of  d logit_c / d x  at  x0 + t (x - x0)

The map sums to logit_c(x) - logit_c(x0) (completeness), so it says how the difference is shared
out, and its own error can be read off. The integral is taken by Gauss-Legendre quadrature, which
at 32 points is closer than the trapezoid rule at 50; where the error is above the tolerance the
number of points is doubled, for the samples that need it, as long as that helps.

The score of an integer network is a stair, and slopes that go through its rounding do not sum to its
differences. Where a score has a smooth form (the same weights and ranges, nothing rounded) that is
integrated and shared out, and the notes say how far it is from the network's own score.

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
from hsi.explain.affine import Split, chosen_split, mean_slope, step_name
from hsi.explain.attribution import Attribution, batch_rows, in_batches, make_attribution
from hsi.explain.baselines import Baseline, baseline_of
from hsi.explain.score import Score, chosen_classes, score_of

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
        |difference| (at least `ROUNDING` of the scores), of the smooth form where there is one;
        `scores` are the network's own.

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
    origin_scores = _at_origins(score, origins, explained, batch_size=batch_size)
    integrated, ends, smoothed = score, (scores, origin_scores), list[str]()
    if score.smooth is not None:
        integrated = score.smooth
        _, at_inputs = chosen_classes(integrated, inputs, explained, batch_size=batch_size)
        at_origins = _at_origins(integrated, origins, explained, batch_size=batch_size)
        ends, smoothed = (at_inputs, at_origins), _smooth_notes((at_inputs, at_origins), ends)
    found = _until_complete(
        integrated, inputs, origins, explained, ends, (points, most_points),
        tolerance=tolerance, batch_size=batch_size,
    )  # fmt: skip
    if note := path_split(integrated, inputs, origins, explained).note:
        smoothed = [*smoothed, note]
    return make_attribution(
        found.maps,
        explained,
        scores,
        method="integrated_gradient",
        completeness_error=found.error,
        notes=(*score.notes, *smoothed, *_notes(inputs, origins, found, points, tolerance)),
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

    This is all that integrated gradients cost; where it pays the affine beginning of the network
    is taken out of the way (`hsi.explain.affine`).
    """
    split = path_split(score, inputs, origins, classes)
    size = max(1, batch_size // batch_rows(len(inputs), batch_size))
    at, share = _table(points, size, inputs.dtype)
    chunks = np.int32(-(-points // size))
    step = score.compiled(step_name("integrated_gradient", split), lambda _: _path_step(split))
    shared = _shared(origins)

    def mean_gradient(batch: np.ndarray, start: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
        return [step(batch, start[:1] if shared else start, wanted, at, share, chunks).numpy()]

    wanted = classes.astype(np.int32)
    return in_batches(mean_gradient, inputs, origins, wanted, batch_size=batch_size)[0]


def path_split(
    score: Score, inputs: np.ndarray, origins: np.ndarray, classes: np.ndarray
) -> Split:
    """How the ways go through the network, decided once on three points of the first samples."""
    few = slice(0, 3)
    start = origins[:1] if _shared(origins) else origins[few]
    at, share = (values.astype(inputs.dtype)[:, None] for values in quadrature(3))
    given = [tf.constant(a) for a in (inputs[few], start, classes[few].astype(np.int32))]
    return chosen_split(
        score,
        "integrated_gradient",
        inputs.shape[1:],
        lambda split: [_path_step(split)(*given, tf.constant(at), tf.constant(share), 3)],
    )


def _shared(origins: np.ndarray) -> bool:
    """Whether all samples have one baseline, which then goes through the network once."""
    return bool((origins == origins[:1]).all())


def _at_origins(
    score: Score, origins: np.ndarray, classes: np.ndarray, *, batch_size: int
) -> np.ndarray:
    """The scores (n,) of the baselines; a single one is not worth a compiled function."""
    if _shared(origins) and not score.black_box:
        return score(tf.constant(origins[:1])).numpy()[0, classes]
    return chosen_classes(score, origins, classes, batch_size=batch_size)[1]


def _table(points: int, size: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights (chunks, size), filled up so that doubling the points traces no more."""
    length = -(-points // 512) * 512
    found = []
    for values in quadrature(points):
        filled = np.zeros(-(-length // size) * size, dtype)
        filled[:points] = values
        found.append(filled.reshape(-1, size))
    return found[0], found[1]


@lru_cache(maxsize=32)
def quadrature(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Places in (0, 1) and weights that sum to 1, of the Gauss-Legendre rule."""
    places, weights = np.polynomial.legendre.leggauss(points)
    return (places + 1) / 2, weights / 2


def _path_step(split: Split) -> Callable[..., tf.Tensor]:
    """A function of samples (n, ...), their baselines (n or 1, ...), classes (n,), places and
    weights of the points, and how many chunks of these there are."""

    def step(
        inputs: tf.Tensor,
        origins: tf.Tensor,
        wanted: tf.Tensor,
        at: tf.Tensor,
        share: tf.Tensor,
        chunks: tf.Tensor,
    ) -> tf.Tensor:
        begin = split.front(origins)
        way = split.front(inputs) - begin
        flat = tf.concat([[-1], tf.ones([tf.rank(way)], tf.int32)], 0)
        slopes = mean_slope(
            split.rest,
            begin + tf.zeros_like(way),
            lambda i: tf.reshape(at[i], flat) * way[None],
            share,
            wanted,
            chunks,
        )
        return split.back(inputs, slopes)

    return step


def _smooth_notes(
    smooth: tuple[np.ndarray, np.ndarray], own: tuple[np.ndarray, np.ndarray]
) -> list[str]:
    """What is integrated instead, from the scores (n,) of inputs and baselines of both forms."""
    furthest = max(float(np.abs(a - b).max()) for a, b in zip(smooth, own, strict=True))
    largest = float(np.abs(own[0] - own[1]).max())
    return [
        "integrated is the smooth form of the score, without the rounding of activations: at the "
        f"samples and baselines it is at most {furthest:.2g} from the file's own score (largest "
        f"difference that is shared out: {largest:.2g})"
    ]


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
