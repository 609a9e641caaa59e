"""What a file of integers computes in float, and what a dynamic one keeps in float."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tf_keras as keras
from tf_keras import layers
from tflite_maker import Maker

from hsi.compare.cost import cost_of
from hsi.compress.cost import macs
from hsi.compress.quantize import quantize
from hsi.compress.quantize.converter import convert
from hsi.deploy.islands import float_islands, float_summary, float_weights, macs_of
from hsi.errors import ModelError


@pytest.fixture(scope="module")
def solid() -> tuple[keras.Model, np.ndarray]:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4, 5, 6, 2)),
            layers.Conv3D(4, (2, 2, 3), activation="relu", name="first"),
            layers.Conv3D(6, 2, name="second"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="scores"),
        ]
    )
    return model, np.random.default_rng(0).normal(size=(8, 4, 5, 6, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def mixed(solid) -> bytes:
    """The converter's own "int8 only"."""
    model, samples = solid
    return convert(model, "int8", calibration=samples)


def macs_by_hand(model: keras.Model) -> dict[str, int]:
    """A multiply-accumulate for every weight at every output position."""
    found = {}
    for layer in model.layers:
        if layer.weights:
            positions = np.prod(layer.output_shape[1:-1], dtype=int)
            found[layer.name] = int(positions * np.prod(layer.kernel.shape))
    return found


def test_three_dimensional_convolutions_are_islands(solid, mixed):
    model, _ = solid
    expected = macs_by_hand(model)
    total = sum(expected.values())
    found = float_islands(mixed)
    assert [island.kind for island in found] == ["CONV_3D", "CONV_3D"]
    assert {island.layer: island.macs for island in found} == {
        name: expected[name] for name in ("first", "second")
    }
    assert found[0].macs >= found[1].macs
    for island in found:
        assert island.share == pytest.approx(expected[island.layer] / total)


