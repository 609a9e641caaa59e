"""The command `python -m hsi compare`: small networks that were never trained, in real runs."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.io

from hsi import bands
from hsi.cli import main
from hsi.compare.comparison import Options, compare
from hsi.compare.cost import cost_of, costs_of
from hsi.compare.outputs import FLOOR
from hsi.compare.subjects import Given, Subject, check_same_data, common_samples, given_samples
from hsi.deploy.variant import Variant
from hsi.errors import SettingsError
from hsi.metrics import accuracy, mcnemar
from hsi.patches import Patches
from hsi.pipeline.job import Job, open_job, samples_of
from hsi.runs import open_run
from hsi.samples import Samples
from hsi.scene import Scene
from hsi.settings import Settings
from hsi.split import make_split
from hsi.views import compared as compared_view
from hsi.views.compared import Choice, open_compared
from hsi.views.locate import Located
from tests.test_generate import make_scene, one_line_error

TRAINED, PRUNED = "trained_model.h5", "trained_pruned_model_40.h5"
FLOAT, INT8 = "quantized_model_float32.tflite", "quantized_model_int8.tflite"


class Runs:
    """Run folders on one small scene, each made when a test first asks for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        cube, labels = make_scene()
        scipy.io.savemat(folder / "field.mat", {"cube": cube, "labels": labels})
        scipy.io.savemat(folder / "other.mat", {"cube": cube + 1, "labels": labels})

    def open(self, name: str, *, scene: str = "field", **settings: Any) -> Job:
        """A new run without networks."""
        file = self.folder / f"{scene}.mat"
        data = {"dataset": f"{file}:cube", "labels": f"{file}:labels", "split": "random"}
        output = str(self.folder / name)
        given = Settings("cao", **{**data, **settings}, output=output).check()
        return open_job(given, say=lambda line: None)

    def with_a_copy(self, name: str, model: Path, **settings: Any) -> Path:
        """A run of other samples with a file of another run in it."""
        folder = self.folder / name
        if not folder.exists():
            self.open(name, **settings)
            shutil.copy(model, folder / model.name)
        return folder / model.name


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def run(runs: Runs) -> Path:
    """A run with a network, another one like it, and two converted files of the first."""
    from hsi.compress.quantize import quantize
    from hsi.models.files import save_model

    job = runs.open("run")
    model = network(job.samples.patches.shape, job.classes)
    save_model(model, job.run.path(TRAINED))
    content = {
        mode: quantize(model, mode, calibration=job.samples.calibration(seed=0))
        for mode in ("float32", "int8")
    }
    rng = np.random.default_rng(2)
    for weight in model.weights:
        weight.assign(weight + 0.05 * rng.normal(size=weight.shape))
    save_model(model, job.run.path(PRUNED))
    job.run.path(FLOAT).write_bytes(content["float32"])
    job.run.path(INT8).write_bytes(content["int8"])
    job.run.add_variant(TRAINED, {"variant": "trained"})
    step = {"criterion": "apoz", "granularity": "channel", "target": 40.0}
    job.run.add_variant(PRUNED, {"variant": "pruned_40", **step})
    for file, mode in ((FLOAT, "float32"), (INT8, "int8")):
        job.run.add_variant(file, {"variant": f"quantized_{mode}"}, parent=TRAINED)
    return job.run.folder


def network(shape: tuple[int, ...], classes: int, *, seed: int = 1) -> Any:
    """Two convolutions and two dense layers, with answers that are not all the same."""
    import tf_keras as keras
    from tf_keras import layers

    keras.utils.set_random_seed(seed)
    inputs = keras.Input(shape)
    x = layers.Conv2D(6, 3, activation="relu", name="conv_1")(inputs)
    x = layers.Conv2D(8, 3, use_bias=False, name="conv_2")(x)
    x = layers.BatchNormalization(name="bn_2")(x)
    x = layers.ReLU(name="relu_2")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(10, activation="relu", name="dense_1")(x)
    x = layers.Dense(7, name="dense_2")(x)
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax", name="scores")(x))
    rng = np.random.default_rng(seed)
    for layer in model.layers:  # a converter drops biases of zeros
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(0.1 * rng.normal(size=layer.bias.shape))
    kernel = model.get_layer("dense_1").kernel
    small = np.abs(kernel) < np.median(np.abs(kernel))
    kernel.assign(np.where(small, 0, kernel))
    mean, variance = model.get_layer("bn_2").moving_mean, model.get_layer("bn_2").moving_variance
    mean.assign(0.2 * rng.normal(size=mean.shape))
    variance.assign(rng.uniform(0.5, 2.0, variance.shape))
    return model


