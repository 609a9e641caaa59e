"""L2: the channel whose producing weights have the smallest Euclidean norm.

    score(c) = - sqrt(sum over the weights w that make channel c of w^2)

He et al., Soft Filter Pruning, 2018 (arXiv 1808.06866). It looks at no sample. As with `l1`, the
mean where several layers make a channel, and raw: rank over several layers by `normalised` ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tf_keras as keras

from hsi.compress.criteria import ChannelScores
from hsi.compress.criteria.kernels import filters, over_producers, weight_kernels
from hsi.compress.criteria.probes import Batches
from hsi.compress.graph import Group


def score(
    model: keras.Model, batches: Batches, groups: Sequence[Group], *, seed: int = 0
) -> ChannelScores:
    """Minus the L2 norm of what makes each channel; `batches` is not read."""
    norms = over_producers(model, groups, lambda layer: np.linalg.norm(filters(layer), axis=1))
    return ChannelScores({name: -values for name, values in norms.items()})


def weight_scores(model: keras.Model, batches: Batches, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Minus w^2 of every weight, by layer name; orders as `l1` does. `batches` is not read."""
    return {name: -np.square(kernel.numpy()) for name, kernel in weight_kernels(model).items()}
