"""Pruning of weights: zeros that are there from the start of fine-tuning and stay.

One face, two ways to hold the zeros: TF-MOT's wrappers where every layer is one that they take,
masks of our own (`weights.KeepZeros`) for any other, in nested models and in very deep networks.
Both zero the same weights before every batch, so both give the same model.

Local magnitude pruning (Han et al. 2015, arXiv 1506.02626; Zhu and Gupta 2017, arXiv 1710.01878):
in each convolution and dense layer the share `sparsity` of its kernel with the smallest magnitude
is set to zero at once and held there while the rest is fine-tuned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

from hsi.compress.criteria.l1 import weight_scores
from hsi.compress.weights import KeepZeros, Masks, apply_masks, choose_weights, kernel_layers
from hsi.errors import one_of

WRAPPED = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3D,
    keras.layers.Conv3DTranspose,
    keras.layers.Dense,
)
"""Exact types of layers that TF-MOT's pruning wrapper takes."""

MOST_WRAPPED = 64
"""How many layers are wrapped at most: the 169 of DenseNet169 would take minutes."""

HOLDERS = {
    "auto": "TF-MOT where it takes every layer, and in reasonable time, else masks of our own",
    "tfmot": "TF-MOT's pruning wrappers",
    "own": "a callback that puts the zeros back after every batch",
}

FineTune = Callable[[keras.Model, Sequence[keras.callbacks.Callback]], None]
"""Trains a model in place, with these callbacks added."""


@dataclass(frozen=True)
class Sparsity:
    """Zeros in a model.

    Attributes:
        kernels: layer name -> share of zeros in its kernel, 0..1.
        overall: share of zeros in all weights, biases and batch norm included, 0..1.
    """

    kernels: dict[str, float]
    overall: float


def prune_weights(
    model: keras.Model, masks: Masks, *, fine_tune: FineTune, holder: str = "auto"
) -> keras.Model:
    """A copy of a model with the masked weights zero, fine-tuned with them held at zero.

    Args:
        model: sequential or functional; it is not changed.
        masks: layer name -> array of its kernel's shape, True where a weight stays
            (`weights.choose_weights`).
        fine_tune: called once with the model to train and the callback that holds the zeros.
        holder: one of `HOLDERS`.

    Returns:
        A model of the same architecture, without wrappers.

    Raises:
        ModelError: a mask for a layer that is not there, or of another shape than its kernel.
    """
    pruned = apply_masks(model, masks)
    one_of(holder, HOLDERS, what="holder of zeros")
    if holder == "own" or (holder == "auto" and not _wrappable(pruned, masks)):
        fine_tune(pruned, [KeepZeros(pruned, masks)])
        return apply_masks(pruned, masks)  # whatever weights the training put back at its end
    wrapped = _wrapped(pruned, masks)
    fine_tune(wrapped, [tfmot.sparsity.keras.UpdatePruningStep()])
    return tfmot.sparsity.keras.strip_pruning(wrapped)


def prune_magnitude(model: keras.Model, sparsity: float, *, fine_tune: FineTune) -> keras.Model:
    """`prune_weights` of the smallest weights of each kernel; `sparsity` is 0..1 (1 excluded).

    Of each kernel's weights `round((1 - sparsity) * size)` are left, at least one.
    """
    masks = choose_weights(model, weight_scores(model, ()), sparsity)
    return prune_weights(model, masks, fine_tune=fine_tune)


def sparsity_of(model: keras.Model) -> Sparsity:
    """Count the zeros of a model, per kernel and over all its weights."""
    kernels = {
        name: float(np.mean(layer.kernel.numpy() == 0))
        for name, layer in kernel_layers(model).items()
    }
    weights = model.get_weights()
    zeros = sum(int(np.count_nonzero(w == 0)) for w in weights)
    return Sparsity(kernels, zeros / max(1, sum(w.size for w in weights)))


class _AsTheyAre(tfmot.sparsity.keras.PruningSchedule):
    """Leaves the masks to us: TF-MOT's own choice would replace them at the first step."""

    def __call__(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.constant(False), tf.constant(0.0)

    def get_config(self) -> dict[str, object]:
        return {"class_name": type(self).__name__, "config": {}}


def _wrappable(model: keras.Model, masks: Masks) -> bool:
    """Whether TF-MOT takes every layer with a mask.

    Known types that compute in float32, as its masks are; none in a nested model; few.
    """
    if len(masks) > MOST_WRAPPED:
        return False
    layers, outer = kernel_layers(model), {id(layer) for layer in model.layers}
    return all(
        type(layers[name]) in WRAPPED
        and layers[name].compute_dtype == "float32"
        and id(layers[name]) in outer
        for name in masks
    )


def _wrapped(model: keras.Model, masks: Masks) -> keras.Model:
    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name not in masks:
            return layer
        return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=_AsTheyAre())

    wrapped = keras.models.clone_model(model, clone_function=wrap)  # it takes over the layers
    for layer in wrapped.layers:
        for kernel, mask, _ in getattr(layer, "pruning_vars", ()):
            mask.assign(masks[layer.layer.name].astype(kernel.dtype.as_numpy_dtype))
    return wrapped
