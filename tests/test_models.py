"""The networks, and model files that are damaged, foreign or hostile."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import keras as keras_3
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

from hsi.errors import ModelError, OutputError, SettingsError
from hsi.models import FIELD, NETWORKS, network
from hsi.models.files import load_model, read_config, save_model
from hsi.models.harmless import refuse_unknown

OF_PATCHES = tuple(n for n, chosen in NETWORKS.items() if not chosen.image_size and n not in FIELD)
"""The networks of patches alone; those for images have `test_image_networks.py`."""

# Networks


def test_cao_has_the_parameters_of_the_reference_system():
    model = network("cao").build((5, 5, 200), 9, seed=0)
    assert model.count_params() == 1_141_709
    assert [
        layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")
    ] == [
        "relu",
        "relu",
        "linear",
        "linear",
        "softmax",
    ]


def test_cao_pooled_is_that_of_the_paper():
    model = network("cao_pooled").build((9, 9, 50), 9, seed=0)
    shapes = [layer.output_shape[1:] for layer in model.layers]
    assert shapes == [
        (7, 7, 300),
        (4, 4, 300),
        (2, 2, 200),
        (1, 1, 200),
        (200,),
        (200,),
        (100,),
        (9,),
    ]
    initializers = {
        type(layer.kernel_initializer).__name__ for layer in model.layers if layer.weights
    }
    assert initializers == {"GlorotUniform"}


def test_vgg_has_thirteen_convolutions_each_with_its_batch_norm():
    model = network("vgg").build((5, 5, 10), 4, seed=0)
    counts = [
        sum(isinstance(x, kind) for x in model.layers)
        for kind in (layers.Conv2D, layers.BatchNormalization)
    ]
    assert counts == [13, 13]
    assert [x.filters for x in model.layers if isinstance(x, layers.Conv2D)] == (
        [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    )


@pytest.mark.parametrize("name", OF_PATCHES)
@pytest.mark.parametrize("bands", [1, 7])
def test_every_network_builds_at_its_patch_sizes_and_answers_in_probabilities(name, bands):
    chosen = network(name)
    for size in {chosen.patch_size, chosen.smallest_patch}:
        model = chosen.build((size, size, bands), 5, seed=0)
        inputs = np.random.default_rng(0).normal(size=(3, size, size, bands)).astype(np.float32)
        found = model(inputs).numpy()
        assert found.shape == (3, 5)
        assert (found >= 0).all()
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", OF_PATCHES)
def test_the_same_seed_gives_the_same_weights_and_another_others(name):
    size = network(name).patch_size
    first, again, other = (
        network(name).build((size, size, 4), 3, seed=seed).get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", OF_PATCHES)
def test_a_patch_that_is_too_small_is_refused_in_pixels(name):
    size = network(name).smallest_patch - 1
    with pytest.raises(SettingsError, match=f"{name}: expected a patch_size of {size + 1} or more"):
        network(name).build((size, size, 4), 3, seed=0)


def test_an_unknown_network_names_the_closest():
    with pytest.raises(SettingsError, match=r"cao, cao_pooled, .*vgg.*Did you mean 'cao_pooled'"):
        network("cao_poled")


# Files


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((3, 3, 2)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="scores"),
        ]
    )


@pytest.fixture(params=[".h5", ".keras"])
def saved(request, model, tmp_path):
    path = tmp_path / f"model{request.param}"
    model.save(path)
    return path


def refusal(path) -> str:
    """The text of the ModelError that opening a file must raise: one line that names it."""
    with pytest.raises(ModelError) as caught:
        load_model(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_a_saved_model_gives_the_same_scores(model, saved):
    inputs = np.random.default_rng(0).normal(size=(5, 3, 3, 2)).astype(np.float32)
    opened = load_model(saved)
    assert opened.optimizer is None
    np.testing.assert_array_equal(opened(inputs), model(inputs))


def test_a_model_is_saved_without_optimizer_state_and_alone(model, tmp_path):
    trained = keras.models.clone_model(model)
    trained.compile("adam", "sparse_categorical_crossentropy")
    trained.fit(np.zeros((4, 3, 3, 2)), np.zeros(4), verbose=0)
    path = tmp_path / "trained_model.h5"
    save_model(trained, path)
    assert os.listdir(tmp_path) == ["trained_model.h5"]
    with h5py.File(path) as file:
        assert "optimizer_weights" not in file
        assert "training_config" not in file.attrs
        numbers = []
        file.visititems(
            lambda _, x: numbers.append(x.size) if isinstance(x, h5py.Dataset) else None
        )
    assert sum(numbers) == trained.count_params()
    for a, b in zip(load_model(path).get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def small_disk():
    """No file of this process can grow beyond 2000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_save_that_finds_no_space_leaves_the_old_file_and_nothing_else(
    model, tmp_path, small_disk
):
    path = tmp_path / "model.h5"
    path.write_bytes(b"old")
    with pytest.raises(
        OutputError, match=r"model\.h5: cannot be written: File too large"
    ) as caught:
        save_model(model, path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.h5"]


def test_a_save_that_fails_in_keras_leaves_the_old_file_and_nothing_else(
    model, tmp_path, monkeypatch
):
    path = tmp_path / "model.h5"
    path.write_bytes(b"old")

    def half(self, *_, **__):
        raise RuntimeError("half a model")

    monkeypatch.setattr(keras.Sequential, "save", half)
    with pytest.raises(RuntimeError, match="half a model"):
        save_model(model, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.h5"]


def test_the_configuration_is_read_without_building(saved):
    names = [layer["class_name"] for layer in read_config(saved)["config"]["layers"]]
    assert names == ["InputLayer", "Conv2D", "Flatten", "Dense"]


def test_what_is_no_model_is_refused_on_one_line(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "random.h5").write_bytes(rng.bytes(5000))
    (tmp_path / "random.keras").write_bytes(b"PK\x03\x04" + rng.bytes(5000))
    (tmp_path / "empty.h5").write_bytes(b"")
    (tmp_path / "text.h5").write_text("<!DOCTYPE html>")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["array"] = np.zeros(3)
    with h5py.File(tmp_path / "list.h5", "w") as file:
        file.attrs["model_config"] = "[1, 2]"
    with h5py.File(tmp_path / "hollow.h5", "w") as file:
        file.attrs["model_config"] = "{}"
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "hello")
    for path in sorted(tmp_path.iterdir()):
        refusal(path)
    assert "no Keras model" in refusal(tmp_path / "data.h5")
    assert "no such model file" in refusal(tmp_path / "absent.h5")
    (tmp_path / "saved_model").mkdir()
    assert "got a folder" in refusal(tmp_path / "saved_model")


def test_weights_alone_are_refused(model, tmp_path):
    model.save_weights(tmp_path / "only.h5")
    assert "weights" in refusal(tmp_path / "only.h5")


def test_a_truncated_file_is_refused_wherever_it_was_cut(saved):
    data = saved.read_bytes()
    for end in np.linspace(0, len(data) - 1, 25).astype(int):
        saved.write_bytes(data[:end])
        refusal(saved)


def test_a_damaged_file_is_refused_or_opened_but_nothing_else(saved):
    data, rng = saved.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        damaged = bytearray(data)
        for position in rng.integers(len(data), size=8):
            damaged[position] = rng.integers(256)
        saved.write_bytes(damaged)
        try:
            load_model(saved)
        except ModelError:
            refused += 1
    assert refused > 5


def test_a_model_of_keras_3_is_opened_as_one_of_tf_keras(tmp_path):
    """More of them: tests/test_keras3.py."""
    foreign = keras_3.Sequential([keras_3.Input((4,)), keras_3.layers.Dense(2)])
    inputs = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    for name in ("foreign.keras", "foreign.h5"):
        foreign.save(tmp_path / name)
        opened = load_model(tmp_path / name)
        assert isinstance(opened, keras.Sequential)
        np.testing.assert_allclose(opened(inputs), foreign(inputs), rtol=1e-5)


# Files that would run code


def edited(source, path, edit):
    """A copy of a model file whose stored configuration went through `edit`."""
    if path.suffix == ".h5":
        shutil.copy(source, path)
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            edit(config)
            file.attrs["model_config"] = json.dumps(config)
        return path
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                edit(config)
                content = json.dumps(config)
            new.writestr(name, content)
    return path


def leaves_a_file(target):
    """A network whose Lambda layer writes this file whenever it is called."""

    def attack(x, target=str(target)):
        with open(target, "w") as file:
            file.write("code ran")
        return x

    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Lambda(attack, name="innocent")(inputs))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_lambda_layer_is_refused_before_it_runs(tmp_path, suffix, nested):
    target = tmp_path / "ran"
    hostile = leaves_a_file(target)
    if nested:
        hostile = keras.Sequential([keras.Input((4,)), layers.Dense(4), hostile])
    path = tmp_path / f"hostile{suffix}"
    hostile.save(path)
    assert os.path.exists(target)  # building it here ran it: opening it would too
    os.remove(target)
    text = refusal(path)
    assert "'innocent' is a Lambda" in text
    assert "--trust opens it and runs its code" in text
    assert not os.path.exists(target)
    inputs = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(load_model(path, trust=True)(inputs), hostile(inputs))
    assert os.path.exists(target)


