"""What is compared: variants, each with its own preparation of the same samples.

Two variants of one scene may take other inputs (one 20 components of a PCA, another all bands):
they have samples in common all the same, where data, classes and split are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hsi.compare.means import scene_blocks
from hsi.compare.same_data import PARTS, apart
from hsi.deploy.variant import Variant, load_variant, sizes_text
from hsi.errors import ModelError, SettingsError, one_of
from hsi.parts import AnySamples, Source
from hsi.samples import Samples


@dataclass(frozen=True, eq=False)
class Given:
    """Samples that lie in an array as the network takes them; a `hsi.parts.Source`.

    Attributes:
        inputs: (n, rows, cols, channels).
    """

    inputs: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one input, of whatever rank it is."""
        return tuple(self.inputs.shape[1:])

    def gather(self, pixels: np.ndarray) -> np.ndarray:
        """(n,) indices -> (n, rows, cols, channels) float32."""
        return np.asarray(self.inputs[pixels], np.float32)


@dataclass(frozen=True, eq=False)
class Subject:
    """A variant that is compared.

    Attributes:
        path: of its file.
        name: what it is called; no two the same.
        source: makes its own input of the keys of samples.
        facts: what is on record of it: columns of results.csv.
        samples: that it was made for; None for arrays.
        parent: the model file that it was converted from, where that is on record.
    """

    path: Path
    name: str
    source: Source
    facts: Mapping[str, Any] = field(default_factory=dict)
    samples: AnySamples | None = None
    parent: Path | None = None


@dataclass(frozen=True, eq=False)
class Common:
    """The samples that all variants answer.

    Attributes:
        keys: (n,) of the samples, ascending: flat pixel numbers, or numbers of images.
        truth: (n,) class indices; None where unknown.
        blocks: (n,) the block of the scene that each lies in; None where each stands for itself.
        class_names: names by class index; empty where unknown.
        numbers: published number of each class index; empty where unknown.
        part: "test", "validation" or "train"; "" for arrays.
        unit: what a sample is: "pixel", "image" or "sample".
        name: of the data.
        note: of the split, without a full stop.
        split, leakage: as results.csv has them, leakage in percent; None where unknown.
        synthetic: whether the data is generated.
        shape: (rows, cols) of the scene; None where there is none.
    """

    keys: np.ndarray
    truth: np.ndarray | None
    blocks: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    part: str = ""
    unit: str = "sample"
    name: str = "samples of a file"
    note: str = ""
    split: str | None = None
    leakage: float | None = None
    synthetic: bool = False
    shape: tuple[int, int] | None = None

    def drawn(self, count: int, *, seed: int) -> np.ndarray:
        """Indices of at most `count` of the samples, drawn evenly at random, ascending."""
        order = np.random.default_rng(seed).permutation(len(self.keys))
        return np.sort(order[:count])

    def place(self, index: int) -> str:
        """One of the samples in words."""
        key = int(self.keys[index])
        if self.shape is None:
            return f"{self.unit} {key}"
        row, col = divmod(key, self.shape[1])
        return f"{self.unit} {row},{col}"


def common_samples(
    subjects: Sequence[Subject],
    *,
    part: str = "test",
    count: int | None = None,
    block_size: int = 10,
    seed: int = 0,
) -> Common:
    """The samples that all variants were made for.

    Args:
        subjects: each with the samples that it was made for.
        part: "test", "validation" or "train".
        count: draw as many of them; None takes all.
        block_size: side of the blocks that intervals redraw, in pixels of a scene.
        seed: of the draw.

    Raises:
        SettingsError: other data, classes or splits, or a part without samples.
    """
    one_of(part, PARTS, what="part")
    first = _samples_of(subjects[0])
    for other in subjects[1:]:
        check_same_data(subjects[0], other)
        _check_same_split(first, _samples_of(other), subjects[0].path, other.path)
    chosen = first.part(part)
    if not len(chosen.pixels):
        raise SettingsError(f"part: {first.name} has no {part} samples; choose another part.")
    order = np.argsort(chosen.pixels, kind="stable")
    if count is not None:
        if count < 1:
            raise SettingsError(f"samples: expected 1 or more, got {count}.")
        order = order[Common(chosen.pixels, None).drawn(count, seed=seed)]
    keys, truth = chosen.pixels[order], chosen.classes[order]
    blocks, shape = None, None
    if isinstance(first, Samples):
        shape = first.scene.rows, first.scene.cols
        blocks = scene_blocks(keys, shape, side=block_size)
    return Common(
        keys,
        truth,
        blocks,
        class_names=tuple(first.class_names.values()),
        numbers=tuple(first.class_names),
        part=part,
        unit=first.unit,
        name=first.name,
        note=first.note,
        split=first.divided,
        leakage=100 * first.leakage,
        synthetic=first.synthetic,
        shape=shape,
    )


