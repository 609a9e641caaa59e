"""Spectral occlusion: how much the score falls when a window of channels is covered.

`hsi.explain.occlusion` with a window over every pixel and a few neighbouring channels: which part
of the spectrum the decision hangs on. Neighbouring bands tell nearly the same, so covering one
alone moves little; the window should be as wide as they are alike.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hsi.explain import occlusion
from hsi.explain.attribution import Attribution
from hsi.explain.baselines import Baseline


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    channels: int | None = None,
    channel_stride: int | None = None,
    baseline: Baseline = "zero",
) -> Attribution:
    """Falls of the logit under windows of channels; the same at all pixels.

    Args:
        model: a `tf_keras` model, a callable to logits (n, k), or a `Score` around a black box.
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains the predicted class.
        batch_size: most rows (covered copies) at once; see `hsi.explain.attribution.rows_at_once`.
        seed: not used, there is nothing random here; part of the common signature.
        channels: that a window covers; None takes a twentieth of them, at least one.
        channel_stride: channels from one window to the next; None takes half the window.
        baseline: see `hsi.explain.baselines.baseline_of`.

    Raises:
        SettingsError: no samples, a class out of range, or a window that does not fit.
        ModelError: samples that do not fit the network, or do not have their channels last.
    """
    found = occlusion.attribute(
        model,
        inputs,
        classes=classes,
        batch_size=batch_size,
        seed=seed,
        size=0,
        channels=max(1, np.shape(inputs)[-1] // 20) if channels is None else channels,
        channel_stride=channel_stride,
        baseline=baseline,
    )
    return replace(found, method="spectral_occlusion", per="channel")
