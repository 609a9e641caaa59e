"""The Indian Pines chip that the studies and tables use, cut out of the whole scene.

    python benchmarks/chip.py [--output datasets/indian_pines_chip/Indian_subset.mat]

Rows 30 to 99 and columns 25 to 94, counted from 0, of the corrected scene (200 bands) and of its
labels: 70 x 70 pixels of four classes (2, 6, 10 and 11), which keep their published numbers. The
whole scene is fetched from its publisher where it is on no disk.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

ROWS, COLS = slice(30, 100), slice(25, 95)
FILE = Path("datasets", "indian_pines_chip", "Indian_subset.mat")


def cut(cube: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of the file: (rows, cols, bands), (rows, cols) -> name -> (70, 70, ...)."""
    return {"Indian_subset": cube[ROWS, COLS], "Indian_subset_gt": labels[ROWS, COLS]}


def main() -> None:
    """Read the scene, write the chip."""
    import scipy.io

    from hsi import catalog
    from hsi.files import atomic_path

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=FILE)
    given = parser.parse_args()
    scene = catalog.open_scene("indian_pines")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(given.output) as temporary, temporary.open("wb") as file:
        scipy.io.savemat(file, cut(scene.cube, scene.labels), do_compression=True)
    print(f"Written: {given.output}")


if __name__ == "__main__":
    main()
