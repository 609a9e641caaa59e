"""Grad-CAM: feature maps of a convolution, each weighed by its mean gradient.

    map = max(0, sum over k of a_k A_k),   a_k = mean over positions of  d logit_c / d A_k

brought to the size of the input by linear interpolation. A map says where, not which band: it is
the same in all channels (for 3-D convolutions it follows the bands too). A layer whose map is 1 x 1
tells no places apart, which the notes then say.

Source: Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM", 2017.
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
    """Grad-CAM of the logits of `classes`.

    Args:
        model: a functional or sequential `tf_keras` model, or what is `Layered`.
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains the predicted class.
        batch_size: most rows at once; see `hsi.explain.attribution.rows_at_once`.
        seed: not used, there is nothing random here; part of the common signature.
        layer: whose feature maps are weighed; None takes the last convolution with a map larger
            than 1 x 1, after its batch norm and activation.
        positive: cut off what speaks against the class, as the paper does.

    Raises:
        SettingsError: no samples, or a class out of range.
        ModelError: no such layer, one without a map, or samples that do not fit.
    """
    return class_activation_map(
        model,
        inputs,
        _mean_slope,
        classes=classes,
        batch_size=batch_size,
        layer=layer,
        positive=positive,
        method="gradcam",
    )


def _mean_slope(features: tf.Tensor, slopes: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(slopes, axis=places(features))
