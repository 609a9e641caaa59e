"""A start from principal components for a 1x1 convolution over the bands.

A network that begins with random mixtures of 200 bands must first find out which matter; one that
begins with the whitened PCA of its training spectra has nearly all that differs between them in a
few maps from the first step on, and training moves the axes from there. Source: Pearson 1901.
"""

from __future__ import annotations

import numpy as np
import tf_keras as keras

COMPONENTS = "components"
"""Name of the layer: a 1x1 convolution without bias and activation, first in its network."""


def whitening(spectra: np.ndarray, count: int) -> np.ndarray:
    """The map to the largest principal components, each divided by its standard deviation.

    Args:
        spectra: (n, bands), n > 0.
        count: components wanted; there are at most as many as the spectra have dimensions.

    Returns:
        (bands, components) float64, W: the covariance of `spectra @ W` is the identity. The
        largest weight of each component is positive, so that the same spectra give the same map.
    """
    centred = np.asarray(spectra, np.float64)
    centred = centred - centred.mean(axis=0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    rounding = lengths[0] * max(centred.shape) * np.finfo(np.float64).eps
    kept = min(count, int(np.sum(lengths > rounding)))
    axes, deviations = axes[:kept], lengths[:kept] / np.sqrt(len(centred))
    largest = axes[np.arange(kept), np.abs(axes).argmax(axis=1)]
    return (axes * (np.sign(largest) / deviations)[:, None]).T


def begin_with_components(model: keras.Model, spectra: np.ndarray) -> int:
    """Put the whitened PCA of spectra into the layer `components` of a network, in place.

    Maps beyond the dimensions of the spectra keep the weights that they have.

    Args:
        model: may have no such layer; it then stays as it is.
        spectra: (n, bands) of training samples, prepared as the network's input is.

    Returns:
        How many maps are now components.
    """
    layer = next((layer for layer in model.layers if layer.name == COMPONENTS), None)
    if layer is None:
        return 0
    (kernel,) = layer.get_weights()
    axes = whitening(spectra, kernel.shape[-1])
    kernel[0, 0, :, : axes.shape[1]] = axes
    layer.set_weights([kernel])
    return axes.shape[1]
