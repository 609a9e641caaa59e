"""The layers of `.tflite` files: every method gives what it gives for the Keras model."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_maker import Maker, interpreted

from hsi import explain
from hsi.errors import ModelError

CLASSES = 5
ATTRIBUTIONS = [name for name, method in explain.METHODS.items() if method.kind == "attribution"]
INTEGERS = ("int8", "int16x8", "dynamic")
NOISY = ("smoothgrad", "smoothgrad_squared", "vargrad")


def samples(n: int, *shape: int, seed: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def lively(model: Any, seed: int = 0) -> Any:
    """The model with batch norms and biases that do something."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            for k, weight in enumerate(layer.weights):
                near_one = k in (0, 3)
                values = (
                    rng.uniform(0.5, 1.5, weight.shape)
                    if near_one
                    else 0.3 * rng.normal(size=weight.shape)
                )
                weight.assign(values)
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(0.1 * rng.normal(size=layer.bias.shape))
    return model


def residual() -> Any:
    """Batch norms before and after ReLUs, an addition, both poolings, a depthwise convolution."""
    import tf_keras as keras
    from tf_keras import layers

    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 6))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv_0")(inputs)
    x = layers.BatchNormalization(name="bn_0")(x)
    x = skipped = layers.ReLU(name="relu_0")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv_1")(x)
    x = layers.Conv2D(8, 1, name="conv_2")(x)
    x = layers.BatchNormalization(name="bn_2")(x)
    x = layers.Add(name="add")([x, skipped])
    x = layers.ReLU(name="relu_add")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depth")(x)
    x = layers.BatchNormalization(name="bn_after")(x)
    x = layers.Conv2D(12, 3, padding="same", strides=2, activation="relu", name="last")(x)
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    x = layers.Dense(7, activation="relu", name="dense")(x)
    outputs = layers.Dense(CLASSES, activation="softmax", name="scores")(x)
    return lively(keras.Model(inputs, outputs, name="residual"))


def odd() -> Any:
    """What converters write as several operators, under one name, or more than once."""
    import tf_keras as keras
    from tf_keras import layers

    keras.utils.set_random_seed(3)
    inner_inputs = keras.Input((8, 8, 4))
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inner_inputs)
    inner = keras.Model(inner_inputs, layers.BatchNormalization(name="bn")(y), name="inner")
    inputs = keras.Input((8, 8, 4))
    twice = layers.Conv2D(4, 3, padding="same", name="twice")
    x = twice(twice(lively(inner)(inputs)))
    x = layers.SeparableConv2D(6, 3, activation="relu", name="separable")(x)
    x = layers.Conv2D(6, 3, dilation_rate=2, padding="same", activation="relu", name="dilated")(x)
    x = layers.LeakyReLU(name="leaky")(x)
    x = layers.Conv2DTranspose(6, 3, name="transposed")(x)
    x = layers.Reshape((8, 8, 6, 1), name="deep")(x)
    x = layers.Conv3D(3, (3, 3, 2), strides=(1, 1, 2), activation="relu", name="cube")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(6, name="dense")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn_dense")(x))
    x = layers.Dense(CLASSES, name="logits")(x)
    return lively(keras.Model(inputs, layers.Softmax(name="shares")(x), name="odd"))


def cao() -> Any:
    """A small network of this project, trained until it is sure."""
    import tf_keras as keras

    from hsi.models import network

    keras.utils.set_random_seed(1)
    model = network("cao").build((5, 5, 12), 4, seed=1)
    x, labels = spectra(400)
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x, labels, epochs=4, batch_size=32, verbose=0)
    assert model.evaluate(x, labels, verbose=0)[1] > 0.95
    return model


