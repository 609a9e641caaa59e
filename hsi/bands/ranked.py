"""Selections that give every band a mark and keep the bands of the highest ones.

Marks take no account of one another: neighbouring bands, which say the same, have like marks and
are kept together. Where that hurts, see `hsi.bands.stepwise`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hsi.bands.training import MOST_PIXELS, Reduced, Training, convergence, drawn_note
from hsi.errors import SettingsError

TREES = 200
WEAKEST, STRONGEST = 4, -3
"""Powers of ten between which the penalty's inverse is raised until enough bands are in use."""


def kept(chosen: np.ndarray, bands: int, *notes: str) -> Reduced:
    """A selection as the affine map that it is: a row of zeros and a one for each band kept.

    Args:
        chosen: indices of bands from 0; the bands are kept in the order of the sensor.
    """
    matrix = np.zeros((len(chosen), bands))
    matrix[np.arange(len(chosen)), np.sort(chosen)] = 1
    return Reduced(np.zeros(bands), matrix, notes=notes)


def best(marks: np.ndarray, count: int) -> np.ndarray:
    """Indices of the highest marks; of equal ones the first."""
    return np.argsort(-marks, kind="stable")[:count]


def variance(training: Training, count: int, seed: int) -> Reduced:
    """The bands that vary most, in counts of the sensor: scaled ones all vary alike."""
    marks = training.scaled.var(axis=0) * training.scale**2
    return kept(best(marks, count), len(marks))


def mvpca(training: Training, count: int, seed: int) -> Reduced:
    """The bands that weigh most in the first principal components (MVPCA).

    With as many components as bands are wanted, of eigenvalues l_k and eigenvectors v_k of the
    scaled bands' covariance, band b has the mark sum over k of l_k v_kb^2: its variance, as far as
    these components hold it.

    Source: Chang, Du, Sun and Althouse, "A joint band prioritization and band-decorrelation
    approach to band selection", IEEE TGRS 37(6), 1999; its prioritization.
    """
    centred = training.scaled - training.scaled.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    marks = vectors[:, -count:] ** 2 @ values[-count:]
    return kept(best(marks, count), len(marks))


def mutual_information(training: Training, count: int, seed: int) -> Reduced:
    """The bands that say most of the class, each alone (Ross 2014, PLoS ONE 9(2)).

    Raises:
        SettingsError: less than two classes of two pixels or more. The estimate goes by neighbours
            of a pixel's own class: all bands would have no mark, and the first ones be kept.
    """
    from sklearn.feature_selection import mutual_info_classif

    some = training.drawn(MOST_PIXELS, seed)
    if np.count_nonzero(np.unique(some.classes, return_counts=True)[1] > 1) < 2:
        raise SettingsError(
            "select_mutual_information: expected two classes of two training pixels or more each "
            f"among the {len(some.scaled)} it looks at, got less; take another method."
        )
    marks = mutual_info_classif(some.scaled, some.classes, random_state=seed)
    notes = drawn_note("select_mutual_information", len(some.scaled), len(training.scaled))
    return kept(best(marks, count), len(marks), *notes)


def random_forest(training: Training, count: int, seed: int) -> Reduced:
    """The bands by which the trees of a forest divide best (Breiman 2001, Machine Learning 45)."""
    from sklearn.ensemble import RandomForestClassifier

    some = training.drawn(MOST_PIXELS, seed)
    forest = RandomForestClassifier(TREES, random_state=seed).fit(some.scaled, some.classes)
    notes = drawn_note("select_random_forest", len(some.scaled), len(training.scaled))
    return kept(best(forest.feature_importances_, count), some.scaled.shape[1], *notes)


def logistic_l1(training: Training, count: int, seed: int) -> Reduced:
    """The bands of a logistic regression with an L1 penalty (Tibshirani 1996, JRSS B 58(1)).

    Each class against all others. The penalty is the strongest, by factors of the square root of
    ten, with which enough bands are in use; of these the ones of the largest weights are kept.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    some = training.drawn(MOST_PIXELS, seed)
    notes = list(drawn_note("select_logistic_l1", len(some.scaled), len(training.scaled)))
    # scikit-learn 1.8 names the penalty anew.
    old = LogisticRegression().get_params().get("penalty") == "l2"
    penalty: dict[str, Any] = {"penalty": "l1"} if old else {"l1_ratio": 1}
    marks = np.zeros(some.scaled.shape[1])
    for power in np.arange(STRONGEST, WEAKEST + 0.1, 0.5):
        model = LogisticRegression(
            C=10.0**power, solver="liblinear", random_state=seed, max_iter=200, **penalty
        )
        with convergence("select_logistic_l1"):  # of no matter: only the order of weights is taken
            machines = OneVsRestClassifier(model).fit(some.scaled, some.classes).estimators_
        marks = np.linalg.norm([machine.coef_[0] for machine in machines], axis=0)
        if np.count_nonzero(marks) >= count:
            break
    else:
        notes.append(
            f"select_logistic_l1 uses {np.count_nonzero(marks)} bands even with hardly any "
            "penalty; the others are the first ones of no weight."
        )
    return kept(best(marks, count), len(marks), *notes)
