"""What a file of integers computes in float, and what a dynamic one keeps in float."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tf_keras as keras
from tf_keras import layers

from hsi.compress.cost import macs
from hsi.compress.quantize import quantize
from hsi.compress.quantize.converter import convert
from hsi.deploy.differentiable.flatbuffer import parse
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
    assert sum(macs_of(parse(content)).values()) == macs(model), "each plane counts"
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
    assert sum(macs_of(parse(files[mode])).values()) == macs(varied[0])


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
