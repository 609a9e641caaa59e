"""`visualization.py` on several variants, quantized files, photographs and arrays."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from looking import look, refused

from hsi.cli.visualize import parse
from hsi.errors import ModelError, SettingsError
from hsi.pipeline.job import TRAINED, open_job
from hsi.scene import NO_DATA
from hsi.settings import Settings

ROWS, COLS, BANDS = 20, 22, 12
NUMBERS = (2, 5, 9)
PHOTOGRAPH = (16, 20)


def nothing(line):
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three classes in vertical stripes, each with a spectrum of its own."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(3), [8, 7, 7])[None].repeat(ROWS, axis=0)
    spectra = rng.uniform(100, 900, (3, BANDS))
    cube = spectra[which] + rng.normal(0, 15, (ROWS, COLS, BANDS))
    np.save(folder / "cube.npy", cube.round().astype(np.uint16))
    np.save(folder / "labels.npy", np.array(NUMBERS)[which])
    return folder


def settings_for(data, **options):
    return Settings(
        "cao",
        dataset=str(data / "cube.npy"),
        labels=str(data / "labels.npy"),
        split="random",
        train_fraction=0.3,
        **options,
    )


def small_network(shape, classes, seed):
    """Small, so that every method takes a moment; its layers have cao's names."""
    import tf_keras as keras

    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(8, 3, activation="relu", name="conv_1"),
            keras.layers.Conv2D(12, 2, activation="relu", name="conv_2"),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax", name="scores"),
        ]
    )


def make_run(data, folder, **options):
    """A run of a small network, trained for a moment, with two quantized files."""
    from hsi.compress.quantize import quantize
    from hsi.models.files import save_model

    job = open_job(settings_for(data, output=str(folder), **options), say=nothing)
    model = small_network(job.samples.patches.shape, 3, seed=1)
    train = job.samples.part("train")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(job.samples.patches.gather(train.pixels), train.classes, epochs=12, verbose=0)
    save_model(model, job.run.path(TRAINED))
    calibration = job.samples.calibration(seed=0)
    for mode in ("float32", "int8"):
        content = quantize(model, mode, calibration=calibration)
        job.run.path(f"quantized_model_{mode}.tflite").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return make_run(data, tmp_path_factory.mktemp("bands") / "run")


@pytest.fixture(scope="module")
def pca_run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pca") / "run"
    return make_run(data, folder, band_selection="PCA", components=4)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A network for photographs and two of them, as files."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("photographs")
    model = small_network((*PHOTOGRAPH, 3), 4, seed=2)
    model.save(folder / "model.h5", save_format="h5", include_optimizer=False)
    rng = np.random.default_rng(1)
    for name, size in (("one.png", PHOTOGRAPH), ("two.png", PHOTOGRAPH), ("large.png", (40, 64))):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "names.txt").write_text("tench\ndog\ncar & <b>\nhouse $1\n", encoding="utf-8")
    np.save(folder / "samples.npy", rng.uniform(0, 1, (3, *PHOTOGRAPH, 3)).astype(np.float32))
    return folder


def tile_axes(figure):
    return figure.findobj(lambda o: hasattr(o, "images") and o.images)


# Several variants


def test_files_and_model_names_are_told_apart():
    request, _ = parse(["a.h5", "b.tflite", "gradient"])
    assert (request.files, request.model) == (("a.h5", "b.tflite"), None)
    request, _ = parse(["cao", "a.h5", "b.tflite", "gradient", "--views", "tiles,scene"])
    assert (request.files, request.model) == (("a.h5", "b.tflite"), "cao")
    assert request.views == ("tiles", "scene")


