"""`visualization.py`: show what trained, pruned and quantized models look at."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from hsi.cli.config import read_config
from hsi.cli.options import add_data, adder, as_arguments, pixels, show, words
from hsi.cli.parser import Parser, guarded
from hsi.errors import SettingsError, one_of
from hsi.explain import METHODS
from hsi.images import PREPROCESSINGS
from hsi.models import NETWORKS
from hsi.settings import OPTIONS
from hsi.version import __version__
from hsi.views.request import (
    DATA_OPTIONS,
    FORMATS,
    NOISE,
    SMOOTH_SAMPLES,
    SPACES,
    VIEWS,
    Request,
)

EXAMPLES = """examples:
  python visualization.py outputs/cao_salinas_a/trained_model.h5 gradient
  python visualization.py quantized_model_int8.tflite integrated_gradient --class 3 --samples 5
  python visualization.py trained_model.h5 trained_pruned_model_80.h5 quantized_model_int8.tflite \\
      gradient --views tiles,spectrum,scene
  python visualization.py cao trained_model.h5 activation_map --layer conv_1 --pixel 12,34
  python visualization.py vgg16.h5 gradcam --image photo.jpg --resize --preprocess caffe
  python visualization.py model.h5 gradient --dataset scene.mat:cube --labels truth.mat:labels
"""
NAMES = {
    "class": "klass", "layer": "layers", "pixel": "pixels", "format": "form", "image": "images",
}  # fmt: skip
"""Options whose field in `Request` has another name."""

LISTS = ("pixel", "layer", "image", "views")
"""Options that may be given again, or as lists."""

OWN_OPTIONS = (
    "samples", "pixel", "class", "image", "array", "preprocess", "resize", "class_names", "layer",
    "channel", "from_band", "to_band", "step_band", "views", "space", "colormap", "output", "name",
    "format", "seed", "noise", "smooth_samples", "steps", "tolerance", "baseline", "window",
    "stride", "window_bands", "masks", "start", "sanity", "batch_size", "trust", "show_images",
)  # fmt: skip


def build_parser() -> Parser:
    """Every option; those not given stay out of the result, so that a file's can count."""
    parser = Parser(
        prog="visualization.py",
        usage="%(prog)s [MODEL] FILE [FILE ...] METHOD [options]",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"hsi {__version__}")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="[MODEL] FILE [FILE ...] METHOD",
        help=f"MODEL, which may be left out: {', '.join(NETWORKS)}. FILE: .h5, .keras, .tflite or "
        "a SavedModel folder; a bare name is looked for here, then in the newest run under "
        "outputs/; several are compared with the first. "
        f"METHOD: {'; '.join(f'{name}: {m.summary}' for name, m in METHODS.items())}",
    )
    parser.add_argument("--config", metavar="FILE", help="options from a JSON or TOML file")
    parser.add_argument("--run", metavar="NAME", help="which run of a file that holds several")
    _add_samples(parser)
    _add_view(parser)
    _add_method(parser)
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
    group.add_argument(
        "--image",
        action="append",
        type=lambda text: (text,),
        metavar="FILE",
        help="a photograph instead of a scene; again for more",
    )
    add("array", "samples as the network takes them, instead", metavar="FILE.npy|FILE.npz:KEY")
    add(
        "preprocess",
        "of photographs, 0..255 to what the network takes (default: as in its run, else unit)",
        choices=PREPROCESSINGS,
    )
    add("resize", "fit photographs of another size, cut in the middle", action="store_true")
    add("class_names", "text file with a class name a line, for images and arrays", metavar="FILE")


def _add_view(parser: Parser) -> None:
    group = parser.add_argument_group("view")
    add = adder(group, {"format": "png", "space": "bands"})
    known = "; ".join(f"{name}: {text}" for name, text in VIEWS.items())
    group.add_argument(
        "--views",
        action="append",
        type=words,
        metavar="LIST",
        help=f"of attributions, separated by commas (default: tiles; of photographs overlay). "
        f"{known}",
    )
    add("space", "what is attributed: scaled bands, through PCA and NMF too; the sensor's counts; "
        "or the network's own input", choices=SPACES)  # fmt: skip
    add(
        "from_band",
        "first band, by its number in the sensor's own list as the tiles name it (removed bands "
        "keep their numbers); of components with --space components",
        type=int,
    )
    add("to_band", "last band", type=int)
    add("step_band", "every so many bands (default: as many as fit side by side)", type=int)
    add("colormap", "of signed maps, by its name in Matplotlib", metavar="NAME")
    add("output", "folder, or a file for one figure (default: in the run)", metavar="DIR|FILE")
    add("name", "what the names of the files begin with (default: the method)", metavar="NAME")
    add("format", "png, svg, pdf, npz for the arrays, or envi for cubes", choices=FORMATS)
    add("sanity", "the method while layer after layer is randomised (Adebayo 2018)",
        action="store_true")  # fmt: skip
    add(
        "batch_size",
        "rows that pass through the network at once (default: as many as hold two million "
        "values, at most 256)",
        type=int,
    )
    add("show_images", "open the figures at the end", action="store_true")
    add("trust", "run the code that a model file holds (Lambda layers); only for files of your own",
        action="store_true")  # fmt: skip


