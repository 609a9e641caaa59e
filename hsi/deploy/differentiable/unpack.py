"""The values of a constant from its stored bytes: packed int4, bfloat16, sparse formats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

DTYPES: dict[str, np.dtype] = {
    name: np.dtype(name)
    for name in (
        "float16", "float32", "float64", "int8", "int16", "int32", "int64",
        "uint8", "uint16", "uint32", "uint64", "bool",
    )
} | {"int4": np.dtype("int8"), "bfloat16": np.dtype("float32")}  # fmt: skip
"""NumPy's type for the constants of each type of the schema that is understood."""

DENSE, SPARSE_CSR = 0, 1
MAX_EXPANSION = 2**28
"""Elements that a sparse constant may unfold to: 256 million, over VGG16's largest matrix."""


class Damaged(Exception):
    """The file contradicts itself; the text says where."""


def constant(
    raw: np.ndarray, dtype: str, shape: tuple[int, ...], sparsity: Any, *, where: str
) -> np.ndarray:
    """Stored bytes (uint8) as an array of `shape` and of the type that `DTYPES` says.

    Raises:
        Damaged: the bytes are not as many as the shape takes, or the sparse indices do not fit.
    """
    if sparsity is not None:
        return _dense(_values(raw, dtype, None, where), shape, sparsity, where)
    if any(n < 0 for n in shape):
        raise Damaged(f"{where} is a constant of shape {shape}")
    return _values(raw, dtype, math.prod(shape), where).reshape(shape)


def _values(raw: np.ndarray, dtype: str, count: int | None, where: str) -> np.ndarray:
    if dtype == "int4":
        values = _int4(raw)
        values = values if count is None else values[:count]
    elif dtype == "bfloat16":
        pairs = raw[: len(raw) // 2 * 2].view(np.uint16)
        values = (pairs.astype(np.uint32) << 16).view(np.float32)
    else:
        size = DTYPES[dtype].itemsize
        if len(raw) % size:
            raise Damaged(f"{where} holds {len(raw)} bytes, no multiple of {size}")
        values = raw.view(DTYPES[dtype])
    if count is not None and len(values) != count:
        raise Damaged(f"{where} holds {len(values)} values, expected {count}")
    return values


def _int4(raw: np.ndarray) -> np.ndarray:
    """Two's complement, two per byte, the low nibble first."""
    nibbles = np.stack([raw & 0xF, raw >> 4], axis=-1).reshape(-1).astype(np.int8)
    return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8)


def _dense(values: np.ndarray, shape: tuple[int, ...], sparsity: Any, where: str) -> np.ndarray:
    """Unfold a sparse tensor: Kjolstad et al. 2017 ("taco"), as TFLite stores it.

    The stored dimensions are the original ones and the blocks inside them, in `traversalOrder`;
    each is dense (every index) or compressed (segments and indices, like CSR).
    """
    order = [int(v) for v in _array(sparsity.traversalOrder)]
    blocks = [int(v) for v in _array(sparsity.blockMap)]
    levels = sparsity.dimMetadata or []
    rank = len(shape)
    if sorted(order) != list(range(rank + len(blocks))) or len(levels) != len(order):
        raise Damaged(f"{where} has a sparse layout that does not fit its shape {shape}")
    if math.prod(shape) > MAX_EXPANSION or any(not 0 <= b < rank for b in blocks):
        raise Damaged(f"{where} unfolds to {math.prod(shape)} values")
    coordinates = _coordinates(levels, len(values), where)
    place = dict(zip(order, coordinates, strict=True))
    index = [place[d] for d in range(rank)]
    for number, dim in enumerate(blocks):
        size = int(levels[order.index(rank + number)].denseSize)
        index[dim] = index[dim] * size + place[rank + number]
    inside = all(((i >= 0) & (i < n)).all() for i, n in zip(index, shape, strict=True))
    if not inside:
        raise Damaged(f"{where} has sparse indices outside its shape {shape}")
    dense = np.zeros(shape, values.dtype)
    dense[tuple(index)] = values
    return dense


def _coordinates(levels: list[Any], count: int, where: str) -> list[np.ndarray]:
    """Per stored dimension, the index of each of the `count` stored values."""
    found: list[np.ndarray] = []
    entries = 1
    for level in levels:
        if level.format == DENSE:
            size = int(level.denseSize)
            if not 0 < size * entries <= count:
                raise Damaged(f"{where} has a sparse dimension of {size}")
            parents = np.repeat(np.arange(entries), size)
            new = np.tile(np.arange(size), entries)
        else:
            segments = _array(getattr(level.arraySegments, "values", None)).astype(np.int64)
            new = _array(getattr(level.arrayIndices, "values", None)).astype(np.int64)
            lengths = np.diff(segments)
            good = len(lengths) == entries and (lengths >= 0).all() and lengths.sum() == len(new)
            if not good or len(new) > count:
                raise Damaged(f"{where} has sparse segments that do not fit")
            parents = np.repeat(np.arange(entries), lengths)
        found = [c[parents] for c in found] + [new]
        entries = len(new)
    if entries != count:
        raise Damaged(f"{where} holds {count} values for {entries} sparse places")
    return found


def _array(values: Any) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else np.asarray(values or [], np.int64)
