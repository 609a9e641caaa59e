"""`python -m hsi study FILE.toml`: many runs over a grid of settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hsi.cli.generate import settings_of
from hsi.cli.parser import USER_ERROR, add_workers
from hsi.errors import SettingsError
from hsi.runs import OUTPUTS
from hsi.study.cells import read_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this verb."""
    parser.add_argument("file", metavar="FILE", help="the grid, as TOML")
    parser.add_argument("--output", metavar="DIR", help="its folder (default: outputs/studies/...)")
    add_workers(parser)
    parser.add_argument(
        "--no_cell_reports",
        action="store_true",
        help="write the study's report.html only, none into the folders of its cells, which takes "
        "seconds each",
    )
    parser.add_argument("--dry_run", action="store_true", help="list the cells and stop")


def run(arguments: argparse.Namespace) -> int:
    """Run the study; 2 where a cell could not be run.

    Raises:
        UserError: a wrong study file or setting, all before anything is run.
    """
    if arguments.workers < 1:
        raise SettingsError(f"workers: expected 1 or more, got {arguments.workers}.")
    study = read_study(Path(arguments.file))
    settings = [settings_of(cell.values, f"cell {cell.name}") for cell in study.cells]
    if arguments.dry_run:
        print("\n".join(cell.name for cell in study.cells))
        return 0
    from hsi.study import run_study

    folder = Path(arguments.output or OUTPUTS / "studies" / study.name)
    outcome = run_study(
        study, settings, folder, workers=arguments.workers, scheduler=arguments.scheduler
    )
    _print(outcome.lines)
    print(f"All rows: {outcome.table}")
    print(f"Means over seeds: {outcome.summary}")
    print(f"Curves: {', '.join(map(str, outcome.figures))}")
    from hsi.report import write_report

    if not arguments.no_cell_reports:
        _report_cells(outcome.runs)
    write_report(folder)
    for cell, error in outcome.failed.items():
        print(f"Not run: {cell}: {error}")
    return USER_ERROR if outcome.failed else 0


def _report_cells(folders: Sequence[Path]) -> None:
    """Write `report.html` into every run that has none of its own, or an older one."""
    from hsi.progress import progress
    from hsi.quiet import forget_models
    from hsi.report import write_after
    from hsi.runs import open_run

    with progress("Reports", len(folders)) as advance:
        for count, folder in enumerate(folders, start=1):
            said: list[str] = []
            if write_after(open_run(folder), say=said.append) is None:
                print(f"{folder.name}: {said[-1]}")
            forget_models()
            advance(count, folder.name)


def _print(lines: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=170)
    keys = list(lines[0])[: list(lines[0]).index("runs")]
    table = Table(caption="means over seeds, with half of their 95 % interval")
    for name in (*keys, "runs", "epochs", "left %", "kB", "OA %", "AA %", "ms"):
        table.add_column(name, justify="left" if name in keys else "right", no_wrap=True)
    for line in lines:
        table.add_row(
            *(str(line[key] if line[key] is not None else "") for key in keys),
            str(line["runs"]),
            f"{line['epochs']:.0f}",
            _number(line, "left", 1),
            _number(line, "bytes", 1, scale=1000),
            _number(line, "oa", 2),
            _number(line, "aa", 2),
            _number(line, "latency_ms", 3),
        )
    console.print(table)


def _number(line: Any, column: str, digits: int, *, scale: float = 1) -> str:
    value, half = line[column], line[f"{column}_half"]
    if value is None:
        return ""
    text = f"{value / scale:.{digits}f}"
    return text if half is None else f"{text} ± {half / scale:.{digits}f}"
