"""SavedModel folders: opened with their layers where these are told, never run unread."""

from __future__ import annotations

import os
import shutil

import keras as keras_3
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tensorflow.core.protobuf import saved_model_pb2

from hsi.errors import ModelError
from hsi.explain import attribute
from hsi.explain.score import OUTPUT_ITSELF, score_of
from hsi.models.files import load_model
from hsi.models.saved_model import HARMLESS, SavedGraph

SHAPE, CLASSES = (5, 5, 3), 4


def small(library):
    """The same network in tf_keras and in Keras 3, with batch statistics of its own."""
    layers = library.layers
    library.utils.set_random_seed(3)
    model = library.Sequential(
        [
            library.Input(SHAPE),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(CLASSES, activation="softmax", name="scores"),
        ]
    )
    rng = np.random.default_rng(5)
    model.get_layer("norm").set_weights([rng.uniform(0.5, 1.5, 4) for _ in range(4)])
    return model


def refusal(path, **options) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path, **options)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)


# Written by tf_keras


@pytest.fixture(scope="module")
def of_tf_keras(tmp_path_factory):
    """(model, folder): a trained model, so that there is the state of an optimizer too."""
    model = small(keras)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.ones((2, *SHAPE)), np.zeros(2), verbose=0)
    folder = tmp_path_factory.mktemp("tf_keras") / "model"
    model.save(folder, save_format="tf")
    return model, folder


def test_what_tf_keras_wrote_comes_back_with_its_layers(of_tf_keras, inputs):
    model, folder = of_tf_keras
    found = load_model(folder)
    assert isinstance(found, keras.Sequential)
    assert [x.name for x in found.layers] == [x.name for x in model.layers]
    np.testing.assert_array_equal(found(inputs), model(inputs))
    for a, b in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        attribute("gradient", found, inputs).maps, attribute("gradient", model, inputs).maps
    )


def copy_of(folder, to):
    shutil.copytree(folder, to)
    return to


