"""A job: a run folder together with the samples that its settings name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from hsi import bands, runs
from hsi.errors import DataError
from hsi.files import atomic_path
from hsi.models import Network, network
from hsi.predict import batches, scores
from hsi.runs import Run
from hsi.samples import Samples, check_same_split, open_samples, save_split
from hsi.settings import Settings

TRAINED = "trained_model.h5"
PREPARATION = "preparation.npz"
SPLIT = "split.npz"

Say = Callable[[str], None]


@dataclass
class Job:
    """A run on its samples.

    Attributes:
        run: the folder.
        settings: of the run.
        samples: scene, split, preparation and patches.
        network: that is trained, with its defaults.
        say: told of everything worth a line.
        reference: the trained Keras model that others are compared with.
    """

    run: Run
    settings: Settings
    samples: Samples
    network: Network
    say: Say
    reference: Path

    @property
    def classes(self) -> int:
        return len(self.samples.scene.classes)

    @property
    def learning_rate(self) -> float:
        """Of the training from scratch."""
        return self.settings.learning_rate or self.network.learning_rate

    @cached_property
    def reference_right(self) -> np.ndarray:
        """(test pixels,) bool: where the trained model is right."""
        return self.predict(self.reference) == self.samples.part("test").classes

    def predict(self, path: Path) -> np.ndarray:
        """Class indices of the test pixels, (n,), by any model file."""
        from hsi.deploy.variant import load_variant

        forward = load_variant(path, threads=os.cpu_count() or 1)
        pixels = self.samples.part("test").pixels
        return scores(forward, self.samples.patches, pixels).argmax(axis=1)

    def training_batches(self, batch_size: int = 256) -> Iterator[np.ndarray]:
        """The training patches, in batches."""
        for pixels in batches(self.samples.part("train").pixels, batch_size):
            yield self.samples.patches.gather(pixels)


def open_job(settings: Settings, *, say: Say) -> Job:
    """Open the samples, then the run: bad input leaves no folder behind."""
    chosen = network(settings.model)
    run = runs.find_to_resume(settings) if settings.resume else None
    if run and "data" in run.record:
        settings = replace(settings, **runs.data_of(run))
    preparation = None
    if run and run.path(PREPARATION).is_file():
        preparation = bands.load(run.path(PREPARATION))
    samples = open_samples(
        settings,
        patch_size=settings.patch_size or chosen.patch_size,
        preparation=preparation,
        say=say,
    )
    if settings.resume:  # after the scene: where it is synthetic, that is the first line
        say(f"Going on with {run.folder}." if run else "Nothing to resume: a new run.")
    describe(samples, say)
    run = run or runs.start(settings, scene=samples.scene.name)
    say(f"Run folder: {run.folder}")
    _record_samples(run, samples, settings)
    return Job(run, settings, samples, chosen, say, run.path(TRAINED))


def open_earlier_job(settings: Settings, *, say: Say) -> Job:
    """A new run on the samples of an earlier one, for `--quantize_folder`."""
    earlier = runs.open_run(Path(settings.quantize_folder or ""))
    then = replace(earlier.settings, **runs.data_of(earlier))
    samples = samples_of(earlier, say=say)
    describe(samples, say)
    run = runs.find_to_resume(settings) if settings.resume else None
    run = run or runs.start(settings, scene=samples.scene.name)
    say(f"Run folder: {run.folder}")
    _record_samples(run, samples, then)
    merged = replace(then, quantization=settings.quantization, threads=settings.threads)
    return Job(run, merged, samples, network(then.model), say, earlier.path(TRAINED))


def samples_of(run: Run, *, say: Say) -> Samples:
    """The samples of an existing run, prepared as then.

    Raises:
        DataError: the data has changed, or the run holds no preparation.
    """
    if "data" not in run.record or not run.path(PREPARATION).is_file():
        raise DataError(f"{run.folder}: this run stopped before it had prepared its data.")
    samples = open_samples(
        replace(run.settings, **runs.data_of(run)),
        patch_size=run.record["split"]["patch_size"],
        preparation=bands.load(run.path(PREPARATION)),
        say=say,
    )
    _check_unchanged(run, samples)
    return samples


def describe(samples: Samples, say: Say) -> None:
    """Say what the samples are: scene, split with leakage, preparation."""
    scene, split = samples.scene, samples.split
    say(
        f"Scene {scene.name}{' (SYNTHETIC, not real data)' if scene.synthetic else ''}: "
        f"{scene.rows} x {scene.cols} pixels, {scene.bands} bands, {len(scene.classes)} classes, "
        f"{np.count_nonzero(scene.labels)} labelled pixels."
    )
    counts = [np.count_nonzero(m) for m in (split.train, split.validation, split.test)]
    say(
        f"Split {split.method} (seed {split.seed}, gap {split.gap}): {counts[0]} training, "
        f"{counts[1]} validation, {counts[2]} test pixels; leakage {100 * split.leakage:.1f} % "
        f"at patch {split.patch_size}."
    )
    facts = samples.preparation.summary()
    if "explained_variance" in facts:
        say(
            f"PCA: {facts['components']} components, {facts['explained_variance']:.2%} of variance."
        )
    elif "relative_reconstruction_error" in facts:
        say(
            f"NMF: {facts['components']} components, relative reconstruction error "
            f"{facts['relative_reconstruction_error']:.2%}."
        )
    if samples.clipped:
        say(f"Outliers: {samples.clipped} values of the scene are clipped to the fitted range.")
    for note in (*split.notes, *samples.preparation.notes):
        say(f"Note: {note}")


def _check_unchanged(run: Run, samples: Samples) -> None:
    known = run.record.get("data")
    if known and known["sha256"] != samples.scene.sha256:
        raise DataError(
            f"{run.folder}: the data of this run has changed (sha256 {known['sha256'][:12]}..., "
            f"now {samples.scene.sha256[:12]}...); start a new run."
        )
    if run.path(SPLIT).is_file():
        check_same_split(samples.split, run.path(SPLIT))


def _record_samples(run: Run, samples: Samples, settings: Settings) -> None:
    """Write what every later command needs to prepare the same input, once."""
    scene, split = samples.scene, samples.split
    _check_unchanged(run, samples)
    if not run.path(SPLIT).is_file():
        with atomic_path(run.path(SPLIT)) as temporary:
            save_split(split, temporary)
    if not run.path(PREPARATION).is_file():
        with atomic_path(run.path(PREPARATION)) as temporary:
            bands.save(samples.preparation, temporary)
    run.save(
        data={
            "dataset": _where(settings.dataset) or scene.name,
            "labels": _where(settings.labels),
            "name": scene.name,
            "synthetic": scene.synthetic,
            "sha256": scene.sha256,
            "source": scene.source,
            "sensor": scene.sensor,
            "shape": list(scene.cube.shape),
            "wavelengths_nm": None
            if scene.wavelengths is None
            else [float(w) for w in scene.wavelengths],
            "wavelengths_approximate": scene.wavelengths_approximate,
            "sensor_bands": [int(b) for b in scene.sensor_bands()],
            "clipped_values": samples.clipped,
        },
        classes=[
            {"index": i, "number": n, "name": scene.class_names[n]}
            for i, n in enumerate(scene.classes)
        ],
        split={
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
        preparation={
            "scaling": settings.scaling,
            **samples.preparation.summary(),
            "notes": list(samples.preparation.notes),
        },
    )


def _where(spec: str | None) -> str | None:
    """A data set's name as it is; a file with its absolute path, so that later commands find it."""
    if spec is None:
        return None
    file, colon, key = spec.partition(":")
    return f"{Path(file).resolve()}{colon}{key}" if Path(file).exists() else spec
