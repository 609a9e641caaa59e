"""How far a folded network is from the original: measured, on samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tf_keras as keras

from hsi import bands
from hsi.compress.fold.draft import Draft, made
from hsi.errors import ModelError

TOLERANCE = 1e-4
"""Most that the logits may differ, as a share of their range: rounding stays well under it."""

SQUASHING = ("softmax", "sigmoid", "log_softmax")


def proven_equal(
    original: keras.Model,
    folded: keras.Model,
    samples: np.ndarray,
    *,
    preparation: bands.Preparation | None = None,
    batch_size: int = 256,
) -> float:
    """The largest difference of the logits, as a share of the range of the original's.

    Logits, since a saturated softmax hides differences.

    Args:
        original, folded: of one input and one output.
        samples: (n, ...) inputs of the folded model.
        preparation: of the original's input, where it was folded in: samples are raw counts.

    Raises:
        ModelError: the models differ by more than rounding (`TOLERANCE`), or no sample was given.
    """
    if not len(samples):
        raise ModelError("Expected samples to compare the folded network with the original on.")
    one, other = logit_model(original), logit_model(folded)
    low, high, gap = np.inf, -np.inf, 0.0
    for batch in _batches(samples, batch_size):
        prepared = batch if preparation is None else _prepared(preparation, batch)
        wanted = one(prepared.astype(np.float32), training=False).numpy().astype(np.float64)
        found = other(batch.astype(np.float32), training=False).numpy()
        if wanted.shape != found.shape:
            raise ModelError(f"Expected outputs of shape {wanted.shape}, got {found.shape}.")
        low, high = min(low, float(wanted.min())), max(high, float(wanted.max()))
        gap = float(np.maximum(gap, np.abs(wanted - found).max()))  # keeps NaN
    # Logits that are all one value have no range; then their size is the measure.
    share = gap / ((high - low) or abs(high) or 1.0)
    if not share <= TOLERANCE:
        raise ModelError(
            f"{folded.name}: the folded network is not the original: its logits differ by "
            f"{share:.2g} of their range, expected at most {TOLERANCE:g}; keep the original."
        )
    return share


def logit_model(model: keras.Model) -> keras.Model:
    """A new model that ends before the softmax or sigmoid of its outputs."""
    draft = Draft(model)
    for call in draft.ends():
        name = getattr(getattr(call.layer, "activation", None), "__name__", "")
        if type(call.layer) is keras.layers.Softmax or (
            type(call.layer) is keras.layers.Activation and name in SQUASHING
        ):
            draft.exchange([call], [])
        elif name in SQUASHING:
            linear = keras.activations.linear
            weights, shape = call.layer.get_weights(), call.input_shapes[0]
            draft.exchange([call], [made(call.layer, call.name, shape, weights, activation=linear)])
    return draft.model()


def _batches(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def _prepared(preparation: bands.Preparation, samples: np.ndarray) -> np.ndarray:
    """Patches (n, rows, cols, bands) as one long cube, prepared."""
    n, rows, cols, count = samples.shape
    cube = bands.apply(preparation, samples.reshape(n * rows, cols, count))
    return cube.reshape(n, rows, cols, -1)