def spectra(n: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(0).normal(size=(4, 12))
    labels = rng.integers(0, 4, n)
    x = means[labels][:, None, None] + 0.7 * rng.normal(size=(n, 5, 5, 12))
    return x.astype(np.float32), labels


def convert(model: Any, mode: str, folder: Path, calibration: np.ndarray) -> Path:
    from hsi.compress.quantize import quantize

    path = folder / f"{model.name}_{mode}.tflite"
    path.write_bytes(quantize(model, mode, calibration=calibration))
    return path


class Files:
    """Networks and their files, each made when a test first asks for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model, self.path = cache(self._model), cache(self._path)

    @staticmethod
    def _model(name: str) -> Any:
        return {"residual": residual, "odd": odd, "cao": cao}[name]()

    def _path(self, name: str, mode: str) -> Path:
        calibration = {
            "residual": samples(30, 8, 8, 6, seed=5),
            "odd": samples(8, 8, 8, 4, seed=5),
            "cao": spectra(60, seed=8)[0],
        }[name]
        return convert(_anew(self.model(name)), mode, self.folder, calibration)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("lite"))


def _anew(model: Any) -> Any:
    """The same network; a converter leaves its marks on the layers that it has seen."""
    import tf_keras as keras

    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    return clone


@pytest.fixture(scope="module")
def scores(files: Files) -> dict[str, tuple[Any, Any]]:
    """The Keras model and the score of its float file, by the network's name."""
    from hsi.deploy.lite.layers import lite_score

    names = ("residual", "odd")
    return {name: (files.model(name), lite_score(files.path(name, "float32"))) for name in names}


def close(found: np.ndarray, wanted: np.ndarray, limit: float = 1e-4) -> None:
    assert found.shape == wanted.shape
    assert np.abs(wanted).max() > 0
    assert np.abs(found - wanted).max() <= limit * np.abs(wanted).max()


# The same as of the Keras model


@pytest.mark.parametrize("method", ATTRIBUTIONS)
def test_maps_of_a_float_file_are_those_of_the_keras_model(method: str, scores: Any) -> None:
    model, score = scores["residual"]
    x = samples(3, 8, 8, 6)
    options = {"rise": {"masks": 50}} | {noisy: {"samples": 5} for noisy in NOISY}
    wanted = explain.attribute(method, model, x, **options.get(method, {}))
    found = explain.attribute(method, score, x, **options.get(method, {}))
    close(found.maps, wanted.maps)
    np.testing.assert_array_equal(found.classes, wanted.classes)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-4, atol=1e-5)
    assert found.notes == wanted.notes  # the layers and ReLUs that were found, too


@pytest.mark.parametrize("method", ["gradcam", "guided_backprop", "visual_backprop"])
def test_layers_of_several_operators_are_those_of_the_keras_model(method: str, scores: Any) -> None:
    model, score = scores["odd"]
    x = samples(2, 8, 8, 4)
    layer = {"layer": "dilated"} if method == "gradcam" else {}
    wanted = explain.attribute(method, model, x, **layer)
    found = explain.attribute(method, score, x, **layer)
    close(found.maps, wanted.maps)
    assert found.notes == wanted.notes


@pytest.mark.parametrize("name", ["residual", "odd"])
def test_every_layer_of_one_name_is_one_layer(name: str, scores: Any) -> None:
    """Map, sizes, window and what belongs to it, for all names that both forms have."""
    from hsi.explain.keras_layers import layered_of

    module = explain.load("activation_map")
    model, score = scores[name]
    x = samples(2, *model.input_shape[1:])
    known = set(module.layer_names(model))
    common = [n for n in module.layer_names(score) if n in known]
    wanted = {a.layer: a.array for a in module.activations(model, x, layers=common)}
    for layer in module.activations(score, x, layers=common):
        close(layer.array, wanted[layer.layer])
    infos = {i.name: i for i in layered_of(score, method="test").describe(x.shape[1:])}
    others = {i.name: i for i in _keras_layers(model).describe(x.shape[1:])}
    for layer in set(common) & set(infos):
        info, other = infos[layer], others[layer]
        assert (info.shape, info.shown) == (other.shape, other.shown), layer
        if other.convolution:
            assert info.convolution, layer
            assert (info.activated, info.merged) == (other.activated, other.merged), layer
            assert info.window == other.window, layer
    if name == "residual":
        expected = "relu_0 conv_1 bn_2 add relu_add pool depth bn_after last pooled dense scores"
        assert set(expected.split()) - {"add"} == set(common)
    else:
        expected = (
            "inner/conv inner/bn twice twice#2 separable dilated leaky transposed deep cube flat "
            "relu logits shares"
        )
        assert set(expected.split()) == set(common)


def _keras_layers(model: Any) -> Any:
    from hsi.explain.keras_layers import layered_of
    from hsi.explain.score import score_of

    return layered_of(score_of(model), method="test")