def test_variants_share_one_scale_and_are_compared_with_the_first(run, tmp_path, figures):
    files = [run / TRAINED, run / "quantized_model_float32.tflite",
             run / "quantized_model_int8.tflite"]  # fmt: skip
    options = ("--pixel", "4,9", "--output", tmp_path)
    assert look(*files, "gradient", *options) == 0
    (figure,) = figures.values()
    text = [t.get_text() for t in figure.findobj(lambda o: hasattr(o, "get_text"))]
    similar = [line for line in text if line.startswith("rank correlation with trained_model.h5")]
    assert len(similar) == 2
    assert "1.00" in similar[0]
    tiles = [axes for axes in tile_axes(figure) if not axes.get_label().startswith("input")]
    limits = {axes.images[0].norm.vmax for axes in tiles}
    rows = {axes.get_label().split(": ")[0] for axes in tiles}
    assert len(limits) == 1
    assert rows == {path.name for path in files}


def test_the_arrays_of_variants_hold_every_map_and_the_similarity(run, tmp_path):
    from hsi.compare.attributions import spearman

    file = tmp_path / "maps.npz"
    names = (TRAINED, "quantized_model_float32.tflite", "quantized_model_int8.tflite")
    assert look(*(run / n for n in names), "gradient", "--output", file, "--samples", 4) == 0
    with np.load(file) as stored:
        maps = stored["variant_attributions"]
        assert maps.shape == (3, 4, 5, 5, BANDS)
        assert list(stored["variants"]) == list(names)
        np.testing.assert_array_equal(maps[0], stored["attributions"])
        largest = np.abs(maps[0]).max()
        assert np.abs(maps[1] - maps[0]).max() < 1e-4 * largest
        assert np.median(stored["variant_similarity"][2]) > 0.9
        np.testing.assert_allclose(stored["variant_similarity"][2], spearman(maps[0], maps[2]))


def test_variants_behind_different_preparations_are_compared_in_bands(run, pca_run, tmp_path):
    file = tmp_path / "maps.npz"
    assert look(run / TRAINED, pca_run / TRAINED, "gradient", "--output", file) == 0
    with np.load(file) as stored:
        assert stored["variant_attributions"].shape == (2, 3, 5, 5, BANDS)


# Every method on quantized files


@pytest.mark.parametrize(
    "method",
    ["smoothgrad", "vargrad", "input_times_gradient", "integrated_gradient", "guided_backprop",
     "deconvnet", "visual_backprop", "gradcam", "gradcam_plus_plus", "guided_gradcam",
     "layer_attention", "occlusion", "spectral_occlusion", "rise"],
)  # fmt: skip
@pytest.mark.parametrize("folder", ["run", "pca_run"])
def test_every_attribution_of_an_int8_file_is_close_to_the_float_one(
    method, folder, request, tmp_path
):
    folder = request.getfixturevalue(folder)
    options = ["--samples", 2]
    if "gradcam" in method or method == "layer_attention":
        options += ["--layer", "conv_1"]
    if method == "layer_attention":
        options += ["--channel", 2]
    if method == "rise":
        options += ["--masks", 100]
    found = []
    for name in ("quantized_model_float32.tflite", "quantized_model_int8.tflite", TRAINED):
        file = tmp_path / f"{name}.npz"
        assert look(folder / name, method, "--output", file, *options) == 0
        with np.load(file) as stored:
            found.append(stored["attributions"])
            if method == "integrated_gradient":
                assert (stored["completeness_error"] < 0.01).all()
    lite, whole, keras = found
    assert np.abs(lite - keras).max() <= 2e-4 * max(np.abs(keras).max(), 1e-12)
    norms = np.linalg.norm(whole) * np.linalg.norm(keras)
    least = 0.5 if method == "vargrad" else 0.9  # variances hang on which ReLUs the noise crosses
    assert norms == 0 or (whole * keras).sum() / norms > least


def test_the_layers_of_an_int8_file_have_the_names_of_the_network(run, tmp_path):
    file = tmp_path / "layers.npz"
    name = "quantized_model_int8.tflite"
    options = ("--layer", "conv_1,conv_2", "--samples", 1, "--output", file)
    assert look(run / name, "activation_map", *options) == 0
    with np.load(file) as whole:
        assert list(whole["layers"]) == ["conv_1", "conv_2"]
        found = [whole["activations_0"], whole["activations_1"]]
    assert look(run / TRAINED, "activation_map", *options) == 0
    with np.load(file) as stored:
        for got, array in zip(found, (stored["activations_0"], stored["activations_1"]),
                              strict=True):  # fmt: skip
            assert got.shape == array.shape
            assert np.abs(got - array).max() < 0.05 * np.abs(array).max()


