"""What sheets are made of: images or patches, and what each variant finds important in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsi.composite import FALSE_COLOUR, composite
from hsi.errors import DataError, SettingsError, one_of
from hsi.explain import METHODS
from hsi.files import sha256_of
from hsi.patches import Patches
from hsi.pipeline.job import TRAINED
from hsi.runs import Run
from hsi.survey.design import Choices
from hsi.views.choose import Chosen, choose, predict
from hsi.views.image_set import ImageSetSubject
from hsi.views.locate import locate
from hsi.views.opened import Opened, open_subjects, open_variants
from hsi.views.request import Request
from hsi.views.subject import SceneSubject

Say = Callable[[str], None]
Known = SceneSubject | ImageSetSubject

AROUND, LEAST_AROUND = 3, 45
"""What of the scene is shown with a patch: so many of its sides, and at least so many pixels."""
BEYOND = 0.85
"""Grey, in the place of ground that the scene does not have."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images of a run and the maps of its variants on them.

    Attributes:
        names: (n,) of each image or pixel.
        classes: (n,) published numbers, the true ones.
        pictures: (n, rows, cols, 3) of 0..1.
        originals: (n, rows, cols, 3) of 0..1, what is shown as the original: the same pictures,
            or patches in the middle of what lies around them, grey where the scene ends.
        maps: variant -> (n, rows, cols) from 0 upwards: magnitude, mean over channels.
        predicted: variant -> (n,) published numbers.
        files: variant -> its file, and the sha256 of that.
        class_names: published number -> name.
        of_scene: whether the pictures are patches of a scene; originals are then framed.
        synthetic: whether the scene is generated.
        note: on data and split, for figures.
    """

    names: tuple[str, ...]
    classes: np.ndarray
    pictures: np.ndarray
    originals: np.ndarray
    maps: Mapping[str, np.ndarray]
    predicted: Mapping[str, np.ndarray]
    files: Mapping[str, tuple[str, str]]
    class_names: Mapping[int, str]
    of_scene: bool
    synthetic: bool
    note: str


def chosen_variants(run: Run, wanted: Sequence[str]) -> dict[str, str]:
    """Name -> file of the variants that a survey compares; of none wanted, two.

    Those are the trained one (else the run's first) and the most pruned: the network with the
    fewest weights left, channels removed or weights zero.

    Raises:
        DataError: a run without variants.
        SettingsError: no such variant, or none that is pruned.
    """
    rows = {file: entry["row"] for file, entry in run.record["variants"].items()}
    if not rows:
        raise DataError(f"{run.folder}: this run holds no model yet.")
    known = {str(row["variant"]): file for file, row in rows.items()}
    if wanted:
        names = {**{file: row["variant"] for file, row in rows.items()}, **{n: n for n in known}}
        found = [str(names[one_of(name, names, what="variant")]) for name in wanted]
        if len(set(found)) < len(found):
            raise SettingsError(f"variants: {', '.join(wanted)} name one of them twice.")
        return {name: known[name] for name in found}
    pruned = {name: file for name, file in known.items() if rows[file].get("criterion")}
    if not pruned or len(known) < 2:
        raise SettingsError(
            f"{run.folder}: no pruned network beside another in this run; name two of "
            f"{', '.join(known)} with --variants."
        )
    least = min(pruned, key=lambda name: _left(rows[pruned[name]]))
    others = [name for name in known if name != least]
    first = next((name for name in others if known[name] == TRAINED), others[0])
    return {first: known[first], least: known[least]}


def _left(row: Mapping[str, Any]) -> tuple[float, bool]:
    """Weights that are left; of the same, Keras models before their quantized forms."""
    left = row["parameters"] * (1 - (row.get("sparsity") or 0) / 100)
    return left, not str(row["file"]).endswith(".h5")


def open_pictures(run: Run, choices: Choices, *, say: Say) -> Pictures:
    """Choose images of the run's test part and explain them with every variant; loads TensorFlow.

    Taken are images that the first variant classifies rightly, spread over the classes. Explained
    is their true class, with every variant.

    Raises:
        UserError: no such variant or method, a method that tells no places apart, or whatever is
            wrong with the run.
    """
    method = METHODS[one_of(choices.method, METHODS, what="method")]
    if method.kind != "attribution":
        known = ", ".join(name for name, m in METHODS.items() if m.kind == "attribution")
        raise SettingsError(f"{choices.method} attributes no score: expected one of {known}.")
    files = chosen_variants(run, choices.variants)
    paths = {name: run.path(file) for name, file in files.items()}
    request = Request(
        tuple(map(str, paths.values())), choices.method, samples=choices.images, seed=choices.seed
    ).check()
    found = [locate(file, request) for file in request.files]
    subjects = open_subjects(request, found, say=say)
    from hsi.quiet import start_tensorflow

    start_tensorflow()
    opened = dict(zip(files, open_variants(request, found, subjects), strict=True))
    subject = subjects[0]
    assert isinstance(subject, SceneSubject | ImageSetSubject)
    chosen = choose(
        next(iter(opened.values())).own,
        subject.samples,
        pixels=(),
        count=choices.images,
        klass=None,
        seed=choices.seed,
        batch_size=None,
    )
    for note in chosen.notes:
        say(f"Note: {note}.")
    if len(chosen.keys) < 2:
        raise SettingsError("images: a survey needs two or more, this run's test part gives one.")
    return _pictures(subject, opened, paths, chosen, request, say)


def _pictures(
    subject: Known,
    opened: Mapping[str, Opened],
    paths: Mapping[str, Path],
    chosen: Chosen,
    request: Request,
    say: Say,
) -> Pictures:
    numbers = subject.class_numbers
    shown, originals = looks(subject, chosen.keys)
    maps, predicted = {}, {}
    for name, variant in opened.items():
        maps[name] = _importance(name, variant, subject, chosen, request, say)
        classes, _ = predict(variant.own, chosen.inputs, None, batch_size=None)
        predicted[name] = numbers[classes]
    return Pictures(
        names=tuple(subject.place(int(key)) for key in chosen.keys),
        classes=numbers[chosen.true],
        pictures=shown,
        originals=originals,
        maps=maps,
        predicted=predicted,
        files={name: (path.name, sha256_of(path)) for name, path in paths.items()},
        class_names=subject.samples.class_names,
        of_scene=isinstance(subject, SceneSubject),
        synthetic=subject.synthetic,
        note=subject.note,
    )


def _importance(
    name: str, variant: Opened, subject: Known, chosen: Chosen, request: Request, say: Say
) -> np.ndarray:
    """(n, rows, cols) magnitudes of the maps of one variant, mean over channels."""
    from hsi.views.attributed import Attributed

    found = Attributed(variant, request)(request.method, subject.shown(chosen.keys), chosen.true)
    if found.per == "channel":
        raise SettingsError(
            f"{request.method} tells channels apart, not places; choose another --method."
        )
    for note in found.notes:
        say(f"Note: {name}, {request.method}: {note}.")
    return importance(found.maps)


def importance(maps: np.ndarray) -> np.ndarray:
    """(n, rows, cols, channels) signed -> (n, rows, cols): mean magnitude; not finite counts 0."""
    return np.nan_to_num(np.abs(maps), nan=0.0, posinf=0.0, neginf=0.0).mean(axis=-1)


def looks(subject: Known, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and originals (n, rows, cols, 3) of these samples, 0..1."""
    if isinstance(subject, ImageSetSubject):
        found = subject.pictures(keys)
        return found, found
    colours = composite(subject.scene, FALSE_COLOUR)
    side = subject.samples.patches.patch_size
    patches = Patches(colours, side).gather(keys)
    wide = min(max(AROUND * side, LEAST_AROUND), *colours.shape[:2])
    around = Patches(colours, wide - 1 + wide % 2).gather(keys)
    around[_beyond(keys, colours.shape[:2], around.shape[1], side)] = BEYOND
    return patches, around


def _beyond(keys: np.ndarray, shape: tuple[int, ...], wide: int, side: int) -> np.ndarray:
    """(n, wide, wide) bool: what of these windows lies outside the scene and not in the patch.

    A network takes its patch with the scene mirrored there, and it is shown so; around it mirrored
    ground would be passed off as real.
    """
    steps = np.arange(wide) - wide // 2
    rows, cols = (place[:, None] + steps for place in np.divmod(keys, shape[1]))
    down, across = (rows >= 0) & (rows < shape[0]), (cols >= 0) & (cols < shape[1])
    own = np.abs(steps) <= side // 2
    known: np.ndarray = (down[:, :, None] & across[:, None, :]) | (own[:, None] & own)
    return ~known
