"""Explanations of a classifier: one file a method, one call signature, one table of names.

An attribution method is a module with

    attribute(model, inputs, *, classes=None, batch_size=64, seed=0, **options) -> Attribution

where `inputs` are prepared samples (n, rows, cols, channels), at the scale the network was trained
on. The module knows nothing of scenes or of compression. A new method is one new file and one new
line in `METHODS`; reading the table loads no TensorFlow.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np

from hsi.errors import SettingsError, one_of
from hsi.explain.attribution import Attribution

COMMON_OPTIONS = ("classes", "batch_size", "seed")
"""What every attribution method takes; anything else is an option of the method."""


@dataclass(frozen=True)
class Method:
    """A line of the table.

    Attributes:
        module: full name of the module that holds it; imported when it is used.
        summary: one line for `--help`.
        kind: "attribution" (has `attribute`) or "activations" (has `activations`).
    """

    module: str
    summary: str
    kind: Literal["attribution", "activations"]


METHODS: dict[str, Method] = {
    "gradient": Method(
        "hsi.explain.gradient",
        "gradient of the class score with respect to the input (Simonyan 2014)",
        "attribution",
    ),
    "smoothgrad": Method(
        "hsi.explain.smoothgrad",
        "mean gradient over noisy copies of the input (Smilkov 2017)",
        "attribution",
    ),
    "activation_map": Method(
        "hsi.explain.activation_map",
        "feature maps of every layer, or of the named ones",
        "activations",
    ),
}


def load(name: str) -> ModuleType:
    """The module of a method; loads TensorFlow.

    Raises:
        SettingsError: no method of that name; the text lists the known ones.
    """
    return importlib.import_module(METHODS[one_of(name, METHODS, what="method")].module)


def options_of(name: str) -> dict[str, Any]:
    """Names and defaults of the options that only this attribution method takes; loads TensorFlow.

    Raises:
        SettingsError: no attribution method of that name.
    """
    parameters = inspect.signature(_attribution_module(name).attribute).parameters.values()
    return {
        p.name: p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.name not in COMMON_OPTIONS
    }


def attribute(
    name: str,
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int = 64,
    seed: int = 0,
    **options: Any,
) -> Attribution:
    """Attribution of a class score to the input, by the method of that name.

    Args:
        name: a key of `METHODS` of kind "attribution".
        model: a `tf_keras` model, or any differentiable callable from (n, ...) to logits (n, k).
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains the predicted class.
        batch_size: most rows that pass through the network at once; bounds the memory.
        seed: of whatever is random in the method.
        options: of the method; see `options_of`.

    Raises:
        SettingsError: unknown method or option, class out of range, no samples.
        ModelError: inputs that do not fit the network.
    """
    module = _attribution_module(name)
    for option in options:
        one_of(option, options_of(name), what=f"option of {name}")
    return module.attribute(
        model, inputs, classes=classes, batch_size=batch_size, seed=seed, **options
    )


def _attribution_module(name: str) -> ModuleType:
    if METHODS[one_of(name, METHODS, what="method")].kind != "attribution":
        known = ", ".join(n for n, m in METHODS.items() if m.kind == "attribution")
        raise SettingsError(f"{name} attributes no score: expected one of {known}.")
    return load(name)
