"""Which channels to take, and in what order: a ranking by score, at least one left in each layer.

A removal is always the beginning of one order, so a larger removal holds every smaller one.

    scope     `global`: the highest scores of the whole network first, so a layer that matters
              little loses much; `layer`: the same share of each group, the highest scores of each
    rounding  channels go in packs, so that what is left in each layer is a multiple
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsi.errors import ModelError, SettingsError, one_of

if TYPE_CHECKING:
    from hsi.compress.graph import Group

SCOPES: dict[str, str] = {
    "global": "one ranking over the whole network",
    "layer": "the same share of each layer",
}


@dataclass(frozen=True)
class RemovalOrder:
    """Channels in the order in which they go.

    Attributes:
        groups: names of the groups, in the order of the network.
        packs: (group name, channels that go together), the first to go first.
        required: how many packs have to go whatever the budget: they round the groups down.
    """

    groups: tuple[str, ...]
    packs: tuple[tuple[str, tuple[int, ...]], ...]
    required: int = 0

    def removal(self, packs: int) -> dict[str, tuple[int, ...]]:
        """Group name -> ascending channels of the first `packs`; only groups that lose some."""
        taken: dict[str, list[int]] = {}
        for name, channels in self.packs[:packs]:
            taken.setdefault(name, []).extend(channels)
        return {name: tuple(sorted(taken[name])) for name in self.groups if name in taken}


def rank_channels(
    scores: Mapping[str, np.ndarray], groups: Iterable[Group]
) -> list[tuple[str, int]]:
    """(group name, channel) of every scored channel, the most removable first.

    Equal scores keep the order of the network: earlier group first, then lower channel.

    Args:
        scores: group name -> (channels,); higher means remove first. Groups without stay whole.

    Raises:
        ModelError: scores that are not finite or not one per channel.
    """
    table: list[tuple[float, int, str, int]] = []
    for order, group in enumerate(groups):
        if group.name not in scores:
            continue
        values = np.asarray(scores[group.name], float)
        if values.shape != (group.channels,) or not np.isfinite(values).all():
            raise ModelError(
                f"{group.name}: expected {group.channels} finite scores, one per channel, got "
                f"shape {values.shape} with {np.count_nonzero(~np.isfinite(values))} not finite; "
                "check the network's outputs for NaN."
            )
        table.extend((-value, order, group.name, k) for k, value in enumerate(values.tolist()))
    return [(name, channel) for _, _, name, channel in sorted(table)]


def removal_order(
    scores: Mapping[str, np.ndarray],
    groups: Iterable[Group],
    *,
    scope: str = "global",
    round_to: int = 1,
    min_channels: int = 1,
) -> RemovalOrder:
    """The order in which the channels of these groups go.

    Args:
        scores: group name -> (channels,); higher means remove first. Groups without stay whole.
        scope: one of `SCOPES`.
        round_to: what is left in each layer is a multiple of it, never zero. Where layers of a
            group make different channels of it (a concatenation that something is added to), each
            part that the same layers make is rounded by itself. A group that has no more channels
            than that, or a part of fewer, or that `min_channels` lets reach no multiple, stays
            whole. A pack of `round_to` channels goes when the last of them would.
        min_channels: channels that stay in each layer (all, where it has no more than that).

    Raises:
        ModelError: scores that are not finite or not one per channel.
        SettingsError: an unknown scope, `round_to` or `min_channels` below 1.
    """
    one_of(scope, SCOPES, what="scope")
    for setting, value in (("round_to", round_to), ("min_channels", min_channels)):
        if value < 1:
            raise SettingsError(f"{setting}: expected 1 or more, got {value}.")
    by_name = {group.name: group for group in groups}
    ranked: dict[str, list[tuple[int, int]]] = {}
    for place, (name, channel) in enumerate(rank_channels(scores, by_name.values())):
        ranked.setdefault(name, []).append((place, channel))
    packs: list[tuple[float, int, str, tuple[int, ...]]] = []
    required = 0
    for order, (name, group) in enumerate(by_name.items()):
        places = {channel: place for place, channel in ranked.get(name, ())}
        for size, taken in _parts(group, _takeable(group, places, min_channels), round_to):
            start = 0
            for end in _ends(size, len(taken), round_to):
                rounds = start == 0 and size % round_to > 0
                share = (end - 0.5) / size
                due = -1 if rounds else places[taken[end - 1]] if scope == "global" else share
                packs.append((due, order, name, tuple(taken[start:end])))
                required += rounds
                start = end
    ordered = tuple((name, channels) for *_, name, channels in sorted(packs))
    return RemovalOrder(tuple(by_name), ordered, required)


def choose_channels(
    scores: Mapping[str, np.ndarray],
    groups: Iterable[Group],
    count: int,
    *,
    scope: str = "global",
    round_to: int = 1,
    min_channels: int = 1,
) -> tuple[dict[str, tuple[int, ...]], int]:
    """The `count` channels that go first, or as few more as rounding asks for.

    Args: as `removal_order`; `count` is over all groups.

    Returns:
        Removal (group name -> ascending channels; only groups that lose some) and how many of
        `count` could not be taken.

    Raises: as `removal_order`.
    """
    order = removal_order(scores, groups, scope=scope, round_to=round_to, min_channels=min_channels)
    gone = np.cumsum([0, *(len(channels) for _, channels in order.packs)])
    packs = max(int(np.searchsorted(gone, count)), order.required)
    packs = min(packs, len(order.packs))
    return order.removal(packs), max(0, count - int(gone[packs]))


def _takeable(group: Group, ranked: Iterable[int], min_channels: int) -> list[int]:
    """The channels of a group that can go, in their order; passed over where a layer is down."""
    owned = [set(producer.channels) for producer in group.producers]
    left = [len(own) for own in owned]
    taken = []
    for channel in ranked:
        makers = [k for k, own in enumerate(owned) if channel in own]
        if all(left[k] > min_channels for k in makers):
            for k in makers:
                left[k] -= 1
            taken.append(channel)
    return taken


def _parts(group: Group, taken: list[int], round_to: int) -> list[tuple[int, list[int]]]:
    """Parts of a group that are rounded by themselves: (channels, those that can go, in order).

    Multiples in each part are multiples in each layer, since a layer makes whole parts.

    Returns:
        No part where one of several cannot be rounded, since its layers could not be either.
    """
    owned = [set(producer.channels) for producer in group.producers]
    makers = [tuple(channel in own for own in owned) for channel in range(group.channels)]
    sizes = Counter(makers)
    if round_to == 1 or len(sizes) == 1:
        return [(group.channels, taken)]
    found = [(n, [k for k in taken if makers[k] == own]) for own, n in sizes.items()]
    able = all(
        size % round_to == 0 or (size > round_to and len(own) >= size % round_to)
        for size, own in found
    )
    return found if able else []


def _ends(channels: int, takeable: int, round_to: int) -> list[int]:
    """Numbers of channels that may be gone from a group, above none."""
    if channels <= round_to:
        return []
    return [end for end in range(channels % round_to, takeable + 1, round_to) if end]
