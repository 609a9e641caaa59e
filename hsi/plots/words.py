"""Text in figures: names come from files and users, and stand in a figure letter by letter."""

from __future__ import annotations

import textwrap

_NARROWNESS = 125
"""Characters of a proportional font in an inch, times its size in points; wide text still fits."""


def plain(text: str) -> str:
    """The text with `$` as a character: between two of them matplotlib reads formulas.

    Example:
        >>> print(plain("a $ b"))
        a \\$ b
    """
    return text.replace("$", r"\$")


def wrapped(text: str, inches: float, *, size: float) -> str:
    """The text, plain, in lines that fit in `inches` at a font size in points."""
    width = max(4, int(inches * _NARROWNESS / size))
    return plain("\n".join(textwrap.fill(line, width) for line in text.splitlines()))


def shortened(text: str, characters: int) -> str:
    """The text, plain, cut in the middle where it is longer: ends of names tell them apart.

    Example:
        >>> shortened("conv5_block32_concat", 11)
        'conv5…oncat'
    """
    if len(text) > characters:
        head = (characters - 1) // 2
        text = text[:head] + "…" + text[len(text) - (characters - 1 - head) :]
    return plain(text)


def number_text(value: float) -> str:
    """Two digits of a number, with a real minus.

    Example:
        >>> number_text(-0.01234), number_text(120000.0)
        ('−0.012', '1.2e+05')
    """
    return f"{value:.2g}".replace("-", "−", 1 if value < 0 else 0)
