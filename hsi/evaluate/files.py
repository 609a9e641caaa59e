"""All that an evaluation writes beside its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hsi.evaluate.caption import caption
from hsi.evaluate.pairs import COLUMNS as PAIR_COLUMNS
from hsi.evaluate.pairs import TEST, like_the_best, pair_tests
from hsi.evaluate.paper import PaperTable, paper_table
from hsi.evaluate.protocol import GIVEN, EvaluationCell, Protocol, cells_of
from hsi.evaluate.results import Result
from hsi.evaluate.seeds import AVERAGED, TIMES, averages, recalls, with_common
from hsi.evaluate.writers import latex, markdown
from hsi.files import write_json, write_text
from hsi.results import write_rows

CELL_COLUMNS = (
    "network", "split", "amount", "seed", "patch_size", "gap", "leakage", "training", "validation",
    "test", "oa", "aa", "kappa", "f1", "oa_common", "test_common", "parameters", "macs", "epochs",
    "training_seconds", "map_seconds",
)  # fmt: skip
LINE_COLUMNS = (
    "network", "split", "amount", "runs", "patch_size",
    *(name for column in AVERAGED for name in (column, f"{column}_sd")), *TIMES,
    "as_best", "compared",
)  # fmt: skip
APART = (
    "model",
    "split",
    "seed",
    "train_fraction",
    "train_per_class",
    "train_labels",
    "test_labels",
)
"""Settings that cells differ in."""
RECALL_COLUMNS = (
    "network", "split", "amount", "class", "name", "recall", "recall_sd", "f1", "f1_sd", "training",
    "test",
)  # fmt: skip


@dataclass(frozen=True)
class Written:
    """The files of an evaluation.

    Attributes:
        table: LaTeX, Markdown and CSV of the means over seeds.
        others: every cell, every class, every pair, and everything as JSON.
        figures: accuracy on each split; the learning curve where there is one.
    """

    table: tuple[Path, ...]
    others: tuple[Path, ...]
    figures: tuple[Path, ...]


def write_evaluation(
    protocol: Protocol, results: Sequence[Result], missing: Mapping[str, str], folder: Path
) -> tuple[PaperTable, Written]:
    """Write tables, tests and figures of the finished cells.

    Args:
        missing: cell -> why it is not among them.
    """
    cells = with_common(results)
    lines = averages(cells)
    pairs = pair_tests(results)
    likeness = like_the_best(lines, pairs, seeds=protocol.seeds)
    record = results[0].record
    shown = _of_a_finished_amount(protocol, cells)
    chosen = [cell for cell in cells if cell["amount"] == shown.chosen]
    table = paper_table(
        shown,
        lines,
        likeness,
        caption=caption(shown, chosen, record),
        notes=[*_other_amount(protocol, shown), *notes(protocol, cells, missing)],
        label=f"tab:{_word(record['data']['name'])}",
    )
    per_class = recalls(cells, record["classes"])
    named = {name: folder / name for name in ("table.tex", "table.md", "table.csv")}
    write_text(named["table.tex"], latex(table))
    write_text(named["table.md"], markdown(table))
    rows = [{**line, "runs": len(line["seeds"]), **_alike(line, likeness)} for line in lines]
    write_rows(named["table.csv"], rows, LINE_COLUMNS)
    write_rows(folder / "cells.csv", cells, CELL_COLUMNS)
    write_rows(folder / "classes.csv", per_class, RECALL_COLUMNS)
    write_rows(folder / "mcnemar.csv", pairs, PAIR_COLUMNS)
    whole = {
        "protocol": vars(protocol),
        "caption": table.caption,
        "notes": table.notes,
        "data": record["data"],
        "classes": record["classes"],
        "machine": record["machine"],
        "versions": record["versions"],
        "settings": {k: v for k, v in record["settings"].items() if k not in APART},
        "lines": rows,
        "cells": cells,
        "classes_recall": per_class,
        "test": TEST,
        "mcnemar": pairs,
        "missing": missing,
    }
    write_json(folder / "evaluation.json", whole)
    others = ("cells.csv", "classes.csv", "mcnemar.csv", "evaluation.json")
    figures = _draw(shown, lines, record, folder)
    return table, Written(tuple(named.values()), tuple(folder / name for name in others), figures)


def _of_a_finished_amount(protocol: Protocol, cells: Sequence[Mapping[str, Any]]) -> Protocol:
    """The protocol with the table of an amount that has cells: the largest, if its own has none."""
    amounts = {cell["amount"] for cell in cells}
    return protocol if protocol.chosen in amounts else replace(protocol, chosen=max(amounts))


def _other_amount(asked: Protocol, shown: Protocol) -> list[str]:
    if asked.chosen == shown.chosen:
        return []
    return [
        f"No cell with {asked.in_words(asked.chosen)} is finished: the table is of "
        f"{shown.in_words(shown.chosen)}."
    ]


def notes(
    protocol: Protocol, cells: Sequence[Mapping[str, Any]], missing: Mapping[str, str]
) -> list[str]:
    """What a reader of the table must know of single cells, a sentence each.

    Args:
        missing: name of a cell -> why it is not among the cells.
    """
    planned = cells_of(protocol)
    found: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        said = list(cell["notes"])
        if cell["map_differs"]:
            said.append("The map of the scene gives some test pixels another class than patches.")
        for note in said:
            found.setdefault(note.rstrip("."), []).append(cell)
    lacking: dict[str, list[EvaluationCell]] = {}
    for one in planned:
        if one.name in missing:
            lacking.setdefault(missing[one.name].rstrip("."), []).append(one)
    return [
        *(f"{note}: {_listed(_named(protocol, group, cells))}." for note, group in found.items()),
        *(
            f"Missing: {reason}: {_listed(_lacking(protocol, g, planned))}."
            for reason, g in lacking.items()
        ),
    ]


def _named(
    protocol: Protocol, group: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Cells by their names; those of a whole split by its name."""
    named = []
    for split in dict.fromkeys(cell["split"] for cell in group):
        mine = [cell for cell in group if cell["split"] == split]
        if len(mine) == sum(cell["split"] == split for cell in cells):
            named.append(f"every cell of split {split}")
        else:
            named += [
                _words(protocol, cell["network"], split, cell["amount"], cell["seed"])
                for cell in mine
            ]
    return named


