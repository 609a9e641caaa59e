"""What a run's record says of its samples: written once, opened again, and checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hsi import bands
from hsi.data_paths import absolute
from hsi.errors import DataError
from hsi.files import atomic_path
from hsi.image_sets import load_scaling
from hsi.parts import AnySamples, check_same_division, save_division
from hsi.pipeline.beginning import preprocess_of
from hsi.runs import Run
from hsi.samples import open_images, open_samples
from hsi.settings import Settings

PREPARATION = "preparation.npz"
SPLIT = "split.npz"

Say = Callable[[str], None]


def recorded_side(run: Run) -> int:
    """Side of the patches or images of a run, in pixels."""
    side = run.record["split"].get("patch_size") or run.record["data"]["shape"][1]
    return int(side)


def open_named(
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


def check_unchanged(run: Run, samples: AnySamples) -> None:
    """Refuse samples that are not those of the run (`DataError`): other data or another split."""
    known = run.record.get("data")
    if known and known["sha256"] != samples.sha256:
        raise DataError(
            f"{run.folder}: the data of this run has changed (sha256 {known['sha256'][:12]}..., "
            f"now {samples.sha256[:12]}...); start a new run."
        )
    if run.path(SPLIT).is_file():
        check_same_division(samples, run.path(SPLIT))


def check_models(run: Run) -> None:
    """Refuse a run whose Keras models are not those on record.

    Raises:
        DataError: the first file that is gone or another one than was tested.
    """
    for file in run.record["variants"]:
        if file.endswith(".h5") and not run.variant(file):
            there = run.path(file).is_file()
            found = "is not the one on record (by sha256)" if there else "is gone"
            raise DataError(
                f"{run.path(file)}: {found}, and what is known of it would be said of another; put "
                "it back, or go on with that run by --resume, which makes it again."
            )


def record_samples(run: Run, samples: AnySamples, *, of_data: Settings, own: Settings) -> None:
    """Write what every later command needs to prepare the same input, once.

    Args:
        of_data: settings that name the data.
        own: settings of the run itself, which name its other files.
    """
    check_unchanged(run, samples)
    if not run.path(SPLIT).is_file():
        with atomic_path(run.path(SPLIT)) as temporary:
            save_division(samples, temporary)
    if not run.path(PREPARATION).is_file():
        with atomic_path(run.path(PREPARATION)) as temporary:
            samples.save_preparation(temporary)
    if run.done:  # as it is, perhaps in a folder that cannot be written
        return
    known = samples.record()
    named = {
        "dataset": absolute("dataset", of_data.dataset) or samples.name,
        "labels": absolute("labels", of_data.labels),
    }
    run.save(
        data={**named, **known["data"]},
        paths=run.paths(own),
        classes=known["classes"],
        split=known["split"],
        preparation={"scaling": of_data.scaling, **known["preparation"]},
    )
