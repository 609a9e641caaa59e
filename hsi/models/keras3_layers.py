"""Single layers and operations of Keras 3, as `tf_keras` (Keras 2) has them.

Only names in the tables here are followed: what a file names is looked up, never imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.errors import ModelError

_LAYERS = """
    Activation ActivityRegularization Add AlphaDropout Average AveragePooling1D AveragePooling2D
    AveragePooling3D BatchNormalization CenterCrop Concatenate Conv1D Conv1DTranspose Conv2D
    Conv2DTranspose Conv3D Conv3DTranspose Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D
    DepthwiseConv2D Dropout ELU Flatten GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D GroupNormalization Identity LayerNormalization LeakyReLU MaxPooling1D
    MaxPooling2D MaxPooling3D Maximum Minimum Multiply Normalization PReLU Permute RandomContrast
    RandomFlip RandomRotation RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape
    Resizing SeparableConv1D SeparableConv2D Softmax SpatialDropout1D SpatialDropout2D
    SpatialDropout3D Subtract UnitNormalization UpSampling1D UpSampling2D UpSampling3D
    ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""
LAYERS = frozenset(_LAYERS.split())
"""Layers that compute the same in both, under one name."""

_ACTIVATIONS = """
    elu exponential gelu leaky_relu linear log_softmax mish relu relu6 selu sigmoid silu softmax
    softplus softsign swish tanh
"""
ACTIVATIONS = frozenset(_ACTIVATIONS.split())
"""Activation functions that compute the same in both."""

OTHER_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "hard_sigmoid": lambda x: tf.nn.relu6(x + 3.0) / 6.0,  # Keras 2 has another slope
    "hard_silu": lambda x: x * (tf.nn.relu6(x + 3.0) / 6.0),
    "hard_swish": lambda x: x * (tf.nn.relu6(x + 3.0) / 6.0),
    "log_sigmoid": lambda x: -tf.nn.softplus(-x),
}

POLICIES = ("float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16")
RENAMED = {("LeakyReLU", "negative_slope"): "alpha"}
WITHOUT_EFFECT = {
    "Resizing": ("fill_mode", "fill_value"),  # of padding, which is refused
    "RandomContrast": ("value_range",),  # of training
}
"""Settings that say nothing about what the layer answers when it is used."""


