"""Reading plans: those that a plan saved, and those that a person changed."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from hsi.compress.granularity import parse_granularity
from hsi.compress.plan.channels import ChannelPlan, Choices
from hsi.compress.plan.layout import Fields, read_record
from hsi.compress.plan.weights import WeightPlan
from hsi.errors import SettingsError, one_of

CHOICES = tuple(item.name for item in fields(Choices))
ENTRIES = {"channels": ("remove", "channels"), "weights": ("sparsity", "kernels")}
"""Kind of plan -> the entries of its own."""


def read_plan(path: str | Path) -> ChannelPlan | WeightPlan:
    """Read a plan; nothing is taken from it that is not as it should be.

    To change a plan by hand, edit the channels under `remove` (a list for each layer) or the
    shares under `sparsity`; what a plan of weights zeroes is chosen anew from scores.

    Raises:
        DataError: no such file, or not JSON.
        SettingsError: an entry that is unknown, missing or of another type, a layer or channel
            that is not there, or a layer that would lose all its channels.
    """
    record = read_record(path)
    where = str(path)
    kind = record.get("plan")
    if not isinstance(kind, str):
        raise SettingsError(
            f"{where}: expected an entry 'plan' that says {' or '.join(ENTRIES)}, got none."
        )
    own = ENTRIES[one_of(kind, ENTRIES, what=f"kind of plan in {where}")]
    found = Fields(record, ("plan", *CHOICES, *own, "network", "notes"), where=where)
    choices = Choices(**{name: found.text(name) for name in CHOICES})
    network, notes = found.texts("network"), found.texts("notes")
    sizes = found.counts(own[1])
    if kind == "channels":
        return ChannelPlan(found.channels(own[0], sizes), sizes, choices, network, notes)
    parse_granularity(choices.granularity)
    return WeightPlan(found.shares(own[0], sizes), sizes, choices, network, notes)