def test_layers_that_are_shown_and_what_the_file_answers(scores: Any, files: Files) -> None:
    from hsi.deploy.lite.layers import lite_score

    module = explain.load("activation_map")
    x = samples(4, 8, 8, 6)
    shown = [a.layer for a in module.activations(scores["residual"][1], x)]
    fused_away = ["conv_0", "bn_0", "conv_2"]  # only what comes behind them is there
    keras_shown = [a.layer for a in module.activations(scores["residual"][0], x)]
    assert shown == [n for n in keras_shown if n not in fused_away]
    path = files.path("residual", "int8")
    *_, last = module.activations(lite_score(path), x)
    interpreter = interpreted(path, x)
    (output,) = interpreter.get_output_details()
    np.testing.assert_array_equal(last.array, interpreter.get_tensor(output["index"]))
    assert (last.layer, last.kind) == ("scores", "FULLY_CONNECTED + SOFTMAX")


def test_class_images_of_both_forms(scores: Any) -> None:
    model, score = scores["residual"]
    module = explain.load("class_image")
    wanted, found = (module.images(m, classes=2, steps=10) for m in (model, score))
    close(found.images, wanted.images)


# Names


def test_a_fused_layer_is_found_by_each_of_its_names(scores: Any) -> None:
    from hsi.explain.layered import find_layer

    _, score = scores["residual"]
    x = samples(2, 8, 8, 6)
    infos = score.network.describe((8, 8, 6))
    step = find_layer(infos, "relu_0")
    raw = next(alias for alias in step.aliases if alias.endswith("Conv2D1"))
    for name in ("conv_0", "bn_0", raw):
        assert find_layer(infos, name) is step
        (by_alias,) = score.network.forward(x, [name])[1]
        np.testing.assert_array_equal(by_alias, score.network.forward(x, ["relu_0"])[1][0])
    found = explain.attribute("gradcam", score, x, layer="conv_0")
    np.testing.assert_array_equal(
        found.maps, explain.attribute("gradcam", score, x, layer="relu_0").maps
    )
    assert any("in one step with relu_0" in note for note in found.notes)
    with pytest.raises(ModelError, match=r"no layer 'conv_9'.*conv_"):
        explain.attribute("gradcam", score, x, layer="conv_9")


def test_files_that_name_no_layers(tmp_path: Path) -> None:
    """Tensors without a path in their names: each operator goes by its tensor."""
    from hsi.deploy.lite.layers import lite_score

    rng = np.random.default_rng(0)
    maker = Maker()
    x = maker.tensor((1, 6, 6, 2), name="image")
    kernel = maker.constant(rng.normal(size=(3, 3, 3, 2)).astype(np.float32))
    scale, shift = (maker.constant(rng.normal(size=3).astype(np.float32)) for _ in range(2))
    names = ("features", "scaled", "shifted", "rectified")
    features, scaled, shifted, rectified = (maker.tensor((1, 6, 6, 3), name=n) for n in names)
    axes = maker.constant(np.array([1, 2], np.int32))
    means, y = maker.tensor((1, 3), name="means"), maker.tensor((1, 3), name="y")
    dense = maker.constant(rng.normal(size=(3, 3)).astype(np.float32))
    maker.operator(
        "CONV_2D", [x, kernel], [features], table="Conv2DOptions", padding=0, strideH=1, strideW=1
    )
    maker.operator("MUL", [features, scale], [scaled], table="MulOptions")
    maker.operator("ADD", [scaled, shift], [shifted], table="AddOptions")
    maker.operator("RELU", [shifted], [rectified])
    maker.operator("MEAN", [rectified, axes], [means], table="ReducerOptions")
    maker.operator("FULLY_CONNECTED", [means, dense], [y], table="FullyConnectedOptions")
    score = lite_score(maker.write(tmp_path / "a.tflite", [x], [y]))
    assert score.notes == ()
    infos = {i.name: i for i in score.network.describe((6, 6, 2))}
    assert list(infos) == [*names, "means", "y"]
    assert infos["features"].activated == infos["features"].merged == "rectified"
    assert [n for n, i in infos.items() if i.shown] == [*names, "y"]
    inputs = samples(3, 6, 6, 2)
    found = explain.attribute("gradcam", score, inputs, classes=1)
    (maps,) = score.network.forward(inputs, ["rectified"])[1]
    weights = maker_weights(maker, dense)[1] / 36  # the mean's slope, through the dense layer
    np.testing.assert_allclose(
        found.maps[..., 0], np.maximum((maps.numpy() * weights).sum(-1), 0), rtol=1e-4, atol=1e-6
    )


def maker_weights(maker: Maker, tensor: int) -> np.ndarray:
    data = maker.model.buffers[maker.graph.tensors[tensor].buffer].data
    return np.frombuffer(data.tobytes(), np.float32).reshape(maker.graph.tensors[tensor].shape)


