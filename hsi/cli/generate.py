"""`generate_model.py`: train, prune, quantize and time a classifier of a scene or of images."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from hsi.cli.config import read_config
from hsi.cli.options import add_data, adder, as_arguments, numbers, show, whole, words
from hsi.cli.parser import Parser, guarded
from hsi.compress.criteria import CRITERIA
from hsi.compress.schedule import SCOPES
from hsi.errors import SettingsError
from hsi.models import BASELINES, NETWORKS
from hsi.pipeline.choices import (
    LOW_RANK_METHODS,
    PRUNE_METHODS,
    SCHEDULES,
    STUDENTS_TEACHERS,
    check_compression,
)
from hsi.settings import EPOCHS, OPTIONS, OWN, PRETRAININGS, QUANTIZATIONS, STRATEGIES, Settings
from hsi.strategy import place_of
from hsi.version import __version__

EXAMPLES = """examples:
  python generate_model.py cao
  python generate_model.py cao --prune --quantize
  python generate_model.py cao --dataset salinas_a --split random --prune --prune_end 60
  python generate_model.py cao --dataset scene.mat:cube --labels truth.mat:labels
  python generate_model.py vgg11 --dataset cifar10 --width 0.25 --prune --quantize
  python generate_model.py --model my_model.keras --dataset folder:photos --prune --quantize
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
        "model",
        nargs="?",
        default=None,
        metavar="NETWORK",
        help=_list(NETWORKS | BASELINES) + "; see docs/networks.md",
    )
    parser.add_argument(
        "--model",
        "--model_file",
        dest="model_file",
        metavar="FILE",
        help="a classifier of your own instead (.h5 or .keras), pruned and quantized as it is; "
        "with --epochs it is trained on first",
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
    group.add_argument(
        "--no_report", action="store_true", help="write no report.html, which takes seconds"
    )
    return parser


def _add_training(parser: Parser) -> None:
    add = adder(parser.add_argument_group("training"))
    add("patch_size", "odd side of the patches (default: the network's)", type=int)
    add("width", "factor of the channels, for networks of images", type=float)
    add("weights", "to begin with: imagenet, none, or a model or weights file", metavar="NAME|FILE")
    add("no_augmentation", "show training images as they are", action="store_true")
    add(
        "augment",
        "mirror and move training images at random (the default)",
        dest="no_augmentation",
        action="store_false",
    )
    add("epochs", f"at most (default: {EPOCHS}; none for a model of your own)", type=int)
    add("batch_size", "samples a step (default: the network's)", type=int)
    add("learning_rate", "of the optimiser (default: the network's)", type=float)
    add("patience", "epochs without a better validation loss before training stops", type=int)
    add("seed", "of every random choice", type=int)
    add("pretrain", f"to begin with: {_list(PRETRAININGS)}", choices=tuple(PRETRAININGS))
    add("pretrain_epochs", "of it", type=int)
    add("strategy", f"what trains: {_list(STRATEGIES)}", choices=tuple(STRATEGIES))


def _add_compression(parser: Parser) -> None:
    add = adder(parser.add_argument_group("compression"))
    add("prune", "prune the trained model", action="store_true")
    add(
        "prune_method",
        "apoz: channels go, the network shrinks (default); magnitude: weights become zero",
        choices=tuple(PRUNE_METHODS),
    )
    add("prune_start", "percent pruned in the first step", type=float)
    add("prune_increment", "percent of the original channels, or weights, a step", type=float)
    add("prune_end", "percent at which to stop", type=float)
    add("prune_epochs", "epochs of fine-tuning after each step", type=int)
    add("prune_learning_rate", "of fine-tuning (default: 0.3 of the training's)", type=float)
    add("compression_rates", "prune by these factors instead, such as 2,4,8", type=numbers)
    add("criterion", f"what goes first: {_list(CRITERIA)}", choices=tuple(CRITERIA))
    add("granularity", "channel, weight, N:M such as 2:4, or blocks such as 4x4", metavar="WHAT")
    add("scope", f"where scores are compared: {_list(SCOPES)}", choices=tuple(SCOPES))
    add("schedule", f"in which steps: {_list(SCHEDULES)}", choices=tuple(SCHEDULES))
    add(
        "target",
        "what may be left instead of percentages, such as parameters=25%,bytes=100k,latency=0.5ms "
        "(channels, parameters, macs, bytes, latency); a model for each",
        type=words,
    )
    add("round_to", "channels left in each layer are a multiple of it, such as 8", type=int)
    add("min_channels", "that stay in each layer", type=int)
    add("keep", "layers that stay whole, separated by commas", type=words)
    add("prune_dense", "channels of dense layers too", action="store_true")
    add(
        "no_compensation",
        "leave biases alone (else they take over what removed channels emitted on average)",
        action="store_true",
    )
    add("epochs_total", "of all fine-tuning up to a target, shared out over its steps", type=int)
    add(
        "until_convergence",
        "fine-tune until the validation loss has not fallen for --patience epochs, at most 200",
        action="store_true",
    )
    add("plan", "carry out a plan (JSON, from the folder plans/ of a run)", metavar="FILE")
    add(
        "plan_only",
        "print and save the plans of the trained network, and stop",
        action="store_true",
    )
    add(
        "distill",
        "networks that learn from the trained one, NAME or NAME:WIDTH, such as compact,cao_pooled",
        type=words,
    )
    add(
        "distill_from",
        "who teaches them, if not the teacher below: `trained`, or `best`, the one of the run's "
        "trained and pruned networks with the least loss on validation samples",
        choices=STUDENTS_TEACHERS,
    )
    add(
        "distill_epochs",
        "of their training; in each, patches are shown in all eight forms",
        type=int,
    )
    add(
        "teacher",
        "a model file that students and, where given, compressed models learn from; `trained` "
        "is the run's own",
        metavar="FILE",
    )
    add("temperature", "that softens the teacher's scores", type=float)
    add("teacher_share", "of the teacher in the loss, 0..1; the rest are the labels", type=float)
    add(
        "low_rank",
        "factorise kernels: energy=0.9, ratio=0.5, parameters=30%, macs=30%; a model for each",
        type=words,
    )
    add(
        "low_rank_method",
        f"of convolutions: {_list(LOW_RANK_METHODS)}",
        choices=tuple(LOW_RANK_METHODS),
    )
    add("separable", "replace convolutions by depthwise-separable ones", action="store_true")
    add("clusters", "few distinct values a kernel, such as 16,64; a model for each", type=whole)
    add(
        "fold",
        "the same networks by fewer layers, exactly; those are quantized",
        action="store_true",
    )
    add(
        "fold_preparation",
        "the same networks with scaling and reduction in them, exactly: files that take raw counts",
        action="store_true",
    )
    add("quantization_aware", "train the trained model with int8 rounding", action="store_true")
    add("quantize", "write .tflite files of the trained model", action="store_true")
    add("quantize_pruned_models", "and of the pruned models", action="store_true")
    add("quantization", f"modes, separated by commas: {', '.join(QUANTIZATIONS)}", type=words)
    add("quantize_folder", "quantize the models of an earlier run, without training", metavar="DIR")
    add("threads", "of every timed model", type=int)


def _list(table: dict[str, Any]) -> str:
    said = {name: getattr(item, "summary", item) for name, item in table.items()}
    return "; ".join(f"{name}: {words}" for name, words in said.items())


def parse(arguments: Sequence[str] | None) -> Settings:
    """Settings from the command line, over those of `--config`, over the defaults."""
    parser = build_parser()
    given = vars(parser.parse_args(arguments))
    file, run = given.pop("config", None), given.pop("run", None)
    if run is not None and file is None:
        raise SettingsError("run: expected together with --config FILE.")
    values = _spelled(read_config(file, run, options=OPTIONS)) if file else {}
    values |= {name: value for name, value in given.items() if value is not None}
    if "model" not in values and "model_file" not in values:
        parser.error(f"expected a model: {', '.join(NETWORKS | BASELINES)}, or --model FILE")
    return _settings(values)


def settings_of(values: Mapping[str, Any], where: str) -> Settings:
    """Checked settings from options by name, as a file holds them.

    Raises:
        SettingsError: what is wrong with them, with `where` in front.
    """
    try:
        if "model" not in values and "model_file" not in values:
            raise SettingsError(f"expected a model: {', '.join(NETWORKS | BASELINES)}.")
        return _settings(_spelled(values))
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from error


def _settings(values: Mapping[str, Any]) -> Settings:
    return check_compression(Settings(**{"model": OWN, **values}).check())


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
    from hsi.pipeline import generate, train_beside

    if not place_of(settings.strategy).is_chief:
        train_beside(settings)
        return 0
    run = generate(settings)
    from hsi.cli.tables import next_commands, print_table
    from hsi.report import write_after

    print_table(run)
    figures = [run.path(name) for name in run.record.get("figures", [])]
    print(f"Results: {run.path('results.csv')}")
    print(f"Figures: {', '.join(map(str, figures))}")
    if not settings.no_report:
        write_after(run)
    if settings.show_images:
        show(figures)
    print("Try next:")
    for command in next_commands(run):
        print(f"  {command}")
    return 0
