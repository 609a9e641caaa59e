"""`generate_model.py` on images, and on a user's own model: whole runs, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_generate import one_line_error

from hsi.cli.generate import main, parse
from hsi.errors import SettingsError
from hsi.image_sets import open_image_set
from hsi.parts import Part, check_same_division, save_division
from hsi.results import COLUMNS
from hsi.runs import open_run

TINY = ["vgg11", "--width", "0.1", "--epochs", "1", "--train_fraction", "0.2", "--no_report"]


def nothing(line: str) -> None:
    pass


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    return {row["variant"]: row for row in rows}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes of 12 x 12 colour images, ten each: bright left or bright right."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for klass in ("left", "right"):
        (folder / klass).mkdir()
        for number in range(10):
            image = rng.integers(0, 90, (12, 12, 3), np.uint8)
            image[:, :6] += 120 * (klass == "left")
            image[:, 6:] += 120 * (klass == "right")
            Image.fromarray(image).save(folder / klass / f"{number}.png")
    return folder


def small_model(keras: Any, shape: tuple[int, ...], classes: int, *, last: str = "softmax") -> Any:
    """A user's network; a batch norm that has seen data, so that nothing is at its default."""
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(6, 3, activation="relu", name="first"),
            keras.layers.Conv2D(4, 1, activation="relu", name="second"),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation=last, name="answer"),
        ]
    )


def saved(folder: Path, shape: tuple[int, ...], classes: int, name: str = "mine.h5") -> Path:
    """A user's model in a file: of Keras 3 where the name ends in .keras, else of tf_keras."""
    if name.endswith(".keras"):
        import keras
    else:
        import tf_keras as keras
    path = folder / name
    small_model(keras, shape, classes).save(path)
    return path