def test_class_images_of_an_int8_file(run, tmp_path):
    file = tmp_path / "images.npz"
    options = ("--class", 5, "--steps", 20, "--output", file)
    assert look(run / "quantized_model_int8.tflite", "class_image", *options) == 0
    with np.load(file) as stored:
        assert (stored["image_scores"] > stored["start_scores"]).all()


# The views


def test_the_spread_of_the_tiles_is_that_of_the_attributions(run, tmp_path, figures):
    """Without band reduction, gradients of a trained network are no black squares."""
    options = ("--pixel", "4,9", "--step_band", 1, "--from_band", 1, "--views", "raw")
    assert look(run / TRAINED, "gradient", *options, "--output", tmp_path) == 0
    assert look(run / TRAINED, "gradient", "--pixel", "4,9", "--output", tmp_path / "a.npz") == 0
    with np.load(tmp_path / "a.npz") as stored:
        maps = stored["attributions"][0]
    (figure,) = figures.values()
    tiles = [axes.images[0] for axes in tile_axes(figure) if "gradient" in axes.get_label()]
    assert len(tiles) == BANDS
    shown = np.stack([np.asarray(t.norm(t.get_array())) for t in tiles], axis=-1)
    np.testing.assert_allclose(np.ptp(shown), np.ptp(maps) / (2 * np.abs(maps).max()), rtol=1e-5)
    np.testing.assert_allclose(shown.std(), maps.std() / (2 * np.abs(maps).max()), rtol=1e-4)
    colors = {tuple(c) for t in tiles for c in t.to_rgba(t.get_array()).reshape(-1, 4).round(3)}
    assert len(colors) > 50


def test_gray_and_named_colour_maps_are_used(run, tmp_path, figures):
    options = ("--pixel", "4,9", "--output", tmp_path)
    assert look(run / TRAINED, "guided_backprop", "--views", "gray", *options) == 0
    assert look(run / TRAINED, "guided_backprop", "--colormap", "PuOr", *options) == 0
    gray, coloured = (figures[f"guided_backprop_4_9{suffix}.png"] for suffix in ("_gray", ""))
    for figure, name in ((gray, "gray"), (coloured, "PuOr")):
        maps = [a.images[0] for a in tile_axes(figure) if "guided" in a.get_label()]
        assert {image.get_cmap().name for image in maps} == {name}


def test_the_scene_view_is_the_attribution_of_every_pixel(run):
    from hsi import explain
    from hsi.views import _open
    from hsi.views.locate import locate
    from hsi.views.opened import open_variants
    from hsi.views.request import Request
    from hsi.views.whole_scene import scene_maps

    request = Request((str(run / TRAINED),), "gradient", views=("scene",)).check()
    found = [locate(request.files[0], request)]
    (opened,) = open_variants(request, found, _open(request, found, nothing))
    maps = scene_maps(opened, request)
    keys = np.array([0, 21, 7 * COLS + 9, ROWS * COLS - 1])
    inputs = opened.subject.samples.patches.gather(keys)
    expected = explain.attribute("gradient", opened.variant.network, inputs)
    np.testing.assert_allclose(
        maps.magnitude.ravel()[keys], np.abs(expected.maps).mean(axis=(1, 2, 3)), rtol=1e-4
    )
    np.testing.assert_array_equal(maps.predicted.ravel()[keys], expected.classes)
    np.testing.assert_array_equal(
        maps.peak.ravel()[keys], np.abs(expected.maps).sum(axis=(1, 2)).argmax(axis=1)
    )


