"""Explanations in the sensor's bands: the preparation of the input as a part of the network.

A network behind a band reduction takes components, which nobody measures. Here the way from bands
to components is put in front of it as a differentiable function (`hsi.explain.reductions`), and
every method then works on bands as it works on components: gradients by the chain rule, and
whatever shares the score out (integrated gradients, occlusion, RISE) shares it out among bands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from hsi.bands import Preparation
from hsi.errors import ModelError, one_of
from hsi.explain.affine import Split, behind
from hsi.explain.keras_layers import layered_of
from hsi.explain.layered import Layered, LayerInfo, Relu
from hsi.explain.reductions import KINDS, Steps, shifted
from hsi.explain.score import Score, score_of

SPACES = ("components", "bands", "counts")


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
    affine = space == "bands" and preparation.kind == "affine"
    return Score(
        _network(score, steps, preparation.channels, affine=affine),
        input_shape=(*score.input_shape[:-1], preparation.bands) if score.input_shape else (),
        dtype=dtype,
        notes=score.notes,
        black_box=score.black_box,
        smooth=partial(through, smooth, preparation, space=space) if smooth else None,
        answers=lambda: through(score.answers, preparation, space=space),
    )


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

    @property
    def against_input(self) -> tuple[str, tuple[int, ...]] | None:
        return self._network.against_input

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
        """Of an affine method and the first layer together; clipped counts are not affine."""
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
        found.append(KINDS[preparation.kind](preparation, dtype))

    @tf.autograph.experimental.do_not_convert
    def steps(inputs: tf.Tensor) -> tf.Tensor:
        for step in found:
            inputs = step(inputs)
        return tf.cast(inputs, to)

    return steps


def _scaling(preparation: Preparation, dtype: str) -> Steps:
    low, high = (bound.astype(dtype) for bound in (preparation.low, preparation.high))
    scaled = shifted(preparation.offset, preparation.scale, dtype)
    return lambda inputs: scaled(tf.clip_by_value(inputs, low, high))
