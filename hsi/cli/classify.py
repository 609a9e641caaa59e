"""`python -m hsi classify SCENE --model FILE`: the class of every pixel of a scene."""

from __future__ import annotations

import argparse
import re

from hsi.cli.parser import add_workers

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this verb."""
    parser.add_argument(
        "scene", metavar="SCENE", help="name of a scene (python -m hsi datasets), FILE or FILE:KEY"
    )
    parser.add_argument(
        "--model", required=True, metavar="FILE", help="any model file in the folder of its run: "
        ".h5, .keras, .tflite, or the .npz of a baseline"
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="FILE", help=".tif (GeoTIFF with legend), .hdr (ENVI "
        "classification), .npy or .png (default: SCENE_MODEL.tif in this folder)"
    )  # fmt: skip
    parser.add_argument(
        "--memory", type=memory, default="2G", metavar="SIZE", help="most that a process takes, "
        "such as 800M or 4G; the size of the tiles follows from it (default: 2G)"
    )  # fmt: skip
    add_workers(parser)
    parser.add_argument(
        "--mrf", type=float, metavar="BETA", help="smooth the map by graph cuts on a Potts model; "
        "Cao et al. 2018 take 20"
    )  # fmt: skip
    parser.add_argument(
        "--scores", metavar="FILE", help="write the scores of all pixels too, as .npy"
    )
    parser.add_argument(
        "--batch_size", type=int, default=1024, metavar="N", help="patches at once, where a "
        "network cannot go over the scene in one pass (default: 1024)"
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", default=True, help="go on with an unfinished map of the "
        "same scene and model, which is the default"
    )  # fmt: skip
    parser.add_argument(
        "--no_resume", dest="resume", action="store_false", help="begin the map again"
    )
    parser.add_argument("--trust", action="store_true", help="run the code that a model file holds")


def memory(text: str) -> int:
    """ "2G" -> 2147483648."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"expected a size such as 800M or 2G, got {text!r}")
    return int(float(found[1]) * UNITS[found[2].upper()])


def run(arguments: argparse.Namespace) -> int:
    """Map the scene; 0 on success.

    Raises:
        UserError: the scene, the model or the output cannot be used, or do not fit each other.
    """
    from hsi.classify import Request, classify

    options = {
        name: value for name, value in vars(arguments).items() if name not in ("verb", "run")
    }
    classify(Request(**options))
    return 0
