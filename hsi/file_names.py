"""Names of the files that a command writes: one for each, and none given twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

LONGEST = 120
"""Characters of a part of a name."""


class FileNames:
    """The names that one command has given to files of a folder; a second use gets a number.

    Upper and lower case are not told apart, since some file systems do not.

    Example:
        >>> names = FileNames()
        >>> names("gradient_photo", ".png"), names("gradient_photo", ".png")
        ('gradient_photo.png', 'gradient_photo_2.png')
    """

    def __init__(self) -> None:
        self._given: set[str] = set()

    def __call__(self, stem: str, ending: str) -> str:
        numbered = (f"{stem}_{number}" for number in count(2))
        name = f"{stem}{ending}"
        while name.casefold() in self._given:
            name = f"{next(numbered)}{ending}"
        self._given.add(name.casefold())
        return name


def name_part(text: str) -> str:
    """A text as a part of a file's name; of a long one the end, where paths differ."""
    kept = "".join(c if c.isalnum() or c in "._-" else "_" for c in text)
    return kept.strip("._")[-LONGEST:]


def telling_ends(paths: Sequence[str | Path]) -> list[str]:
    """The shortest ends of paths, all of as many parts, that tell different ones apart.

    Example:
        >>> telling_ends(["a/day/photo.png", "a/night/photo.png"])
        ['day/photo.png', 'night/photo.png']
    """
    known = [Path(path).parts for path in paths]
    for length in range(1, max(map(len, known), default=0)):
        ends = [parts[-length:] for parts in known]
        if len(set(ends)) == len(set(known)):
            return [str(Path(*end)) for end in ends]
    return [str(path) for path in paths]