@pytest.fixture
def hostile_module(tmp_path, monkeypatch):
    """A module on the path that leaves a file behind when it is imported."""
    mark = tmp_path / "imported"
    (tmp_path / "hostile_module.py").write_text(
        f"open({str(mark)!r}, 'w').close()\ndef run(*a, **k):\n    return a\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield mark
    sys.modules.pop("hostile_module", None)


OBJECT = {"class_name": "run", "config": {}, "module": "hostile_module", "registered_name": None}
FUNCTION = {**OBJECT, "class_name": "function", "config": "run"}


def instead(config):
    config.clear()
    config.update(OBJECT)


def as_function(config):
    config.clear()
    config.update(FUNCTION)


def as_layer(config):
    config["config"]["layers"][-1] = OBJECT


def as_activation(config):
    config["config"]["layers"][-1]["config"]["activation"] = FUNCTION


def as_initializer(config):
    config["config"]["layers"][-1]["config"]["kernel_initializer"] = OBJECT


@pytest.mark.parametrize("attack", [instead, as_function, as_layer, as_activation, as_initializer])
def test_a_file_that_names_a_python_module_does_not_import_it(saved, hostile_module, attack):
    """CVE-2025-1550: Keras imports it even in its safe mode."""
    path = edited(saved, saved.with_name(f"hostile{saved.suffix}"), attack)
    text = refusal(path)
    assert "'hostile_module'" in text
    assert "--trust" in text
    assert not hostile_module.exists()


def test_a_tensorflow_function_that_is_not_known_as_harmless_is_refused(saved):
    def load_a_library(config):
        inner = {"name": "op", "function": "load_op_library"}
        config["config"]["layers"].append({"class_name": "TFOpLambda", "config": inner})

    path = edited(saved, saved.with_name(f"hostile{saved.suffix}"), load_a_library)
    assert "'load_op_library'" in refusal(path)


@pytest.mark.parametrize(
    ("kind", "inner", "words"),
    [
        ("SlicingOpLambda", {"function": "io.gfile.copy"}, "'io.gfile.copy'"),
        (
            "ClassMethod",
            {"cls_symbol": "io.TFRecordWriter", "fn_name": "write"},
            "kind ClassMethod may call any",
        ),
        ("InstanceMethod", {"method_name": "write"}, "kind InstanceMethod may call any"),
        ("TensorFlowOpLayer", {"node_def": "WriteFile"}, "kind TensorFlowOpLayer may call any"),
        ("ResidualWrapper", {"residual_fn_type": "lambda"}, "holds Python code"),
    ],
)
def test_layers_that_may_call_anything_are_refused(saved, kind, inner, words):
    def hostile(config):
        layer = {"class_name": kind, "config": {"name": "op", **inner}}
        config["config"]["layers"].append(layer)

    path = edited(saved, saved.with_name(f"hostile{saved.suffix}"), hostile)
    assert words in refusal(path)


def inside(**named):
    """Puts what Keras would look up by its name into the last layer of a configuration."""

    def change(config):
        config["config"]["layers"][-1]["config"]["activation"] = {"config": {}, **named}

    return change


@pytest.mark.parametrize(
    "named",
    [
        {
            "class_name": "function",
            "config": "func_load",
            "module": "keras.src.utils.generic_utils",
        },
        {"class_name": "function", "config": "input", "module": "builtins"},
        {"class_name": "Popen", "module": "tf_keras.src.utils.data_utils"},
        {"class_name": "ReLU", "registered_name": "any>other", "module": "keras.layers"},
        {
            "class_name": "StringLookup",
            "config": {"vocabulary": "secret"},
            "module": "keras.layers",
        },
        {"class_name": ["ReLU"], "module": "keras.layers"},
    ],
    ids=lambda named: str(named["config" if "config" in named else "class_name"]),
)
def test_what_keras_does_not_show_is_refused(saved, named):
    path = edited(saved, saved.with_name(f"hostile{saved.suffix}"), inside(**named))
    assert "not known as harmless. If you know its author, --trust opens it" in refusal(path)


def test_how_a_network_was_compiled_is_no_matter(tmp_path):
    """It is not compiled here: losses and metrics of one's own are not run."""

    class Own(keras.losses.Loss):
        def call(self, truth, answers):
            return truth - answers

    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    inner.compile("sgd", "mse", metrics=["accuracy"])
    inputs = keras.Input((4,))
    outputs = layers.Dense(2, kernel_initializer=keras.initializers.Zeros())(inner(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 5)), Own())
    model.save(tmp_path / "own.keras")
    assert load_model(tmp_path / "own.keras").count_params() == model.count_params()


