"""Where channels are looked at, and one pass of the samples over those places.

A channel's activation is taken at the first non-linearity behind its producer on each way through
the graph, be it the producer's own or a layer behind batch norm, padding, a sum or a
concatenation; where a way meets the next kernel first, at the tensor that this kernel reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.compress.calls import Call, CallGraph
from hsi.compress.graph import ChannelMap, Group, map_channels
from hsi.compress.layers import EXACT_ZERO, rule_for
from hsi.compress.surgery import flattened
from hsi.errors import ModelError

Batches: TypeAlias = Iterable[tuple[Any, Any]]
"""Pairs (inputs, classes): inputs (n, ...) or a list of such arrays, classes (n,) integers."""

Measure = Callable[[Any], Any]
"""A tensor of activations -> what is averaged of each, in the same shape."""


@dataclass(frozen=True)
class Probe:
    """A tensor that is looked at for some groups: after which layer, and for zeros or for small."""

    key: int
    layer: str
    exact: bool
    groups: tuple[str, ...]


def probed_means(
    model: keras.Model,
    groups: Sequence[Group],
    batches: Batches,
    measures: Callable[[keras.Model, list[np.ndarray], Sequence[Probe]], Sequence[Measure]],
    *,
    criterion: str,
) -> tuple[dict[str, np.ndarray], list[Probe]]:
    """Mean of a measure over samples and positions, per channel, in one pass.

    Where a channel is looked at in several places (the blocks of a residual stage, the readers of
    a dense block's output), its value is the mean of theirs; of the exact ones, where it has any.

    Args:
        measures: given the model up to the probes, the first batch's inputs and the probes, what
            to average at each of them.
        criterion: its name, for errors.

    Returns:
        Group name -> (channels,) float64, and the places looked at.

    Raises:
        ModelError: no samples, or a model that channels cannot be followed through.
    """
    model = flattened(model)
    channels = map_channels(model)
    probes = find_probes(channels, groups)
    view = view_of(model, channels.graph, [probe.key for probe in probes])
    sums: Callable[..., Any] | None = None
    total, positions = np.zeros(sum(len(channels.ids[p.key]) for p in probes)), np.zeros(1)
    for inputs, _ in samples_of(batches, criterion=criterion):
        sums = sums or _sums(view, measures(view, inputs, probes))
        batch, sizes = sums(*inputs)
        total, positions = total + batch.numpy(), positions + sizes.numpy()
    ends = np.cumsum([len(channels.ids[probe.key]) for probe in probes])[:-1]
    unknown = {group.name: np.full(group.channels, np.nan) for group in groups}
    values = {(name, e): [none] for name, none in unknown.items() for e in (False, True)}
    for probe, found, size in zip(probes, np.split(total, ends), positions, strict=True):
        for name in probe.groups:
            ids = channels.ids[probe.key]
            mean = per_channel(found / size, ids, channels.members[name])
            values[name, probe.exact].append(mean)
    scores = {}
    for group in groups:
        other, exact = (average(values[group.name, exact]) for exact in (False, True))
        scores[group.name] = np.where(np.isnan(exact), other, exact)
    return scores, probes


def find_probes(channels: ChannelMap, groups: Iterable[Group]) -> list[Probe]:
    """The tensors to look at for these groups, in the order of the network."""
    calls = channels.graph.calls
    found: dict[tuple[int, bool], list[str]] = {}
    for group in groups:
        for place in _places(channels, group):
            found.setdefault(place, []).append(group.name)
    return [
        Probe(calls[p].outputs[0], calls[p].name, exact, tuple(names))
        for (p, exact), names in sorted(found.items())
    ]


def _places(channels: ChannelMap, group: Group) -> list[tuple[int, bool]]:
    """Positions of the calls that a group is looked at behind, and whether they are exact.

    Places that are not exact are only for channels that come to no exact one.
    """
    calls = channels.graph.calls
    ends = first_on_each_way(channels.graph, group, lambda call: _activation(call) != "linear")
    exact = {p: met and _activation(calls[p]) in EXACT_ZERO for p, met in ends.items()}
    ids = {p: channels.ids[calls[p].outputs[0]] for p in ends}
    left = channels.members[group.name]
    for p in ends:
        left = np.setdiff1d(left, ids[p]) if exact[p] else left
    return [(p, exact[p]) for p in ends if exact[p] or np.isin(left, ids[p]).any()]


def first_on_each_way(
    graph: CallGraph, group: Group, wanted: Callable[[Call], bool]
) -> dict[int, bool]:
    """Positions of the calls where each way from a group's producers first meets a wanted call.

    A way that meets the next kernel first ends before it; the value tells them apart: True where
    the call is a wanted one.
    """
    calls, producers = graph.calls, {producer.layer for producer in group.producers}
    readers = readers_of(graph)
    open_ = [position for position, call in enumerate(calls) if call.name in producers]
    ends: dict[int, bool] = {}
    seen: set[int] = set()
    while open_:
        position = open_.pop()
        if position in seen:
            continue
        seen.add(position)
        if wanted(calls[position]):
            ends[position] = True
            continue
        for reader in readers.get(calls[position].outputs[0], []):
            if rule_for(calls[reader].layer).kind(calls[reader].layer):
                ends[position] = False
            else:
                open_.append(reader)
    return ends


def readers_of(graph: CallGraph) -> dict[int, list[int]]:
    """Tensor key -> positions of the calls that read it."""
    readers: dict[int, list[int]] = {}
    for position, call in enumerate(graph.calls):
        for key in call.inputs:
            readers.setdefault(key, []).append(position)
    return readers


def per_channel(values: np.ndarray, ids: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Mean value over the positions of the last axis that hold each channel; NaN where none."""
    here = np.isin(ids, members)
    channel = np.searchsorted(members, ids[here])
    sums = np.bincount(channel, weights=values[here], minlength=len(members))
    counts = np.bincount(channel, minlength=len(members))
    return np.divide(sums, counts, out=np.full(len(members), np.nan), where=counts > 0)


def average(values: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of several arrays, element by element, of those that are not NaN; NaN where all are."""
    stacked = np.array(values)
    known = ~np.isnan(stacked)
    counts = known.sum(axis=0)
    sums = np.where(known, stacked, 0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)


def samples_of(
    batches: Batches, *, criterion: str
) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """The batches that hold samples: a list of float32 arrays, one an input, and the classes.

    Raises:
        ModelError: there was none.
    """
    empty = True
    for inputs, classes in batches:
        listed = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        arrays = [np.asarray(array, np.float32) for array in listed]
        if len(arrays[0]):
            empty = False
            yield arrays, np.asarray(classes)
    if empty:
        raise ModelError(
            f"{criterion} needs samples to look at: expected at least one batch, got none."
        )


def view_of(model: keras.Model, graph: CallGraph, keys: Iterable[int]) -> keras.Model:
    """A model without nested models, up to these tensors."""
    return keras.Model(model.inputs, [graph.tensors[key] for key in keys])


def compiled(step: Callable[..., Any], inputs: Sequence[Any], *more: tf.TensorSpec) -> Any:
    """`step` as one compiled function for batches of any size of these input tensors."""
    shapes = [tf.TensorSpec([None, *tensor.shape[1:]], tf.float32) for tensor in inputs]
    function = tf.function(step, input_signature=[*shapes, *more], autograph=False)
    # Its one trace, asked for at the first batch: the function itself would warn of steps that are
    # traced again and again, since every network has its own.
    trace = cache(function.get_concrete_function)
    return lambda *arrays: trace()(*map(tf.convert_to_tensor, arrays))


def _activation(call: Call) -> str:
    return rule_for(call.layer).activation(call.layer)


def _sums(view: keras.Model, measures: Sequence[Measure]) -> Callable[..., Any]:
    """Sums of the measures per position of the last axis, and how many values each is of."""

    def step(*inputs: Any) -> Any:
        sums, sizes = [], []
        outputs = tf.nest.flatten(view(list(inputs), training=False))
        for output, measure in zip(outputs, measures, strict=True):
            axes = list(range(len(output.shape) - 1))
            sums.append(tf.cast(tf.reduce_sum(measure(output), axes), tf.float64))
            sizes.append(tf.size(output, tf.int64) // output.shape[-1])
        return tf.concat(sums, 0), tf.stack(sizes)

    return compiled(step, view.inputs)
