"""Variants that are compared, each opened with the samples that it was made for; no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hsi.compare.subjects import (
    Common,
    Given,
    Subject,
    check_input,
    check_same_data,
    common_samples,
    given_samples,
)
from hsi.errors import DataError, SettingsError
from hsi.images import read_samples
from hsi.parts import AnySamples, Source
from hsi.pipeline.job import data_run, on_counts, samples_of
from hsi.runs import Run, open_run
from hsi.views.locate import Located, locate
from hsi.views.photographs import open_image_subject
from hsi.views.request import Request

Say = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """Which files are compared, and on which samples.

    Attributes:
        files: paths, or bare names of those in a run folder; the first is the reference.
        run: folder whose samples those without a run.json beside them take.
        inputs: `FILE.npy` or `FILE.npz:KEY` of samples as the networks take them, instead.
        truth: the same of their class indices.
        images: photographs, instead.
        preprocess, resize: of photographs, as in `hsi.views.request.Request`.
        part: of the split: test, validation or train.
        samples: draw as many; None takes all.
        retrained: a file of the first network trained from another seed.
        seed: of the draw.
        trust: run the code that a model file holds.
    """

    files: tuple[str, ...]
    run: str | None = None
    inputs: str | None = None
    truth: str | None = None
    images: tuple[str, ...] = ()
    preprocess: str | None = None
    resize: bool = False
    part: str = "test"
    samples: int | None = None
    retrained: str | None = None
    seed: int = 0
    trust: bool = False


@dataclass(frozen=True, eq=False)
class Compared:
    """What `hsi.compare.comparison.compare` takes.

    Attributes:
        subjects: the variants.
        common: their samples.
        retrained: the first network trained from another seed; None where none was named.
    """

    subjects: tuple[Subject, ...]
    common: Common
    retrained: Subject | None = None


def open_compared(choice: Choice, *, say: Say = lambda line: None) -> Compared:
    """Find the files, and the samples that they have in common.

    Raises:
        SettingsError: options that contradict each other, or no common samples.
        UserError: whatever is wrong with the files or the data.
    """
    _check(choice)
    files = (*choice.files, *((choice.retrained,) if choice.retrained else ()))
    request = Request(
        files,
        "gradient",
        images=choice.images,
        preprocess=choice.preprocess,
        resize=choice.resize,
        trust=choice.trust,
    ).check()
    located = [locate(file, request) for file in files]
    for found in located:
        for note in found.notes:
            say(f"Note: {note}")
    if choice.inputs or choice.images:
        subjects, common = _of_arrays(choice, request, located)
    else:
        subjects = _of_runs(choice, located, say)
        block_size = _block_size(choice, located[0])
        common = common_samples(
            subjects[: len(choice.files)],
            part=choice.part,
            count=choice.samples,
            block_size=block_size,
            seed=choice.seed,
        )
        for retrained in subjects[len(choice.files) :]:  # its split is its own
            check_same_data(subjects[0], retrained)
    for subject, found in zip(subjects, located, strict=True):
        check_input(subject, found.input_shape)
    count = len(choice.files)
    return Compared(tuple(_named(subjects[:count])), common, (*subjects[count:], None)[0])


def _check(choice: Choice) -> None:
    if len(choice.files) < 2:
        raise SettingsError(
            f"Expected at least two model files to compare, got {len(choice.files)}."
        )
    given = [name for name in ("run", "inputs", "images") if getattr(choice, name)]
    if len(given) > 1:
        raise SettingsError(f"{given[0]} and {given[1]}: expected one of them, not both.")
    if choice.truth and not (choice.inputs or choice.images):
        raise SettingsError("truth: expected together with --inputs; a run knows its own.")


def _of_arrays(
    choice: Choice, request: Request, located: Sequence[Located]
) -> tuple[list[Subject], Common]:
    """The same array for every network."""
    shape = next((found.input_shape for found in located if found.input_shape), None)
    if choice.inputs:
        inputs = read_samples(choice.inputs, 4 if shape is None else len(shape) + 1)
        name, unit = Path(choice.inputs).name, "sample"
    else:
        subject = open_image_subject(request, located)
        inputs, name, unit = subject.inputs, "photographs", "image"
    truth = _truth(choice.truth) if choice.truth else None
    common = given_samples(
        inputs, truth, count=choice.samples, seed=choice.seed, unit=unit, name=name
    )
    source = Given(inputs)
    return [_subject(found, source, None) for found in located], common


def _truth(spec: str) -> np.ndarray:
    """(n,) class indices of a file."""
    values = read_samples(spec, 1)
    if (values != np.round(values)).any():
        raise DataError(f"{spec}: expected class indices, whole numbers from 0.")
    return values.astype(np.int64)


def _of_runs(choice: Choice, located: Sequence[Located], say: Say) -> list[Subject]:
    """Each network with the samples of its run, those of one run opened once."""
    named = open_run(Path(choice.run)) if choice.run else None
    if named and all(found.run for found in located):
        raise SettingsError(
            f"run: every file has its own run.json beside it; leave {choice.run} out."
        )
    known: dict[Path, AnySamples] = {}
    subjects = []
    for found in located:
        run = found.run or named
        if run is None:
            raise SettingsError(
                f"{found.path}: no run.json beside it; name a run on whose samples it is compared "
                "with --run FOLDER, or the samples with --inputs FILE.npy (and --truth FILE.npy)."
            )
        folder = run.folder.resolve()
        if folder not in known:
            known[folder] = samples_of(run, say=say)
        samples = known[folder]
        taken = on_counts(samples) if run.takes_counts(found.path.name) else samples
        subjects.append(_subject(found, taken.patches, taken))
    return subjects


def _subject(found: Located, source: Source, samples: AnySamples | None) -> Subject:
    """A variant with what its run knows of it, if its file is still what it was."""
    entry = found.run.variant(found.path.name) if found.run else None
    if entry is None:
        return Subject(found.path, found.path.name, source, samples=samples)
    assert found.run is not None
    parent = entry.get("parent")
    return Subject(
        found.path,
        str(entry["row"]["variant"]),
        source,
        entry["row"],
        samples,
        _folder_of_parents(found.run) / parent if parent else None,
    )


def _folder_of_parents(run: Run) -> Path:
    """Where the models lie that a run converted: its own folder, or an earlier one's."""
    earlier = run.settings.quantize_folder
    return Path(earlier) if earlier else run.folder


def _block_size(choice: Choice, first: Located) -> int:
    run = first.run or open_run(Path(choice.run or ""))
    return data_run(run).settings.block_size


def _named(subjects: Sequence[Subject]) -> list[Subject]:
    """The same with names that are all different, as short as that allows."""
    forms = (
        [subject.name for subject in subjects],
        [f"{subject.path.parent.name}/{subject.name}" for subject in subjects],
        [str(subject.path) for subject in subjects],
        [f"{i} {subject.path}" for i, subject in enumerate(subjects, start=1)],
    )
    names = next(form for form in forms if len(set(form)) == len(form))
    return [replace(subject, name=name) for subject, name in zip(subjects, names, strict=True)]
