"""Reductions of bands as differentiable functions: scaled bands (..., bands) -> (..., channels).

What is affine goes back exactly, selections of bands among it: a band that is not kept gets slopes
of zero. Kernel PCA and the code of an autoencoder are affine maps of smooth features, which
TensorFlow differentiates. NMF's weights are c = argmin |z - c H|, c >= 0, piecewise linear in the
bands z: with P the components that are above zero, c_P = (H_P H_P')^-1 H_P z, so that a gradient
g_P goes back as

    g_z = H_P' (H_P H_P')^-1 g_P

and components at zero let nothing back. Where P changes c has a kink, and the slope of one side is
taken, as with a ReLU at zero.

Source: gradients of a constrained minimum: Gould et al., "On differentiating parameterized argmin
and argmax problems with application to bi-level optimization", 2016.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from hsi.bands import Preparation
from hsi.nonnegative import non_negative_weights

Steps = Callable[[tf.Tensor], tf.Tensor]
"""From inputs of a space (..., bands) to those of the network (..., channels)."""

SAME_RAY = 1e-4
"""Unit vectors that agree after rounding to this are tried with one set of components."""


def shifted(offset: np.ndarray, scale: np.ndarray, dtype: str) -> Steps:
    """(x - offset) / scale; what rounding does to the offset is made good after the scaling."""
    near = offset.astype(dtype)
    factor, rest = (1 / scale).astype(dtype), ((near - offset) / scale).astype(dtype)
    return lambda inputs: (inputs - near) * factor + rest


def affine(preparation: Preparation, dtype: str) -> Steps:
    """((x - mean) C' - out_offset) / out_scale; the mean goes first, for small numbers."""
    near = preparation.mean.astype(dtype)
    axes = preparation.components.T / preparation.out_scale
    rest = (near - preparation.mean) @ axes - preparation.out_offset / preparation.out_scale
    matrix, shift = axes.astype(dtype), rest.astype(dtype)
    return lambda inputs: tf.tensordot(inputs - near, matrix, 1) + shift


def kernel(preparation: Preparation, dtype: str) -> Steps:
    """Nearness to the landmarks, then the affine map; in double precision, as it cancels."""
    centre = preparation.inner.mean(axis=0)
    landmarks, gamma = preparation.inner - centre, float(preparation.inner_bias[0])
    lengths = (landmarks**2).sum(axis=1)
    rest = affine(preparation, "float64")

    def step(inputs: tf.Tensor) -> tf.Tensor:
        spectra = tf.cast(inputs, "float64") - centre
        products = 2 * tf.tensordot(spectra, landmarks.T, 1)
        apart = tf.reduce_sum(spectra**2, axis=-1, keepdims=True) - products + lengths
        return tf.cast(rest(tf.exp(-gamma * apart)), dtype)

    return step


def encoder(preparation: Preparation, dtype: str) -> Steps:
    """The hidden layer, then the affine map; in double precision, for offsets of large counts."""
    rest = affine(preparation, "float64")

    def step(inputs: tf.Tensor) -> tf.Tensor:
        spectra = tf.cast(inputs, "float64")
        hidden = tf.tanh(tf.tensordot(spectra, preparation.inner.T, 1) + preparation.inner_bias)
        return tf.cast(rest(hidden), dtype)

    return step


def non_negative(preparation: Preparation, dtype: str) -> Steps:
    """The weights that rebuild a pixel best, with their slopes."""
    fit = NonNegativeFit(preparation.components)
    scaled = shifted(preparation.out_offset, preparation.out_scale, dtype)
    channels = preparation.channels

    @tf.custom_gradient
    def weights_of(pixels: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        weights, positive = tf.numpy_function(
            fit.forward, [pixels], [pixels.dtype, tf.bool], stateful=False
        )
        weights.set_shape((pixels.shape[0], channels))

        def backward(upstream: tf.Tensor) -> tf.Tensor:
            slopes = tf.numpy_function(
                fit.backward, [upstream, positive], upstream.dtype, stateful=False
            )
            slopes.set_shape(pixels.shape)
            return slopes

        return weights, backward

    def step(inputs: tf.Tensor) -> tf.Tensor:
        weights = weights_of(tf.reshape(inputs, [-1, preparation.bands]))
        found = tf.reshape(weights, tf.concat([tf.shape(inputs)[:-1], [channels]], 0))
        found.set_shape((*inputs.shape[:-1], channels))  # a dense layer must know its inputs
        return scaled(found)

    return step


class NonNegativeFit:
    """The weights of pixels over non-negative axes, and the way back through them.

    Args:
        axes: (components, bands), the H of a factorisation.
    """

    def __init__(self, axes: np.ndarray) -> None:
        self._axes = np.asarray(axes, np.float64)
        gram = self._axes @ self._axes.T
        # As in `non_negative_weights`, so that the slopes are those of its answers.
        gram[np.diag_indices_from(gram)] += 1e-10 * np.trace(gram) / len(gram)
        self._gram = gram

    def forward(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, bands) -> weights (n, components) in the same type, and where they are above zero.

        c(t z) = t c(z) for t > 0, so pixels on one ray from zero (copies, the points of a path from
        zero, faded pixels) have one set of components above zero. It is found for one of them and
        tried with the others; where it is wrong, by the conditions of a minimum, they are solved
        on their own, so the answer is as exact as without.
        """
        spectra = np.asarray(pixels, np.float64)
        first, group = _rays(spectra)
        weights = non_negative_weights(spectra[first], self._axes)[0][group]
        others = np.delete(np.arange(len(spectra)), first)
        if len(others):
            found, right = self._on_sets(spectra[others] @ self._axes.T, weights[others] > 0)
            weights[others] = found
            wrong = others[~right]
            weights[wrong] = non_negative_weights(spectra[wrong], self._axes)[0]
        return weights.astype(pixels.dtype), weights > 0

    def backward(self, upstream: np.ndarray, positive: np.ndarray) -> np.ndarray:
        """Slopes (n, components) of the weights -> slopes (n, bands) of the pixels."""
        return (self._solve(upstream, positive) @ self._axes).astype(upstream.dtype)

    def _on_sets(self, targets: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights on given sets, and which of the pixels have their minimum there."""
        weights = self._solve(targets, positive)
        slack = np.where(positive, 0, weights @ self._gram - targets)
        least = -1e-12 * np.abs(targets).max(axis=1)
        return weights, (weights.min(axis=1) >= 0) & (slack.min(axis=1) >= least)

    def _solve(self, right: np.ndarray, positive: np.ndarray) -> np.ndarray:
        """(H_P H_P')^-1 right_P for the set P of each row, zero elsewhere; float64.

        Rows of one set share its factorisation, and one set at a time is in memory.
        """
        solution = np.zeros(right.shape)
        group = _same_rows(np.packbits(positive, axis=1))[1]
        order = np.argsort(group, kind="stable")
        with threadpool_limits(1):  # many small systems: BLAS threads would only wait
            for rows in np.split(order, np.cumsum(np.bincount(group))[:-1]):
                members = np.flatnonzero(positive[rows[0]])
                if len(members):
                    factor = cho_factor(self._gram[np.ix_(members, members)], check_finite=False)
                    block = np.ix_(rows, members)
                    wanted = np.asarray(right[block], np.float64).T
                    solution[block] = cho_solve(factor, wanted, check_finite=False).T
        return solution


def _rays(spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First row of each direction, and the number of its direction for each row."""
    length = np.linalg.norm(spectra, axis=1, keepdims=True)
    unit = np.divide(spectra, length, out=np.zeros_like(spectra), where=length > 0)
    return _same_rows(np.rint(unit / SAME_RAY).astype(np.int16))


def _same_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First of each distinct row (d,), and for every row (n,) which of these it is."""
    _, first, group = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first, group.reshape(-1)


KINDS: dict[str, Callable[[Preparation, str], Steps]] = {
    "affine": affine,
    "non_negative": non_negative,
    "kernel": kernel,
    "encoder": encoder,
}
"""By the kind of a method, `hsi.bands.table.Method.kind`."""
