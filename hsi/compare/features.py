"""How much of a layer's features another layer has, whatever the widths of the two.

    best     mean over the features of one layer of their largest magnitude of correlation with
             any feature of the other: whether single features are still there (Li, Yosinski,
             Clune, Lipson, Hopcroft, "Convergent learning", 2016)
    linear   share of the variance of one layer's features that a linear function of the other's
             gives, R^2: whether what they say together is still there (Kornblith, Norouzi, Lee,
             Hinton, "Similarity of neural network representations revisited", 2019)

Both ask in one direction at a time: a pruned layer is mostly found in the original one, and the
other way round is what pruning has lost. A feature is a channel; where both layers have maps of
one size, every position of every sample is an observation, otherwise the mean over the positions.
Means and products of features are summed up batch by batch, so no samples are held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsi.compare.batches import Batches, infos_of, layers_of, paired_batches, rows_for
from hsi.errors import ModelError, SettingsError

MOST_FEATURES = 1024
"""Of a layer; of a wider one so many are drawn at random."""

FEW = 10
"""Observations a feature, below which R^2 is likely too high."""

DEAD = 1e-10
"""Share of the largest variance, below which a feature is constant."""


@dataclass(frozen=True)
class FeatureSimilarity:
    """How much of a layer's features another has.

    Attributes:
        first_layer, second_layer: names.
        first_width, second_width: features of each, before any draw.
        first_dead, second_dead: how many of the features looked at are constant; they do not count.
        best_of_first: mean largest magnitude of correlation, 0..1, of the first layer's features
            with features of the second; NaN where all of a layer's are constant.
        best_of_second: the same the other way round.
        linear_of_first: R^2 of the first layer's features as linear functions of the second's;
            NaN with no more observations than features.
        linear_of_second: the same the other way round.
        observations: how many there were.
        notes: one line for each thing that the reader must know.
    """

    first_layer: str
    second_layer: str
    first_width: int
    second_width: int
    first_dead: int
    second_dead: int
    best_of_first: float
    best_of_second: float
    linear_of_first: float
    linear_of_second: float
    observations: int
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """As JSON has it; None for what is not known."""
        found = {**vars(self), "notes": list(self.notes)}
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in found.items()}


class Moments:
    """Count, means and products of the features of two layers, batch by batch."""

    def __init__(self) -> None:
        self.observations = 0
        self._first = 0
        self._shift = self._sums = self._products = np.zeros(0)

    def add(self, first: np.ndarray, second: np.ndarray) -> None:
        """Take in observations (m, features) of one layer and (m, others) of the other."""
        joint = np.concatenate([first, second], axis=1, dtype=np.float64)
        if not self.observations:
            self._first, width = first.shape[1], joint.shape[1]
            self._shift = joint.mean(axis=0)  # near the mean, so that sums of squares keep digits
            self._sums, self._products = np.zeros(width), np.zeros((width, width))
        joint -= self._shift
        self._sums += joint.sum(axis=0)
        self._products += joint.T @ joint
        self.observations += len(joint)

    def covariances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the first layer's features, of the second's, and between them (first, second)."""
        mean = self._sums / self.observations
        whole = self._products / self.observations - np.outer(mean, mean)
        a = self._first
        return whole[:a, :a], whole[a:, a:], whole[:a, a:]


def compare_features(
    first: Any,
    second: Any,
    inputs: Batches,
    *,
    second_inputs: Batches | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    most: int = MOST_FEATURES,
    batch_size: int | None = None,
    seed: int = 0,
) -> list[FeatureSimilarity]:
    """Similarity of the features of layers that correspond.

    Args:
        first, second, inputs, second_inputs: as of
            `hsi.compare.representations.compare_representations`.
        pairs: layers of the first and of the second; None pairs those of one name, see
            `same_layers`.
        most: features that are looked at in each layer; of more, so many are drawn.
        batch_size: samples at once; None as of `hsi.compare.batches.rows_for`.
        seed: of the draws.

    Raises:
        SettingsError: too few samples, fewer than 1 feature, or no layers that correspond.
        ModelError: samples that do not fit, or layers that are not there.
    """
    if most < 1:
        raise SettingsError(f"Expected at least 1 feature of a layer, got {most}.")
    moments: list[Moments] = []
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    rows = batch_size or rows_for(first, second, inputs, second_inputs)
    for batch, other in paired_batches(inputs, second_inputs, batch_size=rows, seed=seed):
        if pairs is None:
            pairs = same_layers(first, second, batch.shape[1:], other.shape[1:])
        one = layers_of(first, batch, [a for a, _ in pairs])
        two = layers_of(second, other, [b for _, b in pairs])
        moments = moments or [Moments() for _ in pairs]
        shapes = [(a.array.shape[1:], b.array.shape[1:]) for a, b in zip(one, two, strict=True)]
        for found, a, b in zip(moments, one, two, strict=True):
            found.add(*observations(a.array, b.array, most=most, seed=seed))
    if not moments or pairs is None:
        raise SettingsError("Expected at least one batch of samples, got none.")
    return [
        _similarity(pair, sizes, found)
        for pair, sizes, found in zip(pairs, shapes, moments, strict=True)
    ]


