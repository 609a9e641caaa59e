"""A run: a folder that is whole at every moment and can be taken up again.

`run.json` is its memory: settings, data, split, preparation, every finished variant with the hash
of its file. A stage is finished when its record is there and the file still has that hash; files
and records appear by atomic rename, the file first. So a killed run repeats at most one stage.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from hsi.data_paths import DATA, FILES, MAPS, absolute, first_there, is_word, moved, seen_from
from hsi.errors import DataError, OutputError, SettingsError
from hsi.files import sha256_of, write_json
from hsi.settings import Settings, recorded_settings, settings_from
from hsi.version import __version__

RUN_FILE = "run.json"
OUTPUTS = Path("outputs")
"""Where runs lie that were given no folder of their own."""
COUNTS = "counts"
"""`input` in the record of a variant with its preparation folded in; others have none."""
PACKAGES = (
    "numpy", "scipy", "scikit-learn", "tensorflow", "tf-keras", "tensorflow-model-optimization",
    "ai-edge-litert",
)  # fmt: skip


class Run:
    """A run folder and its `run.json`.

    Attributes:
        folder: absolute or relative path, as asked for.
        record: what stands in `run.json`.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record

    @property
    def settings(self) -> Settings:
        """The settings that the run was started with; an earlier run by where that is now."""
        settings = settings_from(self.record["settings"])
        return replace(settings, quantize_folder=self.where("quantize_folder"))

    def where(self, name: str) -> str | None:
        """The data or file that a setting names, by a path that holds from every folder.

        That is the recorded one. If it is gone: where it would be if it was moved together with
        the run, then what the user gave, from the working directory or from a folder above the
        run. Whether the data is still what it was has to be checked with its hash.

        Args:
            name: of `hsi.data_paths.DATA`, `MAPS` or `FILES`.
        """
        given = self.record["settings"].get(name)
        paths = self.record.get("paths", {})
        known = self.record.get("data", {}).get(name) or paths.get(name) or given
        if known is None or is_word(name, known):
            return known
        if given and is_word(name, given) and Path(known).name == given:
            return given  # older runs recorded a folder that was called like the data set
        places = [known]
        if "run" in paths:
            places.append(moved(known, paths["run"], self.folder))
        if given:
            above = self.folder.resolve().parents
            places += [given, *(seen_from(folder, given) for folder in above)]
        return first_there(places, otherwise=known)

    def paths(self, settings: Settings) -> dict[str, str | None]:
        """What `where` needs beside the names of the data: goes into the record as `paths`."""
        given = {name: getattr(settings, name) for name in (*MAPS, *FILES)}
        found = {n: absolute(n, v) for n, v in given.items() if v and not is_word(n, v)}
        return {"run": str(self.folder.resolve()), **found}

    def path(self, name: str) -> Path:
        """The path of one of its files."""
        return self.folder / name

    def save(self, **values: Any) -> None:
        """Put values into the record and write it."""
        self.record.update(values)
        write_json(self.path(RUN_FILE), self.record)

    def variant(self, file: str) -> dict[str, Any] | None:
        """The record of a finished variant, if its file is still what it was."""
        known = self.record["variants"].get(file)
        path = self.path(file)
        return known if known and path.is_file() and sha256_of(path) == known["sha256"] else None

    def takes_counts(self, file: str) -> bool:
        """Whether a file of the run takes the sensor's counts instead of prepared samples."""
        return self.record["variants"].get(file, {}).get("input") == COUNTS

    @property
    def done(self) -> bool:
        """Whether every stage is finished and every file is still what it was."""
        return self.record.get("state") == "done" and all(
            self.variant(file) for file in self.record["variants"]
        )

    def add_variant(self, file: str, row: dict[str, Any], **facts: Any) -> None:
        """Record a finished variant: its row of results.csv and other facts."""
        entry = {"sha256": sha256_of(self.path(file)), "row": row, **facts}
        self.save(variants={**self.record["variants"], file: entry})


def start(settings: Settings, *, data: str) -> Run:
    """Make a new run folder; `data` is the name of the data, for the folder's default name.

    An existing folder is never touched: a default name gets a number, a name that was asked for is
    refused.

    Raises:
        OutputError: the folder exists or cannot be written.
    """
    record = {
        "format": 1,
        "state": "running",
        "settings": settings.of_the_result(),
        "versions": versions(),
        "machine": machine(),
        "variants": {},
    }
    folder = Path(settings.output) if settings.output else default_folder(settings, data)
    try:
        run = Run(_asked_for(folder) if settings.output else _numbered(folder), {})
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}.") from error
    run.save(**record)  # right behind the folder: another run beginning now must see it taken
    return run


