"""Samples: what settings name, ready for a network.

Of a scene: its split, its fitted preparation and its patches, here. Of images: see
`hsi.image_sets`. Both have the face of `hsi.parts.AnySamples`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hsi import bands, parts
from hsi.catalog import CLASS_SETS, open_scene
from hsi.errors import SettingsError
from hsi.image_sets import STANDARD, ImageSamples, ImageScaling, open_image_set
from hsi.parts import Augment, Part
from hsi.patches import Patches, check_patch_size, turned
from hsi.readers.bad_bands import bands_to_drop
from hsi.readers.labels import read_labels
from hsi.scene import Scene
from hsi.settings import Settings
from hsi.split import Amount, Split, make_split

Say = Callable[[str], None]

DEFAULT_IMAGES = "digits"
"""The set for a network of images where none is named: it needs no files."""


@dataclass(frozen=True)
class Samples:
    """A scene: what a network of patches is trained and tested on.

    Attributes:
        scene: with the classes that take part and no others.
        split: disjoint masks over the scene.
        preparation: fitted on the training pixels.
        patches: of the prepared cube.
        folded: of samples as the sensor counts them, the preparation that the networks which take
            them hold themselves; None where samples are prepared.
    """

    scene: Scene
    split: Split
    preparation: bands.Preparation
    patches: Patches
    folded: bands.Preparation | None = None

    unit: ClassVar[str] = "pixel"

    @property
    def augment(self) -> Augment | None:
        return None

    @property
    def name(self) -> str:
        return self.scene.name

    @property
    def synthetic(self) -> bool:
        return self.scene.synthetic

    @property
    def sha256(self) -> str:
        return self.scene.sha256

    @property
    def class_names(self) -> Mapping[int, str]:
        return self.scene.class_names

    @property
    def classes(self) -> int:
        return len(self.scene.classes)

    @property
    def leakage(self) -> float:
        return self.split.leakage

    @property
    def divided(self) -> str:
        return self.split.method

    @property
    def division(self) -> dict[str, np.ndarray]:
        """The masks."""
        return self.split.masks

    @property
    def note(self) -> str:
        split = self.split
        return (
            f"Split {split.method}, seed {split.seed}, leakage {100 * split.leakage:.1f} % "
            f"at patch {split.patch_size}"
        )

    def part(self, name: str) -> Part:
        """The "train", "validation" or "test" pixels with their class indices."""
        pixels = np.flatnonzero(getattr(self.split, name))
        return Part(pixels, self.scene.class_indices().ravel()[pixels])

    def calibration(self, *, seed: int) -> np.ndarray:
        """At most 500 training patches, drawn evenly at random; (n, patch, patch, channels)."""
        return parts.calibration(self.patches, self.part("train"), seed=seed)

    def scored(self, *, seed: int) -> Part:
        """All training pixels."""
        return self.part("train")

    @property
    def moves(self) -> Augment:
        """Changes of a batch after which a teacher can still be asked: patches turn and mirror."""
        return turned

    @property
    def clipped(self) -> int:
        """Values of the scene outside the clipping bounds, but for those that filled pixels."""
        cube, empty = self.scene.cube, self.scene.no_data
        total = bands.count_clipped(self.preparation, cube)
        return (
            total
            if empty is None
            else total - bands.count_clipped(self.preparation, cube[empty][None])
        )

    def save_preparation(self, path: Path) -> None:
        """Write it as .npz; `hsi.bands.load` reads it."""
        bands.save(self.preparation, path)

    def describe(self) -> tuple[str, ...]:
        """Lines for the user: the scene, its split with leakage, the preparation."""
        scene, split = self.scene, self.split
        counts = [np.count_nonzero(mask) for mask in self.division.values()]
        lines = [
            f"Scene {scene.name}{' (SYNTHETIC, not real data)' if scene.synthetic else ''}: "
            f"{scene.rows} x {scene.cols} pixels, {scene.bands} bands, {len(scene.classes)} "
            f"classes, {np.count_nonzero(scene.labels)} labelled pixels.",
            f"Split {split.method} (seed {split.seed}, gap {split.gap}): {counts[0]} training, "
            f"{counts[1]} validation, {counts[2]} test pixels; leakage {100 * split.leakage:.1f} % "
            f"at patch {split.patch_size}.",
        ]
        lines.extend(bands.describe(self.preparation, scene.sensor_bands(), scene.wavelengths))
        if self.clipped:
            lines.append(
                f"Outliers: {self.clipped} values of the scene are clipped to the fitted range."
            )
        notes = (*split.notes, *self.preparation.notes)
        return (*lines, *(f"Note: {note}" for note in notes))

    def record(self) -> dict[str, Any]:
        """What run.json says of the scene, its classes, its split and its preparation."""
        scene, split = self.scene, self.split
        waves = scene.wavelengths
        return {
            "data": {
                "name": scene.name,
                "synthetic": scene.synthetic,
                "sha256": scene.sha256,
                "source": scene.source,
                "sensor": scene.sensor,
                "shape": list(scene.cube.shape),
                "wavelengths_nm": None if waves is None else [float(w) for w in waves],
                "wavelengths_approximate": scene.wavelengths_approximate,
                "sensor_bands": [int(b) for b in scene.sensor_bands()],
                "clipped_values": self.clipped,
            },
            "classes": [
                {"index": i, "number": n, "name": scene.class_names[n]}
                for i, n in enumerate(scene.classes)
            ],
            "split": {
                "method": split.method,
                "seed": split.seed,
                "gap": split.gap,
                "patch_size": split.patch_size,
                "leakage": split.leakage,
                "training": int(split.train.sum()),
                "validation": int(split.validation.sum()),
                "test": int(split.test.sum()),
                "notes": list(split.notes),
            },
            "preparation": {
                **bands.facts(self.preparation, scene.sensor_bands(), waves),
                "notes": list(self.preparation.notes),
            },
        }


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
    split = split_of(
        scene,
        settings,
        patch_size,
        train_labels=_label_map(settings.train_labels, scene, say),
        test_labels=_label_map(settings.test_labels, scene, say),
    )
    if preparation is None:
        preparation = bands.fit(
            scene.cube,
            split.train,
            scaling=settings.scaling,
            band_selection=settings.band_selection,
            components=settings.components,
            labels=scene.labels,
            seed=settings.seed,
        )
    # A pixel without data is 0 after scaling: under standard scaling the training mean.
    scene = scene.fill_no_data(preparation.offset)
    patches = Patches(bands.apply(preparation, scene.cube), patch_size)
    return Samples(scene, split, preparation, patches)


def split_of(
    scene: Scene,
    settings: Settings,
    patch_size: int,
    *,
    train_labels: np.ndarray | None,
    test_labels: np.ndarray | None,
) -> Split:
    """The division of a scene's pixels that settings ask for; see `hsi.split.make_split`."""
    return make_split(
        scene,
        method=settings.split,
        amount=Amount(settings.train_fraction, settings.train_per_class),
        validation_fraction=settings.validation_fraction,
        patch_size=patch_size,
        block_size=settings.block_size,
        seed=settings.seed,
        train_labels=train_labels,
        test_labels=test_labels,
    )


