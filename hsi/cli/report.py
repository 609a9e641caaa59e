"""`python -m hsi report RUN_OR_STUDY`: everything about a run, or a study, on one page."""

from __future__ import annotations

import argparse

from hsi.cli.options import words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this verb."""
    parser.add_argument("folder", metavar="RUN_OR_STUDY", help="folder of a run, or of a study")
    parser.add_argument(
        "--methods",
        type=words,
        default=(),
        metavar="LIST",
        help="attributions to choose from on the page (default: integrated_gradient,gradient; of "
        "images gradcam,gradient)",
    )
    parser.add_argument("--output", metavar="FILE", help="default: report.html in the folder")
    parser.add_argument(
        "--samples", type=int, metavar="N", help="test samples that are explained (default: 72 "
        "pixels and those on which variants part; 12 images)"
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of their choice (default: that of the run)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the report; 0 on success.

    Raises:
        UserError: no whole run or study there, unknown methods, or a file that cannot be written.
    """
    from hsi.report import write_report

    write_report(
        arguments.folder,
        methods=arguments.methods,
        samples=arguments.samples,
        output=arguments.output,
        seed=arguments.seed,
    )
    return 0
