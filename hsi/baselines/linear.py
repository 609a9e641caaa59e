"""A linear machine: one plane for each class against all others, with hinge loss.

Fitted by stochastic gradients, averaged (Bottou 2010), as the DeepHyperX toolbox has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def fit(
    inputs: np.ndarray, classes: np.ndarray, *, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(n, values) and class places 0..k-1 -> arrays, and how many passes it took."""
    from sklearn.linear_model import SGDClassifier

    machine = SGDClassifier(average=10, random_state=seed).fit(inputs, classes)
    normals, offsets = machine.coef_, machine.intercept_
    if len(machine.classes_) == 2:  # one plane between the two
        normals, offsets = np.vstack([-normals, normals]), np.concatenate([-offsets, offsets])
    return {"normals": normals, "offsets": offsets}, {"passes": int(machine.n_iter_)}


def scores(arrays: Any, inputs: np.ndarray) -> np.ndarray:
    """(n, values) -> (n, k) margins."""
    found: np.ndarray = inputs.astype(float) @ arrays["normals"].T + arrays["offsets"]
    return found


def macs(arrays: Any) -> int:
    """Of the products."""
    return int(arrays["normals"].size)