def test_a_folder_without_graph_or_weights_is_refused(of_tf_keras, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "without saved_model.pb" in refusal(tmp_path / "empty")
    bare = copy_of(of_tf_keras[1], tmp_path / "bare")
    shutil.rmtree(bare / "variables")
    assert "variables.index is missing" in refusal(bare)


def test_a_damaged_folder_is_refused(of_tf_keras, tmp_path):
    for n, (name, keep) in enumerate(
        [
            ("saved_model.pb", 0),
            ("saved_model.pb", 1000),
            ("keras_metadata.pb", 500),
            ("variables/variables.index", 100),
            ("variables/variables.data-00000-of-00001", 200),
        ]
    ):
        broken = copy_of(of_tf_keras[1], tmp_path / str(n))
        data = (broken / name).read_bytes()
        (broken / name).write_bytes(data[:keep])
        refusal(broken)
    broken = copy_of(of_tf_keras[1], tmp_path / "noise")
    (broken / "saved_model.pb").write_bytes(np.random.default_rng(0).bytes(500))
    assert "damaged" in refusal(broken)


def test_weights_of_another_model_are_refused(of_tf_keras, tmp_path):
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    other.save(tmp_path / "other", save_format="tf")
    mixed = copy_of(of_tf_keras[1], tmp_path / "mixed")
    shutil.rmtree(mixed / "variables")
    shutil.copytree(tmp_path / "other" / "variables", mixed / "variables")
    refusal(mixed)


def test_a_lambda_layer_runs_only_where_it_is_trusted(tmp_path, inputs):
    target = str(tmp_path / "ran")

    def attack(x, target=target):
        with open(target, "w") as file:
            file.write("code ran")
        return 2 * x

    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Lambda(attack, name="innocent"),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    model.save(tmp_path / "model", save_format="tf")
    os.remove(target)
    text = refusal(tmp_path / "model")
    assert "'innocent' is a Lambda" in text
    assert "--trust" in text
    assert not os.path.exists(target)
    np.testing.assert_allclose(load_model(tmp_path / "model", trust=True)(inputs), model(inputs))
    assert os.path.exists(target)


# Graphs


@pytest.fixture(scope="module")
def of_keras_3(tmp_path_factory):
    model = small(keras_3)
    folder = tmp_path_factory.mktemp("keras_3") / "model"
    model.export(folder, verbose=False)
    return model, folder


def test_what_keras_3_exported_is_a_differentiable_function(of_keras_3, inputs):
    model, folder = of_keras_3
    found = load_model(folder)
    assert isinstance(found, SavedGraph)
    assert found.input_shape == (None, *SHAPE)
    assert found.output_shape == (None, CLASSES)
    np.testing.assert_allclose(found(inputs), model(inputs), rtol=1e-5)
    with tf.GradientTape() as tape:
        watched = tf.constant(inputs)
        tape.watch(watched)
        best = tf.reduce_max(model(watched), axis=1)
    expected = tape.gradient(best, watched).numpy()
    map_ = attribute("gradient", found, inputs, batch_size=2)
    np.testing.assert_allclose(map_.maps, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(map_.scores, best, rtol=1e-5)
    assert map_.notes == (OUTPUT_ITSELF,)  # probabilities: the softmax is out of reach
    assert score_of(found).word == "output"


def test_occlusion_of_a_graph_is_that_of_the_model(of_keras_3, inputs):
    model, folder = of_keras_3
    probabilities = lambda x: model(x, training=False)  # noqa: E731  # its softmax left on
    found = attribute("occlusion", load_model(folder), inputs, classes=1)
    expected = attribute("occlusion", probabilities, inputs, classes=1)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-6)


def test_inputs_and_layers_of_a_graph_are_refused_by_what_is_missing(of_keras_3, inputs):
    graph = load_model(of_keras_3[1])
    with pytest.raises(ModelError, match="Expected samples of 5 x 5 x 3"):
        attribute("gradient", graph, inputs[:, :4])
    with pytest.raises(ModelError, match="looks into the layers of a network, which SavedGraph"):
        attribute("gradcam", graph, inputs)


class Linear(tf.Module):
    """(n, 4) -> (n, 3), with something done on the way."""

    def __init__(self, on_the_way=lambda x: x, shape=(None, 4)):
        self.kernel = tf.Variable(np.arange(12, dtype=np.float32).reshape(4, 3))
        spec = tf.TensorSpec(shape, tf.float32)
        self.answer = tf.function(
            lambda x: tf.matmul(on_the_way(x), self.kernel), input_signature=[spec]
        )


def saved(module, folder, **signatures):
    tf.saved_model.save(module, str(folder), signatures=signatures or module.answer)
    return folder


def test_a_module_of_tensorflow_is_a_differentiable_function(tmp_path):
    folder = saved(Linear(tf.nn.relu), tmp_path / "module")
    inputs = np.array([[1, -1, 2, 3], [-1, 1, 1, -2]], np.float32)
    map_ = attribute("gradient", load_model(folder), inputs, classes=2)
    np.testing.assert_allclose(map_.maps, (inputs > 0) * [2, 5, 8, 11])


def test_loops_and_branches_are_no_attack(tmp_path):
    def thrice(x):
        x = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * 2), (0, x))[1]
        return tf.cond(tf.reduce_sum(x) > 0, lambda: x, lambda: -x)

    found = load_model(saved(Linear(thrice), tmp_path / "loop"))
    ones = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(found(ones), 8 * ones @ np.arange(12).reshape(4, 3))


def test_a_signature_that_is_no_classifier_is_refused(tmp_path):
    module = Linear()
    two = tf.function(lambda a, b: module.answer(a + b)).get_concrete_function(
        tf.TensorSpec((None, 4)), tf.TensorSpec((None, 4))
    )
    pair = tf.function(lambda a: {"x": module.answer(a), "y": a}).get_concrete_function(
        tf.TensorSpec((None, 4))
    )
    cube = tf.function(lambda a: module.answer(a)[None]).get_concrete_function(
        tf.TensorSpec((None, 4))
    )
    whole = tf.function(lambda a: module.answer(tf.cast(a, tf.float32))).get_concrete_function(
        tf.TensorSpec((None, 4), tf.int32)
    )
    for name, function, said in (
        ("two", two, "2 and 1"),
        ("pair", pair, "1 and 2"),
        ("cube", cube, r"to (1, None, 3)"),
        ("whole", whole, "takes int32"),
    ):
        assert said in refusal(saved(module, tmp_path / name, serving_default=function))
    fixed = saved(Linear(shape=(1, 4)), tmp_path / "fixed")
    assert "for any number of samples, serving_default takes 1" in refusal(fixed)
    other = saved(module, tmp_path / "other", classify=module.answer)
    assert "the SavedModel has classify" in refusal(other)


# Graphs that could do more than compute


def reads_a_file(x):
    return x + tf.cast(tf.strings.length(tf.io.read_file("secret")), tf.float32)


def writes_a_file(x):
    with tf.control_dependencies([tf.io.write_file("ran", "x")]):
        return tf.identity(x)


