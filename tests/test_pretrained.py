"""Trained weights: ImageNet's from a local server, and those of files."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tf_keras as keras
from tf_keras import layers

from hsi.errors import DataError, DownloadError, ModelError, SettingsError, UserError
from hsi.models import network, pretrained
from hsi.models.files import save_model

SHAPE = (96, 96, 3)


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HSI_DATASETS", str(tmp_path / "data"))
    monkeypatch.setenv("HSI_OFFLINE", "1")
    monkeypatch.delenv("HSI_MIRROR", raising=False)
    return tmp_path / "data"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder that a local server serves as $HSI_MIRROR."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HSI_OFFLINE", "0")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("HSI_MIRROR", f"http://127.0.0.1:{server.server_port}")
        yield folder
        server.shutdown()
        thread.join()


def redrawn(model: keras.Model) -> keras.Model:
    """Other weights in every layer, running means and deviations included."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        weights = [w.numpy() for w in layer.weights]
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([1 + 0.3 * rng.random(w.shape) for w in weights])
        elif weights:
            layer.set_weights([w + 0.01 * rng.normal(size=w.shape) for w in weights])
    return model


def published(monkeypatch, mirror: Path, name: str, theirs: keras.Model) -> Path:
    """Put a model's weights where ImageNet's are looked for, with their hash in the table."""
    known = pretrained.IMAGENET_WEIGHTS[name]
    path = mirror / known.file.path.format(width="1.0", size=96).lstrip("/")
    theirs.save_weights(path)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(
        pretrained.IMAGENET_WEIGHTS, name, replace(known, file=replace(known.file, md5=md5))
    )
    return path


def features(model: keras.Model, layer: str, inputs: np.ndarray) -> np.ndarray:
    return keras.Model(model.input, model.get_layer(layer).output)(inputs).numpy()


def check_features(name: str, theirs: keras.Model, shape, ends: tuple[str, str]) -> None:
    """Our network with their weights computes what theirs does."""
    said: list[str] = []
    ours = network(name).build(shape, 4, seed=0, weights="imagenet", say=said.append)
    inputs = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    found, expected = features(ours, ends[0], inputs), features(theirs, ends[1], inputs)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.ptp(expected))
    assert "scores" in said[-1]
    assert ours.output_shape == (None, 4)