def same_layers(
    first: Any, second: Any, shape: tuple[int, ...], second_shape: tuple[int, ...]
) -> list[tuple[str, str]]:
    """Layers of two networks that go by one name, those worth a look alone.

    Args:
        first, second: variants, or whatever `compare_features` takes.
        shape, second_shape: of a sample of each.

    Raises:
        ModelError: no layer of one has a name of the other's; what they have is listed.
    """
    one, two = infos_of(first, shape), infos_of(second, second_shape)
    known = {name: info.name for info in two for name in info.aliases}
    known |= {info.name: info.name for info in two}
    pairs = [
        (info.name, known[name])
        for info in one
        if info.shown
        for name in [next((n for n in (info.name, *info.aliases) if n in known), "")]
        if name
    ]
    if not pairs:
        lists = [", ".join(info.name for info in infos if info.shown) for infos in (one, two)]
        raise ModelError(
            f"Expected layers of one name in both networks, got {lists[0]} and {lists[1]}; "
            "name the pairs."
        )
    return pairs


def observations(
    first: np.ndarray, second: np.ndarray, *, most: int = MOST_FEATURES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Activations (n, ..., features) of two layers as observations (m, features)."""
    if first.shape[:-1] != second.shape[:-1]:
        first, second = (a.mean(axis=tuple(range(1, a.ndim - 1))) for a in (first, second))
    rows = [a.reshape(-1, a.shape[-1]) for a in (first, second)]
    for place, values in enumerate(rows):
        if values.shape[1] > most:
            drawn = np.random.default_rng(seed).choice(values.shape[1], most, replace=False)
            rows[place] = values[:, np.sort(drawn)]
    return rows[0], rows[1]


def _similarity(
    pair: tuple[str, str], shapes: tuple[tuple[int, ...], tuple[int, ...]], moments: Moments
) -> FeatureSimilarity:
    first, second, between = moments.covariances()
    alive = _alive(first), _alive(second)
    own = first[np.ix_(alive[0], alive[0])], second[np.ix_(alive[1], alive[1])]
    between = between[np.ix_(*alive)]
    best = [np.nan, np.nan]
    if between.size:
        deviations = [np.sqrt(np.diag(covariance)) for covariance in own]
        sizes = np.abs(between / deviations[0][:, None] / deviations[1])
        best = [min(1.0, float(sizes.max(axis=axis).mean())) for axis in (1, 0)]
    widths = shapes[0][-1], shapes[1][-1]
    looked = len(alive[0]), len(alive[1])
    notes = [
        f"{name}: {some} of {width} features, drawn at random"
        for name, some, width in zip(pair, looked, widths, strict=True)
        if some < width
    ]
    if shapes[0][:-1] != shapes[1][:-1]:
        notes.append("the maps differ in size: features are means over positions")
    if moments.observations < FEW * max(looked):
        notes.append(
            f"{moments.observations} observations of up to {max(looked)} features: "
            "R^2 is likely too high"
        )
    return FeatureSimilarity(
        first_layer=pair[0],
        second_layer=pair[1],
        first_width=widths[0],
        second_width=widths[1],
        first_dead=int(np.sum(~alive[0])),
        second_dead=int(np.sum(~alive[1])),
        best_of_first=best[0],
        best_of_second=best[1],
        linear_of_first=_explained(own[0], own[1], between, moments.observations),
        linear_of_second=_explained(own[1], own[0], between.T, moments.observations),
        observations=moments.observations,
        notes=tuple(notes),
    )


def _alive(covariance: np.ndarray) -> np.ndarray:
    variances = np.diag(covariance)
    return variances > DEAD * variances.max(initial=0)


def _explained(
    wanted: np.ndarray, given: np.ndarray, between: np.ndarray, observations: int
) -> float:
    """Share of the variance of the wanted features that is linear in the given ones."""
    if not between.size or observations <= len(given) + 1:
        return float("nan")
    # Directions in which single precision holds nothing but rounding are left out.
    inverse = np.linalg.pinv(given, rcond=DEAD, hermitian=True)
    return float(np.clip(np.trace(between @ inverse @ between.T) / np.trace(wanted), 0, 1))
