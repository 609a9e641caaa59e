"""The page of a study: its table, its curves over seeds, and the way to its runs."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hsi.compare.series import quantization_of
from hsi.errors import DataError
from hsi.report.page import render
from hsi.report.study_pictures import study_pictures
from hsi.report.table import number
from hsi.runs import RUN_FILE, open_run

STUDY_TABLE, SUMMARY = "study.csv", "summary.csv"
CELLS = "cells"
REPORT = "report.html"
ON_THE_WAY = "on_the_way"
"""Column of the summary: 1 for a step of an iterative schedule that has had a part of
`--epochs_total` only and so is neither drawn nor spoken of; tables of before do not have it."""
CURVES = ("left", "bytes", "latency_ms", "macs")
"""What accuracy can be drawn against."""

Line = Mapping[str, str]


def study_page(
    folder: Path,
    *,
    beside: Path,
    methods: Sequence[str] = (),
    samples: int | None = None,
    seed: int | None = None,
    say: Callable[[str], None] = print,
) -> str:
    """The page as HTML.

    Args:
        folder: of the study.
        beside: folder that the page will lie in, from which its links go.
        methods, samples, seed: of explanations, where the study is of images.
        say: told of what cannot be shown.

    Raises:
        DataError: a table that is missing or is not that of a study.
    """
    from hsi.plots.study import AMOUNTS, setting_of

    rows = _read(folder / STUDY_TABLE, ("cell", "variant", "oa"))
    lines = _read(folder / SUMMARY, ("variant", "runs", "oa", "oa_half", "left", "bytes"))
    keys = list(lines[0])[: list(lines[0]).index("variant")]
    settings = {key: setting_of(key) for key in keys}
    drawn = [line for line in lines if not number(line.get(ON_THE_WAY))]
    runs = [_cell(folder, beside, name, rows) for name in dict.fromkeys(r["cell"] for r in rows)]
    data: dict[str, Any] = {
        "kind": "study",
        "named": [setting for setting in settings.values() if setting not in AMOUNTS],
        "lines": [
            {
                **{setting: line[key] for key, setting in settings.items()},
                "variant": line["variant"],
                "form": quantization_of(line) or "Keras",
                **{
                    name: number(line.get(name))
                    for column in ("oa", *CURVES)
                    for name in (column, f"{column}_half")
                },
                "runs": number(line["runs"]),
            }
            for line in drawn
        ],
    }
    folders = _one_of_each(folder, rows, settings.values())
    pictures = study_pictures(folders, methods=methods, samples=samples, seed=seed, say=say)
    part, blocks = pictures or ({}, [])
    data |= part
    synthetic = any(run["synthetic"] for run in runs)
    return render(
        "study.html.j2",
        data=data,
        blocks={block.name: block for block in blocks},
        images=bool(part),
        methods=part.get("methods", []),
        title=folder.resolve().name,
        synthetic=synthetic,
        keys=list(settings.values()),
        lines=[_shown(line, keys) for line in lines],
        left_out=len(lines) - len(drawn),
        runs=runs,
        seeds=max(int(number(line["runs"]) or 1) for line in lines),
        sentences=_sentences(drawn, settings),
    )


def _one_of_each(folder: Path, rows: Sequence[Line], settings: Iterable[str]) -> dict[str, Path]:
    """Label -> the first run of each combination of settings."""
    from hsi.plots.study import GIVEN

    columns = {name: f"{GIVEN}{name}" if f"{GIVEN}{name}" in rows[0] else name for name in settings}
    found: dict[str, Path] = {}
    for row in rows:
        given = [f"{name} {row[column]}" for name, column in columns.items() if row.get(column)]
        label = ", ".join(given) or "this study"
        found.setdefault(label, folder / CELLS / row["cell"])
    return found


def _read(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    missing = [name for name in needed if not rows or name not in rows[0]]
    if missing:
        raise DataError(
            f"{path}: expected rows with {', '.join(needed)}, as a finished study has them; "
            "repeat python -m hsi study."
        )
    return rows


def _cell(folder: Path, beside: Path, name: str, rows: Sequence[Line]) -> dict[str, Any]:
    """A run of the study: what it holds, and the link to its page where there is one."""
    place = folder / CELLS / name
    own = [row for row in rows if row["cell"] == name]
    link = ""
    if (place / REPORT).is_file():
        link = quote(Path(os.path.relpath(place / REPORT, beside)).as_posix())
    record = open_run(place).record if (place / RUN_FILE).is_file() else {}
    accuracies = [value for row in own if (value := number(row["oa"])) is not None]
    return {
        "name": name,
        "link": link,
        "variants": len(own),
        "best": f"{max(accuracies):.2f}" if accuracies else "–",
        "least": f"{min(accuracies):.2f}" if accuracies else "–",
        "data": record.get("data", {}).get("name", ""),
        "synthetic": bool(record.get("data", {}).get("synthetic")),
        "leakage": own[0].get("leakage", ""),
    }


def _shown(line: Line, keys: Sequence[str]) -> dict[str, Any]:
    def with_half(column: str, digits: int, scale: float = 1.0) -> str:
        value, half = number(line.get(column)), number(line.get(f"{column}_half"))
        if value is None:
            return "–"
        text = f"{value / scale:.{digits}f}"
        return text if half is None else f"{text} ± {half / scale:.{digits}f}"

    return {
        "keys": [line[key] for key in keys],
        "variant": line["variant"],
        "on_the_way": bool(number(line.get(ON_THE_WAY))),
        "runs": line["runs"],
        "raw": line["oa"],
        "left": with_half("left", 1),
        "kilobytes": with_half("bytes", 1, 1000),
        "oa": with_half("oa", 2),
        "aa": with_half("aa", 2),
        "latency": with_half("latency_ms", 3),
    }


def _size(line: Line) -> tuple[float, ...]:
    """Bytes, and what is left of the network where files are as large as before."""
    return tuple(number(line[name]) or float("inf") for name in ("bytes", "left"))


def _sentences(lines: Sequence[Line], settings: Mapping[str, str]) -> list[str]:
    """How far the means over seeds of each combination stay within the interval of the first.

    Args:
        settings: column -> setting, of those that the combinations differ in.
    """
    found = []
    for place in dict.fromkeys(tuple(line[key] for key in settings) for line in lines):
        own = [line for line in lines if tuple(line[key] for key in settings) == place]
        own = [line for line in own if number(line["oa"]) is not None]
        whole, half = (number(own[0][c]) for c in ("oa", "oa_half")) if own else (None, None)
        if whole is None or len(own) < 2:
            continue
        given = zip(settings.values(), place, strict=True)
        name = ", ".join(f"{setting} {v}" for setting, v in given if v) or "this study"
        floor = whole - (half or 0.0)
        kept = [line for line in own[1:] if (number(line["oa"]) or 0.0) >= floor]
        least = min(own[1:], key=_size)
        if half is None:
            found.append(
                f"{name}: {whole:.1f} % of {own[0]['variant']}, one seed; the smallest, "
                f"{least['variant']}, has {float(least['oa']):.1f} %."
            )
            continue
        if not kept:
            found.append(
                f"{name}: no variant stays within the interval of {own[0]['variant']} "
                f"({whole:.1f} ± {half:.1f} %)."
            )
            continue
        best = min(kept, key=_size)
        found.append(
            f"{name}: the smallest within the interval of {own[0]['variant']} ({whole:.1f} ± "
            f"{half:.1f} %) is {best['variant']}, {float(best['oa']):.1f} % at "
            f"{float(best['left'] or 0):.0f} % of the parameters."
        )
    return found[:3]