def test_the_line_names_them(mixed, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(mixed)
    line = float_summary(path)
    share = sum(island.share for island in float_islands(mixed))
    assert line.startswith("int8 file: 2 of ")
    assert "operators compute in float (CONV_3D " in line
    assert line.endswith(f"{100 * share:.0f} % of the multiply-accumulates")
    assert "\n" not in line


@pytest.mark.parametrize("mode", ["int8", "int16x8"])
def test_the_same_network_in_planes_has_none(solid, mode):
    model, samples = solid
    content = quantize(model, mode, calibration=samples)
    assert sum(macs_of(content).values()) == macs(model), "each plane counts"
    assert float_islands(content) == []
    assert float_summary(content).startswith(f"{mode} file: all ")
    assert float_weights(content) == []


@pytest.fixture(scope="module")
def varied() -> tuple[keras.Model, np.ndarray]:
    """Every kind of weighted layer, one of them dilated, and an activation without a kernel."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 4)),
            layers.Conv2D(8, 3, strides=(2, 1), padding="same", activation="elu", name="conv"),
            layers.Conv2D(8, 3, padding="same", dilation_rate=2, activation="relu", name="wide"),
            layers.DepthwiseConv2D(3, activation="relu", name="deep"),
            layers.Conv2DTranspose(4, 2, strides=2, name="up"),
            layers.SeparableConv2D(8, 3, name="apart"),
            layers.Flatten(),
            layers.Dense(5, name="scores"),
        ]
    )
    return model, np.random.default_rng(0).normal(size=(6, 12, 12, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def files(varied) -> dict[str, bytes]:
    model, samples = varied
    modes = ("float32", "float16", "dynamic", "int8", "int4")
    return {mode: quantize(model, mode, calibration=samples) for mode in modes}


@pytest.mark.parametrize("mode", ["float32", "int8", "int4"])
def test_multiply_accumulates_are_those_of_the_model(varied, files, mode):
    assert sum(macs_of(files[mode]).values()) == macs(varied[0])


def after_a_reshape() -> tuple[bytes, list[int]]:
    """Sixteen positions that the file does not record, in front of a convolution."""
    made = Maker()
    x = free(made, (1, 4, 4, 6), (-1, 4, 4, 6))
    row = free(made, (1, 1, 1, 6), (-1, 1, -1, 6))
    made.operator("RESHAPE", [x, whole(made, [-1, 1, 16, 6])], [row])
    y = free(made, (1, 1, 1, 5), (-1, 1, -1, 5))
    window = {"table": "Conv2DOptions", "strideW": 1, "strideH": 1}
    window |= {"dilationWFactor": 1, "dilationHFactor": 1, "padding": VALID}
    made.operator("CONV_2D", [row, real(made, 5, 1, 3, 6), real(made, 5)], [y], **window)
    scores = dense(made, y, 70, 24)
    return made.bytes([x], [scores]), [14 * 5 * 3 * 6, 70 * 24]


def after_a_transposed_convolution() -> tuple[bytes, list[int]]:
    made = Maker()
    x = free(made, (1, 1, 9, 16), (-1, 1, 9, 16))
    y = free(made, (1, 1, 1, 1), (-1, 1, -1, -1))
    stride = {"table": "TransposeConvOptions", "strideW": 2, "strideH": 1, "padding": SAME}
    made.operator(
        "TRANSPOSE_CONV", [whole(made, [1, 1, 18, 5]), real(made, 5, 1, 3, 16), x], [y], **stride
    )
    scores = dense(made, y, 90, 4)
    return made.bytes([x], [scores]), [9 * 3 * 5 * 16, 90 * 4]


def product_of_matrices() -> tuple[bytes, list[int]]:
    made = Maker()
    x, y = free(made, (1, 6, 5), (-1, 6, 5)), free(made, (1, 5, 4), (-1, 5, 4))
    table = {"table": "BatchMatMulOptions", "adjX": True}
    made.operator("BATCH_MATMUL", [x, real(made, 1, 6, 4)], [y], **table)
    return made.bytes([x], [y]), [5 * 6 * 4]


SAME, VALID = 0, 1


def free(made: Maker, shape: tuple[int, ...], signature: tuple[int, ...]) -> int:
    index = made.tensor(shape)
    made.graph.tensors[index].shapeSignature = list(signature)
    return index


def real(made: Maker, *shape: int) -> int:
    return made.constant(np.ones(shape, np.float32))


def whole(made: Maker, values: list[int]) -> int:
    return made.constant(np.array(values, np.int32))


def dense(made: Maker, x: int, inputs: int, units: int) -> int:
    flat, y = free(made, (1, inputs), (-1, inputs)), free(made, (1, units), (-1, units))
    made.operator("RESHAPE", [x, whole(made, [-1, inputs])], [flat])
    kernel = [real(made, units, inputs), real(made, units)]
    made.operator("FULLY_CONNECTED", [flat, *kernel], [y], table="FullyConnectedOptions")
    return y


@pytest.mark.parametrize(
    "make", [after_a_reshape, after_a_transposed_convolution, product_of_matrices]
)
def test_sizes_that_the_file_leaves_open_are_those_of_a_run(make):
    content, expected = make()
    assert list(macs_of(content).values()) == expected


@pytest.mark.parametrize(
    ("signature", "reshaped", "said"),
    [((-1, -1, 6), [-1, 6], "expected a fixed size"), ((-1, 4, 6), [-1, 7], "does not run")],
)
def test_what_cannot_be_counted_is_no_number(signature, reshaped, said, tmp_path):
    made = Maker()
    x = free(made, (1, 4, 6), signature)
    y = free(made, (1, reshaped[1]), (-1, reshaped[1]))
    made.operator("RESHAPE", [x, whole(made, reshaped)], [y])
    path = made.write(tmp_path / "model.tflite", [x], [y])
    with pytest.raises(ModelError, match=said):
        macs_of(path)
    found = cost_of(path)
    assert (found.macs, found.parameters) == (None, 0)


def test_an_activation_can_be_an_island(files):
    (island,) = float_islands(files["int8"])
    assert (island.kind, island.layer, island.macs) == ("ELU", "conv", 0)
    assert "none of the multiply-accumulates" in float_summary(files["int8"])


def test_small_kernels_of_a_dynamic_file_stay_in_float(varied, files):
    model, content = varied[0], files["dynamic"]
    kernels = [w for w in model.weights if len(w.shape) > 1]
    small = sorted(
        (int(np.prod(w.shape)) for w in kernels if np.prod(w.shape) < 1024), reverse=True
    )
    assert [w.elements for w in float_weights(content)] == small
    assert float_islands(content) == []
    assert float_summary(content).startswith("dynamic file (integer weights, activations quantized")


def test_files_that_are_float_by_design_have_no_islands(files):
    for mode, line in (
        ("float32", "float file: all operators compute in float"),
        ("float16", "float file: all operators compute in float"),
        ("int4", "weight-only file (integer weights, float computation): no kernel stays in float"),
    ):
        assert float_islands(files[mode]) == []
        assert float_summary(files[mode]) == line


def test_reading_islands_loads_no_tensorflow(mixed, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(mixed)
    code = (
        "import sys; from hsi.deploy.islands import float_summary;"
        f"print(float_summary({str(path)!r}));"
        "assert 'tensorflow' not in sys.modules and 'tf_keras' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("int8 file: 2 of ")


def test_what_is_no_file_is_refused(tmp_path):
    for source in (b"nothing", tmp_path / "absent.tflite"):
        with pytest.raises(ModelError):
            float_islands(source)
