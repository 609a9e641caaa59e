"""Model files: read without running a stranger's code, written whole or not at all."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from hsi.errors import ModelError

if TYPE_CHECKING:
    import tf_keras as keras


def load_model(path: str | Path) -> keras.Model:
    """Open a tf_keras `.h5` or `.keras` file for inference (not compiled).

    Raises:
        ModelError: missing, damaged, no model, or a Lambda layer, which could run any code.
    """
    path = Path(path)
    if path.is_dir():
        raise ModelError(f"{path}: expected a model file (.h5 or .keras), got a folder.")
    if not path.is_file():
        raise ModelError(f"{path}: no such model file.")
    refuse_code(read_config(path), path)
    import tf_keras as keras

    try:
        return keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, KeyError, OSError, AttributeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{path}: expected a tf_keras model, could not open it: {first}") from error


def read_config(path: Path) -> dict[str, Any]:
    """The architecture stored in a model file, without building it or loading TensorFlow.

    Raises:
        ModelError: the file is damaged or holds no Keras model.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read("config.json"))
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise ModelError(f"{path}: an HDF5 file, but no Keras model (weights or data only?).")
            return json.loads(file.attrs["model_config"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path}: expected a Keras model file (.h5 or .keras); it is damaged or something else."
        ) from error


def refuse_code(config: Any, path: Path) -> None:
    """Refuse a configuration in which a layer carries Python code (`ModelError`)."""
    if isinstance(config, dict):
        if config.get("class_name") == "Lambda":
            name = config.get("config", {}).get("name", "?")
            raise ModelError(
                f"{path}: layer {name!r} is a Lambda, which holds Python code; it is not run. "
                f"Rebuild the model from named layers."
            )
        for value in config.values():
            refuse_code(value, path)
    elif isinstance(config, list):
        for value in config:
            refuse_code(value, path)


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model as `.h5` without optimizer state, by atomic rename."""
    from hsi.files import atomic_path

    with atomic_path(path) as temporary:
        model.save(temporary, include_optimizer=False, save_format="h5")
