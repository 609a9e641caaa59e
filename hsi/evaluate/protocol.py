"""What an evaluation is asked for, checked, and the cells that it comes to.

A cell is one training run: a network on a split with so many training pixels, from one seed. The
seed draws the split, the first weights and the order of samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hsi.errors import SettingsError, one_of
from hsi.image_sets import image_set_name
from hsi.models import network
from hsi.settings import TRAIN_FRACTION, Settings
from hsi.split import METHODS
from hsi.study.cells import cell_name

GIVEN = "given"
"""The split of published maps: they say how many pixels train, so it has no learning curve."""


@dataclass(frozen=True)
class Protocol:
    """What is trained and tested.

    Attributes:
        networks: names, of baselines too, in the order of the table.
        splits: methods of `hsi.split`, in the order of the table.
        seeds: how many; 0, 1, ...
        amounts: how much trains, ascending: shares of each class, or pixels of each class.
        per_class: whether these are pixels of each class.
        chosen: the amount of the table; the others are points of the learning curve.
        shared: settings of every cell, by name.
        maps: `train_labels` and `test_labels` of the split `given`.
    """

    networks: tuple[str, ...]
    splits: tuple[str, ...]
    seeds: int
    amounts: tuple[float, ...]
    per_class: bool
    chosen: float
    shared: Mapping[str, Any]
    maps: Mapping[str, str]

    @property
    def amount_name(self) -> str:
        """The setting that the amounts are values of."""
        return "train_per_class" if self.per_class else "train_fraction"

    def in_words(self, amount: float) -> str:
        """One of the amounts, as "5 % of each class" or "20 pixels of each class"."""
        count = f"{amount:g} pixels" if self.per_class else f"{100 * amount:g} %"
        return f"{count} of each class"

    @property
    def has_curve(self) -> bool:
        """Whether there are several amounts on some split."""
        return len(self.amounts) > 1 and set(self.splits) != {GIVEN}


@dataclass(frozen=True)
class EvaluationCell:
    """One training run of an evaluation.

    Attributes:
        name: of its folder.
        network, split, seed: what sets it apart.
        amount: how much trains, as in `Protocol.amounts`; of given maps the one of the table.
        settings: of the run, without its folder.
    """

    name: str
    network: str
    split: str
    amount: float
    seed: int
    settings: Settings


def protocol_of(
    networks: Sequence[str],
    *,
    splits: Sequence[str],
    seeds: int,
    train_fraction: float | None = None,
    train_fractions: Sequence[float] = (),
    train_per_class: Sequence[int] = (),
    shared: Mapping[str, Any],
    maps: Mapping[str, str] | None = None,
) -> Protocol:
    """A protocol from what a user asks for.

    Args:
        train_fraction: share of each class that trains for the table; by default the largest of
            the others, else 0.1.
        train_fractions, train_per_class: the amounts of the learning curve, one or the other.
        shared: settings by name; `dataset` must be among them.

    Raises:
        SettingsError: an unknown network, split or data set, nothing or the same twice, or options
            that contradict each other.
    """
    for name in networks:
        network(name)
    for name in splits:
        one_of(name, METHODS, what="split")
    _check_each_once(networks, "NETWORK")
    _check_each_once(splits, "splits")
    if seeds < 1:
        raise SettingsError(f"seeds: expected 1 or more, got {seeds}.")
    dataset = shared.get("dataset")
    if dataset is None:
        raise SettingsError(
            "dataset: expected --dataset NAME or FILE; `python -m hsi datasets` lists the scenes, "
            "and synthetic needs no files."
        )
    if image_set_name(dataset) is not None:
        raise SettingsError(
            f"dataset {dataset}: expected a scene, whose pixels can be split in several ways; "
            "these are images."
        )
    maps = {name: value for name, value in (maps or {}).items() if value is not None}
    if maps and GIVEN not in splits:
        raise SettingsError(f"{', '.join(maps)}: expected together with --splits {GIVEN}.")
    if GIVEN in splits and "train_labels" not in maps:
        raise SettingsError(
            "splits given: expected --train_labels FILE (and --test_labels FILE), the published "
            "label maps."
        )
    amounts, chosen = _amounts(train_fraction, train_fractions, train_per_class)
    return Protocol(
        tuple(networks), tuple(splits), seeds, amounts, bool(train_per_class), chosen, shared, maps
    )


def cells_of(protocol: Protocol) -> list[EvaluationCell]:
    """The cells, a network after the other, the seed running fastest.

    Raises:
        SettingsError: settings that no run can have.
    """
    return [
        _cell(protocol, name, split, amount, seed)
        for name in protocol.networks
        for split in protocol.splits
        for amount in ((protocol.chosen,) if split == GIVEN else protocol.amounts)
        for seed in range(protocol.seeds)
    ]


def _cell(protocol: Protocol, name: str, split: str, amount: float, seed: int) -> EvaluationCell:
    given = split == GIVEN
    size = {} if given else {protocol.amount_name: amount}
    maps = protocol.maps if given else {}
    values: dict[str, Any] = {**protocol.shared, **size, **maps}
    settings = Settings(name, split=split, seed=seed, **values).check()
    apart = {"model": name, "split": split, **size, "seed": seed}
    return EvaluationCell(cell_name(apart), name, split, amount, seed, settings)


def _amounts(
    fraction: float | None, fractions: Sequence[float], per_class: Sequence[int]
) -> tuple[tuple[float, ...], float]:
    """All amounts, ascending, and that of the table."""
    if per_class and (fraction is not None or fractions):
        raise SettingsError(
            "train_per_class: expected alone; pixels of each class and shares of each class "
            "cannot stand in one learning curve."
        )
    asked = (*per_class, *fractions, *(() if fraction is None else (fraction,)))
    for value in asked:
        if not value > 0:
            raise SettingsError(f"amounts of training: expected numbers above 0, got {value:g}.")
    if not asked:
        return (TRAIN_FRACTION,), TRAIN_FRACTION
    amounts = tuple(sorted(set(asked)))
    return amounts, amounts[-1] if fraction is None else fraction


def _check_each_once(names: Sequence[str], what: str) -> None:
    if not names:
        raise SettingsError(f"{what}: expected one or more.")
    for name in names:
        if list(names).count(name) > 1:
            raise SettingsError(f"{what}: expected each once, {name} is there several times.")
