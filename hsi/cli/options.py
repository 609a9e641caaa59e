"""Options that several commands share: how they are spelled, read and explained."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hsi.bands import REDUCERS, SCALINGS, is_selection, reducer_name
from hsi.errors import one_of
from hsi.image_sets import IMAGE_SETS
from hsi.images import PREPROCESSINGS
from hsi.readers.bad_bands import WORDS as BAND_WORDS
from hsi.settings import OPTIONS, TRAIN_FRACTION, Settings
from hsi.split import METHODS

DEFAULTS = {name: Settings.__dataclass_fields__[name].default for name in OPTIONS}


def words(text: str) -> tuple[str, ...]:
    """ "int8,dynamic" -> ("int8", "dynamic")."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def numbers(text: str) -> tuple[float, ...]:
    """ "2,4,8" -> (2.0, 4.0, 8.0)."""
    return tuple(float(word) for word in words(text))


def whole(text: str) -> tuple[int, ...]:
    """ "16,64" -> (16, 64)."""
    return tuple(int(word) for word in words(text))


def band_numbers(text: str) -> tuple[int | str, ...]:
    """ "water,1,104-106" -> ("water", 1, 104, 105, 106)."""
    found: list[int | str] = []
    for word in words(text):
        if word.isalpha():
            found.append(one_of(word.lower(), BAND_WORDS, what="kind of band"))
            continue
        first, _, last = word.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


def pixels(text: str) -> tuple[tuple[int, int], ...]:
    """ "3,4;10,0" -> ((3, 4), (10, 0))."""
    found = []
    for part in filter(str.strip, text.split(";")):
        try:
            row, col = (int(word) for word in part.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"expected row,col from 0, such as 12,34, several separated by ';'; got {text!r}"
            ) from None
        found.append((row, col))
    return tuple(found)


def adder(group: Any, defaults: Mapping[str, Any] = DEFAULTS) -> Callable[..., None]:
    """A short `add_argument`: the default is shown in the help, the metavar follows the type."""

    def add(name: str, text: str, **options: Any) -> None:
        default = defaults.get(name)
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        if shown not in (None, "", False) and "dest" not in options:
            text += f" (default: {shown})"
        if "type" in options or "choices" in options:
            options.setdefault(
                "metavar",
                "|".join(options["choices"])
                if "choices" in options
                else {int: "N", float: "X"}.get(options["type"], "LIST"),
            )
        group.add_argument(f"--{name}", help=text.replace("%", "%%"), **options)

    return add


def add_data(parser: argparse.ArgumentParser, title: str = "data") -> None:
    """The options that name a scene or images, their division and preparation."""
    add = adder(parser.add_argument_group(title))
    add(
        "dataset",
        "name of a scene (python -m hsi datasets), FILE or FILE:KEY; or of images: "
        f"{', '.join(IMAGE_SETS)}, or folder:PATH with a folder for each class; default: Indian "
        "Pines, else the embedded synthetic scene; for networks of images digits",
        metavar="NAME|FILE",
    )
    add(
        "labels",
        "of a scene of your own: a label map FILE or FILE:KEY, polygons FILE:FIELD (GeoJSON, "
        "Shapefile, GeoPackage) or a table of pixels (row,col,class)",
        metavar="FILE",
    )
    add("like", "catalogue scene whose wavelengths and class names hold for FILE", metavar="NAME")
    add("classes", "published numbers, names or a set (cao9), separated by commas", type=words)
    add(
        "drop_bands",
        "1-based bands to leave out, such as 1,104-108; bad (marked so by the file), water (where "
        "vapour absorbs), none (default of a file with wavelengths of its own: bad,water)",
        type=band_numbers,
    )
    add(
        "scaling",
        f"of every band or colour, fitted on training samples: {', '.join(SCALINGS)}; of images "
        f"also as known networks take them: {', '.join(PREPROCESSINGS)}",
        choices=tuple(dict.fromkeys((*SCALINGS, *PREPROCESSINGS))),
    )
    add("image_size", "side of images, in pixels (default: that of the set)", type=int)
    add(
        "band_selection",
        "reduce the bands, fitted once on training pixels. Components of all bands: "
        f"{', '.join(n for n in REDUCERS if not is_selection(n))}; bands of the sensor, kept as "
        f"they are: {', '.join(filter(is_selection, REDUCERS))}",
        type=reducer_name,
        metavar="METHOD",
    )
    add("components", "how many components, or bands of a selection", type=int)
    add("split", "blocks with a gap, random (leaks), or given maps", choices=METHODS)
    add(
        "train_fraction",
        f"share of each class that trains, 0..1 (default: {TRAIN_FRACTION:g}; of images 1)",
        type=float,
    )
    add("train_per_class", "pixels of each class that train, instead", type=int)
    add("validation_fraction", "share of the training pixels that validates", type=float)
    add("block_size", "side of the blocks, in pixels", type=int)
    add("train_labels", "training map of --split given", metavar="FILE")
    add("test_labels", "test map of --split given", metavar="FILE")


def as_arguments(values: Mapping[str, Any]) -> list[str]:
    """The options of a configuration file as the command line would spell them."""
    spelled: list[str] = []
    for name, value in values.items():
        if value is True:
            spelled.append(f"--{name}")
        elif isinstance(value, list):
            spelled.append(f"--{name}={','.join(map(str, value))}")
        elif value is not False and value is not None:
            spelled.append(f"--{name}={value}")
    return spelled


def show(figures: Sequence[Any]) -> None:
    """Open figures where there is a display, else say that there is none."""
    has_display = sys.platform != "linux" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not has_display:
        print("There is no display; open the figures above.")
        return
    for figure in figures:
        webbrowser.open(figure.resolve().as_uri())
