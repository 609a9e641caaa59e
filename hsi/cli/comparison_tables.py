"""What a comparison prints: tables with the reference first, and what they say in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hsi.compare.wording import p_text

if TYPE_CHECKING:
    from rich.console import Console

    from hsi.compare.comparison import Comparison
    from hsi.compare.layers import LayerDifferences

WIDTH = 170
"""Columns where there is no terminal."""

NARROW = 120
"""Terminals with fewer columns wrap cells."""

Row = Mapping[str, Any]


def print_comparison(comparison: Comparison) -> None:
    """The tables of a comparison, its notes, and its conclusions."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    rows = comparison.rows()
    _print_outputs(console, comparison, rows)
    if any("bytes" in row and row["bytes"] is not None for row in rows):
        _print_cost(console, rows)
    for compared in comparison.variants[1:]:
        if compared.layers is not None:
            _print_layers(console, compared.subject.name, compared.layers)
    if comparison.inside is not None:
        for title, columns, lines in comparison.inside.tables():
            _print(console, title, columns, lines, words=2)
    for line in (*(f"Note: {note}" for note in comparison.notes), *comparison.sentences()):
        console.print(line, markup=False, highlight=False)


def _print_outputs(console: Console, comparison: Comparison, rows: Sequence[Row]) -> None:
    common = comparison.common
    where = " ".join(f"{len(common.keys):,} {common.part} {common.unit}s".split())
    synthetic = " (SYNTHETIC)" if common.synthetic else ""
    title = f"{common.name}{synthetic}: {where}" + (f"; {common.note}" if common.note else "")
    outputs = next(each.outputs for each in comparison.variants if each.outputs is not None)
    alone = f"{outputs.blocks} blocks of the scene" if common.blocks is not None else "samples"
    redrawn = f"others by redrawing {alone}"
    if comparison.first.judged is not None:
        caption = f"95 % intervals: OA Wilson, {redrawn}; p: McNemar, exact"
        wide = console.width >= NARROW
        lines = [[str(row["variant"]), *_accuracy_cells(row, wide=wide)] for row in rows]
        _print(console, title, ("variant", *_ACCURACY), lines, caption=caption)
        _print_recall(console, comparison)
        title = f"answers beside those of {comparison.first.subject.name}"
    caption = f"95 % intervals: agreement Wilson, {redrawn}"
    columns, lines = ["variant", *_AGREEMENT], [_agreement_cells(row) for row in rows[1:]]
    if len({row["difference_of"] for row in rows[1:]}) > 1:
        columns.append("differences of")
        lines = [[*line, row["difference_of"]] for line, row in zip(lines, rows[1:], strict=True)]
    else:
        caption += f"; differences of {outputs.scale}"
    _print(console, title, columns, lines, caption=caption)


_ACCURACY = ("OA %", "less reference", "p", "AA %", "kappa")
_AGREEMENT = ("agreement %", "part on", "KL (nats)", "largest difference", "mean difference")
_NAMED = 4
"""Layers that a caption names."""
_RECALLS = 9
"""Variants whose recalls find a place side by side."""


def _accuracy_cells(row: Row, *, wide: bool) -> list[str]:
    difference, p = row.get("oa_difference"), row.get("mcnemar_p")
    less = "reference"
    if difference is not None:
        less = f"{difference:+.2f} {_between(row, 'oa_difference', '+.2f')}".replace("-", "−")
    return [
        f"{row['oa']:.2f} {_between(row, 'oa', '.2f')}",
        less,
        "" if p is None else p_text(p).removeprefix("p ").removeprefix("= "),
        f"{row['aa']:.2f} {_between(row, 'aa', '.2f') if wide else ''}".rstrip(),
        f"{row['kappa']:.3f} {_between(row, 'kappa', '.3f') if wide else ''}".rstrip(),
    ]


def _agreement_cells(row: Row) -> list[str]:
    names = ("agreement", "agreement_low", "agreement_high")
    percent = {name: 100 * row[name] for name in names}
    return [
        str(row["variant"]),
        f"{percent['agreement']:.2f} {_between(percent, 'agreement', '.2f')}",
        f"{row['parting']:,}",
        f"{row['kl']:.2g} {_between(row, 'kl', '.2g')}",
        f"{row['difference_max']:.3g}",
        f"{row['difference_mean']:.2g}",
    ]


