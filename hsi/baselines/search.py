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
    otherwise: Mapping[str, Any],
    seed: int,
) -> tuple[Any, dict[str, Any]]:
    """The estimator fitted with the settings of the highest mean accuracy; and these.

    Folds are stratified; their number is that of the smallest class where it has fewer samples
    than 5, and at least 2.

    Args:
        inputs: (n, values); classes: (n,).
        otherwise: settings that are taken, in 0 folds, where nothing can be compared: each fold has
            to leave two classes to train on, and these a sample to be asked about.
    """
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    counts = np.unique(classes, return_counts=True)[1]
    if np.count_nonzero(counts >= 2) < 2:
        estimator.set_params(**otherwise).fit(inputs, classes)
        return estimator, {**otherwise, "folds": 0}
    folds = int(min(max(2, counts.min()), FOLDS))
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    search = GridSearchCV(estimator, dict(grid), cv=parts)
    with warnings.catch_warnings():  # a class of one sample is in one fold: no fault of the user's
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        search.fit(inputs, classes)
    facts = {**search.best_params_, "folds": folds, "validated": float(search.best_score_)}
    return search.best_estimator_, facts
