"""Classifiers of single pixels by scikit-learn, as the yardstick of networks.

A baseline is a module with

    fit(inputs, classes, *, seed, **options) -> (arrays, facts)
    scores(arrays, inputs) -> (n, known classes)
    macs(arrays) -> multiply-accumulates for one sample

scikit-learn fits; what it found is kept as plain arrays, and `scores` reads them without it: a file
of arrays (`.npz`) runs no code, opens in every version, and its size can stand beside those of
networks. The tests hold that both give the same classes
(of `knn` but for samples with neighbours equally far). The rows of the table are in
`hsi.models.BASELINES`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hsi.errors import DataError, ModelError, one_of
from hsi.files import atomic_path

Arrays = Mapping[str, np.ndarray]

ENDING = ".npz"
_HERE = "hsi.baselines"
MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    "svm": (f"{_HERE}.support_vectors", {}),
    "svm_grid": (f"{_HERE}.support_vectors", {"searched": True}),
    "knn": (f"{_HERE}.neighbours", {}),
    "sgd": (f"{_HERE}.linear", {}),
    "random_forest": (f"{_HERE}.forest", {}),
}
"""Name -> the module that fits it, and the options of its `fit`."""


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline; called with samples, it answers scores.

    Attributes:
        name: a key of `MODULES`.
        shape: of one sample, (rows, cols, channels).
        total: how many classes there are, those without training samples among them.
        known: (k,) class indices that it tells apart, ascending.
        arrays: what was fitted.
    """

    name: str
    shape: tuple[int, ...]
    total: int
    known: np.ndarray
    arrays: Arrays

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """(n, rows, cols, channels) -> (n, total) scores, the highest for the class.

        Shares of votes, or margins; what a class without training samples gets is the lowest.
        """
        found = _module(self.name).scores(self.arrays, batch.reshape(len(batch), -1))
        scores = np.full((len(batch), self.total), found.min(initial=0) - 1, np.float32)
        scores[:, self.known] = found
        return scores

    @property
    def parameters(self) -> int:
        """How many numbers were fitted or kept."""
        return sum(array.size for array in self.arrays.values())

    @property
    def zeros(self) -> float:
        """Share of them that are zero, 0..1."""
        none = sum(int(np.count_nonzero(array == 0)) for array in self.arrays.values())
        return none / max(1, self.parameters)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample."""
        return int(_module(self.name).macs(self.arrays))


def fit(
    name: str, inputs: np.ndarray, classes: np.ndarray, *, total: int, seed: int
) -> tuple[Baseline, dict[str, Any]]:
    """Fit a baseline to training samples; also what was chosen on the way, as plain values.

    Args:
        inputs: (n, rows, cols, channels), prepared.
        classes: (n,) class indices.
        total: how many classes there are.

    Raises:
        SettingsError: an unknown name.
        DataError: samples of fewer than two classes.
    """
    one_of(name, MODULES, what="baseline")
    known = np.unique(classes)
    if len(known) < 2:
        raise DataError(
            f"{name}: expected training samples of two classes or more, got {len(known)}; raise "
            "--train_fraction, or with --split given take maps (--train_labels) of more classes."
        )
    flat = np.ascontiguousarray(inputs.reshape(len(inputs), -1), np.float32)
    places = np.searchsorted(known, classes)
    arrays, facts = _module(name).fit(flat, places, seed=seed, **MODULES[name][1])
    return Baseline(name, tuple(inputs.shape[1:]), total, known, arrays), facts


def save(baseline: Baseline, path: Path) -> None:
    """Write a baseline as `.npz`, by atomic rename; no pickle."""
    content: dict[str, Any] = {
        "baseline": np.array(baseline.name),
        "shape": np.array(baseline.shape),
        "total": np.array(baseline.total),
        "known": baseline.known,
        **{f"array_{name}": array for name, array in baseline.arrays.items()},
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **content)


def load(path: Path) -> Baseline:
    """Open what `save` wrote.

    Raises:
        ModelError: missing, damaged, or no baseline.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            content = {name: stored[name] for name in stored.files}
        name = str(content["baseline"])
        arrays = {n[6:]: array for n, array in content.items() if n.startswith("array_")}
        shape, total = tuple(map(int, content["shape"])), int(content["total"])
        known = content["known"]
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise ModelError(
            f"{path}: expected a baseline of hsi ({', '.join(MODULES)}); it is damaged or "
            "something else."
        ) from error
    if name not in MODULES:
        raise ModelError(f"{path}: expected one of {', '.join(MODULES)}, got {name!r}.")
    baseline = Baseline(name, shape, total, known, arrays)
    _try(baseline, path)
    return baseline


def _try(baseline: Baseline, path: Path) -> None:
    """Whether the arrays fit each other: one sample goes through."""
    if not (baseline.shape and 0 < math.prod(baseline.shape) < 1 << 24):
        raise ModelError(f"{path}: expected the shape of a sample, got {baseline.shape}.")
    try:
        baseline(np.zeros((1, *baseline.shape), np.float32))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ModelError(f"{path}: its arrays do not fit each other: {error}.") from error


def _module(name: str) -> ModuleType:
    return import_module(MODULES[name][0])
