"""Gradient of the class score with respect to the input.

    map(x) = d logit_c(x) / d x

Signed: positive where a larger input value raises the score. Cheap, and exact for the network at
this very input, but noisy from one input to its neighbour; SmoothGrad averages that away.

Source: Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", 2014.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.explain.attribution import Attribution, in_batches, make_attribution
from hsi.explain.score import PREDICTED, as_classes, check_classes, score_of


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Attribution:
    """Signed gradients of the logits of `classes`, one map a sample.

    Args:
        model: a `tf_keras` model, or a differentiable callable to logits (n, k).
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains the predicted class.
        batch_size: most rows at once; see `hsi.explain.attribution.rows_at_once`.
        seed: not used, there is nothing random here; part of the common signature.

    Raises:
        SettingsError: no samples, or a class out of range.
        ModelError: samples that do not fit the network.
    """
    score = score_of(model)
    inputs = score.prepare(inputs)
    wanted = as_classes(classes, len(inputs))
    step = score.compiled("gradient", gradient_step)
    maps, logits, explained = in_batches(step, inputs, wanted, batch_size=batch_size)
    check_classes(wanted, logits.shape[1])
    scores = np.take_along_axis(logits, explained[:, None], axis=1)[:, 0]
    return make_attribution(maps, explained, scores, method="gradient", notes=score.notes)


def gradient_step(
    score: Callable[[tf.Tensor], tf.Tensor],
) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Forward, choice of class and backward in one pass, to be compiled.

    Args:
        score: maps a tensor (n, ...) to logits (n, classes).

    Returns:
        A function of samples (n, ...) and class indices (n,), `PREDICTED` for the predicted one,
        that gives maps, logits (n, classes) and the classes explained (n,).
    """

    def step(inputs: tf.Tensor, wanted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            logits = score(inputs)
            explained = tf.where(
                wanted == PREDICTED, tf.argmax(logits, axis=1, output_type=tf.int32), wanted
            )
            # Not a gather: the gradient of a product holds for an index out of range too, which
            # is reported after the pass.
            picked = tf.reduce_sum(
                logits * tf.one_hot(explained, tf.shape(logits)[1], dtype=logits.dtype)
            )
        maps = tape.gradient(picked, inputs, unconnected_gradients="zero")
        return maps, logits, explained

    return step
