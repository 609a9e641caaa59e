"""What a method of band reduction is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

MOST_PIXELS = 5000
"""For methods whose cost grows faster than the pixels, or with many passes over them."""


@dataclass(frozen=True)
class Training:
    """Training pixels, clipped and scaled.

    Attributes:
        scaled: (n, bands) float64.
        scale: (bands,) counts of the sensor in one scaled unit.
        classes: (n,) class numbers; all 0 for methods that do not look at them.
    """

    scaled: np.ndarray
    scale: np.ndarray
    classes: np.ndarray

    def drawn(self, most: int, seed: int) -> Training:
        """At most so many of the pixels, drawn evenly at random, in their order.

        A rare class of which none would be among them has the first one drawn of it.
        """
        if len(self.scaled) <= most:
            return self
        order = np.random.default_rng(seed).permutation(len(self.scaled))
        _, first = np.unique(self.classes[order], return_index=True)
        chosen = np.sort(np.concatenate([order[first], np.delete(order, first)])[:most])
        return replace(self, scaled=self.scaled[chosen], classes=self.classes[chosen])


def _empty() -> np.ndarray:
    return np.empty(0)


@dataclass(frozen=True)
class Reduced:
    """What a method found; see `hsi.bands.preparation.Preparation` for the arrays.

    Attributes:
        mean, components, inner, inner_bias: as there.
        quality: of the method's own; empty where the share of rebuilt variance is to be measured.
        notes: what the user should know, a sentence each.
    """

    mean: np.ndarray
    components: np.ndarray
    inner: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    inner_bias: np.ndarray = field(default_factory=_empty)
    quality: np.ndarray = field(default_factory=_empty)
    notes: tuple[str, ...] = ()


def drawn_note(name: str, used: int, given: int) -> tuple[str, ...]:
    """That a method saw some of the training pixels only."""
    if used == given:
        return ()
    return (f"{name}: fitted on {used} of the {given} training pixels, drawn at random.",)


@contextmanager
def convergence(name: str) -> Iterator[list[str]]:
    """Turn scikit-learn's warning that a fit did not converge into a note; others are held back.

    Yields:
        The notes, which are complete after the block.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield notes
    if any(issubclass(_category(warning), ConvergenceWarning) for warning in caught):
        notes.append(f"{name} did not converge; its components are usable, but not the best.")


def _category(warning: Any) -> type[Warning]:
    category: type[Warning] = warning.category
    return category