# whole runs


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of a network of images without a data set, and what it said."""
    import contextlib
    import io

    folder, out = tmp_path_factory.mktemp("digits") / "run", io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([
            *TINY, "--prune", "--prune_start", "50", "--prune_increment", "50", "--prune_end", "50",
            "--prune_epochs", "0", "--quantize", "--quantize_pruned_models",
            "--output", str(folder),
        ])  # fmt: skip
    assert code == 0
    return folder, out.getvalue()


@pytest.mark.slow
def test_a_run_on_images_is_whole(digits_run: tuple[Path, str]) -> None:
    folder, said = digits_run
    first = said.splitlines()[0]
    assert "No data set is named" in first
    assert "digits" in first
    assert "--dataset" in first
    rows = rows_of(folder)
    assert list(rows) == [
        "trained", "pruned_50", "quantized_dynamic", "quantized_pruned_50_dynamic",
    ]  # fmt: skip
    record = json.loads((folder / "run.json").read_text())
    assert record["state"] == "done"
    assert record["data"]["dataset"] == "digits"
    assert record["data"]["shape"] == [1797, 8, 8, 1]
    assert [c["number"] for c in record["classes"]] == list(range(10))
    drawn = {path.name for path in (folder / "figures").iterdir()}
    assert {"confusion_trained.png", "accuracy_compression.png"} <= drawn
    assert "class_maps.png" not in drawn
    assert "359 test images" in said
    assert f"visualization.py {folder}/trained_model.h5 gradcam" in said


@pytest.mark.slow
def test_the_accuracy_is_that_of_the_file_on_test_images_scaled_by_training_ones(
    digits_run: tuple[Path, str],
) -> None:
    import tf_keras as keras
    from sklearn.datasets import load_digits

    folder, _ = digits_run
    record = json.loads((folder / "run.json").read_text())
    with np.load(folder / "split.npz") as stored:
        parts = {name: stored[name] for name in ("train", "validation", "test")}
    assert len(np.unique(np.concatenate(list(parts.values())))) == sum(map(len, parts.values()))
    bunch = load_digits()
    images = np.round(bunch.images * 255 / 16)
    train = images[parts["train"]]
    scaled = ((images - train.mean()) / train.std())[..., None]
    model = keras.models.load_model(folder / "trained_model.h5", compile=False)
    right = model.predict(scaled[parts["test"]], verbose=0).argmax(1) == bunch.target[parts["test"]]
    row = rows_of(folder)["trained"]
    assert float(row["oa"]) == pytest.approx(100 * right.mean(), abs=1e-3)
    assert row["split"] == "by class, drawn" == record["split"]["method"]
    known = {image.tobytes() for image in images[parts["train"]]}
    copies = np.mean([image.tobytes() in known for image in images[parts["test"]]])
    assert float(row["leakage"]) == pytest.approx(100 * copies, abs=1e-9)


@pytest.mark.slow
def test_a_run_on_images_goes_on_where_it_stopped(
    digits_run: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(digits_run[0], folder)
    run = open_run(folder)
    gone = "quantized_pruned_model_50_dynamic.tflite"
    before = rows_of(folder)
    (folder / gone).unlink()
    variants = {file: v for file, v in run.record["variants"].items() if file != gone}
    run.save(state="running", variants=variants)
    words = [
        *TINY, "--prune", "--prune_start", "50", "--prune_increment", "50", "--prune_end", "50",
        "--prune_epochs", "0", "--quantize", "--quantize_pruned_models", "--output", str(folder),
        "--resume",
    ]  # fmt: skip
    assert main(words) == 0
    assert "Going on" in capsys.readouterr().out
    timed = {"latency_ms", "latency_low", "latency_high"}
    for variant, row in rows_of(folder).items():
        assert {k: v for k, v in row.items() if k not in timed} == {
            k: v for k, v in before[variant].items() if k not in timed
        }
    assert main([*words, "--seed", "1"]) == 2
    assert "seed" in capsys.readouterr().err


@pytest.mark.slow
def test_earlier_models_are_quantized_and_taken_over(
    digits_run: tuple[Path, str], tmp_path: Path
) -> None:
    from hsi.pipeline import generate

    earlier, _ = digits_run
    again = parse([
        "vgg11", "--quantize_folder", str(earlier), "--quantization", "float32",
        "--output", str(tmp_path / "quantized"),
    ])  # fmt: skip
    run = generate(again, say=nothing, finishing=False)
    rows = rows_of(run.folder)
    assert rows["quantized_float32"]["oa"] == rows_of(earlier)["trained"]["oa"]
    start = parse([*TINY, "--start_from", str(earlier), "--output", str(tmp_path / "started")])
    run = generate(start, say=nothing, finishing=False)
    taken = (run.folder / "trained_model.h5").read_bytes()
    assert taken == (earlier / "trained_model.h5").read_bytes()


# a user's own model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mine.h5", "mine.keras"])
def test_an_own_model_is_recorded_as_it_is_then_pruned_and_quantized(
    name: str, photos: Path, tmp_path: Path
) -> None:
    from hsi.models.files import load_model
    from hsi.pipeline import generate

    path = saved(tmp_path, (12, 12, 3), 2, name)
    settings = parse([
        "--model", str(path), "--dataset", f"folder:{photos}", "--scaling", "unit", "--prune",
        "--prune_start", "50", "--prune_increment", "50", "--prune_end", "50", "--prune_epochs",
        "1", "--quantize", "--output", str(tmp_path / "run"),
    ])  # fmt: skip
    run = generate(settings, say=nothing, finishing=False)
    x = open_image_set(f"folder:{photos}", size=12, preprocess="unit").images.gather(np.arange(20))
    kept = load_model(run.path("trained_model.h5"))
    np.testing.assert_allclose(
        kept(x).numpy(), load_model(path)(x).numpy(), rtol=1e-5, atol=1e-6
    )  # fmt: skip
    variants = run.record["variants"]
    assert variants["trained_model.h5"]["history"] == {}
    assert [v["row"]["variant"] for v in variants.values()] == [
        "trained", "pruned_50", "quantized_dynamic",
    ]  # fmt: skip
    rows = {v["row"]["variant"]: v["row"] for v in variants.values()}
    assert rows["pruned_50"]["parameters"] < rows["trained"]["parameters"]
    assert run.record["preparation"]["scaling"] == "unit"
    assert run.record["data"]["dataset"] == f"folder:{photos.resolve()}"


@pytest.mark.slow
def test_an_own_model_is_trained_on_where_epochs_are_asked_for(
    photos: Path, tmp_path: Path
) -> None:
    from hsi.models.files import load_model
    from hsi.pipeline import generate

    path = saved(tmp_path, (12, 12, 3), 2)
    words = ["--model", str(path), "--dataset", f"folder:{photos}", "--epochs", "1"]
    run = generate(parse([*words, "--output", str(tmp_path / "run")]), say=nothing, finishing=False)
    before, after = load_model(path), load_model(run.path("trained_model.h5"))
    assert not np.array_equal(before.get_weights()[0], after.get_weights()[0])
    assert len(run.record["variants"]["trained_model.h5"]["history"]["losses"]) == 1


def test_an_own_model_of_a_scene_says_the_patch_size(tmp_path: Path) -> None:
    import scipy.io
    from test_generate import make_scene

    from hsi.pipeline import generate

    cube, labels = make_scene()
    scene = tmp_path / "field.mat"
    scipy.io.savemat(scene, {"cube": cube, "labels": labels})
    path = saved(tmp_path, (3, 3, 12), 3)
    words = ["--model", str(path), "--dataset", f"{scene}:cube", "--labels", f"{scene}:labels"]
    run = generate(parse([*words, "--output", str(tmp_path / "run")]), say=nothing, finishing=False)
    assert run.record["split"]["patch_size"] == 3
    assert run.settings.epochs == 0


def test_own_models_that_do_not_fit_are_refused_before_anything_is_written(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"

    def refuse(path: Path, *more: str) -> str:
        words = ["--model", str(path), "--dataset", f"folder:{photos}", "--output", str(output)]
        line = one_line_error(capsys, main([*words, *more]))
        assert not output.exists()
        return line

    line = refuse(saved(tmp_path, (12, 12, 3), 5, "five.h5"))
    assert "5 classes" in line
    assert "has 2" in line
    import tf_keras as keras

    sigmoid = tmp_path / "sigmoid.h5"
    small_model(keras, (12, 12, 3), 2, last="sigmoid").save(sigmoid)
    assert "sigmoid" in refuse(sigmoid)
    code = tmp_path / "code.h5"
    x = keras.Input((12, 12, 3))
    flat = keras.layers.Flatten()(keras.layers.Lambda(lambda v: v * 2, name="doubled")(x))
    keras.Model(x, keras.layers.Dense(2, activation="softmax")(flat)).save(code)
    line = refuse(code)
    assert "'doubled'" in line
    assert "--trust" not in line


# patch networks on images, image networks on scenes


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        (["cao", "--dataset", "digits", "--image_size", "7"], (7, 7, 1)),
        (["vgg11", "--width", "0.1"], (9, 9, 12)),
    ],
)
def test_networks_of_the_other_kind_of_data(
    words: list[str], shape: tuple[int, int, int], tmp_path: Path
) -> None:
    """They open; building for such shapes is tested with the networks."""
    import scipy.io
    from test_generate import make_scene

    from hsi.pipeline.job import open_job

    if "--dataset" not in words:
        cube, labels = make_scene()
        path = tmp_path / "field.mat"
        scipy.io.savemat(path, {"cube": cube, "labels": labels})
        words = [*words, "--dataset", f"{path}:cube", "--labels", f"{path}:labels"]
    job = open_job(parse([*words, "--output", str(tmp_path / "run")]), say=nothing)
    assert job.samples.patches.shape == shape
    assert (job.augment is None) == (shape[2] == 12)


# options


def test_defaults_depend_on_the_data_and_the_model() -> None:
    scene, images = parse(["cao"]), parse(["densenet"])
    assert (scene.of_images, scene.train_fraction, scene.epochs) == (False, 0.1, 100)
    assert (images.of_images, images.train_fraction, images.epochs) == (True, 1.0, 100)
    own = parse(["--model", "x.h5", "--dataset", "CIFAR-10"])
    assert (own.of_images, own.epochs, own.network.name) == (True, 0, "x")
    assert not parse(["vgg11", "--dataset", "salinas_a"]).of_images


def test_augmentation_is_of_training_batches_and_can_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsi import train as module
    from hsi.pipeline.job import open_job
    from hsi.pipeline.training import fit_model

    asked = []

    def watch(*_: Any, augment: Any, **__: Any) -> module.History:
        asked.append(augment)
        return module.History((), (), (), (), 0)

    monkeypatch.setattr(module, "train", watch)
    for number, words in enumerate(([], ["--augment"], ["--no_augmentation"])):
        settings = parse([*TINY, *words, "--output", str(tmp_path / str(number))])
        job = open_job(settings, say=nothing)
        fit_model(job, None, epochs=1, learning_rate=1e-3, title="")
    assert callable(asked[0])
    assert callable(asked[1])
    assert asked[2] is None


def test_images_are_scaled_as_for_the_weights_unless_asked_otherwise() -> None:
    from hsi.pipeline.beginning import preprocess_of

    words = ["vgg16", "--dataset", "cifar10"]
    assert preprocess_of(parse(words), None) == "standard"
    assert preprocess_of(parse([*words, "--weights", "imagenet"]), None) == "caffe"
    chosen = parse([*words, "--weights", "imagenet", "--scaling", "unit"])
    assert preprocess_of(chosen, None) == "unit"
    grey = parse(["vgg16", "--dataset", "mnist", "--weights", "imagenet"])
    with pytest.raises(SettingsError, match="3 colour channels"):
        preprocess_of(grey, None)


def test_weights_come_from_a_model_of_the_same_layers(tmp_path: Path) -> None:
    from hsi.pipeline.beginning import beginning

    bare = parse(TINY)
    samples = open_image_set("digits")
    other = bare.network.build(samples.patches.shape, 4, seed=5, width=0.1)
    path = tmp_path / "other.h5"
    other.save(path)
    begun = beginning(parse([*TINY, "--weights", str(path)]), samples, say=nothing)
    assert begun is not None
    np.testing.assert_array_equal(begun.get_weights()[0], other.get_weights()[0])
    assert begun.output_shape == (None, 10)


def test_a_stored_division_must_be_the_same(tmp_path: Path) -> None:
    from dataclasses import replace

    from hsi.errors import DataError

    samples = open_image_set("digits")
    path = tmp_path / "split.npz"
    save_division(samples, path)
    check_same_division(samples, path)
    test = samples.part("test")
    fewer = {**samples.parts, "test": Part(test.pixels[1:], test.classes[1:])}
    with pytest.raises(DataError, match="start a new run"):
        check_same_division(replace(samples, parts=fewer), path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="damaged"):
        check_same_division(samples, path)


def test_criteria_look_at_training_images_alone() -> None:
    samples = open_image_set("digits")
    scored = samples.scored(seed=0)
    train = samples.part("train")
    assert len(scored.pixels) == min(5000, len(train.pixels))
    known = dict(zip(train.pixels.tolist(), train.classes.tolist(), strict=True))
    assert all(known[p] == c for p, c in zip(scored.pixels, scored.classes, strict=True))


# bad input

BAD: list[tuple[str, list[str]]] = [
    ("cao --dataset cifr10", ["cifr10", "Did you mean 'cifar10'?"]),
    ("vgg11 --dataset cifar10", ["cifar-10-binary.tar.gz", "https://", "{empty}"]),
    ("vgg11 --dataset folder:{empty}/none", ["{empty}/none"]),
    ("vgg11 --dataset folder:{empty}", ["folder for each class"]),
    ("vgg11 --patch_size 5", ["patch_size", "scene"]),
    ("vgg11 --dataset digits --split random --classes 1,2", ["classes, split", "scene"]),
    ("cao --dataset synthetic --image_size 32", ["image_size", "images"]),
    ("cao --dataset digits --image_size 4", ["5 or more", "4"]),
    ("cao --dataset digits --width 0.5", ["width", "vgg11"]),
    ("vgg11 --width 0", ["width", "above 0"]),
    ("vgg11 --image_size 0", ["image_size", "1 pixel"]),
    ("vgg11 --scaling minmax", ["minmax", "standard"]),
    ("vgg11 --scaling caffe", ["colour", "grey"]),
    ("vgg11 --weights imagenet", ["vgg11", "mobilenetv2"]),
    (
        "vgg16 --dataset folder:{photos} --weights imagenet",
        ["vgg16_weights", "https://", "{empty}"],
    ),
    ("vgg11 --weights {empty}/none.h5", ["none.h5", "imagenet"]),
    ("vgg11 --train_fraction 0", ["train_fraction"]),
    ("vgg11 --model {own} --dataset digits", ["vgg11", "both"]),
    ("--model {own}", ["--model FILE", "dataset"]),
    ("--model {empty}/no.h5 --dataset digits", ["no.h5"]),
    ("--model {own} --dataset digits", ["12 x 12 x 3", "12 x 12 x 1"]),
    ("--model {own} --dataset digits --image_size 8", ["image_size", "12 x 12 x 3", "8"]),
    ("--model {own} --dataset synthetic --patch_size 5", ["patch_size", "12 x 12 x 3"]),
    ("--model {own} --dataset digits --width 2", ["width"]),
    ("own", ["--model FILE"]),
]

RUN = """
import contextlib, io, json, sys
from hsi.cli.generate import main
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    print(json.dumps([code, err.getvalue(), "tensorflow" in sys.modules]))
"""


def test_bad_input_is_one_line_and_loads_no_tensorflow(
    photos: Path, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, output = tmp_path / "empty", tmp_path / "run"
    empty.mkdir()
    own = saved(tmp_path, (12, 12, 3), 10, "own.h5")
    names = {"empty": empty, "own": own, "photos": photos}
    monkeypatch.setenv("HSI_OFFLINE", "1")
    monkeypatch.setenv("HSI_DATASETS", str(empty))
    cases = [[*text.format(**names).split(), "--output", str(output)] for text, _ in BAD]
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps(cases), capture_output=True, text=True,
        cwd=root, check=True,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(BAD)
    for (text, words), (code, error, loaded) in zip(BAD, answers, strict=True):
        assert code == 2, text
        assert len(error.strip().splitlines()) == 1, (text, error)
        assert not loaded, text
        for word in words:
            assert word.format(**names) in error, (text, error)
    assert not output.exists()


def test_the_help_names_the_image_sets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for word in ("imagenette", "folder:PATH", "--no_augmentation", "--weights", "--model"):
        assert word in text
