"""VarGrad: the variance of gradients over noisy copies.

    map(x) = 1/S * sum over s of  (g_s - mean g)^2
    g_s = d logit_c / d x  at  x + noise * range * e_s,   e_s ~ N(0, 1)

Where the network's answer to a value changes near the sample; zero where the network is linear,
however large the gradient is there. The draws are those of `hsi.explain.smoothgrad`.

Source: Adebayo, Gilmer, Goodfellow, Kim, "Local Explanation Methods for Deep Neural Networks Lack
Sensitivity to Parameter Values", 2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hsi.explain.attribution import Attribution, make_attribution
from hsi.explain.moments import gradient_moments


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    samples: int = 50,
    noise: float = 0.15,
    ranges: np.ndarray | None = None,
) -> Attribution:
    """Variances of gradients over noisy copies of each sample.

    Args:
        model: a `tf_keras` model, or a differentiable callable to logits (n, k).
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains the class that is
            predicted without noise.
        batch_size: most rows (noisy copies) at once; see `hsi.explain.attribution.rows_at_once`.
        seed: of the noise.
        samples: noisy copies of each sample.
        noise: standard deviation of the noise as a share of the range.
        ranges: (channels,) range of each channel, as of `hsi.explain.smoothgrad.attribute`.

    Raises:
        SettingsError: no samples, a class out of range, fewer than one copy, negative noise, or
            ranges that are not one per channel.
        ModelError: samples that do not fit the network.
    """
    found = gradient_moments(
        model,
        inputs,
        classes=classes,
        batch_size=batch_size,
        seed=seed,
        samples=samples,
        noise=noise,
        ranges=ranges,
    )
    return make_attribution(
        found.variance,
        found.classes,
        found.scores,
        method="vargrad",
        notes=found.notes,
        quantity="squared gradient",
    )
