"""FPGM: the filter nearest to the geometric median of its layer.

    score(c) = - sum over the other filters f of the layer of ||w_c - f||

He et al., Filter Pruning via Geometric Median, 2019 (arXiv 1811.00250). A filter with little
distance to all others can be replaced by them, however large it is. It looks at no sample. Where
several layers make a channel, the mean of their sums; raw, so rank over several layers by
`normalised` scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tf_keras as keras

from hsi.compress.criteria import ChannelScores
from hsi.compress.criteria.kernels import filters, over_producers
from hsi.compress.criteria.probes import Batches
from hsi.compress.graph import Group


def score(
    model: keras.Model, batches: Batches, groups: Sequence[Group], *, seed: int = 0
) -> ChannelScores:
    """Minus the summed distances of each filter to the others; `batches` is not read."""
    sums = over_producers(model, groups, lambda layer: _distances(filters(layer)))
    return ChannelScores({name: -values for name, values in sums.items()})


def _distances(rows: np.ndarray) -> np.ndarray:
    """(rows,) sum of the Euclidean distances of each row to all others."""
    # |a - b|^2 = |a|^2 + |b|^2 - 2 ab: one matrix product, where differences of all pairs would
    # not fit into memory. Centred, since it is the differences that count.
    rows = rows - rows.mean(axis=0)
    products = rows @ rows.T
    norms = np.diagonal(products)
    squares = norms[:, None] + norms[None, :] - 2 * products
    np.fill_diagonal(squares, 0)
    return np.sqrt(np.maximum(squares, 0)).sum(axis=1)
