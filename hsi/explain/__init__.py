"""Explanations of a classifier: one file a method, one call signature, one table of names.

An attribution method is a module with

    attribute(model, inputs, *, classes=None, batch_size=None, seed=0, **options) -> Attribution

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
        kind: "attribution" (has `attribute`), "activations" (has `activations`), "image" (has
            `images`) or "model" (of the whole network: a function of its own).
        takes_layer: whether one layer can be named with the option `layer`.
    """

    module: str
    summary: str
    kind: Literal["attribution", "activations", "image", "model"]
    takes_layer: bool = False


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
    "smoothgrad_squared": Method(
        "hsi.explain.smoothgrad_squared",
        "mean of squared gradients over noisy copies (Hooker 2019)",
        "attribution",
    ),
    "vargrad": Method(
        "hsi.explain.vargrad",
        "variance of gradients over noisy copies (Adebayo 2018)",
        "attribution",
    ),
    "input_times_gradient": Method(
        "hsi.explain.input_times_gradient",
        "first-order contribution of each input value (Shrikumar 2016)",
        "attribution",
    ),
    "integrated_gradient": Method(
        "hsi.explain.integrated_gradient",
        "contributions that sum to the score difference to a baseline (Sundararajan 2017)",
        "attribution",
    ),
    "guided_backprop": Method(
        "hsi.explain.guided_backprop",
        "gradient, only what is positive at every ReLU (Springenberg 2015)",
        "attribution",
    ),
    "deconvnet": Method(
        "hsi.explain.deconvnet",
        "the way back with ReLUs on what goes back (Zeiler and Fergus 2014)",
        "attribution",
    ),
    "gradcam": Method(
        "hsi.explain.gradcam",
        "feature maps weighed by their mean gradient (Selvaraju 2017)",
        "attribution",
        takes_layer=True,
    ),
    "gradcam_plus_plus": Method(
        "hsi.explain.gradcam_plus_plus",
        "feature maps weighed position by position (Chattopadhay 2018)",
        "attribution",
        takes_layer=True,
    ),
    "guided_gradcam": Method(
        "hsi.explain.guided_gradcam",
        "guided backpropagation where Grad-CAM looks (Selvaraju 2017)",
        "attribution",
        takes_layer=True,
    ),
    "visual_backprop": Method(
        "hsi.explain.visual_backprop",
        "where all convolutions are active at once, of no class (Bojarski 2016)",
        "attribution",
    ),
    "layer_attention": Method(
        "hsi.explain.layer_attention",
        "guided backpropagation of one feature map of one layer",
        "attribution",
        takes_layer=True,
    ),
    "occlusion": Method(
        "hsi.explain.occlusion",
        "fall of the score when pixels are covered (Zeiler and Fergus 2014)",
        "attribution",
    ),
    "spectral_occlusion": Method(
        "hsi.explain.spectral_occlusion",
        "fall of the score when neighbouring channels are covered",
        "attribution",
    ),
    "rise": Method(
        "hsi.explain.rise",
        "rise of the score where random masks let pixels be seen (Petsiuk 2018)",
        "attribution",
    ),
    "activation_map": Method(
        "hsi.explain.activation_map",
        "feature maps of every layer, or of the named ones",
        "activations",
    ),
    "class_image": Method(
        "hsi.explain.class_image",
        "the input that a class likes best, by gradient ascent (Erhan 2009)",
        "image",
    ),
    "filters": Method(
        "hsi.explain.filters",
        "kernels of a layer, of the first convolution by default",
        "model",
        takes_layer=True,
    ),
    "model_graph": Method(
        "hsi.explain.model_graph",
        "layers of the network and what each of them reads",
        "model",
    ),
    "misclassified": Method(
        "hsi.explain.misclassified",
        "wrongly classified test samples, the surest first, over all confusions",
        "model",
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
    batch_size: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Attribution:
    """Attribution of a class score to the input, by the method of that name.

    Args:
        name: a key of `METHODS` of kind "attribution".
        model: a `tf_keras` model, or any differentiable callable from (n, ...) to logits (n, k).
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains the predicted class.
        batch_size: most rows that pass through the network at once; bounds the memory. None takes
            as many as hold two million values: `hsi.explain.attribution.rows_at_once`.
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
