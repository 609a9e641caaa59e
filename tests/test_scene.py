"""The scene: published numbers and class indices, bands left out, and what is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from hsi import scene as scene_module
from hsi.errors import DataError
from hsi.scene import FEW_BANDS, Scene

ROWS, COLS, BANDS = 7, 5, 14


def some_cube(dtype: type = np.float32, *, bands: int = BANDS) -> np.ndarray:
    return np.random.default_rng(0).normal(2000, 300, (ROWS, COLS, bands)).astype(dtype)


def some_labels() -> np.ndarray:
    """Published numbers 2, 5 and 9, and unlabelled pixels."""
    return np.random.default_rng(1).choice([0, 2, 5, 9], (ROWS, COLS)).astype(np.uint8)


def some_scene(cube: np.ndarray | None = None, **facts: object) -> Scene:
    facts = {"labels": some_labels(), **facts}
    return Scene("field", some_cube() if cube is None else cube, **facts)  # type: ignore[arg-type]


def refusal(scene: Scene, *, dropping: tuple[int, ...] = ()) -> str:
    with pytest.raises(DataError) as caught:
        scene.check(dropping=dropping)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("field: ")
    return text


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of two rows and a last one of one row, so that results must be put together."""
    monkeypatch.setattr(scene_module, "CHUNK_BYTES", 2 * some_cube()[0].nbytes)


# Classes


def test_class_indices_are_positions_in_the_published_numbers() -> None:
    scene = some_scene()
    assert scene.classes == (2, 5, 9)
    indices = scene.class_indices()
    assert indices.dtype == np.int32
    for row in range(ROWS):
        for col in range(COLS):
            number = int(scene.labels[row, col])
            expected = scene.classes.index(number) if number else -1
            assert indices[row, col] == expected


def test_class_indices_of_nothing_and_of_negative_labels() -> None:
    assert (some_scene(labels=np.zeros((ROWS, COLS), int)).class_indices() == -1).all()
    labels = some_labels().astype(int)
    labels[0, :2] = -1, 5
    indices = some_scene(labels=labels).class_indices()
    assert indices[0, :2].tolist() == [-1, 1]


def test_class_numbers_of_any_size_cost_no_memory() -> None:
    """A table of all numbers up to the largest would take terabytes."""
    labels = some_labels().astype(np.int64) * 10**12
    indices = some_scene(labels=labels).class_indices()
    assert np.array_equal(indices, some_scene().class_indices())


def test_every_class_that_occurs_has_a_name_and_no_other() -> None:
    scene = some_scene(class_names={2: "Corn", 3: "Oats"})
    assert scene.class_names == {2: "Corn", 5: "class 5", 9: "class 9"}


def test_keep_classes_unlabels_the_others_and_keeps_the_numbers() -> None:
    scene = some_scene(class_names={2: "Corn", 5: "Wheat", 9: "Woods"})
    kept = scene.keep_classes([9, 2])
    np.testing.assert_array_equal(kept.labels, np.where(scene.labels == 5, 0, scene.labels))
    assert kept.class_names == {2: "Corn", 9: "Woods"}
    assert kept.cube is scene.cube
    assert set(np.unique(kept.class_indices())) == {-1, 0, 1}
    with pytest.raises(DataError, match=r"no pixel of class 3; the scene has 2, 5, 9"):
        scene.keep_classes([2, 3])


# Bands


