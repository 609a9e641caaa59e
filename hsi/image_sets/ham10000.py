"""HAM10000: photographs and a table of them (Tschandl, Rosendahl, Kittler 2018).

Several photographs may show one lesion; a network that has seen one of them in training knows the
others. So the lesions are groups, and no group is divided.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hsi.errors import DataError
from hsi.image_sets.facts import ImageSet
from hsi.image_sets.listing import Listing, Photographs, check_photographs, digest

TABLE = "HAM10000_metadata.csv"
PLACES = ("HAM10000_images", "HAM10000_images_part_1", "HAM10000_images_part_2", ".")
"""Where the photographs lie: in one folder, or in the two of the published archives."""
COLUMNS = ("lesion_id", "image_id", "dx")


def read(info: ImageSet, folder: Path) -> Listing:
    """The photographs that the table lists, not divided, grouped by lesion.

    Raises:
        DataError: no table, other columns, an unknown diagnosis, an image listed twice, or images
            that are missing or damaged.
    """
    table = folder / TABLE
    rows = _rows(table)
    paths = _paths(table, [row["image_id"] for row in rows], folder)
    unknown = next((row for row in rows if row["dx"] not in info.keys), None)
    if unknown:
        raise DataError(
            f"{table}: {unknown['image_id']} has the diagnosis {unknown['dx']!r}; expected one of "
            f"{', '.join(info.keys)}."
        )
    check_photographs(paths)
    classes = np.array([info.keys.index(row["dx"]) for row in rows], np.int64)
    lesions, groups = np.unique([row["lesion_id"] for row in rows], return_inverse=True)
    return Listing(
        Photographs(paths),
        classes,
        np.full(len(rows), "", "<U10"),
        info.classes,
        info.keys,
        digest([*paths, table], folder),
        groups,
        (f"{len(rows)} images of {len(lesions)} lesions; no lesion is in two parts.",),
    )


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{table}: has no column {missing[0]}; expected the published one.")
            rows = [{name: (row[name] or "").strip() for name in COLUMNS} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: expected the published table of images: {error}.") from error
    if not rows:
        raise DataError(f"{table}: lists no image.")
    for number, row in enumerate(rows, start=2):
        if not all(row.values()):
            raise DataError(f"{table}: line {number} has an empty lesion_id, image_id or dx.")
    names = [row["image_id"] for row in rows]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{table}: lists {twice} twice.")
    return rows


def _paths(table: Path, names: list[str], folder: Path) -> list[Path]:
    """The file of each image, in the table's order."""
    there = {
        path.stem: path
        for place in PLACES
        if (folder / place).is_dir()
        for path in (folder / place).iterdir()
        if path.suffix.lower() == ".jpg"
    }
    if missing := [name for name in names if name not in there]:
        raise DataError(
            f"{table}: names {len(missing)} images that are missing, the first {missing[0]}.jpg; "
            f"expected them in {folder / PLACES[0]}."
        )
    return [there[name] for name in names]
