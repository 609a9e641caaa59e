"""Figures: functions that take data and return a matplotlib `Figure`; they never show one.

Nothing global of matplotlib is touched, so figures can be made in any thread and without a
display. Each figure function takes `synthetic=` and `note=`, and writes them in small type under
the picture: who looks at a figure must see when its data is generated.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hsi.errors import OutputError, one_of
from hsi.plots.words import wrapped

DPI = 150
NOTE_SIZE = 8
FORMATS = ("png", "svg", "pdf")
SYNTHETIC_NOTE = "Synthetic scene: generated data, not a measurement."

# Without these, two savings of one figure differ by the date and by the version.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, laid out so that nothing overlaps."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def add_note(figure: Figure, note: str = "", *, synthetic: bool = False) -> None:
    """Write a note in small type under the figure; nothing where there is nothing to say."""
    text = "\n".join(part for part in (SYNTHETIC_NOTE if synthetic else "", note) if part)
    if text:
        words = wrapped(text, figure.get_figwidth(), size=NOTE_SIZE)
        figure.supxlabel(words, x=0.01, ha="left", fontsize=NOTE_SIZE, color="#444444")


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: int = DPI) -> Path:
    """Write a figure as .png, .svg or .pdf; the file appears whole or not at all.

    Missing folders are made. The same figure gives the same bytes.

    Raises:
        SettingsError: another ending.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    form = one_of(path.suffix[1:].lower(), FORMATS, what="figure format")
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}", suffix=f".{form}"
        )
        os.close(handle)
        with matplotlib.rc_context({"svg.hashsalt": "hsi"}):
            figure.savefig(temporary, format=form, dpi=dpi, metadata=_METADATA[form])
        os.chmod(temporary, 0o644)  # mkstemp lets nobody else read
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"Cannot write the figure {path}: {error.strerror or error}; "
            "choose another folder or free some space."
        ) from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
    return path
