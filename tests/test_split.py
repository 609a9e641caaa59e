"""Splits by their invariants; leakage by loops and against the published figures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.io import loadmat

from hsi.errors import DataError, SettingsError
from hsi.scene import Scene
from hsi.split import Amount, Split, dilate, make_split

MAPS = {
    "indian_pines": "Indian_pines_gt.mat",
    "pavia_u": "PaviaU_gt.mat",
    "salinas": "Salinas_gt.mat",
    "ksc": "KSC_gt.mat",
    "botswana": "Botswana_gt.mat",
}


def scene_of(labels: np.ndarray, name: str = "test") -> Scene:
    cube = np.broadcast_to(np.float32(0), (*labels.shape, 1))
    return Scene(name, cube, np.asarray(labels))


def parcels(seed: int, *, rows: int = 40, cols: int = 50, classes: int = 5) -> Scene:
    """Random rectangles of random classes with published numbers 3, 5, 7 ..., some overlapping."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((rows, cols), np.uint8)
    while len(np.unique(labels)) <= classes or np.unique(labels, return_counts=True)[1].min() < 4:
        labels[:] = 0
        for number in itertools.chain(range(classes), rng.integers(classes, size=8)):
            height, width = rng.integers(3, 16, size=2)
            row, col = rng.integers(rows - height), rng.integers(cols - width)
            labels[row : row + height, col : col + width] = 3 + 2 * number
    return scene_of(labels)


@pytest.fixture(scope="module")
def ground_truth(datasets):
    """A function from a file name to the label map in it."""
    folder = datasets / "ground_truth"
    if not folder.is_dir():
        pytest.skip(f"no label maps: {folder} does not exist")

    def read(name: str) -> np.ndarray:
        arrays = [v for k, v in loadmat(folder / name).items() if not k.startswith("_")]
        return arrays[0]

    return read


def literal_leakage(train: np.ndarray, test: np.ndarray, patch_size: int) -> float:
    half = patch_size // 2
    reached = 0
    for row, col in np.argwhere(test):
        window = train[max(0, row - half) : row + half + 1, max(0, col - half) : col + half + 1]
        reached += bool(window.any())
    return reached / test.sum()


def nearest(a: np.ndarray, b: np.ndarray) -> int:
    """The least Chebyshev distance between True pixels of two masks, pair by pair."""
    left, right = np.argwhere(a), np.argwhere(b)
    return min(int(np.abs(right - pixel).max(axis=1).min()) for pixel in left)


def check_masks(scene: Scene, split: Split) -> None:
    total = split.train.astype(int) + split.validation + split.test
    assert total.max() == 1, "masks overlap"
    assert not total[scene.labels == 0].any(), "an unlabelled pixel takes part"


# Leakage


@pytest.mark.parametrize("patch_size", [1, 3, 5, 9])
@pytest.mark.parametrize("method", ["random", "blocks"])
def test_leakage_is_the_literal_share(method, patch_size):
    scene = parcels(1)
    split = make_split(scene, method=method, patch_size=patch_size, seed=2)
    assert split.leakage == literal_leakage(split.train, split.test, patch_size)


def test_leakage_counts_windows_that_are_cut_off_by_the_border():
    train, test = np.zeros((2, 6, 6), bool)
    train[0, 0] = test[0, 2] = test[5, 5] = test[2, 2] = test[3, 0] = True
    none = np.zeros((6, 6), bool)
    assert Split(train, none, test, "given", 0, 5).leakage == 0.5
    assert Split(train, none, test, "given", 0, 7).leakage == 0.75
    assert Split(train, none, none, "given", 0, 7).leakage == 0.0


def test_dilation_is_the_chebyshev_ball():
    mask = np.zeros((9, 9), bool)
    mask[0, 4] = mask[6, 6] = True
    distances = [np.abs(np.indices((9, 9)).T - pixel).max(axis=2).T for pixel in np.argwhere(mask)]
    for distance in range(4):
        np.testing.assert_array_equal(dilate(mask, distance), np.min(distances, axis=0) <= distance)


@pytest.mark.parametrize(
    ("fraction", "patch_size", "published"),
    [(0.1, 3, 0.52), (0.1, 5, 0.87), (0.1, 9, 0.99), (0.05, 5, 0.64)],
)
def test_random_splits_of_indian_pines_leak_as_published(
    ground_truth, fraction, patch_size, published
):
    scene = scene_of(ground_truth(MAPS["indian_pines"]))
    for seed in range(3):
        split = make_split(
            scene,
            method="random",
            amount=Amount(fraction),
            validation_fraction=0,
            patch_size=patch_size,
            seed=seed,
        )
        assert split.leakage == pytest.approx(published, abs=0.02)