@cache
def predictions(run: Path, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and truth of the test samples in ascending order, by Keras itself."""
    import tf_keras as keras

    samples = samples_of(open_run(run), say=lambda line: None)
    part = samples.part("test")
    order = np.argsort(part.pixels)
    model = keras.models.load_model(run / file, compile=False)
    found = model(samples.patches.gather(part.pixels[order]), training=False)
    return found.numpy(), part.classes[order]


# Outputs


def test_the_numbers_are_those_of_the_samples_themselves(run, tmp_path, capsys):
    files = [str(run / TRAINED), str(run / PRUNED)]
    out = {name: tmp_path / name for name in ("all.json", "table.csv", "apart.csv")}
    code = main(
        ["compare", *files, "--what", "outputs", "--json", str(out["all.json"]), "--csv",
         str(out["table.csv"]), "--parting", str(out["apart.csv"])]
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert code == 0
    first, truth = predictions(run, TRAINED)
    second, _ = predictions(run, PRUNED)
    a, b = first.argmax(axis=1), second.argmax(axis=1)
    assert 0 < np.sum(a != b) < len(a)
    record = json.loads(out["all.json"].read_text())
    reference, other = record["variants"]
    assert record["reference"] == reference["variant"] == "trained"
    assert other["agreement"] == pytest.approx(np.mean(a == b))
    assert other["mcnemar_p"] == pytest.approx(mcnemar(a == truth, b == truth))
    for row, predicted in ((reference, a), (other, b)):
        expected = accuracy(truth, predicted, 3)
        assert row["oa"] == pytest.approx(100 * expected.oa)
        assert row["kappa"] == pytest.approx(expected.kappa)
        recalls = [each["recall"] for each in row["recall"]]
        np.testing.assert_allclose(recalls, expected.recall)
        assert [each["class"] for each in row["recall"]] == [4, 7, 9]
    apart = np.log(second) - np.log(first)
    apart = apart - apart.mean(axis=1, keepdims=True)
    assert other["difference_max"] == pytest.approx(np.abs(apart).max(), rel=1e-4)
    assert reference["agreement"] is None
    with out["table.csv"].open() as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["trained", "pruned_40"]
    assert float(rows[1]["oa"]) == pytest.approx(other["oa"], rel=1e-5)
    assert rows[0]["agreement"] == ""
    with out["apart.csv"].open() as file:
        listed = list(csv.DictReader(file))
    keys = np.sort(samples_of(open_run(run), say=lambda line: None).part("test").pixels)
    assert [int(row["sample"]) for row in listed] == keys[a != b].tolist()
    assert [int(row["row"]) * 24 + int(row["col"]) for row in listed] == keys[a != b].tolist()
    numbers = np.array([4, 7, 9])
    assert [int(row["predicted"]) for row in listed] == numbers[b[a != b]].tolist()
    assert [int(row["true"]) for row in listed] == numbers[truth[a != b]].tolist()
    assert "pruned_40" in printed
    assert record["conclusions"]
    for sentence in record["conclusions"]:
        assert " ".join(sentence.split()) in " ".join(printed.split())


def test_blocks_are_squares_of_the_scene(run):
    opened = open_compared(Choice((str(run / TRAINED), str(run / PRUNED))))
    blocks: dict[int, set] = {}
    for key, block in zip(opened.common.keys, opened.common.blocks, strict=True):
        row, col = divmod(int(key), 24)
        blocks.setdefault(int(block), set()).add((row // 10, col // 10))
    assert len(blocks) == 9
    assert all(len(places) == 1 for places in blocks.values())


def test_some_samples_of_a_part(run):
    files = (str(run / TRAINED), str(run / PRUNED))
    every = open_compared(Choice(files, part="train")).common
    some = [open_compared(Choice(files, part="train", samples=9, seed=s)).common for s in (0, 0, 1)]
    assert some[0].keys.tolist() == some[1].keys.tolist() != some[2].keys.tolist()
    assert len(some[0].keys) == 9
    assert set(some[0].keys) <= set(every.keys)
    place = np.searchsorted(every.keys, some[0].keys)
    assert every.truth[place].tolist() == some[0].truth.tolist()


def test_a_limit_that_is_missed_is_one_line_and_exit_code_1(run, capsys):
    command = ["compare", str(run / TRAINED), str(run / PRUNED), "--what", "outputs"]
    assert main([*command, "--fail-under", "agreement=0.999"]) == 1
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("fail_under: pruned_40: agreement 0.")
    assert main([*command, "--fail_under", "agreement=0.01", "--fail_under", "oa=1.5"]) == 0


def test_two_tflite_files_need_no_tensorflow(run):
    """By outputs and cost, as a user starts it; the timing process beside it likewise."""
    code = (
        "import sys; from hsi.cli import main; "
        f"code = main(['compare', {str(run / FLOAT)!r}, {str(run / INT8)!r}, '--batch', '1']); "
        "print(code, sorted({'tensorflow', 'tf_keras', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "0 []"
    assert "quantized_int8" in done.stdout
    assert "ms, 1" in done.stdout


# Several runs


def test_two_preparations_of_one_split_each_get_their_own_samples(runs, run):
    from hsi.models.files import save_model

    job = runs.open("pca", band_selection="PCA", components=4)
    model = network(job.samples.patches.shape, job.classes, seed=3)
    save_model(model, job.run.path(TRAINED))
    found = open_compared(Choice((str(run / TRAINED), str(job.run.path(TRAINED)))))
    comparison = compare(found.subjects, found.common, Options(what=("outputs",)))
    first, truth = predictions(run, TRAINED)
    second, _ = predictions(job.run.folder, TRAINED)
    (outputs,) = [each.outputs for each in comparison.variants[1:]]
    same = first.argmax(axis=1) == second.argmax(axis=1)
    assert outputs.agreement == pytest.approx(same.mean())
    np.testing.assert_array_equal(found.common.truth, truth)
    names = [subject.name for subject in found.subjects]
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("seed", {"seed": 5}, "another split"),
        ("scene", {"scene": "other"}, "other data"),
        ("classes", {"classes": ("4", "7")}, "other classes"),
    ],
)
def test_runs_without_common_samples_are_refused(runs, run, capsys, name, settings, said):
    other = runs.with_a_copy(name, run / TRAINED, **settings)
    line = one_line_error(capsys, main(["compare", str(run / TRAINED), str(other)]))
    assert "no common samples" in line
    assert said in line


def test_networks_of_other_inputs_or_classes_are_refused(runs, run, tmp_path, capsys):
    from hsi.models.files import save_model

    narrow = runs.with_a_copy("bands", run / TRAINED, drop_bands=(1, 2))
    line = one_line_error(capsys, main(["compare", str(run / TRAINED), str(narrow)]))
    assert "takes inputs of 5 x 5 x 12, its samples are 5 x 5 x 10" in line
    save_model(network((5, 5, 12), 4), tmp_path / "four.h5")
    files = [str(run / TRAINED), str(tmp_path / "four.h5"), "--run", str(run)]
    line = one_line_error(capsys, main(["compare", *files, "--what", "outputs"]))
    assert "tells 4 classes apart, field has 3" in line


def test_files_without_a_run_take_the_samples_of_one_that_is_named(run, tmp_path, capsys):
    copy = tmp_path / "copy.h5"
    shutil.copy(run / TRAINED, copy)
    line = one_line_error(capsys, main(["compare", str(run / TRAINED), str(copy)]))
    assert "--run FOLDER" in line
    files = (str(run / TRAINED), str(copy))
    found = open_compared(Choice(files, run=str(run)))
    result = compare(found.subjects, found.common, Options(what=("outputs",))).rows()[1]
    assert (result["agreement"], result["difference_max"]) == (1, 0)
    line = one_line_error(
        capsys, main(["compare", str(run / TRAINED), str(run / PRUNED), "--run", str(run)])
    )
    assert "leave" in line


def test_samples_of_an_array_with_and_without_truth(run, tmp_path, capsys):
    first, truth = predictions(run, TRAINED)
    samples = samples_of(open_run(run), say=lambda line: None)
    inputs = samples.patches.gather(np.sort(samples.part("test").pixels))
    np.savez(tmp_path / "samples.npz", x=inputs, y=truth)
    files = [str(run / TRAINED), str(run / FLOAT)]
    given = ["--inputs", f"{tmp_path / 'samples.npz'}:x", "--what", "outputs", "--json"]
    main(["compare", *files, *given, str(tmp_path / "plain.json")])
    known = ["--truth", f"{tmp_path / 'samples.npz'}:y"]
    main(["compare", *files, *given, str(tmp_path / "known.json"), *known])
    plain, full = (
        json.loads((tmp_path / f"{name}.json").read_text())["variants"][1]
        for name in ("plain", "known")
    )
    assert plain["agreement"] == full["agreement"] == 1
    assert "oa" not in plain
    assert full["oa"] == pytest.approx(100 * np.mean(first.argmax(axis=1) == truth))
    capsys.readouterr()
    command = ["compare", *files, *given, str(tmp_path / "n.json"), "--fail_under", "oa=50"]
    assert "not known" in one_line_error(capsys, main(command))
    for name, values in (("short", truth[1:]), ("many", truth + 2), ("half", truth + 0.5)):
        np.save(tmp_path / f"{name}.npy", values)
        wrong = ["--truth", str(tmp_path / f"{name}.npy")]
        line = one_line_error(
            capsys, main(["compare", *files, *given, str(tmp_path / "n.json"), *wrong])
        )
        assert {"short": "for each of", "many": "class indices", "half": "whole"}[name] in line
    np.save(tmp_path / "wide.npy", np.zeros((3, 5, 5, 9)))
    line = one_line_error(capsys, main(["compare", *files, "--inputs", str(tmp_path / "wide.npy")]))
    assert "its samples are 5 x 5 x 9" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([TRAINED], "at least two"),
        ([TRAINED, "none.h5"], "no such model file"),
        ([TRAINED, PRUNED, "--what", "output"], "Did you mean 'outputs'"),
        ([TRAINED, PRUNED, "--methods", "gradients"], "Did you mean 'gradient'"),
        ([TRAINED, PRUNED, "--methods", "activation_map"], "Unknown method"),
        ([TRAINED, PRUNED, "--samples", "0"], "1 or more"),
        ([TRAINED, PRUNED, "--batch", "0"], "1 or more"),
        ([TRAINED, PRUNED, "--fail_under", "agreement=2"], "0 to 1"),
        ([TRAINED, PRUNED, "--truth", "t.npy"], "--inputs"),
        ([TRAINED, PRUNED, "--csv", "table.json"], "expected a file .csv"),
        ([TRAINED, PRUNED, "--run", "nowhere"], "no run here"),
        ([TRAINED, "run.json"], "damaged or something else"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, capsys, arguments, said):
    files = [str(run / a) if "." in a and "/" not in a and not a.startswith("--") and
             a.endswith((".h5", "run.json")) else a for a in arguments]  # fmt: skip
    assert said in one_line_error(capsys, main(["compare", *files]))


# Cost


def test_cost_of_every_form_by_counting(run):
    import tf_keras as keras

    model = keras.models.load_model(run / TRAINED, compile=False)
    costs = costs_of([run / TRAINED, run / FLOAT, run / INT8], batches=())
    kernels = {w.name: w.shape for w in model.weights if "kernel" in w.name}
    positions = {"conv_1": 9, "conv_2": 1, "dense_1": 1, "dense_2": 1, "scores": 1}
    macs = sum(positions[name.split("/")[0]] * np.prod(shape) for name, shape in kernels.items())
    for cost in costs:
        assert cost.macs == macs
        data = Path(cost.file).read_bytes()
        assert cost.bytes == len(data)
        assert 0 < cost.bytes_gzip < 1.1 * len(data)
        assert cost.latency == ()
    assert costs[0].parameters == model.count_params()
    # batch norm (4 x 8) became the bias (8) of the convolution before it, and the bias of dense_2
    # (7) went into that of the scores
    for cost in costs[1:]:
        assert cost.parameters == model.count_params() - 4 * 8 + 8 - 7
    assert costs[2].bytes < costs[1].bytes


def test_zeros_are_counted_in_every_form(run):
    import tf_keras as keras

    model = keras.models.load_model(run / TRAINED, compile=False)
    kernel = model.get_layer("dense_1").kernel.numpy()
    pruned = int((kernel == 0).sum())
    assert pruned == kernel.size / 2
    zeros = sum(int((w == 0).sum()) for w in model.get_weights())
    found = cost_of(run / TRAINED)
    assert found.sparsity == pytest.approx(zeros / model.count_params())
    assert cost_of(run / TRAINED, network=model) == found
    lite = cost_of(run / FLOAT)
    assert lite.sparsity * lite.parameters == pytest.approx(pruned)
    rounded = cost_of(run / INT8)  # small weights become zeros too
    assert pruned <= rounded.sparsity * rounded.parameters < 1.5 * pruned


# Layers


def outputs_of_layers(model: Any, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """What Keras itself says every layer answers."""
    import tf_keras as keras

    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    whole = keras.Model(model.inputs, [layer.output for layer in layers])
    found = [values.numpy() for values in whole(inputs, training=False)]
    return {layer.name: values for layer, values in zip(layers, found, strict=True)}


@pytest.fixture(scope="module")
def compared_layers(run: Path) -> Any:
    """The comparison of the trained network with its own converted files."""
    files = tuple(str(run / name) for name in (TRAINED, FLOAT, INT8))
    found = open_compared(Choice(files, samples=64))
    return found, compare(found.subjects, found.common, Options(what=("layers",)))


def test_every_layer_of_a_float_file_is_the_keras_layer(compared_layers):
    _, comparison = compared_layers
    layers = comparison.variants[1].layers
    names = [layer.layer for layer in layers.layers]
    assert names == ["conv_1", "relu_2", "flat", "dense_1", "dense_2", "scores"]
    assert set(layers.fused) == {"conv_2", "bn_2"}
    assert set(layers.fused.values()) == {"relu_2"}
    assert layers.alone == ("dropout",)
    assert layers.unbiased == ("dense_2",)
    for layer in layers.layers:
        assert layer.range > 0.1
        assert layer.largest < 1e-5
        assert layer.step is None
        assert layer.largest_steps is None


@pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all_tensors")
def test_steps_of_an_int8_file_against_the_interpreter(run, compared_layers):
    """Its own tensors, before any kernel is fused away from them, and its own scales."""
    import tf_keras as keras
    from ai_edge_litert.interpreter import Interpreter

    found, comparison = compared_layers
    layers = {layer.layer: layer for layer in comparison.variants[2].layers.layers}
    inputs = found.subjects[0].source.gather(found.common.keys)
    wanted = outputs_of_layers(keras.models.load_model(run / TRAINED, compile=False), inputs)
    interpreter = Interpreter(str(run / INT8), experimental_preserve_all_tensors=True)
    (source,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(source["index"], inputs.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], inputs)
    interpreter.invoke()
    seen = 0
    for name in ("conv_1", "dense_1"):
        for tensor in interpreter.get_tensor_details():
            shape = tuple(tensor["shape"])
            if f"/{name}/Relu" not in tensor["name"] or shape != wanted[name].shape:
                continue
            scale, zero = tensor["quantization"]
            levels = interpreter.get_tensor(tensor["index"]).astype(float)
            apart = np.abs(scale * (levels - zero) - wanted[name])
            assert layers[name].step == pytest.approx(scale)
            assert layers[name].largest_steps == pytest.approx(apart.max() / scale, abs=1.01)
            assert layers[name].mean_steps == pytest.approx(apart.mean() / scale, abs=0.05)
            seen += 1
    assert seen == 2
    assert layers["scores"].step == pytest.approx(1 / 256)
    assert all(layer.largest_steps is not None for layer in layers.values())


def test_layers_are_compared_of_a_model_and_its_own_file_alone(run, compared_layers):
    from hsi.compare.comparison import chosen

    found, _ = compared_layers
    assert chosen(found.subjects, ()) == ("outputs", "cost", "layers")
    other = open_compared(Choice((str(run / PRUNED), str(run / FLOAT))))
    assert chosen(other.subjects, ()) == ("outputs", "cost")


# One function in two forms, without a network


def one_function(factor: float, *, answers: str = "probabilities", ending: str = ".h5") -> Any:
    """A subject and its variant: samples are `factor` times those of the first, and so undone."""
    inputs = np.random.default_rng(0).random((6, 1, 1, 2)).astype(np.float32)

    def forward(batch: np.ndarray) -> np.ndarray:
        values = batch[:, 0, 0] / factor
        if answers == "probabilities":
            return values / values.sum(axis=1, keepdims=True)
        return values - 2 if answers == "logits" else values / values.max()

    path = Path(f"{factor:g}_{answers}{ending}")
    variant = Variant(path, input_shape=(1, 1, 2), classes=2, forward=forward)

    def inside(batch: np.ndarray, layers: Any) -> Any:
        return [SimpleNamespace(layer=layers[0], array=batch / factor)]

    variant.activations = inside  # type: ignore[method-assign]
    return Subject(path, path.name, Given(factor * inputs)), variant


def compared_alone(monkeypatch: Any, pair: list[Any], *what: str) -> Any:
    """The comparison of two stand-ins, whose files are not opened."""
    subjects, variants = zip(*pair, strict=True)
    monkeypatch.setattr("hsi.compare.comparison.open_subjects", lambda *_, **__: [*variants])
    common = given_samples(subjects[0].source.inputs)
    return compare(subjects, common, Options(what=what))


def test_layers_are_compared_on_what_each_file_takes_itself(monkeypatch):
    """A file of counts, or a run of another scaling, takes other numbers of the same samples."""
    one_layer = {"conv": "Conv2D"}, {}, ()
    monkeypatch.setattr("hsi.compare.layers._corresponding", lambda *_: one_layer)
    pair = [one_function(1), one_function(1000)]
    (layer,) = compared_alone(monkeypatch, pair, "layers").variants[1].layers.layers
    assert layer.range > 0.5
    assert layer.largest < 1e-6


@pytest.mark.parametrize(("answers", "floor"), [("probabilities", 0.07), ("logits", FLOOR)])
def test_half_a_step_is_a_least_probability_of_shares_alone(monkeypatch, answers, floor):
    """A step of logits is none of a probability."""
    steps = {".h5": None, ".tflite": 0.14}
    monkeypatch.setattr("hsi.compare.comparison.output_step", lambda path: steps[path.suffix])
    pair = [one_function(1), one_function(2, answers=answers, ending=".tflite")]
    assert compared_alone(monkeypatch, pair, "outputs").variants[1].outputs.floor == floor


@pytest.mark.parametrize("answers", ["scores", "logits", "probabilities"])
def test_what_kl_is_of_sigmoids_is_said(monkeypatch, answers):
    monkeypatch.setattr("hsi.compare.comparison.output_step", lambda path: None)
    pair = [one_function(factor, answers=answers) for factor in (1, 2)]
    notes = compared_alone(monkeypatch, pair, "outputs").notes
    assert any("softmax" in note for note in notes) == (answers == "scores")


def test_each_row_says_what_its_differences_are_of_where_that_differs(monkeypatch, capsys):
    from hsi.cli.comparison_tables import print_comparison

    monkeypatch.setattr("hsi.compare.comparison.output_step", lambda path: None)
    made = [
        one_function(factor, answers=answers)
        for factor, answers in ((1, "logits"), (2, "logits"), (3, "probabilities"))
    ]
    for count, said in ((2, "differences of logits"), (3, "differences of")):
        subjects, variants = zip(*made[:count], strict=True)
        monkeypatch.setattr(
            "hsi.compare.comparison.open_subjects", lambda *_, v=variants, **__: [*v]
        )
        common = given_samples(subjects[0].source.inputs)
        found = compare(subjects, common, Options(what=("outputs",)))
        print_comparison(found)
        printed = capsys.readouterr().out
        assert said in printed
    assert "differences of logits" not in printed
    cells = [line.strip(" │").split("│") for line in printed.splitlines() if line.startswith("│")]
    scales = {line[0].strip(): line[-1].strip() for line in cells if len(line) == 7}
    assert scales == {
        "2_logits.h5": "logits", "3_probabilities.h5": "log-probabilities, centred"
    }  # fmt: skip


# What was read from a file


def made_for(name: str, samples: Samples) -> Subject:
    return Subject(Path(name), name, samples.patches, samples=samples)


def test_a_file_of_counts_comes_with_its_own_preparation(runs):
    """What explains it must know what it takes."""
    job = runs.open("counts")
    for file in (TRAINED, "trained_model_counts.h5"):
        job.run.path(file).write_bytes(b"")
        facts = {} if file == TRAINED else {"input": "counts"}
        job.run.add_variant(file, {"variant": file}, **facts)
    located = [Located(job.run.path(file), job.run, None) for file in job.run.record["variants"]]
    choice = Choice(tuple(str(found.path) for found in located))
    prepared, counts = compared_view._of_runs(choice, located, lambda line: None)
    assert counts.source is counts.samples.patches
    assert set(counts.samples.preparation.scale) == {1.0}
    assert set(prepared.samples.preparation.scale) != {1.0}
    check_same_data(prepared, counts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("labels", "its labels give 507 of 507 pixels another class"),
        ("cube", "another cube of the same file"),
        ("scaling", None),
        ("bands", None),
        ("numbers", None),
    ],
)
def test_two_arrays_of_one_file_are_not_the_same_data(change, said):
    """They share its hash; other bands, or other numbers for them, are still the same cube."""
    cube, labels = make_scene()
    scene = Scene("field", cube, labels, sha256="one file")
    split = make_split(scene, method="random", patch_size=3, seed=0)

    def samples(scene: Scene, scaling: str = "standard") -> Samples:
        fitted = bands.fit(scene.cube, split.train, scaling=scaling)
        return Samples(scene, split, fitted, Patches(bands.apply(fitted, scene.cube), 3))

    renamed = np.array([0, 0, 0, 0, 7, 0, 0, 9, 0, 4])[labels]
    other = {
        "labels": replace(scene, labels=renamed),
        "cube": replace(scene, cube=cube + 1),
        "bands": scene.drop_bands([1, 2]),
        "numbers": replace(scene, removed_bands=(3, 4)),
    }.get(change, scene)
    its = samples(other, "minmax" if change == "scaling" else "standard")
    subjects = [made_for("a.h5", samples(scene)), made_for("b.h5", its)]
    if said is None:
        assert len(common_samples(subjects).keys)
        return
    with pytest.raises(SettingsError, match=f"b.h5: no common samples with a.h5: .*{said}"):
        common_samples(subjects)


# Explanations, faithfulness, representations


@pytest.mark.slow
def test_what_is_inside_is_put_together(run, tmp_path, figures: dict, capsys):
    """The parts have tests of their own; here it is seen that each is of the right variants."""
    copy = tmp_path / TRAINED
    shutil.copy(run / TRAINED, copy)
    files = [str(run / TRAINED), str(run / PRUNED), str(copy), "--run", str(run)]
    what = ["--what", "explanations,faithfulness,representations", "--methods", "gradient"]
    out = tmp_path / "all.json"
    command = ["compare", *files, *what, "--samples", "12", "--json", str(out)]
    assert main([*command, "--figures", str(tmp_path), "--fail_under", "gradient_cosine=0.99"]) == 1
    printed = capsys.readouterr().out.strip().splitlines()
    assert printed[-1].startswith("fail_under: pruned_40: gradient_cosine")
    assert TRAINED not in printed[-1]
    record = json.loads(out.read_text())
    first, pruned, same = record["variants"]
    assert first["gradient_cosine"] is None
    assert pruned["gradient_cosine"] < 0.99
    assert same["gradient_cosine"] == pytest.approx(1, abs=1e-6)
    assert same["gradient_cosine_floor_random"] < 0.9
    assert same["gradient_cosine_floor_retrained"] is None
    area = "gradient_deletion_bands"
    assert same[area] == pytest.approx(first[area], rel=1e-4)
    assert pruned[area] != pytest.approx(first[area], rel=1e-4)
    assert [page["second"] for page in record["representations"]] == ["pruned_40", TRAINED]
    cka = np.array(record["representations"][1]["cka"])
    np.testing.assert_allclose(np.diag(cka), 1, atol=1e-4)
    first_scores, second_scores = (predictions(run, file)[0] for file in (TRAINED, PRUNED))
    points = figures["parting_pruned_40.png"].axes[1].collections[0].get_offsets()
    apart = first_scores.argmax(axis=1) != second_scores.argmax(axis=1)
    keys = np.sort(samples_of(open_run(run), say=lambda line: None).part("test").pixels)
    drawn = {int(row) * 24 + int(col) for col, row in points}
    assert drawn <= set(keys[apart].tolist())
    assert len(drawn) == pruned["parting"]
    assert set(figures) == {
        "parting_pruned_40.png", "cka_pruned_40.png", "parting_trained_model.h5.png",
        "cka_trained_model.h5.png", "faithfulness_gradient.png",
    }  # fmt: skip


def test_names_from_data_are_printed_letter_by_letter(run, capsys):
    from hsi.cli.comparison_tables import print_comparison

    found = open_compared(Choice((str(run / TRAINED), str(run / PRUNED))))
    names = ("<script>alert(1)</script>", "[bold]x[/bold]", "$a$")
    subjects = [replace(s, name=f"[red]{i}") for i, s in enumerate(found.subjects)]
    common = replace(found.common, class_names=names, name="[link=x]field")
    print_comparison(compare(subjects, common, Options(what=("outputs",))))
    printed = capsys.readouterr().out
    for name in (*names, "[red]0", "[red]1", "[link=x]field"):
        assert name in printed


# Arrays in memory


def test_a_reference_alone_is_no_comparison():
    subject = Subject(Path("a.tflite"), "a", Given(np.zeros((2, 1, 1, 1))))
    with pytest.raises(SettingsError, match="at least two"):
        compare([subject], given_samples(np.zeros((2, 1, 1, 1))))
    with pytest.raises(SettingsError, match="samples that it was made for"):
        common_samples([subject, subject])


# The map


def test_the_map_marks_every_pixel_where_they_part_once():
    from hsi.plots.disagreement import disagreement_map

    rng = np.random.default_rng(0)
    first, second, truth = (rng.integers(1, 4, (12, 9)) for _ in range(3))
    truth[0] = 0
    used = rng.random(truth.shape) < 0.7
    names = {1: "$x$ <script>", 2: "b", 3: "c"}
    figure = disagreement_map(first, second, truth, names, names=("a$", "b$"), compared=used)
    figure.canvas.draw()
    apart = used & (first != second)
    drawn = [[tuple(p) for c in axis.collections for p in c.get_offsets()] for axis in figure.axes]
    expected = sorted((col, row) for row, col in np.argwhere(apart))
    for points in drawn:
        assert sorted(points) == expected
    kinds = [len(c.get_offsets()) for c in figure.axes[0].collections]
    known = apart & (truth > 0)
    assert kinds == [
        np.sum(known & (first == truth)),
        np.sum(known & (second == truth)),
        np.sum(known & (first != truth) & (second != truth)),
        np.sum(apart & (truth == 0)),
    ]
    with pytest.raises(SettingsError, match="one size"):
        disagreement_map(first, second[:3], truth, names)
