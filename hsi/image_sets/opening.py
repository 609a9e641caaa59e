"""Opening an image set by name, or a folder of images: finding, reading, dividing, scaling."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hsi import catalog, published
from hsi.errors import DataError, SettingsError, one_of
from hsi.image_sets import cifar, digits, folders, ham10000, mnist
from hsi.image_sets.augment import augmentation
from hsi.image_sets.division import divide
from hsi.image_sets.facts import IMAGE_SETS, ImageSet
from hsi.image_sets.listing import Listing, Photographs
from hsi.image_sets.samples import ImageSamples
from hsi.image_sets.scaling import STANDARD, ImageScaling, check_scaling, fit_scaling
from hsi.image_sets.source import ImageSource, runs
from hsi.parts import Augment, Part

Say = Callable[[str], None]

READERS: dict[str, Callable[[ImageSet, Path], Listing]] = {
    "mnist": mnist.read,
    "cifar10": cifar.read,
    "cifar100": cifar.read,
    "imagenette": folders.read,
    "ham10000": ham10000.read,
}
"""Name -> what reads its folder; `digits` needs none."""

FOLDER = "folder:"
FOLDER_SIZE = 96
FITTED = 10_000
"""Photographs that the standardisation is fitted on at most; its error is far below 1 % then."""


def image_set_name(spec: str) -> str | None:
    """The name of the set that a user wrote ("CIFAR-10"), "folder:PATH" as it is, or None."""
    if spec.startswith(FOLDER):
        return spec
    plain = re.sub(r"[-_ ]", "", spec).lower()
    return plain if plain in IMAGE_SETS else None


def open_image_set(
    spec: str,
    *,
    size: int | None = None,
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    train_fraction: float | None = None,
    preprocess: str = STANDARD,
    scaling: ImageScaling | None = None,
    say: Say = print,
) -> ImageSamples:
    """Open an image set, or a folder of images, ready for a network.

    Args:
        spec: a name of `IMAGE_SETS` or `folder:PATH`.
        size: side of the images, in pixels; None takes the default of the set.
        seed: of the division.
        validation_fraction, test_fraction, train_fraction: see `hsi.image_sets.division.divide`.
        preprocess: "standard", fitted on training images, or a name of
            `hsi.images.PREPROCESSINGS`.
        scaling: fitted earlier; comes before `preprocess`.
        say: told of a download.

    Raises:
        DataError, DownloadError, OutputError: the images are not there or cannot be used.
        SettingsError: an unknown name, or settings that do not fit.
    """
    if size is not None and size < 1:
        raise SettingsError(f"image size: expected 1 pixel or more, got {size}.")
    info, listing, name, source = _listing(spec, say)
    check_scaling(scaling.how if scaling else preprocess, listing.images.channels)
    present = np.unique(listing.classes)
    if len(present) < 2:
        raise DataError(f"{source}: expected images of two classes or more, got {len(present)}.")
    numbers = divide(
        listing,
        seed=seed,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        train_fraction=train_fraction,
    )
    for part in ("train", "test"):
        if not len(numbers[part]):
            raise DataError(f"{source}: has no {part} image.")
    size = size or (info.size if info else FOLDER_SIZE)
    images = ImageSource(listing.images, size, scaling=ImageScaling("none"))
    images.scaling = scaling or _scaling(preprocess, images, numbers["train"], seed)
    if len(images.scaling.mean) not in (0, listing.images.channels):
        raise DataError(
            f"{source}: images of {listing.images.channels} channels, but the scaling is of "
            f"{len(images.scaling.mean)}."
        )
    return ImageSamples(
        name=name,
        images=images,
        parts={part: Part(n, listing.classes[n]) for part, n in numbers.items()},
        class_names=listing.class_names,
        keys=listing.keys,
        source=source,
        sha256=listing.sha256,
        seed=seed,
        divided=_divided(listing),
        augment=_augmentation(info, size),
        left_out=np.setdiff1d(np.arange(len(listing.classes)), np.concatenate([*numbers.values()])),
        notes=_notes(info, listing, preprocess, len(numbers["train"])),
    )


def _listing(spec: str, say: Say) -> tuple[ImageSet | None, Listing, str, str]:
    """What is known of the set, its images, its name and where it comes from."""
    if spec.startswith(FOLDER):
        path = Path(spec.removeprefix(FOLDER)).expanduser()
        if not spec.removeprefix(FOLDER):
            raise SettingsError("folder: expected a path behind it, as folder:PATH.")
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", path.resolve().name) or "folder"
        return None, folders.read_folder(path), name, str(path)
    known = (*IMAGE_SETS, FOLDER + "PATH")
    name = one_of(image_set_name(spec) or spec, known, what="image set")
    info = IMAGE_SETS[name]
    if name == "digits":
        return info, digits.read(info), name, info.source
    folder = _folder(info, say)
    return info, READERS[name](info, folder), name, f"{info.source}; {folder}"


def _folder(info: ImageSet, say: Say) -> Path:
    """The folder of a set: found, unpacked or downloaded."""
    if info.files and not info.files[0].is_archive:
        return _folder_of_files(info, say)
    for name in info.folders:
        found = published.find(name, folder=info.name)
        if found and found.is_dir():
            return found
    if not info.files:
        raise DataError(
            f"{info.name}: no folder {info.folders[0]} in "
            f"{' or '.join(map(str, catalog.folders()))}; fetch {info.source} by hand and put it "
            f"into {catalog.folders()[0] / info.folders[0]}."
        )
    for file, name in zip(info.files, info.folders, strict=False):
        if archive := published.find(file.name, folder=info.name):
            return published.unpack(published.check_on_disk(archive, file), name)
    archive = published.download(info.files[0], folder=info.name, owner=info.name, say=say)
    folder = published.unpack(archive, info.folders[0])
    archive.unlink()
    return folder


def _folder_of_files(info: ImageSet, say: Say) -> Path:
    """The folder of a set that is single files; those that are missing are downloaded."""
    folder = published.find(info.folders[0], folder=info.name)
    for file in info.files:
        names = (file.name, file.name.removesuffix(".gz"))
        if folder is None or not any((folder / name).is_file() for name in names):
            got = published.download(file, folder=info.folders[0], owner=info.name, say=say)
            folder = folder or got.parent
    assert folder is not None
    return folder


def _scaling(preprocess: str, images: ImageSource, training: np.ndarray, seed: int) -> ImageScaling:
    if preprocess != STANDARD:
        return ImageScaling(preprocess)
    if isinstance(images.images, Photographs):  # the others need no decoding
        drawn = np.random.default_rng(seed).permutation(training)[:FITTED]
    else:
        drawn = training
    return fit_scaling(images.decoded(batch) for batch in runs(np.sort(drawn)))


def _divided(listing: Listing) -> str:
    if (listing.parts == "").any():
        return "by class, drawn" if listing.groups is None else "by group, drawn"
    return "as published"


def _augmentation(info: ImageSet | None, size: int) -> Augment:
    flips, shift = (info.flips, info.shift) if info else ("horizontal", 0.125)
    return augmentation(flips=flips, shift=round(shift * size))


def _notes(
    info: ImageSet | None, listing: Listing, preprocess: str, training: int
) -> tuple[str, ...]:
    notes = list(listing.notes)
    if info and info.note:
        notes.append(f"{info.name}: {info.note}.")
    if info and len(listing.images) < sum(info.images):
        notes.append(f"{len(listing.images)} of {sum(info.images)} published images are there.")
    absent = sorted(set(range(len(listing.keys))) - set(np.unique(listing.classes).tolist()))
    if absent:
        notes.append(f"No image of the classes {', '.join(listing.keys[i] for i in absent)}.")
    if preprocess == STANDARD and training > FITTED and isinstance(listing.images, Photographs):
        notes.append(f"The scaling is fitted on {FITTED} of {training} training images, drawn.")
    return tuple(notes)
