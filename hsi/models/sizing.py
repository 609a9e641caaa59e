"""How networks that were made for large photographs fit small images and patches."""

from __future__ import annotations


def scaled(filters: int, width: float) -> int:
    """Channels at a width factor: a multiple of 8 where the width is not 1.

    Sandler et al. 2018's rule: the nearest multiple, never 10 % less than asked for.
    """
    if width == 1:
        return filters
    wanted = filters * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


def strides(size: int, *, halvings: int = 5, least: int = 3) -> tuple[int, ...]:
    """2 or 1 for each place where a network halves its map, so that `least` pixels are left.

    The first halvings are the ones that small inputs go without, as networks for CIFAR do.

    Example:
        >>> strides(224), strides(32), strides(5)
        ((2, 2, 2, 2, 2), (1, 1, 2, 2, 2), (1, 1, 1, 1, 1))
    """
    count = 0
    while count < halvings and -(-size // 2 ** (count + 1)) >= least:
        count += 1
    return (1,) * (halvings - count) + (2,) * count
