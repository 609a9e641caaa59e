"""Patches against windows cut one by one from a padded cube."""

from __future__ import annotations

import numpy as np
import pytest

from hsi.errors import SettingsError
from hsi.patches import Patches, check_patch_size, windows
from hsi.predict import batches, class_map, scores


@pytest.fixture
def cube() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(9, 11, 4)).astype(np.float32)


def literal_patch(cube: np.ndarray, row: int, col: int, size: int) -> np.ndarray:
    half = size // 2
    padded = np.pad(cube, ((half, half), (half, half), (0, 0)), mode="symmetric")
    return padded[row : row + size, col : col + size]


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
def test_every_patch_is_the_window_of_the_padded_cube(cube, size):
    patches = Patches(cube, size)
    found = patches.gather(np.arange(99))
    assert found.dtype == np.float32
    assert found.shape == (99, size, size, 4) == (99, *patches.shape)
    for pixel in range(99):
        row, col = divmod(pixel, 11)
        np.testing.assert_array_equal(found[pixel], literal_patch(cube, row, col, size))


@pytest.mark.parametrize("size", [1, 3, 9])
def test_the_centre_of_a_patch_is_its_pixel(cube, size):
    pixels = np.array([98, 0, 57, 57, 10])
    found = Patches(cube, size).gather(pixels)
    np.testing.assert_array_equal(found[:, size // 2, size // 2], cube.reshape(99, 4)[pixels])


def test_a_batch_is_a_copy_and_the_cube_stays(cube):
    before = cube.copy()
    patches = Patches(cube, 3)
    patches.gather(np.array([5]))[:] = 0
    np.testing.assert_array_equal(cube, before)
    np.testing.assert_array_equal(patches.gather(np.array([5]))[0], literal_patch(cube, 0, 5, 3))


def test_no_pixels_are_no_patches(cube):
    assert Patches(cube, 5).gather(np.array([], int)).shape == (0, 5, 5, 4)


@pytest.mark.parametrize("size", [0, 2, 4, -2])
def test_an_even_size_is_refused(size):
    with pytest.raises(SettingsError, match="odd"):
        check_patch_size(size, 20, 20)


def test_a_patch_larger_than_the_scene_is_refused(cube):
    check_patch_size(9, 9, 11)
    with pytest.raises(SettingsError, match=r"at most 9.*9 x 11 pixels.*11"):
        Patches(cube, 11)


@pytest.mark.parametrize("pixel", [-1, 99, 10**6])
def test_a_pixel_outside_the_scene_is_an_error_and_not_another_pixel(cube, pixel):
    with pytest.raises(IndexError):
        Patches(cube, 3).gather(np.array([pixel]))


def test_scores_do_not_depend_on_the_batch_size(cube):
    patches = Patches(cube, 3)
    pixels = np.random.default_rng(1).permutation(99)[:50]
    expected = patches.gather(pixels).mean(axis=(1, 2))
    for size in (1, 7, 50, 256):
        found = scores(lambda b: b.mean(axis=(1, 2)), patches, pixels, batch_size=size)
        np.testing.assert_array_equal(found, expected)
    assert [len(b) for b in batches(pixels, 20)] == [20, 20, 10]


def test_a_class_map_has_the_class_of_every_pixel(cube):
    patches = Patches(cube, 3)
    found = class_map(lambda b: b[:, 1, 1], patches, batch_size=10)
    np.testing.assert_array_equal(found, cube.argmax(axis=2))
    assert found.dtype == np.int32


# Strips


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 2), (9, 11), (2, 5)])
def test_windows_are_all_that_fit(cube, rows, cols):
    found = windows(cube, rows, cols)
    assert found.shape == (10 - rows, 12 - cols, rows, cols * 4)
    for i, j in np.ndindex(found.shape[:2]):
        expected = cube[i : i + rows, j : j + cols]
        np.testing.assert_array_equal(found[i, j].reshape(expected.shape), expected)
    assert np.shares_memory(found, cube)


@pytest.mark.parametrize("most", [1, 7, 32, 33, 40, 98, 99, 10**6])
def test_strips_hold_every_pixel_once_and_no_more_than_they_may(cube, most):
    patches = Patches(cube, 3)
    seen = np.zeros((9, 11), int)
    for strip in patches.strips(most):
        seen[strip.place] += 1
        pixels = patches.pixels(strip)
        assert len(pixels) == strip.rows * strip.cols <= most
        np.testing.assert_array_equal(pixels, np.arange(99).reshape(9, 11)[strip.place].ravel())
    assert (seen == 1).all()


def test_strips_are_whole_rows_where_a_patch_of_these_fits(cube):
    assert [(s.rows, s.cols) for s in Patches(cube, 3).strips(40)] == [(3, 11)] * 3
    assert all(s.cols <= 5 for s in Patches(cube, 3).strips(30))  # squares have less margin


@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_windows_around_a_strip_are_the_patches_of_its_pixels(cube, size):
    patches = Patches(cube, size)
    for strip in patches.strips(20):
        around = patches.around(strip)
        assert around.shape == (strip.rows + size - 1, strip.cols + size - 1, 4)
        cut = windows(np.ascontiguousarray(around), size, size)
        expected = patches.gather(patches.pixels(strip))
        np.testing.assert_array_equal(cut.reshape(expected.shape), expected)
