"""Maps of whole scenes: every pixel's own patch, tile by tile, stopped and gone on with."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hsi import bands, baselines, cli
from hsi.classify import Request, classify, mapping, running, smoothing, unfinished
from hsi.classify.made_for import chosen_bands, made_for
from hsi.classify.tiles import Grid, Input, best_size, grid_for, has_data, read_tile
from hsi.deploy.variant import load_variant
from hsi.errors import DataError, ModelError, OutputError, SettingsError, UserError
from hsi.models.files import save_model
from hsi.patches import Patches
from hsi.pipeline.job import TRAINED, open_job
from hsi.predict import scores
from hsi.readers.raster import Raster
from hsi.readers.windowed import of_array
from hsi.settings import Settings

ROWS, COLS, BANDS = 23, 19, 6
WAVES = np.linspace(500, 1000, BANDS)
NUMBERS = (2, 3, 7)


def cube_of(seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(100, 4000, (ROWS, COLS, BANDS)).astype(np.int16)


def write_envi(path, cube, *, waves=WAVES, extra=""):
    """A band-sequential ENVI image by definition: bands one after the other, a text beside."""
    rows, cols, count = cube.shape
    path.with_suffix(".img").write_bytes(np.ascontiguousarray(cube.transpose(2, 0, 1)).tobytes())
    kind = {"int16": 2, "float32": 4}[cube.dtype.name]
    listed = "" if waves is None else f"wavelength = {{{', '.join(map(str, waves))}}}\n"
    path.write_text(
        f"ENVI\nsamples = {cols}\nlines = {rows}\nbands = {count}\ndata type = {kind}\n"
        f"interleave = bsq\nbyte order = 0\nheader offset = 0\n{listed}{extra}"
    )
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A scene, and a run with an untrained network for it, a `.tflite` of it and a baseline."""
    folder = tmp_path_factory.mktemp("classify")
    scene = write_envi(folder / "scene.hdr", cube_of())
    labels = np.random.default_rng(1).choice((0, *NUMBERS), (ROWS, COLS))
    np.save(folder / "labels.npy", labels)
    settings = Settings(
        model="cao", dataset=str(scene), labels=str(folder / "labels.npy"), split="random",
        train_fraction=0.5, output=str(folder / "run"), drop_bands=("none",),
    ).check()  # fmt: skip
    job = open_job(settings, say=lambda line: None)
    import tf_keras as keras
    from tf_keras import layers

    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((5, 5, BANDS)),
            layers.Conv2D(5, 3, activation="relu"),
            layers.MaxPooling2D(2, padding="same"),
            layers.Flatten(),
            layers.Dense(4),
            layers.Dense(3, activation="softmax"),
        ]
    )
    save_model(network, job.run.path(TRAINED))
    return folder


@pytest.fixture(scope="module")
def expected(made):
    """The map by definition: every pixel's patch through the file, one after the other."""
    preparation = bands.load(made / "run" / "preparation.npz")
    patches = Patches(bands.apply(preparation, cube_of()), 5)
    found = scores(load_variant(made / "run" / TRAINED), patches, np.arange(ROWS * COLS))
    return np.array(NUMBERS)[found.argmax(axis=1)].reshape(ROWS, COLS)


def request(made, output, **options):
    given = {"scene": str(made / "scene.hdr"), "model": str(made / "run" / TRAINED)}
    return Request(**{**given, "output": str(output), **options})


def quietly(line):
    """Said to nobody."""


@pytest.fixture
def small_tiles(monkeypatch):
    """Nine tiles of 11 x 9 pixels; the last ones are smaller than half a patch."""
    monkeypatch.setattr(mapping, "grid_for", lambda rows, cols, **_: Grid(rows, cols, 11, 9))


# The map


def test_every_pixel_has_the_class_of_its_own_patch(made, expected, tmp_path):
    said = []
    classify(request(made, tmp_path / "map.npy"), say=said.append)
    found = np.load(tmp_path / "map.npy")
    assert (found.dtype, found.shape) == (np.uint8, (ROWS, COLS))
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(expected)) > 1
    assert any("one fully convolutional pass" in line for line in said)


