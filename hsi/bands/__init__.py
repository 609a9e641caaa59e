"""Bands to channels: clipping, scaling and band reduction, fitted on training pixels only.

    preparation  the fitted path: clip, scale, reduce, scale; `fit` and `apply`
    scaling      bounds, offsets and scales of bands and of components
    table        every method by its name
    linear       PCA and its kin, ICA, factor analysis, LDA, means of alike bands
    nonlinear    NMF, kernel PCA, the autoencoder
    ranked       selections that give every band a mark and keep the best
    stepwise     selections that add or drop one band after another
    training     what a method is given and what it gives back
    words        what a run says of its bands
    files        `.npz`, without pickle

A *reduction* makes components, of all bands each; a *selection* keeps bands of the sensor, whose
wavelengths stay known. What is fitted is a handful of arrays. They are stored beside the model and
applied the same way by every later command, so that the axes of a method never change.
"""

from hsi.bands.files import load, save
from hsi.bands.preparation import Preparation, apply, count_clipped, fit, row_chunks
from hsi.bands.scaling import SCALINGS
from hsi.bands.table import REDUCERS, is_selection, reducer_name
from hsi.bands.words import describe, facts

__all__ = [
    "REDUCERS",
    "SCALINGS",
    "Preparation",
    "apply",
    "count_clipped",
    "describe",
    "facts",
    "fit",
    "is_selection",
    "load",
    "reducer_name",
    "row_chunks",
    "save",
]
