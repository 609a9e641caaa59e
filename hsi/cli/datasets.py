"""`python -m hsi datasets`: public scenes and image sets, where they are, and their download."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from hsi import published
from hsi.catalog import CATALOG, SYNTHETIC, CatalogScene, download, folders, on_disk
from hsi.image_sets.facts import IMAGE_SETS, ImageSet

EMBEDDED = {
    "name": SYNTHETIC, "title": "embedded scene, generated from a seed", "sensor": "simulated",
    "rows": 145, "cols": 145, "bands": 200, "classes": 16,
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this verb."""
    parser.add_argument(
        "--download",
        metavar="NAME",
        nargs="+",
        default=[],
        help="fetch these scenes, or `all` that can be fetched",
    )
    parser.add_argument(
        "--raw", action="store_true", help="fetch the file with every band of the sensor instead"
    )
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Download what is asked for, or list; 0 on success.

    Raises:
        UserError: unknown name, failed download, folder that cannot be written.
    """
    public = [name for name, scene in CATALOG.items() if not scene.cube.page]
    names = public if arguments.download == ["all"] else arguments.download
    for name in names:
        for path in download(name, raw=arguments.raw):
            print(path)
    if arguments.json:
        print(json.dumps([_row(scene) for scene in CATALOG.values()] + [_embedded()], indent=2))
    elif not names:
        _print_table()
    return 0


def _row(scene: CatalogScene) -> dict[str, Any]:
    rows, cols, bands = scene.shape
    found = on_disk(scene)
    return {
        "name": scene.name,
        "title": scene.title,
        "sensor": scene.sensor,
        "rows": rows,
        "cols": cols,
        "bands": bands,
        "classes": len(scene.classes),
        "class_names": {str(number): name for number, name in scene.classes.items()},
        "files": {name: str(path) if path else None for name, path in found.items()},
        "on_disk": all(found.values()),
        "urls": [file.url() for file in scene.files],
        "citation": scene.citation,
        "note": scene.note,
    }


def _embedded() -> dict[str, Any]:
    return {**EMBEDDED, "on_disk": True, "files": {}, "note": "not real data"}


def _where(row: dict[str, Any]) -> str:
    """The folder of a complete scene, or the files that are missing."""
    if row["name"] == SYNTHETIC:
        return "embedded"
    if row["on_disk"]:
        parents = {_short(Path(path).parent) for path in row["files"].values()}
        return ", ".join(sorted(parents))
    missing = [name for name, path in row["files"].items() if path is None]
    return "missing" if len(missing) == len(row["files"]) else f"missing {', '.join(missing)}"


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _print_table() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("sensor", no_wrap=True)
    table.add_column("rows x cols x bands", justify="right", no_wrap=True)
    table.add_column("classes", justify="right")
    table.add_column("on disk", overflow="fold")
    for row in [*(_row(scene) for scene in CATALOG.values()), _embedded()]:
        size = f"{row['rows']} x {row['cols']} x {row['bands']}"
        table.add_row(row["name"], row["sensor"], size, str(row["classes"]), _where(row))
    images = Table(box=None, header_style="bold", pad_edge=False)
    images.add_column("images", no_wrap=True)
    images.add_column("what", overflow="fold")
    images.add_column("classes", justify="right")
    images.add_column("on disk", overflow="fold")
    for info in IMAGE_SETS.values():
        images.add_row(info.name, info.summary, str(len(info.classes) or ""), _image_folder(info))
    console = Console(soft_wrap=False)
    console.print(table)
    console.print()
    console.print(images)
    places = ", ".join(_short(folder) for folder in folders())
    console.print(f"Looked in {places}.", markup=False, highlight=False)
    console.print(
        "Fetch a scene with: python -m hsi datasets --download NAME; images are fetched by the "
        "first run that names them.",
        markup=False,
        highlight=False,
    )


def _image_folder(info: ImageSet) -> str:
    """Where an image set is; archives that are not unpacked yet count as missing."""
    if not info.folders:
        return "embedded"
    found = (published.find(name, folder=info.name) for name in info.folders)
    return next((_short(path) for path in found if path and path.is_dir()), "missing")
