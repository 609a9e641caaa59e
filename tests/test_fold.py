"""Exact folding: fewer layers, the same function."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
from ai_edge_litert.interpreter import Interpreter
from test_surgery import Graph, cao, gap, randomise, samples

from hsi import bands
from hsi.compress.cost import macs, parameters
from hsi.compress.fold import (
    fold_batch_norm,
    fold_linear,
    fold_preparation,
    proven_equal,
    what_stays,
)
from hsi.compress.graph import channel_groups
from hsi.compress.quantize import quantize
from hsi.errors import ModelError, SettingsError
from hsi.models import network
from hsi.models.files import load_model, save_model

L = keras.layers


def model_of(inputs: Any, outputs: Any, seed: int = 0) -> Any:
    return randomise(keras.Model(inputs, outputs), np.random.default_rng(seed))


def names(model: Any) -> list[str]:
    return [layer.name for layer in model.layers[1:]]


def norms(model: Any) -> int:
    return sum(type(layer) is L.BatchNormalization for layer in model.layers)


class LinearGraph(Graph):
    """Random graphs with neighbours that are one linear layer."""

    def block(self, x: Any) -> Any:
        kinds = [self.pair, self.normed, self.before, self.pointwise, self.plain, self.residual]
        return kinds[int(self.rng.integers(len(kinds)))](x)

    def pair(self, x: Any) -> Any:
        """Two convolutions without an activation, one of them 1 x 1, dropout between."""
        first, second = (1, 3) if self.rng.random() < 0.5 else (3, 1)
        conv, bias = self.layer("Conv"), bool(self.rng.random() < 0.5)
        x = L.Dropout(0.2)(conv(int(self.rng.integers(2, 12)), first, use_bias=bias)(x))
        return conv(int(self.rng.integers(2, 9)), second, padding="same", activation="relu")(x)

    def before(self, x: Any) -> Any:
        """A batch norm before a convolution, with padding or without."""
        padding = str(self.rng.choice(["same", "valid"]))
        x = L.BatchNormalization()(L.ReLU()(x))
        return self.layer("Conv")(3, 1, padding=padding, use_bias=False, activation="relu")(x)

    def pointwise(self, x: Any) -> Any:
        """A dense layer on the channels of a map, and what stretches them."""
        x = L.Rescaling(0.5, offset=0.1)(L.Dense(5)(x))
        return L.ReLU()(L.Dense(4)(x))

    def head(self, x: Any) -> Any:
        x = self.layer("Conv")(3, 1)(self.layer("AveragePooling")(2)(x))
        x = L.Dense(12)(L.Flatten()(x))
        x = L.Dense(8)(L.Dropout(0.5)(L.BatchNormalization()(x)))
        return L.Dense(4, activation="softmax", name="logits")(x)


@pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(s, marks=pytest.mark.slow) for s in range(5, 25))]
)
def test_folded_equals_the_original_on_random_graphs(seed: int) -> None:
    for kind in (Graph, LinearGraph):
        graph = kind(seed)
        model = randomise(graph.model(), graph.rng)
        x, before = samples(model, graph.rng), [w.copy() for w in model.get_weights()]
        normed = fold_batch_norm(model)
        folded = fold_linear(normed)
        for one in (normed, folded, fold_linear(model)):
            assert gap(one, model, x) < 2e-5
        assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
        assert macs(folded) <= macs(normed) == macs(model)
        assert parameters(folded) <= parameters(normed)
        if kind is LinearGraph:
            assert len(folded.layers) < len(normed.layers)
            assert macs(folded) < macs(model)
        assert len(channel_groups(folded)) <= len(channel_groups(model))


def test_cao_is_three_layers_and_a_flatten() -> None:
    model = randomise(cao(), np.random.default_rng(0))
    folded = fold_linear(model)
    assert names(folded) == ["conv_1", "conv_2", model.layers[2].name, "scores"]
    assert parameters(folded) == 9 * 200 * 300 + 300 + 9 * 300 * 200 + 200 + 200 * 9 + 9
    assert folded.layers[-1].activation is keras.activations.softmax
    kernels = [layer.get_weights() for layer in model.layers[-3:]]
    kernel, bias = np.eye(200), np.zeros(200)
    for weights, offset in kernels:
        kernel, bias = kernel @ weights.astype(float), bias @ weights.astype(float) + offset
    np.testing.assert_allclose(folded.layers[-1].kernel, kernel, atol=1e-5)
    np.testing.assert_allclose(folded.layers[-1].bias, bias, atol=1e-5)
    assert proven_equal(model, folded, samples(model, np.random.default_rng(1))) < 1e-5
    assert what_stays(folded) == ()


def test_batch_norms_by_the_definition() -> None:
    """gamma (K x + b - mean) / sqrt(variance + epsilon) + beta, put into K and b by hand."""
    inputs = L.Input((5, 5, 3))
    norm = L.BatchNormalization(epsilon=0.1, name="norm")
    model = model_of(inputs, norm(L.Conv2D(4, 3, padding="same", name="conv")(inputs)))
    folded = fold_batch_norm(model)
    assert names(folded) == ["conv"]
    kernel, bias = model.get_layer("conv").get_weights()
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + 0.1)
    np.testing.assert_allclose(folded.get_weights()[0], kernel * scale, rtol=1e-5)
    np.testing.assert_allclose(folded.get_weights()[1], (bias - mean) * scale + beta, rtol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        L.DepthwiseConv2D(3, depth_multiplier=2),
        L.SeparableConv2D(6, 3, depth_multiplier=2, use_bias=False),
        L.Conv2D(8, 3, groups=2),
        L.Conv2DTranspose(5, 3, strides=2),
        L.Conv2D(5, 3, strides=2, dilation_rate=1, use_bias=False),
        L.Dense(7),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_batch_norms_on_both_sides_of_a_layer(layer: Any) -> None:
    inputs = L.Input((7, 7, 4))
    x = L.ReLU()(L.BatchNormalization()(layer(L.BatchNormalization()(inputs))))
    model = model_of(inputs, L.GlobalAveragePooling2D()(x))
    folded = fold_batch_norm(model)
    # Zero taps at the border of a transposed convolution make the first one no map of channels.
    assert norms(folded) == int(isinstance(layer, L.Conv2DTranspose))
    assert gap(folded, model, samples(model, np.random.default_rng(0))) < 1e-5


def test_batch_norms_that_must_stay() -> None:
    inputs = L.Input((6, 6, 3))
    relu = L.BatchNormalization(name="after_relu")(L.Conv2D(4, 3, activation="relu")(inputs))
    padded = L.Conv2D(4, 3, padding="same")(relu)
    read_twice = L.Add()([L.BatchNormalization(name="read_twice")(padded), padded])
    training = L.BatchNormalization(name="training")
    x = training(L.Conv2D(4, 3)(L.ReLU()(read_twice)), training=True)
    shared, norm = L.Conv2D(4, 1), L.BatchNormalization(name="shared")
    x = L.Concatenate()([norm(shared(L.ReLU()(x))), norm(shared(L.Activation("tanh")(x)))])
    model = model_of(inputs, L.Dense(2)(L.GlobalMaxPooling2D()(L.ReLU()(x))))
    folded = fold_batch_norm(model)
    assert names(folded) == names(model)
    assert gap(folded, model, samples(model, np.random.default_rng(0))) == 0
    (note,) = what_stays(folded)
    assert note.startswith("4 batch norms stay (after_relu, read_twice, training, shared)")


def test_an_output_keeps_the_layer_before_it() -> None:
    inputs = L.Input((6, 6, 3))
    conv = L.Conv2D(4, 3, name="conv")(inputs)
    model = model_of(inputs, [conv, L.BatchNormalization()(conv)])
    assert names(fold_batch_norm(model)) == names(model)


def test_what_would_grow_stays_and_is_said() -> None:
    inputs = L.Input((40,))
    x = L.Dense(40, name="wide")(L.Dense(3, name="narrow")(inputs))
    model = model_of(inputs, L.ReLU()(x))
    folded = fold_linear(model)
    assert names(folded)[:2] == ["narrow", "wide"]
    (note,) = what_stays(folded)
    assert note == (
        "narrow, wide stay apart: as one layer they would take 1,640 parameters and 1,600 "
        "multiply-accumulates, apart 283 and 240."
    )


def test_fewer_operations_do_not_pay_with_more_parameters() -> None:
    """4 x 4 x 8 values to 2: 256 products and 258 weights, where two layers take 480 and 125."""
    inputs = L.Input((4, 4, 8))
    x = L.Dense(2, name="dense")(L.Flatten()(L.Conv2D(3, 1, name="conv")(inputs)))
    model = model_of(inputs, x)
    folded = fold_linear(model)
    assert names(folded) == names(model)
    assert "258 parameters and 256 multiply-accumulates, apart 125 and 480" in what_stays(model)[0]


def test_convolution_and_flatten_into_one_dense_layer() -> None:
    """Padding, strides and pooling by averages are linear too: the matrix column by column."""
    inputs = L.Input((5, 4, 2))
    x = L.Conv2D(12, 3, strides=2, padding="same", name="conv")(inputs)
    x = L.AveragePooling2D((1, 2), padding="same")(x)
    model = model_of(inputs, L.Dense(2, activation="tanh", name="dense")(L.Flatten()(x)))
    folded = fold_linear(model)
    assert [type(layer) for layer in folded.layers[1:]] == [L.Flatten, L.Dense]
    model.layers[-1].activation = keras.activations.linear
    units = np.eye(40, dtype=np.float32).reshape(40, 5, 4, 2)
    bias = model(np.zeros_like(units[:1])).numpy()
    np.testing.assert_allclose(folded.layers[-1].kernel, model(units) - bias, atol=1e-5)
    np.testing.assert_allclose(folded.layers[-1].bias, bias[0], atol=1e-5)


def test_a_layer_that_a_merge_made_can_be_merged_again() -> None:
    """The Flatten of the first merge is not built yet when the second one asks what it costs."""
    inputs = keras.Input((5, 5, 200))
    x = keras.layers.Conv2D(4, 1)(inputs)
    x = keras.layers.Conv2D(8, 3, padding="same")(x)
    x = keras.layers.Flatten()(x)
    model = model_of(inputs, keras.layers.Dense(16, activation="softmax")(x))
    folded = fold_linear(model)
    batch = np.random.default_rng(0).normal(size=(3, 5, 5, 200)).astype(np.float32)
    np.testing.assert_allclose(folded(batch), model(batch), atol=1e-5)
    assert parameters(folded) <= parameters(model)


def test_constants_do_not_go_through_padding() -> None:
    inputs = L.Input((6, 6, 8))
    for bias, left in ((False, 1), (True, 2)):
        x = L.Conv2D(2, 3, padding="same")(L.Conv2D(8, 1, use_bias=bias)(inputs))
        model = model_of(inputs, x)
        folded = fold_linear(model)
        assert len(folded.layers) - 1 == left
        assert gap(folded, model, samples(model, np.random.default_rng(1))) < 1e-5


def scene() -> tuple[np.ndarray, np.ndarray]:
    """(12, 9, 14) counts with pixels far outside, and training pixels without them."""
    rng = np.random.default_rng(0)
    level = rng.uniform(200, 4000, 14)
    cube = level + rng.normal(size=(12, 9, 4)) @ rng.normal(scale=60, size=(4, 14))
    cube += rng.normal(scale=5, size=cube.shape)
    train = rng.random((12, 9)) < 0.6
    train[0, 0] = train[5, 5] = False
    cube[0, 0] += 1e5
    cube[5, 5, ::2] -= 4e4
    cube[..., 3] = 7  # a constant band
    return cube.round(), train


def patches(cube: np.ndarray, size: int) -> np.ndarray:
    rows, cols = cube.shape[0] - size + 1, cube.shape[1] - size + 1
    cut = [cube[i : i + size, j : j + size] for i in range(rows) for j in range(cols)]
    return np.stack(cut).astype(np.float32)


WAYS: list[dict[str, Any]] = [
    {},
    {"scaling": "minmax"},
    {"scaling": "none"},
    {"band_selection": "PCA", "components": 3},
    {"band_selection": "PCA", "components": 14, "scaling": "minmax"},
    {"band_selection": "PCA", "components": 3, "scaling": "none"},
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())) or "plain")
def test_a_network_of_raw_counts_equals_preparation_and_network(way: dict[str, Any]) -> None:
    """Against `bands.apply`, outliers included, in the kernel and as a layer; same and valid."""
    cube, train = scene()
    preparation = bands.fit(cube, train, **way)
    outside = bands.count_clipped(preparation, cube)
    assert outside == 0 if way.get("scaling") == "none" else outside > 14
    x, prepared = patches(cube, 5), patches(bands.apply(preparation, cube), 5)
    for padding in ("valid", "same"):
        inputs = L.Input((5, 5, preparation.channels))
        conv = L.Conv2D(6, 3, padding=padding, use_bias=False, activation="relu", name="conv")
        scores = L.Dense(4, activation="softmax")(L.Flatten()(conv(inputs)))
        model = model_of(inputs, scores)
        made = [fold_preparation(model, preparation, into="layer")]
        if padding == "valid" or way == {"scaling": "none"}:
            made.append(fold_preparation(model, preparation, into="kernel"))
            assert "preparation" not in names(made[-1])
            assert macs(fold_preparation(model, preparation)) == min(map(macs, made))
        else:
            with pytest.raises(ModelError, match=r"first layer without padding .*into='layer'"):
                fold_preparation(model, preparation, into="kernel")
        for folded in made:
            assert folded.input_shape == (None, 5, 5, 14)
            assert ("preparation_clip" in names(folded)) == (way.get("scaling") != "none")
            assert proven_equal(model, folded, x, preparation=preparation) < 2e-5
            difference = folded(x).numpy() - model(prepared).numpy()
            assert np.abs(difference).max() < 1e-4


def test_the_chain_rule_of_standardisation_and_pca_in_numpy() -> None:
    cube, train = scene()
    p = bands.fit(cube, train, band_selection="PCA", components=3)
    inputs = L.Input((3, 3, 3))
    model = model_of(inputs, L.Conv2D(2, 3, name="conv")(inputs))
    kernel, bias = (w.astype(float) for w in model.get_layer("conv").get_weights())
    folded = fold_preparation(model, p, into="kernel", clip=False)
    assert names(folded) == ["conv"]
    expected, shift = np.zeros((3, 3, 14, 2)), bias.copy()
    for i, j, k, t in np.ndindex(3, 3, 3, 2):
        weight = kernel[i, j, k, t] / p.out_scale[k]
        shift[t] -= weight * p.out_offset[k]
        for band in range(14):
            step = weight * p.components[k, band]
            expected[i, j, band, t] += step / p.scale[band]
            shift[t] -= step * (p.offset[band] / p.scale[band] + p.mean[band])
    made = folded.get_layer("conv").get_weights()
    np.testing.assert_allclose(made[0], expected, rtol=1e-5, atol=1e-8 * np.abs(expected).max())
    np.testing.assert_allclose(made[1], shift, rtol=1e-5)


def test_clipping_is_a_part_of_the_network() -> None:
    """Values beyond the bounds give what the bounds give; without clipping they do not."""
    cube, train = scene()
    p = bands.fit(cube, train)
    inputs = L.Input((3, 3, 14))
    model = model_of(inputs, L.Flatten()(L.Conv2D(5, 3)(inputs)))
    ordinary = np.tile(cube[2:5, 2:5], (4, 1, 1, 1))
    ordinary[1, ..., 2], ordinary[2, ..., 9] = p.high[2], p.low[9]
    beyond = ordinary.copy()
    beyond[1, ..., 2], beyond[2, ..., 9], beyond[3, ..., 3] = 1e6, -1e6, 50
    clipped = fold_preparation(model, p)
    np.testing.assert_allclose(clipped(beyond), clipped(ordinary), rtol=1e-4, atol=1e-4)
    bare = fold_preparation(model, p, clip=False)
    assert proven_equal(model, bare, ordinary.astype(np.float32), preparation=p) < 1e-4
    with pytest.raises(ModelError, match="the folded network is not the original: its logits"):
        proven_equal(model, bare, beyond.astype(np.float32), preparation=p)


def test_the_cheaper_place_is_the_default() -> None:
    cube, train = scene()
    p = bands.fit(cube, train, band_selection="PCA", components=3)
    for filters, place in ((1, "kernel"), (40, "layer")):
        inputs = L.Input((5, 5, 3))
        model = model_of(inputs, L.Conv2D(filters, 3)(inputs))
        folded = fold_preparation(model, p)
        assert names(folded) == names(fold_preparation(model, p, into=place))
        assert ("preparation" in names(folded)) == (place == "layer")


def test_everything_folded_is_saved_converted_and_pruned(tmp_path: Path) -> None:
    cube, train = scene()
    p = bands.fit(cube, train, band_selection="PCA", components=4)
    model = randomise(network("cao").build((5, 5, 4), 3, seed=0), np.random.default_rng(0))
    folded = fold_preparation(fold_linear(fold_batch_norm(model)), p)
    x = patches(cube, 5)
    save_model(folded, tmp_path / "folded.h5")
    loaded = load_model(tmp_path / "folded.h5")
    assert proven_equal(model, loaded, x, preparation=p) < 2e-5
    assert {"conv_1", "conv_2"} <= {group.name for group in channel_groups(loaded)}
    assert not loaded.get_layer("preparation_clip").trainable
    interpreter = Interpreter(model_content=quantize(loaded, "float32", calibration=x))
    runner = interpreter.get_signature_runner()
    ((name, _),) = runner.get_input_details().items()
    (output,) = runner(**{name: x}).values()
    np.testing.assert_allclose(output, model(patches(bands.apply(p, cube), 5)), atol=1e-4)


def test_preparations_and_networks_that_do_not_fit() -> None:
    cube, train = scene()
    p = bands.fit(cube, train)
    inputs = L.Input((5, 5, 14))
    model = model_of(inputs, L.Flatten()(L.Conv2D(2, 3)(inputs)))
    nmf = bands.fit(abs(cube), train, band_selection="NMF", components=2)
    with pytest.raises(ModelError, match="NMF cannot be folded into a network"):
        fold_preparation(model, nmf)
    with pytest.raises(SettingsError, match=r"Unknown into 'kernal'.* Did you mean 'kernel'"):
        fold_preparation(model, p, into="kernal")
    pca = bands.fit(cube, train, band_selection="PCA", components=3)
    with pytest.raises(ModelError, match="takes the 3 channels of its preparation, it takes 14"):
        fold_preparation(model, pca)
    with pytest.raises(ModelError, match="already; it takes raw counts"):
        fold_preparation(fold_preparation(model, p), p)
    flat = keras.Sequential([L.Input((14,)), L.Dense(2)])
    with pytest.raises(ModelError, match=r"one input \(rows, cols, channels\)"):
        fold_preparation(flat, p)
    with pytest.raises(ModelError, match="bounds for every band or for none"):
        fold_preparation(model, replace(p, high=np.where(np.arange(14) < 2, np.inf, p.high)))


def test_the_proof_sees_logits_and_not_a_saturated_softmax() -> None:
    inputs = L.Input((4,))
    model = model_of(inputs, L.Softmax()(L.Dense(3, name="dense")(inputs)))
    dense = model.get_layer("dense")
    dense.set_weights([dense.kernel.numpy() * 1e-3, np.array([-400.0, 0, 300], np.float32)])
    other = fold_linear(model)
    x = samples(model, np.random.default_rng(0))
    assert proven_equal(model, other, x) == 0
    other.get_layer("dense").set_weights([dense.kernel, np.array([-400.0, 1, 300], np.float32)])
    assert gap(other, model, x) == 0
    with pytest.raises(ModelError, match=r"differ by 0\.0014 of their range, expected at most"):
        proven_equal(model, other, x)
    other.get_layer("dense").set_weights([dense.kernel * np.nan, dense.bias])
    with pytest.raises(ModelError, match="differ by nan"):
        proven_equal(model, other, x)
    with pytest.raises(ModelError, match="Expected samples"):
        proven_equal(model, other, x[:0])
