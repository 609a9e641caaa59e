"""L1: the channel whose producing weights are smallest in sum.

    score(c) = - sum over the weights w that make channel c of |w|

Li et al., Pruning Filters for Efficient ConvNets, 2017 (arXiv 1608.08710). It looks at no sample.
Where several layers make a channel (a residual sum), the mean of their norms. The norms are raw:
they grow with the size of a kernel, so rank over several layers by `normalised` ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tf_keras as keras

from hsi.compress.criteria import ChannelScores
from hsi.compress.criteria.kernels import over_producers, producing_kernel, weight_kernels
from hsi.compress.criteria.probes import Batches
from hsi.compress.graph import Group


def score(
    model: keras.Model, batches: Batches, groups: Sequence[Group], *, seed: int = 0
) -> ChannelScores:
    """Minus the L1 norm of what makes each channel; `batches` is not read."""
    norms = over_producers(model, groups, _norms)
    return ChannelScores({name: -values for name, values in norms.items()})


def _norms(layer: Any) -> np.ndarray:
    """(outputs,) float64; no copy in float64 is made, VGG16 has 138 million weights."""
    kernel, axis = producing_kernel(layer)
    others = tuple(set(range(len(kernel.shape))) - {len(kernel.shape) + axis})
    return np.abs(kernel.numpy()).sum(axis=others, dtype=np.float64)


def weight_scores(model: keras.Model, batches: Batches, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Minus |w| of every weight, by layer name: magnitude pruning; `batches` is not read."""
    return {name: -np.abs(kernel.numpy()) for name, kernel in weight_kernels(model).items()}
