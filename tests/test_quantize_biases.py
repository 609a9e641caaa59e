"""Biases of files of integers: kept where weights are zero, refused where they are wrong."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from ai_edge_litert import schema_py_generated as schema
from tf_keras import layers

from hsi.compress.quantize import quantize
from hsi.compress.quantize.biases import check_bias_scales, keep_biases
from hsi.deploy.differentiable import load
from hsi.deploy.differentiable.flatbuffer import parse
from hsi.deploy.tflite import TFLiteModel
from hsi.errors import ModelError


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 6, 6, 3)).astype(np.float32)


def dying(factor: float) -> keras.Model:
    """One channel of each layer, and all of the last, with weights times `factor`; biases stay."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(5, 3, activation="relu", name="conv"),
            layers.DepthwiseConv2D(2, name="depth"),
            layers.Conv2DTranspose(4, 2, name="up"),
            layers.Flatten(),
            layers.Dense(6, activation="relu", name="dense"),
            layers.Dense(3, name="last"),
        ]
    )
    rng = np.random.default_rng(0)
    for name, where in {
        "conv": np.s_[..., 2],
        "depth": np.s_[:, :, 1],
        "up": np.s_[:, :, 1],
        "dense": np.s_[:, 2],
        "last": np.s_[:],
    }.items():
        kernel, bias = model.get_layer(name).get_weights()
        kernel[where] *= factor
        model.get_layer(name).set_weights([kernel, rng.choice([-0.7, 0.7], bias.shape)])
    return model


def of_bytes(content: bytes, folder, samples: np.ndarray) -> np.ndarray:
    path = folder / "model.tflite"
    path.write_bytes(content)
    found = TFLiteModel(path)(samples)
    np.testing.assert_allclose(load(path)(samples).numpy(), found, atol=1e-3)
    return found


@pytest.mark.parametrize("factor", [0, 1e-9])
def test_biases_of_channels_without_weights_are_kept(factor, samples, tmp_path):
    """Also of all layers but the last: their constants reach the scores in other ways."""
    model = dying(factor)
    content = quantize(model, "int16x8", calibration=samples)
    np.testing.assert_allclose(of_bytes(content, tmp_path, samples), model(samples), atol=1e-4)
    model.get_layer("last").set_weights([np.eye(6, 3), np.zeros(3)])
    expected = model(samples).numpy()
    content = quantize(model, "int16x8", calibration=samples)
    error = np.abs(of_bytes(content, tmp_path, samples) - expected).max()
    assert np.ptp(expected) > 0.3
    assert error < 0.02 * np.ptp(expected)


def test_a_file_that_holds_its_biases_stays_as_it_is(samples):
    model = dying(1)
    content = quantize(model, "int16x8", calibration=samples)
    assert keep_biases(content, quantize(model, "float32", calibration=samples)) is content


def test_a_file_that_is_another_network_is_refused(samples):
    """TensorFlow's converter folds the batch norm and keeps the scale that the bias had before."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(8, name="dense"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(3, name="last"),
        ]
    )
    rng = np.random.default_rng(0)
    norm = model.get_layer("norm")
    norm.set_weights([rng.uniform(0.2, 2, w.shape) for w in norm.get_weights()])
    wrapped = tfmot.quantization.keras.quantize_model(model)
    wrapped(samples, training=True)  # takes the ranges
    with pytest.raises(ModelError, match=r"quantization int8: .*bias of .* % off") as caught:
        quantize(wrapped, "int8", calibration=samples)
    assert "\n" not in str(caught.value)


def biases(content: bytes | bytearray) -> list[schema.Tensor]:
    graph = parse(bytes(content))
    indices = [op.inputs[2] for op in graph.operators if op.kind == "FULLY_CONNECTED"]
    return [schema.Model.GetRootAs(content, 0).Subgraphs(0).Tensors(i) for i in indices]


def test_scales_of_biases_are_checked_where_they_are_not_zero(samples):
    content = bytearray(quantize(dying(1), "int8", calibration=samples))
    check_bias_scales(bytes(content), what="a file")
    last = biases(content)[-1]
    last.Quantization().ScaleAsNumpy()[:] *= 1.5
    with pytest.raises(ModelError, match=r"a file: expected the bias of .*last.* 50 % off"):
        check_bias_scales(bytes(content), what="a file")
    levels = schema.Model.GetRootAs(content, 0).Buffers(last.Buffer()).DataAsNumpy()
    levels[:] = 0
    check_bias_scales(bytes(content), what="a file")
