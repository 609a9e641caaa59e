"""Reductions that are one affine map of the bands: c = A (z - m).

Each function takes the training pixels, how many components are wanted and a seed, fits with
scikit-learn and keeps its map as two arrays, A (components, bands) and m (bands,).
"""

from __future__ import annotations

import numpy as np

from hsi.bands.training import MOST_PIXELS, Reduced, Training, convergence, drawn_note
from hsi.errors import SettingsError

SPARSE_PIXELS = 1000
"""The sparse codes of SparsePCA grow with the pixels times the bands times the components."""
SPARSE_ITERATIONS = 1000
ICA_ITERATIONS = 500
FACTOR_ITERATIONS = 1000


def pca(training: Training, count: int, seed: int) -> Reduced:
    """Directions of the greatest variance (Pearson 1901)."""
    from sklearn.decomposition import PCA

    model = PCA(count, svd_solver="full").fit(training.scaled)
    return Reduced(model.mean_, model.components_, quality=model.explained_variance_ratio_)


def incremental_pca(training: Training, count: int, seed: int) -> Reduced:
    """PCA that takes the pixels in pieces (Ross et al. 2008, IJCV 77)."""
    from sklearn.decomposition import IncrementalPCA

    model = IncrementalPCA(count).fit(training.scaled)
    return Reduced(model.mean_, model.components_)


def svd(training: Training, count: int, seed: int) -> Reduced:
    """Truncated singular value decomposition, not centred (Halko et al. 2011, SIAM Review 53(2)).

    On standardised bands, whose means are zero, it is PCA but for signs.
    """
    from sklearn.decomposition import TruncatedSVD

    model = TruncatedSVD(count, n_iter=10, random_state=seed).fit(training.scaled)
    return Reduced(np.zeros(training.scaled.shape[1]), model.components_)


def sparse_pca(training: Training, count: int, seed: int) -> Reduced:
    """Components of few bands each (Zou, Hastie and Tibshirani 2006, JCGS 15(2)).

    A pixel's weights are the ridge regression on the components, which is linear in the pixel.
    """
    from sklearn.decomposition import MiniBatchSparsePCA

    some = training.drawn(SPARSE_PIXELS, seed)
    with convergence("sparse_pca") as notes:
        model = MiniBatchSparsePCA(count, max_iter=SPARSE_ITERATIONS, random_state=seed).fit(
            some.scaled
        )
    axes = model.components_
    matrix = np.linalg.solve(axes @ axes.T + model.ridge_alpha * np.eye(count), axes)
    notes += drawn_note("sparse_pca", len(some.scaled), len(training.scaled))
    return Reduced(model.mean_, matrix, notes=tuple(notes))


def ica(training: Training, count: int, seed: int) -> Reduced:
    """Independent components by FastICA (Hyvärinen and Oja 2000, Neural Networks 13).

    Raises:
        SettingsError: more components than dimensions that the training pixels vary in. Whitening
            would divide by rounding errors, and other pixels would get values of 1e15.
    """
    from sklearn.decomposition import FastICA

    scaled = training.scaled
    pixels, bands = scaled.shape
    rounding = np.linalg.norm(scaled) * max(scaled.shape) * np.finfo(float).eps
    rank = int(np.linalg.matrix_rank(scaled - scaled.mean(axis=0), tol=rounding))
    if count > rank:
        raise SettingsError(
            f"components: expected at most {rank} for ica (the dimensions in which the {pixels} "
            f"training pixels of {bands} bands vary), got {count}."
        )
    with convergence("ica") as notes:
        model = FastICA(
            count, whiten="unit-variance", max_iter=ICA_ITERATIONS, random_state=seed
        ).fit(scaled)
    return Reduced(model.mean_, model.components_, notes=tuple(notes))


def factor_analysis(training: Training, count: int, seed: int) -> Reduced:
    """Expected factors behind bands with noise of their own each (Barber 2012, section 21.2)."""
    from sklearn.decomposition import FactorAnalysis

    with convergence("factor_analysis") as notes:
        model = FactorAnalysis(count, max_iter=FACTOR_ITERATIONS, random_state=seed).fit(
            training.scaled
        )
    weighted = model.components_ / model.noise_variance_
    matrix = np.linalg.solve(np.eye(count) + weighted @ model.components_.T, weighted)
    return Reduced(model.mean_, matrix, notes=tuple(notes))


def lda(training: Training, count: int, seed: int) -> Reduced:
    """Directions that part the classes best (Fisher 1936), at most one less than classes.

    With the shrunk covariance of Ledoit and Wolf (2004): neighbouring bands are nearly one, and
    training pixels few.

    Raises:
        SettingsError: as many components as classes, or more.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    classes = len(np.unique(training.classes))
    if count >= classes:
        raise SettingsError(
            f"components: expected at most {classes - 1} for lda (one less than the {classes} "
            f"classes of the training pixels), got {count}."
        )
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto", n_components=count)
    with convergence("lda"):
        model.fit(training.scaled, training.classes)
    return Reduced(np.zeros(training.scaled.shape[1]), model.scalings_[:, :count].T)


def feature_agglomeration(training: Training, count: int, seed: int) -> Reduced:
    """Means of bands that are alike, grouped by Ward's method (1963, JASA 58)."""
    from sklearn.cluster import FeatureAgglomeration

    some = training.drawn(MOST_PIXELS, seed)
    groups = FeatureAgglomeration(n_clusters=count).fit(some.scaled).labels_
    # In the order of their first bands; scikit-learn's order follows the tree.
    _, first = np.unique(groups, return_index=True)
    members = groups == groups[np.sort(first)][:, None]
    matrix = members / members.sum(axis=1, keepdims=True)
    notes = drawn_note("feature_agglomeration", len(some.scaled), len(training.scaled))
    return Reduced(np.zeros(len(groups)), matrix, notes=notes)
