"""Class scores of many samples, in batches, from anything that maps a batch to scores.

A whole scene goes through a network in one fully convolutional pass, strip after strip, where its
layers allow that; otherwise, and for files that show no layers, patch by patch in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.errors import ModelError
from hsi.parts import Source
from hsi.patches import Patches, Strip

if TYPE_CHECKING:
    import tf_keras as keras

    from hsi.sliding.network import FullyConvolutional

Forward = Callable[[np.ndarray], np.ndarray]
"""A batch of inputs (n, rows, cols, channels) float32 -> scores (n, classes).

One with an attribute `network`, a `tf_keras` model, can take a scene in one pass.
"""

STRIP_BYTES = 1 << 26
"""Of the largest map of a layer over a strip; what is in memory at once is a few times that."""

STRIP_PIXELS = 1 << 15
"""Pixels of a strip at most."""

CHECKED = 16
"""Pixels of each strip whose scores are compared with those of their patches."""

TOLERANCE = 1e-3
"""Most that a score may differ from that of the patch, as a share of it. Of softmax scores this is
the most that a logit may differ, so that it tells networks apart that are sure of their answer."""

MUCH = 10**11
"""Multiply-adds, about a second's, from which on single pixels too are asked in one pass."""

ROUNDING = 1e-5
"""The same as a share of the largest score, for those next to zero."""


class Compiled:
    """One compiled inference function of a Keras model, reused for every batch size.

    Attributes:
        network: the model.
    """

    def __init__(self, model: keras.Model) -> None:
        import tensorflow as tf

        self.network = model
        shape = [None, *model.input_shape[1:]]

        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
        def forward(batch: tf.Tensor) -> tf.Tensor:
            return model(batch, training=False)

        self._forward = forward

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return self._forward(batch).numpy()


def compiled(model: keras.Model) -> Forward:
    """One compiled inference function of a Keras model, reused for every batch size."""
    return Compiled(model)


def scores(
    forward: Forward, patches: Source, pixels: np.ndarray, *, batch_size: int = 256
) -> np.ndarray:
    """Scores of samples by their keys, such as flat pixel numbers: (n,) -> (n, classes) float32."""
    batch_size = at_once(forward, batch_size)
    parts = [forward(patches.gather(batch)) for batch in batches(pixels, batch_size)]
    return np.concatenate(parts).astype(np.float32, copy=False)


