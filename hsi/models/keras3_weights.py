"""Where Keras 3 keeps the weights of layers: in its two kinds of files, and in live models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import tf_keras as keras

from hsi.errors import ModelError


@dataclass(frozen=True)
class Leaf:
    """A layer that is no model, and where Keras 3 keeps its weights.

    Attributes:
        layer: of `tf_keras`, built.
        path: names of the models around it, from the outermost nested one, and its own.
        place: its group in `model.weights.h5`; groups are named after kinds of layers.
    """

    layer: keras.layers.Layer
    path: tuple[str, ...]
    place: str


Weights = Callable[[Sequence[Leaf]], Iterator[tuple[Leaf, list[np.ndarray]]]]
"""Tells the weights of layers, each layer's in the order of Keras 3."""


def archived(file: h5py.Group) -> Weights:
    """Weights as `model.weights.h5` in a `.keras` archive has them."""

    def weights(leaves: Sequence[Leaf]) -> Iterator[tuple[Leaf, list[np.ndarray]]]:
        for leaf in leaves:
            place = f"{leaf.place}vars"
            names = sorted(file[place], key=int) if place in file else []
            yield leaf, [_array(file, f"{place}/{name}") for name in names]

    return weights


def legacy(file: h5py.Group) -> Weights:
    """Weights as an `.h5` file has them.

    All of a nested model are in one list there, the trainable ones of all its layers first.
    """

    def weights(leaves: Sequence[Leaf]) -> Iterator[tuple[Leaf, list[np.ndarray]]]:
        tops = dict.fromkeys(leaf.path[0] for leaf in leaves)
        for top in tops:
            inside = [leaf for leaf in leaves if leaf.path[0] == top]
            place = f"model_weights/{top}"
            arrays = [_array(file, f"{place}/{name}") for name in _names(file[place])]
            trained = [(leaf, w) for leaf in inside for w in leaf.layer.trainable_weights]
            fixed = [(leaf, w) for leaf in inside for w in leaf.layer.non_trainable_weights]
            slots = trained + fixed
            if len(slots) != len(arrays):
                raise ModelError(
                    f"layer {top!r}: expected {len(slots)} weights, the file has {len(arrays)}."
                )
            held = {id(w): array for (_, w), array in zip(slots, arrays, strict=True)}
            for leaf in inside:
                yield leaf, [held[id(w)] for w in leaf.layer.weights]

    return weights


def live(model: Any) -> Weights:
    """Weights of a Keras 3 model in memory."""

    def weights(leaves: Sequence[Leaf]) -> Iterator[tuple[Leaf, list[np.ndarray]]]:
        layers = dict(live_layers(model))
        for leaf in leaves:
            yield leaf, layers[leaf.path].get_weights()

    return weights


def live_layers(model: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Layers of a Keras 3 model with their paths, nested models opened, inputs left out."""
    for layer in model.layers:
        if hasattr(layer, "layers") and is_keras3(layer):
            yield from live_layers(layer, (*path, layer.name))
        elif type(layer).__name__ != "InputLayer":
            yield (*path, layer.name), layer


def is_keras3(model: Any) -> bool:
    """Whether this object is a model of Keras 3; does not import it."""
    return any(
        base.__name__ == "Model" and base.__module__.startswith("keras.")
        for base in type(model).__mro__
    )


def _array(group: h5py.Group, name: str) -> np.ndarray:
    """An array that lies in this file; HDF5 can also point at others, which are not read."""
    item = group.get(name)
    if (
        not isinstance(item, h5py.Dataset)
        or item.file.filename != group.file.filename
        or item.external
        or item.is_virtual
    ):
        raise ModelError(f"the weight {name!r} is missing or lies elsewhere.")
    return _bfloat16(item[()]) if item.dtype == BFLOAT16 else item[()]


BFLOAT16 = np.dtype("V2")
"""What HDF5 makes of bfloat16, which it does not know: two bytes without a meaning."""


def _bfloat16(values: np.ndarray) -> np.ndarray:
    """As float32, of which bfloat16 is the first half."""
    return (np.asarray(values).view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _names(group: h5py.Group) -> list[str]:
    """The names of a layer's weights, in their order; long lists are stored in pieces."""
    names: list[Any] = list(group.attrs.get("weight_names", ()))
    piece = 0
    while f"weight_names{piece}" in group.attrs:
        names += list(group.attrs[f"weight_names{piece}"])
        piece += 1
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
