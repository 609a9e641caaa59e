"""Which network a plan is for, in lines that a person can read."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from hsi.errors import ModelError

if TYPE_CHECKING:
    import tf_keras as keras

    from hsi.compress.calls import Shape


def describe(model: keras.Model) -> tuple[str, ...]:
    """A line for each call of a layer: name, type, shapes of its weights, shape of its output.

    Example:
        "conv_1: Conv2D 3x3x200x300 300 -> 3x3x300"

    Raises:
        ModelError: the model is no graph of layers.
    """
    from hsi.compress.calls import walk

    lines = []
    for call in walk(model).calls:
        weights = "".join(f" {_text(tuple(weight.shape))}" for weight in call.layer.weights)
        outputs = ", ".join(_text(shape) for shape in call.output_shapes)
        lines.append(f"{call.name}: {type(call.layer).__name__}{weights} -> {outputs}")
    return tuple(lines)


def check_network(expected: tuple[str, ...], model: keras.Model) -> None:
    """Pass if the model is the network of these lines.

    Raises:
        ModelError: it is not; the first difference is named.
    """
    for wanted, found in zip_longest(expected, describe(model), fillvalue="no further layer"):
        if wanted != found:
            raise ModelError(
                f"The plan is for another network: expected {wanted!r}, got {found!r}; make a "
                "plan of this network, or give the model that the plan was made for."
            )


def _text(shape: Shape) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "1"
