"""Bit widths of a simulation: which can be asked for. Reading it loads no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hsi.errors import SettingsError, one_of

Overflow = Literal["saturate", "wrap"]
OVERFLOWS: tuple[Overflow, ...] = ("saturate", "wrap")
ACTIVATION_BITS, WEIGHT_BITS, ACCUMULATOR_BITS = (2, 16), (2, 16), (4, 48)
"""Smallest and largest; up to these all sums are exact in 64 bits."""


@dataclass(frozen=True)
class BitWidths:
    """How a network is computed; 8/8/32 is what an int8 file does.

    Attributes:
        activation: bits of what layers answer and of the network's input.
        weight: bits of kernels.
        accumulator: bits of the sums of products.
        per_channel: a scale for every output channel of a kernel, else one a kernel.
        overflow: what a sum does that leaves its accumulator: "saturate" or "wrap".

    Raises:
        SettingsError: widths that are not offered, or an unknown overflow.
    """

    activation: int = 8
    weight: int = 8
    accumulator: int = 32
    per_channel: bool = True
    overflow: Overflow = "saturate"

    def __post_init__(self) -> None:
        for name, (least, most) in (
            ("activation", ACTIVATION_BITS),
            ("weight", WEIGHT_BITS),
            ("accumulator", ACCUMULATOR_BITS),
        ):
            bits = getattr(self, name)
            if not least <= bits <= most:
                raise SettingsError(f"{name} bits: expected {least} to {most}, got {bits}.")
        one_of(self.overflow, OVERFLOWS, what="overflow")

    def __str__(self) -> str:
        return f"{self.activation}/{self.weight}/{self.accumulator}"
