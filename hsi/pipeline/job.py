"""A job: a run folder together with the samples that its settings name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi import bands, runs
from hsi.errors import DataError, ModelError, SettingsError
from hsi.files import atomic_path
from hsi.image_sets import load_scaling
from hsi.models import Network
from hsi.parts import AnySamples, Augment, check_same_division, save_division
from hsi.patches import Patches
from hsi.pipeline.beginning import beginning, preprocess_of, side_of
from hsi.pipeline.choices import OWN_TEACHER
from hsi.predict import batches, classes_at
from hsi.runs import Run
from hsi.samples import Samples, absolute_spec, open_images, open_samples
from hsi.settings import Settings

if TYPE_CHECKING:
    import tf_keras as keras

    from hsi.train import Objective

TRAINED = "trained_model.h5"
PREPARATION = "preparation.npz"
SPLIT = "split.npz"

Say = Callable[[str], None]

_FOLDED, _OF_COUNTS = "_folded", "_counts"


@dataclass
class Job:
    """A run on its samples.

    Attributes:
        run: the folder.
        settings: of the run.
        samples: of a scene or of images, divided and prepared.
        network: that is trained, with its defaults.
        say: told of everything worth a line.
        reference: the trained Keras model that others are compared with.
        begun: the network that training begins with, where it was made already.
    """

    run: Run
    settings: Settings
    samples: AnySamples
    network: Network
    say: Say
    reference: Path
    begun: keras.Model | None = None

    @property
    def classes(self) -> int:
        return self.samples.classes

    @property
    def augment(self) -> Augment | None:
        """What changes training batches at random, if anything does."""
        return None if self.settings.no_augmentation else self.samples.augment

    @property
    def learning_rate(self) -> float:
        """Of the training from scratch."""
        return self.settings.learning_rate or self.network.learning_rate

    @cached_property
    def reference_right(self) -> np.ndarray:
        """(test samples,) bool: where the trained model is right."""
        return self.predict(self.reference) == self.samples.part("test").classes

    def predict(self, path: Path, *, counts: bool = False) -> np.ndarray:
        """Class indices of the test samples, (n,), by any model file.

        Args:
            counts: whether the file takes the sensor's counts.
        """
        from hsi.deploy.variant import load_variant

        forward = load_variant(path, threads=os.cpu_count() or 1)
        pixels = self.samples.part("test").pixels
        work = _macs(forward.network)
        return classes_at(forward, self.taken(counts=counts).patches, pixels, macs=work)

    def taken(self, *, counts: bool) -> AnySamples:
        """The samples as a file takes them: prepared, or the sensor's counts."""
        return self._counts if counts else self.samples

    @cached_property
    def _counts(self) -> AnySamples:
        return on_counts(self.samples)

    def teaching(self) -> Objective:
        """To learn from the teacher of the settings, by default the run's own trained model."""
        from hsi.compress.distill import Distillation
        from hsi.deploy.variant import load_variant

        settings = self.settings
        own = settings.teacher in (None, OWN_TEACHER)
        path = self.reference if own else Path(settings.teacher or "")
        teacher = load_variant(path, threads=os.cpu_count() or 1)
        return Distillation(teacher, settings.temperature, settings.teacher_share)

    def training_batches(self, batch_size: int = 256) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Training samples and their class indices, in batches; of images not all."""
        part = self.samples.scored(seed=self.settings.seed)
        for chosen in batches(np.arange(len(part.pixels)), batch_size):
            yield self.samples.patches.gather(part.pixels[chosen]), part.classes[chosen]


def _macs(network: Any) -> int:
    """Multiply-adds of a network for one sample; 0 where they cannot be counted."""
    from hsi.compress.cost import macs

    try:
        return macs(network) if getattr(network, "_is_graph_network", False) else 0
    except ModelError:  # of free sizes
        return 0


def open_job(settings: Settings, *, say: Say) -> Job:
    """Open the samples, then the run: bad input leaves no folder behind."""
    _check_takes(settings)
    run = runs.find_to_resume(settings) if settings.resume else None
    if run and "data" in run.record:
        settings = replace(settings, **runs.data_of(run))
    known = run.path(PREPARATION) if run and run.path(PREPARATION).is_file() else None
    trained = bool(run and run.variant(TRAINED)) or settings.start_from is not None
    side = _side(run) if run and trained and known else side_of(settings)
    samples = _open(settings, side, preparation=known, say=say)
    if settings.resume:  # after the data: where it is not the user's, that is the first line
        say(f"Going on with {run.folder}." if run else "Nothing to resume: a new run.")
    for line in samples.describe():
        say(line)
    begun = None if trained else beginning(settings, samples, say=say)
    run = run or runs.start(settings, data=samples.name)
    say(f"Run folder: {run.folder}")
    _record_samples(run, samples, settings)
    return Job(run, settings, samples, settings.network, say, run.path(TRAINED), begun)


def on_counts(samples: AnySamples) -> Samples:
    """The same samples of a scene, as the sensor counts them: nothing is clipped or scaled.

    Raises:
        DataError: images, which have no counts.
    """
    if not isinstance(samples, Samples):
        raise DataError(f"{samples.name}: expected a scene; images are no counts of a sensor.")
    cube = samples.scene.cube
    raw = bands.fit(cube, samples.split.train, scaling="none")
    return replace(samples, preparation=raw, patches=Patches(cube, samples.patches.patch_size))


def _check_takes(settings: Settings) -> None:
    """Refuse files of counts where samples are prepared: they would be read as something else."""
    if settings.scaling == "none" and settings.band_selection is None:
        return
    for name in ("teacher", "model_file"):
        file = getattr(settings, name)
        if file not in (None, OWN_TEACHER) and runs.takes_counts(Path(file)):
            raise SettingsError(
                f"{name} {file}: takes the sensor's counts, but here samples are prepared; name "
                "the file that it was made of, or give --scaling none without --band_selection."
            )


def open_unwritten_job(settings: Settings, *, say: Say) -> Job | None:
    """The same job for a worker beside the chief; None where there is nothing to train.

    Its run stands for the chief's and is never written.
    """
    _check_takes(settings)
    run = runs.find_to_resume(settings) if settings.resume else None
    if (run and run.variant(TRAINED)) or settings.start_from or settings.quantize_folder:
        return None
    samples = _open(settings, side_of(settings), preparation=None, say=say)
    for line in samples.describe():
        say(line)
    begun = beginning(settings, samples, say=say)
    unwritten = Run(Path(settings.output or runs.OUTPUTS), {"variants": {}})
    return Job(unwritten, settings, samples, settings.network, say, Path(TRAINED), begun)


def open_earlier_job(settings: Settings, *, say: Say) -> Job:
    """A new run on the samples of an earlier one, for `--quantize_folder`."""
    earlier = runs.open_run(Path(settings.quantize_folder or ""))
    then = replace(earlier.settings, **runs.data_of(earlier))
    samples = samples_of(earlier, say=say)
    for line in samples.describe():
        say(line)
    run = runs.find_to_resume(settings) if settings.resume else None
    run = run or runs.start(settings, data=samples.name)
    say(f"Run folder: {run.folder}")
    _record_samples(run, samples, then)
    merged = replace(then, quantization=settings.quantization, threads=settings.threads)
    return Job(run, merged, samples, then.network, say, earlier.path(TRAINED))


def data_run(run: Run) -> Run:
    """The run whose samples the models of a run take: an earlier one where they are quantized ones
    of that (`--quantize_folder`), else itself.

    Raises:
        DataError: the earlier run is gone.
    """
    earlier = run.settings.quantize_folder
    return data_run(runs.open_run(Path(earlier))) if earlier else run


def samples_of(run: Run, *, say: Say) -> AnySamples:
    """The samples of an existing run, prepared as then; see `data_run`.

    Raises:
        DataError: the data has changed, or the run holds no preparation.
    """
    run = data_run(run)
    if "data" not in run.record or not run.path(PREPARATION).is_file():
        raise DataError(f"{run.folder}: this run stopped before it had prepared its data.")
    settings = replace(run.settings, **runs.data_of(run))
    samples = _open(settings, _side(run), preparation=run.path(PREPARATION), say=say)
    _check_unchanged(run, samples)
    return samples


def _side(run: Run) -> int:
    """Side of the patches or images of a run, in pixels."""
    side = run.record["split"].get("patch_size") or run.record["data"]["shape"][1]
    return int(side)


def _open(
    settings: Settings, side: int | None, *, preparation: Path | None, say: Say
) -> AnySamples:
    """The samples that settings name, prepared anew or as a file says."""
    if settings.of_images:
        return open_images(
            settings,
            size=side,
            preprocess=preprocess_of(settings, side),
            scaling=load_scaling(preparation) if preparation else None,
            say=say,
        )
    return open_samples(
        settings,
        patch_size=side or settings.network.patch_size,
        preparation=bands.load(preparation) if preparation else None,
        say=say,
    )


def _check_unchanged(run: Run, samples: AnySamples) -> None:
    known = run.record.get("data")
    if known and known["sha256"] != samples.sha256:
        raise DataError(
            f"{run.folder}: the data of this run has changed (sha256 {known['sha256'][:12]}..., "
            f"now {samples.sha256[:12]}...); start a new run."
        )
    if run.path(SPLIT).is_file():
        check_same_division(samples, run.path(SPLIT))


def _record_samples(run: Run, samples: AnySamples, settings: Settings) -> None:
    """Write what every later command needs to prepare the same input, once."""
    _check_unchanged(run, samples)
    if not run.path(SPLIT).is_file():
        with atomic_path(run.path(SPLIT)) as temporary:
            save_division(samples, temporary)
    if not run.path(PREPARATION).is_file():
        with atomic_path(run.path(PREPARATION)) as temporary:
            samples.save_preparation(temporary)
    known = samples.record()
    named = {
        "dataset": absolute_spec(settings.dataset) or samples.name,
        "labels": absolute_spec(settings.labels),
    }
    run.save(
        data={**named, **known["data"]},
        classes=known["classes"],
        split=known["split"],
        preparation={"scaling": settings.scaling, **known["preparation"]},
    )


def folded_name(file: str) -> str:
    """trained_model.h5 -> trained_model_folded.h5."""
    path = Path(file)
    return f"{path.stem}{_FOLDED}{path.suffix}"


def counts_name(file: str) -> str:
    """trained_model.h5 -> trained_model_counts.h5."""
    path = Path(file)
    return f"{path.stem}{_OF_COUNTS}{path.suffix}"


def is_folded(file: str) -> bool:
    """Whether a file of a run is the folded form of another."""
    return Path(file).stem.endswith(_FOLDED)
