"""`visualization.py`: what it finds, what it writes, and what it refuses, on a small scene."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from looking import look, refused

from hsi.cli.visualize import parse
from hsi.compare.explained import training_ranges
from hsi.errors import ModelError, SettingsError
from hsi.pipeline import generate
from hsi.pipeline.job import TRAINED, open_job
from hsi.settings import Settings
from hsi.views import visualize
from hsi.views.choose import choose
from hsi.views.locate import locate
from hsi.views.request import Request
from hsi.views.subject import open_scene_subject

ROWS, COLS, BANDS = 20, 22, 12
NUMBERS = (2, 5, 9)
"""Published numbers of the classes: not 1, 2, 3, so that an index cannot pass for one."""


def nothing(line):
    pass


@pytest.fixture(scope="module")
def scene_files(tmp_path_factory):
    """Three classes in vertical stripes, each with a spectrum of its own, and unlabelled rows."""
    folder = tmp_path_factory.mktemp("scene")
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array(NUMBERS), [8, 7, 7])[None].repeat(ROWS, axis=0)
    labels[::6] = 0
    spectra = rng.uniform(100, 900, (3, BANDS))
    which = np.repeat(np.arange(3), [8, 7, 7])[None].repeat(ROWS, axis=0)
    cube = spectra[which] + rng.normal(0, 15, (ROWS, COLS, BANDS))
    np.save(folder / "cube.npy", cube.round().astype(np.uint16))
    np.save(folder / "labels.npy", labels)
    return folder


def settings_for(scene_files, **options):
    return Settings(
        "cao",
        dataset=str(scene_files / "cube.npy"),
        labels=str(scene_files / "labels.npy"),
        split="random",
        train_fraction=0.3,
        **options,
    )


def make_run(settings, folder):
    """A run whose model is not trained: its data, split and preparation are real."""
    from hsi.models.files import save_model

    job = open_job(replace(settings, output=str(folder)), say=nothing)
    model = job.network.build(job.samples.patches.shape, job.classes, seed=1)
    save_model(model, job.run.path(TRAINED))
    return folder


@pytest.fixture(scope="module")
def run(scene_files, tmp_path_factory):
    return make_run(settings_for(scene_files), tmp_path_factory.mktemp("bands") / "run")


@pytest.fixture(scope="module")
def pca_run(scene_files, tmp_path_factory):
    settings = settings_for(scene_files, band_selection="PCA", components=4)
    return make_run(settings, tmp_path_factory.mktemp("pca") / "run")


@pytest.fixture(scope="module")
def nmf_run(scene_files, tmp_path_factory):
    settings = settings_for(scene_files, band_selection="NMF", components=3)
    return make_run(settings, tmp_path_factory.mktemp("nmf") / "run")


def located(file, **options):
    return locate(str(file), Request((str(file),), "gradient", **options))


def subject_of(folder, space="bands"):
    request = Request((str(folder / TRAINED),), "gradient", space=space)
    return open_scene_subject(request, located(folder / TRAINED), say=nothing)


# The two spellings


def test_the_model_name_is_optional_and_options_stand_anywhere():
    request, opened = parse(["model.h5", "gradient"])
    assert (request.files, request.method, request.model) == (("model.h5",), "gradient", None)
    assert not opened
    assert (request.count, request.format, dict(request.data)) == (3, "png", {})
    text = (
        "cao trained_pruned_model_20.h5 activation_map --band_selection NMF --components 100 "
        "--from_band 30 --to_band 90 --step_band 10"
    )
    reference = text.split()
    request, _ = parse(reference)
    assert (request.model, request.files) == ("cao", ("trained_pruned_model_20.h5",))
    assert request.method == "activation_map"
    assert request.data == {"band_selection": "NMF", "components": 100}
    assert (request.from_band, request.to_band, request.step_band) == (30, 90, 10)
    assert request.count == 1
    mixed = [*reference[3:7], *reference[:2], *reference[7:], reference[2]]
    assert parse(mixed)[0] == request


def test_pixels_and_layers_may_be_repeated_or_listed():
    text = "m.h5 activation_map --pixel 1,2;3,4 --pixel 5,6 --layer a,b --layer c --show_images"
    request, opened = parse(text.split())
    assert request.pixels == ((1, 2), (3, 4), (5, 6))
    assert request.layers == ("a", "b", "c")
    assert opened


def test_a_configuration_file_is_read_under_the_command_line(tmp_path):
    config = tmp_path / "look.json"
    config.write_text(
        json.dumps({"model": "cao", "epochs": 7, "samples": 5, "seed": 3, "components": 4,
                    "band_selection": "PCA", "pixel": None}),
        encoding="utf-8",
    )  # fmt: skip
    request, _ = parse(["m.h5", "gradient", "--config", str(config), "--seed", "4"])
    assert (request.model, request.samples, request.seed) == ("cao", 5, 4)
    assert request.data == {"band_selection": "PCA", "components": 4}
    config.write_text('{"sample": 5}', encoding="utf-8")
    with pytest.raises(SettingsError, match="'samples'"):
        parse(["m.h5", "gradient", "--config", str(config)])


# Finding the file


@pytest.fixture
def outputs(tmp_path, monkeypatch, scene_files):
    """A project with three runs, the newest of which has another reducer than the others."""
    monkeypatch.chdir(tmp_path)
    asked = (
        ("old", {"band_selection": "NMF", "components": 3}),
        ("middle", {"band_selection": "NMF", "components": 2}),
        ("new", {}),
    )
    for age, (name, options) in enumerate(asked):
        folder = make_run(settings_for(scene_files, **options), Path("outputs") / name)
        os.utime(folder / "run.json", (1000 + age, 1000 + age))
    (Path("outputs") / "new" / TRAINED).rename(Path("outputs") / "new" / "other.h5")
    (Path("outputs") / "broken").mkdir()
    (Path("outputs") / "broken" / "run.json").write_text("{", encoding="utf-8")
    return tmp_path


def test_a_bare_name_is_found_in_the_newest_run_that_agrees(outputs):
    found = located(TRAINED)
    assert found.path == Path("outputs/middle") / TRAINED
    assert "outputs/middle" in found.notes[0]
    found = located(TRAINED, data={"components": 3})
    assert found.path == Path("outputs/old") / TRAINED
    found = located("other.h5", model="cao")
    assert found.path == Path("outputs/new/other.h5")
    Path(TRAINED).write_bytes((Path("outputs/old") / TRAINED).read_bytes())
    found = located(TRAINED)
    assert (found.path, found.run, found.notes) == (Path(TRAINED), None, ())


def test_a_bare_name_that_no_run_has_names_what_there_is(outputs):
    with pytest.raises(ModelError, match=r"model\.h5: .*outputs/new, has other\.h5"):
        located("model.h5")
    with pytest.raises(SettingsError, match=r"components 2, the command says 7"):
        located(TRAINED, data={"components": 7})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "vgg"}, "model cao, the command says vgg"),
        ({"data": {"band_selection": "PCA"}}, "band_selection none, the command says PCA"),
        ({"data": {"dataset": "salinas_a"}}, r"cube\.npy, the command says salinas_a"),
        ({"data": {"classes": ("2", "5")}}, "classes none, the command says 2,5"),
        ({"data": {"patch_size": 7}}, "the command says 7"),
    ],
)
def test_options_that_contradict_the_run_are_refused_with_both(run, options, said):
    with pytest.raises(SettingsError, match=said):
        located(run / TRAINED, **options)


def test_options_that_agree_with_the_run_are_taken(run, scene_files, monkeypatch):
    monkeypatch.chdir(scene_files)
    data = {"dataset": "cube.npy", "split": "random", "patch_size": 5, "train_fraction": 0.3}
    found = located(run / TRAINED, model="cao", data=data)
    assert found.run is not None
    assert found.input_shape == (5, 5, BANDS)


# Samples


def linear_score(samples):
    """A network whose logits tell the classes of the stripes apart without error."""
    import tensorflow as tf

    pixels = np.flatnonzero(samples.scene.labels)
    spectra = samples.patches.gather(pixels)[:, 2, 2]
    index = samples.scene.class_indices().ravel()[pixels]
    means = np.stack([spectra[index == i].mean(axis=0) for i in range(3)])
    weights = tf.constant(2 * means.T)
    bias = tf.constant(-(means**2).sum(axis=1))
    return lambda x: tf.cast(x, tf.float32)[:, 2, 2] @ weights + bias


def test_rightly_classified_test_pixels_are_chosen_from_every_class(run):
    samples = subject_of(run).samples
    options = {"pixels": (), "klass": None, "batch_size": 64}
    model = linear_score(samples)
    chosen = choose(model, samples, count=3, seed=0, **options)
    assert samples.split.test.ravel()[chosen.keys].all()
    np.testing.assert_array_equal(chosen.true, chosen.predicted)
    assert sorted(chosen.true) == [0, 1, 2]
    assert chosen.notes == ()
    again = choose(model, samples, count=3, seed=0, **options)
    np.testing.assert_array_equal(chosen.keys, again.keys)
    other = choose(model, samples, count=3, seed=1, **options)
    assert not np.array_equal(chosen.keys, other.keys)
    many = choose(model, samples, count=7, seed=0, **options)
    assert sorted(np.bincount(many.true)) == [2, 2, 3]
    assert len(set(many.keys)) == 7
    one = choose(model, samples, count=2, seed=0, **{**options, "klass": 1})
    assert list(one.true) == [1, 1]


def test_a_network_that_is_never_right_is_shown_with_a_note(run):
    samples = subject_of(run).samples
    good = linear_score(samples)
    options = {"pixels": (), "klass": None, "batch_size": 64, "count": 3, "seed": 0}
    wrong = choose(lambda x: -good(x), samples, **options)
    assert len(wrong.keys) == 3
    assert (wrong.true != wrong.predicted).all()
    assert "rightly" in wrong.notes[0]


def test_the_explained_class_has_its_own_logit(run):
    samples = subject_of(run).samples
    model = linear_score(samples)
    pixels = ((0, 0), (4, 9))
    chosen = choose(model, samples, pixels=pixels, count=1, klass=2, seed=0, batch_size=1)
    assert list(chosen.keys) == [0, 4 * COLS + 9]
    assert list(chosen.true) == [-1, 1]
    np.testing.assert_allclose(chosen.scores, model(chosen.inputs).numpy()[:, 2], rtol=1e-5)
    assert list(chosen.explained) == [2, 2]
    np.testing.assert_array_equal(chosen.predicted, model(chosen.inputs).numpy().argmax(axis=1))


def ranges_of(samples):
    return training_ranges(samples, samples.patches, seed=0)


def test_the_range_of_a_channel_is_that_of_all_training_patches(run):
    samples = subject_of(run).samples
    patches = samples.patches.gather(samples.part("train").pixels).reshape(-1, BANDS)
    np.testing.assert_array_equal(ranges_of(samples), patches.max(axis=0) - patches.min(axis=0))


# Back to bands


def test_patches_of_bands_are_what_the_network_takes_without_a_reducer(run, pca_run):
    subject = subject_of(run)
    every = np.arange(ROWS * COLS)
    np.testing.assert_array_equal(subject.shown(every), subject.own(every))
    reduced = subject_of(pca_run)
    some = np.array([0, 21, 230, ROWS * COLS - 1])
    scaled = reduced.shown(some).astype(np.float64)
    fitted = reduced.samples.preparation
    weights = (scaled - fitted.mean) @ fitted.components.T
    np.testing.assert_allclose(
        (weights - fitted.out_offset) / fitted.out_scale, reduced.own(some), atol=1e-4
    )
    components = subject_of(pca_run, space="components")
    np.testing.assert_array_equal(components.shown(some), components.own(some))


def test_counts_are_those_of_the_sensor(run):
    subject = subject_of(run, space="counts")
    key = 7 * COLS + 9
    patch = subject.shown(np.array([key]))[0]
    np.testing.assert_array_equal(patch, subject.scene.cube[5:10, 7:12])


# What is written


def test_the_arrays_are_those_of_the_method_on_the_same_patches(run, tmp_path):
    from hsi import explain
    from hsi.models.files import load_model

    file = tmp_path / "arrays.npz"
    assert (
        look(run / TRAINED, "gradient", "--pixel", "0,0;4,9", "--class", 5, "--output", file) == 0
    )
    with np.load(file, allow_pickle=False) as stored:
        found = dict(stored)
    samples = subject_of(run).samples
    pixels = np.array([0, 4 * COLS + 9])
    inputs = samples.patches.gather(pixels)
    np.testing.assert_array_equal(found["inputs"], inputs)
    model = load_model(run / TRAINED)
    expected = explain.attribute("gradient", model, inputs, classes=1)
    np.testing.assert_allclose(found["attributions"], expected.maps, rtol=1e-5, atol=1e-7)
    smooth = explain.attribute("smoothgrad", model, inputs, classes=1, ranges=ranges_of(samples))
    np.testing.assert_allclose(found["attributions_smoothgrad"], smooth.maps, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["scores"], expected.scores, rtol=1e-5)
    assert list(found["classes"]) == [5, 5]
    assert list(found["true_classes"]) == [0, 5]
    assert found["pixels"].tolist() == [[0, 0], [4, 9]]
    assert str(found["method"]) == "gradient"
    assert list(found["bands"]) == list(range(1, BANDS + 1))
    assert np.isnan(found["wavelengths"]).all()
    assert "attributions_components" not in found


def test_the_arrays_with_pca_are_in_bands_and_in_components(pca_run, tmp_path):
    file = tmp_path / "arrays.npz"
    assert look(pca_run / TRAINED, "gradient", "--pixel", "3,3", "--output", file) == 0
    with np.load(file, allow_pickle=False) as stored:
        found = dict(stored)
    fitted = subject_of(pca_run).samples.preparation
    assert found["inputs"].shape == found["attributions"].shape == (1, 5, 5, BANDS)
    assert (
        found["attributions_components"].shape == found["inputs_components"].shape == (1, 5, 5, 4)
    )
    expected = found["attributions_components"] / fitted.out_scale @ fitted.components
    np.testing.assert_allclose(found["attributions"], expected, rtol=1e-4, atol=1e-6)
    assert found["attributions"].any()


@pytest.mark.parametrize("method", ["gradient", "integrated_gradient", "spectral_occlusion"])
def test_the_arrays_with_nmf_are_in_bands_too(nmf_run, tmp_path, method):
    file = tmp_path / "arrays.npz"
    assert look(nmf_run / TRAINED, method, "--pixel", "3,3", "--output", file) == 0
    with np.load(file, allow_pickle=False) as stored:
        assert stored["attributions"].shape == stored["inputs"].shape == (1, 5, 5, BANDS)
        assert stored["attributions"].any()
        assert stored["attributions_components"].shape == (1, 5, 5, 3)


def test_component_space_remains(pca_run, tmp_path):
    file = tmp_path / "arrays.npz"
    options = ("--pixel", "3,3", "--space", "components", "--output", file)
    assert look(pca_run / TRAINED, "integrated_gradient", *options) == 0
    with np.load(file, allow_pickle=False) as stored:
        assert stored["attributions"].shape == (1, 5, 5, 4)
        np.testing.assert_array_equal(stored["attributions"], stored["attributions_components"])
        assert np.isnan(stored["wavelengths"]).all()


def test_a_tile_shows_the_band_that_its_title_names(run, tmp_path, figures, capsys):
    arguments = ["--pixel", "4,9", "--from_band", 3, "--to_band", 11, "--step_band", 4]
    assert look(run / TRAINED, "gradient", *arguments, "--output", tmp_path) == 0
    file = tmp_path / "gradient_4_9.png"
    assert file.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"Written: {file}"
    assert any("pixel 4,9" in line and "class 5 " in line for line in printed)
    assert look(run / TRAINED, "gradient", *arguments, "--output", tmp_path / "a.npz") == 0
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        of_row = {
            "input": stored["inputs"][0],
            "gradient": stored["attributions"][0],
            "SmoothGrad": stored["attributions_smoothgrad"][0],
        }
    shown = set()
    for axes in figures[file.name].findobj(lambda o: hasattr(o, "images") and o.images):
        row, name = axes.get_label().split(": ")
        number = int(name.removeprefix("band "))
        np.testing.assert_allclose(
            np.asarray(axes.images[0].get_array()), of_row[row][..., number - 1], rtol=1e-5
        )
        shown.add((row, number))
    assert shown == {(row, number) for row in of_row for number in (3, 7, 11)}


def test_reduced_bands_are_called_components(pca_run, tmp_path, figures):
    options = ("--pixel", "4,9", "--space", "components", "--output", tmp_path)
    assert look(pca_run / TRAINED, "gradient", *options) == 0
    (figure,) = figures.values()
    names = {
        axes.get_label().split(": ")[1]
        for axes in figure.findobj(lambda o: hasattr(o, "images") and o.images)
    }
    assert names == {f"component {k}" for k in range(1, 5)}


@pytest.mark.slow
def test_activation_maps_go_into_the_run_one_figure_a_layer(run, figures, capsys):
    assert look("cao", run / TRAINED, "activation_map", "--pixel", "4,9", "--format", "svg") == 0
    folder = run / "figures" / "trained_model"
    names = ["00_input", "01_conv_1", "02_conv_2", "03_dense_1", "04_dense_2", "05_scores"]
    wanted = [f"activation_map_4_9_{name}.svg" for name in names]
    assert sorted(p.name for p in folder.iterdir()) == wanted == sorted(figures)
    assert "conv_1 (Conv2D): 300 channels" in capsys.readouterr().out
    scores = figures[wanted[-1]].axes[0]
    assert [t.get_text() for t in scores.get_xticklabels()] == [f"{n} class {n}" for n in NUMBERS]


def test_the_arrays_of_layers(run, tmp_path):
    from hsi.models.files import load_model

    file = tmp_path / "layers.npz"
    arguments = ("--layer", "scores,conv_1", "--pixel", "4,9", "--output", file)
    assert look(run / TRAINED, "activation_map", *arguments) == 0
    with np.load(file, allow_pickle=False) as stored:
        assert list(stored["layers"]) == ["scores", "conv_1"]
        output = load_model(run / TRAINED)(stored["inputs"]).numpy()
        np.testing.assert_allclose(stored["activations_0"], output, rtol=1e-5)
        assert stored["activations_1"].shape == (1, 3, 3, 300)


def test_without_a_run_the_preparation_is_fitted_anew(run, scene_files, tmp_path, capsys):
    model = tmp_path / "mine.h5"
    model.write_bytes((run / TRAINED).read_bytes())
    data = ["--dataset", scene_files / "cube.npy", "--labels", scene_files / "labels.npy"]
    data += ["--split", "random", "--train_fraction", 0.3]
    for file, more in ((run / TRAINED, []), (model, data)):
        arguments = ["--pixel", "4,9", "--output", tmp_path / f"{file.stem}.npz", *more]
        assert look(file, "gradient", *arguments) == 0
    assert "no run.json" in capsys.readouterr().out
    with np.load(tmp_path / "mine.npz") as mine, np.load(tmp_path / "trained_model.npz") as known:
        np.testing.assert_array_equal(mine["inputs"], known["inputs"])
        np.testing.assert_allclose(mine["attributions"], known["attributions"], rtol=1e-5)


@pytest.mark.slow
def test_the_synthetic_scene_is_named_on_the_first_line_and_in_the_figure(
    tmp_path, figures, capsys
):
    from hsi.plots import SYNTHETIC_NOTE

    folder = make_run(Settings("cao", dataset="synthetic"), tmp_path / "run")
    assert look(folder / TRAINED, "gradient", "--pixel", "3,3") == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("SYNTHETIC")
    (figure,) = figures.values()
    assert SYNTHETIC_NOTE in figure.get_supxlabel()


@pytest.mark.slow
def test_a_trained_and_a_pruned_model_of_a_real_run(scene_files, tmp_path, monkeypatch, capsys):
    """The whole way of a user: generate, then both spellings with bare names."""
    monkeypatch.chdir(tmp_path)
    settings = settings_for(
        scene_files, epochs=2, prune=True, prune_increment=20, prune_end=20, prune_epochs=1
    )
    run = generate(settings, say=nothing)
    capsys.readouterr()
    assert look("trained_model.h5", "gradient") == 0
    printed = capsys.readouterr().out
    assert f"{run.folder}/trained_model.h5" in printed.splitlines()[0]
    assert printed.count("predicted right") == 3
    assert len(list((run.folder / "figures" / "trained_model").glob("gradient_*.png"))) == 3
    pruned = ("cao", "trained_pruned_model_20.h5", "activation_map", "--layer", "conv_1")
    assert look(*pruned, "--format", "npz") == 0
    with np.load(
        run.folder / "figures" / "trained_pruned_model_20" / "activation_map.npz"
    ) as stored:
        assert stored["activations_0"].shape[-1] < 300


# What is refused


@pytest.fixture(scope="module")
def odd_models(tmp_path_factory):
    """Files that are no models, or models that do not fit."""
    import tf_keras as keras

    folder = tmp_path_factory.mktemp("odd")
    (folder / "bytes.h5").write_bytes(np.random.default_rng(0).bytes(5000))
    with h5py.File(folder / "data.h5", "w") as file:
        file["cube"] = np.zeros((3, 3))

    def save(name, shape, classes, *extra):
        model = keras.Sequential(
            [keras.Input(shape), *extra, keras.layers.Flatten(), keras.layers.Dense(classes)]
        )
        model.save(folder / name, save_format="h5")

    save("lambda.h5", (5, 5, BANDS), 3, keras.layers.Lambda(lambda x: x * 2))
    save("even.h5", (4, 4, BANDS), 3)
    save("bands.h5", (5, 5, BANDS + 3), 3)
    save("classes.h5", (5, 5, BANDS), 7)
    save("image.h5", (32, 32, 3), 3)
    return folder


# Methods of other kinds


def test_class_images_and_a_named_layer_are_drawn(run, tmp_path, capsys):
    assert look(run / TRAINED, "class_image", "--class", 5, "--output", tmp_path) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["class_image_class5.png"]
    written = tmp_path / "images.npz"
    assert look(run / TRAINED, "class_image", "--output", written) == 0
    with np.load(written) as arrays:
        assert arrays["images"].shape == (3, 5, 5, BANDS)
        assert tuple(arrays["image_classes"]) == NUMBERS
        assert (arrays["image_scores"] > arrays["start_scores"]).all()
    capsys.readouterr()
    options = ("--layer", "conv_2", "--samples", 1, "--output", tmp_path / "cam.png")
    assert look(run / TRAINED, "gradcam", *options) == 0
    assert "the map of layer conv_2 is 1 x 1" in capsys.readouterr().out


@pytest.fixture(scope="module")
def places(run, pca_run, odd_models, scene_files):
    return {
        "run": run / TRAINED,
        "pca": pca_run / TRAINED,
        "odd": odd_models,
        "data": f"--dataset {scene_files}/cube.npy --labels {scene_files}/labels.npy",
    }


REFUSED = {
    "nothing": ("", "expected [MODEL] FILE [FILE ...] METHOD"),
    "no method": ("cao {run}", "expected [MODEL] FILE [FILE ...] METHOD"),
    "unknown method": ("{run} gradiant", "Did you mean 'gradient'?"),
    "unknown model": ("caro {run} gradient", "Did you mean 'cao'?"),
    "unknown option": ("{run} gradient --from_bands 3", "did you mean --from_band?"),
    "missing file": ("{odd}/absent.h5 gradient", "no such model file"),
    "folder": ("{odd} gradient", "got a folder"),
    "random bytes": ("{odd}/bytes.h5 gradient", "damaged or something else"),
    "no model": ("{odd}/data.h5 gradient", "no Keras model"),
    "Lambda": ("{odd}/lambda.h5 gradient {data}", "is a Lambda"),
    "even patch": ("{odd}/even.h5 gradient {data}", "odd side, it takes 4 x 4 x 12"),
    "band count": ("{odd}/bands.h5 gradient {data}", "takes 15 channels, cube has 12 bands"),
    "components": ("{odd}/bands.h5 gradient {data} --band_selection PCA --components 4",
                   "takes 15 channels, the preparation gives 4 components"),
    "patch of the scene": ("{odd}/image.h5 gradient {data}", "square patches with an odd side"),
    "patch option": ("{odd}/bands.h5 gradient {data} --patch_size 7", "5 x 5 pixels, --patch_size"),
    "even option": ("{odd}/bands.h5 gradient {data} --patch_size 4", "expected an odd number"),
    "no run": ("{odd}/classes.h5 gradient", "no run.json beside it"),
    "pixel off": ("{run} gradient --pixel 3,22", "rows 0 to 19 and columns 0 to 21"),
    "no pixel": ("{run} gradient --pixel 3", "expected row,col"),
    "class": ("{run} gradient --class 3", "it has 2 class 2, 5 class 5, 9 class 9"),
    "bands": ("{run} gradient --to_band 13", "expected a band from 1 to 12, got 13"),
    "components off": ("{pca} gradient --space components --to_band 5",
                       "expected a component from 1 to 4, got 5"),
    "band order": ("{run} gradient --from_band 5 --to_band 4", "the first not above the last"),
    "step": ("{run} gradient --step_band 0", "expected 1 or more, got 0"),
    "samples": ("{run} gradient --samples 0", "expected 1 or more, got 0"),
    "pixel or samples": ("{run} gradient --samples 2 --pixel 3,3", "not both"),
    "pixel of the model": ("{run} misclassified --pixel 3,3", "of no pixel that is named"),
    "layer of an input": ("{run} gradient --layer conv_1", "expected with activation_map"),
    "layers": ("{run} gradcam --layer conv_1,conv_2", "looks at one layer, got 2"),
    "noise of a layer": ("{run} activation_map --noise 0.1", "expected with gradient"),
    "format": ("{run} gradient --format gif", "invalid choice: 'gif'"),
    "two formats": ("{run} gradient --format svg --output x.png", "not a .svg file"),
    "contradiction": ("{run} gradient --split blocks", "split random, the command says blocks"),
    "output": ("{run} gradient --output {run}/figures", "is not a folder"),
}  # fmt: skip


@pytest.fixture(scope="module")
def refusals(places, root):
    """Every case of `REFUSED` in one process that has not loaded TensorFlow."""
    cases = [text.format(**places) for text, _ in REFUSED.values()]
    return dict(zip(REFUSED, refused(cases, root), strict=True))


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_line_and_exit_code_2_without_tensorflow(case, refusals):
    code, errors, loaded = refusals[case]
    assert code == 2
    assert REFUSED[case][1] in errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert not loaded


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{run} activation_map --layer conv1", "conv_1"),
        ("{odd}/classes.h5 gradient {data}", "7 classes apart, cube has 3"),
        ("{run} activation_map --output x.png", "5 layers of 1 sample"),
        ("{run} gradient --pixel 3,3 --output /proc/hsi/figures", "annot write"),
    ],
)
def test_bad_input_that_only_the_network_shows(arguments, said, places, capfd):
    assert look(*arguments.format(**places).split()) == 2
    errors = capfd.readouterr().err
    assert said in errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1


def test_a_method_without_bands_is_refused_a_spectrum_before_a_figure_is_written(
    run, tmp_path, capfd
):
    asked = ["rise", "--masks", "8", "--views", "pixels,spectrum", "--output", str(tmp_path / "x")]
    assert look(str(run / "trained_model.h5"), *asked) == 2
    assert "no bands" in capfd.readouterr().err
    assert not list((tmp_path / "x").glob("*.png"))


def test_help_names_every_option_of_a_request_and_every_method(capsys):
    assert look("--help") == 0
    shown = capsys.readouterr().out
    from hsi.cli.visualize import OWN_OPTIONS
    from hsi.explain import METHODS
    from hsi.views.request import DATA_OPTIONS

    for word in (*METHODS, *(f"--{name}" for name in (*OWN_OPTIONS, *DATA_OPTIONS))):
        assert word in shown


def test_a_request_made_in_python_is_checked_too(run):
    with pytest.raises(SettingsError, match="gradient"):
        visualize(Request((str(run / TRAINED),), "gradients"), say=nothing)
