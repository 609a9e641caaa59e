"""Quantization-aware training and clustering: what is kept, and what is refused."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import tf_keras as keras
from tf_keras import layers

from hsi.compress.aware import check_aware, cluster_weights, quantization_aware
from hsi.compress.fold import fold_batch_norm
from hsi.compress.fused import fused
from hsi.compress.magnitude import prune_magnitude
from hsi.compress.quantize import quantize
from hsi.deploy.differentiable import load
from hsi.deploy.islands import float_islands
from hsi.deploy.tflite import TFLiteModel
from hsi.errors import ModelError, SettingsError


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 96)
    noise = rng.normal(size=(96, 6, 6, 3))
    return (noise + 2 * classes[:, None, None, None]).astype(np.float32), classes


@pytest.fixture(scope="module")
def train(data):
    """A fine-tuning of one epoch."""
    samples, classes = data

    def fine_tune(model, callbacks):
        model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
        model.fit(samples, classes, batch_size=32, verbose=0, callbacks=list(callbacks))

    return fine_tune


@pytest.fixture(scope="module")
def model(train) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(8, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    train(model, [])
    return model


@pytest.fixture(scope="module")
def pruned(model, train) -> keras.Model:
    return prune_magnitude(model, 0.5, fine_tune=train)


def kernels(model: keras.Model) -> list[np.ndarray]:
    return [layer.get_weights()[0] for layer in model.layers if hasattr(layer, "kernel")]


def distinct(model: keras.Model) -> list[int]:
    return [len(np.unique(kernel)) for kernel in kernels(model)]


# Clustering


@pytest.mark.slow
def test_kernels_have_few_values_and_gzip_packs_them(model, train, data):
    before = [w.copy() for w in model.get_weights()]
    clustered = cluster_weights(model, 8, fine_tune=train)
    assert all(n <= 8 for n in distinct(clustered))
    assert all(n > 100 for n in distinct(model)[:2])
    assert [layer.name for layer in clustered.layers][1:] == [layer.name for layer in model.layers]
    assert not any(isinstance(layer, layers.Wrapper) for layer in clustered.layers)
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    plain, packed = (
        len(gzip.compress(quantize(m, "float32", calibration=data[0]))) for m in (model, clustered)
    )
    assert packed < plain / 2


@pytest.mark.slow
def test_zeros_stay_zeros_among_the_values(pruned, train):
    clustered = cluster_weights(pruned, 6, preserve_sparsity=True, fine_tune=train)
    assert all(n <= 6 for n in distinct(clustered))
    for was, now in zip(kernels(pruned), kernels(clustered), strict=True):
        assert np.mean(was == 0) == pytest.approx(0.5, abs=0.02)
        np.testing.assert_array_equal(now[was == 0], 0)


def test_kernels_with_no_more_weights_than_clusters_stay(train):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(3)])
    seen = []

    def look(wrapped, callbacks):
        seen.extend(type(layer).__name__ for layer in wrapped.layers)

    # a kernel of 16 weights with a bias of 4
    for clusters, kinds in ((15, ["ClusterWeights", "Dense"]), (17, ["Dense", "Dense"])):
        cluster_weights(model, clusters, fine_tune=look)
        assert seen[-2:] == kinds


def test_too_few_weights_that_are_not_zero_are_refused_in_one_line(train):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="sparse")])
    kernel = np.zeros((4, 4))
    kernel[0] = [1, 2, -1, -2]
    model.set_weights([kernel, np.zeros(4)])
    with pytest.raises(ModelError, match=r"6 clusters .* not 0, .* choose fewer") as caught:
        cluster_weights(model, 6, preserve_sparsity=True, fine_tune=train)
    assert "\n" not in str(caught.value)


def test_operators_of_tensorflow_are_kept_where_kernels_are_clustered():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="one")(inputs)
    x = x + 2.0 * layers.Dense(4, name="two")(x)
    model = keras.Model(inputs, layers.Dense(2, name="scores")(x))
    samples = np.ones((3, 4), np.float32)
    clustered = cluster_weights(model, 16, fine_tune=lambda wrapped, callbacks: None)
    np.testing.assert_allclose(clustered(samples), model(samples), atol=1e-6)


def test_fewer_than_two_clusters_are_refused(model, train):
    with pytest.raises(SettingsError, match="clusters: expected 2 or more, got 1"):
        cluster_weights(model, 1, fine_tune=train)


# Quantization-aware training


def int8_kernels(path) -> list[np.ndarray]:
    graph = load(path).graph
    weighted = [op for op in graph.operators if op.kind in ("CONV_2D", "FULLY_CONNECTED")]
    return [graph.tensors[op.inputs[1]].data for op in weighted]


def as_file(model, data, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(quantize(model, "int8", calibration=data[0]))
    return path


@pytest.mark.slow
def test_the_file_computes_what_was_trained(model, train, data, tmp_path):
    wrapped = quantization_aware(model, fine_tune=train)
    path = as_file(wrapped, data, tmp_path)
    assert float_islands(path) == []
    found = TFLiteModel(path)(data[0])
    expected = wrapped(data[0]).numpy()
    assert np.ptp(expected) > 0.3
    np.testing.assert_allclose(found, expected, atol=3 / 256)
    np.testing.assert_allclose(load(path)(data[0]).numpy(), found, atol=1.5 / 256)


@pytest.mark.slow
def test_zeros_of_a_pruned_network_are_kept(pruned, train, data, tmp_path):
    wrapped = quantization_aware(pruned, preserve=["sparsity"], fine_tune=train)
    found = int8_kernels(as_file(wrapped, data, tmp_path))
    for was, now in zip(kernels(pruned), found, strict=True):
        assert np.mean(now == 0) >= np.mean(was == 0)


@pytest.mark.slow
def test_values_of_a_clustered_network_are_kept(pruned, train, data, tmp_path):
    clustered = cluster_weights(pruned, 6, preserve_sparsity=True, fine_tune=train)
    both = quantization_aware(clustered, preserve=["clusters", "sparsity"], fine_tune=train)
    found = int8_kernels(as_file(both, data, tmp_path))
    for was, now in zip(kernels(pruned), found, strict=True):
        assert np.mean(now == 0) >= np.mean(was == 0)
    # a convolution has a scale for each channel, so its values become others in each
    assert all(len(np.unique(kernel)) <= 6 for kernel in found[1:])


# Batch norms behind dense layers, and ReLUs that are layers of their own


@pytest.fixture(scope="module")
def apart(data) -> keras.Model:
    """Half of its weights are zero; batch norms that do something; every ReLU is a layer."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(6, 3, name="conv"),
            layers.Activation("relu"),
            layers.DepthwiseConv2D(2, name="depth"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(12, name="dense", use_bias=False),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Dense(8, name="second"),
            layers.BatchNormalization(name="last"),
            layers.Dense(3, activation="softmax", name="scores"),
        ]
    )
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.2, 2, w.shape) for w in layer.get_weights()])
        elif isinstance(layer, layers.Conv2D | layers.Dense) and layer.name != "depth":
            kernel, *bias = layer.get_weights()
            layer.set_weights([np.where(rng.random(kernel.shape) < 0.5, 0, kernel), *bias])
    return model


