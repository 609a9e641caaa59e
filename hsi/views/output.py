"""Where figures and arrays are written, and under which names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi.errors import OutputError
from hsi.runs import OUTPUTS
from hsi.views.arrays import save_arrays
from hsi.views.locate import Located
from hsi.views.request import Request
from hsi.views.subject import Say

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Output:
    """The folder of a request, or the one file that it names.

    Attributes:
        request: what was asked for.
        folder: for what is written, unless the request names a file.
        say: told of every file.
    """

    request: Request
    folder: Path
    say: Say

    def figure(self, figure: Figure, stem: str) -> Path:
        """Save a figure under the name asked for, else `stem` in the folder, and say where."""
        from hsi.plots import save_figure

        path = self._path(f"{stem}.{self.request.format}")
        save_figure(figure, path)
        self.say(f"Written: {path}")
        return path

    def arrays(self, arrays: Mapping[str, np.ndarray]) -> Path:
        """Save arrays in one file, and say where."""
        path = save_arrays(self._path(f"{self.request.stem}.npz"), arrays)
        self.say(f"Written: {path}")
        return path

    def _path(self, name: str) -> Path:
        return self.request.output_file or self.folder / name


def open_output(request: Request, found: Sequence[Located], *, say: Say) -> Output:
    """Where to write; refused now where it cannot be written (`OutputError`)."""
    if request.output_file:
        folder = request.output_file.parent
    elif request.output:
        folder = Path(request.output)
    else:
        parent = found[0].run.folder if found[0].run else OUTPUTS
        folder = parent / "figures" / (found[0].path.stem if len(found) == 1 else "variants")
    existing = folder
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"{folder}: cannot be made, {existing} is not a folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be written: no permission; choose another --output.")
    return Output(request, folder, say)
