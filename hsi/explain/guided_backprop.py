"""Guided backpropagation: the gradient, but only what is positive on every way back.

At each ReLU the gradient R that comes from above goes on as

    R * [R > 0] * [x > 0]

Sharp pictures of what excites the units in between; but they hardly notice randomised weights
(Adebayo 2018), so a damaged network can look unharmed: always show a randomisation check beside it.
Leaky, exponential and smooth activations have no such rule and keep their own gradient.

Source: Springenberg, Dosovitskiy, Brox, Riedmiller, "Striving for Simplicity", 2015.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hsi.explain.attribution import Attribution
from hsi.explain.modified import guided_relu, modified_gradient


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Attribution:
    """Guided gradients of the logits of `classes`; the notes say how many ReLUs were replaced.

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
        guided_relu,
        classes=classes,
        batch_size=batch_size,
        method="guided_backprop",
    )