@pytest.fixture(scope="module")
def rounded(apart, train) -> keras.Model:
    return quantization_aware(apart, preserve=["sparsity"], fine_tune=train)


def test_layers_put_into_others_compute_the_same(apart, data):
    joined = fused(apart)
    kinds = [type(layer).__name__ for layer in joined.layers]
    assert kinds == [
        "InputLayer", "Conv2D", "DepthwiseConv2D", "Flatten", "Dense", "Dense", "Dense",
    ]  # fmt: skip
    names = [layer.name for layer in joined.layers if layer.weights]
    assert names == ["conv", "depth", "dense", "second", "scores"]
    expected = apart(data[0]).numpy()
    assert np.ptp(expected) > 0.3
    np.testing.assert_allclose(joined(data[0]), expected, atol=1e-5)
    assert len(apart.layers) == 11, "the given model is left as it is"


def test_layers_that_others_read_or_that_bound_stay(data):
    """A second reader, a layer called twice, a bound, a slope, another activation before."""
    inputs = keras.Input((6, 6, 3))
    shared = layers.Conv2D(3, 1, name="shared")
    x = layers.ReLU(name="a")(shared(shared(inputs)))
    y = layers.Conv2D(3, 1, name="read_twice")(x)
    x = layers.Add()([y, layers.ReLU(name="b")(y)])
    x = layers.ReLU(6.0, name="c")(layers.Conv2D(3, 1)(x))
    x = layers.ReLU(negative_slope=0.1, name="d")(layers.Conv2D(3, 1)(x))
    x = layers.ReLU(name="e")(layers.Conv2D(3, 1, activation="tanh")(x))
    x = layers.ReLU(threshold=0.1, name="f")(layers.Conv2D(3, 1)(x))
    model = keras.Model(inputs, layers.Activation("tanh", name="g")(layers.Conv2D(3, 1)(x)))
    joined = fused(model)
    assert [layer.name for layer in joined.layers] == [layer.name for layer in model.layers]
    np.testing.assert_allclose(joined(data[0]), model(data[0]), atol=1e-6)


