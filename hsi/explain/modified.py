"""Gradients with another rule for ReLUs, which guided backpropagation and deconvnet share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.explain.attribution import Attribution, in_batches, make_attribution
from hsi.explain.gradient import gradient_step
from hsi.explain.keras_layers import layered_of
from hsi.explain.layered import Layered, Relu
from hsi.explain.score import Score, as_classes, check_classes, score_of


@tf.custom_gradient
def guided_relu(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """max(x, 0) that lets back what is positive, where x is (Springenberg 2015)."""
    y = tf.nn.relu(x)

    def backward(upstream: tf.Tensor) -> tf.Tensor:
        return tf.where(y > 0, tf.nn.relu(upstream), tf.zeros_like(upstream))

    return y, backward


@tf.custom_gradient
def deconvnet_relu(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """max(x, 0) that lets back what is positive, wherever x is (Zeiler and Fergus 2014)."""
    return tf.nn.relu(x), tf.nn.relu


def modified_gradient(
    model: Any,
    inputs: np.ndarray,
    relu: Relu,
    *,
    classes: int | np.ndarray | None,
    batch_size: int | None,
    method: str,
) -> Attribution:
    """The gradient of the logit with `relu` in the place of every ReLU.

    Raises:
        ModelError: a network that does not show its layers, or samples that do not fit.
        SettingsError: no samples, or a class out of range.
    """
    score = score_of(model)
    inputs = score.prepare(inputs)
    wanted = as_classes(classes, len(inputs))
    view, notes = replaced(score, relu, method=method)
    step = score.compiled(method, lambda _: gradient_step(lambda x: view.forward(x)[0]))
    maps, logits, explained = in_batches(step, inputs, wanted, batch_size=batch_size)
    check_classes(wanted, logits.shape[1])
    scores = np.take_along_axis(logits, explained[:, None], axis=1)[:, 0]
    return make_attribution(maps, explained, scores, method=method, notes=(*score.notes, *notes))


def replaced(score: Score, relu: Relu, *, method: str) -> tuple[Layered, list[str]]:
    """The network with `relu` for its ReLUs, and what must be said of that."""
    network = layered_of(score, method=method)
    notes = [
        f"{network.relus} ReLU{'s' if network.relus > 1 else ''} replaced"
        if network.relus
        else "no ReLU was found to be replaced: this is the plain gradient"
    ]
    if network.unreplaced:
        notes.append(
            f"the ReLU inside of {', '.join(network.unreplaced)} could not be replaced and keeps "
            "its plain gradient"
        )
    return network.with_relu(relu), notes
