"""Labels as the text that ENVI exports regions of interest as; those of Houston 2013 are.

    ; ENVI Output of ROIs (4.8) [...]
    ; Number of ROIs: 15
    ; File Dimension: 1905 x 349
    ; ROI name: grass_healthy
    ; ROI npts: 198
    ;   ID    X    Y  MapX  MapY ...
         1  692   32  ...

X and Y are the column and the row of a pixel, from 1.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from hsi.errors import DataError
from hsi.readers.classes import lay

BEGINNING = b"; ENVI Output of ROIs"


def is_roi_text(head: bytes) -> bool:
    """Whether a file that begins with these bytes is such a text."""
    return head.startswith(BEGINNING)


def read(path: Path, rows: int, cols: int) -> tuple[np.ndarray, dict[int, str]]:
    """The labels, (rows, cols) int32: the regions, from 1, in their order; and their names.

    Raises:
        DataError: the text is of an image of another size, or cut off.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    size = re.search(r"File Dimension:\s*(\d+)\s*x\s*(\d+)", text)
    if size and (int(size[2]), int(size[1])) != (rows, cols):
        raise DataError(
            f"{path}: regions of an image of {size[2]} x {size[1]} pixels, the scene has "
            f"{rows} x {cols}."
        )
    names = [name.strip().replace("_", " ") for name in re.findall(r"ROI name:(.*)", text)]
    counts = [int(count) for count in re.findall(r"ROI npts:\s*(\d+)", text)]
    points = [line.split()[1:3] for line in text.splitlines() if _is_point(line)]
    if not names or len(counts) != len(names) or sum(counts) != len(points):
        raise DataError(
            f"{path}: {len(names)} regions with {sum(counts)} points, the file has {len(points)}; "
            "cut off? Save it again."
        )
    try:
        places = np.array(points, dtype=np.int64).reshape(-1, 2) - 1
    except (ValueError, OverflowError):
        raise DataError(f"{path}: expected ID, X and Y as whole numbers in each line.") from None
    down, across = places[:, 1], places[:, 0]
    if len(places) and (places.min() < 0 or down.max() >= rows or across.max() >= cols):
        raise DataError(f"{path}: points outside the scene of {rows} x {cols} pixels.")
    labels = np.zeros((rows, cols), np.int32)
    classes = np.repeat(np.arange(1, len(names) + 1), counts)
    lay(labels, down, across, classes, path=path)
    return labels, dict(enumerate(names, start=1))


def _is_point(line: str) -> bool:
    return not line.lstrip().startswith(";") and len(line.split()) >= 3
