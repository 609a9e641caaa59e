"""`python -m hsi evaluate NETWORK ...`: a comparison over seeds and splits, as a table."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi.cli.options import add_data, adder, whole, words
from hsi.cli.options import numbers as fractions
from hsi.cli.parser import USER_ERROR
from hsi.errors import SettingsError
from hsi.models import BASELINES, NETWORKS
from hsi.runs import OUTPUTS
from hsi.settings import OPTIONS
from hsi.split import METHODS

if TYPE_CHECKING:
    from hsi.evaluate import Evaluation
    from hsi.evaluate.paper import Entry, PaperTable

OF_CELLS = (
    "split", "seed", "train_fraction", "train_per_class", "train_labels", "test_labels", "output",
    "resume", "image_size",
)  # fmt: skip
"""Settings that each cell has its own of, or none; others that are given hold for every cell."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this verb."""
    known = ", ".join(NETWORKS | BASELINES)
    parser.add_argument("networks", nargs="+", metavar="NETWORK", help=f"some of {known}")
    parser.conflict_handler = "resolve"  # some options of the data are said in another way here
    add_data(parser)
    group = parser.add_argument_group("protocol")
    add = adder(group, {})
    group.add_argument(
        "--dataset",
        metavar="NAME|FILE",
        help="of a scene (python -m hsi datasets), FILE or FILE:KEY, or synthetic; always needed",
    )
    group.add_argument("--image_size", type=int, help=argparse.SUPPRESS)
    group.add_argument(
        "--splits",
        "--split",
        dest="splits",
        type=words,
        default=("random", "blocks"),
        metavar="LIST",
        help=f"side by side: some of {', '.join(METHODS)} (default: random,blocks)",
    )
    add("seeds", "how many: 0, 1, ... (default: 3)", type=int, default=3)
    group.add_argument(
        "--train_fraction",
        type=float,
        metavar="X",
        help="share of each class that trains, for the table (default: the largest of the next "
        "two, else 0.1)",
    )
    add(
        "train_fractions",
        "shares for the learning curve, such as 0.01,0.05,0.1",
        type=fractions,
        default=(),
    )
    group.add_argument(
        "--train_per_class",
        type=whole,
        default=(),
        metavar="LIST",
        help="pixels of each class instead, such as 5,10,50",
    )
    add("patch_size", "odd side of all patches (default: each network's own)", type=int)
    add("epochs", "at most (default: 100)", type=int)
    add("batch_size", "samples a step (default: each network's own)", type=int)
    add("learning_rate", "of the optimiser (default: each network's own)", type=float)
    add("patience", "epochs without a better validation loss (default: 20)", type=int)
    add = adder(parser.add_argument_group("output"), {})
    add("output", "folder (default: outputs/evaluations/...)", metavar="DIR")
    add("resume", "go on with the folder; cells may be added", action="store_true")
    add("minutes", "after which no further cell is begun; --resume does the rest", type=float)
    add("drop_models", "delete each model file once its answers are kept", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    """Run the evaluation; 2 where a cell is missing from the table.

    Raises:
        UserError: wrong options or data, all before anything is run.
    """
    from hsi.evaluate import run_evaluation
    from hsi.evaluate.protocol import protocol_of

    if arguments.image_size is not None:
        raise SettingsError("image_size: expected with images; an evaluation is of a scene.")
    shared = [name for name in OPTIONS if name not in OF_CELLS]
    given = {name: getattr(arguments, name, None) for name in shared}
    protocol = protocol_of(
        arguments.networks,
        splits=arguments.splits,
        seeds=arguments.seeds,
        train_fraction=arguments.train_fraction,
        train_fractions=arguments.train_fractions,
        train_per_class=arguments.train_per_class,
        shared={name: value for name, value in given.items() if value is not None},
        maps={name: getattr(arguments, name) for name in ("train_labels", "test_labels")},
    )
    folder = Path(arguments.output or OUTPUTS / "evaluations" / _folder(arguments.dataset))
    evaluation = run_evaluation(
        protocol,
        folder,
        resume=arguments.resume,
        minutes=arguments.minutes,
        drop_models=arguments.drop_models,
    )
    _print(evaluation)
    return USER_ERROR if evaluation.missing else 0


def _folder(dataset: str) -> str:
    return Path(dataset.partition(":")[0]).stem


def _print(evaluation: Evaluation) -> None:
    print_table(evaluation.table)
    written = evaluation.written
    print(f"Table: {', '.join(map(str, written.table))}")
    print(f"Cells, classes, pairs: {', '.join(map(str, written.others))}")
    print(f"Figures: {', '.join(map(str, written.figures))}")
    for name, reason in evaluation.missing.items():
        print(f"Missing: {name}: {reason}")


def print_table(table: PaperTable) -> None:
    """The table of the paper on the terminal: groups, and what does not fit beside the rest of its
    group, one under the other."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=170)
    lines = [table.heads, *([_cell(entry) for entry in row] for row in table.rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.heads))]
    for title, places in _parts(table.groups, widths, console.width):
        shown: Any = Table(title=title or None)
        for place in places:
            justify = "right" if place else "left"
            shown.add_column(table.heads[place], justify=justify, no_wrap=True)
        for line in lines[1:]:
            shown.add_row(*(line[place] for place in places))
        console.print(shown, markup=False)
    console.print(table.caption, markup=False, highlight=False)
    for note in table.notes:
        console.print(f"Note: {note}", markup=False, highlight=False)


def _parts(
    groups: Sequence[tuple[str, int]], widths: Sequence[int], room: int
) -> Iterator[tuple[str, list[int]]]:
    """Title and columns of tables that are at most `room` letters wide; all begin with the first.

    Args:
        groups: of the paper's table.
        widths: of each column in letters, without its borders.
    """
    around = 3  # a border and two spaces
    first = 0
    for title, span in groups:
        places, taken = [0], widths[0] + around + 1
        for place in range(max(first, 1), first + span):
            if len(places) > 1 and taken + widths[place] + around > room:
                yield title, places
                places, taken = [0], widths[0] + around + 1
            places.append(place)
            taken += widths[place] + around
        first += span
        yield title, places


def _cell(entry: Entry) -> str:
    text = f"{entry.text}*" if entry.best else entry.text
    return f"{text} ± {entry.deviation}" if entry.deviation else text
