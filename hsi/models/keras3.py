"""Models of Keras 3 rebuilt in `tf_keras` (Keras 2), from their configuration and weights.

`tf_keras` opens neither of the two formats of Keras 3, and Keras 3 itself is not needed: a
`.keras` file is a zip archive of `config.json` and `model.weights.h5`, an `.h5` file is HDF5 with
the configuration as an attribute. The graph is replayed with layers looked up by name in
`hsi.models.keras3_layers`; nothing that a file names is imported or run.
"""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tf_keras as keras

from hsi.errors import ModelError
from hsi.models.keras3_layers import is_operation, layer_of, operation_of, plain, policy
from hsi.models.keras3_weights import Leaf, Weights, archived, is_keras3, legacy, live, live_layers
from hsi.models.precision import came_from, in_single, other_types

__all__ = ["Twin", "computes_here", "from_keras3", "is_keras3", "open_keras3", "rebuild", "twin_of"]

MODELS = ("Functional", "Model", "Sequential")


@dataclass(frozen=True, eq=False)
class Twin:
    """A model of `tf_keras` that computes what a model of Keras 3 does."""

    model: keras.Model
    leaves: tuple[Leaf, ...]

    def follow(self, model: Any) -> bool:
        """Take over what the live model has learnt since; False where the twin is of no use now.

        That is when layers were added, or what a Normalization subtracts is another: compiled
        functions hold that as a constant.
        """
        names = [leaf.path for leaf in self.leaves]
        if names != [path for path, _ in live_layers(model)]:
            return False
        for leaf, arrays in live(model)(self.leaves):
            if isinstance(leaf.layer, keras.layers.Normalization) and not all(
                np.array_equal(a, b) for a, b in zip(leaf.layer.get_weights(), arrays, strict=True)
            ):
                return False
        self.copy(live(model))
        return True

    def copy(self, weights: Weights) -> None:
        """Take over weights.

        Raises:
            ModelError: another number of them, or other shapes, than the layers have.
        """
        for leaf, arrays in weights(self.leaves):
            layer = leaf.layer
            wanted = [tuple(w.shape) for w in layer.weights]
            got = [np.shape(a) for a in arrays]
            if wanted != got:
                raise ModelError(
                    f"layer {'/'.join(leaf.path)!r}: expected weights of the shapes {wanted}, "
                    f"got {got}."
                )
            layer.set_weights(arrays)


def rebuild(config: Mapping[str, Any], weights: Weights, *, trust: bool = False) -> keras.Model:
    """The `tf_keras` model of a Keras 3 configuration, in float32 whatever types that names.

    Args:
        config: `class_name` and `config` of a functional or sequential model.
        weights: tells each layer's weights; see `hsi.models.keras3_weights`.
        trust: make Lambda layers, whose code then runs.

    Raises:
        ModelError: a layer, operation or setting that is not known here, or weights that do not
            fit the layers.
    """
    twin = _twin(config, trust=trust)
    twin.copy(weights)
    return twin.model


def open_keras3(path: Path, config: Mapping[str, Any], *, trust: bool = False) -> keras.Model:
    """The model in a `.keras` or `.h5` file of Keras 3, whose configuration has been read.

    Raises:
        ModelError: see `rebuild`; or no weights, or a damaged file.
    """
    if not zipfile.is_zipfile(path):
        with h5py.File(path, "r") as file:
            return rebuild(config, legacy(file), trust=trust)
    with zipfile.ZipFile(path) as archive:
        if "model.weights.h5" not in archive.namelist():
            raise ModelError("the archive holds no model.weights.h5.")
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content, "r") as file:
        return rebuild(config, archived(file), trust=trust)


# Live models


def from_keras3(model: Any) -> keras.Model:
    """A `tf_keras` model with a copy of the weights of a live Keras 3 model, of any backend.

    It computes in float32, whatever the live model does.

    Raises:
        ModelError: neither functional nor sequential, or see `rebuild`.
    """
    return twin_of(model).model


def twin_of(model: Any) -> Twin:
    """The same, with what it takes to follow the live model's training."""
    names = {base.__name__ for base in type(model).__mro__ if base.__module__.startswith("keras.")}
    kind = next((k for k in ("Sequential", "Functional") if k in names), type(model).__name__)
    try:
        # As a file would have it: without tuples.
        config = json.loads(json.dumps(model.get_config())) if kind in MODELS else {}
        twin = _twin({"class_name": kind, "config": config})
    except ModelError:
        raise
    except Exception as error:  # a model of one's own may say anything of itself
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the {kind} of Keras 3 cannot be rebuilt: {first}") from error
    twin.copy(live(model))
    return twin


def computes_here(model: Any) -> bool:
    """Whether a live Keras 3 model computes with TensorFlow, so that its gradient is at hand."""
    return sys.modules["keras"].backend.backend() == "tensorflow"


# The graph


