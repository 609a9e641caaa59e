"""Grad-CAM++: Grad-CAM whose weights look at each position of a feature map.

    map = max(0, sum over k of w_k A_k),   w_k = sum over positions of  a * max(0, g)
    a = g^2 / (2 g^2 + g^3 * sum over positions of A_k),   g = d logit_c / d A_k

Several separate occurrences of a class count each, where Grad-CAM's mean favours the largest. The
paper's common factor exp(logit) only scales a map, and overflows: it is left out.

Source: Chattopadhay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++", 2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from hsi.explain.attribution import Attribution
from hsi.explain.cam import class_activation_map, places


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    layer: str | None = None,
    positive: bool = True,
) -> Attribution:
    """Grad-CAM++ of the logits of `classes`; arguments and errors as of `hsi.explain.gradcam`."""
    return class_activation_map(
        model,
        inputs,
        _weights,
        classes=classes,
        batch_size=batch_size,
        layer=layer,
        positive=positive,
        method="gradcam_plus_plus",
    )


def _weights(features: tf.Tensor, slopes: tf.Tensor) -> tf.Tensor:
    axes = places(features)
    total = tf.reduce_sum(features, axis=axes, keepdims=True)
    # Numerator and denominator share g^2; without it nothing underflows.
    share = tf.math.divide_no_nan(tf.ones_like(slopes), 2 + slopes * total)
    return tf.reduce_sum(tf.where(slopes > 0, share * slopes, tf.zeros_like(slopes)), axis=axes)
