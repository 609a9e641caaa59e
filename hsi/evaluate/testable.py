"""Which cells leave nothing to train on or to test, found before anything is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hsi.evaluate.protocol import EvaluationCell, Protocol
from hsi.readers.labels import read_labels
from hsi.samples import split_of
from hsi.scene import Scene
from hsi.settings import Settings

Maps = Mapping[str, np.ndarray]
"""`train_labels` and `test_labels` of the split `given`, read."""


def untestable(
    protocol: Protocol,
    scene: Scene,
    cells: Sequence[EvaluationCell],
    *,
    say: Callable[[str], None] = print,
) -> dict[str, str]:
    """Names of cells that cannot be run -> why.

    A network of large patches has a wide gap around training blocks, which can take every pixel.

    Raises:
        DataError, SettingsError: the scene cannot be split like that for any network.
    """
    place: dict[str, Any] = {"shape": scene.cube.shape, "georeference": scene.georeference}
    maps = {name: read_labels(spec, **place, say=say).array for name, spec in protocol.maps.items()}
    known: dict[tuple[Any, ...], str] = {}
    for cell in cells:
        key = _division(cell)
        if key not in known:
            used = maps if cell.settings.train_labels else {}
            known[key] = _missing(scene, cell.settings, _patch(cell), used)
    return {cell.name: known[_division(cell)] for cell in cells if known[_division(cell)]}


def _division(cell: EvaluationCell) -> tuple[Any, ...]:
    """What the division of the pixels depends on."""
    return cell.split, cell.amount, cell.seed, _patch(cell)


def _patch(cell: EvaluationCell) -> int:
    return cell.settings.patch_size or cell.settings.network.patch_size


def _missing(scene: Scene, settings: Settings, patch: int, maps: Maps) -> str:
    if patch > min(scene.rows, scene.cols):
        return (
            f"its patches of {patch} x {patch} pixels are larger than the scene of {scene.rows} x "
            f"{scene.cols}"
        )
    split = split_of(
        scene,
        settings,
        patch,
        train_labels=maps.get("train_labels"),
        test_labels=maps.get("test_labels"),
    )
    words = {"training": split.train, "test": split.test}
    missing = [word for word, mask in words.items() if not mask.any()]
    if not missing:
        return ""
    return f"no {' and no '.join(missing)} pixels are left with a gap of {split.gap} pixels"