def _add_method(parser: Parser) -> None:
    group = parser.add_argument_group("method")
    add = adder(group, {"noise": NOISE, "smooth_samples": SMOOTH_SAMPLES})
    group.add_argument(
        "--layer",
        action="append",
        type=words,
        metavar="NAME",
        help="of activation_map; again, or separated by commas (default: every layer); or the one "
        "that gradcam, gradcam_plus_plus, guided_gradcam, layer_attention and filters look at",
    )
    add("channel", "feature map of layer_attention, from 0 (default: the most active)", type=int)
    add("noise", "SmoothGrad's, as a share of each band's range in training", type=float)
    add("smooth_samples", "noisy copies for SmoothGrad", type=int)
    add("steps", "points of integrated_gradient (default: 32), or steps of class_image (200)",
        type=int)  # fmt: skip
    add("tolerance", "completeness error of integrated_gradient above which the points are "
        "doubled, as a share (default: 0.01)", type=float)  # fmt: skip
    add(
        "baseline",
        "of integrated_gradient, occlusion, spectral_occlusion and rise: zero, mean, blurred, a "
        "number, or a .npy file of one sample (default: zero, in counts too that of scaled bands)",
        metavar="NAME|FILE",
    )
    add("window", "side of occlusion's window, in pixels", type=int)
    add("stride", "pixels from one window to the next", type=int)
    add("window_bands", "bands that a window of occlusion or spectral_occlusion covers", type=int)
    add("masks", "of rise (default: 1000)", type=int)
    add("start", "of class_image: zero, mean or noise (default: zero)", metavar="NAME")


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
    for name in LISTS:
        if name in values:
            values[name] = tuple(dict.fromkeys(chain.from_iterable(values[name])))
    own = {NAMES.get(name, name): value for name, value in values.items()}
    return Request(**subject, data=data, **own).check(), opened


def _subject(parser: Parser, given: list[str], model: str | None) -> dict[str, Any]:
    """MODEL, FILEs and METHOD from the words of the command line."""
    *files, method = given or [""]
    if len(files) > 1 and not _is_file(files[0]):
        model = one_of(files.pop(0), NETWORKS, what="model")
    if not files or (len(files) == 1 and files[0] in NETWORKS and method not in METHODS):
        parser.error(
            f"expected [MODEL] FILE [FILE ...] METHOD, got {' '.join(given) or 'none of them'}; "
            f"methods: {', '.join(METHODS)}"
        )
    method = one_of(method, METHODS, what="method")
    return {"files": tuple(files), "method": method, "model": model}


def _is_file(word: str) -> bool:
    """Whether a word is a model file, there or not, and no name of a network."""
    return word not in NETWORKS and (Path(word).suffix != "" or Path(word).exists())


def _from_file(file: str, run: str | None) -> dict[str, Any]:
    """A file's options, read as the command line would; those of other commands are passed over."""
    known = (*DATA_OPTIONS, *OWN_OPTIONS)
    values = read_config(file, run, options=dict.fromkeys((*known, *OPTIONS)))
    model = values.get("model")
    mine = {name: value for name, value in values.items() if name in known}
    images = mine.pop("image", None) or []  # a file name may have a comma in it
    found = vars(build_parser().parse_args(as_arguments(mine)))
    found.pop("words", None)
    if images:
        listed = images if isinstance(images, list) else [images]
        found["image"] = [(str(image),) for image in listed]
    return found | ({} if model is None else {"model": str(model)})


@guarded
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, explain, write."""
    request, opened = parse(arguments)
    from hsi.views import visualize

    written = visualize(request)
    if opened:
        show([path for path in written if path.suffix not in (".npz", ".hdr")])
    return 0
