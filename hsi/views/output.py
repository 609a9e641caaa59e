"""Where figures and arrays are written, and under which names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi.errors import OutputError, SettingsError
from hsi.file_names import FileNames
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
        names: those that were given so far.
    """

    request: Request
    folder: Path
    say: Say
    names: FileNames = field(default_factory=FileNames)

    def check_one(self, asked: int, what: str, *, else_: str = "") -> None:
        """Refuse that several files are written where the request names one (`SettingsError`).

        Args:
            asked: how many there would be.
            what: they are, in words.
            else_: another way than a folder.
        """
        file = self.request.output_file
        if file and asked > 1:
            kind = "one figure" if self.request.format != "npz" else "one set of arrays"
            raise SettingsError(
                f"output: {file.name} can hold {kind}, asked for are {what}; name a folder{else_}."
            )

    def figure(self, figure: Figure, stem: str) -> Path:
        """Save a figure under the name asked for, else `stem` in the folder, and say where."""
        from hsi.plots import save_figure

        path = self.path(stem, f".{self.request.format}")
        save_figure(figure, path)
        self.say(f"Written: {path}")
        return path

    def arrays(self, arrays: Mapping[str, np.ndarray], stem: str | None = None) -> Path:
        """Save arrays in one file, named as the request says where no `stem` is given."""
        path = save_arrays(self.path(stem or self.request.stem, ".npz"), arrays)
        self.say(f"Written: {path}")
        return path

    def path(self, stem: str, ending: str) -> Path:
        """Where the next file is written: each call gives a path of its own."""
        return self.request.output_file or self.folder / self.names(stem, ending)


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
