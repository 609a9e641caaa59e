"""Channel ids along the last axes of tensors: which are the same, which can never go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Shape


class ChannelSpace:
    """Channel ids, which of them are one and the same, and which can never be removed."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._pinned: set[int] = set()

    def new(self, count: int) -> np.ndarray:
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def tie(self, one: Iterable[int], other: Iterable[int]) -> None:
        """Make two id arrays of one length the same, element by element."""
        for a, b in zip(one, other, strict=True):
            low, high = sorted((self._root(int(a)), self._root(int(b))))
            self._parent[high] = low

    def pin(self, ids: np.ndarray) -> None:
        self._pinned.update(ids.tolist())

    def roots(self, ids: np.ndarray) -> np.ndarray:
        """One representative id for each; the earliest."""
        return np.array([self._root(i) for i in ids.tolist()], int)

    def pinned(self) -> np.ndarray:
        return self.roots(np.array(sorted(self._pinned), int))

    def _root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i


@dataclass(frozen=True)
class Site:
    """Where a layer is called: channel ids that come in, shapes without the batch axis."""

    layer: keras.layers.Layer
    inputs: tuple[np.ndarray, ...]
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    space: ChannelSpace


@dataclass(frozen=True)
class Kept:
    """Masks along the last axis of each input and of the output: True where a position stays."""

    inputs: tuple[np.ndarray, ...]
    output: np.ndarray
