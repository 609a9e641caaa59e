"""Which cells leave nothing to train on or to test, found before anything is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hsi.evaluate.division import (
    Division,
    Place,
    check_comparable,
    check_same_data,
    division_of,
    place_of,
    stored_division,
)
from hsi.evaluate.protocol import EvaluationCell, Protocol
from hsi.readers.labels import read_labels
from hsi.samples import split_of
from hsi.scene import Scene
from hsi.settings import Settings
from hsi.split import Split

Maps = Mapping[str, np.ndarray]
"""`train_labels` and `test_labels` of the split `given`, read."""


def untestable(
    protocol: Protocol,
    scene: Scene,
    cells: Sequence[EvaluationCell],
    *,
    finished: Sequence[EvaluationCell] = (),
    say: Callable[[str], None] = print,
) -> dict[str, str]:
    """Names of cells that cannot be run -> why.

    A network of large patches has a wide gap around training blocks, which can take every pixel.

    Args:
        finished: cells that the others will be compared with.

    Raises:
        DataError, SettingsError: the scene cannot be split like that for any network.
        DataError: finished cells were run on other data or another division of the pixels.
    """
    check_same_data(finished, now=scene.sha256)
    place: dict[str, Any] = {"shape": scene.cube.shape, "georeference": scene.georeference}
    maps = {name: read_labels(spec, **place, say=say).array for name, spec in protocol.maps.items()}
    known: dict[Place, str] = {}
    divisions: list[tuple[EvaluationCell, Division]]
    divisions = [(cell, stored_division(cell)) for cell in finished]
    for cell in cells:
        key = place_of(cell)
        if key in known:
            continue
        used = maps if cell.settings.train_labels else {}
        known[key] = _too_large(scene, key[-1])
        if not known[key]:
            split = _split(scene, cell.settings, key[-1], used)
            known[key] = _missing(split)
            divisions.append((cell, division_of(split.masks)))
    check_comparable(divisions)
    return {cell.name: known[place_of(cell)] for cell in cells if known[place_of(cell)]}


def _too_large(scene: Scene, patch: int) -> str:
    if patch <= min(scene.rows, scene.cols):
        return ""
    return (
        f"its patches of {patch} x {patch} pixels are larger than the scene of {scene.rows} x "
        f"{scene.cols}"
    )


def _split(scene: Scene, settings: Settings, patch: int, maps: Maps) -> Split:
    return split_of(
        scene,
        settings,
        patch,
        train_labels=maps.get("train_labels"),
        test_labels=maps.get("test_labels"),
    )


def _missing(split: Split) -> str:
    words = {"training": split.train, "test": split.test}
    missing = [word for word, mask in words.items() if not mask.any()]
    if not missing:
        return ""
    return f"no {' and no '.join(missing)} pixels are left with a gap of {split.gap} pixels"
