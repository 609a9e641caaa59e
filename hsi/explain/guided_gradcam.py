"""Guided Grad-CAM: guided backpropagation where Grad-CAM looks.

    map = Grad-CAM (at the input's size) * guided backpropagation

As fine as the second and, unlike it, of the class; what is said of both holds for the product.

Source: Selvaraju et al., "Grad-CAM", 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hsi.explain import gradcam, guided_backprop
from hsi.explain.attribution import Attribution, make_attribution
from hsi.explain.score import score_of


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    layer: str | None = None,
) -> Attribution:
    """Products of Grad-CAM and guided backpropagation.

    Args:
        model: a functional or sequential `tf_keras` model, or what is `Layered`.
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains the predicted class.
        batch_size: most rows at once; see `hsi.explain.attribution.rows_at_once`.
        seed: not used, there is nothing random here; part of the common signature.
        layer: of Grad-CAM.

    Raises:
        SettingsError: no samples, or a class out of range.
        ModelError: no such layer, one without a map, or samples that do not fit.
    """
    score = score_of(model)
    where = gradcam.attribute(
        score, inputs, classes=classes, batch_size=batch_size, seed=seed, layer=layer
    )
    what = guided_backprop.attribute(
        score, inputs, classes=where.classes, batch_size=batch_size, seed=seed
    )
    notes = (note for note in (*where.notes, *what.notes) if not note.startswith("map of sample"))
    return make_attribution(
        where.maps * what.maps,
        where.classes,
        where.scores,
        method="guided_gradcam",
        notes=tuple(dict.fromkeys(notes)),
        quantity="relevance",
    )
