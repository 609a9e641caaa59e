"""The nearest training samples vote (Cover and Hart 1967); cross-validation says how many."""

from __future__ import annotations

from typing import Any

import numpy as np

from hsi.baselines.search import best_of

NUMBERS = (1, 3, 5, 10, 20)
"""Of neighbours, that are tried."""


def fit(
    inputs: np.ndarray, classes: np.ndarray, *, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(n, values) and class places 0..k-1 -> arrays, and the number of neighbours."""
    from sklearn.neighbors import KNeighborsClassifier

    few = [k for k in NUMBERS if 2 * k <= len(inputs)] or [1]  # a fold leaves half or more
    machine = KNeighborsClassifier(algorithm="brute")
    nearest = {"n_neighbors": 1}
    _, facts = best_of(machine, {"n_neighbors": few}, inputs, classes, otherwise=nearest, seed=seed)
    arrays = {
        "samples": inputs,
        "classes": classes.astype(np.int32),
        "neighbours": np.array(facts["n_neighbors"]),
    }
    return arrays, facts


def scores(arrays: Any, inputs: np.ndarray) -> np.ndarray:
    """(n, values) -> (n, k) shares of the nearest samples."""
    samples, classes = arrays["samples"].astype(float), arrays["classes"]
    x, count = inputs.astype(float), int(arrays["neighbours"])
    apart = (samples**2).sum(1) - 2 * x @ samples.T  # but for a term of each x alone
    nearest = np.argpartition(apart, count - 1, axis=1)[:, :count]
    votes = np.zeros((len(x), int(classes.max()) + 1))
    np.add.at(votes, (np.arange(len(x))[:, None], classes[nearest]), 1)
    return votes / count


def macs(arrays: Any) -> int:
    """Of the distances."""
    return int(arrays["samples"].size)
