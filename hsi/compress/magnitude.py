"""Magnitude pruning: the smallest weights of each layer become zero, through TF-MOT.

Local magnitude pruning (Han et al. 2015, arXiv 1506.02626; Zhu and Gupta 2017, arXiv 1710.01878):
in each convolution and dense layer the share `sparsity` of its kernel with the smallest magnitude
is set to zero at once and held there while the rest is fine-tuned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras as keras

PRUNED_LAYERS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
)

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


def prune_magnitude(model: keras.Model, sparsity: float, *, fine_tune: FineTune) -> keras.Model:
    """A copy of a model with `sparsity` of every kernel zero, fine-tuned, without wrappers.

    Args:
        model: sequential or functional; it is not changed.
        sparsity: share of zeros in each convolution and dense kernel, 0..1 (1 excluded).
        fine_tune: called once with the wrapped model and the callback that holds the mask.

    Returns:
        A model of the same architecture; of each kernel's weights, `round((1 - sparsity) * size)`
        are left.
    """
    # TF-MOT's wrappers hold the masks; its own choice of them would come with the first training
    # step only, and would spare weights that tie with the threshold.
    schedule = tfmot.sparsity.keras.ConstantSparsity(sparsity, begin_step=0, end_step=0)

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not isinstance(layer, PRUNED_LAYERS):
            return layer
        return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)

    copy = keras.models.clone_model(model)  # wrappers take over the layers they are given
    copy.set_weights(model.get_weights())
    wrapped = keras.models.clone_model(copy, clone_function=wrap)
    for layer in wrapped.layers:
        for kernel, mask, _ in getattr(layer, "pruning_vars", ()):
            mask.assign(_largest(kernel.numpy(), sparsity))
            kernel.assign(kernel * mask)
    fine_tune(wrapped, [tfmot.sparsity.keras.UpdatePruningStep()])
    return tfmot.sparsity.keras.strip_pruning(wrapped)


def _largest(kernel: np.ndarray, sparsity: float) -> np.ndarray:
    """1 at the weights of largest magnitude, at least one of them, and 0 elsewhere."""
    kept = max(1, round((1 - sparsity) * kernel.size))
    order = np.argsort(np.abs(kernel), axis=None, kind="stable")
    mask = np.zeros(kernel.size, kernel.dtype)
    mask[order[kernel.size - kept :]] = 1
    return mask.reshape(kernel.shape)


def sparsity_of(model: keras.Model) -> Sparsity:
    """Count the zeros of a model, per kernel and over all its weights."""
    kernels = {
        layer.name: float(np.mean(layer.get_weights()[0] == 0))
        for layer in model.layers
        if isinstance(layer, PRUNED_LAYERS)
    }
    weights = model.get_weights()
    zeros = sum(int(np.count_nonzero(w == 0)) for w in weights)
    return Sparsity(kernels, zeros / max(1, sum(w.size for w in weights)))