def test_pixels_without_data_are_neither_explained_nor_counted(run):
    from hsi.views import _open, whole_scene
    from hsi.views.choose import check_pixels
    from hsi.views.locate import locate
    from hsi.views.opened import open_variants
    from hsi.views.request import Request

    request = Request((str(run / TRAINED),), "gradient", views=("scene",)).check()
    found = [locate(request.files[0], request)]
    (opened,) = open_variants(request, found, _open(request, found, nothing))
    subject, every = opened.subject, whole_scene.scene_maps(opened, request)
    empty = every.magnitude > np.quantile(every.magnitude, 0.4)
    scene = replace(subject.samples.scene, no_data=empty)
    samples = replace(subject.samples, scene=scene)
    maps = whole_scene.scene_maps(
        replace(opened, subject=replace(subject, samples=samples)), request
    )
    np.testing.assert_array_equal(maps.magnitude, np.where(empty, np.nan, every.magnitude))
    np.testing.assert_array_equal(maps.predicted, np.where(empty, NO_DATA, every.predicted))
    said: list[str] = []
    whole_scene._say(SimpleNamespace(say=said.append), {"trained": maps})
    rest = every.magnitude[~empty]
    assert f"median {np.median(rest):.3g}, largest {rest.max():.3g}" in said[0]
    row, col = (int(place) for place in np.argwhere(empty)[0])
    with pytest.raises(SettingsError, match=f"pixel {row},{col}: holds no data"):
        check_pixels(samples, [(row, col)])


def test_the_other_views_are_written(run, pca_run, tmp_path):
    for folder in (run, pca_run):
        target = tmp_path / folder.parent.name
        options = ("--views", "spectrum,pixels,scene", "--samples", 1, "--output", target)
        files = (folder / TRAINED, folder / "quantized_model_int8.tflite")
        assert look(*files, "gradient", "--class", 5, *options) == 0
        names = sorted(path.name for path in target.iterdir())
        assert len(names) == 3
        assert "gradient_scene.png" in names
        assert "gradient_spectrum.png" in names


def test_model_wide_pictures(run, tmp_path, capsys):
    for file in (TRAINED, "quantized_model_int8.tflite"):
        target = tmp_path / file
        assert look(run / file, "filters", "--layer", "conv_2", "--output", target) == 0
        assert look(run / file, "model_graph", "--output", target, "--format", "svg") == 0
        assert {path.suffix for path in target.iterdir()} == {".png", ".svg"}
    capsys.readouterr()
    code = look(run / TRAINED, "misclassified", "--output", tmp_path)
    printed = capsys.readouterr()
    assert "test pixels are misclassified" in printed.out
    assert (code == 0) == (tmp_path / "misclassified.png").is_file()


def test_misclassified_pixels_of_a_class_are_counted_among_its_own(run, tmp_path, capsys):
    from hsi.deploy.variant import load_variant
    from hsi.pipeline.job import samples_of
    from hsi.runs import open_run

    samples = samples_of(open_run(run), say=nothing)
    test = samples.part("test")
    answers = load_variant(run / TRAINED).predict(samples.patches.gather(test.pixels))
    for index, number in enumerate(NUMBERS):
        own = test.classes == index
        wrong = (answers.argmax(axis=1)[own] != index).sum()
        words = ("--class", number, "--format", "npz", "--output", tmp_path)
        look(run / TRAINED, "misclassified", *words)
        assert f"{wrong} of {own.sum()} test pixels of class {number}" in capsys.readouterr().out


def test_the_sanity_page(run, tmp_path, capsys):
    options = ("--sanity", "--output", tmp_path, "--name", "page")
    assert look(run / TRAINED, "gradient", *options) == 0
    assert (tmp_path / "page_sanity.png").is_file()
    assert "Sanity: gradient" in capsys.readouterr().out
    assert look(run / "quantized_model_int8.tflite", "gradient", *options) == 2
    assert "cannot be randomised" in capsys.readouterr().err