def open_selected_scene(settings: Settings, *, say: Say = print) -> Scene:
    """The scene that settings name, checked, with the wanted classes and bands."""
    scene = open_scene(settings.dataset, labels=settings.labels, like=settings.like, say=say)
    dropped, line = bands_to_drop(
        settings.drop_bands,
        bands=scene.bands,
        bad=scene.bad_bands,
        wavelengths=scene.wavelengths,
        exact=not (scene.wavelengths_approximate or scene.synthetic),
    )
    if line:
        say(f"{scene.name}: {line}")
    scene = scene.mask_no_data(dropping=dropped)
    if scene.no_data is not None:
        say(
            f"{scene.name}: {np.count_nonzero(scene.no_data)} of {scene.no_data.size} pixels hold "
            "no data; they are unlabelled and the centre of no patch."
        )
    scene.check(dropping=dropped)
    if dropped:
        scene = scene.drop_bands(dropped)
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
        elif text.isdecimal() and int(text) in scene.classes:
            numbers.append(int(text))
        elif text.casefold() in by_name:
            numbers.append(by_name[text.casefold()])
        else:
            known = ", ".join(f"{n} {scene.class_names[n]}" for n in scene.classes)
            raise SettingsError(f"classes: {scene.name} has no class {text!r}; it has {known}.")
    return tuple(dict.fromkeys(numbers))


def _label_map(spec: str | None, scene: Scene, say: Say) -> np.ndarray | None:
    """A label map of a given split; pixels without data are in none."""
    if spec is None:
        return None
    found = read_labels(spec, shape=scene.cube.shape, georeference=scene.georeference, say=say)
    return found.array if scene.no_data is None else np.where(scene.no_data, 0, found.array)


def open_images(
    settings: Settings,
    *,
    size: int | None,
    preprocess: str = STANDARD,
    scaling: ImageScaling | None = None,
    say: Say = print,
) -> ImageSamples:
    """Open the image set that settings name; with none the embedded digits, which is said first.

    Args:
        settings: checked, of images.
        size: side of the images, in pixels; None takes the default of the set.
        preprocess: "standard", fitted on training images, or a name of
            `hsi.images.PREPROCESSINGS`.
        scaling: fitted earlier; comes before `preprocess`.
        say: called with one line for each thing worth knowing.

    Raises:
        UserError: whatever is wrong with the images or the settings.
    """
    if settings.dataset is None:
        say(
            "No data set is named: the images are the handwritten digits that scikit-learn brings "
            "along (8 x 8, grey); name others with --dataset."
        )
    return open_image_set(
        settings.dataset or DEFAULT_IMAGES,
        size=size,
        seed=settings.seed,
        validation_fraction=settings.validation_fraction,
        train_fraction=settings.train_fraction,
        preprocess=preprocess,
        scaling=scaling,
        say=say,
    )
