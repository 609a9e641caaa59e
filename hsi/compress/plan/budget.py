"""Budgets in the user's units, and the smallest removal that keeps to one.

A target says what may be LEFT, as a share of what there is now or as an amount:

    channels=60%      of the channels that pruning looks at (of the convolutions; of dense layers
                      too where those are pruned; not of layers kept whole), or a number:
                      channels=120
    parameters=25%    of all weights as Keras counts them, or 200k, 1.5M
    macs=30%          of the multiply-accumulates for one sample, or 12M, 1.2G
    bytes=100k        of the real file; k, kB, M, MB are thousands and millions, KiB, MiB powers of
                      1024; or a share
    latency=0.5ms     of the real file; us, ms, s; or a share

Channels go in one order (`hsi.compress.schedule.removal_order`), so the smallest removal is found
by bisection. Channels, parameters and multiply-accumulates are computed, bytes and latency are
measured on what would be deployed. Each channel that goes takes weights with it, so the first
three only fall; a measured latency wavers, and what is promised of it is that the measurement of
the planned network was within the target.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hsi.compress.plan.channels import ChannelPlan, Choices, plan_channels
from hsi.compress.schedule import RemovalOrder, removal_order
from hsi.errors import SettingsError, one_of

if TYPE_CHECKING:
    import tf_keras as keras

    from hsi.compress.graph import ChannelMap, Group

_COUNT = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
UNITS: dict[str, dict[str, float]] = {
    "channels": {"": 1.0},
    "parameters": _COUNT,
    "macs": _COUNT,
    "bytes": {
        **_COUNT,
        **{"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9},
        **{"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
    },
    "latency": {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3},
}
"""Quantity -> unit -> how many of the quantity's own unit (bytes, ms) that is."""

MEASURED = ("bytes", "latency")

Measure = Callable[["keras.Model"], float]
"""What a network weighs as a file (bytes), or takes as one (ms)."""


@dataclass(frozen=True)
class Target:
    """What may be left of a quantity.

    Attributes:
        quantity: one of `UNITS`.
        amount: how much may be left: a share (0..1) where `relative`, else in bytes, ms or ones.
        text: as the user wrote it.
    """

    quantity: str
    amount: float
    relative: bool
    text: str

    def limit(self, before: float) -> float:
        """The most that may be left of `before`."""
        return self.amount * before if self.relative else self.amount


def parse_target(text: str) -> Target:
    """Read a target such as `parameters=25%` or `bytes=100k`.

    Raises:
        SettingsError: an unknown quantity or unit, or no amount above zero.

    Example:
        >>> parse_target("bytes=100k").amount
        100000.0
    """
    name, equals, rest = (part.strip() for part in text.partition("="))
    if not equals:
        raise SettingsError(
            f"target {text!r}: expected QUANTITY=AMOUNT, for example parameters=25% or bytes=100k."
        )
    units = UNITS[one_of(name, UNITS, what="quantity of a target")]
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(\S*)", rest, re.ASCII)
    if not found:
        raise SettingsError(
            f"target {text!r}: expected what may be left as a number with a unit, got {rest!r}."
        )
    number, unit = float(found[1]), found[2]
    if unit != "%" and unit not in units:
        known = ", ".join(["%", *(unit for unit in units if unit)])
        bare = ", or none" if "" in units else ""
        raise SettingsError(f"target {text!r}: expected a unit of {known}{bare}, got {unit!r}.")
    relative = unit == "%"
    amount = number / 100 if relative else number * units[unit]
    if not 0 < amount < math.inf or (relative and amount > 1):
        most = " to 100 %" if relative else ""
        raise SettingsError(f"target {text!r}: expected to leave more than 0{most}, got {rest!r}.")
    return Target(name, amount, relative, f"{name}={rest}")