def prints_into_a_file(x):
    with tf.control_dependencies([tf.print("x", output_stream="file://ran")]):
        return tf.identity(x)


def calls_python(x):
    return tf.ensure_shape(tf.py_function(lambda y: y, [x], tf.float32), (None, 4))


def calls_numpy(x):
    return tf.ensure_shape(tf.numpy_function(lambda y: y, [x], tf.float32), (None, 4))


def lists_files(x):
    return x + tf.cast(tf.size(tf.io.matching_files("*")), tf.float32)


def reads_lines(x):
    data = tf.data.TextLineDataset(["secret"])
    return x + data.reduce(0.0, lambda n, line: n + tf.cast(tf.strings.length(line), tf.float32))


def maps_a_file(x):
    held = tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=(1,), memory_region_name="secret")
    return x + held


def saves_elsewhere(x):
    write = tf.raw_ops.SaveV2(
        prefix="ran", tensor_names=["x"], shape_and_slices=[""], tensors=[tf.constant(1.0)]
    )
    with tf.control_dependencies([write]):
        return tf.identity(x)


def restores_elsewhere(x):
    return x + tf.raw_ops.RestoreV2(
        prefix="secret", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
    )


def within_a_branch(x):
    return tf.cond(tf.reduce_sum(x) > 1e9, lambda: saves_elsewhere(x), lambda: x)


ATTACKS = {
    reads_a_file: "ReadFile",
    writes_a_file: "WriteFile",
    prints_into_a_file: "PrintV2",
    calls_python: "EagerPyFunc",
    calls_numpy: "PyFunc",
    lists_files: "MatchingFiles",
    reads_lines: "Dataset",
    maps_a_file: "ImmutableConst",
    saves_elsewhere: "SaveV2",
    restores_elsewhere: "RestoreV2",
    within_a_branch: "SaveV2",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda f: f.__name__)
def test_an_operator_that_does_more_than_compute_is_refused(tmp_path, monkeypatch, attack):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("four")
    folder = saved(Linear(attack), tmp_path / "model")
    text = refusal(folder)
    assert ATTACKS[attack] in text
    assert "--trust" in text
    assert sorted(os.listdir(tmp_path)) == ["model", "secret"]


def test_a_table_that_is_filled_from_a_file_while_it_is_loaded_is_refused(tmp_path):
    (tmp_path / "secret").write_text("a\nb\n")
    source = tf.lookup.TextFileInitializer(
        str(tmp_path / "secret"), tf.string, 0, tf.int64, 1, delimiter=" "
    )
    module = Linear()
    module.source = source
    (tmp_path / "secret").write_text("a 1\n")
    module.table = tf.lookup.StaticHashTable(source, 0)
    assert "HashTableV2" in refusal(saved(module, tmp_path / "model"))


def test_trust_runs_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = saved(Linear(writes_a_file), tmp_path / "model")
    found = load_model(folder, trust=True)
    assert not (tmp_path / "ran").exists()
    found(np.ones((1, 4), np.float32))
    assert (tmp_path / "ran").read_text() == "x"


def test_a_saving_function_under_another_name_is_refused(of_keras_3, tmp_path):
    """The two functions that save and restore may stand there, but nothing may call them."""
    folder = copy_of(of_keras_3[1], tmp_path / "model")
    content = saved_model_pb2.SavedModel()
    content.ParseFromString((folder / "saved_model.pb").read_bytes())
    graph = content.meta_graphs[0]
    saver = next(
        f.signature.name for f in graph.graph_def.library.function if "save" in f.signature.name
    )
    for function in graph.graph_def.library.function:
        for node in function.node_def:
            if node.op == "StatefulPartitionedCall":
                node.attr["f"].func.name = saver
    (folder / "saved_model.pb").write_bytes(content.SerializeToString())
    assert "SaveV2" in refusal(folder)


def test_an_operator_that_tensorflow_does_not_have_is_refused(of_keras_3, tmp_path):
    folder = copy_of(of_keras_3[1], tmp_path / "model")
    data = (folder / "saved_model.pb").read_bytes()
    assert b"Rsqrt" in data
    (folder / "saved_model.pb").write_bytes(data.replace(b"Rsqrt", b"Rsqrx"))
    assert "Rsqrx" in refusal(folder)


def test_every_operator_called_harmless_exists_and_names_no_file():
    from tensorflow.python.framework import op_def_registry

    for name in HARMLESS:
        definition = op_def_registry.get(name)
        assert definition is not None, name
        for attribute_ in definition.attr:
            assert not any(w in attribute_.name for w in ("file", "path", "url", "region")), name
