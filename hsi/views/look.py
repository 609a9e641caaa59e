"""A look: everything that a method needs to show something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi.file_names import name_part, telling_ends
from hsi.views.arrays import common_arrays
from hsi.views.choose import Chosen
from hsi.views.opened import Opened, Subject
from hsi.views.output import Output
from hsi.views.request import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Look:
    """A method on some samples of one or several variants.

    Attributes:
        request: what was asked for.
        variants: the model files, each with its samples; the first is what others are compared
            with.
        chosen: the samples looked at.
        output: where it is written.
    """

    request: Request
    variants: Sequence[Opened]
    chosen: Chosen
    output: Output

    @property
    def first(self) -> Opened:
        return self.variants[0]

    @property
    def subject(self) -> Subject:
        """The samples of the first variant."""
        return self.first.subject

    @property
    def photographed(self) -> bool:
        """Whether the samples are images of files of their own, of which no class is known."""
        return self.request.photographed

    @cached_property
    def inputs(self) -> np.ndarray:
        """(n, rows, cols, channels) the samples as they are shown and attributed."""
        return self.subject.shown(self.chosen.keys)

    @property
    def labels(self) -> list[str]:
        """A name for each variant, no two the same."""
        known = [opened.label for opened in self.variants]
        if len(set(known)) == len(known):
            return known
        paths = [str(opened.path) for opened in self.variants]
        return paths if len(set(paths)) == len(paths) else [
            f"{i} {path}" for i, path in enumerate(paths, start=1)
        ]  # fmt: skip

    @cached_property
    def file_parts(self) -> list[str]:
        """What tells the files of each variant apart: the name of its model file, which may need
        its folder or its ending for that."""
        ends = telling_ends([opened.path for opened in self.variants])
        stems = [name_part(str(Path(end).with_suffix(""))) for end in ends]
        return stems if len({*stems}) == len(stems) else [name_part(end) for end in ends]

    def stem(self, place: int, suffix: str = "") -> str:
        """The name of a sample's figure: method, sample, and the class where it was asked."""
        name = f"{self.request.stem}_{self.subject.stem(self.chosen.keys[place])}"
        if self.request.klass is not None and self.request.kind == "attribution":
            name += f"_class{self.class_number(int(self.chosen.explained[place]))}"
        return name + suffix

    def class_number(self, index: int) -> int:
        """The published number of a class; of images its index."""
        numbers = getattr(self.subject, "class_numbers", None)
        return index if numbers is None else int(numbers[index])

    def say(self, line: str) -> None:
        """Tell the user something worth a line."""
        self.output.say(line)

    def write_figure(self, figure: Figure, stem: str) -> Path:
        """Save a figure, and say where."""
        return self.output.figure(figure, stem)

    def write_arrays(self, arrays: Mapping[str, np.ndarray], stem: str | None = None) -> Path:
        """Save arrays together with those that every .npz has, and say where."""
        common = common_arrays(self.subject, self.inputs, self.chosen, self.request.method)
        return self.output.arrays({**common, **arrays}, stem)