def test_drop_bands_keeps_wavelengths_and_sensor_numbers_with_their_bands() -> None:
    """The sensor has 18 bands; each band of the cube holds its sensor number in every pixel."""
    removed = (1, 6, 7, 18)
    numbers = np.array([n for n in range(1, 19) if n not in removed])
    cube = np.broadcast_to(numbers, (ROWS, COLS, BANDS)).astype(np.int16)
    scene = some_scene(cube, wavelengths=400.0 + 10 * numbers, removed_bands=removed)
    np.testing.assert_array_equal(scene.sensor_bands(), numbers)

    dropped = scene.drop_bands([1, 5, 14])
    assert dropped.bands == BANDS - 3
    assert dropped.removed_bands == tuple(sorted({*removed, *numbers[[0, 4, 13]].tolist()}))
    again = dropped.drop_bands([2])
    for one in (dropped, again):
        np.testing.assert_array_equal(one.sensor_bands(), one.cube[0, 0])
        np.testing.assert_array_equal(one.wavelengths, 400.0 + 10 * one.cube[0, 0])
        np.testing.assert_array_equal(one.labels, scene.labels)
    assert set(again.cube[0, 0]) == set(dropped.cube[0, 0]) - {dropped.cube[0, 0, 1]}


def test_drop_bands_without_wavelengths() -> None:
    scene = some_scene()
    dropped = scene.drop_bands([3, 3])  # named twice, dropped once
    assert dropped.wavelengths is None
    assert dropped.removed_bands == (3,)
    np.testing.assert_array_equal(dropped.cube, np.delete(scene.cube, 2, axis=2))


@pytest.mark.parametrize(
    ("numbers", "said"),
    [([0], "band 0"), ([1, BANDS + 1], f"band {BANDS + 1}"), (range(1, BANDS + 1), "every band")],
)
def test_bands_that_cannot_be_dropped(numbers: list[int], said: str) -> None:
    with pytest.raises(DataError, match=f"cannot drop {said}; expected numbers from 1 to {BANDS}"):
        some_scene().drop_bands(numbers)


# What does not make a scene


def test_parts_that_do_not_fit_together() -> None:
    with pytest.raises(DataError, match=r"cube of \(rows, cols, bands\), got shape \(7, 5\)"):
        some_scene(some_cube()[:, :, 0])
    with pytest.raises(DataError, match=r"labels of 7 x 5 .* got shape \(5, 7\).*not transposed"):
        some_scene(labels=some_labels().T)
    for count in (BANDS - 1, BANDS + 1):
        with pytest.raises(DataError, match=f"expected {BANDS} wavelengths.* got {count}"):
            some_scene(wavelengths=np.linspace(400, 2500, count))


def test_300_classes_are_no_label_map() -> None:
    def of(classes: int) -> Scene:
        return Scene("field", np.zeros((20, 15, 2)), np.arange(300).reshape(20, 15) % (classes + 1))

    assert len(of(255).classes) == 255
    with pytest.raises(DataError, match="at most 255 classes, the labels hold 256"):
        of(256)
    with pytest.raises(DataError, match="hold 300 different values; is this a label map"):
        Scene("field", np.zeros((20, 15, 2)), np.arange(1, 301).reshape(20, 15))


# The check


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">i2", np.float16, np.float32, ">f8"])
def test_a_good_scene_passes(dtype: str, small_chunks: None) -> None:
    values = np.random.default_rng(2).integers(0, 200, (ROWS, COLS, BANDS))
    some_scene(values.astype(dtype)).check()


def test_nothing_but_real_numbers_and_labelled_pixels() -> None:
    assert "complex numbers; expected real" in refusal(some_scene(some_cube(np.complex64)))
    assert "type bool; expected real" in refusal(some_scene(some_cube() > 2000))
    assert "type <U1; expected real" in refusal(some_scene(np.full((ROWS, COLS, 2), "a")))
    text = refusal(some_scene(labels=np.zeros((ROWS, COLS), int)))
    assert "no pixel is labelled, all 35 are 0" in text
    assert "--labels" in text


