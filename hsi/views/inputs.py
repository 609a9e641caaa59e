"""Methods that attribute a class score to the input: tiles, overlays, and the other views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi.views import cubes, draw, sanity, spectrum, whole_scene
from hsi.views.arrays import attribution_arrays
from hsi.views.attributed import Attributed
from hsi.views.look import Look
from hsi.views.photographs import CHANNELS
from hsi.views.subject import SceneSubject

if TYPE_CHECKING:
    from hsi.explain.attribution import Attribution

Maps = Mapping[str, list["Attribution"]]
"""Method -> the attribution of each variant."""


def show(look: Look) -> list[Path]:
    """Every view that was asked for, a figure a sample where it is of samples; or the arrays."""
    if look.request.sanity:
        return sanity.show(look)
    views = look.request.views or _default_views(look)
    of_samples = [view for view in views if view not in ("spectrum", "scene")]
    if look.request.format == "npz":
        return [look.write_arrays(_arrays(look, _attributed(look)))]
    if look.request.format == "envi":
        return cubes.show(look, _attributed(look))
    _check_one_figure(look, views)
    written: list[Path] = []
    if "spectrum" in views:  # first: it refuses methods without bands, before anything is written
        written += spectrum.show(look)
    if of_samples:
        found = _attributed(look)
        for view in of_samples:
            written += _VIEWS[view](look, found)
    if "scene" in views:
        written += whole_scene.show(look)
    return written


def _default_views(look: Look) -> tuple[str, ...]:
    pictures = not isinstance(look.subject, SceneSubject) and look.inputs.shape[-1] in CHANNELS
    return ("overlay",) if pictures else ("tiles",)


def _check_one_figure(look: Look, views: tuple[str, ...]) -> None:
    samples = len(look.chosen.keys)
    look.output.check_one(len(views), f"{len(views)} views")
    if views == ("pixels",):
        look.output.check_one(samples, f"the pixels of {samples} samples", else_=", or one --pixel")


def _attributed(look: Look) -> dict[str, list[Attribution]]:
    """The methods that the views need, each for every variant, with their notes said."""
    found: dict[str, list[Attribution]] = {}
    several = len(look.variants) > 1
    tools = [Attributed(opened, look.request) for opened in look.variants]
    for method in look.request.rows:
        found[method] = []
        for tool, label in zip(tools, look.labels, strict=True):
            result = tool(method, look.inputs, look.chosen.explained)
            found[method].append(result)
            for note in result.notes:
                look.say(f"Note: {f'{label}, ' if several else ''}{method}: {note}.")
    return found


def similarities(found: Sequence[Attribution]) -> list[np.ndarray]:
    """(n,) Spearman's rank correlation of each variant's maps with the first's."""
    from hsi.compare.attributions import spearman

    return [spearman(found[0].maps, result.maps) for result in found]


def _captions(
    look: Look, found: Sequence[Attribution], places: Sequence[int]
) -> dict[str, list[str]]:
    """A line for each variant but the first and each sample: how like the first's its map is."""
    first, *others = zip(look.labels, found, similarities(found), strict=True)
    largest = [_largest(first[1], place) for place in places]
    return {
        label: [
            similarity_text(similar[place], _largest(result, place), largest[i], first[0])
            for i, place in enumerate(places)
        ]
        for label, result, similar in others
    }


def _largest(result: Attribution, place: int) -> float:
    return float(np.nanmax(np.abs(result.maps[place])))


def similarity_text(value: float, largest: float, reference: float, first: str) -> str:
    """What is written beside a map that is compared with the first's."""
    if not np.isfinite(value):
        return f"no rank correlation with {first}: a constant map"
    places = 3 if 0.995 <= value < 1 else 2
    size = f"; largest value {100 * largest / reference:.0f} % of its" if reference > 0 else ""
    return f"rank correlation with {first} {value:.{places}f}{size}".replace("-", "−")


def _tiles(look: Look, found: Maps, *, view: str) -> list[Path]:
    """Rows of tiles: the raw and the smoothed form of one variant, or one form of several."""
    request, several = look.request, len(look.variants) > 1
    methods = list(found)
    if view == "raw" or (several and view != "smoothed"):
        methods = methods[:1]
    if view == "smoothed":
        methods = methods[1:]
    rows = {
        draw.row_label(look, opened, method): result
        for method in methods
        for opened, result in zip(look.variants, found[method], strict=True)
    }
    every = list(range(len(look.chosen.keys)))
    written = []
    for places in [every] if request.output_file else [[place] for place in every]:
        captions = _captions(look, found[methods[0]], places) if several else {}
        figure = draw.tiles(look, rows, places, captions=captions, gray=view == "gray")
        suffix = "" if view == "tiles" else f"_{view}"
        written.append(look.write_figure(figure, look.stem(places[0], suffix)))
    return written


def _overlay(look: Look, found: Maps) -> list[Path]:
    """Maps over photographs, summed over the colours, a row a variant and a column an image."""
    results = found[look.request.method]
    rows = {
        draw.row_label(look, opened, look.request.method): result
        for opened, result in zip(look.variants, results, strict=True)
    }
    captions = _captions(look, results, range(len(look.chosen.keys)))
    return [look.write_figure(draw.overlays(look, rows, captions), f"{look.request.stem}_overlay")]


def _pixels(look: Look, found: Maps) -> list[Path]:
    """Bands against the pixels of the patch, a figure a sample."""
    results, written = found[look.request.method], []
    for place in range(len(look.chosen.keys)):
        captions = {label: lines[0] for label, lines in _captions(look, results, [place]).items()}
        figure = draw.pixels(look, results, captions, place)
        written.append(look.write_figure(figure, look.stem(place, "_pixels")))
    return written


_VIEWS = {
    "tiles": lambda *a: _tiles(*a, view="tiles"),
    "raw": lambda *a: _tiles(*a, view="raw"),
    "smoothed": lambda *a: _tiles(*a, view="smoothed"),
    "gray": lambda *a: _tiles(*a, view="gray"),
    "overlay": _overlay,
    "pixels": _pixels,
}


def _of_components(look: Look, methods: Sequence[str]) -> dict[str, Attribution]:
    """The same of the network's own input, where bands are reduced and the options fit that."""
    if not look.subject.reduced:
        return {}
    own = Attributed(look.first, look.request, own=True)
    if own.in_bands:
        look.say(
            f"Note: no attributions_components: {own.in_bands} is given in bands; "
            "--space components takes it in components."
        )
        return {}
    return {method: own(method, look.chosen.inputs, look.chosen.explained) for method in methods}


def _arrays(look: Look, found: Maps) -> dict[str, np.ndarray]:
    """Of the first variant as DESIGN names them; of all variants with a leading axis."""
    first = {method: results[0] for method, results in found.items()}
    arrays = attribution_arrays(first, _of_components(look, list(found)))
    if len(look.variants) > 1:
        results = found[look.request.method]
        arrays["variants"] = np.asarray(look.labels)
        arrays["variant_attributions"] = np.stack([result.maps for result in results])
        arrays["variant_similarity"] = np.stack(similarities(results))
    return arrays