def test_an_output_that_is_no_logit_is_said(tmp_path: Path) -> None:
    from hsi.deploy.lite.layers import lite_score
    from hsi.explain.score import OUTPUT_ITSELF

    maker = Maker()
    x, y, z = (maker.tensor((1, 2)) for _ in range(3))
    maker.operator("FULLY_CONNECTED", [x, maker.constant(np.eye(2, dtype=np.float32))], [y],
                   table="FullyConnectedOptions")  # fmt: skip
    maker.operator("TANH", [y], [z])
    assert OUTPUT_ITSELF in lite_score(maker.write(tmp_path / "a.tflite", [x], [z])).notes


# Whole numbers


def test_methods_that_look_into_layers_work_on_whole_numbers(files: Files) -> None:
    from hsi.deploy.lite.layers import lite_score

    model, x = files.model("residual"), samples(2, 8, 8, 6)
    score = lite_score(files.path("residual", "int8"))
    assert "int8" in score.notes[0]
    plain = explain.attribute("gradient", score, x).maps
    for method in ("guided_backprop", "deconvnet", "gradcam", "visual_backprop", "layer_attention"):
        wanted = explain.attribute(method, model, x)
        found = explain.attribute(method, score, x)
        assert not found.dead.any()
        correlation = np.corrcoef(found.maps.ravel(), wanted.maps.ravel())[0, 1]
        assert correlation > 0.9, method
        assert np.abs(found.maps - plain).max() > 0.01 * np.abs(plain).max()
        replaced = [note for note in wanted.notes if "ReLU" in note]
        assert [note for note in found.notes if "ReLU" in note] == replaced


