"""`python -m hsi bits MODEL`: accuracy of a model in other bit widths, by simulation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hsi.cli.options import whole, words
from hsi.pipeline.bits import SAMPLES, SWEPT, Row, study_bits

WIDE = 110
"""Columns of a table that goes to a file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this verb."""
    parser.add_argument("model", metavar="MODEL", help="a Keras model (.h5) in its run folder")
    for quantity, bits in SWEPT.items():
        parser.add_argument(
            f"--{quantity}s",
            type=whole,
            default=bits,
            metavar="LIST",
            help=f"bits of {quantity}s to try, the others as in an int8 file "
            f"(default: {','.join(map(str, bits))})",
        )
    parser.add_argument(
        "--combined",
        type=words,
        default=(),
        metavar="LIST",
        help="further settings, ACTIVATION/WEIGHT/ACCUMULATOR bits, such as 8/16/32,8/4/16",
    )
    parser.add_argument(
        "--overflow",
        choices=("saturate", "wrap"),
        default="saturate",
        help="sums that leave their accumulator stop at its limit, or go on at the other end "
        "(default: saturate)",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=SAMPLES,
        metavar="N",
        help=f"test samples, drawn at random (default: {SAMPLES})",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw (default: 0)")


def run(arguments: argparse.Namespace) -> int:
    """Simulate, print the table, say where it is.

    Raises:
        UserError: no such model or run, or bits that are not offered.
    """
    found = study_bits(
        Path(arguments.model),
        bits={quantity: getattr(arguments, f"{quantity}s") for quantity in SWEPT},
        combined=arguments.combined,
        overflow=arguments.overflow,
        most=arguments.samples,
        seed=arguments.seed,
    )
    _print(found.rows, found.accuracy)
    print(f"Table: {found.table}")
    print(f"Figure: {found.figure}")
    return 0


def _print(rows: list[Row], accuracy: float) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        caption=f"{rows[0]['samples']} test samples; the float network reaches {accuracy:.2f} %"
    )
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    table.add_column("varied", no_wrap=True)
    for name in (*SWEPT, "accuracy %", "agreement %", "overflowed %"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row["quantity"], *(str(row[name]) for name in SWEPT), *_percent(row))
    console.print(table)


def _percent(row: Row) -> list[Any]:
    return [f"{row[name]:.2f}" for name in ("accuracy", "agreement", "overflowed")]
