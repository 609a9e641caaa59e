"""Model files: read without running a stranger's code, written whole or not at all."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from hsi.errors import ModelError
from hsi.files import atomic_path
from hsi.models.harmless import refuse_code, refuse_unknown

if TYPE_CHECKING:
    import tf_keras as keras

    from hsi.models.saved_model import SavedGraph

GRAPH_FILE = "saved_model.pb"


def load_model(path: str | Path, *, trust: bool = False) -> keras.Model | SavedGraph:
    """Open a model for inference (not compiled): `.h5`, `.keras` or a SavedModel folder.

    Files of `tf_keras` are opened by it; those of Keras 3 are rebuilt in it. So is a SavedModel
    that `tf_keras` wrote; of any other, the graph itself is answered, without layers.

    Args:
        path: the file, or the folder with `saved_model.pb`.
        trust: run the Python code that a Lambda layer holds or a file names, and any operator.

    Raises:
        ModelError: missing, damaged, no model, a layer of Keras 3 that `tf_keras` does not know,
            or, without `trust`, a file that could run any code; or a layer that this TensorFlow
            computes wrongly (`hsi.models.short_steps`).
    """
    path = Path(path)
    model = _load_folder(path, trust=trust) if path.is_dir() else _load_file(path, trust=trust)
    import tf_keras as keras

    if isinstance(model, keras.Model):
        from hsi.models.precision import single_precision
        from hsi.models.short_steps import refuse_wrong_steps

        with _one_line(path, "a model whose layers can be computed"):
            model = single_precision(model)
            refuse_wrong_steps(model)
    return model


def too_few_classes(path: str | Path, shape: Sequence[int | None]) -> ModelError:
    """The refusal of a network whose scores name no class: every sample would get the first."""
    return ModelError(
        f"{path}: expected scores of (n, classes) with two classes or more, got {tuple(shape)}; a "
        "single logistic score needs a second one."
    )


def _load_file(path: Path, *, trust: bool) -> keras.Model:
    if not path.is_file():
        raise ModelError(f"{path}: no such model file.")
    config, version = _stored(path)
    if not trust:
        refuse_code(config, path)
    if version.startswith("3"):
        from hsi.models.keras3 import open_keras3

        with _one_line(path, f"a model of Keras {version}"):
            return open_keras3(path, config, trust=trust)
    if not trust:
        refuse_unknown(config, path)
    import tf_keras as keras

    with _one_line(path, "a tf_keras model"):
        model = keras.models.load_model(path, compile=False, safe_mode=not trust)
    if not isinstance(model, keras.Model):
        raise ModelError(f"{path}: expected a tf_keras model, got a {type(model).__name__}.")
    return model


def _load_folder(path: Path, *, trust: bool) -> keras.Model | SavedGraph:
    if not (path / GRAPH_FILE).is_file():
        raise ModelError(
            f"{path}: expected a model file (.h5 or .keras) or a SavedModel, got a folder "
            f"without {GRAPH_FILE}."
        )
    from hsi.models.saved_model import keras_config, load_graph, load_keras, refuse_operators

    with _one_line(path, "a SavedModel"):
        config = keras_config(path)
    if not trust:
        if config:
            refuse_code(config, path)
            refuse_unknown(config, path)
        with _one_line(path, "a SavedModel"):
            refuse_operators(path)
    with _one_line(path, "a SavedModel"):
        return load_keras(path, config) if config else load_graph(path)


@contextmanager
def _one_line(path: Path, expected: str) -> Iterator[None]:
    """Whatever goes wrong while a file is opened becomes a `ModelError` that names the file."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:  # Keras, h5py, zipfile and TensorFlow each raise their own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path}: expected {expected}, could not open it: {first}") from error


def read_config(path: Path) -> dict[str, Any]:
    """The architecture stored in a model file, without building it or loading TensorFlow.

    Raises:
        ModelError: the file is damaged or holds no Keras model.
    """
    return _stored(path)[0]


def _stored(path: Path) -> tuple[dict[str, Any], str]:
    """The architecture in a model file, and the version of Keras that wrote it ("" unknown)."""
    try:
        # As tf_keras decides it: an HDF5 file may have a zip behind it, whose layers are others.
        if path.name.endswith(".keras") and zipfile.is_zipfile(path):
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
    return config, version.decode() if isinstance(version, bytes) else str(version or "")


def stored_input_shape(config: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    """The shape of one sample, read from a model's configuration; None where it does not say."""
    inner = config.get("config") if isinstance(config, Mapping) else None
    if not isinstance(inner, Mapping):
        return None
    layers = [layer for layer in inner.get("layers") or [] if isinstance(layer, Mapping)]
    inputs = [layer for layer in layers if layer.get("class_name") == "InputLayer"]
    settings = (inputs or layers or [{}])[0].get("config")
    if not isinstance(settings, Mapping):
        return None
    shape = settings.get("batch_input_shape") or settings.get("batch_shape")
    if isinstance(shape, list) and all(s is None or isinstance(s, int) for s in shape):
        return tuple(shape[1:])
    return None


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
