"""Attribution along the spectrum: which wavelengths speak for a class, over its mean spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hsi.errors import SettingsError
from hsi.explain.spectra import MeanSpectrum, mean_spectrum, pixel_magnitudes, pixel_sums
from hsi.plots import add_note, new_figure
from hsi.plots.band_axis import GAP_NOTE, BandAxis, band_axis, draw_line, fill_between, mark_gaps
from hsi.plots.colors import LINE_STYLES, SERIES_COLORS
from hsi.plots.words import plain, wrapped

Reduce = Literal["sum", "magnitude"]
"""How the pixels of a map become one value a band: signed sum, or mean magnitude."""

_SPECTRUM, _SPREAD = "#7F7F7F", "#E3E3E3"
_REDUCED = {"sum": "sum over the patch", "magnitude": "mean magnitude over the patch"}


def attribution_spectra(
    spectra: np.ndarray,
    attributions: Mapping[str, np.ndarray],
    classes: np.ndarray,
    class_names: Mapping[int, str],
    *,
    bands: Sequence[int] | np.ndarray | None = None,
    wavelengths: Sequence[float] | np.ndarray | None = None,
    unit: str = "band",
    reduce: Reduce = "sum",
    confidence: float = 0.95,
    title: str = "",
    captions: Mapping[str, str] | None = None,
    spectrum_label: str = "input",
    attribution_label: str = "attribution",
    shared_scale: bool = False,
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """A panel for each class: its mean spectrum, and over it the mean attribution of each band.

    Args:
        spectra: (n, channels) the spectrum of each sample's own pixel, in any unit.
        attributions: variant or method -> (n, rows, cols, channels) signed maps.
        classes: (n,) the class of each sample, as in `class_names`: true, or explained.
        class_names: number -> name, for the panel titles; classes without a sample have none.
        bands, wavelengths, unit: of the x axis; see `hsi.plots.band_axis.band_axis`. Lines are
            broken where bands are missing.
        reduce: "sum" over the pixels of the patch, signed, or their mean "magnitude".
        confidence: of the interval of the mean over the samples of a class (Student's t, samples
            taken as independent).
        title: of the figure.
        captions: per row label, what is said behind its name in the legend: similarity.
        spectrum_label: of the right axis, with its unit.
        attribution_label: of the left axis, its unit.
        shared_scale: one attribution axis for all classes instead of one each.

    Raises:
        SettingsError: shapes that do not agree, or no sample of any class.
    """
    spectra, classes = np.asarray(spectra, float), np.asarray(classes)
    maps = {label: np.asarray(values) for label, values in attributions.items()}
    _check(spectra, maps, classes)
    axis = band_axis(spectra.shape[1], bands=bands, wavelengths=wavelengths, unit=unit)
    shown = [number for number in class_names if (classes == number).any()]
    if not shown:
        raise SettingsError("Expected at least one sample of a class with a name, got none.")
    reducer = pixel_sums if reduce == "sum" else pixel_magnitudes
    reduced = {label: reducer(values) for label, values in maps.items()}
    columns = 1 if len(shown) == 1 else 2
    lines = -(-len(shown) // columns)
    entries = -(-(len(maps) + 2) // columns)
    figure = new_figure(8.4 if columns == 1 else 13.0, 2.55 * lines + 0.2 * entries + 1.0)
    # The legend has a row of its own: outside the axes it would lie on the title.
    head, body = figure.subfigures(
        2, 1, height_ratios=[0.2 * entries + 0.1, 2.55 * lines + 0.3], squeeze=False
    )[:, 0]
    panels = body.subplots(lines, columns, sharex=True, squeeze=False).ravel()
    for panel, number in zip(panels, shown, strict=False):
        mine = classes == number
        means = {
            label: mean_spectrum(values[mine], confidence=confidence)
            for label, values in reduced.items()
        }
        own = mean_spectrum(spectra[mine], confidence=confidence)
        right = _draw_class(panel, axis, own, means)
        name = wrapped(f"{number}  {class_names[number]}", 5, size=11)
        samples = f"{own.count} samples" if own.count > 1 else "1 sample, no interval"
        panel.set_title(f"{name}   ({samples})", fontsize=11, loc="left")
        right.set_ylabel(plain(spectrum_label), fontsize=9.5, color=_SPECTRUM)
        panel.set_ylabel(wrapped(f"{attribution_label}\n{_REDUCED[reduce]}", 2.3, size=9.5),
                         fontsize=9.5)  # fmt: skip
    _finish_panels(panels, len(shown), columns, axis)
    if shared_scale:
        _share(panels[: len(shown)])
    _legend(head, list(maps), captions or {}, confidence, columns)
    if title:
        figure.suptitle(wrapped(title, figure.get_figwidth(), size=13), fontsize=13)
    said = GAP_NOTE if axis.gaps else ""
    add_note(figure, "  ".join(p for p in (said, note) if p), synthetic=synthetic)
    return figure


def _check(spectra: np.ndarray, maps: Mapping[str, np.ndarray], classes: np.ndarray) -> None:
    if spectra.ndim != 2 or not len(spectra):
        raise SettingsError(f"Expected spectra of (samples, bands), got shape {spectra.shape}.")
    if not maps:
        raise SettingsError("Expected the maps of at least one variant, got none.")
    if classes.shape != spectra.shape[:1]:
        raise SettingsError(f"Expected {len(spectra)} classes, got {classes.size}.")
    for label, values in maps.items():
        if values.ndim != 4 or (len(values), values.shape[-1]) != spectra.shape:
            raise SettingsError(
                f"Expected maps of {label!r} for {len(spectra)} samples of {spectra.shape[1]} "
                f"bands, (samples, rows, cols, bands); got shape {values.shape}."
            )


def _draw_class(
    panel: Axes, axis: BandAxis, own: MeanSpectrum, means: Mapping[str, MeanSpectrum]
) -> Axes:
    """The spectrum behind, on an axis of its own to the right, which is returned."""
    right = panel.twinx()
    panel.set_zorder(right.get_zorder() + 1)
    panel.patch.set_visible(False)
    spread = np.nan_to_num(own.sd)
    fill_between(right, axis, own.mean - spread, own.mean + spread, color=_SPREAD)
    draw_line(right, axis, own.mean, color=_SPECTRUM, linewidth=1.3, label="mean spectrum")
    right.tick_params(labelsize=8.5, colors=_SPECTRUM)
    mark_gaps(right, axis)
    panel.axhline(0, color="black", linewidth=0.8, zorder=1.5)
    for place, (label, found) in enumerate(means.items()):
        style = _style(place, len(means))
        fill_between(panel, axis, found.low, found.high, color=style["color"], alpha=0.22)
        draw_line(panel, axis, found.mean, label=label, **style)
        if not found.mean.any():
            panel.annotate(
                f"{plain(label)}: zero everywhere (dead)", (0.01, 0.03 + 0.1 * place),
                xycoords="axes fraction", fontsize=8.5, color=style["color"],
            )  # fmt: skip
    panel.set_xlim(*axis.limits)
    panel.tick_params(labelsize=8.5)
    panel.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)
    panel.spines["top"].set_visible(False)
    right.spines["top"].set_visible(False)
    return right


def _style(place: int, count: int) -> dict[str, Any]:
    """Of a variant's line; the first, with which others are compared, is seen under them."""
    return {
        "color": SERIES_COLORS[place % len(SERIES_COLORS)],
        "linestyle": LINE_STYLES[place % len(LINE_STYLES)],
        "linewidth": 3.2 if count > 1 and place == 0 else 1.3,
        "alpha": 0.5 if count > 1 and place == 0 else 1.0,
    }


