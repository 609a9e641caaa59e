"""What a run prints at its end."""

from __future__ import annotations

import shlex
from typing import Any

from hsi.cli.options import as_arguments
from hsi.models import BASELINES
from hsi.pipeline.job import data_run
from hsi.runs import Run
from hsi.settings import OPTIONS, Settings

NARROW = 120
"""Terminals with fewer columns get the table without what `results.csv` also holds."""


def print_table(run: Run) -> None:
    """One line a variant: what is gone, sizes, accuracy, latency."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=170)
    data, split = run.record["data"], run.record["split"]
    note = "SYNTHETIC scene, " if data["synthetic"] else ""
    unit = "image" if data.get("kind") == "images" else "pixel"
    table = Table(
        title=f"{data['name']}: {note}split {split['method']}, "
        f"leakage {100 * split['leakage']:.1f} %, {split['test']} test {unit}s",
        caption=f"interval: 95 % Wilson, {unit}s taken as independent; p: McNemar against the "
        "trained model; ms: median of one call with so many samples, "
        f"{run.record['latency'][0]['threads']} thread(s)",
    )
    columns = [name for name in _COLUMNS if console.width >= NARROW or name not in _WIDE_ONLY]
    for name in columns:
        table.add_column(name, justify="left" if name == "variant" else "right", no_wrap=True)
    times = {(item["file"], item["batch"]): item for item in run.record["latency"]}
    for file, entry in run.record["variants"].items():
        cells = _cells(entry["row"], times[file, 1], times[file, 256])
        table.add_row(*(cells[name] for name in columns))
    console.print(table)


_COLUMNS = (
    "variant", "parameters", "MACs", "zeros %", "kB", "kB gzip", "OA %", "interval", "AA %",
    "kappa", "p", "ms, 1", "ms, 256",
)  # fmt: skip
_WIDE_ONLY = ("MACs", "zeros %", "kB gzip", "interval", "kappa")


def _cells(row: dict[str, Any], single: dict[str, Any], many: dict[str, Any]) -> dict[str, str]:
    p = row["mcnemar_p"]
    return {
        "variant": row["variant"],
        "parameters": f"{row['parameters']:,}",
        "MACs": "n/a" if row["macs"] is None else f"{row['macs']:,}",
        "zeros %": f"{row['sparsity']:.1f}",
        "kB": f"{row['bytes'] / 1000:,.1f}",
        "kB gzip": f"{row['bytes_gzip'] / 1000:,.1f}",
        "OA %": f"{row['oa']:.2f}",
        "interval": f"{row['oa_low']:.2f}-{row['oa_high']:.2f}",
        "AA %": f"{row['aa']:.2f}",
        "kappa": f"{row['kappa']:.3f}",
        "p": "" if p is None else f"{p:.2g}",
        "ms, 1": f"{single['milliseconds']:.3f}",
        "ms, 256": f"{many['milliseconds']:.2f}",
    }


_OF_SCENES = ("gradient", "activation_map")
"""Methods for the first and the last model of a run."""


def next_commands(run: Run) -> list[str]:
    """Commands worth trying on this run, ready to paste."""
    if run.settings.model in BASELINES:
        return ["python generate_model.py --help"]
    earlier, files = data_run(run), list(run.record["variants"])
    looked_at = [file for file in files if file.endswith(".h5")] or files
    methods = ("gradcam", "misclassified") if earlier.settings.of_images else _OF_SCENES
    commands = [
        ["python", "visualization.py", str(run.path(looked_at[place])), method]
        for place, method in zip((0, -1), methods, strict=True)
    ]
    pair = [str(earlier.path(next(iter(earlier.record["variants"])))), str(run.path(files[-1]))]
    if pair[0] != pair[1]:
        commands.append(["python", "-m", "hsi", "compare", *pair])
    own = run.settings.model_file
    again = ["python", "generate_model.py", *(["--model", own] if own else [run.settings.model])]
    if earlier is run and not run.settings.prune:
        commands.append([*again, *_given(run), "--prune", "--quantize"])
    elif earlier is run and not run.settings.quantize_pruned_models:
        commands.append(
            [*again, "--quantize_folder", str(run.folder), "--quantization", "dynamic,int8"]
        )
    return [shlex.join(command) for command in commands]


def _given(run: Run) -> list[str]:
    """The options of this run that are not the defaults, without what it compressed."""
    settings = run.settings
    bare = Settings(settings.model, settings.model_file, dataset=settings.dataset)
    return as_arguments(
        {
            name: list(value) if isinstance(value, tuple) else value
            for name in OPTIONS
            if (value := getattr(settings, name)) != getattr(bare, name)
            or (name == "dataset" and value)
            if name not in ("model", "prune", "quantize")
        }
    )
