"""Mean activation: a channel that is near zero on average tells the next layer little.

    score(c) = - mean over samples and positions of |activation_c|

Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient Inference, 2017
(arXiv 1611.06440), among the criteria compared there; on rectified channels |x| is x. Which
activation: see `hsi.compress.criteria.probes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from hsi.compress.criteria import ChannelScores
from hsi.compress.criteria.probes import Batches, probed_means
from hsi.compress.graph import Group


def score(
    model: keras.Model, batches: Batches, groups: Sequence[Group], *, seed: int = 0
) -> ChannelScores:
    """Minus the mean |activation| of every channel, in one pass over the samples.

    Args:
        batches: (inputs, classes); the classes are not looked at.
        groups: of this model (`channel_groups`), convolutional or dense.

    Raises:
        ModelError: no samples, or a model that channels cannot be followed through.
    """
    if not groups:
        return ChannelScores({})
    means, _ = probed_means(
        model,
        groups,
        batches,
        lambda view, inputs, probes: [_magnitude] * len(probes),
        criterion="mean_activation",
    )
    return ChannelScores({name: -values for name, values in means.items()})


def _magnitude(values: Any) -> Any:
    return tf.abs(tf.cast(values, tf.float64))  # float32 sums over many positions lose digits
