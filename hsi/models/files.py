"""Model files: read without running a stranger's code, written whole or not at all."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from hsi.errors import ModelError
from hsi.files import atomic_path

if TYPE_CHECKING:
    import tf_keras as keras

KERAS_MODULES = ("keras", "tf_keras", "builtins")
SAFE_FUNCTIONS = (
    "math.", "nn.", "__operators__.", "cast", "concat", "convert_to_tensor", "expand_dims", "pad",
    "reshape", "split", "squeeze", "stack", "transpose",
)  # fmt: skip
"""How the names of TensorFlow functions begin that compute and do nothing else."""


def load_model(path: str | Path) -> keras.Model:
    """Open a tf_keras `.h5` or `.keras` file for inference (not compiled).

    Raises:
        ModelError: missing, damaged, no model, of Keras 3, or one that could run any code (Lambda).
    """
    path = Path(path)
    if path.is_dir():
        raise ModelError(f"{path}: expected a model file (.h5 or .keras), got a folder.")
    if not path.is_file():
        raise ModelError(f"{path}: no such model file.")
    refuse_code(read_config(path), path)
    import tf_keras as keras

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, h5py, zipfile and TensorFlow each raise their own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{path}: expected a tf_keras model, could not open it: {first}"
        ) from error
    if not isinstance(model, keras.Model):
        raise ModelError(f"{path}: expected a tf_keras model, got a {type(model).__name__}.")
    return model


def read_config(path: Path) -> dict[str, Any]:
    """The architecture stored in a model file, without building it or loading TensorFlow.

    Raises:
        ModelError: the file is damaged or holds no Keras model.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                version = json.loads(archive.read("metadata.json")).get("keras_version")
                config = json.loads(archive.read("config.json"))
        else:
            with h5py.File(path, "r") as file:
                version = file.attrs.get("keras_version")
                config = json.loads(file.attrs.get("model_config", "null"))
    except Exception as error:  # damage comes as anything: BadZipFile, RuntimeError, zlib.error ...
        raise ModelError(
            f"{path}: expected a Keras model file (.h5 or .keras); it is damaged or something else."
        ) from error
    if not isinstance(config, dict):
        raise ModelError(f"{path}: an HDF5 file, but no Keras model (weights or data only?).")
    version = version.decode() if isinstance(version, bytes) else str(version or "")
    if version.startswith("3"):
        raise ModelError(
            f"{path}: saved by Keras {version}, which tf_keras (Keras 2) cannot read; build the "
            f"network in tf_keras, copy the weights with set_weights, and save that."
        )
    return config


def refuse_code(config: Any, path: Path) -> None:
    """Refuse a configuration that makes Keras run more than its own layers (`ModelError`).

    A Lambda layer holds Python code; any object may name a Python module to import (Keras does so
    even in its safe mode: CVE-2025-1550); a TensorFlow function called as a layer may be any.
    """
    if isinstance(config, dict):
        kind, module = config.get("class_name"), config.get("module")
        inner = config.get("config")
        inner = inner if isinstance(inner, dict) else {}
        name = repr(config.get("name") or inner.get("name") or kind)
        if kind in ("Lambda", "__lambda__"):
            raise ModelError(
                f"{path}: layer {name} is a Lambda, which holds Python code; it is not run. "
                f"Rebuild the model from named layers."
            )
        if kind and module and str(module).split(".")[0] not in KERAS_MODULES:
            raise ModelError(
                f"{path}: {name} comes from the Python module {module!r}, which is not run. "
                f"Rebuild the model from layers of tf_keras."
            )
        function = str(inner.get("function", ""))
        if kind == "TFOpLambda" and not function.startswith(SAFE_FUNCTIONS):
            raise ModelError(
                f"{path}: layer {name} calls the TensorFlow function {function!r}, which is not "
                f"known as harmless. Rebuild the model from named layers."
            )
        for value in config.values():
            refuse_code(value, path)
    elif isinstance(config, list):
        for value in config:
            refuse_code(value, path)


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model as `.h5` without optimizer state, by atomic rename.

    The file is made in memory first: on a full disk HDF5 fails in ways of its own, some of them
    while it closes; plain bytes fail plainly.
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file")
        model.save(file, include_optimizer=False, save_format="h5")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())