def open_run(folder: Path) -> Run:
    """Open an existing run.

    Raises:
        DataError: no run there, or a damaged `run.json`.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        raise DataError(f"{folder}: no run here (no {RUN_FILE}).")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        settings_from(record["settings"])
        dict(record["variants"])
    except (OSError, ValueError, KeyError, TypeError, SettingsError) as error:
        raise DataError(f"{path}: damaged, or not the file of a run.") from error
    return Run(folder, record)


def takes_counts(path: Path) -> bool:
    """Whether a model file takes the sensor's counts, as the run in whose folder it lies says.

    Raises:
        DataError: a damaged run file beside it.
    """
    return (path.parent / RUN_FILE).is_file() and open_run(path.parent).takes_counts(path.name)


def data_of(run: Run) -> dict[str, Any]:
    """The settings that name a run's data, by where it is now and with no default left open."""
    return {name: run.where(name) for name in (*DATA, *MAPS)}


def files_of(run: Run) -> dict[str, Any]:
    """The settings that name other files of a run, by where they are now."""
    return {name: run.where(name) for name in FILES}


def default_folder(settings: Settings, data: str) -> Path:
    """outputs/<model>_<dataset> and whatever sets this run apart from the default one."""
    parts = [settings.network.name, data]
    if settings.quantize_folder:
        parts = [Path(settings.quantize_folder).resolve().name, "quantized"]
    if settings.width != 1:
        parts.append(f"width{settings.width:g}")
    if settings.image_size:
        parts.append(f"{settings.image_size}px")
    if settings.band_selection:
        parts.append(f"{settings.band_selection.lower()}{settings.components}")
    if settings.split != "blocks":
        parts.append(settings.split)
    if settings.seed:
        parts.append(f"seed{settings.seed}")
    return OUTPUTS / "_".join(parts)


def versions() -> dict[str, str]:
    """Versions of this program, Python and the packages that numbers depend on."""
    found = {"hsi": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """What latencies depend on: processor, cores, system."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _numbered(folder: Path) -> Path:
    """Make a folder that was not there: of this name, or with the first free number behind it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            candidate.mkdir()
        except FileExistsError:  # of an earlier run, or of one that begins at this moment
            continue
        return candidate
    raise AssertionError


def _asked_for(folder: Path) -> Path:
    """Make this folder; one that is there already must be empty."""
    if folder.is_dir() and _is_empty(folder):
        return folder
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise OutputError(
            f"{folder}: exists already and is not touched; choose another --output, or go on with "
            f"it by --resume."
        ) from error
    return folder


def find_to_resume(settings: Settings) -> Run | None:
    """The run that `--resume` means: in `--output`, else the newest of these very settings.

    Raises:
        DataError: the folder asked for is not a run.
        SettingsError: it was started with other settings; the first difference is named.
    """
    if settings.output:
        folder = Path(settings.output)
        if not folder.exists() or (folder.is_dir() and _is_empty(folder)):
            return None
        run = open_run(folder)
        _same_settings(run, settings)
        return run
    wanted = settings.of_the_result()
    return next((run for run in recent_runs() if is_of(run, wanted)), None)


def is_of(run: Run, wanted: Mapping[str, Any]) -> bool:
    """Whether a run was started with these settings, perhaps by a version with fewer options."""
    return recorded_settings(run.record["settings"]) == wanted


def recent_runs() -> list[Run]:
    """The readable runs under outputs/, the newest first."""
    found = []
    for path in sorted(OUTPUTS.glob(f"*/{RUN_FILE}"), key=lambda path: -path.stat().st_mtime):
        try:
            found.append(open_run(path.parent))
        except DataError:  # not the run that is looked for; the others count
            continue
    return found


def _is_empty(folder: Path) -> bool:
    """Nothing in it but the remains of a first write of the run file that was cut off."""
    return all(path.name.startswith(f".{Path(RUN_FILE).stem}.") for path in folder.iterdir())


def _same_settings(run: Run, settings: Settings) -> None:
    then, now = recorded_settings(run.record["settings"]), settings.of_the_result()
    for name, value in now.items():
        if then[name] != value:
            raise SettingsError(
                f"{run.folder}: was started with {name} = {then[name]}, now it is {value}; "
                f"resume with the same settings, or choose another --output."
            )
