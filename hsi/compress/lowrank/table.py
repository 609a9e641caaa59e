"""What a replacement of layers did, a row a layer."""

from __future__ import annotations

from dataclasses import dataclass

import tf_keras as keras

from hsi.compress.fold.merges import Cost


@dataclass(frozen=True)
class Row:
    """One layer that could be replaced.

    Attributes:
        layer: its name; the last of the layers in its place keeps it.
        method: what was done, "" where nothing paid.
        ranks: that stayed; empty where the layer stays as it was.
        before, after: parameters and multiply-accumulates.
        error: of the kernel, Frobenius norm, relative; 0 where it stays.
    """

    layer: str
    method: str
    ranks: tuple[int, ...]
    before: Cost
    after: Cost
    error: float


@dataclass(frozen=True)
class Replaced:
    """A new network, not compiled, and what was done to each layer."""

    model: keras.Model
    table: tuple[Row, ...]
