"""Whether an explanation shows what its own network uses: deletion and insertion.

Pixels (or bands) are taken away in the order of their saliency, the strongest first, and the
softmax probability of the explained class is followed: it should fall at once. Or they are put
back into an input of nothing, and it should rise at once. The area under the curve over the share
taken away or put in (trapezoids) is the score: small for deletion, large for insertion.

Each area stands beside that of random orders, its floor: what a network loses whatever is taken
away. `gain` is the difference of the two in the good direction, so that networks of different
sureness can be compared; at or below 0 the explanation says no more than chance.

Source: Petsiuk, Das, Saenko, "RISE: Randomized input sampling for explanation of black-box
models", 2018. What stands for nothing decides much: it is on record with the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hsi.compare.attributions import LEAST_SPECTRUM
from hsi.compare.explained import Explained
from hsi.compare.means import Mean, mean_of
from hsi.compare.outputs import form_of
from hsi.errors import SettingsError, one_of
from hsi.explain import attribute
from hsi.explain.attribution import Attribution, in_batches
from hsi.explain.baselines import Baseline, baseline_of

Kind = Literal["deletion", "insertion"]
Along = Literal["pixels", "bands"]

KINDS: tuple[Kind, ...] = ("deletion", "insertion")
RANKS = ("saliency", "signed")

Answer = Callable[[np.ndarray], np.ndarray]
"""Inputs (rows, ...) -> probabilities (rows, classes), all in one pass."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The probability of the explained class while pixels or bands go, or come.

    Attributes:
        kind: "deletion" or "insertion".
        along: "pixels" or "bands".
        fractions: (steps + 1,) share taken away or put in, from 0 to 1.
        probabilities: (n, steps + 1) in the order of the explanation.
        random: (n, steps + 1) the same in random order, the mean of several.
        area: under the curves, over the samples.
        area_random: its floor.
        gain: how much better than random: floor less area of deletion, area less floor of
            insertion, paired.
    """

    kind: Kind
    along: Along
    fractions: np.ndarray
    probabilities: np.ndarray
    random: np.ndarray
    area: Mean
    area_random: Mean
    gain: Mean

    def record(self) -> dict[str, Any]:
        """As JSON has it, the curves as means over the samples."""
        return {
            "kind": self.kind,
            "along": self.along,
            "area": self.area.record(),
            "area_random": self.area_random.record(),
            "gain": self.gain.record(),
            "fractions": self.fractions.tolist(),
            "probabilities": self.probabilities.mean(axis=0).tolist(),
            "random": self.random.mean(axis=0).tolist(),
        }


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """How faithful the explanations of one variant are to itself.

    Attributes:
        name: of the variant.
        method: of attribution.
        rank: "saliency" (magnitudes) or "signed".
        baseline: what stands for nothing, in words.
        curves: deletion and insertion, along pixels and bands where the method tells them apart.
        classes: (n,) class indices explained.
        notes: one line for each thing that the reader must know.
    """

    name: str
    method: str
    rank: str
    baseline: str
    curves: tuple[Curve, ...]
    classes: np.ndarray
    notes: tuple[str, ...] = ()

    def curve(self, kind: str, along: str) -> Curve | None:
        """That curve, None where the method does not tell pixels, or bands, apart."""
        return next((c for c in self.curves if (c.kind, c.along) == (kind, along)), None)

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "variant": self.name,
            "method": self.method,
            "rank": self.rank,
            "baseline": self.baseline,
            "samples": len(self.classes),
            "curves": [curve.record() for curve in self.curves],
            "notes": list(self.notes),
        }


def faithfulness(
    network: Explained,
    method: str,
    *,
    attribution: Attribution | None = None,
    classes: int | np.ndarray | None = None,
    baseline: Baseline = "zero",
    rank: str = "saliency",
    steps: int = 25,
    random_orders: int = 1,
    options: dict[str, Any] | None = None,
    blocks: np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Faithfulness:
    """Deletion and insertion areas of a variant's own explanation.

    Args:
        network: a variant of any form, with its samples.
        method: a name in `hsi.explain.METHODS` that attributes.
        attribution: by that method, of these samples; None computes it.
        classes: class index, one for all or (n,); None takes what the variant itself predicts.
        baseline: what stands for nothing: see `hsi.explain.baselines.baseline_of`; for the mean
            of training samples give (channels,).
        rank: "saliency" takes magnitudes, summed over what is not told apart; "signed" the values
            themselves, for methods whose sign says for or against.
        steps: most points of a curve after its first; fewer where there are fewer pixels or bands.
        random_orders: of each sample, for the floor.
        options: of the method.
        blocks: (n,) block of each sample, for intervals (`hsi.compare.means.mean_of`).
        batch_size: most rows that pass through the network at once.
        seed: of random orders, of ties, of the method and of the intervals.

    Raises:
        SettingsError: another rank, fewer than 1 step or order, another baseline, or maps that
            tell neither pixels nor bands apart.
        ModelError: a method that the network does not allow, or samples that do not fit or do not
            have their channels last.
    """
    from hsi.explain.keras_layers import check_places
    from hsi.explain.score import score_of

    one_of(rank, RANKS, what="rank")
    if steps < 1 or random_orders < 1:
        raise SettingsError(
            f"Expected at least 1 step and 1 random order, got {steps} and {random_orders}."
        )
    found = attribution or attribute(
        method, network.score, network.inputs, classes=classes, batch_size=batch_size, seed=seed,
        **(options or {}),
    )  # fmt: skip
    score = score_of(network.score)
    check_places(score)
    inputs = score.prepare(network.inputs)
    if found.maps.shape != inputs.shape:
        raise SettingsError(
            f"Expected an attribution of the samples, {inputs.shape}, got {found.maps.shape}."
        )
    axes = told_apart(found)
    if not axes:
        raise SettingsError(
            f"{method} tells neither pixels nor bands of {inputs.shape[1:]} apart: nothing can be "
            "put in an order."
        )
    walk = _Walk(
        probabilities_of(score), inputs, baseline_of(inputs, baseline), found.classes,
        steps=steps, batch_size=batch_size,
    )  # fmt: skip
    curves = []
    for along in axes:
        strength = strength_of(found.maps, along, rank)
        curves += _curves(walk, strength, along, random_orders, blocks, seed)
    word = baseline if isinstance(baseline, str) else _words(baseline)
    dead = int(found.dead.sum())
    notes = [f"{dead} maps are dead: their order is random"] if dead else []
    return Faithfulness(
        network.name, method, rank, word, tuple(curves), found.classes, tuple(notes)
    )


def told_apart(found: Attribution) -> tuple[Along, ...]:
    """What the maps of a method put in an order: pixels, bands of a spectrum, or both."""
    _, rows, cols, channels = found.maps.shape
    pixels = found.per != "channel" and rows * cols > 1
    bands = found.per != "pixel" and channels >= LEAST_SPECTRUM
    found_axes: list[Along] = []
    if pixels:
        found_axes.append("pixels")
    if bands:
        found_axes.append("bands")
    return tuple(found_axes)


def strength_of(maps: np.ndarray, along: str, rank: str) -> np.ndarray:
    """(n, rows, cols, channels) maps -> (n, units) how strong each pixel or band is."""
    values = np.abs(maps) if rank == "saliency" else maps
    axes = 3 if along == "pixels" else (1, 2)
    return np.asarray(values.sum(axis=axes, dtype=np.float64).reshape(len(maps), -1))


def places_of(strength: np.ndarray, *, seed: int) -> np.ndarray:
    """(n, units) -> (n, units) place of each unit in the order, the strongest 0.

    Units that tie are in random order: a dead map is one at random.
    """
    ties = np.random.default_rng(seed).random(strength.shape)
    order = np.lexsort((ties, -strength), axis=-1)
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(strength.shape[1])[None], axis=1)
    return places


def counts_of(units: int, steps: int) -> np.ndarray:
    """Numbers of units taken away at the points of a curve: from 0 to all, the same from both ends.

    Example:
        >>> counts_of(25, 4)
        array([ 0,  6, 12, 13, 19, 25])
    """
    counts = np.round(np.linspace(0, units, min(units, steps) + 1)).astype(int)
    return np.unique(np.concatenate([counts, units - counts]))


def probabilities_of(score: Any) -> Answer:
    """What a network answers, as probabilities of the classes, float64.

    The softmax of its logits; what cannot be looked through is taken as it is where its rows are
    shares that sum up to 1.
    """
    from hsi.explain.score import score_of

    score = score_of(score)

    def answer(inputs: np.ndarray) -> np.ndarray:
        values = np.asarray(score.logits(inputs), np.float64)
        if score.word != "logit" and form_of(values) == "probabilities":
            return values
        values = np.exp(values - values.max(axis=1, keepdims=True))
        return values / values.sum(axis=1, keepdims=True)

    return answer


class _Walk:
    """The probabilities of the explained classes along orders of pixels or bands."""

    def __init__(
        self,
        answer: Answer,
        inputs: np.ndarray,
        nothing: np.ndarray,
        classes: np.ndarray,
        *,
        steps: int,
        batch_size: int | None,
    ) -> None:
        self._answer, self._inputs, self._nothing = answer, inputs, nothing
        self._classes, self._steps, self._batch_size = classes, steps, batch_size

    def counts(self, along: str) -> np.ndarray:
        _, rows, cols, channels = self._inputs.shape
        return counts_of(rows * cols if along == "pixels" else channels, self._steps)

    def __call__(self, places: np.ndarray, along: str, kind: str) -> np.ndarray:
        """(n, units) places -> (n, points) probabilities."""
        counts = self.counts(along)
        _, rows, cols, channels = self._inputs.shape
        shape = (-1, rows, cols, 1) if along == "pixels" else (-1, 1, 1, channels)

        def step(inputs: Any, nothing: Any, at: Any, classes: Any) -> list[np.ndarray]:
            start, end = (inputs, nothing) if kind == "deletion" else (nothing, inputs)
            curve = [
                self._answer(np.where(at.reshape(shape) < count, end, start))[
                    np.arange(len(classes)), classes
                ]
                for count in counts
            ]
            return [np.stack(curve, axis=1)]

        (found,) = in_batches(
            step, self._inputs, self._nothing, places, self._classes, batch_size=self._batch_size
        )
        return found


def _curves(
    walk: _Walk,
    strength: np.ndarray,
    along: Along,
    random_orders: int,
    blocks: np.ndarray | None,
    seed: int,
) -> list[Curve]:
    """Deletion and insertion along one axis; a random order serves both, from its two ends."""
    counts = walk.counts(along)
    fractions = counts / counts[-1]
    places = places_of(strength, seed=seed)
    flat = np.zeros_like(strength)
    drawn = [
        walk(places_of(flat, seed=seed + 1 + number), along, "deletion")
        for number in range(random_orders)
    ]
    random = np.mean(drawn, axis=0)
    curves = []
    for kind, floor in zip(KINDS, (random, random[:, ::-1]), strict=True):
        found = walk(places, along, kind)
        areas, floors = (np.trapezoid(c, fractions, axis=1) for c in (found, floor))
        better = floors - areas if kind == "deletion" else areas - floors
        means = [mean_of(values, blocks=blocks, seed=seed) for values in (areas, floors, better)]
        curves.append(Curve(kind, along, fractions, found, floor, *means))
    return curves


def _words(baseline: Any) -> str:
    values = np.asarray(baseline)
    return f"{values.item():g}" if values.ndim == 0 else f"given, {values.shape}"
