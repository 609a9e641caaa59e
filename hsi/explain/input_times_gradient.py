"""Input times gradient: what each input value contributes to the score, to first order.

    map(x) = x * d logit_c(x) / d x

In units of the logit, with zero as the point of comparison (for standardised inputs: the mean of
the training pixels). Of a network of ReLUs without biases it sums to the logit; otherwise
integrated gradients say the same with a completeness that can be checked.

Source: Shrikumar, Greenside, Shcherbina, Kundaje, "Not Just a Black Box", 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hsi.explain import gradient
from hsi.explain.attribution import Attribution, make_attribution
from hsi.explain.score import score_of


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Attribution:
    """Products of input and gradient, in units of the logit.

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
    found = gradient.attribute(score, inputs, classes=classes, batch_size=batch_size, seed=seed)
    return make_attribution(
        inputs * found.maps,
        found.classes,
        found.scores,
        method="input_times_gradient",
        notes=score.notes,
        quantity="contribution",
    )
