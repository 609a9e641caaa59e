"""Random: channels and weights by lot, the baseline of every other criterion.

    score(c) ~ uniform in 0..1

Mittal et al., Recovering from Random Pruning, 2018 (arXiv 1801.10447): after fine-tuning it comes
close to informed criteria. The draw of a group depends on the seed and the group's name alone, so
neither the order of the groups nor the presence of others changes it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import tf_keras as keras

from hsi.compress.criteria import ChannelScores
from hsi.compress.criteria.kernels import weight_kernels
from hsi.compress.criteria.probes import Batches
from hsi.compress.graph import Group


def score(
    model: keras.Model, batches: Batches, groups: Sequence[Group], *, seed: int = 0
) -> ChannelScores:
    """A number in 0..1 for every channel; `batches` is not read."""
    return ChannelScores({g.name: _draw(seed, g.name, (g.channels,)) for g in groups})


def weight_scores(model: keras.Model, batches: Batches, *, seed: int = 0) -> dict[str, np.ndarray]:
    """A number in 0..1 for every weight, by layer name; `batches` is not read."""
    return {
        name: _draw(seed, name, tuple(kernel.shape)).astype(np.float32)
        for name, kernel in weight_kernels(model).items()
    }


def _draw(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng([seed, zlib.crc32(name.encode())]).random(shape)
