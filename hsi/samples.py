"""Samples: a scene, its split, its fitted preparation and its patches, ready for a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from hsi import bands
from hsi.catalog import CLASS_SETS, open_scene
from hsi.errors import DataError, SettingsError
from hsi.patches import Patches, check_patch_size
from hsi.readers import read_array
from hsi.scene import Scene
from hsi.settings import Settings
from hsi.split import Amount, Split, make_split

Say = Callable[[str], None]

CALIBRATION_SAMPLES = 500


@dataclass(frozen=True)
class Part:
    """Pixels of a scene and their class indices.

    Attributes:
        pixels: (n,) flat pixel numbers, row * cols + col.
        classes: (n,) class indices 0..classes-1.
    """

    pixels: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class Samples:
    """What a network is trained and tested on.

    Attributes:
        scene: with the classes that take part and no others.
        split: disjoint masks over the scene.
        preparation: fitted on the training pixels.
        patches: of the prepared cube.
    """

    scene: Scene
    split: Split
    preparation: bands.Preparation
    patches: Patches

    def part(self, name: str) -> Part:
        """The "train", "validation" or "test" pixels with their class indices."""
        pixels = np.flatnonzero(getattr(self.split, name))
        return Part(pixels, self.scene.class_indices().ravel()[pixels])

    def calibration(self, *, seed: int) -> np.ndarray:
        """At most 500 training patches, drawn evenly at random; (n, patch, patch, channels)."""
        pixels = self.part("train").pixels
        chosen = np.random.default_rng(seed).permutation(len(pixels))[:CALIBRATION_SAMPLES]
        return self.patches.gather(pixels[chosen])

    @property
    def clipped(self) -> int:
        """Values of the scene outside the clipping bounds."""
        return bands.count_clipped(self.preparation, self.scene.cube)


def open_samples(
    settings: Settings,
    *,
    patch_size: int,
    preparation: bands.Preparation | None = None,
    say: Say = print,
) -> Samples:
    """Open the scene that settings name, split it and prepare it.

    Args:
        settings: checked.
        patch_size: odd side of the patches, in pixels.
        preparation: fitted earlier; None fits one on the training pixels.
        say: called with one line for each thing worth knowing.

    Raises:
        UserError: whatever is wrong with the files or the settings.
    """
    scene = open_selected_scene(settings, say=say)
    check_patch_size(patch_size, scene.rows, scene.cols)
    shape = scene.cube.shape
    split = make_split(
        scene,
        method=settings.split,
        amount=Amount(settings.train_fraction, settings.train_per_class),
        validation_fraction=settings.validation_fraction,
        patch_size=patch_size,
        block_size=settings.block_size,
        seed=settings.seed,
        train_labels=_label_map(settings.train_labels, shape, say),
        test_labels=_label_map(settings.test_labels, shape, say),
    )
    if preparation is None:
        preparation = bands.fit(
            scene.cube,
            split.train,
            scaling=settings.scaling,
            band_selection=settings.band_selection,
            components=settings.components,
            seed=settings.seed,
        )
    patches = Patches(bands.apply(preparation, scene.cube), patch_size)
    return Samples(scene, split, preparation, patches)


def open_selected_scene(settings: Settings, *, say: Say = print) -> Scene:
    """The scene that settings name, checked, with the wanted classes and bands."""
    scene = open_scene(settings.dataset, labels=settings.labels, like=settings.like, say=say)
    scene.check(dropping=settings.drop_bands)
    if settings.drop_bands:
        scene = scene.drop_bands(settings.drop_bands)
    if settings.classes:
        scene = scene.keep_classes(class_numbers(scene, settings.classes))
    return scene


def class_numbers(scene: Scene, wanted: tuple[str, ...]) -> tuple[int, ...]:
    """Published numbers of classes given as numbers, names or the name of a set (cao9).

    Raises:
        SettingsError: no such class; the known ones are listed.
    """
    by_name = {name.casefold(): number for number, name in scene.class_names.items()}
    numbers: list[int] = []
    for text in wanted:
        if text in CLASS_SETS:
            numbers.extend(CLASS_SETS[text])
        elif text.isdigit() and int(text) in scene.classes:
            numbers.append(int(text))
        elif text.casefold() in by_name:
            numbers.append(by_name[text.casefold()])
        else:
            known = ", ".join(f"{n} {scene.class_names[n]}" for n in scene.classes)
            raise SettingsError(f"classes: {scene.name} has no class {text!r}; it has {known}.")
    return tuple(dict.fromkeys(numbers))


def _label_map(spec: str | None, shape: tuple[int, ...], say: Say) -> np.ndarray | None:
    if spec is None:
        return None
    return read_array(spec, kind="labels", shape=shape, say=say).array


def save_split(split: Split, path: Path) -> None:
    """Write the masks as .npz (no pickle)."""
    with path.open("wb") as file:
        np.savez_compressed(file, train=split.train, validation=split.validation, test=split.test)


def check_same_split(split: Split, path: Path) -> None:
    """Refuse to go on where the stored masks are not these (`DataError`)."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            same = all(np.array_equal(stored[n], getattr(split, n)) for n in stored.files)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"{path}: damaged; start a new run.") from error
    if not same:
        raise DataError(
            f"{path}: the split of this run cannot be made again from its settings (another "
            f"version of the data or of this program?); start a new run."
        )
