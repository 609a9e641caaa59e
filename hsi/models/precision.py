"""Networks of other floating types than float32, rebuilt in it with the same weights.

Mixed precision (Micikevicius et al. 2018, arXiv 1710.03740) is a way to train: weights are kept in
float32, layers compute in half. What comes after the training expects one type throughout: the
TFLite converter knows no half or double convolutions, pruning multiplies kernels with masks of
their own type, and slopes in half precision vanish. So a model that is opened computes in float32,
which holds every half number exactly.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import tf_keras as keras

from hsi.errors import ModelError

SINGLE, DOUBLE = "float32", "float64"
OTHERS = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16", DOUBLE)
"""Types and policies of types that `in_single` replaces."""

KERAS = ("keras", "tf_keras")

_ORIGINS: weakref.WeakKeyDictionary[keras.Model, tuple[str, ...]] = weakref.WeakKeyDictionary()
_TWINS: weakref.WeakKeyDictionary[keras.Model, Any] = weakref.WeakKeyDictionary()


def single_precision(model: keras.Model) -> keras.Model:
    """The model in float32: itself where it is, else another one with the same weights.

    Outputs are those of the model but for its own rounding. `precision_note` then says so. A model
    that shows no layers, or with a Lambda layer, whose code may name any type, is left as it is.

    Raises:
        ModelError: layers that cannot be made from their configuration.
    """
    config = _config(model)
    kinds = other_types(config)
    if not kinds:
        return model
    made = keras.Sequential if isinstance(model, keras.Sequential) else keras.Model
    parts = {type(layer) for layer in model._flatten_layers(include_self=False)}
    own = {kind.__name__: kind for kind in parts if kind.__module__.split(".")[0] not in KERAS}
    try:
        single = made.from_config(in_single(config), custom_objects=own)
        _copy_weights(model, single)
    except Exception as error:  # a layer of one's own may raise anything
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"the network of {' and '.join(kinds)} cannot be rebuilt in {SINGLE}: {first}; save it "
            f"in {SINGLE}."
        ) from error
    return came_from(single, kinds)


def followed_single(model: keras.Model) -> keras.Model:
    """The float32 twin of a live model, made once and given the model's weights at each call.

    The model itself where it is of one type, single or double, or cannot be rebuilt.
    """
    if model not in _TWINS:
        _TWINS[model] = None
        if _is_mixed(model):
            with contextlib.suppress(ModelError):
                _TWINS[model] = single_precision(model)
    twin = _TWINS[model]
    if twin is None:
        return model
    _copy_weights(model, twin)
    return twin


def in_single(config: Any) -> Any:
    """A configuration of a model or layer of either Keras with float32 for all of `OTHERS`.

    Integers, and policies of quantized layers, stay.
    """
    if isinstance(config, Mapping):
        return {
            key: SINGLE if key == "dtype" and _type(value) in OTHERS else in_single(value)
            for key, value in config.items()
        }
    if type(config) in (list, tuple):
        return type(config)(in_single(value) for value in config)
    return config


def other_types(config: Any) -> tuple[str, ...]:
    """Which of `OTHERS` a configuration names; of mixed ones by the name of the policy alone."""
    names = set(_others(config))
    return tuple(sorted(name for name in names if f"mixed_{name}" not in names))


def came_from(model: keras.Model, kinds: tuple[str, ...]) -> keras.Model:
    """The model, of which is kept that it was of these types."""
    if kinds:
        _ORIGINS[model] = kinds
    return model


def precision_note(model: Any) -> str:
    """What is to be said of a model that was rebuilt in float32; "" of any other."""
    kinds = _ORIGINS.get(model) if isinstance(model, keras.Model) else None
    if not kinds:
        return ""
    return f"the network is of {' and '.join(kinds)}; it computes in {SINGLE} here, same weights"


def _is_mixed(model: keras.Model) -> bool:
    """Whether it computes in half precision, or in double precision only in parts."""
    kinds = other_types(_config(model))
    whole = kinds == (DOUBLE,) and {layer.compute_dtype for layer in model.layers} == {DOUBLE}
    return bool(kinds) and not whole


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Layer by layer: one that stands in a nested model too is there twice in the target."""
    for layer in source.layers:
        found = target.get_layer(layer.name)
        if isinstance(layer, keras.Model) and layer._is_graph_network:
            _copy_weights(layer, found)
        else:
            found.set_weights(layer.get_weights())
            for part in found._flatten_layers():
                part.finalize_state()  # a Normalization computes with what it made of its weights


def _config(model: keras.Model) -> Any:
    if not getattr(model, "_is_graph_network", False):
        return None
    layers = list(model._flatten_layers(include_self=False))
    if any(isinstance(layer, keras.layers.Lambda) for layer in layers):
        return None
    try:
        return model.get_config()
    except NotImplementedError:  # a layer of one's own that does not tell its settings
        return None


def _others(config: Any) -> Iterator[str]:
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key == "dtype" and _type(value) in OTHERS:
                yield _type(value)
            else:
                yield from _others(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _others(value)


def _type(value: Any) -> str:
    """The name of a type or of a policy, in whichever form a configuration has it."""
    if isinstance(value, Mapping) and isinstance(value.get("config"), Mapping):
        value = value["config"].get("name")
    return str(getattr(value, "name", value))
