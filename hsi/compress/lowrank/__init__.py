"""Low-rank factorisation: a kernel as a product of smaller ones.

    kernels     the decompositions, on arrays
    methods     what each makes of a layer: which small layers, at what cost
    ranks       how many singular values stay: by energy, by a ratio, or by a budget
    factors     a network with such layers in place of its own
    table       what was done, a row a layer

    small = factorise(model, rank=Budget(0.3, of="macs"))
    for row in small.table: print(row.layer, row.ranks, row.error)

An approximation: fine-tune afterwards. What comes out are ordinary convolutions and dense layers.
The rules can be read and checked without TensorFlow, which is loaded with `factorise`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsi.compress.lowrank.ranks import Budget, Energy, Ratio

if TYPE_CHECKING:
    from hsi.compress.lowrank.factors import factorise
    from hsi.compress.lowrank.table import Replaced, Row

__all__ = ["Budget", "Energy", "Ratio", "Replaced", "Row", "factorise"]


def __getattr__(name: str) -> Any:
    if name in ("Replaced", "Row"):
        from hsi.compress.lowrank import table

        return getattr(table, name)
    if name == "factorise":
        from hsi.compress.lowrank import factors

        return factors.factorise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