@dataclass
class _Builder:
    """What is gathered while a model is rebuilt, models nested in it included."""

    trust: bool
    leaves: list[tuple[Any, tuple[str, ...], str]] = field(default_factory=list)

    def model(
        self, kind: str, config: Mapping[str, Any], path: tuple[str, ...], place: str
    ) -> keras.Model:
        if kind not in MODELS or not isinstance(config.get("layers"), list):
            raise ModelError(f"expected a functional or sequential model of Keras 3, got a {kind}.")
        build = self._sequential if kind == "Sequential" else self._functional
        return build(config, path, place)

    def part(
        self, entry: Mapping[str, Any], path: tuple[str, ...], group: Callable[[str], str]
    ) -> Callable[..., Any]:
        """What an entry of a list of layers stands for, to be called on symbolic tensors.

        `group` gives the place in the file of weights for the next layer of a kind.
        """
        kind, config = str(entry["class_name"]), entry["config"]
        if kind in MODELS:
            return self.model(kind, config, (*path, config["name"]), group(kind))
        if is_operation(kind, config):
            return operation_of(kind, config)
        piece = layer_of(kind, config, trust=self.trust)
        self.leaves.append((piece.layer, (*path, config["name"]), group(kind)))
        return piece if piece.after else piece.layer

    def _sequential(
        self, config: Mapping[str, Any], path: tuple[str, ...], place: str
    ) -> keras.Model:
        entries, group, name = list(config["layers"]), _groups(place), config["name"]
        if entries and entries[0]["class_name"] == "InputLayer":
            start = _input(entries.pop(0)["config"])
        elif config.get("build_input_shape"):
            start = keras.Input(batch_shape=plain(config["build_input_shape"]))
        else:
            raise ModelError(f"the model {name!r} was saved before its input had a shape.")
        parts = [self.part(entry, path, group) for entry in entries]
        if all(isinstance(part, keras.layers.Layer) for part in parts):
            return keras.Sequential([start, *parts], name=name)
        answer = start
        for part in parts:
            answer = part(answer)
        return keras.Model(start, answer, name=name)

    def _functional(
        self, config: Mapping[str, Any], path: tuple[str, ...], place: str
    ) -> keras.Model:
        group = _groups(place)
        tensors: dict[tuple[str, int], list[Any]] = {}
        waiting: list[tuple[Callable[..., Any], tuple[str, int], Mapping[str, Any]]] = []
        for entry in config["layers"]:
            name = entry.get("name") or entry["config"]["name"]
            if entry["class_name"] == "InputLayer":
                tensors[name, 0] = [_input(entry["config"])]
                continue
            part = self.part(entry, path, group)
            waiting += [(part, (name, i), node) for i, node in enumerate(entry["inbound_nodes"])]
        while waiting:
            ready = [step for step in waiting if _sources(step[2]) <= tensors.keys()]
            if not ready:
                raise ModelError(f"the layer {waiting[0][1][0]!r} has an input that nothing makes.")
            for part, key, node in ready:
                args, kwargs = (_filled(node[k], tensors) for k in ("args", "kwargs"))
                answer = part(*args, **{k: v for k, v in kwargs.items() if v is not None})
                tensors[key] = list(answer) if isinstance(answer, list | tuple) else [answer]
            waiting = [step for step in waiting if step[1] not in tensors]
        inputs, outputs = (_ends(config[k], tensors) for k in ("input_layers", "output_layers"))
        return keras.Model(inputs, outputs, name=config["name"])


def _twin(config: Mapping[str, Any], *, trust: bool = False) -> Twin:
    builder, kinds = _Builder(trust), other_types(config)
    # Here already, for layers that stand for operations of Keras 3 are of float32.
    config = in_single(config)
    model = builder.model(str(config["class_name"]), config["config"], (), "")
    return Twin(came_from(model, kinds), tuple(Leaf(*found) for found in builder.leaves))


def _groups(place: str) -> Callable[[str], str]:
    """Names as Keras 3 gives them: conv2d, conv2d_1, ... below `place`."""
    seen: dict[str, int] = {}

    def group(kind: str) -> str:
        kind = "Functional" if kind == "Model" else kind
        snake = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)
        snake = re.sub("([a-z])([A-Z])", r"\1_\2", snake).lower()
        count = seen[snake] = seen.get(snake, -1) + 1
        return f"{place}layers/{snake}{f'_{count}' if count else ''}/"

    return group


def _input(config: Mapping[str, Any]) -> Any:
    if config.get("sparse") or config.get("ragged"):
        raise ModelError(f"the input {config.get('name')!r} is sparse or ragged.")
    dtype = config.get("dtype") or "float32"
    return keras.Input(
        batch_shape=tuple(plain(config["batch_shape"])),
        dtype=dtype if isinstance(dtype, str) else policy(dtype, str(config.get("name"))),
        name=config.get("name"),
    )


def _tensor_key(value: Any) -> tuple[str, int, int] | None:
    """Layer, call and output that a stored tensor stands for; None for anything else."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        name, call, output = value["config"]["keras_history"]
        return name, call, output
    return None


def _sources(value: Any) -> set[tuple[str, int]]:
    """The (layer, call)s whose outputs are read in a stored structure."""
    key = _tensor_key(value)
    if key:
        return {key[:2]}
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*(_sources(part) for part in parts))


def _filled(value: Any, tensors: Mapping[tuple[str, int], list[Any]]) -> Any:
    """A stored structure with tensors in the place of their names."""
    key = _tensor_key(value)
    if key:
        return tensors[key[:2]][key[2]]
    if isinstance(value, list):
        return [_filled(part, tensors) for part in value]
    if isinstance(value, dict) and "class_name" not in value:
        return {k: _filled(part, tensors) for k, part in value.items()}
    if isinstance(value, dict) and value["class_name"] == "__tuple__" and _sources(value):
        return [_filled(p, tensors) for p in value.get("items") or value.get("config") or ()]
    return plain(value)


def _ends(value: Any, tensors: Mapping[tuple[str, int], list[Any]]) -> Any:
    """Inputs or outputs of a model, in the structure that it has them in."""
    if isinstance(value, dict):
        return {k: _ends(part, tensors) for k, part in value.items()}
    if len(value) == 3 and isinstance(value[0], str):
        return tensors[value[0], value[1]][value[2]]
    return [_ends(part, tensors) for part in value]
