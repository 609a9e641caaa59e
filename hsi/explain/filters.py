"""Filters: the kernels of a layer as they are, of the first convolution by default.

The kernels of the first layer act on the input itself, so they can be read as small images, or as
spectra: which bands a filter adds and which it subtracts. Those of later layers act on feature
maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from hsi.errors import ModelError

if TYPE_CHECKING:
    from hsi.explain.layered import LayerInfo

KERNELS = ("kernel", "depthwise_kernel")
"""Where a Keras layer keeps its kernel."""


@dataclass(frozen=True, eq=False)
class Filters:
    """The kernels of one layer.

    Attributes:
        layer: its name.
        kernels: as Keras holds them: (rows, cols, inputs, filters) of a convolution, (rows, cols,
            inputs, filters of each input) of a depthwise one, (rows, cols, filters, inputs) of a
            transposed one, (units below, units) of a dense one.
        notes: one line for each thing that the reader of a picture must know.
        first: whether it is the first layer with a kernel, so that its inputs are the network's.
    """

    layer: str
    kernels: np.ndarray
    notes: tuple[str, ...] = ()
    first: bool = False


@runtime_checkable
class HasKernels(Protocol):
    """A network in another form that gives its weights."""

    def kernel_layers(self) -> Sequence[LayerInfo]:
        """All layers in the order of execution; `convolution` says which are convolutions."""

    def kernel(self, name: str) -> np.ndarray | None:
        """The kernel of a layer, float32 in Keras' order of axes; None where it has none."""


def filters(model: Any, *, layer: str | None = None) -> Filters:
    """The kernels of a layer.

    Args:
        model: a functional or sequential `tf_keras` model, what gives its weights (`HasKernels`),
            or the `Score` of one.
        layer: its name, "outer/inner" in nested models; None takes the first convolution.

    Raises:
        ModelError: no such layer (the closest names are listed), a layer without a kernel, or a
            model that does not show its layers.
    """
    from hsi.explain.layered import find_layer  # loads TensorFlow

    network = getattr(model, "network", model)
    source = network if isinstance(network, HasKernels) else _KerasKernels(network)
    infos = source.kernel_layers()
    if layer is None:
        chosen, notes = _first(source, infos)
    else:
        chosen, notes = find_layer(infos, layer), []
    kernels = source.kernel(chosen.name)
    if kernels is None:
        having = [info.name for info in infos if source.kernel(info.name) is not None]
        raise ModelError(
            f"Layer {chosen.name!r} ({chosen.kind}) has no kernel; expected a layer such as "
            f"{', '.join(having[:3]) or '(none has)'}."
        )
    if "Separable" in chosen.kind:
        notes.append(f"shown is the depthwise half of {chosen.name}")
    first = next(info.name for info in infos if source.kernel(info.name) is not None)
    notes += _dead(kernels, chosen.kind)
    return Filters(chosen.name, kernels, tuple(notes), first == chosen.name)


class _KerasKernels:
    """`HasKernels` of a Keras model."""

    def __init__(self, model: Any) -> None:
        from hsi.explain.model_graph import named_layers

        self._layers = dict(named_layers(model))

    def kernel_layers(self) -> list[LayerInfo]:
        from hsi.explain.layered import LayerInfo

        return [
            LayerInfo(
                name, type(layer).__name__, (), convolution="Conv" in type(_own(layer)).__name__
            )
            for name, layer in self._layers.items()
        ]

    def kernel(self, name: str) -> np.ndarray | None:
        layer = _own(self._layers[name])
        for attribute in KERNELS:
            value = getattr(layer, attribute, None)
            if value is not None:
                return np.asarray(value, np.float32)
        return None


def _own(layer: Any) -> Any:
    """The layer inside a wrapper (TimeDistributed, pruning), else itself."""
    return getattr(layer, "layer", layer)


def _first(source: HasKernels, infos: Sequence[LayerInfo]) -> tuple[LayerInfo, list[str]]:
    """The first convolution, else the first layer with a kernel."""
    having = [info for info in infos if source.kernel(info.name) is not None]
    if not having:
        raise ModelError("Expected a network with a kernel in some layer, this one has none.")
    convolutions = [info for info in having if info.convolution]
    if convolutions:
        return convolutions[0], []
    return having[0], [f"no convolution: shown are the weights of {having[0].name}"]


def _dead(kernels: np.ndarray, kind: str) -> list[str]:
    """A note on filters that are zero everywhere."""
    axes, kind = range(kernels.ndim), kind.lower()
    if "transpose" in kind:
        own = axes[-2:-1]
    else:
        own = axes[-2:] if "depthwise" in kind or "separable" in kind else axes[-1:]
    alive = kernels.any(axis=tuple(axis for axis in axes if axis not in own))
    dead = int(alive.size - alive.sum())
    return [f"{dead} of {alive.size} filters are all zero"] if dead else []
