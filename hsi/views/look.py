"""A look: everything that a method needs to show something, and where it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.views.arrays import common_arrays, save_arrays
from hsi.views.choose import Chosen
from hsi.views.request import Request
from hsi.views.subject import Say, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Look:
    """A method on some samples of a model.

    Attributes:
        request: what was asked for.
        subject: the model file and its samples.
        model: the network.
        chosen: the samples looked at.
        folder: for what is written, unless the request names a file.
        say: told of everything worth a line.
    """

    request: Request
    subject: Subject
    model: Any
    chosen: Chosen
    folder: Path
    say: Say

    def write_figure(self, figure: Figure, stem: str) -> Path:
        """Save a figure under the name asked for, else `stem` in the folder, and say where."""
        from hsi.plots import save_figure

        path = self.request.output_file or self.folder / f"{stem}.{self.request.format}"
        save_figure(figure, path)
        self.say(f"Written: {path}")
        return path

    def write_arrays(self, arrays: Mapping[str, np.ndarray]) -> Path:
        """Save arrays together with those that every .npz has, and say where."""
        method = self.request.method
        path = self.request.output_file or self.folder / f"{method}.npz"
        save_arrays(path, {**common_arrays(self.subject, self.chosen, method), **arrays})
        self.say(f"Written: {path}")
        return path
