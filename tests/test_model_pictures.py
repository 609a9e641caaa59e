"""What is shown of a whole network: its filters, its graph, its mistakes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hsi.errors import ModelError, SettingsError
from hsi.explain.filters import HasKernels, filters
from hsi.explain.misclassified import misclassified
from hsi.explain.model_graph import Node, graph

SHAPE = (5, 5, 4)


@pytest.fixture(scope="module")
def keras():
    import tf_keras

    return tf_keras


def branching(keras):
    """Two ways that meet, a model in a model that is applied twice, a layer that is too."""
    layers = keras.layers
    inner_in = keras.Input((5, 5, 6))
    inner = keras.Model(
        inner_in, layers.ReLU(name="relu")(layers.Conv2D(6, 1, name="conv")(inner_in)), name="inner"
    )
    shared = layers.Conv2D(6, 1, name="shared")
    inputs = keras.Input(SHAPE, name="patch")
    left = layers.Conv2D(6, 3, padding="same", name="left")(inputs)
    left = inner(shared(left))
    right = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="right")(inputs)
    right = layers.Conv2D(6, 1, name="narrow")(right)
    x = layers.Add(name="add")([left, inner(shared(right))])
    x = layers.Flatten(name="flatten")(x * 2.0)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="out")(x), name="outer")


# Graph


def test_the_graph_of_a_network_with_branches_and_a_nested_model(keras):
    nodes = {node.name: node for node in graph(branching(keras))}
    reads = {name: node.inputs for name, node in nodes.items()}
    lambda_name = next(n for n, node in nodes.items() if node.kind not in type_names(keras))
    assert reads["patch"] == ()
    assert reads["left"] == reads["right"] == ("patch",)
    assert reads["narrow"] == ("right",)
    one, two = ("shared", "shared#2")
    if reads[one] == ("narrow",):  # Keras is free in the order of the two
        one, two = two, one
    assert reads[one] == ("left",)
    assert reads[two] == ("narrow",)
    readers = {reads[f"{i}/conv"][0]: i for i in ("inner", "inner#2")}
    assert set(readers) == {"shared", "shared#2"}
    assert reads["inner/relu"] == ("inner/conv",)
    assert reads["inner#2/relu"] == ("inner#2/conv",)
    assert reads["add"] == (f"{readers[one]}/relu", f"{readers[two]}/relu")
    assert reads[lambda_name] == ("add",)
    assert nodes[lambda_name].kind == "math.multiply"
    assert reads["flatten"] == (lambda_name,)
    assert reads["out"] == ("flatten",)
    assert len(nodes) == 14


def type_names(keras):
    return {*vars(keras.layers), "InputLayer"}


def test_nodes_come_in_the_order_of_execution_and_count_each_weight_once(keras):
    model = branching(keras)
    nodes = graph(model)
    seen: set[str] = set()
    for node in nodes:
        assert set(node.inputs) <= seen
        assert node.name not in seen
        seen.add(node.name)
    assert sum(node.parameters for node in nodes) == model.count_params()
    found = {node.name: node for node in nodes}
    assert found["left"] == Node("left", "Conv2D", (5, 5, 6), 4 * 9 * 6 + 6, ("patch",))
    assert found["patch"] == Node("patch", "InputLayer", SHAPE, 0, ())
    assert found["shared"].parameters + found["shared#2"].parameters == 6 * 6 + 6


def test_names_are_those_of_the_layers_that_are_explained(keras):
    from hsi.explain.activation_map import layer_names
    from hsi.explain.keras_layers import KerasLayers

    model = branching(keras)
    names = [node.name for node in graph(model) if node.kind != "InputLayer"]
    assert names == layer_names(model)
    assert names == [info.name for info in KerasLayers(model).describe(SHAPE)]


def test_sequential_models_and_models_of_the_table(keras):
    from hsi.models import FIELD, NETWORKS

    for network in NETWORKS.values():
        if network.image_size or network.name in FIELD:
            continue  # large, and not all are chains
        size = network.patch_size
        model = network.build((size, size, 7), 3, seed=0)
        nodes = graph(model)
        assert sum(node.parameters for node in nodes) == model.count_params()
        assert all(b.inputs == (a.name,) for a, b in pairwise(nodes))  # they are chains
        assert nodes[-1].shape == (3,)
        assert nodes[0].shape == (size, size, 7)


def test_a_model_without_a_graph_is_refused_in_one_line(keras):
    class OnesOwn(keras.Model):
        def call(self, x):
            return x

    for job in (graph, filters):
        with pytest.raises(ModelError, match="got OnesOwn") as caught:
            job(OnesOwn())
        assert "\n" not in str(caught.value)


# Filters


def test_filters_are_the_weights_of_the_layer(keras):
    model = branching(keras)
    found = filters(model)
    assert found.layer in ("left", "right")
    for name in ("left", "narrow", "shared", "out"):
        found = filters(model, layer=name)
        assert found.layer == name
        np.testing.assert_array_equal(found.kernels, model.get_layer(name).get_weights()[0])
        assert found.notes == ()
    inner = model.get_layer("inner").get_layer("conv")
    np.testing.assert_array_equal(
        filters(model, layer="inner/conv").kernels, inner.get_weights()[0]
    )
    assert filters(model, layer="right").kernels.shape == (3, 3, 4, 2)


def test_the_default_is_the_first_convolution(keras):
    layers = keras.layers
    first = [layers.Dense(4, name="mix"), layers.Conv2D(6, 3, name="conv")]
    model = keras.Sequential([keras.Input(SHAPE), *first, layers.Conv2D(2, 3, name="later")])
    assert filters(model).layer == "conv"
    dense = keras.Sequential([keras.Input((9,)), layers.ReLU(), layers.Dense(4, name="dense")])
    found = filters(dense)
    assert found.layer == "dense"
    assert found.kernels.shape == (9, 4)
    assert found.notes == ("no convolution: shown are the weights of dense",)


def test_wrapped_layers_give_their_kernel(keras):
    layers = keras.layers
    wrapped = layers.TimeDistributed(layers.Conv1D(3, 2, name="inside"), name="wrapped")
    model = keras.Sequential([keras.Input((5, 7, 4)), wrapped])
    np.testing.assert_array_equal(filters(model).kernels, model.get_weights()[0])
    assert filters(model).layer == "wrapped"


@pytest.mark.parametrize(
    ("make", "dead", "of"),
    [
        (lambda layers: layers.Conv2D(5, 2), (..., 1), 5),
        (lambda layers: layers.DepthwiseConv2D(2, depth_multiplier=2), (..., 3, 1), 8),
        (lambda layers: layers.Conv2DTranspose(5, 2), (..., 1, slice(None)), 5),
    ],
)
def test_filters_that_are_all_zero_are_counted(keras, make, dead, of):
    model = keras.Sequential([keras.Input(SHAPE), make(keras.layers)])
    kernel, bias = model.get_weights()
    kernel[dead] = 0
    model.set_weights([kernel, bias])
    assert filters(model).notes == (f"1 of {of} filters are all zero",)


def test_layers_that_are_not_there_or_have_no_kernel_are_one_line(keras):
    model = branching(keras)
    cases = {"lefft": "closest names are left", "add": "'add' \\(Add\\) has no kernel"}
    for name, text in cases.items():
        with pytest.raises(ModelError, match=text) as caught:
            filters(model, layer=name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="this one has none"):
        filters(keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()]))


# The same of a .tflite file


@pytest.fixture(scope="module")
def small(keras):
    """A network of every kind of kernel, large enough for its weights to be quantized."""
    layers = keras.layers
    inputs = x = keras.Input((9, 9, 8))
    x = layers.Conv2D(24, 3, activation="relu", name="conv")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu", name="depthwise")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(3, activation="softmax", name="out")(x)
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(0)  # a bias of zeros would be left out of the files
    model.set_weights([rng.normal(0, 0.1, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module", params=["float32", "float16", "dynamic", "int8"])
def lite(request, small, tmp_path_factory):
    from hsi.compress.quantize import quantize

    path = tmp_path_factory.mktemp("lite") / f"{request.param}.tflite"
    samples = np.random.default_rng(0).normal(size=(8, 9, 9, 8)).astype(np.float32)
    path.write_bytes(quantize(small, request.param, calibration=samples))
    return path


def test_kernels_of_a_tflite_file_are_those_of_its_keras_model(small, lite):
    from hsi.deploy.lite.graph import LiteKernels

    kernels = LiteKernels(lite)
    assert isinstance(kernels, HasKernels)
    assert filters(kernels).kernels.shape == (3, 3, 8, 24)
    wanted = [layer.get_weights()[0] for layer in small.layers if layer.weights]
    having = [i for i in kernels.kernel_layers() if kernels.kernel(i.name) is not None]
    assert [info.convolution for info in having] == [True, True, False]
    assert [info.name for info in having] == ["conv", "depthwise", "out"]
    exact = {"float32": 1e-7, "float16": 1e-3}.get(lite.stem, 1 / 127)
    for info, kernel in zip(having, wanted, strict=True):
        found = filters(kernels, layer=info.name).kernels
        np.testing.assert_allclose(found, kernel, atol=exact * abs(kernel).max())


def test_the_graph_of_a_tflite_file(small, lite):
    from hsi.deploy.lite.graph import lite_graph
    from hsi.deploy.lite.layers import lite_score

    nodes = lite_graph(lite)
    assert nodes[0].kind == "input"
    assert nodes[0].shape == (9, 9, 8)
    assert sum(node.parameters for node in nodes) == small.count_params()
    described = {i.name: i.shape for i in lite_score(lite).network.describe((9, 9, 8))}
    found = {node.name: node.shape for node in nodes[1:]}
    assert [n for n in found if n in ("conv", "depthwise", "flatten")] == [
        "conv", "depthwise", "flatten"
    ]  # fmt: skip
    for name, shape in found.items():
        assert described.get(name, shape) == shape
    assert len(set(found) & set(described)) >= 3
    seen: set[str] = set()
    for node in nodes:
        assert set(node.inputs) <= seen
        assert bool(node.inputs) == (node.kind != "input")
        seen.add(node.name)


# Mistakes


def literal(predicted, true, scores, count):
    """By lists: the surest of each pair in turn, then all by sureness."""
    piles: dict[tuple[int, int], list[int]] = {}
    for i in sorted(range(len(true)), key=lambda i: -scores[i]):
        if true[i] >= 0 and predicted[i] != true[i]:
            piles.setdefault((true[i], predicted[i]), []).append(i)
    chosen: list[int] = []
    while len(chosen) < count and any(piles.values()):
        for i in sorted((pile.pop(0) for pile in piles.values() if pile), key=lambda i: -scores[i]):
            if len(chosen) < count:
                chosen.append(i)
    return sorted(chosen, key=lambda i: -scores[i])


@pytest.mark.parametrize("count", [1, 3, 8, 20, 500])
def test_misclassified_samples_by_lists(count):
    rng = np.random.default_rng(count)
    true, predicted = rng.integers(-1, 5, 300), rng.integers(0, 5, 300)
    scores = rng.normal(size=300)
    found = misclassified(predicted, true, scores, count=count, seed=0)
    assert found.tolist() == literal(predicted, true, scores, count)


def test_every_confusion_is_shown_before_one_is_shown_twice():
    true = np.array([0] * 90 + [1] * 5 + [2] * 5)
    predicted = np.array([1] * 90 + [2] * 5 + [0] * 5)
    scores = np.concatenate([np.full(90, 0.99), np.full(10, 0.3)])
    found = misclassified(predicted, true, scores, count=4, seed=0)
    pairs = [(true[i], predicted[i]) for i in found]
    assert sorted(pairs) == [(0, 1), (0, 1), (1, 2), (2, 0)]
    assert list(scores[found]) == sorted(scores[found], reverse=True)


def test_the_seed_decides_between_equal_scores():
    true, predicted, scores = np.zeros(50, int), np.ones(50, int), np.ones(50)
    found = [misclassified(predicted, true, scores, count=5, seed=s).tolist() for s in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_nothing_misclassified_and_bad_arguments():
    right = np.array([0, 1, 2])
    assert misclassified(right, right, right, count=3, seed=0).shape == (0,)
    assert misclassified(right, np.full(3, -1), right, count=3, seed=0).shape == (0,)
    with pytest.raises(SettingsError, match="at least 1, got 0"):
        misclassified(right, right, right, count=0, seed=0)
    with pytest.raises(SettingsError, match=r"got \(3,\), \(3,\) and \(3, 2\)"):
        misclassified(right, right, np.zeros((3, 2)), count=1, seed=0)