def test_the_disjoint_map_of_indian_pines_leaks_as_published(ground_truth):
    """It numbers the classes differently, and 161 of its pixels have to be left out."""
    scene = scene_of(ground_truth(MAPS["indian_pines"]))
    given = ground_truth("indianpines_disjoint_dset.mat")
    split = make_split(scene, method="given", train_labels=given, validation_fraction=0)
    check_masks(scene, split)
    assert split.leakage == pytest.approx(0.36, abs=0.02)
    assert split.train.sum() == (given > 0).sum() - 151 - 10
    assert not (split.test & (given > 0)).any()
    notes = " ".join(split.notes)
    assert "1 is 2, 2 is 3, 3 is 5" in notes
    assert "left out 151 pixels without a label" in notes
    assert "and 10 with" in notes


def test_the_fixed_maps_of_pavia_university_leak_as_published(ground_truth):
    scene = scene_of(ground_truth(MAPS["pavia_u"]))
    train, test = ground_truth("TRpavia_fixed.mat"), ground_truth("TSpavia_fixed.mat")
    for test_labels in (test, None):
        split = make_split(
            scene,
            method="given",
            train_labels=train,
            test_labels=test_labels,
            validation_fraction=0,
        )
        check_masks(scene, split)
        assert split.leakage == pytest.approx(0.07, abs=0.01)
        np.testing.assert_array_equal(split.test, test > 0)
        assert split.train.sum() == 3921 - 1147
        assert any("left out 1147 pixels without a label" in note for note in split.notes)


# Random


@pytest.mark.parametrize("seed", range(3))
def test_a_random_split_takes_the_share_of_every_class_and_leaves_nothing_over(seed):
    scene = parcels(seed)
    split = make_split(scene, method="random", amount=Amount(0.3), seed=seed)
    check_masks(scene, split)
    learned = split.train | split.validation
    np.testing.assert_array_equal(learned | split.test, scene.labels > 0)
    for number in scene.classes:
        size = (scene.labels == number).sum()
        assert (learned & (scene.labels == number)).sum() == round(0.3 * size)


@pytest.mark.parametrize("method", ["random", "blocks"])
@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_every_class_trains_and_tests_even_at_extreme_shares(method, fraction):
    scene = parcels(4)
    split = make_split(scene, method=method, amount=Amount(fraction), patch_size=1)
    for number in scene.classes:
        assert (split.train & (scene.labels == number)).any()
        assert (split.test & (scene.labels == number)).any()


def test_pixels_per_class_are_that_many_or_all_but_one():
    labels = np.zeros((20, 20), int)
    labels[:10], labels[15, :4] = 1, 2
    split = make_split(
        scene_of(labels), method="random", amount=Amount(per_class=30), validation_fraction=0
    )
    assert (split.train & (labels == 1)).sum() == 30
    assert (split.train & (labels == 2)).sum() == 3


@pytest.mark.parametrize("method", ["random", "blocks"])
def test_the_same_seed_is_the_same_split_and_another_is_another(method):
    scene = parcels(5)
    first, again, other = (make_split(scene, method=method, seed=s) for s in (1, 1, 2))
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert (first.train != other.train).any()


def test_the_split_does_not_depend_on_the_numbers_of_the_classes():
    scene = parcels(6)
    renumbered = scene_of(np.where(scene.labels > 0, scene.labels.astype(int) * 10, 0))
    for method in ("random", "blocks"):
        first, other = (make_split(s, method=method) for s in (scene, renumbered))
        np.testing.assert_array_equal(first.train, other.train)
        np.testing.assert_array_equal(first.test, other.test)


# Validation


@pytest.mark.parametrize("method", ["random", "blocks"])
def test_validation_is_taken_out_of_training_and_leaves_one(method):
    scene = parcels(7)
    amount = Amount(0.2)
    alone = make_split(scene, method=method, amount=amount, validation_fraction=0, seed=3)
    split = make_split(scene, method=method, amount=amount, validation_fraction=0.4, seed=3)
    assert not alone.validation.any()
    np.testing.assert_array_equal(split.train | split.validation, alone.train)
    np.testing.assert_array_equal(split.test, alone.test)
    check_masks(scene, split)
    for number in scene.classes:
        here = scene.labels == number
        count = (alone.train & here).sum()
        assert (split.validation & here).sum() == min(round(0.4 * count), count - 1)


