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
from hsi.files import remove_remains
from hsi.models import Network
from hsi.parts import AnySamples, Augment
from hsi.patches import Patches
from hsi.pipeline.beginning import beginning, checked_for_rounding, side_of
from hsi.pipeline.choices import OWN_TEACHER
from hsi.pipeline.recorded import (
    PREPARATION,
    check_models,
    check_unchanged,
    open_named,
    record_samples,
    recorded_side,
)
from hsi.pipeline.recorded import SPLIT as SPLIT
from hsi.predict import batches, classes_at
from hsi.runs import Run
from hsi.samples import Samples
from hsi.settings import Settings

if TYPE_CHECKING:
    import tf_keras as keras

    from hsi.deploy.variant import Variant
    from hsi.train import Objective

TRAINED = "trained_model.h5"

Say = Callable[[str], None]

_OF_QUANTIZING = (
    "model", "quantize", "quantize_folder", "quantize_pruned_models", "quantization",
)  # fmt: skip
"""Settings that a run with `--quantize_folder` has its own of."""
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

    def teaching(self, teacher: Path | None = None) -> Objective:
        """To learn from this model, by default the teacher of the settings or the trained model.

        Raises:
            ModelError: the teacher takes other inputs or tells another number of classes apart.
        """
        from hsi.compress.distill import Distillation
        from hsi.deploy.variant import load_variant

        settings = self.settings
        own = settings.teacher in (None, OWN_TEACHER)
        path = teacher or (self.reference if own else Path(settings.teacher or ""))
        taught = load_variant(path, threads=os.cpu_count() or 1)
        _check_teacher(taught, self.samples)
        return Distillation(taught, settings.temperature, settings.teacher_share)

    def check_teacher(self) -> None:
        """Open the teacher of the settings, where that is a file: hours before it is asked.

        Raises:
            ModelError: as `teaching`.
        """
        if self.settings.teacher not in (None, OWN_TEACHER):
            self.teaching()

    def training_batches(self, batch_size: int = 256) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Training samples and their class indices, in batches; of images not all."""
        part = self.samples.scored(seed=self.settings.seed)
        for chosen in batches(np.arange(len(part.pixels)), batch_size):
            yield self.samples.patches.gather(part.pixels[chosen]), part.classes[chosen]


def _check_teacher(teacher: Variant, samples: AnySamples) -> None:
    """Refuse a teacher that cannot be asked about these samples."""
    from hsi.deploy.variant import sizes_text

    shape, wanted = teacher.input_shape, samples.patches.shape
    fits = len(shape) == len(wanted) and all(
        size in (None, given) for size, given in zip(shape, wanted, strict=True)
    )
    if not fits:
        raise ModelError(
            f"teacher {teacher.path}: takes {sizes_text(shape)}, but {samples.name} gives "
            f"{sizes_text(wanted)} (rows x cols x channels); choose a teacher of the same input."
        )
    if teacher.classes != samples.classes:
        raise ModelError(
            f"teacher {teacher.path}: tells {teacher.classes} classes apart, {samples.name} has "
            f"{samples.classes}; choose a teacher of the same classes."
        )


def _macs(network: Any) -> int:
    """Multiply-adds of a network for one sample; 0 where they cannot be counted."""
    if not getattr(network, "_is_graph_network", False):
        return 0  # before TensorFlow is loaded for a baseline, which does without
    from hsi.compress.cost import macs

    try:
        return macs(network)
    except ModelError:  # of free sizes
        return 0


def open_job(settings: Settings, *, say: Say) -> Job:
    """Open the samples, then the run: bad input leaves no folder behind."""
    run = runs.find_to_resume(settings) if settings.resume else None
    here = _where_it_is(settings, run)
    _check_takes(here)
    known = run.path(PREPARATION) if run and run.path(PREPARATION).is_file() else None
    trained = bool(run and run.variant(TRAINED)) or settings.start_from is not None
    side = recorded_side(run) if run and trained and known else side_of(here)
    samples = open_named(here, side, preparation=known, say=say)
    if settings.resume:  # after the data: where it is not the user's, that is the first line
        say(f"Going on with {run.folder}." if run else "Nothing to resume: a new run.")
    if run:
        remove_remains(run.folder)
    for line in samples.describe():
        say(line)
    begun = None if trained else beginning(here, samples, say=say)
    if here.quantization_aware and not (run and run.done):
        begun = checked_for_rounding(here, samples, begun, _trained_file(here, run), say=say)
    run = run or runs.start(settings, data=samples.name)
    say(f"Run folder: {run.folder}")
    record_samples(run, samples, of_data=here, own=here)
    # As given, for the comparison with the run that training starts from, but for what is read.
    settings = replace(settings, teacher=here.teacher, plan=here.plan)
    return Job(run, settings, samples, settings.network, say, run.path(TRAINED), begun)


def _trained_file(settings: Settings, run: Run | None) -> Path | None:
    """The trained network where there is one already: of this run, or of that to start from."""
    if run and run.variant(TRAINED):
        return run.path(TRAINED)
    return Path(settings.start_from) / TRAINED if settings.start_from else None


def _where_it_is(settings: Settings, run: Run | None) -> Settings:
    """The settings of a run that goes on, with its data and files by where they are now."""
    if run is None or "data" not in run.record:
        return settings
    return replace(settings, **runs.data_of(run), **runs.files_of(run))


def on_counts(samples: AnySamples) -> Samples:
    """The same samples of a scene, as the sensor counts them: nothing is clipped or scaled.

    Raises:
        DataError: images, which have no counts.
    """
    if not isinstance(samples, Samples):
        raise DataError(f"{samples.name}: expected a scene; images are no counts of a sensor.")
    cube = samples.scene.cube
    raw = bands.fit(cube, samples.split.train, scaling="none")
    patches = Patches(cube, samples.patches.patch_size)
    return replace(samples, preparation=raw, patches=patches, folded=samples.preparation)


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
    run = runs.find_to_resume(settings) if settings.resume else None
    if (run and run.variant(TRAINED)) or settings.start_from or settings.quantize_folder:
        return None
    here = _where_it_is(settings, run)
    _check_takes(here)
    samples = open_named(here, side_of(here), preparation=None, say=say)
    for line in samples.describe():
        say(line)
    begun = beginning(here, samples, say=say)
    if here.quantization_aware:
        begun = checked_for_rounding(here, samples, begun, None, say=say)
    unwritten = Run(Path(settings.output or runs.OUTPUTS), {"variants": {}})
    return Job(unwritten, settings, samples, settings.network, say, Path(TRAINED), begun)


def open_earlier_job(settings: Settings, *, say: Say) -> Job:
    """A new run on the samples of an earlier one, for `--quantize_folder`."""
    run = runs.find_to_resume(settings) if settings.resume else None
    own = settings if run is None else run.settings  # with the earlier run by where it is now
    earlier = runs.open_run(Path(own.quantize_folder or ""))
    if run is None:
        _check_taken_over(own, earlier)
    if not (run and run.done):
        check_models(earlier)
    then = replace(earlier.settings, **runs.data_of(earlier))
    samples = samples_of(earlier, say=say)
    for line in samples.describe():
        say(line)
    if run:
        remove_remains(run.folder)
    run = run or runs.start(settings, data=samples.name)
    say(f"Run folder: {run.folder}")
    record_samples(run, samples, of_data=then, own=own)
    merged = replace(then, quantization=settings.quantization, threads=settings.threads)
    return Job(run, merged, samples, then.network, say, earlier.path(TRAINED))


def _check_taken_over(settings: Settings, earlier: Run) -> None:
    """Refuse what is not as in the run whose models `--quantize_folder` names."""
    then, here = earlier.settings, {**runs.data_of(earlier), **runs.files_of(earlier)}
    if settings.network.name != then.network.name:
        raise SettingsError(
            f"quantize_folder: the models in {earlier.folder} are of the network "
            f"{then.network.name}, got {settings.network.name}; they are taken as they are, so "
            "name their own."
        )
    strange = [
        name
        for name, value in settings.not_by_default().items()
        if name not in _OF_QUANTIZING
        and getattr(settings, name) not in (getattr(then, name), here.get(name))
    ]
    if strange:
        raise SettingsError(
            f"quantize_folder: the models in {earlier.folder} are taken as they are, with the data "
            f"and the settings of their run; leave out {', '.join(strange)}."
        )


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
    first = data_run(run)
    if "data" not in first.record or not first.path(PREPARATION).is_file():
        raise DataError(f"{first.folder}: this run stopped before it had prepared its data.")
    settings = replace(first.settings, **runs.data_of(first))
    samples = open_named(
        settings, recorded_side(first), preparation=first.path(PREPARATION), say=say
    )
    check_unchanged(first, samples)
    if run is not first:  # what lies where the earlier run was need not be that
        check_unchanged(run, samples)
    return samples


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