def _finish_panels(panels: np.ndarray, used: int, columns: int, axis: BandAxis) -> None:
    """Name the x axis under the lowest panel of each column, and hide panels without a class."""
    for panel in panels[used:]:
        panel.set_visible(False)
    for panel in panels[max(0, used - columns) : used]:
        panel.set_xlabel(axis.label, fontsize=10)
        panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))
        panel.tick_params(labelbottom=True)


def _share(panels: Sequence[Axes]) -> None:
    low = min(panel.get_ylim()[0] for panel in panels)
    high = max(panel.get_ylim()[1] for panel in panels)
    for panel in panels:
        panel.set_ylim(low, high)


def _legend(
    part: SubFigure,
    labels: Sequence[str],
    captions: Mapping[str, str],
    confidence: float,
    columns: int,
) -> None:
    handles: list[Any] = []
    for place, label in enumerate(labels):
        caption = f", {captions[label]}" if captions.get(label) else ""
        text = plain(f"{label}: mean, {100 * confidence:g} % interval{caption}")
        handles.append(Line2D([], [], label=text, **_style(place, len(labels))))
    handles.append(Line2D([], [], color=_SPECTRUM, label="mean spectrum (right axis)"))
    handles.append(Patch(facecolor=_SPREAD, label="spectra: ± 1 standard deviation"))
    part.legend(
        handles=handles, loc="center", ncols=columns, fontsize=9, frameon=False, handlelength=3.2
    )
