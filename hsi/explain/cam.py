"""Class activation maps: feature maps of a layer, weighed by what the class makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.explain.attribution import Attribution, in_batches, make_attribution
from hsi.explain.keras_layers import check_places, layered_of
from hsi.explain.layered import Layered, map_layer
from hsi.explain.resize import to_input
from hsi.explain.score import PREDICTED, as_classes, check_classes, score_of

Weigh = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Feature maps (n, ..., channels) and gradients of the logit there -> weights (n, channels)."""


def class_activation_map(
    model: Any,
    inputs: np.ndarray,
    weigh: Weigh,
    *,
    classes: int | np.ndarray | None,
    batch_size: int | None,
    layer: str | None,
    positive: bool,
    method: str,
) -> Attribution:
    """sum over channels of weight * feature map, brought to the size of the input.

    Raises:
        ModelError: no such layer, one without a map, or a network that shows no layers or whose
            samples do not have their channels last.
        SettingsError: no samples, or a class out of range.
    """
    score = score_of(model)
    inputs = score.prepare(inputs)
    wanted = as_classes(classes, len(inputs))
    network = layered_of(score, method=method)
    check_places(score)
    chosen, notes = map_layer(network.describe(inputs.shape[1:]), layer)
    step = score.compiled(
        f"{method} of {chosen.name}", lambda _: _cam_step(network, chosen.name, weigh)
    )
    maps, logits, explained = in_batches(step, inputs, wanted, batch_size=batch_size)
    check_classes(wanted, logits.shape[1])
    if positive:
        maps = np.maximum(maps, 0)
    wide, per = to_input(maps, inputs.shape[1:])
    return make_attribution(
        wide,
        explained,
        np.take_along_axis(logits, explained[:, None], axis=1)[:, 0],
        method=method,
        notes=(*score.notes, *notes),
        quantity="relevance",
        per=per,
    )


def _cam_step(
    network: Layered, layer: str, weigh: Weigh
) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    def step(inputs: tf.Tensor, wanted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            logits, (features,) = network.forward(inputs, [layer])
            explained = tf.where(
                wanted == PREDICTED, tf.argmax(logits, axis=1, output_type=tf.int32), wanted
            )
            picked = tf.reduce_sum(
                logits * tf.one_hot(explained, tf.shape(logits)[1], dtype=logits.dtype)
            )
        slopes = tape.gradient(picked, features, unconnected_gradients="zero")
        weights = weigh(features, slopes)
        return tf.einsum("n...c,nc->n...", features, weights), logits, explained

    return step


def places(features: tf.Tensor) -> list[int]:
    """The axes of a feature map that are neither samples nor channels."""
    return list(range(1, features.shape.rank - 1))
