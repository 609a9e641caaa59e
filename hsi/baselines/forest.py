"""Two hundred decision trees, each grown on a sample of the training samples (Breiman 2001)."""

from __future__ import annotations

from typing import Any

import numpy as np

TREES = 200


def fit(
    inputs: np.ndarray, classes: np.ndarray, *, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(n, values) and class places 0..k-1 -> arrays of all nodes, and the number of trees."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(TREES, random_state=seed).fit(inputs, classes)
    trees = [tree.tree_ for tree in forest.estimators_]
    starts = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]

    def children(side: str) -> np.ndarray:
        """Numbers among all nodes; a leaf is its own child."""
        numbered = []
        for tree, start in zip(trees, starts, strict=True):
            child = getattr(tree, side)
            numbered.append(start + np.where(child < 0, np.arange(tree.node_count), child))
        return np.concatenate(numbered).astype(np.int32)

    arrays = {
        "roots": starts.astype(np.int32),
        "left": children("children_left"),
        "right": children("children_right"),
        "value": np.concatenate([np.maximum(tree.feature, 0) for tree in trees]).astype(np.int32),
        "limit": np.concatenate([tree.threshold for tree in trees]),
        "shares": np.concatenate([_shares(tree.value[:, 0]) for tree in trees]).astype(np.float32),
    }
    return arrays, {"trees": TREES}


def _shares(counts: np.ndarray) -> np.ndarray:
    """(nodes, k) of each class; scikit-learn before 1.3 has counts."""
    found: np.ndarray = counts / counts.sum(1, keepdims=True)
    return found


def scores(arrays: Any, inputs: np.ndarray) -> np.ndarray:
    """(n, values) -> (n, k) mean shares in the leaves that a sample reaches."""
    x = inputs.astype(np.float32)
    rows = np.arange(len(x))[:, None]
    nodes = np.broadcast_to(arrays["roots"], (len(x), len(arrays["roots"])))
    while True:
        below = x[rows, arrays["value"][nodes]] <= arrays["limit"][nodes]
        after = np.where(below, arrays["left"][nodes], arrays["right"][nodes])
        if np.array_equal(after, nodes):
            break
        if (after < nodes).any():  # children come after their node: no file sends us in circles
            raise ValueError("a node leads back to an earlier one")
        nodes = after
    found: np.ndarray = arrays["shares"][nodes].astype(float).mean(axis=1)
    return found


def macs(arrays: Any) -> int:
    """None: trees compare."""
    return 0