def test_tiles_change_nothing(made, expected, tmp_path, small_tiles):
    scores_file = str(tmp_path / "scores.npy")
    classify(request(made, tmp_path / "map.npy", scores=scores_file), say=quietly)
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), expected)
    kept = np.load(scores_file)
    np.testing.assert_array_equal(np.array(NUMBERS)[kept.argmax(axis=2)], expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.npy", "scores.npy"]


@pytest.mark.parametrize("patch_size", [1, 3, 9])
@pytest.mark.parametrize("size", [(4, 3), (23, 2), (1, 19)])
def test_patches_of_tiles_are_those_of_the_scene(patch_size, size):
    cube = cube_of(3)
    raster = Raster(Path("x"), (), *cube.shape, cube.dtype, of_array(cube))
    preparation = bands.fit(cube, np.ones((ROWS, COLS), bool))
    whole = Patches(bands.apply(preparation, cube), patch_size)
    given = Input((ROWS, COLS), np.arange(BANDS), preparation, patch_size)
    for tile in Grid(ROWS, COLS, *size):
        patches, valid = given.patches(read_tile(raster, tile, patch_size), tile)
        assert valid.all()
        everything = np.arange(tile.rows * tile.cols)
        np.testing.assert_array_equal(patches.gather(everything), whole.gather(whole.pixels(tile)))
        covered = np.zeros((tile.rows, tile.cols), int)
        for strip in patches.strips(5):
            covered[strip.place] += 1
        assert (covered == 1).all()


def test_pixels_without_data_are_0_and_filled_for_their_neighbours(made, tmp_path, small_tiles):
    cube = cube_of().astype(np.float32)
    cube[3, 4] = -9999
    cube[10:13, 7, 2] = np.nan
    scene = write_envi(tmp_path / "holes.hdr", cube, extra="data ignore value = -9999\n")
    classify(request(made, tmp_path / "map.npy", scene=str(scene)), say=quietly)
    found = np.load(tmp_path / "map.npy")
    holes = np.zeros((ROWS, COLS), bool)
    holes[3, 4] = holes[10:13, 7] = True
    np.testing.assert_array_equal(found == 0, holes)
    preparation = bands.load(made / "run" / "preparation.npz")
    cube[holes] = preparation.offset
    patches = Patches(bands.apply(preparation, cube), 5)
    wanted = scores(load_variant(made / "run" / TRAINED), patches, np.flatnonzero(~holes))
    np.testing.assert_array_equal(found[~holes], np.array(NUMBERS)[wanted.argmax(axis=1)])


def test_what_has_data():
    pixels = np.array([[[0.0, 0], [0, 5], [-1, 3], [np.nan, 1], [np.inf, 1]]])
    assert has_data(pixels, None).tolist() == [[True, True, True, False, False]]
    assert has_data(pixels, 0).tolist() == [[False, True, True, False, False]]
    assert has_data(pixels, -1).tolist() == [[True, True, False, False, False]]
    assert has_data(np.zeros((1, 1, 2), np.uint16), -9999).tolist() == [[True]]


# Unfinished maps


def stopping(monkeypatch, after, error):
    plain, count = running.classify_tile, []

    def work(*args):
        if len(count) == after:
            raise error
        count.append(1)
        return plain(*args)

    monkeypatch.setattr(running, "classify_tile", work)
    return count


def test_a_stopped_map_goes_on_and_ends_the_same(made, tmp_path, small_tiles, monkeypatch):
    classify(request(made, tmp_path / "whole.tif"), say=quietly)
    with monkeypatch.context() as patched:
        stopping(patched, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            classify(request(made, tmp_path / "map.tif"), say=quietly)
    assert not (tmp_path / "map.tif").exists()
    journal = tmp_path / ".map.tif.journal"
    journal.write_text(journal.read_text() + "5 12")  # cut off in the middle of a line
    said = []
    count = stopping(monkeypatch, 99, None)
    classify(request(made, tmp_path / "map.tif"), say=said.append)
    assert "Going on: 3 of 9 tiles were finished." in said
    assert len(count) == 6
    for name in ("{}.tif", "{}.tif.aux.xml"):
        whole, gone_on = (tmp_path / name.format(stem) for stem in ("whole", "map"))
        assert whole.read_bytes() == gone_on.read_bytes()
    assert not list(tmp_path.glob(".map*"))


def test_a_map_of_another_scene_model_or_wish_begins_again(made, tmp_path):
    facts, grid = {"scene": "a", "shape": [4, 5, 6]}, Grid(4, 5, 2, 5)
    kind = np.dtype(np.uint8)

    def begun(facts=facts, **options):
        return unfinished.begin(tmp_path / "m.tif", facts, grid, **{"dtype": kind, **options})

    first = begun()
    first.store(1, np.full((2, 5), 7), None, 99)
    again = begun()
    assert again.done == {1: 99}
    assert (again.labels[2:] == 7).all()
    assert begun(resume=False).done == {}
    for options in ({"facts": {"scene": "b"}}, {"classes": 3}, {"dtype": np.dtype(np.uint16)}):
        begun().store(0, np.ones((2, 5)), None, 1)
        assert begun(**options).done == {}
        begun(resume=False)


def test_a_scene_that_changed_meanwhile_begins_again(made, tmp_path, small_tiles, monkeypatch):
    scene = write_envi(tmp_path / "s.hdr", cube_of())
    with monkeypatch.context() as patched:
        stopping(patched, 4, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            classify(request(made, tmp_path / "map.npy", scene=str(scene)), say=quietly)
    write_envi(scene, cube_of(9))
    said = []
    classify(request(made, tmp_path / "map.npy", scene=str(scene)), say=said.append)
    assert any("has changed since" in line for line in said)
    classify(request(made, tmp_path / "new.npy", scene=str(scene)), say=quietly)
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), np.load(tmp_path / "new.npy"))


def test_tiles_of_more_memory_are_not_gone_on_with(made, tmp_path, monkeypatch):
    asked, said = request(made, tmp_path / "map.npy"), []
    for height in (11, 5):
        with monkeypatch.context() as patched:
            grid = Grid(ROWS, COLS, height, 9)
            patched.setattr(mapping, "grid_for", lambda *_, grid=grid, **__: grid)
            stopping(patched, 2, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                classify(asked, say=said.append)
    assert "The map was begun with more memory, in larger tiles: it begins again." in said


def test_a_file_cut_in_the_middle_of_a_tile_keeps_what_is_finished(
    made, expected, tmp_path, small_tiles, capsys
):
    rasterio = pytest.importorskip("rasterio")
    scene = tmp_path / "scene.tif"
    options = {"driver": "GTiff", "height": ROWS, "width": COLS, "count": BANDS}
    with rasterio.open(
        scene,
        "w",
        dtype="int16",
        interleave="pixel",
        tiled=False,
        blockysize=1,
        transform=rasterio.Affine(30, 0, 0, 0, -30, 0),
        **options,
    ) as file:
        file.write(cube_of().transpose(2, 0, 1))
    whole = scene.read_bytes()
    scene.write_bytes(whole[: len(whole) * 2 // 3])
    words = ["classify", str(scene), "--model", str(made / "run" / TRAINED), "-o"]
    words.append(str(tmp_path / "map.npy"))
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "scene.tif" in error
    assert not (tmp_path / "map.npy").exists()
    scene.write_bytes(whole)
    assert cli.main(words) == 0
    finished = int(capsys.readouterr().out.split("Going on: ")[1].split(" ")[0])
    assert 0 < finished < 9
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), expected)


def test_a_memory_mapped_file_that_shrinks_is_refused(made, tmp_path, small_tiles, monkeypatch):
    scene = write_envi(tmp_path / "s.hdr", cube_of())
    plain, count = running.classify_tile, []

    def cutting(*args):
        count.append(1)
        if len(count) == 3:
            with scene.with_suffix(".img").open("rb+") as file:
                file.truncate(100)
        return plain(*args)

    monkeypatch.setattr(running, "classify_tile", cutting)
    with pytest.raises(DataError, match=r"s\.img: has 100 bytes, it had 5244"):
        classify(request(made, tmp_path / "map.npy", scene=str(scene)), say=quietly)


# What does not fit


def test_a_scene_of_other_bands_is_refused_in_one_line(made, tmp_path, capsys):
    fewer = write_envi(tmp_path / "fewer.hdr", cube_of()[:, :, :4], waves=WAVES[:4])
    turned = write_envi(tmp_path / "turned.hdr", cube_of(), waves=WAVES[::-1])
    units = write_envi(tmp_path / "units.hdr", cube_of(), waves=WAVES * 10)
    cases = {fewer: "4 bands, but trained_model.h5 was trained on 6",
             turned: "band 1 lies at 1000.0 nm, where trained_model.h5 was trained with 500.0 nm",
             units: "in other units"}  # fmt: skip
    for scene, words in cases.items():
        code = cli.main(
            ["classify", str(scene), "--model", str(made / "run" / TRAINED), "-o",
             str(tmp_path / "m.npy")]
        )  # fmt: skip
        error = capsys.readouterr().err
        assert code == 2
        assert error.count("\n") == 1
        assert words in error
    unknown = write_envi(tmp_path / "unknown.hdr", cube_of(), waves=None)
    said = []
    classify(request(made, tmp_path / "m.npy", scene=str(unknown)), say=said.append)
    assert any("no wavelengths are known of unknown" in line for line in said)


def test_bands_are_left_out_as_at_the_training(made):
    model = made_for(str(made / "run" / TRAINED))
    cube = np.zeros((9, 9, 8), np.int16)
    waves = np.insert(WAVES, [2, 4], [590.0, 801.0])
    raster = Raster(
        Path("x"), (), *cube.shape, cube.dtype, of_array(cube), wavelengths=waves,
        bad_bands=(3, 6),
    )  # fmt: skip
    assert chosen_bands(model, raster).tolist() == [0, 1, 3, 4, 6, 7]
    dropping = replace(model, dropped=("none", 3, 6))
    assert chosen_bands(dropping, replace(raster, bad_bands=())).tolist() == [0, 1, 3, 4, 6, 7]
    with pytest.raises(DataError, match="8 bands"):
        chosen_bands(model, replace(raster, bad_bands=()))
    with pytest.raises(DataError, match=r"band 1 lies at 650\.0 nm.*6 bands are off"):
        chosen_bands(model, replace(raster, wavelengths=waves + 150))


def test_models_without_a_run_and_wrong_options_are_refused(made, tmp_path):
    alone = tmp_path / TRAINED
    shutil.copy(made / "run" / TRAINED, alone)
    cases = [
        ({"model": str(alone)}, ModelError, r"no run\.json beside it"),
        ({"output": str(tmp_path / "m.jpg")}, SettingsError, r"ends in one of \.tif"),
        ({"memory": 100 << 20}, SettingsError, r"memory: expected 1\.\dG or more"),
        ({"mrf": 0.0}, SettingsError, "strength above 0"),
        ({"workers": 0}, SettingsError, "1 or more"),
        ({"output": str(made / "scene.hdr")}, OutputError, "over the scene"),
        ({"scene": "salinsa"}, SettingsError, "Did you mean 'salinas'"),
        ({"scene": str(tmp_path / "no.hdr")}, UserError, "no such file"),
    ]
    for options, kind, words in cases:
        with pytest.raises(kind, match=words):
            classify(replace(request(made, tmp_path / "m.npy"), **options), say=quietly)
    assert [path.name for path in tmp_path.iterdir()] == [TRAINED]


def test_options_of_the_command_line(monkeypatch):
    asked = []
    monkeypatch.setattr("hsi.classify.classify", asked.append)
    words = ["classify", "s.hdr", "--model", "m.h5", "-o", "a.tif", "--memory", "1.5G"]
    assert cli.main([*words, "--mrf", "20", "--no_resume", "--workers", "2"]) == 0
    assert asked == [Request("s.hdr", "m.h5", "a.tif", 3 << 29, mrf=20.0, resume=False, workers=2)]


# Smoothing


def brute_force(probabilities, beta):
    """The labels of least energy, of all that there are."""
    rows, cols, classes = probabilities.shape
    every = np.array(list(np.ndindex(*[classes] * (rows * cols)))).reshape(-1, rows, cols)
    costs = -np.log(probabilities)
    unary = np.take_along_axis(costs[None], every[..., None], axis=-1).sum(axis=(1, 2, 3))
    unlike = sum((np.diff(every, axis=axis) != 0).sum(axis=(1, 2)) for axis in (1, 2))
    return (unary + beta * unlike).min()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("beta", [0.2, 0.7, 20])
def test_smoothing_finds_the_least_energy(classes, beta):
    pytest.importorskip("maxflow")
    exact = 0
    for seed in range(8):
        drawn = np.random.default_rng(seed).dirichlet(np.ones(classes), (3, 3))
        found = smoothing.smoothed(drawn, beta, valid=np.ones((3, 3), bool))
        least, got = brute_force(drawn, beta), smoothing.energy(drawn, found, beta)
        assert least - 1e-9 <= got <= 2 * least + 1e-9
        exact += abs(got - least) < 1e-9
        before = smoothing.energy(drawn, drawn.argmax(axis=-1), beta)
        assert got <= before + 1e-9
    assert exact == 8 if classes == 2 else exact >= 6


def test_smoothing_turns_a_stray_pixel_over_and_keeps_an_edge():
    pytest.importorskip("maxflow")
    sure = np.full((6, 8, 3), 0.01)
    sure[:, :4, 0] = sure[:, 4:, 1] = 0.98
    wrong = sure.copy()
    wrong[2, 2] = 0.2, 0.45, 0.35
    wrong[0, 7] = 0.98, 0.01, 0.01
    valid = np.ones((6, 8), bool)
    valid[0, 7] = False
    found = smoothing.smoothed(wrong, 0.5, valid=valid)
    np.testing.assert_array_equal(found, sure.argmax(axis=-1))


def test_smoothing_wants_probabilities():
    pytest.importorskip("maxflow")
    with pytest.raises(ModelError, match="needs class probabilities"):
        smoothing.smoothed(np.full((2, 2, 3), 1.5), 20, valid=np.ones((2, 2), bool))


def test_a_smoothed_map_is_that_of_its_scores(made, tmp_path, small_tiles):
    pytest.importorskip("maxflow")
    scores_file, said = str(tmp_path / "s.npy"), []
    asked = request(made, tmp_path / "map.npy", mrf=0.3, scores=scores_file)
    classify(asked, say=said.append)
    kept = np.load(scores_file)
    wanted = smoothing.smoothed(kept, 0.3, valid=np.ones((ROWS, COLS), bool))
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), np.array(NUMBERS)[wanted])
    assert any(line.startswith("Potts model, beta 0.3: ") for line in said)
    assert (wanted != kept.argmax(axis=-1)).any()