def plan_for(
    model: keras.Model,
    scores: Mapping[str, np.ndarray],
    target: Target | str,
    *,
    scope: str = "global",
    round_to: int = 1,
    min_channels: int = 1,
    keep: Iterable[str] = (),
    dense: bool = False,
    compensated: bool = False,
    measure: Measure | None = None,
    criterion: str = "",
    schedule: str = "one_shot",
    notes: Iterable[str] = (),
) -> ChannelPlan:
    """The smallest removal, in the order of the scores, that leaves no more than the target.

    Args:
        scores: group name -> (channels,); higher means remove first. Groups without stay whole.
        target: see the text of this module.
        scope, round_to, min_channels: as `schedule.removal_order`.
        keep: names of layers that keep all their channels (with all that is added to them).
        dense: take channels of dense layers too, not of convolutions alone.
        compensated: the plan will be carried out with compensation, which adds biases where
            nothing else can take a constant: the budget holds with them.
        measure: gives the bytes or the milliseconds of a network; asked for a handful of networks.
        criterion, schedule, notes: what the plan says of itself.

    Raises:
        SettingsError: a target that cannot be reached (with what can), an unknown layer, channels
            of no layer at all, bytes or latency without `measure`.
        ModelError: scores or a network that cannot be used.
    """
    from hsi.compress.graph import map_channels

    wanted = parse_target(target) if isinstance(target, str) else target
    channels, keep = map_channels(model), tuple(keep)
    groups = _without_kept(
        [group for group in channels.groups if dense or group.convolutional], channels, keep
    )
    order = removal_order(scores, groups, scope=scope, round_to=round_to, min_channels=min_channels)
    if wanted.quantity == "channels":
        left = _channels_left(groups, order)
    elif wanted.quantity in MEASURED:
        left = _measured(wanted.quantity, model, order, measure, compensated=compensated)
    else:
        left = _counted(wanted.quantity, channels, order, compensated=compensated)
    reasons = [f"every layer keeps min_channels={min_channels}"]
    reasons += [f"round_to={round_to}"] * (round_to > 1)
    reasons += [f"kept whole: {', '.join(keep)}"] * bool(keep)
    packs = _smallest(wanted, left, order, reasons=", ".join(reasons))
    choices = Choices(criterion, "channel", scope, schedule, wanted.text)
    said = [*notes]
    if wanted.quantity in MEASURED:
        said.append(f"{wanted.quantity} measured: {_amount(wanted, left(packs))}.")
    return plan_channels(
        model, order.removal(packs), choices=choices, notes=tuple(said), channels=channels
    )


def _without_kept(
    groups: Iterable[Group], channels: ChannelMap, keep: Iterable[str]
) -> list[Group]:
    """The groups of which no layer has to stay whole."""
    from hsi.compress.layers import rule_for

    calls = channels.graph.calls
    known = list(dict.fromkeys(c.name for c in calls if rule_for(c.layer).kind(c.layer)))
    names = {one_of(name, known, what="layer to keep") for name in keep}
    return [group for group in groups if not any(maker.layer in names for maker in group.producers)]


Left = Callable[[int], float]
"""How much of a quantity is left after so many packs; -1 stands for the network as it is."""


def _channels_left(groups: Iterable[Group], order: RemovalOrder) -> Left:
    gone = np.cumsum([0, *(len(pack) for _, pack in order.packs)])
    total = sum(group.channels for group in groups)
    if not total:
        raise SettingsError(
            "target channels: there are none that may go; expected a convolution that is not kept "
            "whole, or dense layers to be pruned too."
        )
    return lambda packs: float(total - gone[max(packs, 0)])


def _counted(
    quantity: str, channels: ChannelMap, order: RemovalOrder, *, compensated: bool
) -> Left:
    from hsi.compress.plan.costs import CostModel

    costs = CostModel(channels, compensated=compensated)
    count = costs.parameters if quantity == "parameters" else costs.macs
    return cache(lambda packs: float(count(_removal(order, packs))))


def _measured(
    quantity: str,
    model: keras.Model,
    order: RemovalOrder,
    measure: Measure | None,
    *,
    compensated: bool,
) -> Left:
    if measure is None:
        raise SettingsError(
            f"target {quantity}: it is measured on the real file; expected a measure."
        )
    from hsi.compress.compensation import compensate, stand_in_means
    from hsi.compress.surgery import remove_channels

    means = stand_in_means(model) if compensated else None

    def left(packs: int) -> float:
        removal = _removal(order, packs)
        whole = model if means is None else compensate(model, removal, means)
        return float(measure(remove_channels(whole, removal)))

    return cache(left)


def _removal(order: RemovalOrder, packs: int) -> dict[str, tuple[int, ...]]:
    return order.removal(max(packs, 0))


def _smallest(
    target: Target, left: Callable[[int], float], order: RemovalOrder, *, reasons: str
) -> int:
    """The least number of packs after which no more is left than the target allows."""
    limit = target.limit(left(-1)) if target.relative else target.amount
    limit *= 1 + 1e-9  # 60 % of 500 channels is 300, not 299.99999999999994
    low, high = order.required, len(order.packs)
    if left(low) <= limit:
        return low
    if left(high) > limit:
        before, least = left(-1), left(high)
        share = least / before
        raise SettingsError(
            f"target {target.text}: cannot be reached; at most {_floor(1 - share)} % of the "
            f"{target.quantity} can go ({_amount(target, least)} of {_amount(target, before)} "
            f"left): {reasons}. Expected {target.quantity}={_ceiling(share)}% or more."
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if left(middle) <= limit else (middle, high)
    return high


def _amount(target: Target, value: float) -> str:
    return f"{value:.4g} ms" if target.quantity == "latency" else f"{value:,.0f}"


def _floor(share: float) -> str:
    return f"{math.floor(1000 * share + 1e-9) / 10:g}"


def _ceiling(share: float) -> str:
    """A percentage that can really be asked for."""
    return f"{math.ceil(1000 * share - 1e-9) / 10:g}"