def refusal(kind: type[UserError], call, *args, **options) -> str:
    with pytest.raises(kind) as caught:
        call(*args, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


# ImageNet's


def test_mobilenetv2_takes_the_weights_of_keras_applications(mirror, own_folder, monkeypatch):
    theirs = redrawn(keras.applications.MobileNetV2(SHAPE, weights=None, include_top=False))
    path = published(monkeypatch, mirror, "mobilenetv2", theirs)
    check_features("mobilenetv2", theirs, SHAPE, ("out_relu", "out_relu"))
    kept = own_folder / "weights" / path.name
    assert kept.read_bytes() == path.read_bytes()
    kept.write_bytes(b"something else")
    build = partial(network("mobilenetv2").build, SHAPE, 4, seed=0, weights="imagenet")
    assert "not the published file" in refusal(DataError, build)
    kept.unlink()
    path.write_bytes(b"something else")
    assert "md5" in refusal(DownloadError, build)


def test_vgg16_is_built_without_batch_norm_for_the_weights_of_keras_applications(
    mirror, monkeypatch
):
    shape = (32, 32, 3)
    theirs = redrawn(keras.applications.VGG16(False, weights=None, input_shape=shape))
    published(monkeypatch, mirror, "vgg16", theirs)
    check_features("vgg16", theirs, shape, ("block5_pool", "block5_pool"))


@pytest.mark.slow
def test_densenet169_takes_the_weights_of_keras_applications(mirror, monkeypatch):
    theirs = redrawn(keras.applications.DenseNet169(False, weights=None, input_shape=SHAPE))
    published(monkeypatch, mirror, "densenet169", theirs)
    check_features("densenet169", theirs, SHAPE, ("relu", "relu"))


def test_without_a_network_the_file_the_address_and_the_folder_are_named(own_folder, monkeypatch):
    build = partial(network("vgg16").build, (32, 32, 3), 4, seed=0, weights="imagenet")
    text = refusal(DataError, build)
    for expected in ("_notop.h5", "https://storage.googleapis.com", str(own_folder / "weights")):
        assert expected in text
    monkeypatch.setenv("HSI_OFFLINE", "0")
    monkeypatch.setenv("HSI_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    text = refusal(DownloadError, build)
    assert "refused" in text
    assert str(own_folder / "weights") in text
    assert "--weights none" in text


def test_weights_that_nobody_published_are_refused():
    for name, shape, options, expected in (
        ("simplenet", SHAPE, {}, "densenet169"),
        ("cao", (5, 5, 3), {}, "none are published for cao"),
        ("vgg16", (32, 32, 1), {}, "3 colour channels"),
        ("vgg16", SHAPE, {"width": 0.5}, "not 0.5"),
        ("mobilenetv2", SHAPE, {"width": 0.6}, "0.35, 0.5"),
    ):
        build = partial(network(name).build, shape, 4, seed=0, weights="imagenet", **options)
        assert expected in refusal(SettingsError, build)


def test_the_file_of_mobilenetv2_is_that_of_its_size_and_width():
    found = [
        pretrained.imagenet_weights("mobilenetv2", (size, size, 3), width).file.path
        for size, width in ((32, 1), (160, 0.35))
    ]
    assert [p.partition("kernels_")[2] for p in found] == [
        "1.0_224_no_top.h5",
        "0.35_160_no_top.h5",
    ]


# Files


def small(classes: int = 3, channels: int = 4) -> keras.Model:
    inputs = keras.Input((5, 5, channels))
    x = layers.Conv2D(16, 3, name="conv_1")(inputs)
    x = layers.BatchNormalization(name="conv_1_bn")(x)
    x = layers.Flatten()(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="small")


@pytest.fixture(scope="module", params=["model.h5", "model.keras", "only.h5"])
def stored(request, tmp_path_factory) -> tuple[keras.Model, Path]:
    model = redrawn(small())
    path = tmp_path_factory.mktemp("stored") / request.param
    if request.param == "only.h5":
        model.save_weights(path)
    elif path.suffix == ".h5":
        save_model(model, path)
    else:
        model.save(path)
    return model, path


def test_a_file_gives_its_weights(stored):
    model, path = stored
    fresh, said = small(), []
    pretrained.load_weights(fresh, path, say=said.append)
    for found, expected in zip(fresh.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert said == [f"Weights of {path}: taken for all layers."]


def test_a_network_starts_from_a_file_of_its_own(tmp_path):
    build = partial(network("vgg11").build, (5, 5, 4), 3, width=0.125)
    model = redrawn(build(seed=1))
    save_model(model, tmp_path / "model.h5")
    fresh = build(seed=0, weights=str(tmp_path / "model.h5"), say=lambda _: None)
    for found, expected in zip(fresh.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_other_classes_get_a_new_last_layer(stored):
    model, path = stored
    fresh, said = small(classes=5), []
    untouched = fresh.get_layer("scores").get_weights()[0].copy()
    pretrained.load_weights(fresh, path, say=said.append)
    np.testing.assert_array_equal(fresh.get_layer("scores").get_weights()[0], untouched)
    for layer in fresh.layers[:-1]:
        for found, expected in zip(
            layer.get_weights(), model.get_layer(layer.name).get_weights(), strict=True
        ) if layer.weights else ():  # fmt: skip
            np.testing.assert_array_equal(found, expected)
    assert "but scores" in said[0]


def test_weights_that_do_not_fit_change_nothing(stored, tmp_path):
    _, path = stored
    fresh = small(channels=6)
    before = [w.copy() for w in fresh.get_weights()]
    text = refusal(ModelError, pretrained.load_weights, fresh, path)
    assert "conv_1" in text
    assert "(3, 3, 6, 16)" in text
    assert "(3, 3, 4, 16)" in text
    for found, expected in zip(fresh.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    other = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="one")])
    other.save_weights(tmp_path / "other.h5")
    text = refusal(ModelError, pretrained.load_weights, fresh, tmp_path / "other.h5")
    assert "no such layer" in text


def test_damaged_files_of_weights_are_one_line(stored, tmp_path):
    _, path = stored
    damaged = tmp_path / path.name
    content = path.read_bytes()
    for text in (content[: len(content) // 2], b"", b"something else"):
        damaged.write_bytes(text)
        assert str(damaged) in refusal(ModelError, pretrained.load_weights, small(), damaged)
    missing = tmp_path / "missing.h5"
    assert "no such file" in refusal(ModelError, pretrained.load_weights, small(), missing)
    import h5py

    with h5py.File(damaged, "w") as file:
        file["something"] = np.zeros(3)
    assert "tf_keras" in refusal(ModelError, pretrained.load_weights, small(), damaged)
