"""Training that knows of the compression to come, through TF-MOT: quantization and clustering.

Quantization-aware training (Jacob et al. 2018, arXiv 1712.05877) rounds weights and activations
while the network trains; it can keep the zeros of a pruned network and the few distinct weights of
a clustered one. Weight clustering (Han et al. 2016, arXiv 1510.00149) lets each kernel have few
distinct values, which gzip then packs; neither the file as it lies nor the speed changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from tensorflow_model_optimization.python.core.clustering.keras.experimental import (
    cluster as sparse_cluster,
)

from hsi.compress.calls import Call, CallGraph, walk
from hsi.compress.fused import fused
from hsi.compress.magnitude import FineTune
from hsi.compress.planar import in_planes
from hsi.errors import ModelError, SettingsError, one_of

PRESERVED = ("sparsity", "clusters")
"""What quantization-aware training can keep of a network that was compressed before."""
CLUSTERED_LAYERS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
)
_REWRITTEN = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
"""Layers that TF-MOT writes as others before it wraps them."""
_BEFORE_NORM = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Conv2DTranspose,
    *_REWRITTEN,
)
"""Layers that TensorFlow's converter folds a batch norm into; into dense ones we do, before."""
_KERNELS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
"""Layers whose kernels TF-MOT rounds; transposed convolutions are kinds of these."""
_OTHERWISE = "quantize after training instead (int8)"


def quantization_aware(
    model: keras.Model, *, preserve: Iterable[str] = (), fine_tune: FineTune
) -> keras.Model:
    """Train a copy of a model with the rounding of int8 in its forward pass.

    A batch norm behind a dense layer is folded into it first, and a ReLU that is a layer of its
    own becomes the activation of the layer before it: the same function (`hsi.compress.fused`).

    Args:
        model: sequential or functional; it is not changed. Nested models are opened.
        preserve: any of `PRESERVED`: zeros ("sparsity": PQAT), the distinct values of kernels
            ("clusters": CQAT), or both (PCQAT).
        fine_tune: called once with the wrapped model; it has to compile it.

    Returns:
        The trained model with its wrappers; `hsi.compress.quantize` makes an int8 file of it, with
        the ranges that were learned.

    Raises:
        SettingsError: unknown name in `preserve`.
        ModelError: a layer that TF-MOT cannot train this way (named, with the reason).
    """
    wrapped = _wrapped(model, preserve)
    fine_tune(wrapped, [])
    return wrapped


def check_aware(model: keras.Model, *, preserve: Iterable[str] = ()) -> None:
    """Refuse a model that cannot be trained quantization-aware, by all that comes before training.

    Args:
        model: trained or not.

    Raises:
        SettingsError: unknown name in `preserve`.
        ModelError: the first layer in its way, and why.
    """
    _wrapped(model, preserve)


def _wrapped(model: keras.Model, preserve: Iterable[str]) -> keras.Model:
    """A copy of the model in TF-MOT's wrappers."""
    kept = {one_of(name, PRESERVED, what="preserve") for name in preserve}
    scheme = _scheme(kept)
    _check_layers(model, scheme, kept)
    copy = fused(model)
    _check_norms(copy)
    if "clusters" in kept:
        _check_clusters(model, copy)
    try:
        annotated = tfmot.quantization.keras.quantize_annotate_model(copy)
        return tfmot.quantization.keras.quantize_apply(annotated, scheme)
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{model.name}: TF-MOT cannot train it quantization-aware: {first}; {_OTHERWISE}."
        ) from error


def _check_layers(model: keras.Model, scheme: Any, kept: set[str]) -> None:
    """Every layer must be of a kind that TF-MOT knows; batch norms are looked at by themselves."""
    registry = scheme.get_quantize_registry()
    for call in walk(model).calls:
        known = isinstance(call.layer, (keras.layers.BatchNormalization, *_REWRITTEN))
        if not known and not registry.supports(call.layer):
            raise ModelError(
                f"layer {call.name!r}: TF-MOT has no quantization-aware training for "
                f"{type(call.layer).__name__}{' with these kept' if kept else ''}; {_OTHERWISE}."
            )


def _check_norms(model: keras.Model) -> None:
    """Batch norms must be folded, which takes a linear layer that nothing else reads."""
    graph = walk(model)
    for call in graph.calls:
        if isinstance(call.layer, keras.layers.BatchNormalization):
            _check_norm(graph, call)


