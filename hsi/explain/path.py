"""The gradient along the straight way from a baseline to a sample: what integrated gradients cost.

The integral over the way is taken by Gauss-Legendre quadrature. Where it pays, the affine beginning
of the network is taken out of it (`hsi.explain.affine`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import tensorflow as tf

from hsi.explain.affine import Split, chosen_split, step_name
from hsi.explain.attribution import batch_rows, in_batches, in_chunks
from hsi.explain.bends import midpoint_rule
from hsi.explain.score import PREDICTED, Score, check_classes
from hsi.explain.slopes import class_of, even_chunks, mean_slope

METHOD = "integrated_gradient"

TABLE = 512
"""Points are kept in tables of a multiple of this length, so that doubling them traces no more."""


Rule = tuple[np.ndarray, np.ndarray]
"""Places in (0, 1) and weights that sum to 1."""


@dataclass(frozen=True, eq=False)
class Path:
    """What is found on the ways of some samples.

    Attributes:
        gradient: averaged over the way, in the shape of the samples.
        classes: (n,) explained.
        at_inputs: (n,) logits of these classes at the samples.
        at_origins: (n,) the same at their baselines.
        note: what must be said of how it was found; "" for nothing.
    """

    gradient: np.ndarray
    classes: np.ndarray
    at_inputs: np.ndarray
    at_origins: np.ndarray
    note: str


def path_gradient(
    score: Score,
    inputs: np.ndarray,
    origins: np.ndarray,
    wanted: np.ndarray,
    points: int | Rule,
    *,
    batch_size: int,
) -> Path:
    """The gradient averaged over the ways from `origins` to `inputs`.

    Args:
        inputs: (n, ...) samples.
        origins: one baseline for each, in the same shape.
        wanted: (n,) int32 classes, `PREDICTED` where it is that of the sample.
        points: of the quadrature by Gauss and Legendre, or another rule.
        batch_size: most points of ways at once.

    Raises:
        SettingsError: a class out of range.
        ModelError: the score has no gradient.
    """
    split = _path_split(score, inputs, origins)
    step = score.compiled(step_name(METHOD, split), lambda _: _path_step(split))
    places, weights = quadrature(points) if isinstance(points, int) else points
    size = even_chunks(len(places), batch_size // batch_rows(len(inputs), batch_size))[1]
    at, share = _tables(places, weights, inputs.dtype)
    count, at_once = np.int32(len(places)), np.int32(size)
    shared = _shared(origins)
    gradient, logits, classes, at_origins = in_batches(
        lambda x, x0, c: step(x, x0[:1] if shared else x0, c, at, share, count, at_once),
        inputs,
        origins,
        wanted,
        batch_size=batch_size,
    )
    check_classes(wanted, logits.shape[1])
    at_inputs = np.take_along_axis(logits, classes[:, None], axis=1)[:, 0]
    return Path(gradient, classes, at_inputs, at_origins, split.note)


@lru_cache(maxsize=32)
def quadrature(points: int) -> Rule:
    """Places in (0, 1) and weights that sum to 1, of the Gauss-Legendre rule."""
    places, weights = np.polynomial.legendre.leggauss(points)
    return (places + 1) / 2, weights / 2


def _tables(places: np.ndarray, weights: np.ndarray, dtype: np.dtype) -> Rule:
    """Places and weights, filled up with points that are never reached."""
    found = np.zeros((2, -(-len(places) // TABLE) * TABLE), dtype)
    found[:, : len(places)] = places, weights
    return found[0], found[1]


def bent_rule(
    score: Score,
    sample: np.ndarray,
    origin: np.ndarray,
    klass: int,
    most: int,
    *,
    enough: float,
    batch_size: int,
) -> Rule:
    """At most `most` points on the way to one sample (1, ...), close where its score bends."""

    def values(places: np.ndarray) -> np.ndarray:
        along = places.astype(sample.dtype).reshape(-1, *[1] * (sample.ndim - 1))
        return in_chunks(
            len(places),
            lambda numbers: origin + along[numbers] * (sample - origin),
            lambda rows: score.logits(rows)[:, klass],
            batch_size=batch_size,
        )

    return midpoint_rule(values, most, enough=enough)


def _shared(origins: np.ndarray) -> bool:
    """Whether all samples have one baseline, which then goes through the network once."""
    return bool((origins == origins[:1]).all())


def _path_split(score: Score, inputs: np.ndarray, origins: np.ndarray) -> Split:
    """How the ways go through the network, decided once on three points of the first samples."""

    def trial(split: Split, sample: tf.Tensor) -> tf.Tensor:
        places, weights = (tf.constant(v, sample.dtype) for v in quadrature(3))
        step, classes = _path_step(split), tf.constant([PREDICTED])
        return step(sample, tf.constant(origins[:1]), classes, places, weights, 3, 1)[0]

    return chosen_split(score, METHOD, inputs, trial)


def _path_step(split: Split) -> Callable[..., list[tf.Tensor]]:
    """A function of samples (n, ...), their baselines (n or 1, ...), classes (n,), places and
    weights of the points, how many points count, and how many of a sample are taken at once.

    It gives gradients, logits (n, k) of the samples, classes, and logits (n,) of the baselines.
    """

    def step(
        inputs: tf.Tensor,
        origins: tf.Tensor,
        wanted: tf.Tensor,
        at: tf.Tensor,
        share: tf.Tensor,
        count: tf.Tensor,
        at_once: tf.Tensor,
    ) -> list[tf.Tensor]:
        begin, end = split.front(origins), split.front(inputs)
        way = end - begin
        logits = split.rest(end)
        classes, chosen = class_of(logits, wanted)
        along = tf.concat([[-1], tf.ones([tf.rank(way)], tf.int32)], 0)
        slopes = mean_slope(
            split.rest,
            begin + tf.zeros_like(way),
            lambda first, last: tf.reshape(at[first:last], along) * way[None],
            share,
            classes,
            count,
            at_once,
        )
        at_origins = tf.reduce_sum(split.rest(begin) * chosen, axis=1)
        return [split.back(inputs, slopes), logits, classes, at_origins]

    return step
