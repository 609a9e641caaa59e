"""Non-negative least squares for many pixels at once."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

PIXELS_AT_ONCE = 512


def non_negative_weights(
    spectra: np.ndarray, axes: np.ndarray, *, iterations: int = 200
) -> tuple[np.ndarray, int]:
    """The non-negative weights that best rebuild each spectrum: argmin |x - w H|, w >= 0.

    Block principal pivoting (Kim and Park 2011, SIAM J. Sci. Comput. 33(6)), all pixels side by
    side: exact, and a pixel's weights do not depend on which others are fitted with it.

    Args:
        spectra: (n, bands).
        axes: (components, bands), the H of a factorisation.
        iterations: exchanges after which a pixel is given up.

    Returns:
        (n, components) weights, and for how many pixels the exchange did not end (their weights
        are then the clipped solution of the last exchange).
    """
    gram = axes @ axes.T
    gram[np.diag_indices_from(gram)] += 1e-10 * np.trace(gram) / len(gram)  # parallel axes
    targets = spectra @ axes.T
    weights = np.empty_like(targets)
    unsolved = 0
    with threadpool_limits(1):  # many small systems: BLAS threads would only wait for each other
        for start in range(0, len(targets), PIXELS_AT_ONCE):
            chunk = slice(start, start + PIXELS_AT_ONCE)
            weights[chunk], failed = _pivot(gram, targets[chunk], iterations)
            unsolved += failed
    return weights, unsolved


def _pivot(gram: np.ndarray, targets: np.ndarray, iterations: int) -> tuple[np.ndarray, int]:
    pixels, count = targets.shape
    tolerance = 1e-12 * np.abs(targets).max(initial=1e-300)
    weights = np.zeros_like(targets)
    positive = np.zeros(targets.shape, bool)
    slack = -targets  # the gradient where the weight is zero; must not be negative
    fewest = np.full(pixels, count + 1)
    patience = np.full(pixels, 3)
    open_pixels = np.arange(pixels)
    for _ in range(iterations):
        wrong = np.where(positive[open_pixels], weights[open_pixels] < 0, False)
        wrong |= ~positive[open_pixels] & (slack[open_pixels] < -tolerance)
        keep = wrong.any(axis=1)
        open_pixels, wrong = open_pixels[keep], wrong[keep]
        if not len(open_pixels):
            return np.maximum(weights, 0), 0
        positive[open_pixels] ^= _exchange(wrong, open_pixels, fewest, patience)
        weights[open_pixels] = _solve(gram, targets[open_pixels], positive[open_pixels])
        slack[open_pixels] = weights[open_pixels] @ gram - targets[open_pixels]
    return np.maximum(weights, 0), len(open_pixels)


def _exchange(
    wrong: np.ndarray, pixels: np.ndarray, fewest: np.ndarray, patience: np.ndarray
) -> np.ndarray:
    """Which memberships to flip: all wrong ones while that helps, else only the last (backup)."""
    number = wrong.sum(axis=1)
    better = number < fewest[pixels]
    fewest[pixels] = np.minimum(fewest[pixels], number)
    patience[pixels] = np.where(better, 3, patience[pixels] - 1)
    last_only = np.zeros_like(wrong)
    last = wrong.shape[1] - 1 - np.argmax(wrong[:, ::-1], axis=1)
    last_only[np.arange(len(wrong)), last] = True
    return np.where((patience[pixels] >= 0)[:, None], wrong, last_only)


def _solve(gram: np.ndarray, targets: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Least squares on each pixel's own positive set, which is packed to the largest one's size."""
    size = max(1, int(positive.sum(axis=1).max()))
    order = np.argsort(~positive, axis=1, kind="stable")[:, :size]
    used = np.take_along_axis(positive, order, axis=1)
    system = gram[order[:, :, None], order[:, None, :]]
    system *= used[:, :, None] & used[:, None, :]
    system[:, np.arange(size), np.arange(size)] += ~used
    right = np.where(used, np.take_along_axis(targets, order, axis=1), 0)
    solution = np.linalg.solve(system, right[:, :, None])[:, :, 0]
    weights = np.zeros_like(targets)
    np.put_along_axis(weights, order, np.where(used, solution, 0), axis=1)
    return weights