def test_the_smooth_form_is_clipped_and_not_rounded(tmp_path: Path) -> None:
    """By hand: a dense layer of 8 bits whose output is clipped, and one behind it."""
    from hsi.deploy.differentiable import load

    maker = Maker()
    x, y = maker.tensor((1, 2)), maker.tensor((1, 1))
    q = maker.tensor((1, 2), "int8", scales=0.1)
    middle = maker.tensor((1, 2), "int8", scales=0.05, zeros=-128)
    last, out = (maker.tensor((1, n), "int8", scales=0.5) for n in (1, 1))
    first = maker.constant(np.int8([[10, 20], [-30, 40]]), scales=[0.05, 0.05])
    second = maker.constant(np.int8([[40, 60]]), scales=[0.1])
    maker.operator("QUANTIZE", [x], [q])
    maker.operator("FULLY_CONNECTED", [q, first], [middle], table="FullyConnectedOptions",
                   fusedActivationFunction=1)  # fmt: skip
    maker.operator("FULLY_CONNECTED", [middle, second], [last], table="FullyConnectedOptions")
    maker.operator("TANH", [last], [out])
    maker.operator("DEQUANTIZE", [out], [y])
    path = maker.write(tmp_path / "a.tflite", [x], [y])
    model = load(path, output=last)
    smooth = load(path, output=last, rounded=False)
    inputs = samples(50, 2, seed=1) * np.float32([6, 3])
    clipped = np.clip(inputs, -12.8, 12.7)
    hidden = np.clip(clipped @ np.array([[0.5, -1.5], [1.0, 2.0]]), 0, 12.75)
    wanted = hidden @ np.array([[4.0], [6.0]])
    assert (wanted > 63.5).any()  # logits are not clipped
    np.testing.assert_allclose(smooth.logits(inputs), wanted, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(smooth(inputs), np.clip(wanted, -64, 63.5), rtol=1e-5, atol=1e-4)
    # half a level of the input, of what it makes of the middle, and of the output
    most = 0.25 + 4 * (0.025 + 0.05 * 1.5) + 6 * (0.025 + 0.05 * 3.5)
    apart = np.abs(model(inputs) - smooth(inputs)).max()
    assert 0.1 < apart <= 1.0001 * most
    np.testing.assert_allclose(model.smooth().logits(inputs), smooth.logits(inputs))


@pytest.mark.parametrize(
    "mode", [INTEGERS[0], *(pytest.param(mode, marks=pytest.mark.slow) for mode in INTEGERS[1:])]
)
def test_contributions_to_a_score_of_whole_numbers_are_complete(mode: str, files: Files) -> None:
    from hsi.deploy.lite.layers import lite_score

    score = lite_score(files.path("cao", mode))
    smooth, (x, _) = lite_score(files.path("cao", mode), smooth=True), spectra(12, seed=9)
    assert smooth.smooth is None
    found = explain.attribute("integrated_gradient", score, x)
    assert found.completeness_error.max() < 0.01
    rows = np.arange(len(x))
    own, ours = score.logits(x), smooth.logits(x)
    np.testing.assert_allclose(found.scores, own[rows, found.classes], rtol=1e-5)
    ends = ours[rows, found.classes] - smooth.logits(0 * x)[rows, found.classes]
    sums = found.maps.reshape(len(x), -1).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(sums, ends, rtol=0.0101)
    both = [np.abs(own - ours)[rows, found.classes].max()]
    both.append(np.abs(score.logits(0 * x) - smooth.logits(0 * x))[rows, found.classes].max())
    (note,) = [n for n in found.notes if "smooth form" in n]
    assert f"at most {max(both):.2g} from" in note
    assert 0 < max(both) < 0.05 * np.abs(ends).max()


def test_the_gradient_of_whole_numbers_is_that_of_the_smooth_form_nearby(files: Files) -> None:
    """Finite differences of the smooth form, which the rounded one has none of."""
    from hsi.deploy.differentiable import load

    smooth, (x, _) = load(files.path("cao", "int8")).smooth(), spectra(6, seed=10)
    direction = samples(1, 5, 5, 12, seed=11)
    width = 1e-2
    ahead, behind = (smooth.logits(x + s * width * direction).numpy() for s in (1, -1))
    slopes = (ahead - behind)[:, 2] / (2 * width)
    maps = explain.attribute("gradient", smooth.logits, x, classes=2).maps
    along = (maps * direction).reshape(len(x), -1).sum(axis=1)
    np.testing.assert_allclose(slopes, along, rtol=0.05, atol=0.02 * np.abs(along).max())


def test_float_files_have_no_smooth_form(scores: Any) -> None:
    _, score = scores["residual"]
    assert score.smooth is None
    note = explain.attribute("integrated_gradient", score, samples(1, 8, 8, 6)).notes
    assert not any("smooth" in n for n in note)


def test_damage_and_other_shapes_are_one_line(tmp_path: Path, scores: Any) -> None:
    from hsi.deploy.lite.layers import lite_score

    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\x00" * 4 + b"TFL3" + b"\x07" * 40)
    with pytest.raises(ModelError, match=r"^[^\n]+$"):
        lite_score(broken)
    with pytest.raises(ModelError, match="8 x 8 x 6"):
        explain.attribute("gradcam", scores["residual"][1], samples(1, 8, 8, 5))


def test_a_dense_layer_whose_name_is_fused_with_the_bias_before_keeps_its_own(
    tmp_path: Path,
) -> None:
    """The converter calls the output of `scores` "dense_2/BiasAdd;scores/MatMul;scores/BiasAdd"."""
    from hsi.models import network

    model = network("cao").build((5, 5, 6), 3, seed=0)
    path = convert(model, "float32", tmp_path, samples(4, 5, 5, 6))
    from hsi.deploy.lite.layers import lite_score
    from hsi.explain.activation_map import layer_names

    assert layer_names(lite_score(path))[-1] == "scores"  # the softmax is its own
    names = [info.name for info in lite_score(path).network.describe((5, 5, 6))]
    assert [n for n in names if "/" not in n and "#" not in n] == [
        "conv_1", "conv_2", "flatten", "dense_1", "dense_2", "scores",
    ]  # fmt: skip


def test_guided_methods_of_a_model_that_was_converted_are_those_of_its_file(tmp_path: Path) -> None:
    """The converter binds `call` of each layer; a copy with another ReLU must not keep it."""
    from hsi.models import network

    model = network("cao").build((5, 5, 6), 3, seed=0)
    inputs = samples(4, 5, 5, 6)
    before = explain.attribute("guided_backprop", _anew(model), inputs).maps
    path = convert(model, "float32", tmp_path, inputs)
    after = explain.attribute("guided_backprop", model, inputs).maps
    from hsi.deploy.lite.layers import lite_score

    lite = explain.attribute("guided_backprop", lite_score(path), inputs).maps
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(lite, before, rtol=1e-3, atol=1e-6)
    plain = explain.attribute("gradient", model, inputs).maps
    assert np.abs(before - plain).max() > 0.1 * np.abs(plain).max()
