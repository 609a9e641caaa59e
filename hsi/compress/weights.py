"""Weights that become zero while shapes stay: which, in a copy, and held there in training.

Masks are arrays of a kernel's shape, True where a weight stays. Which weights go is up to scores
(higher means remove first), a unit (`hsi.compress.granularity`) and a scope.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.compress.calls import walk
from hsi.compress.granularity import choose_masks, parse_granularity, share_gone
from hsi.errors import ModelError, one_of

PRUNED_LAYERS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
)
"""Whose kernels are pruned; transposed convolutions are kinds of these, depthwise ones are not."""

TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
"""Kernel (..., outputs, inputs) instead of (..., inputs, outputs)."""

Masks = Mapping[str, np.ndarray]


def kernel_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Name -> layer with a kernel that can be pruned, in the order of the network.

    Names are unique, nested models opened, as everywhere in this package (`calls.walk`).

    Raises:
        ModelError: the model is no graph of layers.
    """
    calls = walk(model).calls
    return {call.name: call.layer for call in calls if isinstance(call.layer, PRUNED_LAYERS)}


def choose_weights(
    model: keras.Model,
    scores: Mapping[str, np.ndarray],
    sparsity: float | Mapping[str, float] | None,
    *,
    granularity: str = "weight",
    scope: str = "layer",
    keep: Iterable[str] = (),
) -> dict[str, np.ndarray]:
    """Masks for the kernels that have scores: True where a weight stays.

    Args:
        scores: layer name -> array of its kernel's shape; higher means remove first. Layers
            without stay as they are.
        sparsity: share of the units that go (`granularity.choose_masks`); a mapping names every
            layer that loses some.
        granularity: `weight`, `2:4`, `4x4` ...
        keep: names of layers that keep all their weights.

    Raises:
        ModelError: scores of another shape, not finite, or of a layer that is not pruned.
        SettingsError: unknown layers, a sparsity out of range or out of reach.
    """
    layers = kernel_layers(model)
    kept = {one_of(name, layers, what="layer to keep") for name in keep}
    if isinstance(sparsity, Mapping):
        for name in sparsity:
            one_of(name, scores, what="layer with scores")
        kept |= set(scores) - set(sparsity)
    unit, turned = parse_granularity(granularity), {}
    for name in layers:
        if name in scores and name not in kept:
            turned[name] = _turn(layers[name], _checked(name, scores[name], layers[name]))
    for name in scores:
        if name not in layers:
            raise ModelError(
                f"No weights can be pruned in {name!r}: expected one of {', '.join(layers)}."
            )
    masks = choose_masks(turned, sparsity, granularity=unit, scope=scope)
    return {name: _turn(layers[name], mask) for name, mask in masks.items()}


def shares_gone(model: keras.Model, masks: Masks, *, granularity: str) -> dict[str, float]:
    """Layer name -> share of its units (weights, or blocks) that go."""
    layers, unit = kernel_layers(model), parse_granularity(granularity)
    return {name: share_gone(_turn(layers[name], mask), unit) for name, mask in masks.items()}


def apply_masks(model: keras.Model, masks: Masks) -> keras.Model:
    """A copy of a model in which the weights that do not stay are zero.

    Raises:
        ModelError: a mask for a layer that is not there, or of another shape than its kernel.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for kernel, mask in _pairs(copy, masks):
        kernel.assign(np.where(mask, kernel.numpy(), 0))
    return copy


class KeepZeros(keras.callbacks.Callback):
    """Puts the zeros of masks back after every batch, by one compiled call.

    Weights under a mask are zero whenever a batch starts, so training sees them as zero and
    validation, checkpoints and the end of training too. (With `steps_per_execution` above 1 Keras
    calls back only after so many batches, and the zeros come back only then.)
    """

    def __init__(self, model: keras.Model, masks: Masks) -> None:
        """Take a model whose kernels have these masks; it may be trained inside another one.

        Raises: as `apply_masks`.
        """
        super().__init__()
        held = [(kernel, tf.constant(mask)) for kernel, mask in _pairs(model, masks)]

        @tf.function
        def put_back() -> None:
            for kernel, mask in held:
                kernel.assign(tf.where(mask, kernel, tf.zeros_like(kernel)))

        self._put_back = put_back

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._put_back()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._put_back()


def _pairs(model: keras.Model, masks: Masks) -> list[tuple[tf.Variable, np.ndarray]]:
    layers = kernel_layers(model)
    pairs = []
    for name, mask in masks.items():
        if name not in layers:
            raise ModelError(f"No kernel for the mask {name!r}: expected {', '.join(layers)}.")
        mask = np.asarray(mask, bool)
        if mask.shape != tuple(layers[name].kernel.shape):
            raise ModelError(
                f"{name}: expected a mask of shape {tuple(layers[name].kernel.shape)}, got "
                f"{mask.shape}."
            )
        pairs.append((layers[name].kernel, mask))
    return pairs


def _checked(name: str, scores: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    values, shape = np.asarray(scores, float), tuple(layer.kernel.shape)
    if values.shape != shape:
        raise ModelError(f"{name}: expected scores of shape {shape}, got {values.shape}.")
    return values


def _turn(layer: keras.layers.Layer, array: np.ndarray) -> np.ndarray:
    """To (..., inputs, outputs), and back."""
    return np.swapaxes(array, -1, -2) if isinstance(layer, TRANSPOSED) else array
