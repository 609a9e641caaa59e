"""Intervals of shares where votes are clustered two ways: by image and by rater.

Votes on one image go together, and so do those of one rater; neither is nested in the other. With
psi_i what vote i adds to the error of an estimate, n its votes and G_c the clusters of a kind,

    V = V_image + V_rater - V_both,   V_c = G_c / (G_c - 1) * sum over clusters (sum of psi)^2 / n^2

(Cameron, Gelbach and Miller, "Robust Inference With Multiway Clustering", 2011). Where the sum
falls below the largest of its three terms, which chance does when there are few clusters, that
term is taken. Quantiles are those of Student's t whose degrees of freedom are the smaller number
of clusters less one (Cameron and Miller 2015, section VI).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from hsi.metrics import wilson_interval

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: the estimate; NaN where there is nothing to estimate it from.
        low, high: of the interval; NaN where there are fewer than two images or two raters.
        p: two-sided, of the hypothesis that the true value is 0; None where that is no question.
    """

    value: float
    low: float
    high: float
    p: float | None = None


def mean_of(
    values: np.ndarray,
    images: np.ndarray,
    raters: np.ndarray,
    *,
    within: tuple[float, float],
    tested: bool = False,
) -> Estimate:
    """The mean of (n,) values with an interval clustered by image and by rater.

    Where all values are the same their spread says nothing about the next one: the interval is then
    that of as many independent votes as there are images or raters, whichever is less (Wilson
    1927).

    Args:
        values: of the votes, for example 0 and 1.
        images, raters: (n,) ids of each vote's clusters, of any type.
        within: least and greatest value that can be.
        tested: compute p.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"))
    mean = float(values.mean())
    if np.ptp(values) == 0:
        clusters = min(len(np.unique(images)), len(np.unique(raters)))
        return _unanimous(mean, clusters, within, tested=tested)
    return estimate(mean, values - mean, images, raters, within=within, tested=tested)


def difference_of(
    values: np.ndarray, second: np.ndarray, images: np.ndarray, raters: np.ndarray
) -> Estimate:
    """Mean of the second group less that of the first, of values 0..1; arguments (n,).

    Args:
        values: of the votes.
        second: bool, which group a vote is of.
        images, raters: ids of each vote's clusters.
    """
    values = np.asarray(values, np.float64)
    if second.all() or not second.any():
        return Estimate(float("nan"), float("nan"), float("nan"))
    means = values[~second].mean(), values[second].mean()
    share = second.mean()
    influence = np.where(second, (values - means[1]) / share, -(values - means[0]) / (1 - share))
    found = means[1] - means[0]
    if not influence.any():
        return Estimate(float(found), float("nan"), float("nan"))
    return estimate(float(found), influence, images, raters, within=(-1, 1), tested=True)


def estimate(
    value: float,
    influence: np.ndarray,
    images: np.ndarray,
    raters: np.ndarray,
    *,
    within: tuple[float, float],
    tested: bool = False,
) -> Estimate:
    """An estimate whose error is the mean of (n,) influences, with its interval."""
    from scipy.stats import t  # slow to import

    clusters = min(len(np.unique(images)), len(np.unique(raters)))
    if clusters < 2:
        return Estimate(value, float("nan"), float("nan"))
    error = sqrt(two_way_variance(influence, images, raters))
    half = float(t.ppf((1 + LEVEL) / 2, clusters - 1)) * error
    p = None
    if tested:
        p = 1.0 if error == 0 else float(2 * t.sf(abs(value) / error, clusters - 1))
    return Estimate(value, max(within[0], value - half), min(within[1], value + half), p)


def two_way_variance(influence: np.ndarray, images: np.ndarray, raters: np.ndarray) -> float:
    """Variance of the mean of (n,) influences, clustered by image and by rater; see the module."""
    _, image = np.unique(images, return_inverse=True)
    _, rater = np.unique(raters, return_inverse=True)
    both = image * (rater.max() + 1) + rater
    _, both = np.unique(both, return_inverse=True)
    by_image, by_rater, by_both = (_variance(influence, part) for part in (image, rater, both))
    return max(by_image + by_rater - by_both, by_image, by_rater, by_both)


def _variance(influence: np.ndarray, cluster: np.ndarray) -> float:
    sums = np.bincount(cluster, weights=influence)
    count = len(sums)
    if count < 2:
        return float((sums**2).sum() / len(influence) ** 2)
    return float(count / (count - 1) * (sums**2).sum() / len(influence) ** 2)


def _unanimous(
    value: float, clusters: int, within: tuple[float, float], *, tested: bool
) -> Estimate:
    """Every vote the same: at most the share that Wilson's interval leaves has another value."""
    if clusters < 2:
        return Estimate(value, float("nan"), float("nan"))
    others = 1 - wilson_interval(clusters, clusters)[0]
    low = value - others * (value - within[0])
    high = value + others * (within[1] - value)
    p = None
    if tested:
        p = 1.0 if value == 0 else float(2.0 ** (1 - clusters))
    return Estimate(value, low, high, p)
