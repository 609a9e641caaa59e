"""Misclassified samples as a sheet: what they look like, and what they were taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.band_axis import GAP_NOTE, BandAxis, band_axis, draw_line, mark_gaps
from hsi.plots.colors import SERIES_COLORS
from hsi.plots.words import wrapped

MOST_SAMPLES = 20
"""On a sheet; of more, the first are shown, and the figure says so."""

_TRUE, _PREDICTED, _OWN = SERIES_COLORS[2], SERIES_COLORS[1], "#000000"
_TILE = 2.3  # inches of a photograph


def misclassified_patches(
    patches: np.ndarray,
    spectra: np.ndarray,
    class_spectra: Mapping[int, np.ndarray],
    true: np.ndarray,
    predicted: np.ndarray,
    class_names: Mapping[int, str],
    *,
    scores: np.ndarray | None = None,
    true_scores: np.ndarray | None = None,
    score_word: str = "logit",
    places: Sequence[str] | None = None,
    total: int | None = None,
    bands: Sequence[int] | np.ndarray | None = None,
    wavelengths: Sequence[float] | np.ndarray | None = None,
    unit: str = "band",
    spectrum_label: str = "input",
    patch_label: str = "",
    title: str = "",
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Of a scene: each patch as a picture, and its spectrum between those of the two classes.

    Args:
        patches: (n, rows, cols, 3) three bands of each sample as a picture, in 0..1.
        spectra: (n, channels) the spectrum of each sample's own pixel.
        class_spectra: class -> (channels,) mean spectrum of its training pixels.
        true, predicted: (n,) classes, as in `class_names`.
        class_names: class -> name.
        scores, true_scores: (n,) score of the predicted and of the true class, for the titles.
        score_word: what a score is.
        places: (n,) in words: pixel and part of the split.
        total: how many are misclassified in all; None: those given.
        bands, wavelengths, unit: of the x axis; see `hsi.plots.band_axis.band_axis`.
        spectrum_label: of the y axis, with its unit.
        patch_label: what the three colours of the patches are.
        title: of the figure: file, scene.

    Raises:
        SettingsError: no sample, or arrays that do not agree.
    """
    patches, spectra = np.asarray(patches), np.asarray(spectra, float)
    true, predicted = np.asarray(true), np.asarray(predicted)
    _check(patches, (true, predicted), (spectra, scores, true_scores, places), class_names)
    axis = band_axis(spectra.shape[1], bands=bands, wavelengths=wavelengths, unit=unit)
    for number, spectrum in class_spectra.items():
        if np.shape(spectrum) != spectra.shape[1:]:
            raise SettingsError(
                f"Expected mean spectra of {spectra.shape[1]} channels; that of class {number} "
                f"has shape {np.shape(spectrum)}."
            )
    shown = min(len(patches), MOST_SAMPLES)
    columns = min(2, shown)
    lines = -(-shown // columns)
    figure = new_figure(6.4 * columns, 1.95 * lines + 1.5)
    head, body = figure.subfigures(2, 1, height_ratios=[0.3, 1.95 * lines + 0.4], squeeze=False)[
        :, 0
    ]
    grid = body.add_gridspec(lines, 2 * columns, width_ratios=[1.0, 3.1] * columns)
    for place in range(shown):
        line, column = divmod(place, columns)
        picture = body.add_subplot(grid[line, 2 * column])
        picture.imshow(np.clip(patches[place], 0, 1), interpolation="nearest")
        picture.set(xticks=[], yticks=[], label=f"patch {place + 1}")
        if places is not None:
            picture.set_xlabel(wrapped(places[place], 1.5, size=8.5), fontsize=8.5)
        panel = body.add_subplot(grid[line, 2 * column + 1])
        panel.set_label(f"spectrum {place + 1}")
        pair = (int(true[place]), int(predicted[place]))
        _draw_spectra(panel, axis, spectra[place], [class_spectra.get(c) for c in pair])
        words = _verdict(pair, class_names, place, scores, true_scores, score_word)
        panel.set_title(wrapped(words, 4.4, size=9), fontsize=9, loc="left")
        if place + columns >= shown:
            panel.set_xlabel(axis.label, fontsize=9)
        if column == 0:
            panel.set_ylabel(wrapped(spectrum_label, 1.5, size=8.5), fontsize=8.5)
    _legend(head)
    _finish(figure, title, shown, len(patches) if total is None else total,
            (GAP_NOTE if axis.gaps else "", patch_label, note), synthetic)  # fmt: skip
    return figure


def misclassified_photographs(
    photographs: np.ndarray,
    true: np.ndarray,
    predicted: np.ndarray,
    class_names: Mapping[int, str],
    *,
    scores: np.ndarray | None = None,
    true_scores: np.ndarray | None = None,
    score_word: str = "logit",
    places: Sequence[str] | None = None,
    total: int | None = None,
    title: str = "",
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Of photographs: each with its true class, what it was taken for, and the scores.

    Args:
        photographs: (n, height, width, 3) in 0..1.
        places: (n,) in words: the file.

    The others are those of `misclassified_patches`.

    Raises:
        SettingsError: no sample, or arrays that do not agree.
    """
    photographs = np.asarray(photographs)
    true, predicted = np.asarray(true), np.asarray(predicted)
    _check(photographs, (true, predicted), (scores, true_scores, places), class_names)
    shown = min(len(photographs), MOST_SAMPLES)
    columns = min(5, shown)
    lines = -(-shown // columns)
    height = _TILE * photographs.shape[1] / photographs.shape[2] + 0.85
    figure = new_figure(max(5.0, columns * (_TILE + 0.1) + 0.2), lines * height + 1.1)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for place, axis in enumerate(axes[:shown]):
        axis.imshow(np.clip(photographs[place], 0, 1))
        axis.set(xticks=[], yticks=[], label=f"photograph {place + 1}")
        pair = (int(true[place]), int(predicted[place]))
        words = _verdict(pair, class_names, place, scores, true_scores, score_word)
        axis.set_title(wrapped(words, _TILE, size=9), fontsize=9)
        if places is not None:
            axis.set_xlabel(wrapped(places[place], _TILE, size=8.5), fontsize=8.5)
    for axis in axes[shown:]:
        axis.set_visible(False)
    total = len(photographs) if total is None else total
    _finish(figure, title, shown, total, (note,), synthetic)
    return figure


def _check(
    pictures: np.ndarray,
    pair: tuple[np.ndarray, np.ndarray],
    columns: Sequence[Sized | None],
    class_names: Mapping[int, str],
) -> None:
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or not len(pictures):
        raise SettingsError(
            "Expected at least one picture, as (samples, height, width, 3), got shape "
            f"{pictures.shape}."
        )
    for given in (*pair, *columns):
        if given is not None and len(given) != len(pictures):
            raise SettingsError(f"Expected {len(pictures)} values, one a sample, got {len(given)}.")
    unknown = set(np.concatenate(pair).tolist()) - set(class_names)
    if unknown:
        raise SettingsError(f"Expected a name of every class, got none of {min(unknown)}.")


def _verdict(
    pair: tuple[int, int],
    class_names: Mapping[int, str],
    place: int,
    scores: np.ndarray | None,
    true_scores: np.ndarray | None,
    word: str,
) -> str:
    """True -> predicted class, and their scores."""
    classes = " → ".join(f"{number} {class_names[number]}" for number in pair)
    given = [None if s is None else float(s[place]) for s in (true_scores, scores)]
    if given[1] is None:
        return classes
    both = " → ".join(f"{s:.2f}" for s in given if s is not None).replace("-", "−")
    return f"{classes}\n{word} {both}"


def _draw_spectra(
    panel: Axes, axis: BandAxis, own: np.ndarray, means: Sequence[np.ndarray | None]
) -> None:
    mark_gaps(panel, axis)
    for mean, color, style in zip(means, (_TRUE, _PREDICTED), ("-", "--"), strict=True):
        if mean is not None:
            draw_line(panel, axis, mean, color=color, linestyle=style, linewidth=1.8)
    draw_line(panel, axis, own, color=_OWN, linewidth=1.0)
    panel.set_xlim(*axis.limits)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _legend(part: SubFigure) -> None:
    handles = [
        Line2D([], [], color=_OWN, linewidth=1.0, label="this pixel"),
        Line2D([], [], color=_TRUE, linewidth=1.8, label="mean of the true class"),
        Line2D([], [], color=_PREDICTED, linewidth=1.8, linestyle="--",
               label="mean of the predicted class"),
    ]  # fmt: skip
    part.legend(handles=handles, loc="center", ncols=3, fontsize=9.5, frameon=False)


def _finish(
    figure: Figure, title: str, shown: int, total: int, said: Sequence[str], synthetic: bool
) -> None:
    counted = f"misclassified samples, true → predicted class: {shown} of {total} shown"
    words = wrapped(f"{title}\n{counted}".strip(), figure.get_figwidth(), size=12.5)
    figure.suptitle(words, fontsize=12)
    add_note(figure, "  ".join(part for part in said if part), synthetic=synthetic)