def at_once(forward: Forward, batch_size: int) -> int:
    """Samples of a batch: as many as were asked for, or fewer where they take much memory."""
    each = getattr(forward, "sample_bytes", 0)
    return max(1, min(batch_size, STRIP_BYTES // each)) if each else batch_size


def classes_at(
    forward: Forward,
    patches: Source,
    pixels: np.ndarray,
    *,
    macs: int = 0,
    batch_size: int = 256,
) -> np.ndarray:
    """The most likely class indices of samples by their keys: (n,) -> (n,).

    Where they are pixels of a scene whose patches would be much work, and one pass over the whole
    scene is less, they are read off its map.

    Args:
        macs: multiply-adds for one sample, where they are known.
    """
    if isinstance(patches, Patches) and macs * len(pixels) >= MUCH:
        way = way_of(forward, patches.patch_size)
        slid = way.slid if way.slid and not way.slid.cut else None  # behind a cut is not counted
        if slid and slid.macs * patches.rows * patches.cols < macs * len(pixels):
            return class_map(forward, patches, way=way, batch_size=batch_size).ravel()[pixels]
    return scores(forward, patches, pixels, batch_size=batch_size).argmax(axis=1)


@dataclass(frozen=True)
class Way:
    """How a network goes over scenes; made by `way_of`, once for many scenes or tiles.

    Attributes:
        slid: the network over whole images; None where it has to see patches.
        reason: why that is.
    """

    slid: FullyConvolutional | None
    reason: str = ""


def class_map(
    forward: Forward,
    patches: Patches,
    *,
    way: Way | None = None,
    batch_size: int = 1024,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> np.ndarray:
    """The most likely class index of every pixel, borders included: (rows, cols) int32.

    Arguments as of `scene_scores`.
    """
    found = np.empty((patches.rows, patches.cols), np.int32)
    options: dict[str, Any] = {"way": way, "batch_size": batch_size, "seed": seed, "say": say}
    for strip, values in scene_scores(forward, patches, **options):
        found[strip.place] = values.argmax(axis=-1)
    return found


def scene_scores(
    forward: Forward,
    patches: Patches,
    *,
    way: Way | None = None,
    batch_size: int = 1024,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> Iterator[tuple[Strip, np.ndarray]]:
    """Scores of every pixel of a scene, strip after strip: (rows, cols, classes) float32.

    What is in memory at once does not grow with the scene. The fully convolutional pass is proven
    in every strip, on its corners and on pixels drawn at random, before its scores are given; where
    they are not those of the patches, that strip and all after it go through in patches.

    Args:
        forward: the classifier of patches.
        patches: of the prepared scene.
        way: from an earlier scene or tile; None finds it out.
        batch_size: patches at once, where they have to be cut; of a file that says how much memory
            a sample takes, fewer if that is much.
        seed: of the pixels that are checked.
        say: told which way was taken, in one line.
    """
    batch_size = at_once(forward, batch_size)
    way = way or way_of(forward, patches.patch_size)
    slid, reason = way.slid, way.reason
    most = STRIP_PIXELS
    if slid is not None:
        most = max(min(most, STRIP_BYTES // (4 * slid.values)), 1)
    draw = np.random.default_rng(seed)
    checked = 0
    for strip in patches.strips(most):
        pixels, found = patches.pixels(strip), None
        if slid is not None:
            found = slid(patches.around(strip)[None]).numpy()[0].astype(np.float32, copy=False)
            some = sample(strip, CHECKED, draw)
            wanted = forward(patches.gather(pixels[some]))
            if not _agree(found.reshape(len(pixels), -1)[some], wanted):
                found, slid = None, None
                reason = f"in one pass it gave other scores from row {strip.top} on"
            checked += len(some)
        if found is None:
            found = scores(forward, patches, pixels, batch_size=batch_size)
        yield strip, found.reshape(strip.rows, strip.cols, -1)
    if say and slid is not None:
        say(
            f"The scene went through the network in one fully convolutional pass{_cut(slid)}, "
            f"equal to its patches at all of {checked} pixels checked."
        )
    elif say:
        say(f"The scene went through the network in batches of {batch_size} patches: {reason}.")


def sample(strip: Strip, count: int, draw: np.random.Generator) -> np.ndarray:
    """Some places (n,) of the flat pixels of a strip: its corners, and others drawn at random."""
    total = strip.rows * strip.cols
    corners = [0, strip.cols - 1, total - strip.cols, total - 1]
    return np.unique([*corners, *draw.integers(0, total, max(count - len(corners), 0))])


def batches(pixels: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Consecutive runs of at most `batch_size` pixels."""
    for start in range(0, len(pixels), batch_size):
        yield pixels[start : start + batch_size]


def way_of(forward: Any, patch_size: int) -> Way:
    """Whether a classifier can be slid over whole images, for patches of this side."""
    network = getattr(forward, "network", None)
    if network is None:
        return Way(None, "the file shows no layers")
    from hsi.sliding.network import fully_convolutional

    try:
        return Way(fully_convolutional(network, patch_size))
    except ModelError as error:
        return Way(None, str(error))


def _cut(slid: FullyConvolutional) -> str:
    return f" up to {slid.cut}" if slid.cut else ""


def _agree(found: np.ndarray, wanted: np.ndarray) -> bool:
    largest = np.abs(wanted).max(initial=0)
    return np.allclose(found, wanted, rtol=TOLERANCE, atol=ROUNDING * largest, equal_nan=True)
