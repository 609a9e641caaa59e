"""Misclassified samples worth looking at: what the network was surest of, every confusion once."""

from __future__ import annotations

import numpy as np

from hsi.errors import SettingsError


def misclassified(
    predicted: np.ndarray, true: np.ndarray, scores: np.ndarray, *, count: int, seed: int
) -> np.ndarray:
    """Numbers of misclassified samples, the one that the network was surest of first.

    The pairs (true class, predicted class) take turns, in the order of their surest samples: with
    few places each pair is there once before one is there twice.

    Args:
        predicted: (n,) class indices 0..k-1.
        true: (n,) class indices; negative where unlabelled, which is never a mistake.
        scores: (n,) how sure the network was of what it predicted: a logit or a probability.
        count: how many at most.
        seed: decides between equal scores.

    Returns:
        (at most `count`,) int64, empty where every sample is classified rightly.

    Raises:
        SettingsError: arrays of different lengths, or a count below 1.

    Example:
        >>> misclassified(
        ...     np.array([1, 1, 2, 0]), np.array([0, 0, 0, 0]), np.array([0.9, 0.8, 0.5, 1.0]),
        ...     count=2, seed=0,
        ... )
        array([0, 2])
    """
    predicted, true, scores = np.asarray(predicted), np.asarray(true), np.asarray(scores)
    if count < 1:
        raise SettingsError(f"Expected a count of at least 1, got {count}.")
    if predicted.ndim != 1 or not predicted.shape == true.shape == scores.shape:
        raise SettingsError(
            f"Expected predicted classes, true classes and scores of one shape (n,), got "
            f"{predicted.shape}, {true.shape} and {scores.shape}."
        )
    wrong = np.flatnonzero((true >= 0) & (predicted != true))
    wrong = np.random.default_rng(seed).permutation(wrong)
    wrong = wrong[np.argsort(-scores[wrong].astype(np.float64), kind="stable")]
    turn = _turns(np.stack([true[wrong], predicted[wrong]], axis=1))
    chosen = np.sort(np.argsort(turn, kind="stable")[:count])  # back in the order of sureness
    return wrong[chosen].astype(np.int64)


def _turns(pairs: np.ndarray) -> np.ndarray:
    """(m, 2) -> (m,) how many rows with the same pair come before each row."""
    if not len(pairs):
        return np.zeros(0, np.int64)
    group = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    turns = np.empty(len(pairs), np.int64)
    turns[order] = np.arange(len(pairs)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return turns
