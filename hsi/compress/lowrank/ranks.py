"""How many singular values of each kernel stay.

The energy of r singular values is the share of the squared ones that they have: 1 - energy is the
squared relative error of the matrix that they rebuild (Eckart and Young 1936).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from hsi.errors import ModelError, SettingsError, one_of

ROUNDING = 1e-12
"""Share of the energy that is rounding in float32 kernels: all of the energy is all but this."""

WORDS = {"parameters": "parameters", "macs": "multiply-accumulates"}
"""What a budget can count, as it is named in messages."""


@dataclass(frozen=True)
class Energy:
    """The fewest singular values of each kernel with this share of its energy, above 0 up to 1."""

    share: float


@dataclass(frozen=True)
class Ratio:
    """This share of the full rank of each kernel, above 0 up to 1; at least 1."""

    share: float


@dataclass(frozen=True)
class Budget:
    """The highest energy, one for all kernels, at which the network fits.

    Attributes:
        share: of the network's parameters or multiply-accumulates that may stay.
        of: "parameters" or "macs".
    """

    share: float
    of: str = "parameters"


Rule: TypeAlias = Energy | Ratio | Budget


def check(rule: Rule) -> None:
    """Refuse shares that are none (`SettingsError`)."""
    if not 0 < rule.share <= 1:
        raise SettingsError(
            f"{type(rule).__name__.lower()}: expected a share above 0 and up to 1, "
            f"got {rule.share:g}."
        )
    if isinstance(rule, Budget):
        one_of(rule.of, WORDS, what="budget")


def energy_rank(spectrum: np.ndarray, share: float) -> int:
    """The fewest singular values, at least one, with this share of the energy."""
    enough = energies(spectrum) >= share * (1 - ROUNDING)
    return int(enough.argmax()) + 1


def energies(spectrum: np.ndarray) -> np.ndarray:
    """The share of the energy of the first 1, 2, ... singular values; ends with 1."""
    sums = np.cumsum(np.asarray(spectrum, np.float64) ** 2)
    return sums / sums[-1] if sums[-1] > 0 else np.ones(len(sums))


def ratio_rank(spectrum: np.ndarray, share: float) -> int:
    """This share of all singular values, at least one."""
    return max(1, round(share * len(spectrum)))


def highest_energy(
    spectra: list[np.ndarray], cost_at: Callable[[float], int], whole: int, budget: Budget
) -> float:
    """The highest energy at which the network fits its budget, by bisection.

    Args:
        spectra: of all kernels: the cost changes only where one of them gains a rank.
        cost_at: energy -> cost of the network, growing.
        whole: cost of the network as it is.

    Raises:
        ModelError: rank 1 everywhere costs more.
    """
    share, what = budget.share, budget.of
    limit = share * whole
    steps = np.unique(np.concatenate([np.zeros(1), *map(energies, spectra)]))
    low, high = 0, len(steps)
    if (least := cost_at(0.0)) > limit:
        raise ModelError(
            f"Expected a budget of {least / whole:.2%} or more of the {WORDS[what]}, which rank 1 "
            f"in every layer that can be factorised leaves, got {share:.2%}."
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost_at(float(steps[middle])) <= limit else (low, middle)
    return float(steps[low])
