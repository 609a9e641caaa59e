"""Which channels to take: a ranking over the whole network, at least one left in each layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from hsi.errors import ModelError

if TYPE_CHECKING:
    from hsi.compress.graph import Group


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


def choose_channels(
    scores: Mapping[str, np.ndarray], groups: Iterable[Group], count: int, *, at_least: int = 1
) -> tuple[dict[str, tuple[int, ...]], int]:
    """The `count` most removable channels of the network, and how many could not be taken.

    A channel is passed over where a layer would be left with fewer than `at_least`.

    Args:
        scores: group name -> (channels,); higher means remove first.
        count: channels to take, over all groups.
        at_least: channels that stay in each layer (all, where it has no more than that).

    Returns:
        Removal (group name -> ascending channels; only groups that lose some) and the shortfall.

    Raises:
        ModelError: scores that are not finite or not one per channel.
    """
    by_name = {group.name: group for group in groups}
    left = Counter(
        {
            (name, producer.layer): len(set(producer.channels))
            for name, group in by_name.items()
            for producer in group.producers
        }
    )
    taken: dict[str, list[int]] = {}
    missing = max(count, 0)
    for name, channel in rank_channels(scores, by_name.values()):
        if not missing:
            break
        makers = [(name, p.layer) for p in by_name[name].producers if channel in p.channels]
        if any(left[maker] <= max(at_least, 1) for maker in makers):
            continue
        left.subtract(makers)
        taken.setdefault(name, []).append(channel)
        missing -= 1
    return {name: tuple(sorted(taken[name])) for name in by_name if name in taken}, missing
