"""Deconvnet: the way back through the network with ReLUs applied to what goes back.

At each ReLU the gradient R that comes from above goes on as

    R * [R > 0]

whatever the unit's own activation is; poolings hand it to the place of their maximum, as the
gradient does. Nearly blind to the class that is explained; shown for comparison.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hsi.explain.attribution import Attribution
from hsi.explain.modified import deconvnet_relu, modified_gradient


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Attribution:
    """Deconvolved logits of `classes`; the notes say how many ReLUs were replaced.

    Args:
        model: a functional or sequential `tf_keras` model, or what is `Layered`.
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains the predicted class.
        batch_size: most rows at once; see `hsi.explain.attribution.rows_at_once`.
        seed: not used, there is nothing random here; part of the common signature.

    Raises:
        SettingsError: no samples, or a class out of range.
        ModelError: a network that does not show its layers, or samples that do not fit it.
    """
    return modified_gradient(
        model,
        inputs,
        deconvnet_relu,
        classes=classes,
        batch_size=batch_size,
        method="deconvnet",
    )