def test_validation_never_takes_the_last_training_pixel():
    split = make_split(
        parcels(8), method="random", amount=Amount(per_class=1), validation_fraction=0.9
    )
    assert not split.validation.any()
    assert split.train.sum() == 5


# Blocks


def check_blocks(scene: Scene, split: Split) -> set[int]:
    """Every promise of a block split; returns the classes that are missing on a side."""
    check_masks(scene, split)
    learned = split.train | split.validation
    assert split.gap == split.patch_size // 2
    assert split.leakage == 0
    assert not (dilate(learned, split.gap) & split.test).any()
    missing = {
        number
        for number in scene.classes
        if not (learned & (scene.labels == number)).any()
        or not (split.test & (scene.labels == number)).any()
    }
    noted = {n for n in scene.classes if any(f"Class {n} (" in note for note in split.notes)}
    assert noted == missing
    return missing


def extent(scene: Scene, number: int) -> int:
    """The largest Chebyshev distance between two pixels of a class."""
    pixels = np.argwhere(scene.labels == number)
    return int(np.ptp(pixels, axis=0).max())


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("patch_size", [3, 5, 9])
def test_blocks_of_the_public_scenes_hold_the_gap_and_every_class(ground_truth, name, patch_size):
    scene = scene_of(ground_truth(MAPS[name]))
    for seed in range(8):
        split = make_split(scene, patch_size=patch_size, seed=seed)
        assert not check_blocks(scene, split), split.notes
        share = (split.train | split.validation).sum() / (scene.labels > 0).sum()
        assert 0.09 < share < 0.13
        assert split.test.sum() > 4 * split.train.sum()


@pytest.mark.parametrize("seed", range(40))
def test_blocks_of_random_scenes_hold_the_gap_and_every_class_wherever_it_can_be(seed):
    scene = parcels(seed, classes=3 + seed % 5)
    rng = np.random.default_rng(seed)
    split = make_split(
        scene,
        amount=Amount(float(rng.choice([0.05, 0.1, 0.3, 0.6]))),
        patch_size=int(rng.choice([1, 3, 5, 9])),
        block_size=int(rng.choice([1, 4, 10, 100])),
        seed=seed,
    )
    for number in check_blocks(scene, split):
        assert extent(scene, number) <= 4 * split.gap, f"class {number} could be on both sides"


def test_the_gap_is_as_wide_as_it_must_be_and_no_wider():
    scene = scene_of(np.where(np.indices((60, 60))[1] < 30, 1, 2))
    split = make_split(scene, patch_size=7, seed=1)
    assert nearest(split.train | split.validation, split.test) == 4
    unused = ~(split.train | split.validation | split.test)
    assert nearest(unused, split.train | split.validation) == 1
    np.testing.assert_array_equal(split.test, ~dilate(split.train | split.validation, 3))


def test_a_class_that_is_too_small_for_the_gap_is_named():
    labels = np.ones((40, 40), int)
    labels[:, 20:] = 2
    labels[5:7, 5:7] = 9
    scene = scene_of(labels)
    assert check_blocks(scene, make_split(scene, patch_size=5, seed=1)) == {9}
    assert check_blocks(scene, make_split(scene, patch_size=1, seed=1)) == set()


def test_most_for_training_takes_the_gap_from_training():
    scene = scene_of(np.where(np.indices((60, 60))[1] < 30, 1, 2))
    split = make_split(scene, amount=Amount(0.7), patch_size=5)
    check_blocks(scene, split)
    assert split.train.sum() > 2 * split.test.sum() * 0.5
    assert split.test.sum() > 0.2 * scene.labels.size


# Given


