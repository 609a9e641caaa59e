"""What each decomposition makes of a layer: the kernels of the small layers in its place.

To add one: a class with these five functions and a line in `METHODS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hsi.compress.lowrank import kernels

Ranks = tuple[int, ...]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Parts:
    """The small layers in place of one, in their order.

    Attributes:
        shapes: of their kernels.
        carriers: for each spatial axis which of them has its taps, stride and dilation.
    """

    shapes: tuple[Shape, ...]
    carriers: tuple[int, ...]


class Method(Protocol):
    """A decomposition; `shape` is a kernel's."""

    name: str

    def spectra(self, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        """The singular values that each of its ranks cuts, the largest first."""

    def options(self, shape: Shape, ranks: Ranks) -> list[Ranks]:
        """Possible ranks of no less energy than these; one of them may cost less."""

    def parts(self, shape: Shape, ranks: Ranks) -> Parts:
        """The layers at these ranks."""

    def kernels(self, kernel: np.ndarray, ranks: Ranks) -> list[np.ndarray]:
        """Their kernels, of the shapes of `parts`."""

    def rebuilt(self, made: Sequence[np.ndarray]) -> np.ndarray:
        """The kernel that such kernels make together."""


class Svd:
    """Two dense layers or two 1 x 1 convolutions, the first without bias."""

    name = "svd"

    def spectra(self, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        return (kernels.spectrum(_matrix(kernel)),)

    def options(self, shape: Shape, ranks: Ranks) -> list[Ranks]:
        return [ranks]

    def parts(self, shape: Shape, ranks: Ranks) -> Parts:
        *taps, into, out = shape
        (rank,) = ranks
        # A stride goes into the first layer, so that fewer positions follow.
        return Parts(((*taps, into, rank), (*taps, rank, out)), (0,) * len(taps))

    def kernels(self, kernel: np.ndarray, ranks: Ranks) -> list[np.ndarray]:
        made = kernels.svd(_matrix(kernel), *ranks)
        shapes = self.parts(kernel.shape, ranks).shapes
        return [array.reshape(shape) for array, shape in zip(made, shapes, strict=True)]

    def rebuilt(self, made: Sequence[np.ndarray]) -> np.ndarray:
        return made[0] @ made[1]


class Tucker2:
    """1 x 1, then the taps on fewer channels, then 1 x 1; a rank that is full needs no layer."""

    name = "tucker2"

    def spectra(self, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        return kernels.spectrum(kernels.unfold(kernel, -2)), kernels.spectrum(
            kernels.unfold(kernel, -1)
        )

    def options(self, shape: Shape, ranks: Ranks) -> list[Ranks]:
        *taps, into, out = shape
        size = int(np.prod(taps))
        found = []
        for first in {ranks[0], into}:
            for last in {ranks[1], out}:
                # One unfolding of the core cannot have a higher rank than it has columns.
                one, other = min(first, size * last), min(last, size * first)
                found.append((into if first == into else one, out if last == out else other))
        return sorted(found)

    def parts(self, shape: Shape, ranks: Ranks) -> Parts:
        *taps, into, out = shape
        first, last = ranks
        ones = (1,) * len(taps)
        shapes = [(*ones, into, first)] * (first < into) + [(*taps, first, last)]
        carrier = len(shapes) - 1
        shapes += [(*ones, last, out)] * (last < out)
        return Parts(tuple(shapes), (carrier,) * len(taps))

    def kernels(self, kernel: np.ndarray, ranks: Ranks) -> list[np.ndarray]:
        *_, into, out = kernel.shape
        first, core, last = kernels.tucker2(kernel, (ranks[0], ranks[1]))
        made = [first] * (ranks[0] < into) + [core] + [last] * (ranks[1] < out)
        shapes = self.parts(kernel.shape, ranks).shapes
        return [array.reshape(shape) for array, shape in zip(made, shapes, strict=True)]

    def rebuilt(self, made: Sequence[np.ndarray]) -> np.ndarray:
        whole = made[0]
        for kernel in made[1:]:  # matrices broadcast over the taps of the core
            whole = whole @ kernel
        return whole


class Spatial:
    """A column of taps to r channels, then a row of taps."""

    name = "spatial"

    def spectra(self, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        return (kernels.spectrum(kernels.columns_by_rows(kernel)),)

    def options(self, shape: Shape, ranks: Ranks) -> list[Ranks]:
        return [ranks]

    def parts(self, shape: Shape, ranks: Ranks) -> Parts:
        rows, cols, into, out = shape
        return Parts(((rows, 1, into, ranks[0]), (1, cols, ranks[0], out)), (0, 1))

    def kernels(self, kernel: np.ndarray, ranks: Ranks) -> list[np.ndarray]:
        return list(kernels.spatial(kernel, ranks[0]))

    def rebuilt(self, made: Sequence[np.ndarray]) -> np.ndarray:
        down, across = made
        return np.einsum("isr,jrt->ijst", down[:, 0], across[0])


METHODS: dict[str, Method] = {method.name: method for method in (Svd(), Tucker2(), Spatial())}
"""Name -> decomposition; `svd` serves kernels without taps whatever is asked for."""


def method_for(shape: Shape, name: str) -> Method | None:
    """What a method does to a kernel of this shape: of one tap SVD, else itself if it can."""
    taps = shape[:-2]
    if all(tap == 1 for tap in taps):
        return METHODS["svd"]
    if name == "svd" or (name == "spatial" and len(taps) != 2):
        return None
    return METHODS[name]


def _matrix(kernel: np.ndarray) -> np.ndarray:
    return kernel.reshape(kernel.shape[-2:])
