"""`visualization.py`: show what a trained or pruned model looks at."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import chain
from typing import Any

from hsi.cli import Parser, guarded
from hsi.cli.config import read_config
from hsi.cli.options import add_data, adder, as_arguments, pixels, show, words
from hsi.errors import SettingsError, one_of
from hsi.explain import METHODS
from hsi.models import NETWORKS
from hsi.settings import OPTIONS
from hsi.version import __version__
from hsi.views.request import DATA_OPTIONS, FORMATS, NOISE, SMOOTH_SAMPLES, Request

EXAMPLES = """examples:
  python visualization.py outputs/cao_salinas_a/trained_model.h5 gradient
  python visualization.py trained_pruned_model_20.h5 gradient --class 3 --samples 5
  python visualization.py cao trained_model.h5 activation_map --layer conv_1 --pixel 12,34
  python visualization.py model.h5 gradient --dataset scene.mat:cube --labels truth.mat:labels
"""
NAMES = {"class": "klass", "layer": "layers", "pixel": "pixels", "format": "form"}
"""Options whose field in `Request` has another name."""

OWN_OPTIONS = (
    "samples", "pixel", "class", "layer", "from_band", "to_band", "step_band", "output", "format",
    "seed", "noise", "smooth_samples", "batch_size", "show_images",
)  # fmt: skip


def build_parser() -> Parser:
    """Every option; those not given stay out of the result, so that a file's can count."""
    parser = Parser(
        prog="visualization.py",
        usage="%(prog)s [MODEL] FILE METHOD [options]",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"hsi {__version__}")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="[MODEL] FILE METHOD",
        help=f"MODEL, which may be left out: {', '.join(NETWORKS)}. FILE: a .h5 file; a bare name "
        "is looked for here, then in the newest run under outputs/. "
        f"METHOD: {'; '.join(f'{name}: {m.summary}' for name, m in METHODS.items())}",
    )
    parser.add_argument("--config", metavar="FILE", help="options from a JSON or TOML file")
    parser.add_argument("--run", metavar="NAME", help="which run of a file that holds several")
    _add_samples(parser)
    _add_view(parser)
    add_data(parser, "data (only for a model file without a run.json beside it)")
    data = parser.add_argument_group("patches")
    adder(data)("patch_size", "odd side of the patches (default: the model's)", type=int)
    return parser


def _add_samples(parser: Parser) -> None:
    group = parser.add_argument_group("samples")
    add = adder(group, {"seed": 0})
    add(
        "samples",
        "how many rightly classified test pixels, spread over the classes (default: 3; 1 for "
        "activation_map)",
        type=int,
    )
    group.add_argument(
        "--pixel",
        action="append",
        type=pixels,
        metavar="ROW,COL",
        help="these pixels instead, counted from 0; again, or separated by ';'",
    )
    add(
        "class",
        "explain the score of this class, and choose samples of it (default: the predicted one)",
        metavar="NUMBER|NAME",
    )
    add("seed", "of the choice of samples and of SmoothGrad's noise", type=int)


def _add_view(parser: Parser) -> None:
    group = parser.add_argument_group("view")
    add = adder(
        group, {"noise": NOISE, "smooth_samples": SMOOTH_SAMPLES, "batch_size": 64, "format": "png"}
    )
    group.add_argument(
        "--layer",
        action="append",
        type=words,
        metavar="NAME",
        help="of activation_map; again, or separated by commas (default: every layer); or the one "
        "that gradcam, gradcam_plus_plus, guided_gradcam and layer_attention look at",
    )
    add(
        "from_band",
        "first band, by its number in the sensor's own list as the tiles name it (removed bands "
        "keep their numbers); of components where bands are reduced",
        type=int,
    )
    add("to_band", "last band", type=int)
    add("step_band", "every so many bands (default: as many as fit side by side)", type=int)
    add("noise", "SmoothGrad's, as a share of each band's range in training", type=float)
    add("smooth_samples", "noisy copies for SmoothGrad", type=int)
    add("batch_size", "rows that pass through the network at once", type=int)
    add("output", "folder, or a file for one figure (default: in the run)", metavar="DIR|FILE")
    add("format", "png, svg, pdf, or npz for the arrays", choices=FORMATS)
    add("show_images", "open the figures at the end", action="store_true")


def parse(arguments: Sequence[str] | None) -> tuple[Request, bool]:
    """The request, and whether the figures are to be opened."""
    parser = build_parser()
    given = vars(parser.parse_intermixed_args(arguments))
    file, run = given.pop("config", None), given.pop("run", None)
    if run is not None and file is None:
        raise SettingsError("run: expected together with --config FILE.")
    values = (_from_file(file, run) if file else {}) | given
    data = {name: values.pop(name) for name in DATA_OPTIONS if name in values}
    opened = values.pop("show_images", False)
    subject = _subject(parser, values.pop("words", []), values.pop("model", None))
    for name in ("pixel", "layer"):
        if name in values:
            values[name] = tuple(dict.fromkeys(chain.from_iterable(values[name])))
    own = {NAMES.get(name, name): value for name, value in values.items()}
    return Request(**subject, data=data, **own).check(), opened


def _subject(parser: Parser, given: list[str], model: str | None) -> dict[str, Any]:
    """MODEL, FILE and METHOD from the words of the command line."""
    if len(given) == 3:
        model = one_of(given[0], NETWORKS, what="model")
    elif len(given) != 2 or (given[0] in NETWORKS and given[1] not in METHODS):
        parser.error(
            f"expected [MODEL] FILE METHOD, got {' '.join(given) or 'none of them'}; "
            f"methods: {', '.join(METHODS)}"
        )
    return {"file": given[-2], "method": one_of(given[-1], METHODS, what="method"), "model": model}


def _from_file(file: str, run: str | None) -> dict[str, Any]:
    """A file's options, read as the command line would; those of other commands are passed over."""
    known = (*DATA_OPTIONS, *OWN_OPTIONS)
    values = read_config(file, run, options=dict.fromkeys((*known, *OPTIONS)))
    model = values.get("model")
    mine = {name: value for name, value in values.items() if name in known}
    found = vars(build_parser().parse_args(as_arguments(mine)))
    found.pop("words", None)
    return found | ({} if model is None else {"model": str(model)})


@guarded
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, explain, write."""
    request, opened = parse(arguments)
    from hsi.views import visualize

    written = visualize(request)
    if opened:
        show([path for path in written if path.suffix != ".npz"])
    return 0
