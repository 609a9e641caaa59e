"""APoZ: the average percentage of zeros of a channel's activations.

    APoZ(c) = mean over samples and positions of [activation_c = 0]

Hu et al., Network Trimming, 2016 (arXiv 1607.03250). A channel that is zero almost everywhere
tells the next layer almost nothing. Score it on training samples.

Which activation: the first non-linearity after the convolution on each way through the graph,
be it the convolution's own or a layer behind batch norm, padding, a sum or a concatenation. Where
a group meets several (the blocks of a residual stage, the readers of a dense block's output), its
score is the mean of their shares. Only activations with exact zeros count (ReLU and its kin);
if a channel reaches none (sigmoid, swish, linear bottleneck), the share of *small* values stands
in: |x| at most `SMALL` times the root mean square of that tensor on the first batch. It too
lies in 0..1 and grows as a channel falls silent, so it can be ranked beside APoZ; a note says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.compress.criteria import ChannelScores
from hsi.compress.graph import ChannelMap, Group, map_channels
from hsi.compress.layers import EXACT_ZERO, rule_for
from hsi.compress.surgery import flattened
from hsi.errors import ModelError

SMALL = 0.05
"""Share of a tensor's root mean square below which a value counts as small."""


@dataclass(frozen=True)
class Probe:
    """A tensor that is looked at for some groups: after which layer, and for zeros or for small."""

    key: int
    layer: str
    exact: bool
    groups: tuple[str, ...]


def score(model: keras.Model, batches: Iterable[Any], groups: Sequence[Group]) -> ChannelScores:
    """APoZ of every channel of the convolutional groups, in one pass over the samples.

    Args:
        batches: inputs (n, rows, cols, channels), any last batch smaller; a list of arrays each
            for a model of several inputs. Read once.
        groups: of this model (`channel_groups`); those without convolution are left out.

    Returns:
        Scores in 0..1, higher for more zeros, and a note for groups scored by small values.

    Raises:
        ModelError: no samples, or a model that channels cannot be followed through.
    """
    model = flattened(model)
    channels = map_channels(model)
    wanted = [group for group in groups if group.convolutional]
    if not wanted:
        return ChannelScores({})
    probes = find_probes(channels, wanted)
    zeros, positions = _count(model, batches, probes, channels)
    shares: dict[str, list[np.ndarray]] = {group.name: [] for group in wanted}
    for probe, found, size in zip(probes, zeros, positions, strict=True):
        ids = channels.ids[probe.key]
        for name in probe.groups:
            shares[name].append(_per_channel(found / size, ids, channels.members[name]))
    scores = {name: np.nanmean(values, axis=0) for name, values in shares.items()}
    return ChannelScores(scores, _notes(probes))


def find_probes(channels: ChannelMap, groups: Iterable[Group]) -> list[Probe]:
    """The tensors to look at for these groups, in the order of the network."""
    readers: dict[int, list[int]] = {}
    calls = channels.graph.calls
    for position, call in enumerate(calls):
        for key in call.inputs:
            readers.setdefault(key, []).append(position)
    found: dict[tuple[int, bool], list[str]] = {}
    for group in groups:
        producers = {producer.layer for producer in group.producers}
        starts = [p for p, call in enumerate(calls) if call.name in producers]
        ends = _first_activations(channels, starts, readers)
        exact = [p for p, zero in ends.items() if zero]
        for p in exact or ends:
            found.setdefault((p, bool(exact)), []).append(group.name)
    return [
        Probe(calls[p].outputs[0], calls[p].name, exact, tuple(names))
        for (p, exact), names in sorted(found.items())
    ]