@dataclass(frozen=True)
class Piece:
    """A layer, and what Keras 3 does to its answer where no layer of Keras 2 does it too."""

    layer: keras.layers.Layer
    after: Callable[[Any], Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        answer = self.layer(*args, **kwargs)
        return answer if self.after is None else self.after(answer)


def layer_of(kind: str, config: Mapping[str, Any], *, trust: bool = False) -> Piece:
    """The layer of a Keras 3 configuration, not built yet.

    Args:
        kind: class name.
        config: settings as Keras 3 stores them.
        trust: make a Lambda layer from the code that it holds.

    Raises:
        ModelError: a layer, an activation or a setting without a counterpart (named).
    """
    name = str(config.get("name"))
    if kind == "Lambda" and trust:
        return Piece(_lambda(config))
    if kind not in LAYERS:
        raise ModelError(
            f"layer {name!r} of Keras 3 is a {kind}, which is not known here; rebuild the model "
            "from ordinary layers."
        )
    made = getattr(keras.layers, kind)
    config, after = dict(config), None
    if isinstance(config.get("activation"), dict | str):
        config["activation"], after = _activation(config["activation"], name)
    known, settings = _arguments(made), {}
    for key, value in config.items():
        key = RENAMED.get((kind, key), key)
        if key == "seed" or key in WITHOUT_EFFECT.get(kind, ()):
            continue
        if key not in known:
            if value in (None, False) or (key, value) == ("data_format", "channels_last"):
                continue
            raise ModelError(
                f"layer {name!r} ({kind}) of Keras 3 has {key}={value!r}, which tf_keras "
                "(Keras 2) does not have."
            )
        settings[key] = _setting(key, value, name)
    if settings.get("renorm") is False:
        settings = {k: v for k, v in settings.items() if not k.startswith("renorm")}
    return Piece(made(**{k: v for k, v in settings.items() if v is not _DEFAULT}), after)


_DEFAULT = object()
"""Stands for "as the layer has it if nothing is said"."""


def _arguments(made: type) -> set[str]:
    """Names of what a layer class can be made with."""
    names = {"name", "trainable", "dtype"}
    for base in made.__mro__:
        if base is keras.layers.Layer:
            break
        names |= set(inspect.signature(base.__init__).parameters)  # type: ignore[misc]
    return names - {"self", "args", "kwargs"}


def _setting(key: str, value: Any, name: str) -> Any:
    """One setting in the form of `tf_keras`."""
    if key == "dtype":
        return policy(value, name)
    if key.endswith("_initializer"):
        # What the weights began with changes no answer; a strange one is left out.
        return _object(value, keras.initializers, keras.initializers.Initializer) or _DEFAULT
    for ending, package, base in (
        ("_regularizer", keras.regularizers, keras.regularizers.Regularizer),
        ("_constraint", keras.constraints, keras.constraints.Constraint),
    ):
        if key.endswith(ending) and value is not None:
            found = _object(value, package, base)
            if found is None:
                kind = value.get("class_name") if isinstance(value, dict) else value
                raise ModelError(f"layer {name!r}: the {key} {kind!r} is not known here.")
            return found
    return plain(value)


def policy(value: Any, name: str) -> str:
    """A type or a policy of types, by name.

    Raises:
        ModelError: a policy that tf_keras does not have (of quantized layers, mostly).
    """
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner.get("name") if isinstance(inner, dict) else None
    if value not in POLICIES:
        raise ModelError(
            f"layer {name!r}: expected one of the types {', '.join(POLICIES)}, got {value!r}."
        )
    return str(value)


def _object(value: Any, package: Any, base: type) -> Any:
    """An initializer, regularizer or constraint of `tf_keras`; None for an unknown one."""
    if not isinstance(value, dict):
        return None
    made = getattr(package, str(value.get("class_name")), None)
    settings = value.get("config")
    if not (inspect.isclass(made) and issubclass(made, base) and isinstance(settings, dict)):
        return None
    known = set(inspect.signature(made.__init__).parameters) - {"self", "seed"}
    return made(**{k: plain(v) for k, v in settings.items() if k in known})


def _activation(value: Any, name: str) -> tuple[str, Callable[[Any], Any] | None]:
    """What the layer itself applies, and what is to follow it."""
    if isinstance(value, dict) and value.get("class_name") in LAYERS:
        inner = dict(value.get("config") or {}, name=f"{name}_activation")
        return "linear", layer_of(value["class_name"], inner)
    if isinstance(value, str) and value in ACTIVATIONS:
        return value, None
    if isinstance(value, str) and value in OTHER_ACTIVATIONS:
        return "linear", OTHER_ACTIVATIONS[value]
    said = value.get("config") if isinstance(value, dict) else value
    raise ModelError(f"layer {name!r}: the activation {said!r} of Keras 3 is not known here.")


def plain(value: Any) -> Any:
    """A stored value as Python has it: tuples, slices and arrays come wrapped.

    Raises:
        ModelError: an object of another kind.
    """
    if isinstance(value, list):
        return [plain(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "class_name" not in value:
        return {k: plain(v) for k, v in value.items()}
    kind, config = value["class_name"], value.get("config")
    if kind == "__tuple__":
        return tuple(plain(v) for v in value.get("items") or config or ())
    if kind == "__ellipsis__":
        return ...
    if kind == "__slice__" and isinstance(config, dict):
        return slice(*(plain(config.get(k)) for k in ("start", "stop", "step")))
    if kind in ("__numpy__", "__tensor__") and isinstance(config, dict):
        return np.asarray(config["value"], config["dtype"])
    raise ModelError(f"the file holds a {kind!r} where a number or a text is expected.")


def _lambda(config: Mapping[str, Any]) -> keras.layers.Layer:
    """A Lambda layer, with the code that the file holds: only for a file that is trusted."""
    function = config.get("function")
    name = str(config.get("name"))
    if not isinstance(function, dict) or function.get("class_name") != "__lambda__":
        raise ModelError(f"layer {name!r} is a Lambda that names a function the file lacks.")
    held = function["config"]
    return keras.layers.Lambda.from_config(
        {
            "name": name,
            "function": (held["code"], held.get("defaults"), held.get("closure")),
            "function_type": "lambda",
            "output_shape": None,
            "output_shape_type": "raw",
            "arguments": plain(config.get("arguments") or {}),
        }
    )


Operation = Callable[..., Any]


def is_operation(kind: str, config: Mapping[str, Any]) -> bool:
    """Whether an entry of a list of layers is a function (`keras.ops`) and no layer.

    Both can have one name, such as Add. Layers of such names say whether they are trainable.
    """
    functions = _MERGES.keys() | _AS_LAYER.keys() | _FUNCTIONS.keys()
    return "trainable" not in config and (kind in functions or kind not in LAYERS)


def operation_of(kind: str, config: Mapping[str, Any]) -> Operation:
    """The function that an operation between layers (`keras.ops`) is, on symbolic tensors.

    Raises:
        ModelError: an operation that is not known here (named).
    """
    name = str(config.get("name"))
    settings = {k: plain(v) for k, v in config.items() if k not in ("name", "dtype")}
    if kind in _MERGES:
        return _merge(kind, name)
    if kind in _AS_LAYER:
        return _AS_LAYER[kind](name, settings)
    if kind in _FUNCTIONS:
        return lambda *args: _FUNCTIONS[kind](*args, **settings)
    raise ModelError(
        f"{name!r} is the operation {kind} of Keras 3, which is not known here; rebuild the model "
        "from ordinary layers."
    )


def _merge(kind: str, name: str) -> Operation:
    """Arithmetic on two tensors: the layer where it computes the same, for pruning knows it."""

    def merge(a: Any, b: Any) -> Any:
        ranks = [
            len(x.shape) for x in (a, b) if hasattr(x, "shape") and not isinstance(x, np.ndarray)
        ]
        if len(ranks) == 2 and ranks[0] == ranks[1] and hasattr(keras.layers, kind):
            return getattr(keras.layers, kind)(name=name)([a, b])
        return _MERGES[kind](a, b)

    return merge


_MERGES: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda a, b: a + b,
    "Subtract": lambda a, b: a - b,
    "Multiply": lambda a, b: a * b,
    "Divide": lambda a, b: a / b,
    "TrueDivide": lambda a, b: a / b,
    "Maximum": lambda a, b: tf.maximum(a, b),
    "Minimum": lambda a, b: tf.minimum(a, b),
    "Power": lambda a, b: tf.pow(a, b),
}

_AS_LAYER: dict[str, Callable[[str, dict[str, Any]], Operation]] = {
    "Relu": lambda name, _: keras.layers.ReLU(name=name),
    "Relu6": lambda name, _: keras.layers.ReLU(6.0, name=name),
    "LeakyRelu": lambda name, s: keras.layers.LeakyReLU(s.get("negative_slope", 0.2), name=name),
    "Elu": lambda name, s: keras.layers.ELU(s.get("alpha", 1.0), name=name),
    "Softmax": lambda name, s: keras.layers.Softmax(s.get("axis", -1), name=name),
    "Sigmoid": lambda name, _: keras.layers.Activation("sigmoid", name=name),
    "Tanh": lambda name, _: keras.layers.Activation("tanh", name=name),
    "Silu": lambda name, _: keras.layers.Activation("swish", name=name),
    "Selu": lambda name, _: keras.layers.Activation("selu", name=name),
    "Softplus": lambda name, _: keras.layers.Activation("softplus", name=name),
    "HardSigmoid": lambda _, __: OTHER_ACTIVATIONS["hard_sigmoid"],
    "HardSilu": lambda _, __: OTHER_ACTIVATIONS["hard_silu"],
    "Concatenate": lambda name, s: keras.layers.Concatenate(s.get("axis", -1), name=name),
}

_FUNCTIONS: dict[str, Operation] = {
    "Abs": tf.abs,
    "Absolute": tf.abs,
    "Exp": tf.exp,
    "Log": tf.math.log,
    "Negative": tf.negative,
    "Sqrt": tf.sqrt,
    "Square": tf.square,
    "Mean": lambda x, axis=None, keepdims=False: tf.reduce_mean(x, axis, keepdims),
    "Sum": lambda x, axis=None, keepdims=False: tf.reduce_sum(x, axis, keepdims),
    "Max": lambda x, axis=None, keepdims=False, initial=None: tf.reduce_max(x, axis, keepdims),
    "Min": lambda x, axis=None, keepdims=False, initial=None: tf.reduce_min(x, axis, keepdims),
    "Reshape": lambda x, newshape: tf.reshape(x, newshape),
    "Transpose": lambda x, axes=None: tf.transpose(x, axes),
    "ExpandDims": lambda x, axis: tf.expand_dims(x, axis),
    "Squeeze": lambda x, axis=None: tf.squeeze(x, axis),
    "GetItem": lambda x, key: x[tuple(key) if isinstance(key, list) else key],
}
