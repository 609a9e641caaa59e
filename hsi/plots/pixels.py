"""Pixels of the patch by bands: where in the patch and where in the spectrum a map speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.band_axis import GAP_NOTE, BandAxis, band_axis, mark_gaps
from hsi.plots.colors import SEQUENTIAL, SIGNED, check_colormap, signed_norm, zero_of
from hsi.plots.words import number_text, wrapped

_MOST_NAMED = 9  # pixels along a side whose columns are named too
_WIDTH = 11.5  # inches
_TALLEST = 4.6  # inches of one heat map


def pixels_by_bands(
    attributions: Mapping[str, np.ndarray],
    *,
    sample_input: np.ndarray | None = None,
    bands: Sequence[int] | np.ndarray | None = None,
    wavelengths: Sequence[float] | np.ndarray | None = None,
    unit: str = "band",
    title: str = "",
    captions: Mapping[str, str] | None = None,
    input_label: str = "standardised input",
    attribution_label: str = "attribution",
    signed_map: str = SIGNED,
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """One sample: a heat map for each variant, bands along x and the pixels of the patch along y.

    All variants have one colour scale, symmetric about zero and reaching the largest value.

    Args:
        attributions: variant or method -> (rows, cols, channels) signed map of the sample.
        sample_input: (rows, cols, channels) the sample itself, drawn first; None leaves it out.
        bands, wavelengths, unit: of the x axis; see `hsi.plots.band_axis.band_axis`. Missing
            bands are hatched.
        title: of the figure: file, method, sample.
        captions: row label -> text behind it: similarity to the first.
        input_label, attribution_label: of the colour bars.
        signed_map: colour map of the maps, its middle at zero.

    Raises:
        SettingsError: shapes that do not agree, or no such colour map.
    """
    maps = {label: np.asarray(values) for label, values in attributions.items()}
    shape = _check(maps, sample_input)
    axis = band_axis(shape[2], bands=bands, wavelengths=wavelengths, unit=unit)
    check_colormap(signed_map)
    height = min(_TALLEST, max(1.3, 0.125 * shape[0] * shape[1]))
    count = len(maps) + (sample_input is not None)
    figure = new_figure(_WIDTH, count * (height + 0.35) + 1.1)
    panels = list(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0])
    named = panels[:]
    if sample_input is not None:
        panel = panels.pop(0)
        values = np.asarray(sample_input)
        low, high = np.nanpercentile(np.where(np.isfinite(values), values, np.nan), (1, 99))
        image = _heat(panel, axis, values, Normalize(low, high), SEQUENTIAL)
        panel.set_title("input", fontsize=10.5, loc="left")
        _scale(figure, image, [panel], input_label, signed=False)
    norm = signed_norm(list(maps.values()))
    for panel, (label, values) in zip(panels, maps.items(), strict=True):
        image = _heat(panel, axis, values, norm, signed_map)
        dead = "   DEAD: all zero" if not values.any() else ""
        caption = f"   {captions[label]}" if captions and captions.get(label) else ""
        panel.set_title(wrapped(f"{label}{dead}{caption}", 9.5, size=10.5), fontsize=10.5,
                        loc="left")  # fmt: skip
    _scale(figure, image, panels, attribution_label, signed=True)
    for panel in named:
        _name_pixels(panel, shape[0], shape[1])
    named[-1].set_xlabel(axis.label, fontsize=10.5)
    named[-1].xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))
    if title:
        figure.suptitle(wrapped(title, _WIDTH, size=13), fontsize=12.5)
    said = [GAP_NOTE if axis.gaps else "", "Triangle: the centre pixel.", zero_of(signed_map)]
    add_note(figure, "  ".join(p for p in (*said, note) if p), synthetic=synthetic)
    return figure


def _check(maps: Mapping[str, np.ndarray], sample: np.ndarray | None) -> tuple[int, int, int]:
    if not maps:
        raise SettingsError("Expected the map of at least one variant, got none.")
    shape = next(iter(maps.values())).shape
    if len(shape) != 3:
        raise SettingsError(f"Expected maps of one sample, (rows, cols, bands); got shape {shape}.")
    given = maps if sample is None else {**maps, "input": np.asarray(sample)}
    for label, values in given.items():
        if values.shape != shape:
            raise SettingsError(
                f"Expected every map in one shape, {shape}; {label!r} has {values.shape}."
            )
    return shape


def _heat(
    panel: Axes, axis: BandAxis, values: np.ndarray, norm: Normalize, colormap: str
) -> QuadMesh:
    """(rows, cols, channels) as rows*cols lines; a mesh for each run of bands without a gap."""
    flat = values.reshape(-1, values.shape[-1])[:, axis.order]
    rows = np.arange(len(flat) + 1) - 0.5
    mark_gaps(panel, axis)
    for run in axis.runs:
        image = panel.pcolormesh(
            axis.edges(run), rows, flat[:, run], norm=norm, cmap=colormap, rasterized=True
        )
    panel.set(xlim=axis.limits, ylim=(len(flat) - 0.5, -0.5))
    return image


def _name_pixels(panel: Axes, rows: int, cols: int) -> None:
    """Names by the place in the patch, rows and columns from its centre; the centre is marked."""
    for row in range(1, rows):
        panel.axhline(row * cols - 0.5, color="#555555", linewidth=0.6)
    middles = np.arange(rows) * cols + (cols - 1) / 2
    every = max(1, -(-rows // _MOST_NAMED))
    shown = np.arange(rows // 2 % every, rows, every)
    panel.set_yticks(middles[shown], [f"row {_offset(int(r), rows)}" for r in shown])
    panel.tick_params(axis="y", labelsize=8.5, length=0, pad=22 if cols <= _MOST_NAMED else 4)
    if cols <= _MOST_NAMED:
        names = [_offset(i % cols, cols) for i in range(rows * cols)]
        panel.yaxis.remove_overlapping_locs = False  # a row's name stands at a column's too
        panel.set_yticks(np.arange(rows * cols), names, minor=True)
        panel.tick_params(axis="y", which="minor", labelsize=6.5, length=2, pad=2)
        panel.set_ylabel("pixel: row, column\nfrom the centre", fontsize=9)
    else:
        panel.set_ylabel("pixels, row by row,\nfrom the centre", fontsize=9)
    panel.tick_params(axis="x", labelsize=9)
    centre = rows // 2 * cols + cols // 2
    panel.plot(
        [1.0], [centre], marker=4, color="black", markersize=6, clip_on=False, label="centre",
        transform=panel.get_yaxis_transform(),
    )  # fmt: skip


def _offset(place: int, size: int) -> str:
    away = place - size // 2
    return f"{away:+d}".replace("-", "−") if away else "0"


def _scale(
    figure: Figure, image: QuadMesh, panels: Sequence[Axes], label: str, *, signed: bool
) -> None:
    bar = figure.colorbar(
        image, ax=list(panels), fraction=0.03, pad=0.015, aspect=22,
        shrink=1.0 if len(panels) == 1 else 0.6, extend="neither" if signed else "both",
    )  # fmt: skip
    bar.set_label(wrapped(label, 2.2, size=9.5), fontsize=9.5)
    bar.ax.tick_params(labelsize=8.5)
    if signed:
        high = float(image.get_clim()[1] or 0.0)
        ticks = [-high, 0.0, high]
        bar.set_ticks(ticks, labels=[number_text(v) for v in ticks])
