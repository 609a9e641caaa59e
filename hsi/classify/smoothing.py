"""Spatial smoothing of a class map: a Potts model, solved by graph cuts.

Sought are the classes y of all pixels with the least

    sum over pixels of -ln p(y_i)  +  beta * number of neighbours (of four) with unlike classes

where p are the classifier's probabilities: the Markov random field of Cao, Zhou, Xu, Meng, Xu and
Paisley 2018 (arXiv 1705.00727), who take beta 20. Minimised by alpha-expansion (Boykov, Veksler and
Zabih 2001): exact for two classes, within a factor of two of the least energy for more.
"""

from __future__ import annotations

import numpy as np

from hsi.errors import ModelError, SettingsError

LEAST = float(np.finfo(np.float64).eps)
"""Probabilities below this count as this: none rules a class out altogether."""

GRAPH_BYTES = 400
"""Of a pixel in the graph of one expansion, about: its node, and the arcs to its neighbours."""


def check_beta(beta: float) -> None:
    """Refuse what is no strength, or a missing package (`SettingsError`)."""
    if not np.isfinite(beta) or beta <= 0:
        raise SettingsError(f"mrf: expected a strength above 0, such as 20, got {beta:g}.")
    try:
        import maxflow  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            "--mrf needs the package PyMaxflow: pip install 'hsi[smoothing]'."
        ) from error


def smoothing_bytes(rows: int, cols: int, classes: int) -> int:
    """What `smoothed` takes for a scene, about."""
    return rows * cols * (classes * (4 + 8 + 8) + GRAPH_BYTES)


def check_probabilities(scores: np.ndarray, valid: np.ndarray) -> None:
    """Refuse scores (rows, cols, classes) that are no probabilities (`ModelError`).

    Args:
        valid: (rows, cols) bool; what stands in other pixels does not matter.
    """
    if not valid.any():
        return
    least, sums = scores.min(axis=-1)[valid].min(), scores.sum(axis=-1)[valid]
    if not (least >= -0.01 and np.abs(sums - 1).max() <= 0.05):  # NaN, too
        raise ModelError(
            "--mrf needs class probabilities, which the scores of this model are not; give a "
            "network that ends in a softmax."
        )


def smoothed(probabilities: np.ndarray, beta: float, *, valid: np.ndarray) -> np.ndarray:
    """Class indices of all pixels, smoothed.

    Args:
        probabilities: (rows, cols, classes), those of a pixel summing to 1.
        beta: strength; what a pair of unlike neighbours costs, in nats.
        valid: (rows, cols) bool; a pixel without data has no opinion of its own.

    Returns:
        (rows, cols) integers.

    Raises:
        ModelError: scores that are no probabilities.
        SettingsError: as of `check_beta`.
    """
    check_beta(beta)
    from maxflow.fastmin import aexpansion_grid

    check_probabilities(probabilities, valid)
    costs = -np.log(np.clip(probabilities, LEAST, 1, dtype=np.float64))
    costs[~valid] = 0
    classes = costs.shape[-1]
    if classes == 1:
        return np.zeros(costs.shape[:2], np.int64)
    # From the classifier's own answer on, so that what nothing speaks for is not changed.
    start = np.ascontiguousarray(costs.argmin(axis=-1), np.int64)
    return aexpansion_grid(costs, beta * (1.0 - np.eye(classes)), labels=start)


def energy(probabilities: np.ndarray, labels: np.ndarray, beta: float) -> float:
    """What the smoothing makes least, of class indices (rows, cols)."""
    chosen = np.take_along_axis(probabilities, labels[..., None].astype(np.int64), axis=-1)
    unlike = np.count_nonzero(np.diff(labels, axis=0)) + np.count_nonzero(np.diff(labels, axis=1))
    return float(-np.log(np.clip(chosen, LEAST, 1, dtype=np.float64)).sum() + beta * unlike)
