"""A variant as it is explained: its score over the bands of the sensor, and samples in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from hsi import bands
from hsi.deploy.variant import Variant
from hsi.parts import AnySamples, Source
from hsi.patches import Patches
from hsi.samples import Samples


@dataclass(frozen=True, eq=False)
class Explained:
    """A network as it is explained, and the samples in the units that it explains.

    Attributes:
        name: what it is called.
        score: what `hsi.explain.attribute` takes, over `inputs`.
        inputs: (n, rows, cols, channels); of a scene with PCA or NMF in bands, not components.
        network: the Keras model, whose weights can be drawn anew; None for a `.tflite`.
        behind: a network like that one -> its score over `inputs`; None where it takes them as
            they are.
    """

    name: str
    score: Any
    inputs: np.ndarray
    network: Any = None
    behind: Callable[[Any], Any] | None = None


def explained(variant: Variant, inputs: np.ndarray, *, name: str = "") -> Explained:
    """A variant over what it takes itself: (n, rows, cols, channels) samples."""
    return Explained(name or variant.path.name, variant.score, inputs, variant.network)


def explained_samples(
    variant: Variant,
    source: Source,
    keys: np.ndarray,
    *,
    samples: AnySamples | None = None,
    name: str = "",
    space: str = "bands",
) -> Explained:
    """A variant over the bands of the sensor, whatever its preparation made of them.

    Args:
        variant: made for these samples.
        source: makes its own input of keys.
        keys: (n,) of samples: flat pixel numbers, or numbers of images.
        samples: of its run; None, or images, are explained as the variant takes them.
        name: of the variant; "" takes its file's.
        space: of a scene: "bands" (scaled as the network's run scales them), "counts" (as the
            sensor gives them: to compare runs of different scaling) or "components".

    Raises:
        SettingsError: another space.
        ModelError: a network that takes other channels than the preparation gives.
    """
    from hsi.explain.prepared import through

    if not isinstance(samples, Samples):
        return explained(variant, source.gather(keys), name=name)
    fitted = samples.preparation
    behind = partial(through, preparation=fitted, space=space)
    score, size = behind(variant.score), samples.patches.patch_size
    if space == "counts":
        source = Patches(np.asarray(samples.scene.cube), size)
    elif space == "bands" and fitted.reducer != "none":
        source = Patches(bands.apply(replace(fitted, reducer="none"), samples.scene.cube), size)
    name = name or variant.path.name
    return Explained(name, score, source.gather(keys), variant.network, behind)
