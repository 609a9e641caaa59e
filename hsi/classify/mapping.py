"""A map from the scene and the model to the file, tile by tile."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hsi.classify import smoothing
from hsi.classify.made_for import MadeFor, chosen_bands, made_for
from hsi.classify.running import answers
from hsi.classify.scenes import MappedScene, open_mapped
from hsi.classify.tile_work import TileWork, checksum_of
from hsi.classify.tiles import Grid, base_bytes, grid_for, megabytes, pixel_bytes
from hsi.classify.unfinished import Unfinished, alone, begin, hidden_files
from hsi.errors import DataError, ModelError, OutputError, SettingsError
from hsi.files import atomic_path
from hsi.progress import progress
from hsi.writers.class_maps import check_writable, label_type, write_class_map
from hsi.writers.legends import Legend

Say = Callable[[str], None]

MEMORY = 2 << 30
PARTS = 4
"""Tiles for each worker at least, so that none waits long for the last."""


@dataclass(frozen=True)
class Request:
    """What a map is asked for.

    Attributes:
        scene: name of the catalogue, "synthetic", `FILE` or `FILE:KEY`.
        model: a model file in the folder of its run.
        output: .tif, .hdr, .npy or .png; None for a name of the scene and the model, as .tif.
        memory: bytes that a process may take; the size of the tiles follows from it.
        workers: processes on this machine.
        scheduler: address of a Dask cluster, instead.
        mrf: strength of the smoothing, or None.
        scores: .npy file for the scores of all pixels, or None.
        batch_size: patches at once, where they have to be cut.
        resume: go on with an unfinished map; False begins again.
        trust: run the code that a model file holds.
    """

    scene: str
    model: str
    output: str | None = None
    memory: int = MEMORY
    workers: int = 1
    scheduler: str | None = None
    mrf: float | None = None
    scores: str | None = None
    batch_size: int = 1024
    resume: bool = True
    trust: bool = False


def classify(request: Request, *, say: Say = print) -> Path:
    """Map a scene: the published class number of every pixel, borders included; 0 without data.

    Returns:
        The file of the map. It gets its name when it is whole.

    Raises:
        UserError: the scene, the model or the output cannot be used, or do not fit each other;
            finished tiles are kept, and the same request goes on.
    """
    _check(request)
    model = made_for(request.model, trust=request.trust)
    scene = open_mapped(request.scene, say=say)
    output = Path(request.output or f"{scene.name}_{model.path.stem}.tif")
    legend, raster = legend_of(model), scene.raster
    check_writable(output, legend, georeference=raster.georeference, keep=raster.files)
    if request.scores:
        _check_scores(Path(request.scores), output, scene, model)
    chosen_bands(model, raster)
    if model.patch_size > min(raster.rows, raster.cols):
        raise DataError(
            f"{raster.path}: {raster.rows} x {raster.cols} pixels; the patches of {model.path.name}"
            f" are {model.patch_size} x {model.patch_size}: give a larger part of the scene."
        )
    _say_facts(scene, model, say)
    work = TileWork(
        scene.spec, str(model.path.absolute()), request.batch_size, os.cpu_count() or 1,
        bool(request.mrf or request.scores), request.trust, _stamp(scene, model),
    )  # fmt: skip
    grid = _grid(request, scene, model)
    with alone(output):
        unfinished = _begun(output, grid, scene, model, request, work, say)
        _run_tiles(unfinished, work, request, say)
        if request.mrf:
            _smooth(unfinished, model, request.mrf, say)
        labels = unfinished.labels
        written = write_class_map(output, labels, legend, georeference=raster.georeference)
        if request.scores:
            written.append(_write_scores(Path(request.scores), unfinished))
        empty = sum(int(np.count_nonzero(labels[tile.place] == 0)) for tile in unfinished.grid)
        if empty:
            say(f"{empty} of {raster.rows * raster.cols} pixels hold no data: they are 0.")
        del labels
        unfinished.discard()
    for path in written:
        say(f"Written: {path}")
    return output


def legend_of(model: MadeFor) -> Legend:
    """The names and colours of a model's classes, those of the project's figures."""
    from hsi.plots.colors import class_color

    def rgb(number: int) -> tuple[int, int, int]:
        text = class_color(number).lstrip("#")
        return int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)

    return Legend(model.names, {number: rgb(number) for number in (0, *model.names)})


def _check(request: Request) -> None:
    """What can be refused before anything is opened."""
    if request.workers < 1:
        raise SettingsError(f"workers: expected 1 or more, got {request.workers}.")
    if request.batch_size < 1:
        raise SettingsError(f"batch_size: expected 1 or more, got {request.batch_size}.")
    if request.output:
        check_writable(Path(request.output))
    if request.scores and Path(request.scores).suffix.lower() != ".npy":
        raise SettingsError(f"scores: expected a name that ends in .npy, got {request.scores}.")
    if request.mrf is not None:
        smoothing.check_beta(request.mrf)


def _check_scores(path: Path, output: Path, scene: MappedScene, model: MadeFor) -> None:
    """Refuse scores that would take the place of another file (`OutputError`)."""
    check_writable(path, keep=scene.raster.files)
    others = {"the map": [output, *hidden_files(output)], "the model": [model.path]}
    for what, files in others.items():
        if any(file.resolve() == path.resolve() for file in files):
            raise OutputError(f"scores: {path} would be written over {what}; choose another name.")


def _say_facts(scene: MappedScene, model: MadeFor, say: Say) -> None:
    raster = scene.raster
    if scene.synthetic or model.synthetic:
        say("SYNTHETIC, not real data: the scene or the training of the model was generated.")
    say(
        f"Scene {scene.name}: {raster.rows} x {raster.cols} pixels, {raster.bands} bands. "
        f"Model {model.path}: patch {model.patch_size}, {len(model.classes)} classes, trained on "
        f"{model.scene}."
    )
    missing = [
        name
        for name, waves in ((scene.name, raster.wavelengths), (model.scene, model.wavelengths))
        if waves is None
    ]
    if missing and scene.name != model.scene:
        say(
            f"Note: no wavelengths are known of {' and '.join(dict.fromkeys(missing))}, so only "
            "the number of bands was compared, not their order."
        )


def _grid(request: Request, scene: MappedScene, model: MadeFor) -> Grid:
    """The tiles that fit the memory; refuses a smoothing that does not (`SettingsError`)."""
    raster, classes = scene.raster, len(model.classes)
    base, pixel = _needs(request, scene, model)
    if request.mrf:
        needed = base + smoothing.smoothing_bytes(raster.rows, raster.cols, classes)
        if needed > request.memory:
            raise SettingsError(
                f"mrf: smoothing takes the scores of all {raster.rows} x {raster.cols} pixels at "
                f"once, about {megabytes(needed)}, and --memory is {megabytes(request.memory)}; "
                "raise it, or map a part of the scene."
            )
    alone = request.workers == 1 and request.scheduler is None
    return grid_for(
        raster.rows,
        raster.cols,
        margin=model.patch_size - 1,
        pixel_bytes=pixel,
        memory=request.memory,
        base=base,
        parts=1 if alone else PARTS * max(request.workers, 2),
    )


def _needs(request: Request, scene: MappedScene, model: MadeFor) -> tuple[int, int]:
    """Bytes that a process takes whatever the tile, and those of each pixel of one."""
    classes = len(model.classes) if request.mrf or request.scores else 0
    base = base_bytes(scene.raster.bands, scene.raster.cols, keras=model.needs_tensorflow)
    return base, pixel_bytes(scene.raster, model.channels, classes=classes)


def _fits(grid: Grid, request: Request, scene: MappedScene, model: MadeFor) -> bool:
    """Whether tiles, with their margins, fit the memory or are no larger than new ones were."""
    base, pixel = _needs(request, scene, model)
    largest = _grid(replace(request, workers=1, scheduler=None), scene, model)

    def padded(grid: Grid) -> int:
        return (grid.height + model.patch_size - 1) * (grid.width + model.patch_size - 1)

    return padded(grid) <= max((request.memory - base) // pixel, padded(largest))


def _facts(scene: MappedScene, model: MadeFor, request: Request) -> dict[str, Any]:
    """What an unfinished map must be of, for it to be gone on with."""
    raster = scene.raster
    return {
        "scene": scene.spec,
        "shape": list(raster.shape),
        "values": raster.dtype.str,
        "no_data": repr(raster.no_data),
        "bands": chosen_bands(model, raster).tolist(),
        "model": model.sha256,
        "classes": list(model.classes),
        "scores": bool(request.mrf or request.scores),
        "mrf": request.mrf,
    }


def _stamp(scene: MappedScene, model: MadeFor) -> str:
    files = [path.stat() for path in scene.raster.files]
    return f"{model.sha256} {[(s.st_mtime_ns, s.st_size) for s in files]}"


def _begun(
    output: Path,
    grid: Grid,
    scene: MappedScene,
    model: MadeFor,
    request: Request,
    work: TileWork,
    say: Say,
) -> Unfinished:
    """The map that was begun there, if its tiles are of the same pixels; else a new one."""
    facts = _facts(scene, model, request)
    dtype, classes = label_type(legend_of(model)), len(model.classes) if work.scores else 0

    def start(*, resume: bool) -> Unfinished:
        return begin(output, facts, grid, dtype=dtype, classes=classes, resume=resume)

    unfinished = start(resume=request.resume)
    if not _fits(unfinished.grid, request, scene, model):
        say("The map was begun with more memory, in larger tiles: it begins again.")
        return start(resume=False)
    done = sorted(unfinished.done)
    for number in sorted({*done[:1], *done[len(done) // 2 :][:1], *done[-1:]}):
        found = checksum_of(unfinished.grid[number], model, scene.raster)
        if found != unfinished.done[number]:
            say(f"{scene.name} has changed since the map was begun: it begins again.")
            return start(resume=False)
    if done:
        say(f"Going on: {len(done)} of {len(unfinished.grid)} tiles were finished.")
    return unfinished


def _run_tiles(unfinished: Unfinished, work: TileWork, request: Request, say: Say) -> None:
    grid = unfinished.grid
    todo = [(number, tile) for number, tile in enumerate(grid) if number not in unfinished.done]
    if len(grid) > 1:
        say(f"{len(grid)} tiles of {grid.height} x {grid.width} pixels.")
    if not todo:
        return
    ways: Counter[str] = Counter()
    first: dict[str, str] = {}
    started = answers(
        work, todo, unfinished.labels.dtype.str,
        workers=request.workers, scheduler=request.scheduler,
    )  # fmt: skip
    with started as arriving, progress("Classifying", len(grid)) as advance:
        advance(len(unfinished.done), "")
        for number, answer in arriving:
            if request.mrf and answer.scores is not None:
                _check_smoothable(unfinished, answer.scores, answer.labels > 0)
            unfinished.store(number, answer.labels, answer.scores, answer.checksum)
            kind = re.sub(r"\d+", "N", answer.way)
            first.setdefault(kind, answer.way)
            ways[kind] += 1
            advance(len(unfinished.done), "")
    for kind, way in first.items():
        alike = f" ({ways[kind]} tiles alike; this was the first)" if len(todo) > 1 else ""
        say(f"{way.rstrip('.')}{alike}.")


def _check_smoothable(unfinished: Unfinished, scores: np.ndarray, valid: np.ndarray) -> None:
    """Refuse scores that cannot be smoothed; the tiles of such a model are of no more use."""
    try:
        smoothing.check_probabilities(scores, valid)
    except ModelError:
        unfinished.discard()
        raise


def _smooth(unfinished: Unfinished, model: MadeFor, beta: float, say: Say) -> None:
    """Smooth the labels on the disk by their scores."""
    assert unfinished.scores is not None
    valid = np.asarray(unfinished.labels) > 0
    before = np.array(unfinished.labels)
    found = smoothing.smoothed(np.asarray(unfinished.scores), beta, valid=valid)
    numbers = np.asarray(model.classes, before.dtype)
    after = np.where(valid, numbers[found], 0)
    changed = np.count_nonzero(after != before)
    say(
        f"Potts model, beta {beta:g}: {changed} of {valid.sum()} pixels took another class "
        f"({changed / max(1, valid.sum()):.1%})."
    )
    unfinished.labels[:] = after


def _write_scores(path: Path, unfinished: Unfinished) -> Path:
    assert unfinished.scores is not None
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, unfinished.scores, allow_pickle=False)
    return path
