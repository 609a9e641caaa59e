"""Float sums in the interpreter's order: equal to the last bit, whatever the sum's length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tflite_maker import Maker, interpreted
from tflite_networks import sums_in_order, values

from hsi.deploy.differentiable import load
from hsi.deploy.differentiable.operators import ordered

in_order = pytest.mark.skipif(
    not sums_in_order(), reason="TensorFlow's matrix product adds in another order here"
)
RELU, SAME, VALID = 1, 0, 1


def one_by_one(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """b + x w, one fused multiply-add after the other (a product is exact in float64)."""
    total = np.broadcast_to(b, (len(x), len(b))).astype(np.float32)
    for k in range(x.shape[1]):
        total = (total + x[:, k : k + 1].astype(float) * w[k]).astype(np.float32)
    return total


def test_the_order_is_kept_where_a_product_shows_it() -> None:
    assert ordered.is_kept() == sums_in_order()


@in_order
def test_the_order_is_that_of_what_the_file_computes_and_not_of_gradients(tmp_path: Path) -> None:
    x, path = values(3, 900, seed=5), file_of("dense", tmp_path)
    model, exact = load(path), load(path, exact=True)
    quick = load(path, exact=False)
    assert (quick(x).numpy() != exact(x).numpy()).any()
    layer = model.layers[0].tensor
    for found, wanted in (
        (model(x), exact(x)),
        (model.activations(x, [layer])[layer], exact(x)),
        (model.smooth()(x), quick(x)),
        (model.logits(x), quick(x)),
        (model.evaluate(tf.constant(x), [layer])[1][0], quick(x)),
        (exact.logits(x), exact(x)),
        (exact.evaluate(tf.constant(x))[0], exact(x)),
    ):
        np.testing.assert_array_equal(found, wanted)


@in_order
@pytest.mark.parametrize(
    ("products", "outputs"), [(1, 5), (383, 1), (384, 150), (385, 129), (1000, 1), (1000, 300)]
)
def test_a_dense_sum_is_the_literal_one(products: int, outputs: int) -> None:
    x, w, b = values(6, products), values(outputs, products, seed=1), values(outputs, seed=2)
    found = ordered.dense(tf.constant(x), tf.constant(w), tf.constant(b))
    np.testing.assert_array_equal(found, one_by_one(x, w.T, b))


CONV, DEPTH = "Conv2DOptions", "DepthwiseConv2DOptions"
FILES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "long": ("CONV_2D", (5, 6, 60), (140, 3, 3, 60), {"table": CONV, "padding": SAME}),
    "strided": ("CONV_2D", (9, 8, 8), (5, 3, 2, 8), {"table": CONV, "strideH": 2, "strideW": 3}),
    "dilated": ("CONV_2D", (9, 9, 8), (5, 3, 3, 8), {"table": CONV, "dilationHFactor": 2}),
    "grouped": ("CONV_2D", (5, 5, 12), (6, 3, 3, 4), {"table": CONV, "padding": SAME}),
    "pointwise": ("CONV_2D", (4, 4, 500), (9, 1, 1, 500), {"table": CONV}),
    "depthwise": ("DEPTHWISE_CONV_2D", (7, 7, 90), (1, 3, 3, 90), {"table": DEPTH, "strideH": 2,
                  "strideW": 2, "padding": SAME, "depthMultiplier": 1}),
    "uneven": ("DEPTHWISE_CONV_2D", (4, 5, 37), (1, 3, 3, 37), {"table": DEPTH,
               "depthMultiplier": 1}),
    "twofold": ("DEPTHWISE_CONV_2D", (6, 5, 9), (1, 5, 5, 18), {"table": DEPTH,
                "depthMultiplier": 2}),
    "large": ("DEPTHWISE_CONV_2D", (8, 9, 8), (1, 7, 7, 8), {"table": DEPTH, "depthMultiplier": 1}),
    "dense": ("FULLY_CONNECTED", (900,), (140, 900), {"table": "FullyConnectedOptions"}),
}  # fmt: skip


OUTPUTS = {
    "long": (1, 5, 6, 140), "strided": (1, 4, 3, 5), "dilated": (1, 5, 7, 5), "dense": (1, 140),
    "grouped": (1, 5, 5, 6), "pointwise": (1, 4, 4, 9), "depthwise": (1, 4, 4, 90),
    "uneven": (1, 2, 3, 37), "twofold": (1, 2, 1, 18), "large": (1, 2, 3, 8),
}  # fmt: skip
"""Shapes of the outputs, without which XNNPACK leaves an operator to TFLite."""


def file_of(name: str, folder: Path, *, bias: bool = True) -> Path:
    kind, shape, weights, options = FILES[name]
    steps = {} if kind == "FULLY_CONNECTED" else {"strideH": 1, "strideW": 1, "padding": VALID}
    outputs = weights[-1] if kind == "DEPTHWISE_CONV_2D" else weights[0]
    maker = Maker()
    x, y = maker.tensor((1, *shape)), maker.tensor(OUTPUTS[name])
    inputs = [x, maker.constant(values(*weights, seed=3))]
    inputs += [maker.constant(values(outputs, seed=4))] if bias else []
    maker.operator(kind, inputs, [y], **(steps | options), fusedActivationFunction=RELU)
    return maker.write(folder / f"{name}.tflite", [x], [y])


@in_order
@pytest.mark.parametrize("name", FILES)
def test_an_operator_is_the_interpreters_to_the_last_bit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = values(3, *FILES[name][1], seed=5)
    path = file_of(name, tmp_path)
    interpreter = interpreted(path, x)
    wanted = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert (wanted > 0).any()
    model, plain = load(path), load(path, exact=False)
    np.testing.assert_array_equal(model(x), wanted)
    np.testing.assert_array_equal(load(path, exact=True)(x), wanted)
    np.testing.assert_allclose(plain(x), wanted, rtol=1e-5, atol=1e-4)
    gradients = []
    for each in (model, plain):
        inputs = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            score = tf.reduce_sum(each(inputs) * values(*wanted.shape, seed=6))
        gradients.append(tape.gradient(score, inputs).numpy())
    np.testing.assert_allclose(*gradients, rtol=1e-5, atol=1e-4)
    monkeypatch.setattr(ordered, "SMALL", 0)
    monkeypatch.setattr(ordered, "PART", 1)  # sample after sample
    np.testing.assert_array_equal(load(path)(x), wanted)


@in_order
def test_a_sum_without_a_bias_begins_with_zero(tmp_path: Path) -> None:
    x = values(2, 900, seed=5)
    path = file_of("dense", tmp_path, bias=False)
    interpreter = interpreted(path, x)
    wanted = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_array_equal(load(path, exact=True)(x), wanted)


def depthwise_while_running(path: Path, kernel: np.ndarray, shape: tuple[int, ...]) -> Path:
    """A depthwise convolution with weights of 8 bits on a float input."""
    maker = Maker()
    x, y = maker.tensor((1, *shape)), maker.tensor((1, *shape))
    scales = values(kernel.shape[-1], seed=7, low=0.005, high=0.02)
    weights = maker.constant(kernel, scales=scales, axis=3)
    bias = maker.constant(values(kernel.shape[-1], seed=8))
    options = {"strideH": 1, "strideW": 1, "padding": SAME, "depthMultiplier": 1}
    maker.operator("DEPTHWISE_CONV_2D", [x, weights, bias], [y], table=DEPTH, version=6, **options)
    return maker.write(path, [x], [y])


@pytest.mark.parametrize("low", [0, -100, -128, -155, -255])
def test_ties_of_a_depthwise_layer_that_rounds_while_it_runs(low: int, tmp_path: Path) -> None:
    """A range of 255 has levels one apart: every half is a tie."""
    x = np.arange(low, low + 255.25, 0.5, dtype=np.float32).reshape(1, 1, -1, 1)
    kernel = np.full((1, 1, 1, 1), 100, np.int8)
    path = depthwise_while_running(tmp_path / "a.tflite", kernel, x.shape[1:])
    interpreter = interpreted(path, x)
    wanted = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_array_equal(load(path)(x), wanted)


def test_scales_of_a_depthwise_layer_that_rounds_while_it_runs(tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).integers(-127, 128, (1, 3, 3, 120)).astype(np.int8)
    path = depthwise_while_running(tmp_path / "a.tflite", kernel, (6, 6, 120))
    x = values(40, 6, 6, 120, seed=9) * values(40, 1, 1, 1, seed=1)
    interpreter = interpreted(path, x)
    wanted = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_array_equal(load(path)(x), wanted)