def _first_activations(
    channels: ChannelMap, starts: Iterable[int], readers: dict[int, list[int]]
) -> dict[int, bool]:
    """Positions of the calls where each way from `starts` first meets an activation or a kernel.

    The value says whether it is an activation with exact zeros.
    """
    calls, ends, seen, open_ = channels.graph.calls, {}, set(), list(starts)
    while open_:
        position = open_.pop()
        if position in seen:
            continue
        seen.add(position)
        call = calls[position]
        name = rule_for(call.layer).activation(call.layer)
        if name != "linear":
            ends[position] = name in EXACT_ZERO
            continue
        for reader in readers.get(call.outputs[0], []):
            if rule_for(calls[reader].layer).kind(calls[reader].layer):
                ends[position] = False
            else:
                open_.append(reader)
    return ends


def _per_channel(shares: np.ndarray, ids: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Mean share over the positions of the last axis that hold each channel; NaN where none."""
    here = np.isin(ids, members)
    channel = np.searchsorted(members, ids[here])
    sums = np.bincount(channel, weights=shares[here], minlength=len(members))
    counts = np.bincount(channel, minlength=len(members))
    return np.divide(sums, counts, out=np.full(len(members), np.nan), where=counts > 0)


def _count(
    model: keras.Model, batches: Iterable[Any], probes: Sequence[Probe], channels: ChannelMap
) -> tuple[list[np.ndarray], list[int]]:
    """For each probe: zeros (or small values) per position of the last axis, and values each."""
    view = _view(model, probes, channels)
    exact = [probe.exact for probe in probes]
    counter: Callable[..., Any] | None = None
    widths = [len(channels.ids[probe.key]) for probe in probes]
    total = np.zeros(sum(widths), np.int64)
    sizes = np.zeros(len(probes), np.int64)
    for batch in batches:
        inputs = list(batch) if isinstance(batch, list | tuple) else [batch]
        inputs = [np.asarray(array, np.float32) for array in inputs]
        if not len(inputs[0]):
            continue
        if counter is None:
            limits = [0.0] * len(probes) if all(exact) else _limits(view, inputs)
            counter = _counter(view, [0.0 if e else v for e, v in zip(exact, limits, strict=True)])
        counts, size = counter(*inputs)
        total += counts.numpy()
        sizes += size.numpy()
    if counter is None:
        raise ModelError("APoZ needs samples to look at: expected at least one batch, got none.")
    return np.split(total, np.cumsum(widths)[:-1]), sizes.tolist()


def _view(model: keras.Model, probes: Sequence[Probe], channels: ChannelMap) -> keras.Model:
    """The model up to the probed tensors."""
    tensors = channels.graph.tensors
    return keras.Model(model.inputs, [tensors[probe.key] for probe in probes])


def _counter(view: keras.Model, limits: Sequence[float]) -> Callable[..., Any]:
    """One compiled function for any batch size: counts of |x| <= limit, and values per position."""
    signature = [tf.TensorSpec([None, *tensor.shape[1:]], tf.float32) for tensor in view.inputs]

    @tf.function(input_signature=signature)
    def count(*inputs: Any) -> Any:
        outputs = tf.nest.flatten(view(list(inputs), training=False))
        counts, sizes = [], []
        for output, limit in zip(outputs, limits, strict=True):
            hit = output == 0 if limit == 0 else tf.abs(output) <= limit
            axes = list(range(len(output.shape) - 1))
            counts.append(tf.cast(tf.reduce_sum(tf.cast(hit, tf.int32), axes), tf.int64))
            sizes.append(tf.size(output, tf.int64) // output.shape[-1])
        return tf.concat(counts, 0), tf.stack(sizes)

    return count


def _limits(view: keras.Model, inputs: Sequence[np.ndarray]) -> list[float]:
    outputs = tf.nest.flatten(view(list(inputs), training=False))
    return [SMALL * float(tf.sqrt(tf.reduce_mean(tf.square(output)))) for output in outputs]


def _notes(probes: Iterable[Probe]) -> tuple[str, ...]:
    names = dict.fromkeys(name for p in probes if not p.exact for name in p.groups)
    if not names:
        return ()
    return (
        f"No activation with exact zeros follows {', '.join(names)}: scored by the share of "
        f"values under {SMALL:.0%} of the layer's root mean square instead of APoZ.",
    )
