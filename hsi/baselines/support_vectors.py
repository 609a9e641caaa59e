"""Support vectors with the kernel exp(-gamma |x - s|^2); each pair of classes decides once.

The class with most votes wins, the first of them in a tie, as in libsvm (Chang and Lin 2011). C is
1 and gamma 1 / (values x variance) unless they are searched for among `GRID`. (Cortes and Vapnik
1995.)
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from hsi.baselines.search import best_of

GRID: dict[str, tuple[float, ...]] = {
    "C": (1.0, 10.0, 100.0, 1000.0),
    "gamma": (1e-4, 1e-3, 1e-2, 1e-1),
}
"""What `svm_grid` tries."""


def fit(
    inputs: np.ndarray, classes: np.ndarray, *, seed: int, searched: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(n, values) and class places 0..k-1 -> arrays, and C and gamma."""
    from sklearn.svm import SVC

    if searched:
        plain = {"C": 1.0, "gamma": "scale"}
        machine, facts = best_of(SVC(), GRID, inputs, classes, otherwise=plain, seed=seed)
    else:
        machine = SVC().fit(inputs, classes)
        facts = {"C": machine.C, "gamma": machine.gamma}
    # With two classes scikit-learn turns the signs around, so that the second has the positive one.
    sign = -1.0 if len(machine.classes_) == 2 else 1.0
    arrays = {
        "vectors": machine.support_vectors_.astype(np.float32),
        "of_class": machine.n_support_.astype(np.int32),
        "weights": sign * machine.dual_coef_,
        "offsets": sign * machine.intercept_,
        "gamma": np.array(machine._gamma),  # gamma "scale", as a number
    }
    return arrays, facts


def scores(arrays: Any, inputs: np.ndarray) -> np.ndarray:
    """(n, values) -> (n, k) shares of the votes."""
    vectors, weights = arrays["vectors"].astype(float), arrays["weights"]
    x = inputs.astype(float)
    apart = (x**2).sum(1)[:, None] - 2 * x @ vectors.T + (vectors**2).sum(1)
    kernel = np.exp(-float(arrays["gamma"]) * np.maximum(apart, 0))
    ends = np.cumsum(arrays["of_class"])
    parts = [slice(end - size, end) for end, size in zip(ends, arrays["of_class"], strict=True)]
    votes = np.zeros((len(x), len(parts)))
    for place, (i, j) in enumerate(combinations(range(len(parts)), 2)):
        margin = (
            kernel[:, parts[i]] @ weights[j - 1, parts[i]]
            + kernel[:, parts[j]] @ weights[i, parts[j]]
            + arrays["offsets"][place]
        )
        votes[:, i] += margin > 0
        votes[:, j] += margin <= 0
    return votes / max(1, len(arrays["offsets"]))


def macs(arrays: Any) -> int:
    """Of the distances and of the sums over them."""
    return int(arrays["vectors"].size + arrays["weights"].size)
