"""What a plan leaves of a network, layer by layer, as numbers and as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

FLOAT32 = 4
"""Bytes of a weight as it is trained and as a float file holds it."""


@dataclass(frozen=True)
class Row:
    """One layer with weights before and after.

    Attributes:
        kind: the type of the layer.
        channels, channels_left: of its output.
        parameters, parameters_left: weights; left are those that are not made zero.
        macs, macs_left: multiply-accumulates for one sample; zeros are multiplied like any other.
    """

    layer: str
    kind: str
    channels: int
    channels_left: int
    parameters: int
    parameters_left: int
    macs: int
    macs_left: int


@dataclass(frozen=True)
class Table:
    """The rows of a plan, in the order of the network, and their sums.

    Attributes:
        bytes, bytes_left: the weights as float32; a file adds its graph to that. Zeros take the
            room of any other weight until the file is compressed.
    """

    rows: tuple[Row, ...]
    bytes: int
    bytes_left: int

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def parameters_left(self) -> int:
        return sum(row.parameters_left for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def macs_left(self) -> int:
        return sum(row.macs_left for row in self.rows)

    def text(self) -> str:
        """A line a layer, then the sums."""
        lines: list[tuple[str, ...]] = [
            ("layer", "type", "channels", "left", "parameters", "left", "MACs", "left")
        ]
        for row in self.rows:
            counts = (row.parameters, row.parameters_left, row.macs, row.macs_left)
            widths = (str(row.channels), str(row.channels_left))
            lines.append((row.layer, row.kind, *widths, *(f"{count:,}" for count in counts)))
        sums = (self.parameters, self.parameters_left, self.macs, self.macs_left)
        lines.append(("all", "", "", "", *(f"{count:,}" for count in sums)))
        shares = [
            f"{what} {left / max(before, 1):.1%}"
            for what, before, left in (
                ("parameters", self.parameters, self.parameters_left),
                ("MACs", self.macs, self.macs_left),
            )
        ]
        size = f"bytes {self.bytes:,} -> {self.bytes_left:,} (float32 weights)"
        return "\n".join([*_aligned(lines), f"left: {', '.join(shares)}; {size}"])


def _aligned(lines: Sequence[Iterable[str]]) -> list[str]:
    """Two columns to the left, numbers to the right."""
    cells = [list(line) for line in lines]
    widths = [max(len(line[k]) for line in cells) for k in range(len(cells[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k < 2 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
