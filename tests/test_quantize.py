"""`.tflite` files: equal to Keras where float, near it where not, refused where damaged."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

from hsi.compress.quantize import CALIBRATED, quantize
from hsi.deploy.tflite import TFLiteModel
from hsi.deploy.variant import load_variant, sizes
from hsi.errors import ModelError, SettingsError
from hsi.models import NETWORKS, network
from hsi.models.files import save_model
from hsi.patches import Patches
from hsi.predict import class_map, compiled
from hsi.samples import Part
from hsi.settings import QUANTIZATIONS
from hsi.train import train


def trained(name: str, *, bands: int = 6) -> tuple[keras.Model, np.ndarray]:
    """A network that tells four noisy classes apart, and 300 samples."""
    rng = np.random.default_rng(0)
    chosen = network(name)
    labels = np.kron(np.arange(4).reshape(2, 2), np.ones((15, 15), int))
    cube = rng.normal(size=(4, bands))[labels] + 0.5 * rng.normal(size=(30, 30, bands))
    patches = Patches(cube, chosen.patch_size)
    pixels = rng.permutation(900)
    part = Part(pixels[:300], labels.ravel()[pixels[:300]])
    nobody = Part(np.array([], int), np.array([], int))
    model = chosen.build(patches.shape, 4, seed=0)
    train(model, patches, part, nobody, epochs=4, batch_size=32)
    return model, patches.gather(pixels[:300])


def write(tmp_path, content: bytes, name: str = "model.tflite"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def small() -> tuple[keras.Model, np.ndarray]:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((5, 5, 4)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(24, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    return model, np.random.default_rng(0).normal(size=(200, 5, 5, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def files(small, tmp_path_factory):
    """mode -> path of the small model quantized that way."""
    model, samples = small
    folder = tmp_path_factory.mktemp("files")
    return {
        mode: write(folder, quantize(model, mode, calibration=samples), f"{mode}.tflite")
        for mode in QUANTIZATIONS
    }


# Against Keras


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_float_files_equal_keras_and_int8_is_close(name, tmp_path):
    model, samples = trained(name)
    expected = compiled(model)(samples)
    assert np.ptp(expected) > 0.5, "the network learned nothing: nothing is compared"
    found = TFLiteModel(write(tmp_path, quantize(model, "float32", calibration=samples)))(samples)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for mode, near in (("float16", 5e-3), ("dynamic", 5e-2), ("int8", 0.15), ("int16x8", 5e-2)):
        path = write(tmp_path, quantize(model, mode, calibration=samples), f"{mode}.tflite")
        found = TFLiteModel(path)(samples)
        assert found.dtype == np.float32
        assert np.abs(found - expected).mean() < near / 5
        assert np.abs(found - expected).max() < 2 * near
        assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.97


def test_the_float_file_of_a_small_model_equals_keras(small, files):
    model, samples = small
    found = TFLiteModel(files["float32"])(samples)
    np.testing.assert_allclose(found, compiled(model)(samples), atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "near"), [("float16", 2e-3), ("dynamic", 0.05), ("int8", 0.05), ("int16x8", 0.05)]
)
def test_quantized_files_are_near_keras_and_not_equal(small, files, mode, near):
    model, samples = small
    difference = np.abs(TFLiteModel(files[mode])(samples) - compiled(model)(samples))
    assert 0 < difference.max() < near


def test_files_hold_the_types_that_their_mode_promises(files):
    from ai_edge_litert.interpreter import Interpreter

    def kinds(mode):
        interpreter = Interpreter(str(files[mode]), experimental_preserve_all_tensors=True)
        return {np.dtype(t["dtype"]).name for t in interpreter.get_tensor_details()}

    assert "int8" not in kinds("float32")
    assert "float16" in kinds("float16")
    assert "int8" in kinds("dynamic")
    assert "int16" in kinds("int16x8")
    interpreter = Interpreter(str(files["int8"]))
    floats = [t for t in interpreter.get_tensor_details() if t["dtype"] == np.float32]
    assert len(floats) == 2, "only the input and the output of an int8 file are float"
    assert sizes(files["int8"])[0] < sizes(files["float16"])[0] < sizes(files["float32"])[0]


@pytest.mark.parametrize("mode", QUANTIZATIONS)
def test_inputs_and_outputs_are_float_in_every_mode(files, mode):
    interpreter = TFLiteModel(files[mode])._interpreter
    for detail in (*interpreter.get_input_details(), *interpreter.get_output_details()):
        assert detail["dtype"] == np.float32


# Batches


@pytest.mark.parametrize("mode", QUANTIZATIONS)
def test_every_batch_size_gives_the_same_scores(small, files, mode):
    _, samples = small
    samples = np.concatenate([samples, samples])[:256]
    lite = TFLiteModel(files[mode])
    whole = lite(samples)
    for size in (1, 7, 256, 7):
        parts = [lite(samples[i : i + size]) for i in range(0, 256, size)]
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_scores_are_copies(small, files):
    _, samples = small
    lite = TFLiteModel(files["float32"])
    first = lite(samples[:5])
    kept = first.copy()
    lite(samples[5:10])
    np.testing.assert_array_equal(first, kept)


def test_a_map_through_the_interpreter_is_that_of_keras(small, files):
    model, _ = small
    patches = Patches(np.random.default_rng(3).normal(size=(13, 11, 4)), 5)
    expected = class_map(compiled(model), patches)
    np.testing.assert_array_equal(
        class_map(load_variant(files["float32"]), patches, batch_size=17), expected
    )


def test_a_variant_opens_either_form(small, files, tmp_path):
    model, samples = small
    save_model(model, tmp_path / "model.h5")
    np.testing.assert_allclose(
        load_variant(tmp_path / "model.h5")(samples),
        load_variant(files["float32"])(samples),
        atol=1e-6,
    )
    total, zipped = sizes(files["int8"])
    assert total == files["int8"].stat().st_size
    assert 0 < zipped < total


def test_reading_a_file_loads_no_tensorflow(files):
    code = (
        "import sys, numpy as np; from hsi.deploy.variant import load_variant;"
        f"print(load_variant({str(files['int8'])!r})(np.zeros((2, 5, 5, 4), np.float32)).shape);"
        "assert 'tensorflow' not in sys.modules and 'tf_keras' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2, 3)"


# Integer inputs and outputs


@pytest.mark.parametrize("kind", [tf.int8, tf.uint8])
def test_integer_inputs_are_quantized_and_outputs_dequantized(small, tmp_path, kind):
    model, samples = small
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([s[None]] for s in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = kind
    lite = TFLiteModel(write(tmp_path, converter.convert()))
    assert lite._input["dtype"] == lite._output["dtype"] == kind.as_numpy_dtype
    assert lite.input_shape == (5, 5, 4)
    assert lite.classes == 3
    found = lite(samples)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, compiled(model)(samples), atol=0.05)
    scale, zero_point = lite._output["quantization"]
    steps = found / scale + zero_point
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    far = lite(np.full((1, 5, 5, 4), 1e6, np.float32))  # saturates instead of wrapping around
    limit = lite(np.full((1, 5, 5, 4), np.abs(samples).max() * 2, np.float32))
    np.testing.assert_array_equal(far, limit)


def test_calibration_sets_the_range_of_the_input(small, files):
    from ai_edge_litert.interpreter import Interpreter

    _, samples = small
    details = Interpreter(str(files["int8"])).get_tensor_details()
    quantized = [t for t in details if t["dtype"] == np.int8 and tuple(t["shape"]) == (1, 5, 5, 4)]
    scale, zero_point = quantized[0]["quantization"]
    assert (-128 - zero_point) * scale == pytest.approx(samples.min(), abs=2 * scale)
    assert (127 - zero_point) * scale == pytest.approx(samples.max(), abs=2 * scale)


def test_channels_of_zero_weights_survive_every_mode(small, tmp_path):
    model, samples = small
    pruned = keras.models.clone_model(model)
    weights = model.get_weights()
    weights[0][..., 3], weights[1][3] = 0, 0
    weights[2][:, 5], weights[3][5] = 0, 0
    pruned.set_weights(weights)
    expected = compiled(pruned)(samples)
    for mode in QUANTIZATIONS:
        path = write(tmp_path, quantize(pruned, mode, calibration=samples))
        np.testing.assert_allclose(TFLiteModel(path)(samples), expected, atol=0.05)


# Refusals


def test_unknown_modes_and_missing_calibration_are_refused(small):
    model, samples = small
    with pytest.raises(SettingsError, match=r"Unknown quantization 'int9'.*Did you mean 'int8'"):
        quantize(model, "int9", calibration=samples)
    for mode in CALIBRATED:
        with pytest.raises(ModelError, match=f"{mode}: expected training samples"):
            quantize(model, mode, calibration=samples[:0])


def test_a_model_that_the_converter_refuses_is_a_model_error():
    inputs = keras.Input((4, 4, 4, 2))
    model = keras.Model(inputs, layers.MaxPooling3D(2)(inputs), name="pooled")
    with pytest.raises(
        ModelError, match="quantization dynamic: pooled cannot be converted"
    ) as caught:
        quantize(model, "dynamic", calibration=np.zeros((0,)))
    assert "\n" not in str(caught.value)


def refusal(path, samples: np.ndarray | None = None) -> str:
    def use():
        lite = TFLiteModel(path)
        if samples is not None:
            lite(samples)

    with pytest.raises(ModelError) as caught:
        use()
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_samples_of_another_shape_are_refused(files):
    text = refusal(files["dynamic"], np.zeros((2, 5, 5, 3), np.float32))
    assert "expected samples of shape (5, 5, 4)" in text
    assert "(5, 5, 3)" in text


def test_what_is_no_tflite_file_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    assert "no such model file" in refusal(tmp_path / "absent.tflite")
    for name, content in {
        "empty": b"",
        "short": b"TFL3",
        "random": rng.bytes(4000),
        "magic": b"\x1c\x00\x00\x00TFL3" + rng.bytes(4000),
        "magic alone": b"\x1c\x00\x00\x00TFL3",
        "zeros": b"\x00\x00\x00\x00TFL3" + bytes(500),
        "html": b"<!DOCTYPE html><html></html>",
    }.items():
        refusal(write(tmp_path, content, f"{name}.tflite"))
    (tmp_path / "folder.tflite").mkdir()
    refusal(tmp_path / "folder.tflite")


@pytest.mark.parametrize("mode", QUANTIZATIONS)
def test_a_truncated_file_is_refused_wherever_it_was_cut(files, mode, tmp_path):
    content = files[mode].read_bytes()
    for end in {
        0,
        4,
        8,
        len(content) // 2,
        len(content) - 8,
        *np.linspace(9, len(content) - 9, 20).astype(int),
    }:
        refusal(write(tmp_path, content[:end]))


LOST_BLOCKS = """
import sys
from pathlib import Path
import numpy as np
from hsi.deploy.tflite import TFLiteModel
from hsi.errors import ModelError