def given_maps(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    left = np.indices(scene.labels.shape)[1] % 3 == 0
    return np.where(left, scene.labels, 0), np.where(left, 0, scene.labels)


def test_given_maps_are_taken_as_they_are():
    scene = parcels(9)
    train, test = given_maps(scene)
    split = make_split(scene, method="given", train_labels=train, test_labels=test)
    np.testing.assert_array_equal(split.train | split.validation, train > 0)
    np.testing.assert_array_equal(split.test, test > 0)
    assert split.notes == ()
    without = make_split(scene, method="given", train_labels=train)
    np.testing.assert_array_equal(without.test, test > 0)
    assert "every other labelled pixel tests" in without.notes[0]


def test_a_one_to_one_renumbering_is_recognised_and_told():
    scene = parcels(10)
    train, test = given_maps(scene)
    numbers = {0: 0, 3: 5, 5: 3, 7: 1, 9: 9, 11: 2}
    renumbered = np.vectorize(numbers.get)(train)
    split = make_split(scene, method="given", train_labels=renumbered, test_labels=test)
    np.testing.assert_array_equal(split.train | split.validation, train > 0)
    assert split.notes == (
        "train_labels numbers the classes differently: 1 is 7, 2 is 11, 3 is 5, 5 is 3 (mapped).",
    )


def test_two_classes_under_one_number_are_refused():
    scene = parcels(11)
    train, test = given_maps(scene)
    merged = np.where(train == 5, 3, train)
    with pytest.raises(DataError, match=r"train_labels: \d+ of \d+ pixels have another class"):
        make_split(scene, method="given", train_labels=merged, test_labels=test)
    with pytest.raises(DataError, match="test_labels"):
        make_split(scene, method="given", train_labels=train, test_labels=np.where(test, 3, 0))


def test_a_map_of_another_scene_is_refused():
    scene = parcels(12)
    shifted = np.roll(scene.labels, 7, axis=1)
    with pytest.raises(DataError, match="another class"):
        make_split(scene, method="given", train_labels=shifted)
    with pytest.raises(DataError, match=r"expected 40 x 50 pixels .* got shape \(50, 40\)"):
        make_split(scene, method="given", train_labels=scene.labels.T)
    with pytest.raises(DataError, match="got none"):
        make_split(scene, method="given", train_labels=np.zeros((40, 50)))


def test_maps_that_share_pixels_are_refused():
    scene = parcels(13)
    train, test = given_maps(scene)
    pixel = tuple(np.argwhere(train > 0)[0])
    test = test.copy()
    test[pixel] = train[pixel]
    with pytest.raises(DataError, match="share 1 pixels"):
        make_split(scene, method="given", train_labels=train, test_labels=test)


def test_a_map_of_more_classes_than_the_scene_keeps_loses_the_others():
    scene = parcels(14)
    train, test = given_maps(scene)
    kept = scene.keep_classes([3, 7])
    split = make_split(kept, method="given", train_labels=train, test_labels=test)
    np.testing.assert_array_equal(split.train | split.validation, np.isin(train, [3, 7]))
    np.testing.assert_array_equal(split.test, np.isin(test, [3, 7]))
    assert sum("left out" in note for note in split.notes) == 2


def test_a_given_map_that_leaves_nothing_to_test_is_refused():
    scene = parcels(15)
    with pytest.raises(DataError, match="expected test pixels"):
        make_split(scene, method="given", train_labels=scene.labels)


def test_a_class_that_the_given_map_does_not_train_is_named():
    scene = parcels(16)
    train, _ = given_maps(scene)
    split = make_split(scene, method="given", train_labels=np.where(train == 7, 0, train))
    assert any("Class 7" in note and "no training" in note for note in split.notes)


# Refusals


def test_a_class_of_one_pixel_is_refused_by_number_and_name():
    labels = np.ones((20, 20), int)
    labels[:10], labels[3, 3] = 2, 7
    scene = Scene("s", np.zeros((20, 20, 1)), labels, {7: "Oats"})
    for method in ("blocks", "random"):
        with pytest.raises(DataError, match=r"class 7 \(Oats\) has one pixel"):
            make_split(scene, method=method)


def test_one_class_alone_is_refused():
    with pytest.raises(DataError, match="at least two classes"):
        make_split(scene_of(np.ones((9, 9), int)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "block"}, "Did you mean 'blocks'"),
        ({"amount": Amount(0.0)}, "train_fraction"),
        ({"amount": Amount(1.0)}, "train_fraction"),
        ({"amount": Amount(20)}, "train_per_class"),
        ({"amount": Amount(per_class=0)}, "train_per_class"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"validation_fraction": -0.1}, "validation_fraction"),
        ({"block_size": 0}, "block_size"),
        ({"method": "given"}, "train_labels"),
    ],
)
def test_settings_that_leave_nothing_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        make_split(parcels(0), **options)
