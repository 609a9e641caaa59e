"""A variant as it is explained: its score over the bands of the sensor, and samples in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

from hsi import bands
from hsi.bands.preparation import Preparation
from hsi.deploy.variant import Variant
from hsi.parts import AnySamples, Source
from hsi.patches import Patches
from hsi.predict import batches
from hsi.samples import Samples

SAME_SCALE = 0.05
"""How far offsets and scales of one scaling may lie apart, as a share of the scale: a network
trained on another split has fitted its own."""

ZERO_OF_BANDS = "nothing there is where scaled bands are zero"
"""What a reader of maps in counts must know."""


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
        nothing: (channels,) what stands for "nothing there", where that is not zero.
        ranges: gives (channels,) the range of each channel in training; None where none is known.
    """

    name: str
    score: Any
    inputs: np.ndarray
    network: Any = None
    behind: Callable[[Any], Any] | None = None
    nothing: np.ndarray | None = None
    ranges: Callable[[], np.ndarray] | None = None

    def options_for(self, method: str) -> dict[str, Any]:
        """Options of an attribution method that hang on the data: its baseline, where that is not
        zero, and the ranges that its noise is a share of."""
        from hsi.explain import options_of

        names, found = options_of(method), {}
        if "baseline" in names and self.nothing is not None:
            found["baseline"] = self.nothing
        if "ranges" in names and self.ranges is not None:
            found["ranges"] = self.ranges()
        return found

    def fits(self, other: Explained) -> bool:
        """Whether the other's samples have the shape of these."""
        return self.inputs.shape == other.inputs.shape


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
    seed: int = 0,
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
        seed: of the training images that ranges are taken over.

    Raises:
        SettingsError: another space.
        ModelError: a network that takes other channels than the preparation gives.
    """
    from hsi.explain.prepared import through

    if samples is None:
        return explained(variant, source.gather(keys), name=name)
    if not isinstance(samples, Samples):
        ranges = cache(partial(training_ranges, samples, source, seed=seed))
        return replace(explained(variant, source.gather(keys), name=name), ranges=ranges)
    fitted = samples.preparation
    behind = partial(through, preparation=fitted, space=space)
    score, size = behind(variant.score), samples.patches.patch_size
    if space == "counts":
        source = Patches(np.asarray(samples.scene.cube), size)
    elif space == "bands" and fitted.reducer != "none":
        source = Patches(bands.apply(replace(fitted, reducer="none"), samples.scene.cube), size)
    name = name or variant.path.name
    nothing = nothing_there([samples], space)
    ranges = cache(partial(training_ranges, samples, source, seed=seed))
    return Explained(name, score, source.gather(keys), variant.network, behind, nothing, ranges)


def like_the_first(
    networks: Sequence[Explained], samples: Sequence[AnySamples | None], space: str
) -> list[Explained]:
    """The same with one baseline and one noise for all that share the first one's space.

    Args:
        networks: with samples in one space.
        samples: that each was made for.
        space: see `explained_samples`.
    """
    first = networks[0]
    fitting = [first.fits(network) for network in networks]
    nothing = nothing_there((s for s, fits in zip(samples, fitting, strict=True) if fits), space)
    return [
        replace(network, nothing=nothing, ranges=first.ranges) if fits else network
        for network, fits in zip(networks, fitting, strict=True)
    ]


def training_ranges(samples: AnySamples, source: Source, *, seed: int) -> np.ndarray:
    """(channels,) largest minus smallest value of each channel in training.

    Args:
        samples: whose training part is looked at: of a scene all of it, of images some.
        source: makes of keys what is explained.
        seed: of the choice of images.
    """
    if not isinstance(samples, Samples):
        return np.asarray(np.ptp(samples.calibration(seed=seed), axis=(0, 1, 2)))
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for some in batches(samples.part("train").pixels, 256):
        found = source.gather(some)
        low = np.minimum(low, found.min(axis=(0, 1, 2)))
        high = np.maximum(high, found.max(axis=(0, 1, 2)))
    return np.asarray(high - low)


def nothing_there(samples: Iterable[AnySamples | None], space: str) -> np.ndarray | None:
    """What stands for "nothing there" in the counts of the sensor: where scaled bands are zero.

    A map in counts then shares out what the same map in bands does, and what is held against each
    other starts from one point: that of the first that does not begin at zero counts anyway.

    Args:
        samples: of variants in one space.
        space: "bands", "counts" or "components".

    Returns:
        (bands,) counts; None where it is zero, as in scaled bands and in components.
    """
    for each in samples:
        if isinstance(each, Samples) and (space == "counts" or each.folded is not None):
            offset = (each.folded or each.preparation).offset
            if offset.any():
                return offset
    return None


def common_space(samples: Sequence[AnySamples | None]) -> str:
    """Where variants can be held against each other: "bands", or "counts" (as the sensor gives
    them) where one does not scale its bands as the first does.

    Args:
        samples: of each variant, the first the reference. Those of other bands, and what is no
            scene, have no say: they share no space with it.
    """
    fitted = [each.preparation for each in samples if isinstance(each, Samples)]
    alike = all(_scaled_alike(fitted[0], other) for other in fitted[1:])
    return "bands" if alike else "counts"


def _scaled_alike(first: Preparation, other: Preparation) -> bool:
    if first.bands != other.bands:
        return True
    near = SAME_SCALE * np.abs(first.scale)
    apart = [np.abs(getattr(other, name) - getattr(first, name)) for name in ("offset", "scale")]
    return all(bool((each <= near).all()) for each in apart)