def test_scores_that_do_not_fit_the_memory_are_not_smoothed(made, tmp_path, monkeypatch):
    pytest.importorskip("maxflow")
    monkeypatch.setattr(smoothing, "GRAPH_BYTES", 1 << 30)
    with pytest.raises(SettingsError, match="scores of all 23 x 19 pixels at once"):
        classify(request(made, tmp_path / "map.npy", mrf=20.0), say=quietly)


# Tiles


def test_tiles_fit_the_memory_and_cover_the_scene():
    for rows, cols in ((5000, 300), (300, 5000), (40, 40), (3000, 3000)):
        for room in (5000, 100_000, 10**7):
            grid = grid_for(rows, cols, margin=8, pixel_bytes=10, memory=10 * room + 7, base=7)
            assert (grid.height + 8) * (grid.width + 8) <= max(room, (rows + 8) * (cols + 8))
            assert sum(tile.rows * tile.cols for tile in grid) == rows * cols
            assert len(list(grid)) == len(grid)
    assert len(grid_for(100, 100, margin=4, pixel_bytes=1, memory=10**9, base=0)) == 1
    assert len(grid_for(1000, 1000, margin=4, pixel_bytes=1, memory=10**9, base=0, parts=8)) >= 8


def test_whole_rows_where_many_fit_and_squares_where_few_do():
    assert best_size(1000, 100, 20_000, 4) == (200, 100)
    height, width = best_size(1000, 10_000, 20_000, 4)
    assert 100 < height < 150
    assert 100 < width < 150
    assert best_size(10, 10, 1000, 4) == (10, 10)


