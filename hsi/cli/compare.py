"""`python -m hsi compare A B [C ...]`: variants against the first, on the same samples."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi.cli.options import adder, whole, words
from hsi.compare.comparison import WHAT
from hsi.compare.subjects import PARTS
from hsi.errors import SettingsError, one_of
from hsi.explain import METHODS
from hsi.images import PREPROCESSINGS

if TYPE_CHECKING:
    from hsi.compare.comparison import Comparison

BELOW = 1
"""Exit code where a value is below its limit."""

ATTRIBUTING = tuple(name for name, method in METHODS.items() if method.kind == "attribution")

PARTING = ("variant", "sample", "row", "col", "true", "reference", "predicted")
"""Columns of the list of samples on which variants part; classes by their published numbers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this verb."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help=".h5, .keras, .tflite or a SavedModel folder; bare names are looked for in the newest "
        "run under outputs/; the others are compared with the first",
    )
    _add_samples(parser)
    _add_comparison(parser)
    _add_output(parser)


def _add_samples(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("samples (default: those of the run beside each file)")
    add = adder(group, {"part": "test", "seed": 0})
    add("run", "run whose samples files without a run.json beside them take", metavar="FOLDER",
        dest="run_folder")  # fmt: skip
    add("inputs", "samples as the networks take them, instead", metavar="FILE.npy|FILE.npz:KEY")
    add("truth", "their class indices, from 0", metavar="FILE.npy|FILE.npz:KEY")
    group.add_argument(
        "--image", action="append", default=[], metavar="FILE",
        help="a photograph instead; again for more",
    )  # fmt: skip
    add("preprocess", "of photographs (default: as in the run of the files, else unit)",
        choices=PREPROCESSINGS)  # fmt: skip
    add("resize", "fit photographs of another size", action="store_true")
    add("part", "of the split", choices=PARTS, default="test")
    add("samples", "draw as many (default: all)", type=int)
    add("seed", "of every draw", type=int, default=0)


def _add_comparison(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("comparison")
    add = adder(group, {"batch": (1, 256), "threads": 1})
    add(
        "what",
        f"what to compare: {', '.join(WHAT)} (default: outputs and cost, and the layers of a Keras "
        "model beside its own .tflite)",
        type=words,
        default=(),
    )
    add("batch", "samples a call that are timed", type=whole, default=(1, 256))
    add("threads", "of timing and of .tflite files", type=int, default=1)
    add("methods", "of --what explanations and faithfulness", type=words, default=())
    add(
        "retrained",
        "the first network trained from another seed: what explanations differ by all the same",
        metavar="FILE",
    )
    add("trust", "run the code that a model file holds (Lambda layers); only for files of your own",
        action="store_true")  # fmt: skip


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    add = adder(group, {})
    add("json", "everything, as JSON", metavar="FILE")
    add("csv", "a row a variant, with the columns of results.csv and more", metavar="FILE")
    add("parting", "the samples on which a variant parts from the first", metavar="FILE.csv|.json")
    add("figures", "maps of where they part and what else can be drawn", metavar="FOLDER")
    group.add_argument(
        "--fail_under",
        "--fail-under",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="end with exit code 1 where a value is below, such as agreement=0.99,oa=95 (OA and AA "
        "in percent); again for more",
    )


def run(arguments: argparse.Namespace) -> int:
    """Compare, print, write; 1 where a value is below its limit.

    Raises:
        UserError: wrong options, files, or no common samples, all before TensorFlow is loaded.
    """
    from hsi.compare.limits import failures, limits_from

    limits = limits_from(arguments.fail_under)
    comparison = _compared(arguments)
    from hsi.cli import comparison_tables

    comparison_tables.print_comparison(comparison)
    _write(comparison, arguments)
    below = failures(comparison.rows(), limits)
    if below:
        print(f"fail_under: {'; '.join(below)}.")
    return BELOW if below else 0


def _compared(arguments: argparse.Namespace) -> Comparison:
    from hsi.compare.comparison import Options, compare
    from hsi.deploy.variant import TFLITE
    from hsi.views.compared import Choice, open_compared

    options = Options(
        what=arguments.what,
        batches=arguments.batch,
        threads=arguments.threads,
        methods=tuple(one_of(name, ATTRIBUTING, what="method") for name in arguments.methods),
        seed=arguments.seed,
        trust=arguments.trust,
    ).check()
    _check_outputs(arguments)
    opened = open_compared(
        Choice(
            tuple(arguments.files),
            run=arguments.run_folder,
            inputs=arguments.inputs,
            truth=arguments.truth,
            images=tuple(arguments.image),
            preprocess=arguments.preprocess,
            resize=arguments.resize,
            part=arguments.part,
            samples=arguments.samples,
            retrained=arguments.retrained,
            seed=arguments.seed,
            trust=arguments.trust,
        ),
        say=print,
    )
    inside = {*WHAT[2:]} & {*options.what}
    files = [subject.path for subject in opened.subjects]
    if inside or any(file.suffix.lower() != TFLITE for file in files):
        from hsi.quiet import start_tensorflow

        start_tensorflow()
    options = replace(options, retrained=opened.retrained)
    return compare(opened.subjects, opened.common, options, say=print)


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse what could not be written as asked, before anything is computed."""
    for name, endings in (("json", (".json",)), ("csv", (".csv",)), ("parting", (".csv", ".json"))):
        file = getattr(arguments, name)
        if file is not None and Path(file).suffix.lower() not in endings:
            raise SettingsError(f"{name}: expected a file {' or '.join(endings)}, got {file}.")
        if file is not None and Path(file).is_dir():
            raise SettingsError(f"{name}: {file} is a folder; name a file.")
    if arguments.figures is not None and Path(arguments.figures).is_file():
        raise SettingsError(f"figures: {arguments.figures} is a file; name a folder.")


def _write(comparison: Comparison, arguments: argparse.Namespace) -> None:
    from hsi.files import write_json
    from hsi.results import write_rows

    written: list[Any] = []
    if arguments.json:
        write_json(arguments.json, comparison.record())
        written.append(arguments.json)
    if arguments.csv:
        rows = comparison.rows()
        write_rows(Path(arguments.csv), rows, tuple(rows[0]))
        written.append(arguments.csv)
    if arguments.parting:
        rows = comparison.parting_samples()
        if Path(arguments.parting).suffix.lower() == ".json":
            write_json(arguments.parting, rows)
        else:
            write_rows(Path(arguments.parting), rows, PARTING)
        written.append(arguments.parting)
    if arguments.figures:
        from hsi.views.compared_figures import draw_comparison

        written += draw_comparison(comparison, Path(arguments.figures), say=print)
    for path in written:
        print(path)
