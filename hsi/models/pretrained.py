"""Trained weights for a new network: ImageNet's, or those of a model or weights file.

ImageNet's are those of `keras.applications` without their head. VGG16's were trained without batch
norm, so with them the network is built without it: it then computes, and trains on, just as
published. (As batch norm of mean 0 and deviation 1 they would be right at rest, but the first
training step would rescale every map.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from hsi import published
from hsi.errors import DownloadError, ModelError, SettingsError
from hsi.models.files import load_model
from hsi.published import PublishedFile

if TYPE_CHECKING:
    import tf_keras as keras

Say = Callable[[str], None]
Weights = dict[str, list[np.ndarray]]
"""Layer name -> its weights in the order of `layer.get_weights()`."""

IMAGENET = "imagenet"
NONE = "none"
FOLDER = "weights"
"""The subfolder of the data folders where weights lie."""
MOBILENET_SIZES = (96, 128, 160, 192, 224)
MOBILENET_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"


@dataclass(frozen=True)
class ImageNetWeights:
    """Published weights of a network.

    Attributes:
        file: without the head.
        preprocess: how images were scaled for them; a name of `hsi.images.PREPROCESSINGS`.
        options: with which the network must be built for them.
    """

    file: PublishedFile
    preprocess: str
    options: Mapping[str, Any] = field(default_factory=dict)


IMAGENET_WEIGHTS: dict[str, ImageNetWeights] = {
    "vgg16": ImageNetWeights(
        PublishedFile(
            f"{_KERAS}/vgg16",
            "/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "6d6bbae143d832006294945121d1f1fc",
        ),
        "caffe",
        {"batch_norm": False},
    ),
    "densenet169": ImageNetWeights(
        PublishedFile(
            f"{_KERAS}/densenet",
            "/densenet169_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "b8c4d4c20dd625c148057b9ff1c1176b",
        ),
        "torch",
    ),
    "mobilenetv2": ImageNetWeights(
        PublishedFile(
            f"{_KERAS}/mobilenet_v2",
            "/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_{size}_no_top.h5",
        ),
        "tf",
    ),
}
"""Network -> its published weights; MobileNetV2 has a file for each width and size."""


def imagenet_weights(
    network: str, input_shape: tuple[int, int, int], width: float
) -> ImageNetWeights:
    """What is published for a network of this input and width.

    Raises:
        SettingsError: nothing is.
    """
    if network not in IMAGENET_WEIGHTS:
        raise SettingsError(
            f"weights imagenet: none are published for {network}; "
            f"there are some for {', '.join(IMAGENET_WEIGHTS)}."
        )
    if input_shape[2] != 3:
        raise SettingsError(
            f"weights imagenet: are of 3 colour channels, the input has {input_shape[2]}."
        )
    found = IMAGENET_WEIGHTS[network]
    widths = MOBILENET_WIDTHS if network == "mobilenetv2" else (1.0,)
    if width not in widths:
        raise SettingsError(
            f"weights imagenet: {network} has some of width {', '.join(f'{w:g}' for w in widths)}, "
            f"not {width:g}."
        )
    size = input_shape[0] if input_shape[0] in MOBILENET_SIZES else 224
    path = found.file.path.format(width=float(width), size=size)
    file = PublishedFile(found.file.base, path, found.file.md5)
    return ImageNetWeights(file, found.preprocess, found.options)


def obtain(weights: ImageNetWeights, network: str, *, say: Say = print) -> Path:
    """The file of published weights, from a data folder or the network.

    Raises:
        DataError, DownloadError: not there, and cannot be fetched; address and folder are named.
    """
    file = weights.file
    if path := published.find(file.name, folder=FOLDER):
        return published.check_on_disk(path, file)
    try:
        return published.download(file, folder=FOLDER, owner=f"{network} on ImageNet", say=say)
    except DownloadError as error:
        raise DownloadError(
            f"{str(error).rstrip('.')}; or start from random weights with --weights none."
        ) from error


def load_weights(
    model: keras.Model, source: str | Path, *, width: float = 1.0, say: Say = print
) -> None:
    """Set a network's weights from ImageNet's, or from a file, layer by layer.

    The last layer, which makes the class scores, keeps its new weights where the classes differ; so
    does ImageNet's whole head. Both are said.

    Args:
        model: as `hsi.models.Network.build` makes it.
        source: "imagenet", or an `.h5` or `.keras` model or an `.h5` of weights.
        width: that the network was built with.
        say: told what was taken and what was not.

    Raises:
        DataError, DownloadError: ImageNet's weights are not there and cannot be fetched; the text
            names address and folder.
        ModelError: the weights do not fit the network.
        SettingsError: nothing is published for this network.
    """
    if source == IMAGENET:
        chosen = imagenet_weights(model.name, model.input_shape[1:], width)
        path = obtain(chosen, model.name, say=say)
        found = {name.replace("/", "_"): w for name, w in read_weights(path).items()}
    else:
        path = Path(source)
        found = read_weights(path)
    new = _put(model, found, path, head=_head(model) if source == IMAGENET else _last(model))
    say(
        f"Weights of {path}: taken for all layers"
        + (f" but {', '.join(new)}, which start anew." if new else ".")
    )


def read_weights(path: Path) -> Weights:
    """The weights in a file by the names of their layers; no code in it is run.

    Raises:
        ModelError: missing, damaged, or no weights.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file of weights.")
    if not h5py.is_hdf5(path):
        model: Any = load_model(path)
        return {x.name: x.get_weights() for x in model.layers if x.weights}
    try:
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)
            found = {
                _text(name): [np.asarray(group[name][w]) for w in group[name].attrs["weight_names"]]
                for name in group.attrs["layer_names"]
            }
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: expected a model or the weights of one as tf_keras saves them in HDF5."
        ) from error
    return {name: weights for name, weights in found.items() if weights}


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _weighted(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if layer.weights]


def _last(model: keras.Model) -> list[str]:
    return [_weighted(model)[-1].name]


def _head(model: keras.Model) -> list[str]:
    """The layers behind the convolutions."""
    import tf_keras as keras

    return [x.name for x in _weighted(model) if isinstance(x, keras.layers.Dense)]


def _put(model: keras.Model, found: Weights, path: Path, *, head: list[str]) -> list[str]:
    """Set all weights or none; the names in `head` of layers that kept theirs."""
    new, fitting = [], []
    for layer in _weighted(model):
        shapes = [tuple(w.shape) for w in layer.weights]
        got = [w.shape for w in found.get(layer.name, [])]
        if got == shapes:
            fitting.append(layer)
        elif layer.name in head:
            new.append(layer.name)
        else:
            had = "no such layer" if not got else " and ".join(map(str, got))
            raise ModelError(
                f"{path}: expected layer {layer.name} of {model.name} with weights of shape "
                f"{' and '.join(map(str, shapes))}, the file has {had}."
            )
    for layer in fitting:
        layer.set_weights(found[layer.name])
    return new
