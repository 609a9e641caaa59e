"""The template, and everything that it holds: scripts, styles and arrays, inlined.

Jinja2 is the template library, since it escapes whatever comes from data by itself. Charts are
uPlot's: of the small libraries under MIT it is the one of 50 kB that needs no other, draws
thousands of points on one canvas, leaves gaps where values are missing (bands that were removed)
and can be styled and redrawn for light, dark and paper.

A policy in the page lets nothing be fetched, and lets only the scripts run whose hashes it lists:
were a name from the data ever to become a script, the browser would refuse it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from hsi.report.packed import Block

STYLES = ("uplot/uPlot.min.css", "base.css", "parts.css", "print.css")
LIBRARY = "uplot/uPlot.iife.min.js"
SCRIPTS: dict[str, Sequence[str]] = {
    "run.html.j2": (
        LIBRARY, "core.js", "lines.js", "variants.js", "curves.js", "maps.js", "explorer.js",
        "spectra.js", "pictures.js", "exemplars.js", "likeness.js", "start.js",
    ),
    "study.html.j2": (LIBRARY, "core.js", "lines.js", "pictures.js", "study.js", "start.js"),
}  # fmt: skip
"""What each page runs, in this order."""


def render(template: str, *, data: Any, blocks: Mapping[str, Block], **values: Any) -> str:
    """The page as HTML.

    Args:
        template: a name in the folder `templates`.
        data: what the scripts read, as JSON values; NaN is refused.
        blocks: arrays for the scripts, by name.
        values: of the template.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: asset("templates", name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = [asset("assets", name) for name in SCRIPTS[template]]
    page = environment.get_template(template).render(
        styles=[_inlined(asset("assets", name)) for name in STYLES],
        scripts=[_inlined(script) for script in scripts],
        hashes=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
        data=_inlined(_json({**data, "blocks": {n: b.facts() for n, b in blocks.items()}})),
        blocks=blocks.values(),
        **values,
    )
    return str(page)


def asset(folder: str, name: str) -> str:
    """The text of a file that the package brings along."""
    return (resources.files("hsi.report") / folder / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON that can stand between two tags: without the characters that end a script."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _inlined(text: str) -> Any:
    """Text of ours, which the template takes as it is."""
    import markupsafe

    return markupsafe.Markup(text)