def given_samples(
    inputs: np.ndarray,
    truth: np.ndarray | None = None,
    *,
    count: int | None = None,
    seed: int = 0,
    unit: str = "sample",
    name: str = "samples of a file",
) -> Common:
    """Samples in arrays: (n, rows, cols, channels) inputs and (n,) class indices.

    Raises:
        SettingsError: none, another number of truths, or truths that are no indices.
    """
    if not len(inputs):
        raise SettingsError("Expected at least one sample, got none.")
    if truth is not None:
        truth = np.asarray(truth)
        if truth.shape != (len(inputs),) or truth.dtype.kind not in "iu":
            raise SettingsError(
                f"truth: expected a class index for each of {len(inputs)} samples, got "
                f"{sizes_text(truth.shape) or 'one'} of type {truth.dtype}."
            )
    everything = Common(np.arange(len(inputs)), truth, unit=unit, name=name)
    if count is None:
        return everything
    if count < 1:
        raise SettingsError(f"samples: expected 1 or more, got {count}.")
    keys = everything.drawn(count, seed=seed)
    return Common(keys, None if truth is None else truth[keys], unit=unit, name=name)


def open_subjects(
    subjects: Sequence[Subject], common: Common, *, threads: int = 1, trust: bool = False
) -> list[Variant]:
    """The networks, checked against their samples and each other.

    Raises:
        ModelError: a file that does not open, or a network of other inputs or classes.
    """
    variants: list[Variant] = []
    for subject in subjects:
        variant = load_variant(subject.path, trust=trust, threads=threads)
        check_input(subject, variant.input_shape)
        wanted = len(common.numbers) or (variants[0].classes if variants else variant.classes)
        if variant.classes != wanted:
            whose = f"{common.name} has" if common.numbers else f"{subjects[0].path} tells"
            raise ModelError(
                f"{subject.path}: tells {variant.classes} classes apart, {whose} {wanted}; only "
                "variants of the same classes can be compared."
            )
        variants.append(variant)
    return variants


def check_input(subject: Subject, shape: Sequence[int | None] | None) -> None:
    """Refuse a network that takes other inputs than its samples are (`ModelError`)."""
    wanted = subject.source.shape
    if shape is None:
        return
    if len(shape) != len(wanted) or any(
        s not in (None, w) for s, w in zip(shape, wanted, strict=True)
    ):
        raise ModelError(
            f"{subject.path}: takes inputs of {sizes_text(shape)}, its samples are "
            f"{sizes_text(wanted)}; name the samples of its training with --run or --inputs."
        )


def _samples_of(subject: Subject) -> AnySamples:
    if subject.samples is None:
        raise SettingsError(f"{subject.path}: expected the samples that it was made for, got none.")
    return subject.samples


def check_same_data(first: Subject, other: Subject) -> None:
    """Refuse variants of other data or of other classes (`SettingsError`)."""
    if why := apart(_samples_of(first), _samples_of(other)):
        raise SettingsError(f"{other.path}: no common samples with {first.path}: {why}.")


def _check_same_split(first: AnySamples, other: AnySamples, path: Path, its: Path) -> None:
    """Refuse runs of other splits: what tests one may have trained the other."""
    mine, theirs = first.division, other.division
    if any(not np.array_equal(mine[part], theirs[part]) for part in mine):
        raise SettingsError(
            f"{its}: no common samples with {path}: another split, so that one may have been "
            f"trained on what tests the other ({other.note}; {first.note}); compare runs of one "
            "--split, --seed and --train_fraction."
        )