@pytest.fixture(scope="module")
def namesakes(run, tmp_path_factory):
    """Two runs whose files have the same names, one with names that differ behind a point alone."""
    first, second = (tmp_path_factory.mktemp(name) / "run" for name in "ab")
    for folder in (first, second):
        shutil.copytree(run, folder)
    record = json.loads((first / "run.json").read_text())
    for share in ("0.5", "0.25"):
        name = f"distilled_compact-{share}"
        shutil.copy(run / TRAINED, first / f"{name}.h5")
        record["variants"][f"{name}.h5"] = {"row": {"variant": name}}
    (first / "run.json").write_text(json.dumps(record))
    return {
        "half": first / "distilled_compact-0.5.h5",
        "quarter": first / "distilled_compact-0.25.h5",
        "trained": first / TRAINED,
        "other": second / TRAINED,
    }


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("{half} {quarter} gradient --format envi --pixel 5,5", 2),
        ("{trained} {other} gradient --format envi --pixel 5,5", 2),
        ("{half} {quarter} gradient --sanity --samples 2 --format npz", 2),
        ("{trained} {other} gradient --sanity --samples 2", 2),
    ],
)
def test_no_file_is_written_over_another(namesakes, tmp_path, capsys, words, count):
    assert look(*words.format(**namesakes).split(), "--output", tmp_path) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Written")]
    written = {line.removeprefix("Written: ") for line in said}
    assert len(said) == len(written) == count
    ending = said[0].rpartition(".")[2]
    assert written == {str(path) for path in tmp_path.glob(f"*.{ending}")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("{half} {quarter} gradient --sanity --output {file}.png", "2 variants"),
        ("{half} {quarter} gradient --sanity --output {file}.npz", "2 variants"),
        ("{half} gradient --views pixels --samples 3 --output {file}.png", "3 samples"),
        ("{half} gradient --views spectrum,scene --output {file}.png", "2 views"),
    ],
)
def test_one_file_for_several_figures_is_refused(namesakes, tmp_path, capsys, words, said):
    asked = words.format(**namesakes, file=tmp_path / "one")
    assert look(*asked.split()) == 2
    printed = capsys.readouterr()
    assert "Written" not in printed.out
    assert printed.err.startswith("error: output: one.")
    assert f"{said}; name a folder" in printed.err.replace(", or one --pixel", "")
    assert not list(tmp_path.iterdir())


# Photographs and arrays


def test_photographs_of_one_name_are_called_by_their_folders(photographs, tmp_path, capsys):
    files = [tmp_path / part / "photo.png" for part in ("day", "night")]
    for file, name in zip(files, ("one.png", "two.png"), strict=True):
        file.parent.mkdir()
        shutil.copy(photographs / name, file)
    images = [word for file in files for word in ("--image", file)]
    options = ("--views", "raw", "--output", tmp_path / "out")
    assert look(photographs / "model.h5", "gradient", *images, *options) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "gradient_day_photo_raw.png", "gradient_night_photo_raw.png",
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "day/photo.png" in printed
    assert "night/photo.png" in printed


def test_photographs_are_overlaid(photographs, tmp_path, figures, capsys):
    images = ("--image", photographs / "one.png", "--image", photographs / "two.png")
    names = ("--class_names", photographs / "names.txt", "--class", "dog")
    assert look(photographs / "model.h5", "gradient", *images, *names, "--output", tmp_path) == 0
    assert "of 1 dog" in capsys.readouterr().out
    assert list(figures) == ["gradient_overlay.png"]
    file = tmp_path / "a.npz"
    assert look(photographs / "model.h5", "gradient", *images, *names, "--output", file) == 0
    with np.load(file) as stored:
        assert stored["attributions"].shape == (2, *PHOTOGRAPH, 3)
        assert stored["inputs"].min() >= 0
        assert stored["inputs"].max() <= 1
        assert list(stored["names"]) == ["one.png", "two.png"]
        assert list(stored["classes"]) == [1, 1]


def test_a_large_photograph_is_fitted_when_asked(photographs, tmp_path):
    file = tmp_path / "a.npz"
    options = ("--image", photographs / "large.png", "--resize", "--preprocess", "caffe")
    assert look(photographs / "model.h5", "occlusion", *options, "--output", file) == 0
    with np.load(file) as stored:
        assert stored["inputs"].shape == (1, *PHOTOGRAPH, 3)
        assert stored["inputs"].min() < -50