def _check_clusters(model: keras.Model, copy: keras.Model) -> None:
    """A batch norm that went into a dense layer gave each of its outputs other values."""
    stayed = {call.name for call in walk(copy).calls}
    for call in walk(model).calls:
        if isinstance(call.layer, keras.layers.BatchNormalization) and call.name not in stayed:
            raise ModelError(
                f"layer {call.name!r}: a batch norm behind a dense layer goes into it, which "
                "makes other clusters for each output; fold it (hsi.compress.fold.fold_batch_norm) "
                "before the weights are clustered."
            )


def _check_norm(graph: CallGraph, call: Call) -> None:
    (key,) = call.inputs
    before = next((c for c in graph.calls if key in c.outputs), None)
    readers = sum(c.inputs.count(key) for c in graph.calls) + graph.outputs.count(key)
    linear = getattr(getattr(before, "layer", None), "activation", None)
    if (
        before is None
        or type(before.layer) not in _BEFORE_NORM
        or linear is not keras.activations.linear
        or readers != 1
    ):
        raise ModelError(
            f"layer {call.name!r}: quantization-aware training expects a batch norm right after a "
            "convolution or dense layer of its own, which is linear and read by nothing else; "
            f"got it after {'the input' if before is None else before.name}; {_OTHERWISE}."
        )


def _scheme(preserve: set[str]) -> Any:
    combine = tfmot.experimental.combine
    if "clusters" in preserve:
        scheme = combine.Default8BitClusterPreserveQuantizeScheme("sparsity" in preserve)
    elif "sparsity" in preserve:
        scheme = combine.Default8BitPrunePreserveQuantizeScheme()
    else:
        scheme = tfmot.quantization.keras.default_8bit.Default8BitQuantizeScheme()
    scheme.get_layout_transformer = _Layout
    return scheme


class _Layout(tfmot.quantization.keras.default_8bit.Default8BitQuantizeLayoutTransform):
    """TF-MOT's own, but every kernel is rounded, in the way of the scheme.

    TF-MOT takes the rounding from a kernel with a ReLU layer behind it, and gives one in front of
    a concatenation the rounding that keeps neither zeros nor clusters.
    """

    def apply(self, model: keras.Model, layer_quantize_map: dict[str, Any]) -> Any:
        model, chosen = super().apply(model, layer_quantize_map)
        for layer in model.layers:
            if isinstance(layer, _KERNELS) and layer.name in chosen:
                chosen[layer.name]["quantize_config"] = None  # that of the scheme's registry
        return model, chosen


def cluster_weights(
    model: keras.Model, clusters: int, *, preserve_sparsity: bool = False, fine_tune: FineTune
) -> keras.Model:
    """A copy of a model whose kernels have few distinct values, fine-tuned, without wrappers.

    Each kernel of a convolution or dense layer gets `clusters` values by k-means++, which then
    train; kernels of that many weights or fewer, depthwise kernels, biases and batch norm stay.

    Args:
        model: sequential or functional; it is not changed. Nested models are opened.
        clusters: distinct values a kernel, 2 or more.
        preserve_sparsity: zeros stay zeros; 0 is then one of the values.
        fine_tune: called once with the wrapped model; it has to compile it.

    Raises:
        SettingsError: fewer than 2 clusters.
        ModelError: the model is no graph of layers, has weights that are no finite numbers, or
            TF-MOT cannot cluster it.
    """
    if clusters < 2:
        raise SettingsError(f"clusters: expected 2 or more, got {clusters}.")
    for layer in model.layers:
        if not all(np.isfinite(weight).all() for weight in layer.get_weights()):
            raise ModelError(  # k-means++ would never end
                f"{model.name}: layer {layer.name!r} has weights that are no finite numbers; they "
                "cannot be clustered."
            )
    start = tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if type(layer) not in CLUSTERED_LAYERS or np.prod(layer.kernel.shape) <= clusters:
            return layer
        if preserve_sparsity:
            return sparse_cluster.cluster_weights(layer, clusters, start, preserve_sparsity=True)
        return tfmot.clustering.keras.cluster_weights(layer, clusters, start)

    copy = in_planes(model, kinds=())  # wrappers take over the layers they are given
    try:
        wrapped = keras.models.clone_model(copy, clone_function=wrap)
    except tf.errors.OpError as error:  # k-means++ has too few weights, of one sign, say
        among = " among the weights that are not 0" if preserve_sparsity else ""
        raise ModelError(
            f"{model.name}: expected {clusters} clusters in each kernel{among}, TF-MOT found fewer "
            "weights than that in one; choose fewer clusters."
        ) from error
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{model.name}: TF-MOT cannot cluster it: {first}") from error
    fine_tune(wrapped, [])
    return tfmot.clustering.keras.strip_clustering(wrapped)
