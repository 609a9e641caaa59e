"""Maps of whole scenes: every pixel's own patch, tile by tile, stopped and gone on with."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hsi import bands, baselines, cli, cluster, predict
from hsi.classify import Request, classify, mapping, running, smoothing, tile_work, unfinished
from hsi.classify.made_for import chosen_bands, made_for
from hsi.classify.scenes import MappedScene
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
    given = Input((ROWS, COLS), np.arange(BANDS), preparation, patch_size, preparation.offset)
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


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (1 << 20, "Going on: 2 of 9 tiles were finished."),
        (1 << 10, "The map was begun with more memory, in larger tiles: it begins again."),
    ],
)
def test_tiles_are_gone_on_with_if_they_fit_the_memory(
    made, baseline, tmp_path, monkeypatch, room, words
):
    asked, said = request(made, tmp_path / "map.npy", model=str(baseline)), []
    for height, bytes_left in ((11, 1 << 20), (5, room)):
        with monkeypatch.context() as patched:
            grid = Grid(ROWS, COLS, height, 9)
            patched.setattr(mapping, "grid_for", lambda *_, grid=grid, **__: grid)
            base = mapping.MEMORY - bytes_left
            patched.setattr(mapping, "base_bytes", lambda *_, base=base, **__: base)
            stopping(patched, 2, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                classify(asked, say=said.append)
    assert [line for line in said if "Going on" in line or "again" in line] == [words]


@pytest.mark.parametrize("kept", ["labels", "scores"])
def test_what_was_kept_and_then_cut_begins_again(tmp_path, kept):
    """Opened for writing a file that was cut is lengthened with zeros: pixels without data."""

    def begun():
        return unfinished.begin(
            tmp_path / "m.tif", {}, Grid(400, 5, 2, 5), dtype=np.dtype(np.uint8), classes=3
        )

    begun().store(150, np.ones((2, 5)), np.ones((2, 5, 3)), 99)
    assert begun().done == {150: 99}
    path = tmp_path / f".m.tif.{kept}.npy"
    os.truncate(path, path.stat().st_size // 2)
    again = begun()
    assert again.done == {}
    assert again.labels.shape == (400, 5)


@pytest.mark.parametrize("cut", ["1", "3 12", "3 1234567"])
def test_a_line_cut_in_the_middle_is_not_joined_to_the_next(tmp_path, cut):
    def begun():
        grid = Grid(40, 5, 2, 5)
        return unfinished.begin(tmp_path / "m.tif", {}, grid, dtype=np.dtype(np.uint8))

    begun().store(1, np.ones((2, 5)), None, 99)
    with (tmp_path / ".m.tif.journal").open("a") as journal:
        journal.write(cut)
    begun().store(5, np.ones((2, 5)), None, 77)
    assert begun().done == {1: 99, 5: 77}


def test_a_first_line_without_its_end_is_not_joined_to_the_next(tmp_path):
    def begun():
        return unfinished.begin(tmp_path / "m.tif", {}, Grid(4, 5, 2, 5), dtype=np.dtype(np.uint8))

    begun()
    journal = tmp_path / ".m.tif.journal"
    journal.write_text(journal.read_text().rstrip("\n"))
    begun().store(1, np.ones((2, 5)), None, 99)
    assert begun().done == {1: 99}


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this system cannot give a file its blocks")

    def begun():
        kind, grid = np.dtype(np.uint8), Grid(4, 5, 2, 5)
        return unfinished.begin(tmp_path / "m.tif", {}, grid, dtype=kind, classes=3)

    def answering(number):
        def answer(*_):
            raise OSError(number, os.strerror(number))

        return answer

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", answering(errno.ENOSPC))
        with pytest.raises(OutputError, match=r"m\.tif: cannot be written: No space left"):
            begun()
        assert not list(tmp_path.iterdir())
        patched.setattr(os, "posix_fallocate", answering(errno.EOPNOTSUPP))
        first = begun()
    monkeypatch.setattr(os, "fsync", answering(errno.ENOSPC))
    with pytest.raises(OutputError, match=r"m\.tif: cannot be written: No space left"):
        first.store(0, np.ones((2, 5)), None, 1)


def test_two_jobs_do_not_make_one_map(made, baseline, tmp_path):
    pytest.importorskip("fcntl")
    asked = request(made, tmp_path / "map.npy", model=str(baseline))
    (tmp_path / ".map.npy.lock").touch()  # of a job that was killed
    with unfinished.alone(tmp_path / "map.npy"):
        for resume in (True, False):
            with pytest.raises(OutputError, match=r"map\.npy: another job is writing this map"):
                classify(replace(asked, resume=resume), say=quietly)
        classify(replace(asked, output=str(tmp_path / "other.npy")), say=quietly)
    classify(asked, say=quietly)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.npy", "other.npy"]


def test_a_lock_that_went_meanwhile_is_made_anew_and_none_where_there_are_none(
    tmp_path, monkeypatch
):
    fcntl = pytest.importorskip("fcntl")
    plain, count, lock = fcntl.flock, [], tmp_path / ".m.tif.lock"

    def flock(file, how):
        count.append(file)
        if len(count) == 1:
            lock.unlink()
        plain(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with unfinished.alone(tmp_path / "m.tif"):
        assert lock.exists()
        assert len(count) == 2

    def unsupported(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with unfinished.alone(tmp_path / "m.tif"), unfinished.alone(tmp_path / "m.tif"):
        assert not list(tmp_path.iterdir())


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
    unmarked = replace(raster, bad_bands=())  # all that the model takes are there, by wavelength
    assert chosen_bands(model, unmarked).tolist() == [0, 1, 3, 4, 6, 7]
    with pytest.raises(DataError, match="8 bands"):
        chosen_bands(model, replace(unmarked, wavelengths=None))
    with pytest.raises(DataError, match="8 bands"):  # a fifth of the spacing off is another band
        chosen_bands(model, replace(unmarked, wavelengths=waves + 20))
    with pytest.raises(DataError, match="8 bands"):  # in another order
        chosen_bands(model, replace(unmarked, wavelengths=waves[::-1]))
    with pytest.raises(DataError, match=r"band 1 lies at 650\.0 nm.*6 bands are off"):
        chosen_bands(model, replace(raster, wavelengths=waves + 150))


def test_another_bad_band_shifts_no_others(made):
    """As many bands are left as the model takes, but from there on each is its neighbour."""
    model = made_for(str(made / "run" / TRAINED))
    cube = np.zeros((9, 9, 7), np.int16)
    even = replace(model, wavelengths=np.array([450.0, 460, 470, 490, 500, 510]))
    raster = Raster(
        Path("x"), (), *cube.shape, cube.dtype, of_array(cube),
        wavelengths=np.arange(450.0, 520, 10), bad_bands=(6,),
    )  # fmt: skip
    assert chosen_bands(even, raster).tolist() == [0, 1, 2, 4, 5, 6]


def test_a_scene_smaller_than_the_patch_is_refused_in_the_terms_of_the_command(made, tmp_path):
    scene = write_envi(tmp_path / "row.hdr", cube_of()[:1])
    with pytest.raises(DataError, match=rf"1 x {COLS} pixels; the patches of {TRAINED} are 5 x 5"):
        classify(request(made, tmp_path / "m.npy", scene=str(scene)), say=quietly)


def test_the_memory_that_is_advised_is_enough(made, baseline, tmp_path):
    asked = request(made, tmp_path / "m.npy", model=str(baseline), memory=100 << 20)
    with pytest.raises(SettingsError, match="expected") as caught:
        classify(asked, say=quietly)
    advised = re.search(r"expected (\d+)M", str(caught.value))
    classify(replace(asked, memory=int(advised[1]) << 20), say=quietly)


def test_a_header_that_wavelengths_came_from_is_not_written_over(made, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(
        tmp_path / "s.tif", "w", driver="GTiff", width=COLS, height=ROWS, count=BANDS, dtype="int16"
    ) as file:
        file.write(cube_of().transpose(2, 0, 1))
    listed = ", ".join(map(str, WAVES))
    (tmp_path / "s.hdr").write_text(
        f"ENVI\nsamples = {COLS}\nlines = {ROWS}\nbands = {BANDS}\nheader offset = 0\n"
        "file type = TIFF\ndata type = 2\ninterleave = bsq\nbyte order = 0\n"
        f"wavelength units = Nanometers\nwavelength = {{{listed}}}\n"
    )
    with pytest.raises(OutputError, match="over the scene"):
        classify(request(made, tmp_path / "s.hdr", scene=str(tmp_path / "s.tif")), say=quietly)


def test_models_without_a_run_and_wrong_options_are_refused(made, tmp_path):
    alone = tmp_path / TRAINED
    shutil.copy(made / "run" / TRAINED, alone)
    cases = [
        ({"model": str(alone)}, ModelError, r"no run\.json beside it"),
        ({"output": str(tmp_path / "m.jpg")}, SettingsError, r"ends in one of \.tif"),
        ({"memory": 100 << 20}, SettingsError, r"memory: expected \d+M or more.* got 100M"),
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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("scene.npy", "over the scene"),
        ("map.npy", "over the map"),
        (".map.npy.labels.npy", "over the map"),
        ("model.npy", "over the model"),
        ("folder.npy", "a folder"),
    ],
)
def test_scores_take_the_place_of_no_other_file(made, baseline, tmp_path, name, words):
    np.save(tmp_path / "scene.npy", cube_of())
    (tmp_path / "model.npy").symlink_to(baseline)
    (tmp_path / "folder.npy").mkdir()
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()}
    asked = request(
        made, tmp_path / "map.npy", scene=str(tmp_path / "scene.npy"), model=str(baseline),
        scores=str(tmp_path / name),
    )  # fmt: skip
    with pytest.raises(OutputError, match=words):
        classify(asked, say=quietly)
    assert before == {path: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()}


def test_options_of_the_command_line(monkeypatch):
    asked = []
    monkeypatch.setattr("hsi.classify.classify", asked.append)
    words = ["classify", "s.hdr", "--model", "m.h5", "-o", "a.tif", "--memory", "1.5G"]
    assert cli.main([*words, "--mrf", "20", "--no_resume", "--workers", "2"]) == 0
    assert asked == [Request("s.hdr", "m.h5", "a.tif", 3 << 29, mrf=20.0, resume=False, workers=2)]


@pytest.mark.parametrize("words", [["classify", "s.hdr", "--model", "m.h5"], ["study", "s.toml"]])
def test_workers_here_and_a_cluster_elsewhere_are_not_both(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*words, "--workers", "2", "--scheduler", "tcp://a:1"])
    assert stopped.value.code == 2
    assert "--scheduler: not allowed with argument --workers" in capsys.readouterr().err


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


@pytest.mark.parametrize("value", [1.5, np.nan])
def test_smoothing_wants_probabilities(value):
    pytest.importorskip("maxflow")
    with pytest.raises(ModelError, match="needs class probabilities"):
        smoothing.smoothed(np.full((2, 2, 3), value), 20, valid=np.ones((2, 2), bool))


def test_scores_that_are_no_probabilities_are_refused_at_the_first_tile(
    made, baseline, tmp_path, small_tiles, monkeypatch
):
    pytest.importorskip("maxflow")
    plain, count = running.classify_tile, []

    def unbounded(*args):
        count.append(1)
        answer = plain(*args)
        return replace(answer, scores=answer.scores * 3)

    monkeypatch.setattr(running, "classify_tile", unbounded)
    with pytest.raises(ModelError, match="needs class probabilities"):
        classify(request(made, tmp_path / "m.npy", model=str(baseline), mrf=2.0), say=quietly)
    assert len(count) == 1
    assert not list(tmp_path.iterdir())


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


def test_a_file_whose_samples_take_much_memory_sees_few_at_once(lite, monkeypatch):
    """What is computed for a patch, by hand: the patch, 5 maps of 3 x 3, 2 x 2, 20, 4, 3 and 3."""
    variant = load_variant(lite)
    each = 4 * (25 * BANDS + 5 * 9 + 5 * 4 + 20 + 4 + 3 + 3)
    assert each - 4 * 20 <= variant.sample_bytes <= 2 * each
    sizes, forward = [], variant._forward

    def counted(batch):
        sizes.append(len(batch))
        return forward(batch)

    monkeypatch.setattr(variant, "_forward", counted)
    patches = Patches(cube_of().astype(np.float32), 5)
    pixels = np.arange(40)
    known = scores(variant, patches, pixels, batch_size=30)
    assert sizes == [30, 10]
    monkeypatch.setattr(predict, "STRIP_BYTES", 7 * variant.sample_bytes)
    sizes.clear()
    np.testing.assert_allclose(scores(variant, patches, pixels, batch_size=30), known, atol=1e-6)
    assert sizes == [7] * 5 + [5]
    monkeypatch.setattr(predict, "STRIP_BYTES", 1)
    assert predict.at_once(variant, 30) == 1


def test_a_cluster_without_workers_is_not_waited_for(monkeypatch):
    distributed = pytest.importorskip("distributed")
    closed = []

    class Workerless:
        def __init__(self, address, timeout):
            """Connected."""

        def wait_for_workers(self, count, timeout):
            raise TimeoutError(f"0 of {count} after {timeout}")

        def close(self):
            closed.append(self)

    monkeypatch.setattr(distributed, "Client", Workerless)
    with (
        pytest.raises(SettingsError, match=r"tcp://a:1 has no workers after 60 seconds"),
        cluster.client_of(1, "tcp://a:1"),
    ):
        pass
    assert len(closed) == 1


@pytest.mark.parametrize("sending", [False, True])
@pytest.mark.parametrize("name", ["CancelledError", "CommClosedError", "ClosedClientError"])
def test_a_lost_cluster_is_said_in_one_line(monkeypatch, name, sending):
    distributed = pytest.importorskip("distributed")
    error = getattr(distributed.client, name)
    sent = []

    class Arriving(list):
        add = list.append

    class Lost:
        def scheduler_info(self):
            return {"workers": {"one": {}}}

        def submit(self, *_, **__):
            sent.append(self)
            if sending and len(sent) > 1 + running.AHEAD:
                raise error("lost")
            return Future()

    class Future:
        def result(self):
            if not sending:
                raise error("lost")

    monkeypatch.setattr(distributed, "as_completed", Arriving)
    tiles = list(enumerate(Grid(9, 9, 1, 9)))
    with pytest.raises(ModelError, match="cluster was lost; finished tiles are kept"):
        next(running._there(Lost(), None, tiles, "|u1"))


@pytest.mark.slow
def test_workers_make_the_same_map(made, baseline, tmp_path, small_tiles):
    pytest.importorskip("distributed")
    for workers in (1, 2):
        output = tmp_path / f"{workers}.tif"
        classify(request(made, output, model=str(baseline), workers=workers), say=quietly)
    assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()


# The right network, fed as at its training


@pytest.fixture
def copied(made, baseline, tmp_path):
    """Makes another folder of the run, with its baseline and other facts in `run.json`."""

    def copy(name="copy", **facts):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file in ("preparation.npz", baseline.name):
            shutil.copy(made / "run" / file, folder)
        record = json.loads((made / "run" / "run.json").read_text())
        for key, values in facts.items():
            record[key].update(values)
        (folder / "run.json").write_text(json.dumps(record))
        return folder

    return copy


def test_threads_of_a_worker_share_one_network_and_take_turns(made, baseline, monkeypatch):
    inside, most, opened = [], [], []
    plain, plain_load = tile_work.scene_scores, tile_work.load_variant

    def scores_slowly(*args, **options):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        yield from plain(*args, **options)
        inside.pop()

    def load(*args, **options):
        opened.append(1)
        time.sleep(0.01)
        return plain_load(*args, **options)

    monkeypatch.setattr(tile_work, "scene_scores", scores_slowly)
    monkeypatch.setattr(tile_work, "load_variant", load)
    scene = str(made / "scene.hdr")
    work = tile_work.TileWork(scene, str(baseline), 64, 1, False, False, "threads")
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(
            lambda tile: tile_work.classify_tile(work, tile, "|u1").labels,
            Grid(ROWS, COLS, 11, 9),
        )
        assert sum(labels.size for labels in found) == ROWS * COLS
    tile_work.forget()
    assert (max(most), len(opened)) == (1, 1)


@pytest.mark.parametrize("change", ["weights", "name", "more", "preparation"])
def test_a_saved_model_is_known_by_all_its_files(copied, change):
    run = copied()
    weights = run / "saved" / "variables" / "variables.data"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"first")
    (run / "saved" / "saved_model.pb").write_bytes(b"graph")
    before = made_for(str(run / "saved")).sha256
    assert made_for(str(run / "saved")).sha256 == before
    if change == "weights":
        weights.write_bytes(b"other")
    elif change == "name":
        weights.rename(weights.with_name("variables.index"))
    elif change == "more":
        weights.with_name("variables.index").write_bytes(b"")
    else:
        bands.save(bands.fit(cube_of(8), np.ones((ROWS, COLS), bool)), run / "preparation.npz")
    assert made_for(str(run / "saved")).sha256 != before


def test_a_map_of_a_header_that_was_put_right_begins_again(
    made, baseline, tmp_path, small_tiles, monkeypatch
):
    cube = cube_of()
    cube[::3, ::2] = -9999
    scene = write_envi(tmp_path / "s.hdr", cube)
    asked = request(made, tmp_path / "map.npy", scene=str(scene), model=str(baseline))
    with monkeypatch.context() as patched:
        stopping(patched, 4, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            classify(asked, say=quietly)
    write_envi(scene, cube, extra="data ignore value = -9999\n")
    said = []
    classify(asked, say=said.append)
    assert not any(line.startswith("Going on") for line in said)
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy") == 0, cube[:, :, 0] == -9999)


def test_other_bands_classes_or_no_data_are_another_map(made):
    model = replace(made_for(str(made / "run" / TRAINED)), dropped=("none", 7, 8))
    cube = np.zeros((9, 9, 8), np.int16)
    raster = Raster(Path("x"), (), *cube.shape, cube.dtype, of_array(cube), no_data=0)

    def facts(model=model, **changed):
        scene = MappedScene("x", "x", replace(raster, **changed))
        return json.dumps(mapping._facts(scene, model, Request("x", "m")))

    assert facts() == facts()
    others = [
        facts(no_data=None),
        facts(no_data=np.nan),
        facts(replace(model, dropped=("none", 1, 2))),
        facts(replace(model, classes=NUMBERS[::-1])),
    ]
    assert len({facts(), *others}) == 5


def test_counts_beside_pixels_without_data_are_those_of_the_training(
    made, copied, tmp_path, small_tiles
):
    """Nearest neighbours of counts, as a file with its preparation folded in takes them."""
    run = copied(variants={"counts.npz": {"sha256": "", "row": {}, "input": "counts"}})
    rng = np.random.default_rng(5)
    inputs, classes = rng.uniform(100, 4000, (30, 5, 5, BANDS)), rng.integers(0, 3, 30)
    fitted, _ = baselines.fit("knn", inputs.astype(np.float32), classes, total=3, seed=0)
    baselines.save(fitted, run / "counts.npz")
    cube = cube_of()
    holes = np.zeros((ROWS, COLS), bool)
    holes[2::5, 2::5] = True
    cube[holes] = -9999
    scene = write_envi(tmp_path / "s.hdr", cube, extra="data ignore value = -9999\n")
    asked = request(made, tmp_path / "m.npy", scene=str(scene), model=str(run / "counts.npz"))
    classify(asked, say=quietly)
    offset = bands.load(run / "preparation.npz").offset
    patches = Patches(np.where(holes[..., None], offset, cube).astype(np.float32), 5)
    wanted = scores(fitted, patches, np.flatnonzero(~holes)).argmax(axis=1)
    np.testing.assert_array_equal(np.load(tmp_path / "m.npy")[~holes], np.array(NUMBERS)[wanted])
    model = made_for(str(run / "counts.npz"))
    assert model.preparation is None
    bands.save(bands.fit(cube_of(8), np.ones((ROWS, COLS), bool)), run / "preparation.npz")
    assert made_for(str(run / "counts.npz")).sha256 != model.sha256


@pytest.mark.parametrize("linked", ["model", "scene"])
def test_links_are_taken_by_their_own_place(made, baseline, copied, tmp_path, linked):
    """As of git-annex and DVC: files of other names, each in a folder of its own."""
    run, stored = copied(), tmp_path / "stored"
    write_envi(tmp_path / "s.hdr", cube_of())
    of = {"model": [run / baseline.name], "scene": [tmp_path / "s.hdr", tmp_path / "s.img"]}
    for number, path in enumerate(of[linked]):
        (stored / str(number)).mkdir(parents=True)
        path.rename(stored / str(number) / "content")
        path.symlink_to(stored / str(number) / "content")
    own = {"scene": str(tmp_path / "s.hdr"), "model": str(run / baseline.name)}
    classify(request(made, tmp_path / "map.npy", **own), say=quietly)
    classify(request(made, tmp_path / "plain.npy", model=str(baseline)), say=quietly)
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), np.load(tmp_path / "plain.npy"))


def test_approximate_wavelengths_of_a_training_refuse_no_scene(copied):
    guess = {"wavelengths_nm": (WAVES + 130).tolist()}
    cube = np.zeros((9, 9, BANDS), np.int16)
    raster = Raster(Path("x"), (), *cube.shape, cube.dtype, of_array(cube), wavelengths=WAVES)
    model = made_for(str(copied(data={**guess, "wavelengths_approximate": True}) / "knn.npz"))
    assert chosen_bands(model, raster).tolist() == list(range(BANDS))
    stated = made_for(str(copied("stated", data=guess) / "knn.npz"))
    with pytest.raises(DataError, match="6 bands are off"):
        chosen_bands(stated, raster)


def test_a_bare_name_of_a_baseline_is_that_of_the_newest_run(made, copied, tmp_path, monkeypatch):
    copied("outputs/run")
    monkeypatch.chdir(tmp_path)
    said = []
    classify(request(made, tmp_path / "map.npy", model="knn.npz"), say=said.append)
    assert any("Model outputs/run/knn.npz: patch 5" in line for line in said)
    for name in ("svm.npz", "outputs/run/svm.npz"):
        with pytest.raises(ModelError, match="no such model file"):
            made_for(name)
