"""The figures of a comparison."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi.compare.columns import Compared, class_number
from hsi.compare.comparison import Comparison
from hsi.compare.subjects import Common
from hsi.file_names import FileNames, name_part

if TYPE_CHECKING:
    from hsi.compare.inside import Inside

Say = Callable[[str], None]


def draw_comparison(comparison: Comparison, folder: Path, *, say: Say = print) -> list[Path]:
    """Draw what can be drawn: where variants part, what deletion does, what layers share.

    Raises:
        OutputError: the folder cannot be written.
    """
    common, first = comparison.common, comparison.first
    written: list[Path] = []
    names = FileNames()
    if common.shape is None:
        say("Note: a map of where variants part is of a scene; these samples are none.")
    else:
        for compared in comparison.variants[1:]:
            path = folder / names(f"parting_{name_part(compared.subject.name)}", ".png")
            written.append(_disagreement(common, first, compared, path))
    if comparison.inside is not None:
        written += _inside(comparison.inside, common, folder, names)
    return written


def _disagreement(common: Common, first: Compared, other: Compared, path: Path) -> Path:
    from hsi.plots import save_figure
    from hsi.plots.disagreement import disagreement_map

    maps = [_map(common, values) for values in (first.predicted, other.predicted, common.truth)]
    figure = disagreement_map(
        maps[0],
        maps[1],
        maps[2],
        dict(zip(common.numbers, common.class_names, strict=True)),
        names=(first.subject.name, other.subject.name),
        compared=_map(common, np.ones(len(common.keys), int), index=False) > 0,
        title=f"{common.name}: where {first.subject.name} and {other.subject.name} part",
        synthetic=common.synthetic,
        note=f"{common.note}." if common.note else "",
    )
    return save_figure(figure, path)


def _map(common: Common, values: np.ndarray | None, *, index: bool = True) -> np.ndarray:
    """(rows, cols) published numbers of (n,) class indices, 0 where there is no sample."""
    assert common.shape is not None
    found = np.zeros(common.shape, int)
    if values is not None:
        numbers = [class_number(common, i) for i in values] if index else values
        found.ravel()[common.keys] = numbers
    return found


def _inside(inside: Inside, common: Common, folder: Path, names: FileNames) -> list[Path]:
    from hsi.plots import save_figure
    from hsi.plots.cka import CkaMap, cka_page
    from hsi.plots.faithfulness import faithfulness_page

    written = []
    note = f"{common.note}." if common.note else ""
    for method, found in (inside.faithfulness or {}).items():
        figure = faithfulness_page(
            found, title=f"{common.name}: {method}", synthetic=common.synthetic, note=note
        )
        written.append(save_figure(figure, folder / names(f"faithfulness_{method}", ".png")))
    for page in inside.representations:
        rows, columns = page.first_layers, page.second_layers
        maps = [
            CkaMap(page.within_first, rows, rows, page.first, page.first, f"within {page.first}"),
            CkaMap(page.cka, rows, columns, page.first, page.second, "between the two"),
            CkaMap(
                page.within_second,
                columns,
                columns,
                page.second,
                page.second,
                f"within {page.second}",
            ),
        ]
        title = f"{common.name}: linear CKA over {page.samples} samples"
        figure = cka_page(maps, title=title, synthetic=common.synthetic, note=note)
        path = folder / names(f"cka_{name_part(page.second)}", ".png")
        written.append(save_figure(figure, path))
    return written
