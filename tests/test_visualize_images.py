"""`visualization.py` beside a run on images: what it takes, shows and refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from looking import look, refused

from hsi.cli.generate import parse
from hsi.image_sets import open_image_set
from hsi.runs import Run

TFLITE = "quantized_model_int8.tflite"
PRUNED = "trained_pruned_model_50.h5"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on the digits of a network that was not trained, with all its variants."""
    import tf_keras as keras

    from hsi.pipeline import generate

    folder = tmp_path_factory.mktemp("images")
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="first"),
            keras.layers.Conv2D(6, 3, activation="relu", name="second"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax", name="answer"),
        ]
    )
    model.save(folder / "mine.h5")
    settings = parse([
        "--model", str(folder / "mine.h5"), "--dataset", "digits", "--prune", "--prune_start", "50",
        "--prune_increment", "50", "--prune_end", "50", "--prune_epochs", "0", "--quantize",
        "--quantization", "int8", "--output", str(folder / "run"),
    ])  # fmt: skip
    return generate(settings, say=lambda line: None, finishing=False)


@pytest.fixture(scope="module")
def samples():
    return open_image_set("digits")


def arrays_of(run: Run, file: str, method: str, folder: Path, *more: str) -> dict[str, np.ndarray]:
    path = folder / f"{method}.npz"
    assert look(run.path(file), method, "--output", path, *more) == 0
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def test_a_model_beside_its_run_needs_no_option(run, samples, capsys, figures) -> None:
    assert look(run.path("trained_model.h5"), "gradcam") == 0
    said = capsys.readouterr().out
    assert said.count("Sample ") == 3
    assert "(test)" in said
    figure = figures["gradcam_overlay.png"]
    shown = [image.get_array() for axes in figure.axes for image in axes.images]
    test = samples.images.decoded(samples.part("test").pixels)[..., 0] / 255
    photographs = [np.asarray(array)[..., 0] for array in shown[:3]]
    for photograph in photographs:
        assert (np.abs(test - photograph).max(axis=(1, 2)) < 1e-6).any()
    note = " ".join(text.get_text() for text in figure.texts)
    assert "exact copy in training" in " ".join(note.split())
    assert (run.folder / "figures" / "trained_model" / "gradcam_overlay.png").is_file()


@pytest.mark.parametrize("file", ["trained_model.h5", PRUNED, TFLITE])
def test_every_variant_is_given_test_images_prepared_as_in_training(
    run, samples, tmp_path: Path, file: str
) -> None:
    found = arrays_of(run, file, "gradient", tmp_path, "--samples", "5")
    numbers = np.array([int(name.split()[1]) for name in found["names"]])
    assert len(set(numbers.tolist())) == 5
    assert set(numbers) <= set(samples.part("test").pixels)
    train = samples.images.decoded(samples.part("train").pixels).astype(float)
    scaled = (samples.images.decoded(numbers) - train.mean()) / train.std()
    np.testing.assert_allclose(found["inputs"], scaled, atol=1e-5)
    test = samples.part("test")
    truth = dict(zip(test.pixels.tolist(), test.classes.tolist(), strict=True))
    assert found["true_classes"].tolist() == [truth[n] for n in numbers]
    assert found["attributions"].shape == (5, 8, 8, 1)
    assert np.isnan(found["wavelengths"]).all()


def test_a_photograph_is_prepared_and_named_as_in_training(
    run, samples, tmp_path: Path, capsys
) -> None:
    """An image of the set, from a file of its own, is the image of the set."""
    from PIL import Image

    number = int(samples.part("test").pixels[5])
    grey = samples.images.decoded([number])[0, ..., 0]
    file = tmp_path / "photo.png"
    Image.fromarray(grey).save(file)
    for name in ("trained_model.h5", TFLITE):
        found = arrays_of(run, name, "gradient", tmp_path, "--image", str(file))
        wanted = samples.images.gather(np.array([number]))
        np.testing.assert_allclose(found["inputs"], wanted, atol=1e-6)
    given = arrays_of(
        run, "trained_model.h5", "gradient", tmp_path, "--image", str(file), "--preprocess", "unit"
    )
    np.testing.assert_allclose(given["inputs"][0, ..., 0], grey / 255, atol=1e-6)
    capsys.readouterr()
    output = ("--output", tmp_path / "figures")
    look(run.path("trained_model.h5"), "gradient", "--image", str(file), "--class", "7", *output)
    assert "logit of 7 " in capsys.readouterr().out  # its name alone, as in the run


def test_models_of_several_scalings_do_not_take_one_photograph(
    run, samples, tmp_path: Path, capsys
) -> None:
    import shutil

    from PIL import Image

    from hsi.image_sets import ImageScaling, save_scaling

    other = tmp_path / "other"
    shutil.copytree(run.folder, other)
    save_scaling(ImageScaling("unit"), other / "preparation.npz")
    file = tmp_path / "photo.png"
    Image.fromarray(samples.images.decoded([3])[0, ..., 0]).save(file)
    files = (run.path("trained_model.h5"), other / "trained_model.h5")
    assert look(*files, "gradient", "--image", file, "--output", tmp_path) == 2
    assert "scaled otherwise" in capsys.readouterr().err
    more = ("--image", file, "--preprocess", "unit", "--output", tmp_path)
    assert look(*files, "gradient", *more) == 0