def test_values_that_are_not_finite_are_counted_and_placed(small_chunks: None) -> None:
    cube = some_cube()
    cube[6, 4, 2] = np.nan
    cube[3, 1, 2] = -np.inf
    cube[0, 0, 8] = np.inf  # earlier in the cube, but in a later band
    assert refusal(some_scene(cube)) == (
        "field: 3 NaN or infinite values in 2 of 14 bands, the first in band 3 at pixel 3,1 "
        "(row,col from 0); leave bands out with --drop_bands 3,9."
    )
    some_scene(cube).drop_bands([3, 9]).check()
    band_first = np.ascontiguousarray(cube.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert refusal(some_scene(band_first)) == refusal(some_scene(cube))


def test_with_bad_values_in_many_bands_the_pixels_are_at_fault() -> None:
    cube = some_cube()
    cube[2, 3, :FEW_BANDS] = np.nan
    assert f"--drop_bands {','.join(map(str, range(1, FEW_BANDS + 1)))}." in refusal(
        some_scene(cube)
    )
    cube[2, 3, FEW_BANDS] = np.nan
    text = refusal(some_scene(cube))
    assert f"{FEW_BANDS + 1} NaN or infinite values" in text
    assert "at pixel 2,3" in text
    assert "cut these pixels off" in text
    assert "--drop_bands" not in text


def test_no_advice_to_drop_every_band() -> None:
    cube = some_cube(bands=2)
    cube[0, 0] = np.nan
    assert "--drop_bands" not in refusal(some_scene(cube))
    text = refusal(some_scene(np.zeros((ROWS, COLS, 2), np.int16)))
    assert "band 1 is 0 in every pixel (2 such bands)" in text
    assert "--drop_bands" not in text


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_constant_bands_are_named(dtype: type, small_chunks: None) -> None:
    """Constant over the whole scene: a band that changes between two pieces is not."""
    cube = some_cube().astype(dtype)
    cube[:, :, 3] = 7
    cube[6, :, 3] = 8
    some_scene(cube).check()
    cube[:, :, 3] = 7
    text = refusal(some_scene(cube))
    assert "band 4 is 7" in text
    assert "such bands" not in text
    assert text.endswith("--drop_bands 4.")
    cube[:, :, [0, 13]] = 0
    text = refusal(some_scene(cube))
    assert "band 1 is 0" in text
    assert "(3 such bands)" in text
    assert text.endswith("--drop_bands 1,4,14.")
    some_scene(cube).drop_bands([1, 4, 14]).check()


def test_bands_to_be_dropped_may_hold_anything_and_stay_in_the_advice() -> None:
    """So the numbers of a second refusal are those of the same cube as the first's."""
    cube = some_cube()
    cube[1, 1, 1] = np.nan
    cube[:, :, 6] = 5
    scene = some_scene(cube)
    assert refusal(scene).endswith("--drop_bands 2.")
    assert refusal(scene, dropping=(2,)).endswith("--drop_bands 2,7.")
    scene.check(dropping=(2, 7))
    scene.drop_bands([2, 7]).check()


def test_a_memory_mapped_cube_is_looked_at_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cube of 16 pieces; asking all of it at once whether it is finite would take 4 of them."""
    piece = 1 << 20
    monkeypatch.setattr(scene_module, "CHUNK_BYTES", piece)
    cube = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (256, 256, 64))
    assert cube.nbytes == 16 * piece
    cube[:] = np.arange(256, dtype=np.float32)[:, None]
    cube[255, 254] = np.nan
    scene = Scene("field", cube, np.ones((256, 256), np.uint8))
    tracemalloc.start()
    try:
        text = refusal(scene)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (
        "64 NaN or infinite values in 64 of 64 bands, the first in band 1 at pixel 255,254" in text
    )
    assert peak < 1.6 * piece  # a piece of the bands in question, and its mask


@pytest.mark.parametrize("no_data", [None, 0.0])
def test_dropping_every_band_is_said_as_that(no_data: float | None) -> None:
    every = tuple(range(1, BANDS + 1))
    scene = some_scene(no_data_value=no_data).mask_no_data(dropping=every)
    assert scene.no_data is None
    scene.check(dropping=every)
    with pytest.raises(DataError, match="cannot drop every band"):
        scene.drop_bands(every)
