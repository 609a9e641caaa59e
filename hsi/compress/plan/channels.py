"""A plan of channel pruning: what would go, before anything goes.

A plan can be looked at, saved as JSON, changed by hand and carried out: `mask` zeroes its channels,
`apply` removes them, from the same lists. It knows the network that it is for and refuses others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hsi.compress.plan.layout import layout
from hsi.compress.plan.network import check_network, describe
from hsi.compress.plan.table import FLOAT32, Row, Table
from hsi.files import write_text

if TYPE_CHECKING:
    import tf_keras as keras

    from hsi.compress.compensation import Means
    from hsi.compress.graph import ChannelMap, Removal


@dataclass(frozen=True)
class Choices:
    """How a plan came about, in the words of results.csv; text that nobody has checked."""

    criterion: str = ""
    granularity: str = "channel"
    scope: str = "global"
    schedule: str = "one_shot"
    target: str = ""

    def text(self) -> str:
        """Those that are known, on one line."""
        return ", ".join(f"{name} {value}" for name, value in asdict(self).items() if value)


@dataclass(frozen=True)
class ChannelPlan:
    """Which channels would go.

    Attributes:
        removal: group name -> ascending channels that go; only groups that lose some.
        channels: group name -> how many it has, for every group of the network.
        choices: how the plan came about.
        network: the network that it is for (`network.describe`).
        notes: what the user should know, a sentence each.
    """

    removal: Mapping[str, tuple[int, ...]]
    channels: Mapping[str, int]
    choices: Choices
    network: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def removed(self) -> int:
        """How many channels go."""
        return sum(len(channels) for channels in self.removal.values())

    def mask(self, model: keras.Model, *, means: Means | None = None) -> keras.Model:
        """The network with these channels zeroed (`masking.mask_channels`).

        Args:
            means: what these channels emit (`compensation.emitted_means`), to be put into the
                layers that read them; without, they are zeroed and no more.

        Raises:
            ModelError: another network than the plan's, or a layer would lose all its channels.
        """
        from hsi.compress.masking import mask_channels

        return mask_channels(self._compensated(model, means), self.removal)

    def apply(self, model: keras.Model, *, means: Means | None = None) -> keras.Model:
        """The network without these channels (`surgery.remove_channels`): equal to `mask`.

        Args and raises: as `mask`.
        """
        from hsi.compress.surgery import remove_channels

        return remove_channels(self._compensated(model, means), self.removal)

    def table(self, model: keras.Model, *, compensated: bool = False) -> Table:
        """What the plan leaves, for each layer and in all; nothing is built for it.

        Args:
            compensated: as carried out with `means`, which adds biases where nothing else takes
                a constant.

        Raises: as `mask`; also where the spatial size of the input is not fixed.
        """
        from hsi.compress.graph import map_channels
        from hsi.compress.plan.costs import CostModel

        check_network(self.network, model)
        costs = CostModel(map_channels(model), compensated=compensated)
        rows = tuple(
            Row(
                old.layer,
                old.kind,
                old.channels,
                new.channels,
                old.parameters,
                new.parameters,
                old.macs,
                new.macs,
            )
            for old, new in zip(costs.layers({}), costs.layers(self.removal), strict=True)
        )
        before = sum(row.parameters for row in rows)
        left = sum(row.parameters_left for row in rows)
        return Table(rows, FLOAT32 * before, FLOAT32 * left)

    def text(self, model: keras.Model | None = None, *, compensated: bool = False) -> str:
        """The plan for reading: how it came about and what goes; with the model, what it leaves.

        Args: `compensated` as `table`.
        """
        total = sum(self.channels.values())
        lines = [
            f"Plan: {self.choices.text()}",
            f"{self.removed} of {total} channels go, those of dense layers counted",
        ]
        if model is None:
            lines += [
                f"  {name}: {len(gone)} of {self.channels[name]}"
                for name, gone in self.removal.items()
            ]
        else:
            lines.append(self.table(model, compensated=compensated).text())
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])

    def save(self, path: str | Path) -> None:
        """Write the plan as JSON, whole or not at all; `files.read_plan` reads it.

        Raises:
            OutputError: the file cannot be written.
        """
        record = {
            "plan": "channels",
            **asdict(self.choices),
            "remove": {name: list(channels) for name, channels in self.removal.items()},
            "channels": dict(self.channels),
            "network": list(self.network),
            "notes": list(self.notes),
        }
        write_text(path, layout(record))

    def _compensated(self, model: keras.Model, means: Means | None) -> keras.Model:
        check_network(self.network, model)
        if means is None:
            return model
        from hsi.compress.compensation import compensate

        return compensate(model, self.removal, means)


def plan_channels(
    model: keras.Model,
    removal: Removal,
    *,
    choices: Choices | None = None,
    notes: tuple[str, ...] = (),
    channels: ChannelMap | None = None,
) -> ChannelPlan:
    """The plan to remove these channels from this network.

    Args:
        channels: those of the model (`map_channels`), where they are already followed.

    Raises:
        ModelError: an unknown group, channel or layer type, or a layer would lose all channels.
    """
    from hsi.compress.graph import map_channels, removed_ids

    channels = channels or map_channels(model)
    lists = {name: tuple(sorted({int(k) for k in indices})) for name, indices in removal.items()}
    removed_ids(channels, lists)
    return ChannelPlan(
        {group.name: lists[group.name] for group in channels.groups if lists.get(group.name)},
        {group.name: group.channels for group in channels.groups},
        choices or Choices(),
        describe(model),
        notes,
    )
