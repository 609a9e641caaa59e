"""Every band reduction and selection with several numbers of channels: accuracy of `cao`.

    HSI_DATASETS=FOLDER python benchmarks/band_methods.py [--output FOLDER]

Trains the cells of `benchmarks/studies/bands.toml` one after the other and leaves out what makes a
study long, the timing and drawing of every file. Cells that are trained stay, and the study itself
(`python -m hsi study benchmarks/studies/bands.toml`) takes them up in the same folder. Writes
`benchmarks/results/bands.{csv,md,png}`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
STUDY = HERE / "studies" / "bands.toml"
COUNTS = (5, 20, 60)
NOTE = "cao on {data}, a tenth of the pixels of each class at random, {epochs} epochs. {bars}"


def trained(cell: Any, settings: Any, folder: Path) -> dict[str, Any]:
    """The row of a cell's trained network, which is trained unless it is there.

    Raises:
        SystemExit: a cell that cannot be run.
    """
    from hsi.errors import UserError
    from hsi.runs import open_run
    from hsi.study.running import LOGS, do_run, training_of

    training = training_of(folder, settings)
    path = Path(training.output or "")
    try:
        variants = open_run(path).record["variants"]
    except UserError:
        variants = {}
    if "trained_model.h5" not in variants:
        error = do_run(training, logs=str(folder / LOGS), finishing=False)
        if error:
            raise SystemExit(f"{cell.name}: {error}")
        variants = open_run(path).record["variants"]
    row = variants["trained_model.h5"]["row"]
    method, count = settings.band_selection or "none", settings.components
    return {**row, "cell": cell.name, "band_selection": method, "components": count}


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row a method, in the order of the study."""
    methods: dict[str, dict[int | None, dict[str, Any]]] = {}
    for line in lines:
        methods.setdefault(line["band_selection"], {})[line["components"]] = line
    text = ["| method | " + " | ".join(f"{count} channels" for count in COUNTS) + " |"]
    text.append("|---|" + "---|" * len(COUNTS))
    for name, found in methods.items():
        if None in found:
            text.append(f"| all bands: {_oa(found[None])} | | | |")
        else:
            cells = [_oa(found[count]) if count in found else "" for count in COUNTS]
            text.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def _oa(line: dict[str, Any]) -> str:
    half = line["oa_half"]
    return f"{line['oa']:.2f}" + ("" if half is None else f" ± {half:.2f}")


def write(rows: Sequence[dict[str, Any]], settings: Any) -> str:
    """The table of every run, that of the means, and the figure; returns the means."""
    from hsi.plots import save_figure
    from hsi.plots.band_methods import method_dots
    from hsi.results import COLUMNS, write_rows
    from hsi.study.tables import averages

    keys = ("band_selection", "components")
    write_rows(RESULTS / "bands.csv", rows, ("cell", *keys, *COLUMNS))
    lines = averages(rows, keys)
    text = table(lines)
    said = "OA on test pixels, %: mean over seeds, with its 95 % interval where there are several."
    (RESULTS / "bands.md").write_text(f"{said}\n\n{text}", encoding="utf-8")
    runs = max(line["runs"] for line in lines)
    bars = f"Bars: 95 % interval of the mean over {runs} seeds." if runs > 1 else "One seed each."
    note = NOTE.format(data=settings.dataset, epochs=settings.epochs, bars=bars)
    figure = method_dots(lines, title="Band reductions and selections", note=note)
    save_figure(figure, RESULTS / "bands.png")
    return text


def main() -> None:
    """Train what is not trained, seed by seed, and write the results after each seed."""
    from hsi.cli.generate import settings_of
    from hsi.runs import OUTPUTS
    from hsi.study.cells import read_study

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUTS / "studies" / "bands")
    folder = parser.parse_args().output
    cells = read_study(STUDY).cells
    order = sorted(range(len(cells)), key=lambda place: cells[place].apart["seed"])
    rows: dict[int, dict[str, Any]] = {}
    for done, place in enumerate(order, start=1):
        cell = cells[place]
        settings = settings_of(cell.values, f"cell {cell.name}")
        rows[place] = trained(cell, settings, folder)
        print(f"{done}/{len(order)} {cell.name}: OA {rows[place]['oa']:.2f} %", flush=True)
        last = done == len(order) or cells[order[done]].apart["seed"] != cell.apart["seed"]
        if last:
            text = write([rows[place] for place in sorted(rows)], settings)
    print(text)


if __name__ == "__main__":
    main()
