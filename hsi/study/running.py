"""The cells of a study, run here one after the other or by the workers of a Dask cluster.

Cells that train the same network share it: it is trained once, in a run of its own, and every cell
begins from that file. Files are timed last and by this process alone, since work beside a
measurement spoils it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hsi.cluster import client_of, losses
from hsi.errors import ModelError, UserError
from hsi.models import BASELINES
from hsi.pipeline import generate
from hsi.progress import progress
from hsi.quiet import forget_models
from hsi.runs import is_of, open_run
from hsi.settings import Settings, settings_from

if TYPE_CHECKING:
    from distributed import Client

CELLS, TRAININGS, LOGS = "cells", "trainings", "logs"
DIED = "its worker died several times (out of memory?); the log says how far it came."

Work: TypeAlias = "Callable[[Settings], str]"
"""Does a run; returns what went wrong, "" where nothing did."""

Runner: TypeAlias = "Callable[[str, Sequence[Settings], Work], dict[str, str]]"
"""Title, runs and what to do with each -> folder and error of those that failed."""


def run_cells(
    folder: Path,
    cells: Sequence[Settings],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, str]:
    """Run what is not finished yet.

    Args:
        folder: of the study, for trainings and logs.
        cells: checked settings, each with its own folder as `output`.
        workers: processes on this machine; one means this process.
        scheduler: address of an existing Dask cluster that sees the same folders, instead.

    Returns:
        Folder -> error, of the cells that could not be run.

    Raises:
        SettingsError: Dask is not installed, or no cluster answers at that address.
        ModelError: the cluster was lost.
    """
    todo = [cell for cell in cells if not is_finished(cell)]
    say(f"{len(cells)} cells, {len(cells) - len(todo)} of them finished already.")
    if not todo:
        return {}
    trainings = {
        str(cell.output): training_of(folder, cell)
        for cell in todo
        if cell.model not in BASELINES  # whose fit is all that their cell does
    }
    unique = {str(training.output): training for training in trainings.values()}
    alone = workers == 1 and scheduler is None
    logs = folder / LOGS
    with _runner(workers, scheduler, say) as run:
        compute = partial(do_run, logs=str(logs), finishing=alone)
        open_ = [training for training in unique.values() if not is_finished(training)]
        broken = run("Training", open_, partial(do_run, logs=str(logs), finishing=False))
        failed = {
            cell: broken[str(training.output)]
            for cell, training in trainings.items()
            if str(training.output) in broken
        }
        ready = [
            _begun(cell, trainings.get(str(cell.output)))
            for cell in todo
            if str(cell.output) not in failed
        ]
        failed |= run("Cells", ready, compute)
    if not alone:
        rest = [cell for cell in ready if str(cell.output) not in failed]
        time = partial(do_run, logs=str(logs), finishing=True)
        failed |= _here("Timing", rest, time, say=say)
    return failed


def is_finished(settings: Settings) -> bool:
    """Whether the run is there, done, and of these very settings."""
    try:
        run = open_run(Path(settings.output or ""))
    except UserError:
        return False
    return run.done and is_of(run, settings.of_the_result())


def training_of(folder: Path, cell: Settings) -> Settings:
    """The run that trains the network of a cell, in a folder named for its settings."""
    alone = cell.training_only()
    text = json.dumps(alone.not_by_default(), sort_keys=True)
    name = f"{alone.model}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    return replace(alone, output=str(folder / TRAININGS / name), resume=True)


def _begun(cell: Settings, training: Settings | None) -> Settings:
    """The cell, from its training's network where it has one, and from where it was stopped."""
    return replace(cell, start_from=training.output if training else None, resume=True)


def do_run(settings: Settings, *, logs: str, finishing: bool) -> str:
    """Do one run, or go on with it; what it says goes to `logs/<its folder>.txt`.

    Returns:
        The one line of a user's error, "" where there was none.
    """
    path = Path(logs) / f"{Path(settings.output or '').name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", buffering=1) as log, redirect_stderr(log):
        try:
            generate(settings, say=lambda line: print(line, file=log), finishing=finishing)
        except UserError as error:
            print(f"error: {error}", file=log)
            return str(error)
        finally:
            forget_models()
    return ""


@contextmanager
def _runner(workers: int, scheduler: str | None, say: Callable[[str], None]) -> Iterator[Runner]:
    if workers == 1 and scheduler is None:
        yield partial(_here, say=say)
        return
    with client_of(workers, scheduler) as client:
        yield partial(_there, client=client, say=say)


def _here(
    title: str, runs: Sequence[Settings], work: Work, *, say: Callable[[str], None]
) -> dict[str, str]:
    return _collect(title, len(runs), ((run, work(run)) for run in runs), say)


def _there(
    title: str,
    runs: Sequence[Settings],
    work: Work,
    *,
    client: Client,
    say: Callable[[str], None],
) -> dict[str, str]:
    from distributed import KilledWorker, as_completed

    def done() -> Iterator[tuple[Settings, str]]:
        # Settings travel as plain values, so that a worker needs nothing of ours but the package.
        plain = [{**run.of_the_result(), **run.beside_the_result()} for run in runs]
        futures = {
            client.submit(_work_on, values, work, pure=False): run
            for values, run in zip(plain, runs, strict=True)
        }
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except losses() as error:
                raise ModelError(
                    "the Dask cluster was lost; finished cells stay, and the same command goes on."
                ) from error
            except KilledWorker:
                yield futures[future], DIED

    return _collect(title, len(runs), done(), say)


def _work_on(values: dict[str, Any], work: Work) -> str:
    return work(settings_from(values))


def _collect(
    title: str,
    total: int,
    done: Iterable[tuple[Settings, str]],
    say: Callable[[str], None],
) -> dict[str, str]:
    failed = {}
    if not total:
        return {}
    with progress(title, total) as advance:
        for count, (run, error) in enumerate(done, start=1):
            name = Path(run.output or "").name
            advance(count, name)
            if error:
                failed[str(run.output)] = error
                say(f"{name}: {error}")
    return failed
