"""APoZ: the average percentage of zeros of a channel's activations.

    APoZ(c) = mean over samples and positions of [activation_c = 0]

Hu et al., Network Trimming, 2016 (arXiv 1607.03250). A channel that is zero almost everywhere
tells the next layer almost nothing. Score it on training samples.

Which activation: see `hsi.compress.criteria.probes`. Only activations with exact zeros count
(ReLU and its kin); if a channel reaches none (sigmoid, swish, linear bottleneck), the share of
*small* values stands in: |x| at most `SMALL` times the root mean square of that tensor on the
first batch. It too lies in 0..1 and grows as a channel falls silent, so it can be ranked beside
APoZ; a note says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.compress.criteria import ChannelScores
from hsi.compress.criteria.probes import Batches, Measure, Probe, probed_means
from hsi.compress.graph import Group

SMALL = 0.05
"""Share of a tensor's root mean square below which a value counts as small."""


def score(
    model: keras.Model, batches: Batches, groups: Sequence[Group], *, seed: int = 0
) -> ChannelScores:
    """APoZ of every channel of these groups, in one pass over the samples.

    Args:
        batches: (inputs, classes); the classes are not looked at.
        groups: of this model (`channel_groups`), convolutional or dense.

    Returns:
        Scores in 0..1, higher for more zeros, and a note for groups scored by small values.

    Raises:
        ModelError: no samples, or a model that channels cannot be followed through.
    """
    if not groups:
        return ChannelScores({})
    scores, probes = probed_means(model, groups, batches, _hits, criterion="APoZ")
    return ChannelScores(scores, _notes(probes))


def _hits(
    view: keras.Model, inputs: Sequence[np.ndarray], probes: Sequence[Probe]
) -> list[Measure]:
    """1 where a value is zero; where the probe is not exact, where it is small."""
    limits = [0.0] * len(probes)
    if not all(probe.exact for probe in probes):
        outputs = tf.nest.flatten(view(list(inputs), training=False))
        limits = [SMALL * float(tf.sqrt(tf.reduce_mean(tf.square(output)))) for output in outputs]
    return [
        _zero if probe.exact else _at_most(limit)
        for probe, limit in zip(probes, limits, strict=True)
    ]


def _zero(values: Any) -> Any:
    return tf.cast(values == 0, tf.int32)


def _at_most(limit: float) -> Measure:
    return lambda values: tf.cast(tf.abs(values) <= limit, tf.int32)


def _notes(probes: Iterable[Probe]) -> tuple[str, ...]:
    names = dict.fromkeys(name for p in probes if not p.exact for name in p.groups)
    if not names:
        return ()
    return (
        f"No activation with exact zeros follows {', '.join(names)}: scored by the share of "
        f"values under {SMALL:.0%} of the layer's root mean square instead of APoZ.",
    )