content = Path(sys.argv[1]).read_bytes()
samples = np.zeros((2, 5, 5, 4), np.float32)
refused = 0
for start in range(0, len(content), 512):
    Path(sys.argv[2]).write_bytes(content[:start] + bytes(512) + content[start + 512 :])
    try:
        TFLiteModel(sys.argv[2])(samples)
    except ModelError as error:
        assert "\\n" not in str(error)
        refused += 1
print(refused)
"""


@pytest.mark.parametrize("mode", QUANTIZATIONS)
def test_a_file_with_a_lost_block_is_refused_or_runs_but_does_not_crash(files, mode, tmp_path):
    """In a process of its own, since a crash of the interpreter would end this one."""
    done = subprocess.run(
        [sys.executable, "-c", LOST_BLOCKS, str(files[mode]), str(tmp_path / "damaged.tflite")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout.split()[-1]) >= 2


@pytest.mark.parametrize("position", ["first", "last"])
def test_a_shape_beyond_all_memory_is_refused(files, tmp_path, position):
    """One changed byte in a stored shape made LiteRT run out of memory, or crash."""
    content = files["float32"].read_bytes()
    shape = np.array([1, 3, 3, 16], "<i4").tobytes()
    at = content.find(shape)
    assert at > 0
    damaged = bytearray(content)
    damaged[at + (7 if position == "first" else 15)] = 0x40
    assert "impossible shape" in refusal(write(tmp_path, bytes(damaged)))


def test_a_negative_scale_is_refused_and_does_not_crash(files, tmp_path):
    """One flipped bit in the scale of an activation made LiteRT end the process."""
    from ai_edge_litert.interpreter import Interpreter

    content = files["int8"].read_bytes()
    details = Interpreter(str(files["int8"])).get_tensor_details()
    scale = next(t for t in details if tuple(t["shape"]) == (1, 5, 5, 4) and t["dtype"] == np.int8)
    stored = np.float32(scale["quantization"][0]).tobytes()
    assert content.count(stored) == 1
    damaged = content.replace(stored, np.float32(-scale["quantization"][0]).tobytes())
    assert "impossible scale" in refusal(write(tmp_path, damaged))
