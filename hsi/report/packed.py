"""Arrays as text: deflated, base64; the browser takes them apart with DecompressionStream.

Neighbouring pixels are alike, so what is stored of spectra are differences between them, the high
and the low bytes apart: the same numbers in a third of the space.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = {"uint8": "u1", "int8": "i1", "uint16": "<u2", "int16": "<i2", "float32": "<f4"}


@dataclass(frozen=True)
class Block:
    """An array on its way to the page.

    Attributes:
        name: of the element that holds it.
        text: base64 of the deflated bytes.
        kind: of the values, as JavaScript's typed arrays are called in NumPy.
        shape: of the array.
        differences: whether each value is stored as its difference to the one before it.
    """

    name: str
    text: str
    kind: str
    shape: tuple[int, ...]
    differences: bool = False

    def facts(self) -> dict[str, Any]:
        """What the page must know to read it."""
        return {"kind": self.kind, "shape": list(self.shape), "differences": self.differences}


def pack(name: str, array: np.ndarray, *, differences: bool = False) -> Block:
    """Pack an array of one of the types in `KINDS`.

    Args:
        name: of the element in the page.
        array: of any shape.
        differences: store unsigned values as differences along the flat array, which wrap around.
    """
    kind = array.dtype.name
    flat = np.ascontiguousarray(array, KINDS[kind]).ravel()
    if differences:
        flat = np.diff(flat, prepend=flat.dtype.type(0))
    size = flat.dtype.itemsize
    # All first bytes, then all second bytes: what is alike stands together.
    planes = flat.view(np.uint8).reshape(-1, size).T.tobytes()
    text = base64.b64encode(zlib.compress(planes, 9)).decode("ascii")
    return Block(name, text, kind, array.shape, differences)


def unpack(block: Block) -> np.ndarray:
    """The array again, as the page's script makes it."""
    planes = zlib.decompress(base64.b64decode(block.text))
    dtype = np.dtype(KINDS[block.kind])
    raw = np.frombuffer(planes, np.uint8).reshape(dtype.itemsize, -1).T
    flat = np.ascontiguousarray(raw).view(dtype).ravel()
    if block.differences:
        flat = np.cumsum(flat, dtype=dtype)
    return flat.reshape(block.shape)


def to_bytes(values: np.ndarray, *, axis: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Values as whole numbers from 0 to `levels`, each row along the other axes on its own scale.

    Args:
        values: finite.
        axis: along which the scale is one.
        levels: 255 or 65535.

    Returns:
        The numbers, and (rows, 2) the smallest value and the step between two numbers.
    """
    low = values.min(axis=axis, keepdims=True).astype(np.float64)
    step = (values.max(axis=axis, keepdims=True) - low) / levels
    kind = np.uint8 if levels <= 255 else np.uint16
    numbers = np.round((values - low) / np.where(step > 0, step, 1)).astype(kind)
    scale = np.stack([low.squeeze(axis).ravel(), step.squeeze(axis).ravel()], axis=1)
    return numbers, scale.astype(np.float32)
