"""Noise that is added to samples: the same draws for every sample, batch size and network.

The draws depend on the seed and on the shape of a sample alone, so that maps of two variants of a
network differ by the networks and not by luck. They are made in groups of at most `batch_size`,
which go through the affine beginning of the network once for all samples (`hsi.explain.affine`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import tensorflow as tf

from hsi.errors import SettingsError
from hsi.explain.affine import Split
from hsi.explain.attribution import batch_rows
from hsi.explain.score import Score
from hsi.explain.slopes import even_chunks


@dataclass(frozen=True, eq=False)
class Group:
    """Some of the noisy copies.

    Attributes:
        shifts: (size of every group, ...) what the noise is behind the front; after the first
            `count` of them zeros.
        weights: (size of every group,) 1 / all copies.
        count: of the copies.
        at_once: how many of them a batch of samples takes at a time.
    """

    shifts: tf.Tensor
    weights: np.ndarray
    count: np.int32
    at_once: np.int32


@dataclass(frozen=True, eq=False)
class Noise:
    """Copies of each sample with Gaussian noise.

    Attributes:
        deviation: (channels,) of the noise.
        samples: copies of each sample.
        seed: of the draws.
    """

    deviation: np.ndarray
    samples: int
    seed: int

    def draws(self, inputs: np.ndarray) -> Iterator[np.ndarray]:
        """Noise to add to each of the samples, one copy after the other, in their type."""
        for draw in noise_draws(inputs.shape[1:], self.samples, seed=self.seed):
            yield (draw * self.deviation).astype(inputs.dtype)

    def groups(
        self, score: Score, split: Split, inputs: np.ndarray, *, batch_size: int
    ) -> Iterator[Group]:
        """The copies, at most `batch_size` at a time."""
        at_once = even_chunks(self.samples, batch_size // batch_rows(len(inputs), batch_size))[1]
        size = even_chunks(self.samples, batch_size)[1]
        linear = score.compiled("noise behind the front", lambda _: split.linear)
        draws = self.draws(inputs)
        weights = np.full(size, 1 / self.samples, inputs.dtype)
        while group := list(islice(draws, size)):
            # All groups have one shape, for which the steps are compiled.
            filled = np.zeros((size, *inputs.shape[1:]), inputs.dtype)
            filled[: len(group)] = group
            shifts = linear(filled) if split.cut else tf.constant(filled)
            yield Group(shifts, weights, np.int32(len(group)), np.int32(min(at_once, size)))


def noise_of(
    inputs: np.ndarray, *, seed: int, samples: int, noise: float, ranges: np.ndarray | None
) -> Noise:
    """The noise for samples (n, ..., channels); arguments as of `hsi.explain.smoothgrad`.

    Raises:
        SettingsError: fewer than one copy, negative noise, or ranges that are not one per channel.
    """
    if samples < 1 or not noise >= 0:
        raise SettingsError(
            f"Expected at least 1 noisy copy and a noise share of 0 or more, "
            f"got {samples} and {noise}."
        )
    if ranges is None:
        ranges = np.ptp(inputs, axis=tuple(range(inputs.ndim - 1)))
    ranges = np.asarray(ranges)
    if ranges.shape != inputs.shape[-1:] or not (ranges >= 0).all():
        raise SettingsError(
            f"Expected {inputs.shape[-1]} ranges of 0 or more, one per channel, "
            f"got shape {ranges.shape}."
        )
    return Noise(noise * ranges, samples, seed)


def noise_draws(shape: tuple[int, ...], samples: int, *, seed: int) -> Iterator[np.ndarray]:
    """So many float32 standard normal draws of a shape, the same for every network."""
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        yield rng.standard_normal(shape, dtype=np.float32)
