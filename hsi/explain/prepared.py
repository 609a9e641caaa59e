"""Explanations in the sensor's bands: the preparation of the input as a part of the network.

A network behind PCA or NMF takes components, which nobody measures. Here the way from bands to
components is put in front of it as a differentiable function, and every method then works on bands
as it works on components: gradients by the chain rule, and whatever shares the score out
(integrated gradients, occlusion, RISE) shares it out among bands.

PCA is affine. NMF's weights are c = argmin |z - c H|, c >= 0, piecewise linear in the bands z: with
P the components that are above zero, c_P = (H_P H_P')^-1 H_P z, so that a gradient g_P goes back as

    g_z = H_P' (H_P H_P')^-1 g_P

and components at zero let nothing back. Where P changes c has a kink, and the slope of one side is
taken, as with a ReLU at zero.

Source: gradients of a constrained minimum: Gould et al., "On differentiating parameterized argmin
and argmax problems with application to bi-level optimization", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from hsi.bands import Preparation
from hsi.errors import ModelError, one_of
from hsi.explain.affine import Split, behind
from hsi.explain.keras_layers import layered_of
from hsi.explain.layered import Layered, LayerInfo, Relu
from hsi.explain.score import Score, score_of
from hsi.nonnegative import non_negative_weights

SPACES = ("components", "bands", "counts")

Steps = Callable[[tf.Tensor], tf.Tensor]
"""From inputs of a space (..., bands) to those of the network (..., channels)."""

SAME_RAY = 1e-4
"""Unit vectors that agree after rounding to this are tried with one set of components."""


def through(model: Any, preparation: Preparation, *, space: str = "bands") -> Score:
    """The score as a function of what comes before the reducer, or of the sensor's raw values.

    Every call makes a new score, and what methods compile is kept in it: keep it as long as the
    model is looked at.

    Args:
        model: a `tf_keras` model, a callable to logits, or a `Score`; a black box stays one.
        preparation: of the network's input.
        space: of the inputs (n, rows, cols, bands) of the score that comes back: "bands" for
            clipped and scaled bands, "counts" for the sensor's values, with a slope of zero
            where they are clipped; "components" leaves the score as it is, and so does "bands"
            where there is no reducer.

    Raises:
        SettingsError: another space.
        ModelError: a network that takes another number of channels than the preparation gives.
    """
    one_of(space, SPACES, what="space")
    score = score_of(model)
    takes = score.input_shape[-1] if score.input_shape else None
    if takes not in (None, preparation.channels):
        raise ModelError(
            f"Expected a network that takes the {preparation.channels} channels of its "
            f"preparation, it takes {takes}; use the preparation of its own run."
        )
    if space == "components" or (space == "bands" and preparation.reducer == "none"):
        return score
    dtype = "float64" if score.dtype == "float64" else "float32"
    steps = _steps(preparation, counts=space == "counts", dtype=dtype, to=score.dtype)
    smooth = score.smooth
    affine = space == "bands" and preparation.reducer == "PCA"
    return Score(
        _network(score, steps, preparation.channels, affine=affine),
        input_shape=(*score.input_shape[:-1], preparation.bands) if score.input_shape else (),
        dtype=dtype,
        notes=score.notes,
        black_box=score.black_box,
        smooth=partial(through, smooth, preparation, space=space) if smooth else None,
        answers=lambda: through(score.answers, preparation, space=space),
    )


def origin(preparation: Preparation, *, space: str = "bands") -> np.ndarray:
    """The spectrum at which every channel of the network's input is zero, (bands,) float64.

    As a baseline it is for bands what "zero" is for components, so that both compare a sample with
    the same point: of standardised inputs the mean over the training pixels.

    Args:
        preparation: of the network's input.
        space: "bands" or "counts", as in `through`.

    Raises:
        SettingsError: another space.
    """
    one_of(space, SPACES[1:], what="space")
    spectrum = np.zeros(preparation.bands)
    if preparation.reducer != "none":
        spectrum = preparation.out_offset @ preparation.components
    if preparation.reducer == "PCA":
        spectrum = spectrum + preparation.mean
    return spectrum * preparation.scale + preparation.offset if space == "counts" else spectrum


class PreparedLayers:
    """`hsi.explain.layered.Layered` of a network with the steps of a preparation in front.

    Args:
        network: takes `channels` channels.
        steps: inputs (n, ..., bands) -> (n, ..., channels).
        channels: of the network's input.
        affine: whether the steps are.
    """

    def __init__(
        self, network: Layered, steps: Steps, channels: int, *, affine: bool = False
    ) -> None:
        self._network, self._steps, self._channels = network, steps, channels
        self._affine = affine

    @property
    def relus(self) -> int:
        return self._network.relus

    @property
    def unreplaced(self) -> Sequence[str]:
        return self._network.unreplaced

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """Logits (n, classes)."""
        return self.forward(inputs)[0]

    def describe(self, sample_shape: tuple[int, ...]) -> Sequence[LayerInfo]:
        """The network's layers for samples of (..., bands)."""
        return self._network.describe((*sample_shape[:-1], self._channels))

    def forward(
        self, inputs: tf.Tensor, names: Sequence[str] = ()
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Logits and the outputs of these layers, of one evaluation."""
        return self._network.forward(self._steps(inputs), names)

    def with_relu(self, relu: Relu) -> PreparedLayers:
        """The same with `relu` for every ReLU of the network; the steps have none."""
        network = self._network.with_relu(relu)
        return PreparedLayers(network, self._steps, self._channels, affine=self._affine)

    def affine_split(self, sample_shape: tuple[int, ...]) -> Split | None:
        """Of PCA and the first layer together; clipped counts and NMF are not affine."""
        inside = (*sample_shape[:-1], self._channels)
        return behind(self._steps, self._network, inside) if self._affine else None


def _network(score: Score, steps: Steps, channels: int, *, affine: bool) -> Callable[..., Any]:
    """What the score answers, behind the steps; with its layers where it shows them."""
    if score.black_box:
        return lambda inputs: score.logits(steps(tf.convert_to_tensor(inputs)).numpy())
    try:
        layers = layered_of(score, method="through")
    except ModelError:  # a callable: it has a gradient, but no layers
        return lambda inputs: score(steps(inputs))
    return PreparedLayers(layers, steps, channels, affine=affine)


def _steps(preparation: Preparation, *, counts: bool, dtype: str, to: str) -> Steps:
    """`hsi.bands.apply` as a differentiable function, from counts or from scaled bands.

    Args:
        dtype: of the inputs; everything is computed in it.
        to: type of what comes out.
    """
    found = [_scaling(preparation, dtype)] if counts else []
    if preparation.reducer != "none":
        reduce_bands = _principal if preparation.reducer == "PCA" else _non_negative
        found.append(reduce_bands(preparation, dtype))

    @tf.autograph.experimental.do_not_convert
    def steps(inputs: tf.Tensor) -> tf.Tensor:
        for step in found:
            inputs = step(inputs)
        return tf.cast(inputs, to)

    return steps


def _scaling(preparation: Preparation, dtype: str) -> Steps:
    low, high = (bound.astype(dtype) for bound in (preparation.low, preparation.high))
    scaled = _shifted(preparation.offset, preparation.scale, dtype)
    return lambda inputs: scaled(tf.clip_by_value(inputs, low, high))


def _shifted(offset: np.ndarray, scale: np.ndarray, dtype: str) -> Steps:
    """(x - offset) / scale; what rounding does to the offset is made good after the scaling."""
    near = offset.astype(dtype)
    factor, rest = (1 / scale).astype(dtype), ((near - offset) / scale).astype(dtype)
    return lambda inputs: (inputs - near) * factor + rest


def _principal(preparation: Preparation, dtype: str) -> Steps:
    """((x - mean) C' - out_offset) / out_scale; the mean goes first, for small numbers."""
    near = preparation.mean.astype(dtype)
    axes = preparation.components.T / preparation.out_scale
    rest = (near - preparation.mean) @ axes - preparation.out_offset / preparation.out_scale
    matrix, shift = axes.astype(dtype), rest.astype(dtype)
    return lambda inputs: tf.tensordot(inputs - near, matrix, 1) + shift


def _non_negative(preparation: Preparation, dtype: str) -> Steps:
    fit = NonNegativeFit(preparation.components)
    scaled = _shifted(preparation.out_offset, preparation.out_scale, dtype)
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
