"""The smallest and the fastest file that are as good as the trained network, searched by a study.

    python benchmarks/compression_search.py benchmarks/studies/search_salinas_a.toml
    python benchmarks/compression_search.py benchmarks/studies/search_indian_pines_chip.toml

A cell is a split and a seed. Its study trains `cao`, prunes and factorises it, teaches students,
folds and quantizes all of them. Of a cell's `.tflite` files those count that lose at most 1 point
of OA on the *validation* pixels; of them the smallest and the fastest are chosen, once by pruning,
folding and quantization alone and once by everything, against the float `.tflite` of the trained
network; and of those that reach the goals in bytes and time the best on validation pixels. Whether
the choice holds is then seen on the *test* pixels and said: at most 1 point worse and not
significantly so (McNemar).

Cells that are finished stay; `--time_only` measures the latencies again, for a quiet machine, and
makes the tables anew, `--choose_only` does so from what has been measured. Files are timed on one
thread, in turn, in rounds. Everything goes to `benchmarks/results/compression_search_<scene>.json`,
with a figure beside it. Ratios are the trained float file's bytes or milliseconds over the chosen
file's: above 1 the choice is better.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from search.candidates import MADE, PRUNED, Candidate, Cell, facts_of  # noqa: E402
from search.choice import (  # noqa: E402
    FAMILIES,
    baseline_of,
    choices_of,
    ladder_of,
    ratios,
    seen_on_test,
    smallest,
    within,
)
from search.table import ladder_rows, lines_of, means_of, summary_of  # noqa: E402
from search.timing import BATCHES, Rounds, medians, time_rounds  # noqa: E402

RESULTS = HERE / "results"
FOUND = "found"
"""Folder, in that of the study, of what was found of each cell."""


def run_cells(file: Path, folder: Path, only: Sequence[str]) -> list[Path]:
    """Run the study, or go on with it; returns the folders of the cells that are finished."""
    from hsi.cli.generate import settings_of
    from hsi.study import run_study
    from hsi.study.cells import read_study
    from hsi.study.running import CELLS

    study = read_study(file)
    if only:
        study = replace(study, cells=tuple(c for c in study.cells if c.name in only))
    settings = [settings_of(cell.values, f"cell {cell.name}") for cell in study.cells]
    outcome = run_study(study, [_placed(cell) for cell in settings], folder)
    for cell, error in outcome.failed.items():
        print(f"Not run: {cell}: {error}")
    paths = [folder / CELLS / cell.name for cell in study.cells]
    return [path for path in paths if str(path) not in outcome.failed]


def _placed(settings: Any) -> Any:
    """A file under datasets/ is looked for in `HSI_DATASETS` first, as named scenes are."""
    path, base = Path(settings.dataset), os.environ.get("HSI_DATASETS")
    if base and path.parts[0] == "datasets":
        return replace(settings, dataset=str(Path(base, *path.parts[1:])))
    return settings


def evaluate(folder: Path, path: Path) -> None:
    """Put on record what every file of a cell says on validation and test pixels."""
    from hsi.files import write_json
    from hsi.runs import RUN_FILE

    record = folder / FOUND / f"{path.name}.json"
    if record.is_file() and record.stat().st_mtime > (path / RUN_FILE).stat().st_mtime:
        return

    cell = Cell(folder, path)
    candidates = list(cell.candidates())
    whole = baseline_of(candidates)
    if any(c.network == whole.network and c.folded for c in candidates):
        candidates.append(cell.converted(whole.network, "int8", folded=False))
    pruned = [c for c in within(candidates, [PRUNED]) if c.folded]
    if pruned:  # the same before it was folded, for the ladder
        candidates.append(cell.converted(smallest(pruned).network, "float32", folded=False))
    record.parent.mkdir(parents=True, exist_ok=True)
    found = {**facts_of(cell), "candidates": [asdict(c) for c in candidates]}
    write_json(record, found)
    print(f"{path.name}: {len(candidates)} files.", flush=True)


def time_cell(folder: Path, record: Path, *, rounds: int) -> None:
    """Time every file of a cell against the others; the rounds go to its record."""
    from hsi.files import write_json

    found = json.loads(record.read_text(encoding="utf-8"))
    candidates = [Candidate(**values) for values in found["candidates"]]
    files = [c.file for c in candidates]
    load = os.getloadavg()[0]
    taken = {b: time_rounds(folder, files, batch=b, rounds=rounds) for b in BATCHES}
    write_json(record, {**found, "load_before_timing": load, "rounds": taken})
    print(f"{record.stem}: {len(files)} files timed, load before {load:.1f}.", flush=True)


def chosen_in(record: Path) -> dict[str, Any]:
    """What a cell's record says of its files and times, with the choices and the ladder."""
    found = json.loads(record.read_text(encoding="utf-8"))
    candidates = [Candidate(**values) for values in found["candidates"]]
    taken: dict[int, Rounds] = {int(b): rounds for b, rounds in found.pop("rounds").items()}
    times = {batch: medians(rounds) for batch, rounds in taken.items()}
    baseline = baseline_of(candidates)
    ladder = {
        step: {
            "file": c.file,
            "bytes": c.bytes,
            "parameters": c.parameters,
            **{f"milliseconds_batch_{b}": at[c.file] for b, at in times.items()},
            **seen_on_test(c, baseline),
            **ratios(c, baseline, times),
        }
        for step, c in ladder_of(candidates).items()
    }
    return {
        **found,
        "candidates": found["candidates"],
        "choices": choices_of(candidates, times),
        "ladder": ladder,
        "milliseconds": {
            str(batch): {
                file: {"median": times[batch][file], "rounds": [round(v, 6) for v in values]}
                for file, values in rounds.items()
            }
            for batch, rounds in taken.items()
        },
    }


