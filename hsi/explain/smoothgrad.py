"""SmoothGrad: the mean gradient over copies of the input with Gaussian noise.

    map(x) = 1/S * sum over s of  d logit_c / d x  at  x + noise * range * e_s,   e_s ~ N(0, 1)

Signed gradients are averaged, neither squared nor made positive first, so noise cancels out.

The draws e_s are those of `hsi.explain.noise`, the same for every sample and network.

Source: Smilkov, Thorat, Kim, Viegas, Wattenberg, "SmoothGrad: removing noise by adding noise",
2017.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.explain.affine import Split, chosen_split, step_name
from hsi.explain.attribution import Attribution, in_batches, make_attribution, rows_at_once
from hsi.explain.keras_layers import check_places
from hsi.explain.noise import Noise, noise_of
from hsi.explain.score import PREDICTED, Score, as_classes, check_classes, score_of
from hsi.explain.slopes import class_of, mean_slope


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    samples: int = 50,
    noise: float = 0.15,
    ranges: np.ndarray | None = None,
) -> Attribution:
    """Signed mean of gradients over noisy copies of each sample.

    Args:
        model: a `tf_keras` model, or a differentiable callable to logits (n, k).
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains the class that is
            predicted without noise.
        batch_size: most rows (noisy copies) at once; see `hsi.explain.attribution.rows_at_once`.
        seed: of the noise.
        samples: noisy copies of each sample.
        noise: standard deviation of the noise as a share of the range; 0.1 to 0.2 is usual.
        ranges: (channels,) range of each channel. None takes maximum minus minimum of the channel
            over all the inputs given here: pass the range of a larger set where few samples are
            explained, or where results of several calls are compared.

    Raises:
        SettingsError: no samples, a class out of range, fewer than one copy, negative noise, or
            ranges that are not one per channel.
        ModelError: samples that do not fit the network, or, without ranges, do not have their
            channels last.
    """
    score = score_of(model)
    inputs = score.prepare(inputs)
    batch_size = rows_at_once(inputs.shape[1:], batch_size)
    if ranges is None:
        check_places(score)
    drawn = noise_of(inputs, seed=seed, samples=samples, noise=noise, ranges=ranges)
    wanted = as_classes(classes, len(inputs))
    split = noise_split(score, inputs, drawn)
    maps, explained, logits = np.zeros(inputs.shape), wanted, None
    for group in drawn.groups(score, split, inputs, batch_size=batch_size):
        first = logits is None
        name = step_name("smoothgrad" if first else "smoothgrad, more copies", split)
        step = score.compiled(name, partial(_smoothgrad_step, split, first=first))
        slopes, *found = in_batches(
            lambda x, c, step=step, group=group: step(
                x, c, group.shifts, group.weights, group.count, group.at_once
            ),
            inputs,
            explained,
            batch_size=batch_size,
        )
        maps += slopes
        if first:
            logits, explained = found
            check_classes(wanted, logits.shape[1])
    scores = np.take_along_axis(logits, explained[:, None], axis=1)[:, 0]
    notes = [*score.notes, split.note] if split.note else score.notes
    return make_attribution(maps, explained, scores, method="smoothgrad", notes=notes)


def noise_split(score: Score, inputs: np.ndarray, drawn: Noise) -> Split:
    """How noisy copies of samples (n, ...) go through the network."""

    def trial(split: Split, sample: tf.Tensor) -> tf.Tensor:
        shifts = tf.concat(
            [split.linear(tf.constant(draw[None])) for draw in islice(drawn.draws(inputs), 3)], 0
        )
        weights = tf.fill([len(shifts)], tf.constant(1 / len(shifts), shifts.dtype))
        step = _smoothgrad_step(split, first=True)
        return step(sample, tf.constant([PREDICTED]), shifts, weights, len(shifts), 1)[0]

    return chosen_split(score, "noise", inputs, trial)


def _smoothgrad_step(
    split: Split, _: Score | None = None, *, first: bool
) -> Callable[..., list[tf.Tensor]]:
    """A function of samples (n, ...), classes (n,), and a group of copies as of `noise.Group`, that
    gives sums of weighted gradients and, for the first group, logits (n, k) without noise and
    classes (n,), which the later ones are given."""

    def step(
        inputs: tf.Tensor,
        wanted: tf.Tensor,
        shifts: tf.Tensor,
        weights: tf.Tensor,
        count: tf.Tensor,
        at_once: tf.Tensor,
    ) -> list[tf.Tensor]:
        starts, answers = split.front(inputs), []
        if first:
            logits = split.rest(starts)
            wanted, _ = class_of(logits, wanted)
            answers = [logits, wanted]
        slopes = mean_slope(
            split.rest,
            starts,
            lambda begin, end: shifts[begin:end][:, None],
            weights,
            wanted,
            count,
            at_once,
        )
        return [split.back(inputs, slopes), *answers]

    return step