def test_the_file_computes_what_was_trained_with_dense_batch_norms(rounded, data, tmp_path):
    path = as_file(rounded, data, tmp_path)
    assert float_islands(path) == []
    expected = rounded(data[0]).numpy()
    assert np.ptp(expected) > 0.3
    np.testing.assert_allclose(TFLiteModel(path)(data[0]), expected, atol=6 / 256)


def test_zeros_in_front_of_such_layers_are_kept(apart, rounded, data, tmp_path):
    found = int8_kernels(as_file(rounded, data, tmp_path))
    was = [k for layer, k in zip(weighted(apart), kernels(apart), strict=True) if layer != "depth"]
    assert len(was) == len(found) == 4
    for before, after in zip(was, found, strict=True):
        assert np.mean(before == 0) > 0.4
        assert np.mean(after == 0) >= np.mean(before == 0)


def weighted(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if hasattr(layer, "kernel")]


@pytest.mark.slow
def test_clusters_in_front_of_such_layers_are_kept(apart, train, data, tmp_path):
    clustered = cluster_weights(fold_batch_norm(apart), 6, preserve_sparsity=True, fine_tune=train)
    both = quantization_aware(clustered, preserve=["clusters", "sparsity"], fine_tune=train)
    for kernel in int8_kernels(as_file(both, data, tmp_path)):
        assert all(len(np.unique(output)) <= 6 for output in kernel)


def test_clusters_that_a_batch_norm_would_scale_are_refused(apart):
    with pytest.raises(ModelError, match=r"layer 'norm': .* fold it .*fold_batch_norm") as caught:
        check_aware(apart, preserve=["clusters"])
    assert "\n" not in str(caught.value)


def beside_each_other() -> keras.Model:
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, name="plain")(inputs)
    y = layers.ReLU()(layers.Conv2D(4, 3, name="followed")(inputs))
    return keras.Model(inputs, layers.Concatenate()([x, y]))


@pytest.mark.parametrize("preserve", [(), ("sparsity",), ("clusters",)])
@pytest.mark.parametrize(
    "build",
    [
        lambda: chain(layers.Conv2D(4, 3), layers.ReLU()),
        lambda: chain(layers.Conv2D(4, 3), layers.Activation("relu")),
        lambda: chain(layers.Conv2D(4, 3), layers.ReLU(6.0)),
        lambda: chain(layers.Conv2D(4, 3, activation="tanh"), layers.ReLU()),
        lambda: chain(layers.Dense(4), layers.ReLU()),
        beside_each_other,
    ],
    ids=["ReLU", "Activation", "bound", "after tanh", "dense", "concatenated"],
)
def test_every_kernel_is_rounded_in_training_as_the_scheme_does(build, preserve):
    found = []

    def look(wrapped, callbacks):
        for layer in wrapped.layers:
            if hasattr(getattr(layer, "layer", None), "kernel"):
                (pair,) = layer.quantize_config.get_weights_and_quantizers(layer.layer) or [None]
                assert pair is not None, f"{layer.name} is not rounded"
                found.append(type(pair[1]).__name__)

    quantization_aware(build(), preserve=preserve, fine_tune=look)
    assert len(found) == 2
    scheme = {(): "", ("sparsity",): "PrunePreserve", ("clusters",): "ClusterPreserve"}[preserve]
    assert all(("Preserve" in name) == bool(scheme) and scheme in name for name in found), found