# Other files and other processes


@pytest.fixture(scope="module")
def baseline(made):
    """Nearest neighbours beside the network: a file of arrays, which needs no TensorFlow."""
    rng = np.random.default_rng(5)
    inputs, classes = rng.normal(size=(30, 5, 5, BANDS)), rng.integers(0, 3, 30)
    fitted, _ = baselines.fit("knn", inputs.astype(np.float32), classes, total=3, seed=0)
    path = made / "run" / "knn.npz"
    baselines.save(fitted, path)
    return path


@pytest.fixture(scope="module")
def lite(made):
    """The network as a `.tflite` file."""
    from hsi.compress.quantize import quantize
    from hsi.models.files import load_model

    path = made / "run" / "quantized_model_float32.tflite"
    some = np.zeros((1, 5, 5, BANDS), np.float32)
    path.write_bytes(quantize(load_model(made / "run" / TRAINED), "float32", calibration=some))
    return path


def test_files_without_layers_are_mapped_without_tensorflow(made, baseline, lite, tmp_path):
    code = (
        "import sys; from hsi import cli; code = cli.main(sys.argv[1:]);"
        "sys.exit(code or ('tensorflow' in sys.modules) * 7)"
    )
    for model in (baseline, lite):
        output = tmp_path / f"{model.stem}.npy"
        words = ["classify", str(made / "scene.hdr"), "--model", str(model), "-o", str(output)]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "the file shows no layers" in done.stdout
        assert np.load(output).shape == (ROWS, COLS)


def test_a_tflite_file_gives_the_map_of_its_network(made, expected, lite, tmp_path, small_tiles):
    classify(request(made, tmp_path / "map.npy", model=str(lite)), say=quietly)
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), expected)


@pytest.mark.slow
def test_workers_make_the_same_map(made, baseline, tmp_path, small_tiles):
    pytest.importorskip("distributed")
    for workers in (1, 2):
        output = tmp_path / f"{workers}.tif"
        classify(request(made, output, model=str(baseline), workers=workers), say=quietly)
    assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()
