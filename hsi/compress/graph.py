"""Channels of a network that must go together: groups.

Every tensor of the network gets an array of channel ids along its last axis. Layers pass ids on,
repeat them (flatten, depthwise multiplier), join them (concatenate) or tie them (add); what each
layer type does stands in `hsi.compress.layers`. Positions with the same id exist or vanish
together, so groups need no case for any combination of layers. The idea of dependency groups is
that of Fang et al., DepGraph, 2023 (arXiv 2301.12900).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Call, CallGraph, walk
from hsi.compress.layers import refuse, rule_for
from hsi.compress.space import ChannelSpace, Site
from hsi.errors import ModelError

Removal = Mapping[str, Iterable[int]]
"""Group name -> indices of the channels that go."""


@dataclass(frozen=True)
class Producer:
    """A layer that makes channels: its output k is channel `channels[k]` of its group."""

    layer: str
    kind: str
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """Channels that can be removed; channel k goes from all producers and consumers at once.

    Attributes:
        name: name of the first producing layer.
        channels: how many there are.
        producers: the layers that make them; several where their outputs are added.
        consumers: names of the layers whose kernels read them.
    """

    name: str
    channels: int
    producers: tuple[Producer, ...]
    consumers: tuple[str, ...]

    @property
    def kind(self) -> str:
        """`convolution` if any producer is one, else `dense`."""
        kinds = {producer.kind for producer in self.producers}
        return "convolution" if "convolution" in kinds else "dense"

    @property
    def convolutional(self) -> bool:
        return self.kind == "convolution"


@dataclass(frozen=True)
class ChannelMap:
    """A network with the channel ids of each tensor's last axis and the removable groups.

    `members[name][k]` is the id of channel k of the group of that name.
    """

    graph: CallGraph
    ids: Mapping[int, np.ndarray]
    groups: tuple[Group, ...]
    members: Mapping[str, np.ndarray]


def channel_groups(model: keras.Model) -> list[Group]:
    """The groups of channels that can be removed from a functional or sequential model.

    Not among them: the model's inputs and outputs (class scores), and channels tied to those or
    read by a layer that mixes channels without a kernel (softmax, layer normalisation) or that
    is a grouped convolution.

    Raises:
        ModelError: the model is not a graph of layers, or holds a layer of an unknown type.
    """
    return list(map_channels(model).groups)


def map_channels(model: keras.Model) -> ChannelMap:
    """Follow the channels of a model through all its layers; raises as `channel_groups`."""
    graph = walk(model)
    space = ChannelSpace()
    ids: dict[int, np.ndarray] = {}
    for layer, key in graph.inputs:
        ids[key] = space.new(_last(layer.output_shape))
        space.pin(ids[key])
    first: dict[str, Call] = {}
    for call in graph.calls:
        rule = rule_for(call.layer)
        if not call.plain or len(call.outputs) != 1:
            raise refuse(call.layer, "it takes more than its inputs from the graph")
        inputs = [ids[key] for key in call.inputs]
        earlier = first.setdefault(call.name, call)
        if earlier is not call and call.layer.weights:
            # One set of weights serves both calls, so both see the same channels.
            for key, now in zip(earlier.inputs, inputs, strict=True):
                space.tie(ids[key], now)
        if earlier is not call and rule.kind(call.layer):
            ids[call.outputs[0]] = ids[earlier.outputs[0]]
            continue
        site = Site(call.layer, tuple(inputs), call.input_shapes, call.output_shapes[0], space)
        ids[call.outputs[0]] = rule.trace(site)
        if earlier is not call and rule.counts(call.layer):
            space.tie(ids[earlier.outputs[0]], ids[call.outputs[0]])
    for key in graph.outputs:
        space.pin(ids[key])
    ids = {key: space.roots(value) for key, value in ids.items()}
    groups, members = _collect(graph, ids, space.pinned())
    return ChannelMap(graph, ids, groups, members)


def removed_ids(channels: ChannelMap, removal: Removal) -> np.ndarray:
    """The channel ids that a removal takes away.

    Raises:
        ModelError: an unknown group or channel, or a layer would be left without channels.
    """
    gone = [np.empty(0, int)]
    groups = {group.name: group for group in channels.groups}
    for name, indices in removal.items():
        if name not in groups:
            raise ModelError(
                f"No channels can be removed from {name!r}: expected one of {', '.join(groups)}."
            )
        group, chosen = groups[name], {int(i) for i in indices}
        outside = [i for i in chosen if not 0 <= i < group.channels]
        if outside:
            raise ModelError(
                f"{name}: expected channels 0 to {group.channels - 1}, got {outside[0]}."
            )
        for producer in group.producers:
            if chosen.issuperset(producer.channels):
                raise ModelError(
                    f"{name}: all {len(producer.channels)} channels of {producer.layer!r} would "
                    "go; at least one has to stay in each layer."
                )
        gone.append(channels.members[name][sorted(chosen)])
    return np.concatenate(gone)


def _last(shapes: Any) -> int:
    """Channels of an input layer; (batch, ..., channels) is a list of one where it was loaded."""
    shape = shapes[0] if isinstance(shapes, list) else shapes
    if shape[-1] is None:
        raise ModelError(f"Expected an input with a known number of channels, got shape {shape}.")
    return int(shape[-1])


def _collect(
    graph: CallGraph, ids: Mapping[int, np.ndarray], pinned: np.ndarray
) -> tuple[tuple[Group, ...], dict[str, np.ndarray]]:
    """Put producing layers that share channel ids into one group, in the order of the graph."""
    kinds = {call.name: rule_for(call.layer).kind(call.layer) for call in graph.calls}
    made: dict[str, np.ndarray] = {}
    for call in graph.calls:
        if kinds[call.name]:
            made.setdefault(call.name, ids[call.outputs[0]])
    size = 1 + max((int(own.max()) for own in ids.values()), default=0)
    fixed = np.zeros(size, bool)
    fixed[pinned] = True
    members: dict[str, np.ndarray] = {}
    makers: dict[str, list[str]] = {}
    for first, names in _sharing(made, size).items():
        channels = np.unique(np.concatenate([made[name] for name in names]))
        if not fixed[channels].any():
            members[first], makers[first] = channels, names
    readers = _readers(graph, ids, members, kinds, size)
    groups = []
    for first, channels in members.items():
        producers = tuple(
            Producer(name, kinds[name], tuple(np.searchsorted(channels, made[name]).tolist()))
            for name in makers[first]
        )
        groups.append(Group(first, len(channels), producers, tuple(readers[first])))
    return tuple(groups), members


def _sharing(made: Mapping[str, np.ndarray], size: int) -> dict[str, list[str]]:
    """First layer -> all layers that share channels with it, or with one that does."""
    names, space = list(made), ChannelSpace()
    places, owner = space.new(len(names)), np.full(size, -1)
    for place, own in enumerate(made.values()):
        earlier = np.unique(owner[own])
        earlier = earlier[earlier >= 0]
        space.tie(np.full(len(earlier), place), earlier)
        owner[own] = place
    found: dict[str, list[str]] = {}
    for name, first in zip(names, space.roots(places).tolist(), strict=True):
        found.setdefault(names[first], []).append(name)
    return found


def _readers(
    graph: CallGraph,
    ids: Mapping[int, np.ndarray],
    members: Mapping[str, np.ndarray],
    kinds: Mapping[str, str],
    size: int,
) -> dict[str, dict[str, None]]:
    """Group -> the layers with kernels that read its channels, in the order of the graph."""
    names, group_of = list(members), np.full(size, -1)
    for place, channels in enumerate(members.values()):
        group_of[channels] = place
    found: dict[str, dict[str, None]] = {name: {} for name in names}
    for call in graph.calls:
        if kinds[call.name]:
            read = np.concatenate([group_of[ids[key]] for key in call.inputs])
            for place in np.unique(read[read >= 0]):
                found[names[place]][call.name] = None
    return found
