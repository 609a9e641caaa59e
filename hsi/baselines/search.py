"""Settings of a baseline chosen by cross-validation among training samples."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FOLDS = 5


def best_of(
    estimator: Any,
    grid: Mapping[str, Sequence[Any]],
    inputs: np.ndarray,
    classes: np.ndarray,
    *,
    seed: int,
) -> tuple[Any, dict[str, Any]]:
    """The estimator fitted with the settings of the highest mean accuracy; and these.

    Folds are stratified; their number is that of the smallest class where it has fewer samples
    than 5, and at least 2.

    Args:
        inputs: (n, values); classes: (n,).
    """
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    folds = int(min(max(2, np.bincount(classes).min()), FOLDS))
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    search = GridSearchCV(estimator, dict(grid), cv=parts)
    with warnings.catch_warnings():  # a class of one sample is in one fold: no fault of the user's
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        search.fit(inputs, classes)
    facts = {**search.best_params_, "folds": folds, "validated": float(search.best_score_)}
    return search.best_estimator_, facts
