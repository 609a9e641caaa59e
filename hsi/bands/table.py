"""Every method of band reduction and selection by its name: the one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hsi.bands import linear, nonlinear, ranked, stepwise
from hsi.bands.training import Reduced, Training

Fit = Callable[[Training, int, int], Reduced]
"""Training pixels, how many components or bands, and a seed -> what was found."""

SELECTION = "select_"
"""How the names of selections begin."""


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        fit: on training pixels.
        text: what it is, in a line.
        kind: what it computes: "affine", an affine map of the bands, as all selections are;
            "non_negative", "kernel" or "encoder".
        supervised: whether it looks at the classes of the training pixels.
    """

    fit: Fit
    text: str
    kind: str = "affine"
    supervised: bool = False


REDUCERS: dict[str, Method] = {
    "PCA": Method(linear.pca, "principal components"),
    "incremental_pca": Method(linear.incremental_pca, "PCA of pixels in pieces"),
    "sparse_pca": Method(linear.sparse_pca, "components of few bands each"),
    "kernel_pca": Method(nonlinear.kernel_pca, "PCA behind a Gaussian kernel", "kernel"),
    "svd": Method(linear.svd, "singular vectors, not centred"),
    "ica": Method(linear.ica, "independent components"),
    "factor_analysis": Method(linear.factor_analysis, "factors behind noisy bands"),
    "NMF": Method(nonlinear.nmf, "non-negative parts", "non_negative"),
    "lda": Method(
        linear.lda, "directions that part the classes; fewer than classes", supervised=True
    ),
    "feature_agglomeration": Method(linear.feature_agglomeration, "means of alike bands"),
    "autoencoder": Method(nonlinear.autoencoder, "code of a small trained network", "encoder"),
    "select_variance": Method(ranked.variance, "bands that vary most, in counts"),
    "select_mutual_information": Method(
        ranked.mutual_information, "bands that say most of the class", supervised=True
    ),
    "select_random_forest": Method(
        ranked.random_forest, "bands that a forest divides by", supervised=True
    ),
    "select_logistic_l1": Method(
        ranked.logistic_l1, "bands of a logistic regression with an L1 penalty", supervised=True
    ),
    "select_forward": Method(
        stepwise.forward, "bands added one by one, by Wilks' lambda", supervised=True
    ),
    "select_backward": Method(
        stepwise.backward, "bands dropped one by one, by Wilks' lambda", supervised=True
    ),
    "select_mvpca": Method(ranked.mvpca, "bands that weigh most in principal components"),
    "select_orthogonal": Method(
        stepwise.orthogonal_projection, "bands that the others rebuild least"
    ),
}
"""Name, as `--band_selection` takes it -> the method."""

NONE = "none"
"""In the place of a method: all bands go in."""


def reducer_name(text: str) -> str:
    """A method's name in the spelling of the table; what is none of them comes back as it is.

    Example:
        >>> reducer_name("Kernel_PCA")
        'kernel_pca'
    """
    return {name.casefold(): name for name in (NONE, *REDUCERS)}.get(text.casefold(), text)


def is_selection(name: str) -> bool:
    """Whether it keeps bands of the sensor (a selection); else it makes components."""
    return name.startswith(SELECTION)
