"""What a model file was made for, as the run beside it says; read without TensorFlow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hsi import bands
from hsi.bands import Preparation
from hsi.baselines import ENDING
from hsi.deploy.variant import TFLITE
from hsi.errors import DataError, ModelError
from hsi.files import sha256_of
from hsi.pipeline.job import PREPARATION, data_run
from hsi.readers.bad_bands import bands_to_drop
from hsi.readers.raster import Raster
from hsi.runs import COUNTS, RUN_FILE, Run, open_run, recent_runs
from hsi.views.locate import locate
from hsi.views.request import Request

SAME_BAND = 0.1
"""Of the spacing to the next bands: farther off, a band is another one."""


@dataclass(frozen=True, eq=False)
class MadeFor:
    """The scene, the bands and the classes of a model's training.

    Attributes:
        path: of the model file.
        scene: name of the scene it was trained on.
        synthetic: whether that was a generated one.
        patch_size: side of its patches, in pixels.
        bands: of a cube that it takes.
        wavelengths: (bands,) nm, or None where the run does not say.
        dropped: what `--drop_bands` said at the training.
        classes: published numbers, in the order of the model's scores.
        names: published number -> name.
        preparation: of the cube; None for a file that takes the sensor's counts.
        fill: (bands,) counts that the training put where there is no data: 0 after scaling.
        sha256: of the file, or of all files of a SavedModel, and of its run's preparation.
    """

    path: Path
    scene: str
    synthetic: bool
    patch_size: int
    bands: int
    wavelengths: np.ndarray | None
    dropped: tuple[int | str, ...]
    classes: tuple[int, ...]
    names: Mapping[int, str]
    preparation: Preparation | None
    fill: np.ndarray
    sha256: str

    @property
    def needs_tensorflow(self) -> bool:
        """Whether the file can be run by TensorFlow alone."""
        return self.path.suffix.lower() not in (TFLITE, ENDING)

    @property
    def channels(self) -> int:
        """Of a prepared cube."""
        return self.preparation.channels if self.preparation else self.bands


def made_for(file: str, *, trust: bool = False) -> MadeFor:
    """What is known of a model file; a bare name is looked for in the newest run, too.

    Raises:
        ModelError: no such file, none of a run, or one of images.
        DataError: a damaged run or preparation.
    """
    path, run = _located(file, trust)
    if run is None:
        raise ModelError(
            f"{path}: no {RUN_FILE} beside it, which says how its input is prepared; give a model "
            "file in the folder of its run (generate_model.py makes one)."
        )
    settings = data_run(run).settings
    if settings.of_images:
        raise ModelError(f"{path}: a network of images; a map needs one of patches of a scene.")
    if "data" not in run.record or "classes" not in run.record:
        raise DataError(f"{run.folder}: this run stopped before it had prepared its data.")
    counts = run.takes_counts(path.name)
    data, classes = run.record["data"], run.record["classes"]
    fitted = bands.load(run.path(PREPARATION))
    # A guess from the sensor's range can lie several bands off; it refuses no scene.
    waves = None if data.get("wavelengths_approximate") else data.get("wavelengths_nm")
    return MadeFor(
        path=path,
        scene=str(data["name"]),
        synthetic=bool(data["synthetic"]),
        patch_size=int(run.record["split"]["patch_size"]),
        bands=fitted.bands,
        wavelengths=None if waves is None else np.asarray(waves, float),
        dropped=tuple(settings.drop_bands),
        classes=tuple(int(row["number"]) for row in classes),
        names={int(row["number"]): str(row["name"]) for row in classes},
        preparation=None if counts else fitted,
        fill=fitted.offset,
        sha256=_digest(path, run.path(PREPARATION), counts=counts),
    )


def _digest(model: Path, preparation: Path, *, counts: bool) -> str:
    """Of the bytes of a model, a file or the folder of a SavedModel, and of what it is fed with."""
    inside = sorted(model.rglob("*")) if model.is_dir() else [model]
    named = [(path.relative_to(model).as_posix(), path) for path in inside if path.is_file()]
    digest = hashlib.sha256()
    for name, path in (*named, (COUNTS if counts else PREPARATION, preparation)):
        digest.update(f"{sha256_of(path)} {name}\n".encode())
    return digest.hexdigest()


def _located(file: str, trust: bool) -> tuple[Path, Run | None]:
    path = _baseline(file)
    if path is not None:
        return path, open_run(path.parent) if (path.parent / RUN_FILE).is_file() else None
    found = locate(file, Request(files=(file,), method="gradient", trust=trust))
    return found.path, found.run


def _baseline(file: str) -> Path | None:
    """A baseline, which `locate` refuses since it shows no layers; None for any other file."""
    path = Path(file)
    if path.suffix.lower() != ENDING:
        return None
    if path.exists() or len(path.parts) > 1:
        return path if path.is_file() else None
    return next((run.path(file) for run in recent_runs() if run.path(file).is_file()), None)


def chosen_bands(model: MadeFor, raster: Raster) -> np.ndarray:
    """The bands of a scene, from 0, that a model takes: those that its training would have kept.

    Bands that the file marks as bad and those of `--drop_bands` are left out as then; where that
    is another number of bands than the model's, all bands are tried, and all that are not bad; and
    where none of these lie at the model's wavelengths, but others do in their order, those.

    Raises:
        DataError: another number of bands, or bands in another order or of another sensor; one
            line that names the first that is wrong.
    """
    everything = np.arange(raster.bands)
    good = np.setdiff1d(everything, np.asarray(raster.bad_bands, int) - 1)
    dropped, _ = bands_to_drop(
        model.dropped,
        bands=raster.bands,
        bad=raster.bad_bands,
        wavelengths=raster.wavelengths,
    )
    as_trained = np.setdiff1d(everything, np.asarray(dropped, int) - 1)
    fitting = [kept for kept in (as_trained, everything, good) if len(kept) == model.bands]
    wrong = [_first_wrong(model, raster, kept) for kept in fitting]
    if "" in wrong:
        return fitting[wrong.index("")]
    known = _by_wavelength(model, raster)
    if known is not None:
        return known
    if not fitting:
        marked = f" ({len(raster.bad_bands)} marked as bad)" if raster.bad_bands else ""
        raise DataError(
            f"{raster.path}: {raster.bands} bands{marked}, but {model.path.name} was trained on "
            f"{model.bands} ({model.scene}); give a scene with the same bands, in the same order."
        )
    raise DataError(f"{raster.path}: {wrong[0]}")


def _by_wavelength(model: MadeFor, raster: Raster) -> np.ndarray | None:
    """The bands at the model's wavelengths, whatever the file marks as bad; None if not all are."""
    if model.wavelengths is None or raster.wavelengths is None or len(model.wavelengths) < 2:
        return None
    wanted, found = model.wavelengths, raster.wavelengths
    nearest = np.abs(found[None] - wanted[:, None]).argmin(axis=1)
    same = np.abs(found[nearest] - wanted) <= SAME_BAND * np.abs(np.gradient(wanted))
    return nearest if same.all() and (np.diff(nearest) > 0).all() else None


def _first_wrong(model: MadeFor, raster: Raster, kept: np.ndarray) -> str:
    """What is said of the first band that lies half a band's spacing off; "" where none does."""
    if model.wavelengths is None or raster.wavelengths is None or len(kept) < 2:
        return ""
    found, wanted = raster.wavelengths[kept], model.wavelengths
    spacing = np.abs(np.gradient(wanted))
    off = np.flatnonzero(np.abs(found - wanted) > spacing / 2)
    if not len(off):
        return ""
    first = off[0]
    return (
        f"band {kept[first] + 1} lies at {found[first]:.1f} nm, where {model.path.name} was "
        f"trained with {wanted[first]:.1f} nm (spacing {spacing[first]:.1f} nm; {len(off)} bands "
        "are off): bands in another order, in other units or of another sensor."
    )
