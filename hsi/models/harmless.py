"""What the configuration of a model file may hold, so that opening it runs no stranger's code."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hsi.errors import ModelError

TRUST = "If you know its author, --trust opens it and runs its code"

KERAS_MODULES = ("keras", "tf_keras", "builtins")
SAFE_FUNCTIONS = (
    "math.", "nn.", "__operators__.", "cast", "concat", "convert_to_tensor", "expand_dims", "pad",
    "reshape", "split", "squeeze", "stack", "transpose",
)  # fmt: skip
"""How the names of TensorFlow functions begin that compute and do nothing else."""

FUNCTIONS = ("TFOpLambda", "SlicingOpLambda")
"""Layers that call a TensorFlow function by its name."""
ANY_OPERATOR = ("ClassMethod", "InstanceMethod", "InstanceProperty", "TensorFlowOpLayer")
"""Layers that call a method or an operator, whichever the file says."""

_SPACES = (
    "layers", "initializers", "regularizers", "constraints", "mixed_precision", "optimizers",
    "optimizers.schedules", "losses", "metrics",
)  # fmt: skip
"""Where tf_keras shows what a configuration is made of."""
_INNER = (
    "Functional", "Model", "Sequential", "SyncBatchNormalization", *FUNCTIONS,
    "CompositeTensor", "TensorShape", "TypeSpec", "__bytes__", "__ellipsis__", "__numpy__",
    "__tensor__", "__tuple__", "__typespec__",
)  # fmt: skip
"""What else it writes: models, and the marks of values that JSON does not know."""
_READ_FILES = ("IntegerLookup", "StringLookup", "TextVectorization")
"""Layers that open a file, whichever the configuration names."""


def refuse_code(config: Any, path: Path) -> None:
    """Refuse a configuration that makes Keras run more than its own layers; loads no TensorFlow.

    A Lambda layer holds Python code; any object may name a Python module to import (Keras does so
    even in its safe mode: CVE-2025-1550); a TensorFlow function, method or operator called as a
    layer may be any; and wrappers of recurrent cells may hold Python code, marked as a lambda.

    Raises:
        ModelError: the layer is named, and what to do.
    """
    for item in _objects(config):
        kind, module = item.get("class_name"), item.get("module")
        inner = item.get("config")
        inner = inner if isinstance(inner, dict) else {}
        marked = any(key.endswith("_type") and value == "lambda" for key, value in inner.items())
        if kind in ("Lambda", "__lambda__") or marked:
            raise ModelError(
                f"{path}: layer {_name(item)} is a {'Lambda' if not marked else kind}, which holds "
                f"Python code; it is not run. "
                f"{TRUST}, or rebuild the model from named layers."
            )
        if kind and module and str(module).split(".")[0] not in KERAS_MODULES:
            raise ModelError(
                f"{path}: {_name(item)} comes from the Python module {module!r}, which is not run. "
                f"{TRUST}, or rebuild the model from layers of tf_keras."
            )
        function = str(inner.get("function", ""))
        if kind in ANY_OPERATOR:
            raise ModelError(
                f"{path}: layer {_name(item)} of the kind {kind} may call anything of TensorFlow; "
                f"it is not run. {TRUST}, or rebuild the model from named layers."
            )
        if kind in FUNCTIONS and not function.startswith(SAFE_FUNCTIONS):
            raise ModelError(
                f"{path}: layer {_name(item)} calls the TensorFlow function {function!r}, which is "
                f"not known as harmless. {TRUST}, or rebuild the model from named layers."
            )


def refuse_unknown(config: Any, path: Path) -> None:
    """Refuse a configuration of `tf_keras` with anything in it that `tf_keras` does not show.

    By its names Keras also finds what its own modules hold or import, and any function of Python.

    Raises:
        ModelError: the object is named, and what to do.
    """
    for item in _objects(config):
        kind, alias = item["class_name"], item.get("registered_name")
        if kind == "function":
            known = _is_function(item)
        else:
            known = isinstance(kind, str) and kind in _known() and alias in (None, kind)
        if not known:
            what = item["config"] if kind == "function" and "config" in item else kind
            raise ModelError(
                f"{path}: {_name(item)} is a {what!r}, which is not known as harmless. "
                f"{TRUST}, or rebuild the model from layers of tf_keras."
            )


def _is_function(item: dict[str, Any]) -> bool:
    """Whether it names a function, such as an activation, that Keras knows by its name alone."""
    name, module = item.get("config"), item.get("module")
    return (
        isinstance(name, str)
        and module in (None, "builtins")
        and item.get("registered_name") in (None, "function", name)
        and not hasattr(builtins, name)
    )


@cache
def _known() -> frozenset[str]:
    import tf_keras as keras

    shown = {
        value.__name__
        for name in _SPACES
        for value in vars(_space(keras, name)).values()
        if isinstance(value, type)
    }
    return frozenset((shown | set(_INNER)) - {"Lambda", *_READ_FILES})


def _space(keras: Any, name: str) -> Any:
    for part in name.split("."):
        keras = getattr(keras, part)
    return keras


def _objects(config: Any, *, top: bool = True) -> Iterator[dict[str, Any]]:
    """All that is named by a class in a configuration; how it was compiled does not count."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for key, value in config.items():
            if not (top and key == "compile_config"):
                yield from _objects(value, top=False)
    elif isinstance(config, list):
        for value in config:
            yield from _objects(value, top=False)


def _name(item: dict[str, Any]) -> str:
    inner = item.get("config")
    own = inner.get("name") if isinstance(inner, dict) else None
    return repr(item.get("name") or own or item.get("class_name"))
