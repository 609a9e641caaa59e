"""Integrated gradients: gradients along the straight way from a baseline to the input.

    map(x) = (x - x0) * integral over t in [0, 1] of  d logit_c / d x  at  x0 + t (x - x0)

The map sums to logit_c(x) - logit_c(x0) (completeness), so it says how the difference is shared
out, and its own error can be read off. The integral is taken by Gauss-Legendre quadrature, which
at 32 points is closer than the trapezoid rule at 50; where the error is above the tolerance the
number of points is doubled, for the samples that need it, as long as that helps. For what is left
the points are put close together where the score bends (`hsi.explain.bends`).

The score of an integer network is a stair, and slopes that go through its rounding do not sum to
its differences. Where a score has a smooth form (the same weights and ranges, nothing rounded)
that is integrated and shared out, and the notes say how far it is from the network's own score.

Source: Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hsi.errors import SettingsError
from hsi.explain.attribution import Attribution, make_attribution, rows_at_once
from hsi.explain.baselines import Baseline, baseline_of
from hsi.explain.keras_layers import check_places
from hsi.explain.path import bent_rule, path_gradient
from hsi.explain.score import Score, as_classes, chosen_classes, score_of

ROUNDING = 1e-4
"""Single precision knows a score to about a millionth, and so a difference of this share of the
scores to a percent: a smaller one is nothing to compare with."""

SETTLED = 0.05
"""A doubling that moves the sum of a map by less than this share of its gap has not helped; after
two of them in a row no number of points will (an integer network rounds the score itself)."""


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
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
        batch_size: most rows (points of paths) at once; see `hsi.explain.attribution.rows_at_once`.
        seed: not used, there is nothing random here; part of the common signature.
        points: of the quadrature.
        baseline: see `hsi.explain.baselines.baseline_of`.
        tolerance: completeness error above which the points are doubled, as a share.
        most_points: where the doubling ends, and how many points are put where the score bends at
            most; the same as `points` for these and no others.

    Returns:
        Maps in units of the logit; `completeness_error` is |sum of the map - difference| over
        |difference| (at least `ROUNDING` of the scores), of the smooth form where there is one;
        `scores` are the network's own.

    Raises:
        SettingsError: no samples, a class out of range, points or a baseline that cannot be.
        ModelError: samples that do not fit the network, or, of baselines that are made of them, do
            not have their channels last.
    """
    if not 1 <= points <= most_points or not tolerance > 0:
        raise SettingsError(
            f"Expected 1 to {most_points} points and a tolerance above 0, "
            f"got {points} and {tolerance}."
        )
    score = score_of(model)
    inputs = score.prepare(inputs)
    batch_size = rows_at_once(inputs.shape[1:], batch_size)
    if isinstance(baseline, str) and baseline != "zero":
        check_places(score)
    origins = baseline_of(inputs, baseline)
    wanted = as_classes(classes, len(inputs))
    own, integrated = None, score.smooth or score
    if score.smooth is not None:
        chosen, at_inputs = chosen_classes(score, inputs, classes, batch_size=batch_size)
        _, at_origins = chosen_classes(score, origins, chosen, batch_size=batch_size)
        wanted = chosen.astype(np.int32)
        own = (at_inputs, at_origins)
    found = _until_complete(
        integrated, inputs, origins, wanted, (points, most_points),
        tolerance=tolerance, batch_size=batch_size,
    )  # fmt: skip
    said = [*(_smooth_notes(found.ends, own) if own else []), *([found.note] if found.note else [])]
    return make_attribution(
        found.maps,
        found.classes,
        (own or found.ends)[0],
        method="integrated_gradient",
        completeness_error=found.error,
        notes=(*score.notes, *said, *_notes(inputs, origins, found, points, tolerance)),
        quantity="contribution",
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """Maps (n, ...), and for each sample the class, the scores of the sample and of its baseline,
    the completeness error, the points, and whether more of them would not help; and a note."""

    maps: np.ndarray
    classes: np.ndarray
    ends: tuple[np.ndarray, np.ndarray]
    error: np.ndarray
    used: np.ndarray
    settled: np.ndarray
    bent: np.ndarray
    note: str


def _until_complete(
    score: Score,
    inputs: np.ndarray,
    origins: np.ndarray,
    wanted: np.ndarray,
    points: tuple[int, int],
    *,
    tolerance: float,
    batch_size: int,
) -> _Found:
    """Double the points, from the first of `points` to the second, where the error asks for it."""
    first, most = points
    path = path_gradient(score, inputs, origins, wanted, first, batch_size=batch_size)
    classes, ends, note = path.classes, (path.at_inputs, path.at_origins), path.note
    difference = ends[0].astype(np.float64) - ends[1]
    floor = ROUNDING * np.maximum(np.maximum(np.abs(ends[0]), np.abs(ends[1])), 1e-30)
    maps = np.zeros(inputs.shape, np.float64)
    used, error = np.zeros(len(inputs), int), np.full(len(inputs), np.inf)
    sums, settled = np.zeros(len(inputs)), np.zeros(len(inputs), int)
    todo, count = np.arange(len(inputs)), first
    while True:
        maps[todo] = (inputs[todo] - origins[todo]) * path.gradient
        before, sums[todo] = sums[todo], maps[todo].reshape(len(todo), -1).sum(axis=1)
        gap = np.abs(sums[todo] - difference[todo])
        error[todo] = gap / np.maximum(np.abs(difference[todo]), floor[todo])
        moved = np.abs(sums[todo] - before) > SETTLED * gap
        settled[todo] = np.where(moved | (count == first), 0, settled[todo] + 1)
        used[todo] = count
        # A comparison with NaN is false: what is not finite gets better no more.
        todo = todo[(error[todo] > tolerance) & (settled[todo] < 2)]
        if not len(todo) or count >= most:
            break
        count = min(2 * count, most)
        path = path_gradient(
            score, inputs[todo], origins[todo], classes[todo], count, batch_size=batch_size
        )
    bent = np.zeros(len(inputs), bool)
    left = np.isfinite(error) & (error > tolerance) & (most > first)
    for i in np.flatnonzero(left):
        least = max(abs(difference[i]), floor[i])
        found, count = _where_it_bends(
            score, inputs[i : i + 1], origins[i : i + 1], classes[i : i + 1], most,
            enough=tolerance * least / 4, batch_size=batch_size,
        )  # fmt: skip
        gap = abs(found.sum() - difference[i]) / least
        if gap < (1 - SETTLED) * error[i]:
            maps[i], error[i], used[i], bent[i] = found, gap, count, True
    return _Found(maps, classes, ends, error, used, settled >= 2, bent, note)


def _where_it_bends(
    score: Score,
    sample: np.ndarray,
    origin: np.ndarray,
    klass: np.ndarray,
    most: int,
    *,
    enough: float,
    batch_size: int,
) -> tuple[np.ndarray, int]:
    """The map of one sample (1, ...), of at most `most` points that lie where its score bends, and
    how many they are."""
    rule = bent_rule(
        score, sample, origin, int(klass[0]), most, enough=enough, batch_size=batch_size
    )
    path = path_gradient(score, sample, origin, klass, rule, batch_size=batch_size)
    return (sample[0] - origin[0]) * path.gradient[0].astype(np.float64), len(rule[0])


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
    if found.bent.any():
        numbers = ", ".join(str(i + 1) for i in np.flatnonzero(found.bent))
        notes.append(f"the points of sample {numbers} are close together where the score bends")
    for i in np.flatnonzero(~(error <= tolerance)):
        notes.append(
            f"the completeness error of sample {i + 1} is {100 * error[i]:.2g} % "
            f"at {used[i]} points"
            + (", and more of them would not lower it" if found.settled[i] else "")
        )
    return notes
