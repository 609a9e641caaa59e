"""How good a classification is, and whether two of them differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsi.errors import DataError


@dataclass(frozen=True)
class Accuracy:
    """The accuracies of one set of predictions.

    Attributes:
        oa: overall accuracy, 0..1.
        oa_low, oa_high: its 95 % Wilson interval (Wilson 1927). It takes pixels as independent,
            which neighbours are not: the true interval is wider.
        aa: mean recall over the classes that occur in the truth, 0..1.
        kappa: Cohen's kappa (Cohen 1960), at most 1; 0 where chance alone explains everything.
        recall: (classes,) recall per class, NaN for a class that the truth does not hold.
        confusion: (classes, classes) counts, rows are the truth, columns the prediction.
    """

    oa: float
    oa_low: float
    oa_high: float
    aa: float
    kappa: float
    recall: np.ndarray
    confusion: np.ndarray


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts of (true class, predicted class); both (n,) of 0..classes-1 -> (classes, classes)."""
    cells = truth.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def accuracy(truth: np.ndarray, predicted: np.ndarray, classes: int) -> Accuracy:
    """Score predictions; `truth` and `predicted` are (n,) class indices 0..classes-1.

    Raises:
        DataError: no samples.
    """
    if not len(truth):
        raise DataError(
            "accuracy: expected test samples, got none; choose another split, smaller patches or "
            "fewer training samples."
        )
    matrix = confusion_matrix(truth, predicted, classes)
    total = matrix.sum()
    right = np.trace(matrix)
    per_class = matrix.sum(axis=1)
    with np.errstate(invalid="ignore"):
        recall = np.where(per_class > 0, np.diag(matrix) / per_class, np.nan)
    oa = right / total
    chance = (per_class * matrix.sum(axis=0)).sum() / total**2
    kappa = (oa - chance) / (1 - chance) if chance < 1 else 0.0
    low, high = wilson_interval(int(right), int(total))
    return Accuracy(float(oa), low, high, float(np.nanmean(recall)), float(kappa), recall, matrix)


def f1_scores(confusion: np.ndarray) -> np.ndarray:
    """F1 of each class: (classes, classes) counts -> (classes,), 0..1.

    2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall (van Rijsbergen 1979). NaN
    for a class that the truth does not hold.
    """
    right = np.diag(confusion).astype(float)
    true, answered = confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(true > 0, 2 * right / (true + answered), np.nan)


def macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 over the classes that occur in the truth, 0..1: each class counts once, as in AA."""
    return float(np.nanmean(f1_scores(confusion)))


def wilson_interval(successes: int, trials: int, *, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a proportion (Wilson 1927), by default at 95 %.

    Example:
        >>> low, high = wilson_interval(90, 100)
        >>> round(low, 3), round(high, 3)
        (0.826, 0.945)
    """
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    low, high = max(0.0, float(centre - half)), min(1.0, float(centre + half))
    return min(low, share), max(high, share)  # rounding must not leave the share itself outside


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> float:
    """Exact p of McNemar's test that two classifiers err equally often (Foody 2004).

    Args:
        right_a, right_b: (n,) bool, where each classifier is right, on the same samples.

    Returns:
        Two-sided p of the binomial test on the samples where just one is right; 1 where none is.
    """
    from scipy.stats import binomtest

    only_a = int(np.sum(right_a & ~right_b))
    only_b = int(np.sum(right_b & ~right_a))
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def cross_entropy(probabilities: np.ndarray, classes: np.ndarray) -> float:
    """Mean of -ln p of the right class, in nats: (n, classes), (n,) -> one number.

    No p counts as less than 1/256, the step in which int8 files say it: a file in float would
    else lose by what an int8 file cannot even say.
    """
    right = probabilities[np.arange(len(classes)), classes]
    return float(-np.log(np.clip(right, 1 / 256, 1)).mean())


def holm(p_values: np.ndarray) -> np.ndarray:
    """(n,) p values adjusted for n tests: the smallest times n, the next times n - 1, and so on.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03]))
        array([0.03, 0.06, 0.06])
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted
