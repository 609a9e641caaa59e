"""`generate_model.py`: train, prune, quantize and time a classifier of a scene."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from hsi.cli import Parser, guarded
from hsi.cli.config import read_config
from hsi.cli.options import add_data, adder, as_arguments, numbers, show, words
from hsi.errors import SettingsError
from hsi.models import NETWORKS
from hsi.settings import OPTIONS, PRUNE_METHODS, QUANTIZATIONS, Settings
from hsi.version import __version__

EXAMPLES = """examples:
  python generate_model.py cao
  python generate_model.py cao --prune --quantize
  python generate_model.py cao --dataset salinas_a --split random --prune --prune_end 60
  python generate_model.py cao --dataset scene.mat:cube --labels truth.mat:labels
"""


def build_parser() -> Parser:
    """Every option; those not given stay out of the result, so that a file's can count."""
    parser = Parser(
        prog="generate_model.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"hsi {__version__}")
    parser.add_argument(
        "model", nargs="?", default=None, metavar="|".join(NETWORKS), help=_list(NETWORKS)
    )
    parser.add_argument("--config", metavar="FILE", help="options from a JSON or TOML file")
    parser.add_argument("--run", metavar="NAME", help="which run of a file that holds several")
    add_data(parser)
    _add_training(parser)
    _add_compression(parser)
    group = parser.add_argument_group("output")
    group.add_argument("--output", metavar="DIR", help="run folder (default: outputs/...)")
    group.add_argument("--resume", action="store_true", help="go on with a stopped run")
    group.add_argument(
        "--start_from", metavar="DIR", help="run of the same training whose network is taken"
    )
    group.add_argument("--show_images", action="store_true", help="open the figures at the end")
    return parser


def _add_training(parser: Parser) -> None:
    add = adder(parser.add_argument_group("training"))
    add("patch_size", "odd side of the patches (default: the network's)", type=int)
    add("epochs", "at most", type=int)
    add("batch_size", "samples a step (default: the network's)", type=int)
    add("learning_rate", "of Adam (default: the network's)", type=float)
    add("patience", "epochs without a better validation loss before training stops", type=int)
    add("seed", "of every random choice", type=int)


def _add_compression(parser: Parser) -> None:
    add = adder(parser.add_argument_group("compression"))
    add("prune", "prune the trained model", action="store_true")
    add(
        "prune_method",
        "apoz: channels go, the network shrinks (default); magnitude: weights become zero",
        choices=PRUNE_METHODS,
    )
    add("prune_start", "percent pruned in the first step", type=float)
    add("prune_increment", "percent of the original channels, or weights, a step", type=float)
    add("prune_end", "percent at which to stop", type=float)
    add("prune_epochs", "epochs of fine-tuning after each step", type=int)
    add("prune_learning_rate", "of fine-tuning (default: 0.3 of the training's)", type=float)
    add("compression_rates", "magnitude pruning by these factors, such as 2,4,8", type=numbers)
    add("quantize", "write .tflite files of the trained model", action="store_true")
    add("quantize_pruned_models", "and of the pruned models", action="store_true")
    add("quantization", f"modes, separated by commas: {', '.join(QUANTIZATIONS)}", type=words)
    add("quantize_folder", "quantize the models of an earlier run, without training", metavar="DIR")
    add("threads", "of every timed model", type=int)


def _list(table: dict[str, Any]) -> str:
    return "; ".join(f"{name}: {item.summary}" for name, item in table.items())


def parse(arguments: Sequence[str] | None) -> Settings:
    """Settings from the command line, over those of `--config`, over the defaults."""
    parser = build_parser()
    given = vars(parser.parse_args(arguments))
    file, run = given.pop("config", None), given.pop("run", None)
    if run is not None and file is None:
        raise SettingsError("run: expected together with --config FILE.")
    values = _spelled(read_config(file, run, options=OPTIONS)) if file else {}
    values |= {name: value for name, value in given.items() if value is not None}
    if "model" not in values:
        parser.error(f"expected a model: {', '.join(NETWORKS)}")
    return Settings(**values).check()


def settings_of(values: Mapping[str, Any], where: str) -> Settings:
    """Checked settings from options by name, as a file holds them.

    Raises:
        SettingsError: what is wrong with them, with `where` in front.
    """
    try:
        if "model" not in values:
            raise SettingsError(f"expected a model: {', '.join(NETWORKS)}.")
        return Settings(**_spelled(values)).check()
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from error


def _spelled(values: Mapping[str, Any]) -> dict[str, Any]:
    """A file's options, read as the command line would read them."""
    rest = dict(values)
    model = rest.pop("model", None)
    spelled = as_arguments(rest) + ([] if model is None else [str(model)])
    found = vars(build_parser().parse_args(spelled))
    return {name: value for name, value in found.items() if value is not None}


@guarded
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, print the table and what to try next."""
    settings = parse(arguments)
    from hsi.pipeline import generate

    run = generate(settings)
    from hsi.cli.tables import next_commands, print_table

    print_table(run)
    figures = [run.path(name) for name in run.record.get("figures", [])]
    print(f"Results: {run.path('results.csv')}")
    print(f"Figures: {', '.join(map(str, figures))}")
    if settings.show_images:
        show(figures)
    print("Try next:")
    for command in next_commands(run):
        print(f"  {command}")
    return 0