def test_an_array_is_taken_as_the_network_takes_it(photographs, tmp_path):
    from hsi import explain
    from hsi.models.files import load_model

    file = tmp_path / "a.npz"
    options = ("--array", photographs / "samples.npy", "--steps", 16)
    model = photographs / "model.h5"
    assert look(model, "integrated_gradient", *options, "--output", file) == 0
    inputs = np.load(photographs / "samples.npy")
    expected = explain.attribute("integrated_gradient", load_model(model), inputs, points=16)
    with np.load(file) as stored:
        np.testing.assert_array_equal(stored["inputs"], inputs)
        np.testing.assert_allclose(stored["attributions"], expected.maps, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("baseline", ["mean", "blurred", "0.5", "file"])
def test_the_baseline_can_be_chosen(run, tmp_path, baseline):
    if baseline == "file":
        baseline = tmp_path / "baseline.npy"
        np.save(baseline, np.full((5, 5, BANDS), 0.25, np.float32))
    file = tmp_path / "a.npz"
    options = ("--baseline", baseline, "--samples", 2, "--output", file)
    assert look(run / TRAINED, "integrated_gradient", *options) == 0
    with np.load(file) as stored:
        assert (stored["completeness_error"] < 0.01).all()


@pytest.mark.parametrize("option", ["window_bands", "baseline"])
def test_options_in_bands_leave_the_arrays_of_components_out(pca_run, tmp_path, capsys, option):
    """Which they do not fit; what was asked for is there, and the rest is there without them."""
    value, file = 8, tmp_path / "a.npz"
    if option == "baseline":
        value = tmp_path / "baseline.npy"
        np.save(value, np.full((5, 5, BANDS), 0.25, np.float32))
    words = ("spectral_occlusion", "--samples", 1, "--output", file)
    assert look(pca_run / TRAINED, *words, f"--{option}", value) == 0
    assert f"no attributions_components: {option} is given in bands" in capsys.readouterr().out
    with np.load(file) as stored:
        assert stored["attributions"].shape == (1, 5, 5, BANDS)
        assert "attributions_components" not in stored
    words = (*words, "--space", "components")
    assert look(pca_run / TRAINED, *words, "--window_bands", 2) == 0
    with np.load(file) as stored:
        assert stored["attributions_components"].shape == (1, 5, 5, 4)


# One face


def test_a_variant_is_one_thing_in_every_form(run):
    from hsi.deploy.variant import load_variant

    inputs = np.random.default_rng(3).normal(size=(9, 5, 5, BANDS)).astype(np.float32)
    keras, lite = (load_variant(run / n) for n in (TRAINED, "quantized_model_float32.tflite"))
    assert keras.input_shape == lite.input_shape == (5, 5, BANDS)
    assert keras.classes == lite.classes == 3
    np.testing.assert_allclose(keras.predict(inputs, batch_size=4), lite.predict(inputs), atol=1e-5)
    np.testing.assert_allclose(keras.score.logits(inputs), lite.score.logits(inputs), atol=1e-4)
    assert [info.name for info in keras.layers()][:2] == ["conv_1", "conv_2"]
    assert {"conv_1", "conv_2"} <= {info.name for info in lite.layers()}
    for first, second in zip(keras.activations(inputs, ["conv_2"]),
                             lite.activations(inputs, ["conv_2"]), strict=True):  # fmt: skip
        np.testing.assert_allclose(first.array, second.array, atol=1e-5)
    with pytest.raises(ModelError, match="5 x 5 x 12"):
        keras.predict(inputs[..., :3])


# What is refused


@pytest.fixture(scope="module")
def places(run, photographs, tmp_path_factory):
    import tf_keras as keras

    odd = tmp_path_factory.mktemp("odd")
    whole = (run / "quantized_model_int8.tflite").read_bytes()
    (odd / "half.tflite").write_bytes(whole[: len(whole) // 2])
    (odd / "random.tflite").write_bytes(np.random.default_rng(0).bytes(4000))
    (odd / "broken.png").write_bytes((photographs / "one.png").read_bytes()[:200])
    (odd / "empty.txt").write_text("\n", encoding="utf-8")
    np.save(odd / "nan.npy", np.full((1, *PHOTOGRAPH, 3), np.nan))
    np.save(odd / "shape.npy", np.zeros((2, 4)))
    model = keras.Sequential(
        [keras.Input((*PHOTOGRAPH, 3)), keras.layers.Lambda(lambda x: x * 2),
         keras.layers.Flatten(), keras.layers.Dense(3)]
    )  # fmt: skip
    model.save(odd / "lambda.h5", save_format="h5")
    return {"run": run / TRAINED, "lite": run / "quantized_model_int8.tflite", "odd": odd,
            "model": photographs / "model.h5", "photos": photographs}  # fmt: skip


REFUSED = {
    "half": ("{odd}/half.tflite gradient --array {photos}/samples.npy", "half.tflite"),
    "random": ("{odd}/random.tflite gradient --array {photos}/samples.npy", "TensorFlow Lite"),
    "no tflite": ("{odd}/absent.tflite gradient", "no such model file"),
    "no image": ("{model} gradient --image {photos}/absent.jpg", "no such image file"),
    "broken image": ("{model} gradient --image {odd}/broken.png", "truncated or something else"),
    "size": ("{model} gradient --image {photos}/large.png",
             "16 x 20 pixels, as the model takes them, got 40 x 64"),
    "NaN": ("{model} gradient --array {odd}/nan.npy", "not finite"),
    "rank": ("{model} gradient --array {odd}/shape.npy", "shape (2, 4)"),
    "class names": ("{model} gradient --array {photos}/samples.npy --class_names {odd}/empty.txt",
                    "class name a line"),
    "Lambda": ("{odd}/lambda.h5 gradient --array {photos}/samples.npy", "--trust"),
    "scene of photographs": ("{model} gradient --array {photos}/samples.npy --views scene",
                             "scene is of a scene"),
    "overlay of a scene": ("{run} gradient --views overlay", "with --image"),
    "unknown view": ("{run} gradient --views tilse", "Did you mean 'tiles'?"),
    "smoothed": ("{run} gradcam --views smoothed", "only gradient has a smoothed form"),
    "several layers": ("{run} {lite} activation_map", "one model file at a time, got 2"),
    "option of another": ("{run} gradient --masks 10", "masks: expected with rise"),
    "tolerance": ("{run} integrated_gradient --tolerance 0", "more than 0"),
    "both": ("{model} gradient --array {photos}/samples.npy --image {photos}/one.png", "not both"),
    "pixel of a photograph": ("{model} gradient --image {photos}/one.png --pixel 1,2", "not both"),
    "name": ("{run} gradient --name a/b", "beginning of a file name"),
    "bands": ("{run} gradient --from_band 13", "expected a band from 1 to 12, got 13"),
    "empty": ("{run} gradient --from_band 5 --to_band 4", "the first not above the last"),
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
        ("{lite} activation_map --layer conv1", "conv_1"),
        ("{lite} gradcam --layer convv_2", "conv_2"),
        ("{model} gradient --image {photos}/one.png --class 4", "0 to 3"),
        ("{run} gradient --baseline zeros", "zero, mean, blurred"),
        ("{run} gradient --colormap virids --pixel 3,3", "viridis"),
    ],
)
def test_bad_input_that_only_the_network_shows(arguments, said, places, capfd, tmp_path):
    if "--baseline" in arguments:
        arguments = arguments.replace("gradient", "integrated_gradient")
    assert look(*arguments.format(**places).split(), "--output", tmp_path / "new") == 2
    errors = capfd.readouterr().err
    assert said in errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_trusted_lambda_runs(places, photographs, tmp_path):
    options = ("--array", photographs / "samples.npy", "--trust", "--output", tmp_path / "a.npz")
    assert look(places["odd"] / "lambda.h5", "gradient", *options) == 0
