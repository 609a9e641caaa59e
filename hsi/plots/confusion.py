"""The confusion matrix of a classification, with counts and with the share of each true class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.words import plain

_COLORMAP = "cividis"


def confusion_matrix_figure(
    matrix: np.ndarray,
    class_names: Mapping[int, str] | Sequence[str],
    *,
    oa: float | None = None,
    aa: float | None = None,
    kappa: float | None = None,
    unit: str = "pixel",
    title: str = "",
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Counts in every cell, coloured by their share of the row (of the samples of the true class).

    Args:
        matrix: (classes, classes) counts, rows are the truth, columns the prediction.
        class_names: published number -> name in the order of the rows, or names alone.
        oa, aa: overall accuracy and mean recall, 0..1; computed from the matrix where None.
        kappa: Cohen's kappa; computed from the matrix where None.
        unit: what is counted: pixel or image.
        title: stands above the accuracies.

    Raises:
        SettingsError: a matrix that is not square, or not as many names as rows.
    """
    matrix = np.asarray(matrix)
    if isinstance(class_names, Mapping):
        ticks = [str(n) for n in class_names]
        names = [f"{name}  {n}" for n, name in class_names.items()]
    else:
        ticks = [str(i + 1) for i in range(len(class_names))]
        names = [f"{name}  {n}" for n, name in zip(ticks, class_names, strict=True)]
    if matrix.shape != (len(names), len(names)) or not len(names):
        raise SettingsError(
            f"Expected a matrix with a row and a column for each of {len(names)} classes, "
            f"got shape {matrix.shape}."
        )
    size = max(4.2, 0.52 * len(names) + 0.6)
    figure = new_figure(size + 0.09 * max(map(len, names)) + 2.2, size + 1.3)
    axes = figure.subplots()
    _draw(axes, matrix, unit)
    axes.set_xticks(range(len(names)), ticks, fontsize=10)
    axes.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=10)
    axes.set_xlabel("predicted class (number)", fontsize=11)
    axes.set_ylabel("true class (name and number)", fontsize=11)
    bar = figure.colorbar(axes.images[0], ax=axes, fraction=0.04, pad=0.02)
    bar.set_label("share of the true class (%)", fontsize=10)
    bar.ax.tick_params(labelsize=9)
    figure.suptitle(plain(_heading(matrix, oa, aa, kappa, title, unit)), fontsize=12)
    add_note(figure, note, synthetic=synthetic)
    return figure


def _draw(axes: Axes, matrix: np.ndarray, unit: str) -> None:
    totals = matrix.sum(axis=1, keepdims=True)
    shares = 100 * matrix / np.maximum(totals, 1)
    axes.imshow(shares, cmap=_COLORMAP, vmin=0, vmax=100, interpolation="nearest")
    longest = max(len(str(v)) for v in matrix.ravel())
    font = 9.5 if longest <= 4 else 8
    for row, column in np.ndindex(matrix.shape):
        if matrix[row, column]:
            color = "black" if shares[row, column] > 55 else "white"
            axes.text(
                column, row, str(matrix[row, column]), ha="center", va="center",
                fontsize=font, color=color,
            )  # fmt: skip
    for row in np.flatnonzero(totals[:, 0] == 0).tolist():
        axes.text(len(matrix) / 2 - 0.5, row, f"no {unit}", ha="center", va="center",
                  fontsize=9, color="white")  # fmt: skip
    edges = np.arange(len(matrix) + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.4, alpha=0.5)
    axes.tick_params(which="minor", length=0)


def _heading(
    matrix: np.ndarray,
    oa: float | None,
    aa: float | None,
    kappa: float | None,
    title: str,
    unit: str,
) -> str:
    total, rows = matrix.sum(), matrix.sum(axis=1)
    if not total:
        return f"{title}\nno {unit} to score".strip()
    oa = np.trace(matrix) / total if oa is None else oa
    aa = float(np.mean((np.diag(matrix) / np.maximum(rows, 1))[rows > 0])) if aa is None else aa
    if kappa is None:
        chance = (rows * matrix.sum(axis=0)).sum() / total**2
        kappa = (oa - chance) / (1 - chance) if chance < 1 else 0.0
    scores = f"OA {100 * oa:.2f} %   AA {100 * aa:.2f} %   kappa {kappa:.3f}   {total} {unit}s"
    return f"{title}\n{scores}".strip()
