"""Whether the layers of two networks hold the same: linear CKA, all layers against all layers.

With K and L the Gram matrices (n, n) of two layers' activations on one batch, diagonals set to
zero, and 1 a vector of ones,

    HSIC_1(K, L) = [tr(KL) + 1'K1 1'L1 / ((n-1)(n-2)) - 2 1'KL1 / (n-2)] / (n (n-3))
    CKA = sum_b HSIC_1(K_b, L_b) / sqrt(sum_b HSIC_1(K_b, K_b) sum_b HSIC_1(L_b, L_b))

over batches b. HSIC_1 is unbiased, so its mean over batches of samples drawn at random does not
depend on how large they are, and no more than one batch is held. CKA is 1 of layers that differ by
a rotation and a scale, and near 0 (a little below it, too) of unrelated ones; widths may differ.

HSIC_1 does not change with the mean of the features, which is therefore taken off first: single
precision is then enough for the sums over them. Each layer's Gram matrix is made once, and the
traces of all pairs of layers are one matrix product.

Source: Kornblith, Norouzi, Lee, Hinton, "Similarity of neural network representations revisited",
2019; HSIC_1: Song, Smola, Gretton, Bedo, Borgwardt, "Feature selection via dependence
maximization", 2012; over minibatches: Nguyen, Raghu, Kornblith, "Do wide and deep networks learn
the same things?", 2021.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from hsi.compare.batches import LEAST, Batches, layers_of, paired_batches, rows_for
from hsi.deploy.variant import Variant
from hsi.errors import SettingsError

AT_ONCE = 2**20
"""Values of a layer that are centred at once, so that wide layers are never held twice."""

ROUNDING = 8 * float(np.finfo(np.float32).eps)
"""A layer that varies by less than this share of its mean is constant."""


@dataclass(frozen=True, eq=False)
class Representations:
    """Linear CKA within two networks and between them.

    Attributes:
        first, second: names of the networks.
        first_layers: (a,) names.
        second_layers: (b,) names.
        cka: (a, b) layers of the first against layers of the second; at most 1, NaN where a layer
            is constant.
        within_first, within_second: (a, a) and (b, b), each network against itself.
        samples, batches: how many there were.
        notes: one line for each thing that the reader must know.
    """

    first: str
    second: str
    first_layers: tuple[str, ...]
    second_layers: tuple[str, ...]
    cka: np.ndarray
    within_first: np.ndarray
    within_second: np.ndarray
    samples: int
    batches: int
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """As JSON has it; None for what is not known."""
        return {
            "first": self.first,
            "second": self.second,
            "first_layers": list(self.first_layers),
            "second_layers": list(self.second_layers),
            "cka": _known(self.cka),
            "within_first": _known(self.within_first),
            "within_second": _known(self.within_second),
            "samples": self.samples,
            "batches": self.batches,
            "notes": list(self.notes),
        }


class Alignment:
    """Linear CKA of all layers with all layers, batch by batch.

    What is held between two batches is one number for each pair of layers, and the room that the
    Gram matrices of one batch take.
    """

    def __init__(self) -> None:
        self._products: np.ndarray | None = None
        self._grams = np.empty((0, 0, 0))
        self._layers = 0
        self.samples = self.batches = 0

    def add(self, first: Sequence[np.ndarray], second: Sequence[np.ndarray] = ()) -> None:
        """Take in one batch.

        Args:
            first: activations (n, ...) of each layer of one network, n at least 4.
            second: the same of the other, of the same samples; none where there is only one.

        Raises:
            SettingsError: fewer than 4 samples, layers of different numbers of samples, or other
                layers than in the batch before.
        """
        sizes = {len(values) for values in (*first, *second)}
        if len(sizes) != 1 or min(sizes) < LEAST:
            raise SettingsError(
                f"Expected batches of at least {LEAST} samples, the same for all layers; got "
                f"{', '.join(map(str, sorted(sizes))) or 'no layers'}."
            )
        count = len(first) + len(second)
        known = 0 if self._products is None else len(self._products)
        if self._products is not None and (known, self._layers) != (count, len(first)):
            raise SettingsError(
                f"Expected {self._layers} and {known - self._layers} layers as in the batches "
                f"before, got {len(first)} and {len(second)}."
            )
        shape = (count, min(sizes), min(sizes))
        if self._grams.shape != shape:  # new memory takes as long as the products of small layers
            self._grams = np.empty(shape)
        products = _hsic_of([*first, *second], self._grams)
        self._products = products if self._products is None else self._products + products
        self._layers = len(first)
        self.samples, self.batches = self.samples + min(sizes), self.batches + 1

    def matrix(self) -> np.ndarray:
        """(a + b, a + b) CKA of all layers, the first network's first; NaN of constant ones.

        Raises:
            SettingsError: no batch has been taken in.
        """
        if self._products is None:
            raise SettingsError("Expected at least one batch of activations, got none.")
        own = np.diag(self._products)
        lengths = np.sqrt(np.where(own > 0, own, np.nan))
        return np.minimum(self._products / lengths[:, None] / lengths, 1.0)

    def within(self) -> np.ndarray:
        """(a, a) the first network against itself."""
        return self.matrix()[: self._layers, : self._layers]

    def between(self) -> np.ndarray:
        """(a, b) layers of the first network against those of the second."""
        return self.matrix()[: self._layers, self._layers :]

    def within_second(self) -> np.ndarray:
        """(b, b) the second network against itself."""
        return self.matrix()[self._layers :, self._layers :]


def _hsic_of(layers: Sequence[np.ndarray], grams: np.ndarray) -> np.ndarray:
    """(layers, layers) HSIC_1 of all pairs; `grams` (layers, n, n) is written.

    A thread a layer: products of so few samples leave BLAS's own threads waiting for each other.
    """
    order = sorted(range(len(layers)), key=lambda i: -layers[i].size)  # the last wait for little
    with _blas().limit(limits=1, user_api="blas"):
        # A list, so that what fails in a thread is raised here.
        list(_threads().map(lambda i: _gram_into(layers[i], grams[i]), order))
        return _hsic(grams)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count())


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries


def gram(values: np.ndarray) -> np.ndarray:
    """Gram matrix of activations (n, ...) less their means: (n, n) float64, its diagonal zero.

    A layer that is constant gives zeros.
    """
    found = np.empty((len(values), len(values)))
    _gram_into(values, found)
    return found


def _gram_into(values: np.ndarray, found: np.ndarray) -> None:
    """`gram`, written into an array that is there."""
    n = len(values)
    flat = np.asarray(values).reshape(n, -1)
    means = 0.0
    single = np.promote_types(flat.dtype, np.float32)
    columns = max(1, AT_ONCE // n)
    for start in range(0, flat.shape[1], columns):
        part = flat[:, start : start + columns].astype(single, copy=False)
        mean = part.mean(axis=0)
        part = part - mean
        if start:
            found += part @ part.T
        else:
            found[:] = part @ part.T
        means += float(np.dot(mean, mean))
    if np.trace(found) <= ROUNDING**2 * n * means:
        found[:] = 0
    np.fill_diagonal(found, 0)


def _hsic(grams: np.ndarray) -> np.ndarray:
    """(layers, n, n) -> (layers, layers) HSIC_1 of all pairs."""
    n = grams.shape[1]
    sums = grams.sum(axis=2)
    totals = sums.sum(axis=1)
    flat = grams.reshape(len(grams), -1)
    traces = flat @ flat.T
    inner = traces + np.outer(totals, totals) / ((n - 1) * (n - 2)) - 2 * sums @ sums.T / (n - 2)
    return np.asarray(inner / (n * (n - 3)))


def compare_representations(
    first: Any,
    second: Any,
    inputs: Batches,
    *,
    second_inputs: Batches | None = None,
    first_layers: Sequence[str] | None = None,
    second_layers: Sequence[str] | None = None,
    names: tuple[str, str] | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Representations:
    """Linear CKA of all layers of two networks, and of each with itself.

    Args:
        first, second: variants of any form, or whatever `hsi.explain.activation_map.activations`
            takes; `second` None looks at one network alone.
        inputs: samples (n, ...) as the first network takes them, n at least 4; or batches of them,
            at least 4 samples each and in random order: batches of one class would show how alike
            its samples are.
        second_inputs: the same samples as the second takes them; None where that is the same.
        first_layers, second_layers: names; None takes every layer that has weights or is an
            activation.
        names: of the networks; None takes the names of their files.
        batch_size: samples of a batch, where they are drawn here; None takes `MOST_ROWS`, fewer
            where the layers are large (`rows_for`).
        seed: of that draw.

    Raises:
        SettingsError: too few samples, or different numbers of them.
        ModelError: samples that do not fit, layers that are not there, a network without layers.
    """
    alignment = Alignment()
    asked: list[Sequence[str] | None] = [first_layers, second_layers]
    networks = [first] if second is None else [first, second]
    rows = batch_size or rows_for(first, second, inputs, second_inputs)
    for pair in paired_batches(inputs, second_inputs, batch_size=rows, seed=seed):
        found: list[list[np.ndarray]] = [[], []]
        for place, network in enumerate(networks):
            layers = layers_of(network, pair[place], asked[place])
            asked[place] = [layer.layer for layer in layers]
            found[place] = [layer.array for layer in layers]
        alignment.add(*found)
    within = alignment.within()
    one, two = (tuple(layers or ()) for layers in asked)
    titles = names or (_title(first, "first"), _title(second, "second"))
    return Representations(
        titles[0],
        titles[0] if second is None else titles[1],
        one,
        one if second is None else two,
        within if second is None else alignment.between(),
        within,
        within if second is None else alignment.within_second(),
        alignment.samples,
        alignment.batches,
    )


def _title(network: Any, name: str) -> str:
    return network.path.name if isinstance(network, Variant) else name


def _known(values: np.ndarray) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in values]
