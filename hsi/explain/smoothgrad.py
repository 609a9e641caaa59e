"""SmoothGrad: the mean gradient over copies of the input with Gaussian noise.

    map(x) = 1/S * sum over s of  d logit_c / d x  at  x + noise * range * e_s,   e_s ~ N(0, 1)

Signed gradients are averaged, neither squared nor made positive first, so noise cancels out.

The draws e_s depend on the seed and on the shape of a sample alone: every sample, every batch size
and every variant of a network sees the same ones, so maps of two variants differ by the networks
and not by luck.

Source: Smilkov, Thorat, Kim, Viegas, Wattenberg, "SmoothGrad: removing noise by adding noise",
2017.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.errors import SettingsError
from hsi.explain.affine import Split, chosen_split, step_name
from hsi.explain.attribution import Attribution, batch_rows, in_batches, make_attribution
from hsi.explain.score import PREDICTED, Score, as_classes, check_classes, score_of
from hsi.explain.slopes import class_of, even_chunks, mean_slope


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int = 64,
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
        batch_size: most rows (noisy copies) at once.
        seed: of the noise.
        samples: noisy copies of each sample.
        noise: standard deviation of the noise as a share of the range; 0.1 to 0.2 is usual.
        ranges: (channels,) range of each channel. None takes maximum minus minimum of the channel
            over all the inputs given here: pass the range of a larger set where few samples are
            explained, or where results of several calls are compared.

    Raises:
        SettingsError: no samples, a class out of range, fewer than one copy, negative noise, or
            ranges that are not one per channel.
        ModelError: samples that do not fit the network.
    """
    score = score_of(model)
    inputs = score.prepare(inputs)
    draws = scaled_draws(inputs, seed=seed, samples=samples, noise=noise, ranges=ranges)
    wanted = as_classes(classes, len(inputs))
    split, shifts, weights = noise_split(score, inputs, draws, batch_size=batch_size)
    step = score.compiled(step_name("smoothgrad", split), lambda _: _smoothgrad_step(split))
    maps, logits, explained = in_batches(
        lambda x, c: step(x, c, shifts, weights), inputs, wanted, batch_size=batch_size
    )
    check_classes(wanted, logits.shape[1])
    scores = np.take_along_axis(logits, explained[:, None], axis=1)[:, 0]
    notes = [*score.notes, split.note] if split.note else score.notes
    return make_attribution(maps, explained, scores, method="smoothgrad", notes=notes)


def noise_split(
    score: Score, inputs: np.ndarray, draws: np.ndarray, *, batch_size: int
) -> tuple[Split, tf.Tensor, tf.Tensor]:
    """How noisy copies go through the network, and what the noise is behind its front.

    Args:
        inputs: (n, ...) samples.
        draws: (samples, ...) noise to add to each.
        batch_size: most rows at once.

    Returns:
        The split, shifts (chunks, size, ...) of what comes out of its front, and weights
        (chunks, size) that sum to 1.
    """

    def trial(split: Split) -> list[tf.Tensor]:
        x = tf.constant(inputs[:3])
        shifts = split.linear(tf.constant(draws[:3]))
        third = tf.fill([len(shifts), 1], tf.constant(1 / 3, shifts.dtype))
        return _smoothgrad_step(split)(x, tf.fill([len(x)], PREDICTED), shifts[:, None], third)[:1]

    split = chosen_split(score, "noise", inputs.shape[1:], trial)
    if split.cut:
        linear = score.compiled("noise behind the front", lambda _: split.linear)
        (draws,) = in_batches(lambda e: [linear(e)], draws, batch_size=batch_size)
    size = batch_size // batch_rows(len(inputs), batch_size)
    weights = np.full(len(draws), 1 / len(draws), draws.dtype)
    shifts, weights = chunks_of(draws, weights, size)
    return split, tf.constant(shifts), tf.constant(weights)


def scaled_draws(
    inputs: np.ndarray, *, seed: int, samples: int, noise: float, ranges: np.ndarray | None
) -> np.ndarray:
    """(samples, rows, cols, channels) noise to add to a sample; arguments as of `attribute`.

    Raises:
        SettingsError: fewer than one copy, negative noise, or ranges that are not one per channel.
    """
    deviation = noise * _checked_ranges(inputs, samples, noise, ranges)
    return (noise_draws(inputs.shape[1:], samples, seed=seed) * deviation).astype(inputs.dtype)


def noise_draws(shape: tuple[int, ...], samples: int, *, seed: int) -> np.ndarray:
    """(samples, *shape) float32 standard normal draws, the same for every network."""
    return np.random.default_rng(seed).standard_normal((samples, *shape), dtype=np.float32)


def _checked_ranges(
    inputs: np.ndarray, samples: int, noise: float, ranges: np.ndarray | None
) -> np.ndarray:
    if samples < 1 or not noise >= 0:
        raise SettingsError(
            f"Expected at least 1 noisy copy and a noise share of 0 or more, "
            f"got {samples} and {noise}."
        )
    if ranges is None:
        return np.ptp(inputs, axis=tuple(range(inputs.ndim - 1)))
    ranges = np.asarray(ranges)
    if ranges.shape != inputs.shape[-1:] or not (ranges >= 0).all():
        raise SettingsError(
            f"Expected {inputs.shape[-1]} ranges of 0 or more, one per channel, "
            f"got shape {ranges.shape}."
        )
    return ranges


def chunks_of(points: np.ndarray, weights: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Points as (chunks, size, ...), filled up with points of weight 0, and weights (chunks, size).

    With few samples several points go through the network at once; all chunks have one size, so
    the compiled step is traced once.
    """
    size = even_chunks(len(points), size)[1]
    missing = -len(points) % size
    weights = np.concatenate([weights, np.zeros(missing, weights.dtype)])
    points = np.concatenate([points, np.zeros((missing, *points.shape[1:]), points.dtype)])
    return points.reshape(-1, size, *points.shape[1:]), weights.reshape(-1, size)


def _smoothgrad_step(split: Split) -> Callable[..., list[tf.Tensor]]:
    """A function of samples (n, ...), classes (n,), shifts and weights as of `noise_split`, that
    gives mean gradients, logits (n, k) without noise, and classes."""

    def step(
        inputs: tf.Tensor, wanted: tf.Tensor, shifts: tf.Tensor, weights: tf.Tensor
    ) -> list[tf.Tensor]:
        starts, chunks = split.front(inputs), tf.shape(weights)[0]
        logits = split.rest(starts)
        classes, chosen = class_of(logits, wanted)
        slopes = mean_slope(
            split.rest, starts, lambda i: shifts[i][:, None], weights, chosen, chunks
        )
        return [split.back(inputs, slopes), logits, classes]

    return step
