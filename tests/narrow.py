"""Networks of patches with the layers of the real ones, in the time that a test has."""

from __future__ import annotations

from typing import Any

from hsi.models import network

WIDTH = 0.25


def narrow(name: str, shape: tuple[int, int, int], classes: int, *, seed: int) -> Any:
    """The network of that name; `vgg` at a quarter of its 15 million weights' width."""
    if name == "vgg":  # `vgg16` by its earlier name
        return network("vgg16").build(shape, classes, seed=seed, width=WIDTH)
    return network(name).build(shape, classes, seed=seed)