def _lacking(
    protocol: Protocol, group: Sequence[EvaluationCell], planned: Sequence[EvaluationCell]
) -> list[str]:
    """Missing cells; those of a whole network by its name."""
    named = []
    for network in dict.fromkeys(cell.network for cell in group):
        mine = [cell for cell in group if cell.network == network]
        if len(mine) == sum(cell.network == network for cell in planned):
            named.append(f"every cell of {network}")
        else:
            named += [
                _words(protocol, network, cell.split, cell.amount, cell.seed) for cell in mine
            ]
    return named


def _words(protocol: Protocol, network: str, split: str, amount: float, seed: int) -> str:
    """A cell by what sets it apart; the amount where there are several."""
    several = len(protocol.amounts) > 1 and split != GIVEN
    return f"{network} {split} seed {seed}{f' ({protocol.in_words(amount)})' if several else ''}"


def _listed(names: Sequence[str], most: int = 6) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{rest}"


def _alike(
    line: Mapping[str, Any], likeness: Mapping[tuple[str, str, float], tuple[int, int] | None]
) -> dict[str, Any]:
    """Seeds in which a network is as good as the best, of those compared; the best has none."""
    found = likeness[line["network"], line["split"], line["amount"]]
    return {"as_best": found and found[0], "compared": found and found[1]}


def _word(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _draw(
    protocol: Protocol, lines: Sequence[Mapping[str, Any]], record: Mapping[str, Any], folder: Path
) -> tuple[Path, ...]:
    from hsi.plots import save_figure
    from hsi.plots.evaluation import accuracy_by_split, learning_curves

    facts: dict[str, Any] = {
        "title": record["data"]["name"],
        "synthetic": record["data"]["synthetic"],
        "seeds": protocol.seeds,
    }
    chosen = [line for line in lines if line["amount"] == protocol.chosen]
    figures = [save_figure(accuracy_by_split(chosen, **facts), folder / "splits.png")]
    if protocol.has_curve:
        figures.append(save_figure(learning_curves(lines, **facts), folder / "learning_curve.png"))
    return tuple(figures)