def result_of(cells: Sequence[dict[str, Any]], study: Path) -> dict[str, Any]:
    """The whole JSON; the two headline ratios are of everything, the median over all cells."""
    from hsi.runs import machine, versions

    def headline(family: str, what: str, batch: int | None, ratio: str) -> float:
        return statistics.median(
            choice[ratio]
            for cell in cells
            for choice in cell["choices"]
            if (choice["family"], choice["what"], choice["batch"]) == (family, what, batch)
        )

    named = {}
    for family in FAMILIES:
        named[f"{family.name}_bytes_ratio"] = headline(family.name, "smallest", None, "bytes_ratio")
        for batch in BATCHES:
            key = f"latency_ratio_batch_{batch}"
            named[f"{family.name}_{key}"] = headline(family.name, "fastest", batch, key)
    return {
        "machine": machine(),
        "versions": versions(),
        "study": study.name,
        "threads": 1,
        "bytes_ratio": named["everything_bytes_ratio"],
        "latency_ratio": named["everything_latency_ratio_batch_1"],
        **named,
        "summary": summary_of(cells),
        "ladder": ladder_rows(cells),
        "cells": list(cells),
    }


def draw(result: dict[str, Any], path: Path) -> Path:
    """Accuracy against bytes and latency, a row of panels a split."""
    from hsi.plots import save_figure
    from hsi.plots.search import search_curves

    lines = means_of(list(_points(result["cells"])))
    first = result["cells"][0]
    figure = search_curves(
        lines,
        title=f"{first['scene']}: what smaller and faster files cost",
        synthetic=first["synthetic"],
    )
    return save_figure(figure, path)


def _points(cells: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for every file of every cell that was timed."""
    for cell in cells:
        candidates = [Candidate(**values) for values in cell["candidates"]]
        whole = baseline_of(candidates)
        for c in candidates:
            if c.file.startswith(MADE) and not c.is_baseline:
                continue  # of the ladder alone
            times = {b: cell["milliseconds"][str(b)].get(c.file) for b in BATCHES}
            yield {
                "split": cell["split"],
                "seed": cell["seed"],
                "kind": c.kind,
                "mode": c.mode,
                "name": c.name,
                "bytes": c.bytes,
                "difference": c.test_oa - whole.test_oa,
                **{f"milliseconds_batch_{b}": at and at["median"] for b, at in times.items()},
            }


def main() -> None:
    """Run, evaluate, time, choose; print the tables, write the JSON and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="a file of benchmarks/studies")
    parser.add_argument("--output", type=Path, help="folder of the study")
    parser.add_argument("--time_only", action="store_true", help="of a study that is finished")
    parser.add_argument("--choose_only", action="store_true", help="among files that are timed")
    parser.add_argument("--cells", nargs="+", default=(), help="names of a few cells")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON and figure")
    given = parser.parse_args()
    folder = given.output or Path("outputs") / "studies" / given.study.stem
    if not given.time_only and not given.choose_only:
        for path in run_cells(given.study, folder, given.cells):
            evaluate(folder, path)
    records = sorted((folder / FOUND).glob("*.json"))
    if not records:
        sys.exit(f"{folder}: no finished cell; run without --time_only first.")
    for record in records if not given.choose_only else ():
        if given.time_only or "rounds" not in json.loads(record.read_text(encoding="utf-8")):
            time_cell(folder, record, rounds=given.rounds)
    result = result_of([chosen_in(record) for record in records], given.study)
    print("\n".join(lines_of(result)))
    given.results.mkdir(parents=True, exist_ok=True)
    scene = given.study.stem.removeprefix("search_")
    written = given.results / f"compression_search_{scene}.json"
    written.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"Written: {written}, {draw(result, written.with_suffix('.png'))}")


if __name__ == "__main__":
    main()
