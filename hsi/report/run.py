"""The page of a run: everything that is on it, brought together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hsi.plots.colors import class_color
from hsi.report import against, facts
from hsi.report.opening import ReportRun
from hsi.report.page import render
from hsi.report.sentences import sentences
from hsi.report.table import COLUMNS, cells
from hsi.report.tiles import tiles
from hsi.report.variants import open_all, variant_facts
from hsi.results import COLUMNS as CSV_COLUMNS


def run_page(
    report: ReportRun,
    *,
    methods: Sequence[str],
    samples: int | None,
    seed: int | None,
    say: Callable[[str], None],
) -> str:
    """The page as HTML.

    Raises:
        UserError: a model that does not open, or methods that do not fit the data.
    """
    from hsi.report.likeness import likeness_part

    seed = report.run.settings.seed if seed is None else seed
    opened = open_all(report)
    images = facts.unit_of(report.run) == "image"
    chosen: dict[str, Any] = {"methods": methods, "samples": samples, "seed": seed, "say": say}
    if images:
        from hsi.report.pictures import picture_part

        part, blocks = picture_part(opened, **chosen)
    else:
        from hsi.report.scene import scene_part

        part, blocks = scene_part(opened, **chosen)
    attention, said = part.pop("attention", [{}] * len(opened)), part.pop("notes", [])
    cka = likeness_part(opened, report.samples, seed=seed, say=say)
    rows = against.against_first(report.rows, opened)
    variants = variant_facts(rows)
    data = {
        "kind": "images" if images else "scene",
        "variants": variants,
        "classes": _classes(report),
        "cka": cka,
        **part,
    }
    return render(
        "run.html.j2",
        data=data,
        blocks={block.name: block for block in blocks},
        title=facts.title_of(report.run),
        synthetic=report.samples.synthetic,
        note=report.samples.note,
        images=images,
        sentences=sentences(rows, variants, attention),
        tiles=tiles(rows),
        groups=facts.groups(report.run, report.rows),
        changed=facts.changed_settings(report.run),
        notes=[*facts.notes(report.run), *against.notes(report.run, report.rows), *said],
        columns=COLUMNS,
        rows=rows,
        cells=cells(rows),
        csv_columns=CSV_COLUMNS,
        csv_rows=report.rows,
        classes=data["classes"],
        variants=variants,
        methods=part["methods"],
        has_cka=bool(cka),
        has_waves=bool(part.get("wavelengths")),
        spectrum_bits=part.get("spectrumBits", ""),
        version=report.run.record["versions"]["hsi"],
    )


def _classes(report: ReportRun) -> list[dict[str, Any]]:
    """Number, name and colour of each class index, and how many samples each part has."""
    found = []
    parts = {name: report.samples.part(name) for name in ("train", "validation", "test")}
    for index, (number, name) in enumerate(report.samples.class_names.items()):
        counts = {key: int((part.classes == index).sum()) for key, part in parts.items()}
        # Images may number their classes from 0, which is the colour of what has no class.
        color = class_color(index + 1 if report.samples.unit == "image" else number)
        found.append({"number": number, "name": name, "color": color, **counts})
    return found
