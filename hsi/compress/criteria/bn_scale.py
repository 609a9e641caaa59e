"""BN scale: the factor that batch norm puts on a channel.

    score(c) = - |gamma_c|

Liu et al., Network Slimming, 2017 (arXiv 1708.06519), best after training with an L1 penalty on
gamma. It looks at no sample. Taken is the first batch norm behind the producer on each way through
the graph, before the next kernel; where there are several (the blocks of a residual stage, the
readers of a dense block's output), the mean of their |gamma|.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Call
from hsi.compress.criteria import ChannelScores
from hsi.compress.criteria.probes import Batches, average, first_on_each_way, per_channel
from hsi.compress.graph import ChannelMap, Group, map_channels
from hsi.errors import ModelError


def score(
    model: keras.Model, batches: Batches, groups: Sequence[Group], *, seed: int = 0
) -> ChannelScores:
    """Minus |gamma| behind each channel; `batches` is not read.

    Raises:
        ModelError: groups without a batch norm that scales.
    """
    channels = map_channels(model)
    scores = {group.name: -_scale(channels, group) for group in groups}
    bare = [name for name, values in scores.items() if np.isnan(values).any()]
    if bare:
        raise ModelError(
            "criterion bn_scale expects a batch norm with a scale behind every layer that is "
            f"pruned; {', '.join(bare)} {'has' if len(bare) == 1 else 'have'} none: keep "
            f"{'it' if len(bare) == 1 else 'them'} whole, or choose criterion l1."
        )
    return ChannelScores(scores)


def _scale(channels: ChannelMap, group: Group) -> np.ndarray:
    """(channels,) mean |gamma| of the batch norms behind a group; NaN where there is none."""
    members, calls = channels.members[group.name], channels.graph.calls
    ends = first_on_each_way(channels.graph, group, _is_batch_norm)
    norms = {calls[p].name: calls[p] for p, met in ends.items() if met and calls[p].layer.scale}
    found = [
        per_channel(np.abs(call.layer.gamma.numpy()), channels.ids[call.outputs[0]], members)
        for call in norms.values()
    ]
    return average([np.full(group.channels, np.nan), *found])


def _is_batch_norm(call: Call) -> bool:
    return isinstance(call.layer, keras.layers.BatchNormalization)