def test_every_layer_of_keras_is_known_but_those_that_run_code_or_open_files():
    shown = {name for name, value in vars(layers).items() if isinstance(value, type)}
    unknown = {
        name
        for name in shown
        if refuses({"class_name": getattr(layers, name).__name__, "config": {}})
    }
    assert unknown == {"Lambda", "IntegerLookup", "StringLookup", "TextVectorization"}


def refuses(config):
    try:
        refuse_unknown(config, Path("file"))
    except ModelError:
        return True
    return False


def test_an_hdf5_file_with_a_zip_behind_it_is_checked_as_it_is_opened(model, tmp_path):
    """A zip may have anything before it; tf_keras opens the HDF5 part, so that is checked."""
    target = tmp_path / "ran"
    leaves_a_file(target).save(tmp_path / "both.h5")
    os.remove(target)
    model.save(tmp_path / "harmless.keras")
    with (tmp_path / "both.h5").open("ab") as file:
        file.write((tmp_path / "harmless.keras").read_bytes())
    assert "'innocent' is a Lambda" in refusal(tmp_path / "both.h5")
    assert not os.path.exists(target)


def test_arithmetic_between_layers_is_no_attack(tmp_path):
    import tensorflow as tf

    inputs = keras.Input((4, 4, 3))
    x = tf.reshape(tf.nn.relu(inputs * 2.0 + 1.0)[:, :2], (-1, 24))
    model = keras.Model(inputs, layers.Dense(2)(tf.concat([x, tf.math.square(x)], axis=1)))
    batch = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    for name in ("a.h5", "a.keras"):
        model.save(tmp_path / name)
        np.testing.assert_array_equal(load_model(tmp_path / name)(batch), model(batch))