def _print_recall(console: Console, comparison: Comparison) -> None:
    """Recall of each class by each variant, with its Wilson interval where there is room."""
    common, variants = comparison.common, comparison.variants[:_RECALLS]
    judged = [each.judged for each in variants if each.judged is not None]
    names = common.class_names or tuple(f"class {i}" for i in range(len(judged[0].recall_low)))
    numbers = common.numbers or tuple(range(len(names)))
    lines = []
    for i, (number, name) in enumerate(zip(numbers, names, strict=True)):
        count = int(judged[0].accuracy.confusion[i].sum())
        lines.append([f"{number} {name}", f"{count:,}"])
        for each in judged:
            recall, low, high = (
                100 * values[i]
                for values in (each.accuracy.recall, each.recall_low, each.recall_high)
            )
            interval = f" ({low:.1f}-{high:.1f})" if len(judged) <= 4 else ""
            lines[-1].append("" if recall != recall else f"{recall:.1f}{interval}")
    columns = ["class", f"{common.unit}s", *(each.subject.name for each in variants)]
    more = len(comparison.variants) - len(variants)
    caption = f"{more} variants more are in --json" if more else ""
    _print(console, "recall of each class, %", columns, lines, caption=caption)


def _between(row: Row, name: str, form: str) -> str:
    """ "(99.1-99.6)", "" where there is no interval."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if low is None or high is None or low != low or high != high:
        return ""
    dash = " to " if "+" in form else "-"
    return f"({low:{form}}{dash}{high:{form}})"


def _print_cost(console: Console, rows: Sequence[Row]) -> None:
    timed = [name for name in rows[0] if name.startswith("latency_ms")]
    first = rows[0].get("batch")
    batches = [name.removeprefix("latency_ms").lstrip("_") or str(first) for name in timed]
    columns = ["variant", "parameters", "MACs", "zeros %", "kB", "kB gzip"]
    columns += [f"ms, {batch}" for batch in batches]
    left_out = {"zeros %", "kB gzip"} if console.width < NARROW else set()
    lines = [
        [
            str(row["variant"]),
            _whole(row.get("parameters")),
            _whole(row.get("macs")),
            "" if row.get("sparsity") is None else f"{row['sparsity']:.1f}",
            f"{row['bytes'] / 1000:,.1f}",
            f"{row['bytes_gzip'] / 1000:,.1f}",
            *(_time_cell(row, name) for name in timed),
        ]
        for row in rows
    ]
    caption = ""
    if timed:
        caption = (
            f"ms: median of one call with so many samples, 95 % interval, {rows[0]['threads']} "
            "thread(s), all files in turn in one process"
        )
    kept = [place for place, name in enumerate(columns) if name not in left_out]
    lines = [[line[place] for place in kept] for line in lines]
    _print(console, "cost", [columns[place] for place in kept], lines, caption=caption)


def _time_cell(row: Row, name: str) -> str:
    low, high = (row[name.replace("latency_ms", f"latency_{end}")] for end in ("low", "high"))
    return f"{row[name]:.3g} ({low:.3g}-{high:.3g})"


def _whole(value: Any) -> str:
    return "" if value is None else f"{int(value):,}"


def _print_layers(console: Console, name: str, found: LayerDifferences) -> None:
    lines = [
        [
            layer.layer,
            layer.kind,
            f"{layer.range:.3g}",
            f"{layer.largest:.2g}",
            f"{layer.mean:.2g}",
            f"{layer.relative:.1e}",
            "" if layer.largest_steps is None else f"{layer.largest_steps:.2f}",
            "" if layer.mean_steps is None else f"{layer.mean_steps:.3f}",
        ]
        for layer in found.layers
    ]
    columns = ["layer", "type", "range", "largest", "mean", "largest / range", "in steps"]
    columns.append("mean in steps")
    caption = f"difference of activations over {found.samples} samples; step: of quantization"
    steps: dict[str, list[str]] = {}
    for layer, into in found.fused.items():
        steps.setdefault(into, []).append(layer)
    together = [f"{into} with {' and '.join(layers)}" for into, layers in steps.items()]
    for words, layers in (
        ("one step", together),
        ("without the bias, which is added further on", found.unbiased),
        ("of the first alone", found.alone),
    ):
        if layers:
            caption += f"; {words}: {_listed(layers)}"
    _print(console, f"layers of {name}", columns, lines, caption=caption, words=2)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more (--json)" if more > 0 else "")


def _print(
    console: Console,
    title: str,
    columns: Sequence[str],
    lines: Sequence[Sequence[str]],
    *,
    caption: str = "",
    words: int = 1,
) -> None:
    """A table whose first columns are words; names come from files, so nothing is markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), caption=Text(caption) if caption else None)
    for place, name in enumerate(columns):
        word = place < words
        table.add_column(
            Text(name),
            justify="left" if word else "right",
            overflow="fold",
            no_wrap=console.width >= NARROW and not word,
        )
    for line in lines:
        cells = [*line[:words], *(_broken(cell, console.width) for cell in line[words:])]
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


def _broken(cell: str, width: int) -> str:
    """A number over its interval where a terminal is narrow."""
    return cell.replace(" (", "\n(") if width < NARROW else cell
