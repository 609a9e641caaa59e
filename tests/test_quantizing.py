"""The quantization stage of a run: what is refused before anything is done, and what is said."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tf_keras as keras
from tf_keras import layers

from hsi.cli.generate import main, parse
from hsi.compress.quantize import quantize
from hsi.errors import DataError
from hsi.models.files import save_model
from hsi.pipeline.job import TRAINED, open_earlier_job, open_job
from hsi.pipeline.quantizing import _in_float
from hsi.report import facts
from hsi.runs import Run, data_of
from hsi.views.locate import contradiction
from hsi.views.request import Request


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a small scene as cube.npy and truth.npy."""
    rng = np.random.default_rng(0)
    labels = np.kron(np.arange(1, 5).reshape(2, 2), np.ones((10, 10), int))
    np.save(tmp_path / "truth.npy", labels)
    np.save(tmp_path / "cube.npy", rng.normal(size=(5, 12))[labels] + rng.normal(size=(20, 20, 12)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


DATA = ("--dataset", "cube.npy", "--labels", "truth.npy", "--split", "random", "--no_report")
ROUNDED = ("--quantize", "--quantization", "int8", "--quantization_aware", "--epochs", "1")


def quiet(line: str) -> None:
    pass


def own_model(*middle: layers.Layer) -> None:
    """A user's model of 4 classes in mine.h5."""
    keras.utils.set_random_seed(0)
    end = [layers.Flatten(), layers.Dense(4, activation="softmax")]
    save_model(keras.Sequential([keras.Input((5, 5, 12)), *middle, *end]), Path("mine.h5"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hu"], "layer 'conv': .*Conv1D"),
        (["li", "--prune"], "ZeroPadding3D"),
        (["--model", "mine.h5"], "Only some Keras activations"),
    ],
    ids=["hu", "li", "a model of the user"],
)
def test_networks_that_cannot_be_trained_with_rounding_are_refused_before_they_are_trained(
    words: list[str], said: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_model(layers.Conv2D(3, 3, activation="elu"))
    before = sorted(project.rglob("*"))
    assert main([*words, *DATA, *ROUNDED, "--output", "run"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    wanted = f"error: quantization_aware: .*{said}.*; quantize after training instead"
    assert re.match(wanted, line), line
    assert sorted(project.rglob("*")) == before


def test_a_network_that_can_be_trained_with_rounding_is_the_one_to_begin_with(
    project: Path,
) -> None:
    job = open_job(parse(["cao", *DATA, *ROUNDED, "--output", "run"]), say=quiet)
    assert job.begun is not None
    usual = open_job(parse(["cao", *DATA, "--output", "usual"]), say=quiet)
    assert usual.begun is None
    expected = job.network.build(job.samples.patches.shape, 4, seed=0)
    for ours, theirs in zip(job.begun.weights, expected.weights, strict=True):
        assert ours.name == theirs.name
        np.testing.assert_array_equal(ours, theirs)


# What stays in float


@pytest.mark.parametrize(
    ("units", "said", "recorded"),
    [
        ((4, 3), "model.tflite is a float32 file, nothing in it is quantized", ["all"]),
        (
            (60, 3),
            "1 of 2 kernels stays in float (second 180 elements)",
            ["FULLY_CONNECTED second"],
        ),
        ((60, 20), None, None),
    ],
)
def test_a_dynamic_file_that_is_float_in_part_is_said_to_be(units, said, recorded) -> None:
    one, two = units
    model = keras.Sequential(
        [keras.Input((25,)), layers.Dense(one, name="first"), layers.Dense(two, name="second")]
    )
    content = quantize(model, "dynamic", calibration=np.zeros((0,)))
    lines: list[str] = []
    facts = _in_float(SimpleNamespace(say=lines.append), "model.tflite", content, "dynamic")
    assert facts == ({"float_kernels": recorded} if recorded else {})
    assert [said in line and "fewer than 1,024 elements" in line for line in lines] == (
        [True] if said else []
    )
    content = quantize(model, "float32", calibration=np.zeros((0,)))
    assert _in_float(SimpleNamespace(say=lines.append), "model.tflite", content, "float32") == {}
    assert len(lines) == bool(said)


# Models of an earlier run

PRUNED = "trained_pruned_model_50.h5"


@pytest.fixture
def earlier(project: Path) -> Run:
    """A run of two models as far as its record goes; nothing is trained."""
    run = open_job(parse(["cao", *DATA, "--output", "first"]), say=quiet).run
    for file in (TRAINED, PRUNED):
        run.path(file).write_bytes(file.encode())
        run.add_variant(file, {"variant": file})
    return run


@pytest.mark.parametrize("file", [TRAINED, PRUNED])
@pytest.mark.parametrize("gone", [False, True])
def test_models_that_are_not_those_on_record_are_refused(
    file: str, gone: bool, earlier: Run, project: Path
) -> None:
    words = ["cao", "--quantize_folder", "first", "--quantization", "int8", "--output"]
    assert open_earlier_job(parse([*words, "second"]), say=quiet).reference.name == TRAINED
    if gone:
        earlier.path(file).unlink()
    else:
        earlier.path(file).write_bytes(b"another model")
    with pytest.raises(DataError, match=f"{file}: is (gone|not the one on record)") as caught:
        open_earlier_job(parse([*words, "third"]), say=quiet)
    assert "\n" not in str(caught.value)
    assert not (project / "third").exists()


def test_what_is_known_of_quantized_models_is_how_the_earlier_run_trained_them(
    project: Path,
) -> None:
    trained = ["--seed", "3", "--epochs", "2", "--band_selection", "PCA", "--components", "6"]
    open_job(parse(["cao", *DATA, *trained, "--output", "first"]), say=quiet)
    words = ["cao", "--quantize_folder", "first", "--quantization", "int8", "--output", "second"]
    run = open_earlier_job(parse(words), say=quiet).run
    known = dict(facts.groups(run, [])["Network and training"])
    assert (known["seed"], known["epochs, at most"], known["quantization"]) == ("3", "2", "int8")
    assert known["bands to components"] == "PCA, 6"
    given = {"band_selection": "PCA", "components": 6}
    assert contradiction(run, Request(("a.tflite",), "gradient", model="cao", data=given)) == ""
    other = Request(("a.tflite",), "gradient", data={"components": 5})
    assert "components 6" in contradiction(run, other)
    run.record["settings"]["model"] = "vgg"  # as runs of before another network was refused
    assert facts.title_of(run) == "cao on cube"
    assert "cao" in contradiction(run, Request(("a.tflite",), "gradient", model="vgg"))


def test_another_network_than_the_earlier_runs_is_refused_before_anything_is_written(
    earlier: Run, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["vgg", "--quantize_folder", "first", "--output", "second"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "cao, got vgg" in line
    assert not (project / "second").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--seed", "3"], ["seed"]),
        (["--dataset", "other.npy", "--distill", "compact"], ["dataset", "distill"]),
        (["--epochs", "7", "--quantize"], ["epochs"]),
    ],
)
def test_what_is_not_as_in_the_earlier_run_is_refused(
    words: list[str],
    named: list[str],
    earlier: Run,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    same = ["cao", *DATA, "--quantize_folder", "first", "--output"]
    open_earlier_job(parse([*same, "second", "--threads", "1"]), say=quiet)
    assert main([*same, "third", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.endswith(f"leave out {', '.join(named)}.")
    assert not (project / "third").exists()


def test_data_may_be_named_by_where_it_is_now(earlier: Run, project: Path) -> None:
    where = data_of(earlier)["dataset"]
    assert Path(where).is_absolute()
    assert where not in DATA
    words = ["cao", "--dataset", where, "--quantize_folder", "first", "--output", "second"]
    assert open_earlier_job(parse(words), say=quiet).samples.name == "cube"