def test_a_layer_alone_is_no_model(model, tmp_path):
    def layer_alone(config):
        config.clear()
        config.update(keras.utils.serialize_keras_object(layers.Dense(2)))

    model.save(tmp_path / "model.keras")
    path = edited(tmp_path / "model.keras", tmp_path / "layer.keras", layer_alone)
    assert "expected a tf_keras model" in refusal(path)


@pytest.mark.parametrize(
    ("padding", "depth", "taps", "around"), [("valid", 5, 5, 0), ("same", 4, 3, 1)]
)
def test_a_file_whose_convolution_tensorflow_computes_wrongly_is_refused(
    padding, depth, taps, around, tmp_path
):
    """For what TensorFlow answers, not for its shape: a right answer is never refused."""
    inputs = keras.Input((5, 5, depth, 1))
    conv = layers.Conv3D(8, (3, 3, taps), strides=(1, 1, 4), padding=padding, name="deep")
    model = keras.Model(inputs, layers.Flatten()(conv(inputs)))
    model.save(tmp_path / "model.h5")
    x = np.random.default_rng(0).normal(size=(8, 5, 5, depth)).astype(np.float32)
    wide = np.pad(x, [(0, 0), (around, around), (around, around), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(wide, (3, 3, taps), axis=(1, 2, 3))
    kernel = conv.get_weights()[0][:, :, :, 0]
    wanted = np.einsum("nrcdijk,ijko->nrcdo", windows[:, :, :, ::4], kernel)
    found = conv(x[..., None]).numpy()
    assert found.shape == wanted.shape
    if np.abs(found - wanted).max() > 1e-3:  # TensorFlow 2.21 with oneDNN
        with pytest.raises(ModelError, match=r"deep: TensorFlow .* TF_ENABLE_ONEDNN_OPTS=0"):
            load_model(tmp_path / "model.h5")
    else:
        load_model(tmp_path / "model.h5")


def test_a_right_convolution_of_the_same_shape_is_opened(tmp_path, monkeypatch):
    """As without oneDNN: single steps, of which every fourth is taken, are always right."""
    plain = tf.nn.conv3d

    def right(x, kernel, strides, padding):
        found = plain(x, kernel, (1, 1, 1, 1, 1), padding)
        return found[:, :: strides[1], :: strides[2], :: strides[3]]

    monkeypatch.setattr(tf.nn, "conv3d", right)
    inputs = keras.Input((3, 3, 5, 1))
    outputs = layers.Conv3D(8, (3, 3, 5), strides=(1, 1, 4))(inputs)
    keras.Model(inputs, layers.Flatten()(outputs)).save(tmp_path / "model.h5")
    load_model(tmp_path / "model.h5")
