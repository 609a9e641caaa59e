"""Selections that add or drop one band after another, each in the light of the others.

Forward and backward selection look for bands with a small Wilks' lambda, |W| / |T|, of the scatter
within classes and in all. A step changes a determinant by one factor for each band,

    add b to S:    |M_(S+b)| = |M_S| * (M_bb - M_bS M_SS^-1 M_Sb)
    drop b from S: |M_(S-b)| = |M_S| * (M_SS^-1)_bb

so that all bands are tried at once from one matrix, which is then brought up to date: what a
wrapper would fit anew for each band and step costs a few milliseconds in all.

Source: Rao 1973, "Linear Statistical Inference and Its Applications", section 8c; Jennrich 1977,
"Stepwise discriminant analysis".
"""

from __future__ import annotations

import numpy as np

from hsi.bands.ranked import kept
from hsi.bands.training import Reduced, Training


def forward(training: Training, count: int, seed: int) -> Reduced:
    """From no band, the one next that makes Wilks' lambda smallest."""
    within, total = scatters(training)
    left = np.ones(len(within), bool)
    for _ in range(count):
        band = _least(within, total, left)
        within, total = _without(within, band), _without(total, band)
        left[band] = False
    return kept(np.flatnonzero(~left), len(left))


def backward(training: Training, count: int, seed: int) -> Reduced:
    """From all bands, without the one next whose loss leaves Wilks' lambda smallest."""
    within, total = (np.linalg.inv(matrix) for matrix in scatters(training))
    left = np.ones(len(within), bool)
    for _ in range(len(left) - count):
        band = _least(within, total, left)
        within, total = _without(within, band), _without(total, band)
        left[band] = False
    return kept(np.flatnonzero(left), len(left))


def orthogonal_projection(training: Training, count: int, seed: int) -> Reduced:
    """The band next that the ones so far can rebuild least: the largest part orthogonal to them.

    Begins with the two bands, as vectors over the training pixels, that span the largest area.

    Source: Du and Yang, "Similarity-based unsupervised band selection for hyperspectral image
    analysis", IEEE GRSL 5(4), 2008: orthogonal subspace projection; they look for the first pair
    by going to and fro between bands.
    """
    # The triangle has the lengths and angles of the bands in a square of their number.
    rest = np.linalg.qr(training.scaled - training.scaled.mean(axis=0)).R
    gram = rest.T @ rest
    lengths = np.diag(gram)
    areas = lengths[:, None] * lengths - gram**2
    areas[np.tril_indices_from(areas)] = -1
    pair = np.unravel_index(int(np.argmax(areas)), areas.shape)
    chosen = sorted((int(band) for band in pair), key=lambda band: (-lengths[band], band))[:count]
    for band in chosen:
        rest = _projected(rest, band)
    while len(chosen) < count:
        parts = (rest**2).sum(axis=0)
        parts[chosen] = -1
        chosen.append(int(np.argmax(parts)))
        rest = _projected(rest, chosen[-1])
    return kept(np.array(chosen), rest.shape[1])


def scatters(training: Training) -> tuple[np.ndarray, np.ndarray]:
    """Covariance within classes and in all, (bands, bands) each.

    The first is shrunk as Ledoit and Wolf (2004) have it, so that both have an inverse with fewer
    training pixels than bands, too; the second is it and the covariance of the class means.
    """
    from sklearn.covariance import ledoit_wolf

    _, places = np.unique(training.classes, return_inverse=True)
    share = np.bincount(places) / len(places)
    means = np.stack([training.scaled[places == place].mean(axis=0) for place in range(len(share))])
    within, _ = ledoit_wolf(training.scaled - means[places], assume_centered=True)
    # Copies of one band, and no noise: still an inverse.
    ridge = np.trace(within) / len(within) or 1.0
    within[np.diag_indices_from(within)] += 1e-9 * ridge
    apart = means - share @ means
    return within, within + (apart.T * share) @ apart


def _least(within: np.ndarray, total: np.ndarray, left: np.ndarray) -> int:
    """The band, of those left, that changes Wilks' lambda by the smallest factor."""
    bands = np.flatnonzero(left)
    return int(bands[np.argmin(np.diag(within)[bands] / np.diag(total)[bands])])


def _without(matrix: np.ndarray, band: int) -> np.ndarray:
    """What is left of a matrix when a band is swept out: its Schur complement there."""
    return matrix - np.outer(matrix[:, band], matrix[band]) / matrix[band, band]


def _projected(vectors: np.ndarray, band: int) -> np.ndarray:
    """Columns without their parts along one of them."""
    length = np.linalg.norm(vectors[:, band])
    if length == 0:
        return vectors
    along = vectors[:, band] / length
    return vectors - np.outer(along, along @ vectors)