def test_the_gradient_of_an_image_is_that_of_the_network(run, tmp_path: Path) -> None:
    import tensorflow as tf
    import tf_keras as keras

    found = arrays_of(run, "trained_model.h5", "gradient", tmp_path, "--class", "7")
    model = keras.models.load_model(run.path("trained_model.h5"), compile=False)
    model.layers[-1].activation = keras.activations.linear
    x = tf.constant(found["inputs"])
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = model(x)[:, 7]
    np.testing.assert_allclose(found["attributions"], tape.gradient(score, x), atol=1e-5)
    assert (found["classes"] == 7).all()


def test_variants_of_one_run_are_compared_and_those_of_others_refused(
    run, tmp_path: Path, capsys
) -> None:
    import shutil

    files = [run.path("trained_model.h5"), run.path(PRUNED)]
    assert look(*files, "gradient", "--output", tmp_path) == 0
    assert (tmp_path / "gradient_overlay.png").is_file()
    other = tmp_path / "other"
    shutil.copytree(run.folder, other)
    changed = dict(np.load(other / "preparation.npz", allow_pickle=False))
    changed["mean"] = changed["mean"] + 1
    np.savez(other / "preparation.npz", **changed)
    capsys.readouterr()
    assert look(files[0], other / PRUNED, "gradient", "--output", tmp_path) == 2
    assert "another scaling" in capsys.readouterr().err


def test_misclassified_images_are_those_that_the_network_gets_wrong(
    run, samples, tmp_path: Path, capsys, figures
) -> None:
    import tf_keras as keras

    model = keras.models.load_model(run.path("trained_model.h5"), compile=False)
    test = samples.part("test")
    wrong = model(samples.images.gather(test.pixels)).numpy().argmax(1) != test.classes
    found = arrays_of(run, "trained_model.h5", "misclassified", tmp_path)
    assert f"{wrong.sum()} of 359 test images are misclassified" in capsys.readouterr().out
    assert set(found["images"]) <= set(test.pixels[wrong])
    assert (found["true_classes"] != found["predicted_classes"]).all()
    assert look(run.path(TFLITE), "misclassified", "--output", tmp_path) == 0
    title = figures["misclassified.png"].get_suptitle()
    assert "true → predicted" in title


def test_filters_activations_and_smoothed_maps_work_on_images(run, tmp_path: Path) -> None:
    for words in (
        ["filters"],
        ["activation_map", "--layer", "second"],
        ["smoothgrad", "--smooth_samples", "2", "--samples", "1"],
        ["integrated_gradient", "--baseline", "mean", "--samples", "1"],
    ):
        assert look(run.path("trained_model.h5"), *words, "--output", tmp_path / words[0]) == 0
        assert list((tmp_path / words[0]).iterdir())


def test_without_a_run_the_set_is_named(run, tmp_path: Path, capsys) -> None:
    import shutil

    alone = tmp_path / "alone.h5"
    shutil.copy(run.path("trained_model.h5"), alone)
    more = ("--dataset", "digits", "--format", "npz", "--output", tmp_path)
    assert look(alone, "gradient", *more) == 0
    assert "no run.json" in capsys.readouterr().out
    with np.load(tmp_path / "gradient.npz") as mine:
        beside = arrays_of(run, "trained_model.h5", "gradient", tmp_path / "beside")
        np.testing.assert_array_equal(mine["attributions"], beside["attributions"])


def test_bad_requests_are_one_line_and_load_no_tensorflow(run, root: Path, tmp_path: Path) -> None:
    import shutil

    alone = tmp_path / "alone.h5"
    shutil.copy(run.path("trained_model.h5"), alone)
    model = run.path("trained_model.h5")
    cases = {
        f"{model} gradient --pixel 1,2": ["pixel", "--samples"],
        f"{model} gradient --views scene": ["scene", "digits"],
        f"{model} gradient --class 77": ["77", "digits", "0, 1, 2"],
        f"{model} gradient --image_size 9": ["image_size", "9"],
        f"{model} gradient --dataset mnist": ["mnist", "digits"],
        f"{alone} gradient --dataset digits --image_size 9": ["9 x 9 x 1", "8 x 8 x 1"],
        f"{alone} gradient --dataset digit": ["Did you mean 'digits'?"],
    }
    for (text, words), answer in zip(cases.items(), refused(list(cases), root), strict=True):
        code, error, loaded = answer
        assert code == 2, text
        assert len(error.strip().splitlines()) == 1, (text, error)
        assert not loaded, text
        for word in words:
            assert word in error, (text, error)