# Refusals


def chain(*middle, shape=(8, 8, 4)) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *middle, layers.Flatten(), layers.Dense(2)])


def dense_block() -> keras.Model:
    """A batch norm in front of its convolution, as DenseNet has it."""
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    y = layers.BatchNormalization(name="early")(x)
    y = layers.Conv2D(4, 3, padding="same")(layers.ReLU()(y))
    return keras.Model(inputs, layers.Concatenate()([x, y]))


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            dense_block,
            "layer 'early'.*batch norm right after .*; got it after stem; quantize after",
        ),
        (lambda: chain(layers.BatchNormalization(name="first")), "layer 'first'.*after the input"),
        (
            lambda: chain(
                layers.Conv2D(3, 3, activation="relu"), layers.BatchNormalization(name="late")
            ),
            "layer 'late'.*which is linear",
        ),
        (
            lambda: chain(layers.Conv3D(3, 3, name="solid"), shape=(8, 8, 8, 1)),
            "layer 'solid': TF-MOT has no quantization-aware training for Conv3D",
        ),
        (lambda: chain(layers.Conv1D(3, 3, name="line"), shape=(8, 4)), "layer 'line'.*Conv1D"),
        (
            lambda: chain(layers.Dense(3, name="rows"), layers.BatchNormalization(axis=1)),
            "batch norm right after .*; got it after rows; quantize after",
        ),
        (lambda: chain(layers.Conv2D(3, 3, activation="elu")), "Only some Keras activations"),
    ],
    ids=["DenseNet", "first", "late", "Conv3D", "Conv1D", "rows", "ELU"],
)
def test_what_tf_mot_cannot_train_is_refused_in_one_line(build, text):
    def never(model, callbacks):
        raise AssertionError("it came to training")

    with pytest.raises(ModelError, match=text) as caught:
        quantization_aware(build(), fine_tune=never)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=text):
        check_aware(build())


def test_what_tf_mot_can_train_passes_the_check(model):
    check_aware(model)
    check_aware(
        chain(layers.SeparableConv2D(3, 3), layers.BatchNormalization(), layers.Activation("relu"))
    )


def test_separable_convolutions_are_taken_apart_under_names_that_are_free(data):
    """As a stranger's network in a new process: of the names that TF-MOT would give next."""
    keras.backend.clear_session()
    given = [
        keras.Input((6, 6, 3)), layers.Conv2D(4, 1), layers.DepthwiseConv2D(3, padding="same"),
        layers.SeparableConv2D(5, 3, strides=2, depth_multiplier=2, activation="relu"),
        layers.SeparableConv2D(4, 3, use_bias=False, dilation_rate=1, padding="same"),
        layers.BatchNormalization(), layers.ReLU(), layers.Flatten(), layers.Dense(3),
    ]  # fmt: skip
    model = keras.Sequential(given)
    for layer in model.layers:
        layer.set_weights([w + 0.1 for w in layer.get_weights()])
    apart = fused(model)
    assert [layer.name for layer in apart.layers if layer.weights] == [
        "conv2d", "depthwise_conv2d", "separable_conv2d_depthwise", "separable_conv2d",
        "separable_conv2d_1_depthwise", "separable_conv2d_1", "batch_normalization", "dense",
    ]  # fmt: skip
    np.testing.assert_allclose(apart(data[0]), model(data[0]), atol=1e-4)
    keras.backend.reset_uids()
    check_aware(model)


def test_unknown_names_to_preserve_are_refused(model, train):
    with pytest.raises(SettingsError, match=r"Unknown preserve 'cluster'.*Did you mean 'clusters'"):
        quantization_aware(model, preserve=["cluster"], fine_tune=train)


def test_weights_that_are_no_numbers_are_refused_where_clustering_would_not_end():
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(9, name="broken")])
    model.set_weights([np.full((4, 9), np.nan), np.zeros(9)])
    with pytest.raises(ModelError, match="layer 'broken' has weights that are no finite numbers"):
        cluster_weights(model, 4, fine_tune=lambda wrapped, callbacks: None)
