"""One pass through a graph: the value of every tensor that it computes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import tensorflow as tf

from hsi.deploy.differentiable import rounding
from hsi.deploy.differentiable.call import Call, Constants, Relu
from hsi.deploy.differentiable.flatbuffer import Graph, Operator, Tensor
from hsi.deploy.differentiable.operators import OPERATORS
from hsi.errors import ModelError

_BUILD_ERRORS = (
    ValueError, TypeError, KeyError, IndexError, AssertionError, AttributeError, ArithmeticError,
    MemoryError, tf.errors.OpError,
)  # fmt: skip
"""What TensorFlow and NumPy raise for shapes and options that do not fit."""


def evaluate(
    graph: Graph,
    inputs: tf.Tensor,
    *,
    constants: Constants,
    name: str = "model",
    relu: Relu | None = None,
    rounded: bool = True,
    exact: bool = False,
    through: Collection[int] = (),
    open_ended: int = -1,
    rows: Mapping[int, int] | None = None,
) -> dict[int, tf.Tensor]:
    """Every computed tensor in real units, by its number.

    Args:
        graph: constants unfolded, one input.
        inputs: (n, ...) float32; or float64 with `constants` of that type, for files without
            whole numbers.
        constants: where they are kept.
        name: what messages call the file.
        relu: replaces every ReLU.
        rounded: compute what the file computes; else only clip to the ranges of its grids.
        exact: sum float products in the interpreter's order, to the last bit.
        through: operators that hand their first input on; whether they fit is tried all the same.
        open_ended: an operator whose gradient is not cut where its output is clipped.
        rows: tensor -> rows that its first axis holds of each sample: (n x rows, ...); it is
            answered as (n, rows, ...).

    Raises:
        ModelError: the graph does not fit together.
    """
    source = graph.tensors[graph.inputs[0]]
    values = {source.index: _as_input(inputs, source, rounded=rounded)}
    batch = tf.shape(inputs)[0]
    whole: dict[int, tf.Tensor] = {}
    for operator in graph.operators:
        if all(graph.tensors[i].data is not None for i in operator.outputs):
            continue
        call = Call(
            operator,
            graph,
            values,
            constants=constants,
            batch=batch,
            relu=relu,
            open_ended=operator.index == open_ended,
            rounded=rounded,
            exact=exact,
        )
        values |= _outputs(call, operator, graph, name, passed=operator.index in through)
        for i in (i for i in operator.outputs if rows and i in rows and _sized(values[i])):
            # what goes on is made of what is answered, so that a tape finds one from the other
            whole[i] = tf.reshape(values[i], (batch, (rows or {})[i], *values[i].shape[1:]))
            values[i] = tf.reshape(whole[i], tf.shape(values[i]))
    return values | whole


def _sized(value: tf.Tensor) -> bool:
    """Whether all axes but the first are known."""
    return bool(value.shape[1:].is_fully_defined())


def _outputs(
    call: Call, operator: Operator, graph: Graph, name: str, *, passed: bool
) -> dict[int, tf.Tensor]:
    try:
        found = OPERATORS[operator.kind](call)
        found = call.value(0) if passed else found
        outputs = found if isinstance(found, list) else [found]
        return {
            index: _checked_shape(value, graph.tensors[index])
            for index, value in zip(operator.outputs, outputs, strict=True)
        }
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
    except _BUILD_ERRORS as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{name}: {operator.label} does not fit its inputs: {first}") from error


def _as_input(inputs: tf.Tensor, tensor: Tensor, *, rounded: bool) -> tf.Tensor:
    if tensor.quantized:
        return rounding.snap(inputs, tensor, rounded=rounded)
    if tensor.dtype in rounding.LIMITS:  # plain whole numbers, such as pixels of 0 to 255
        low, high = rounding.LIMITS[tensor.dtype]
        clipped = tf.clip_by_value(inputs, float(low), float(high))
        return rounding.straight_through(clipped, tf.round(clipped)) if rounded else clipped
    return inputs


def _checked_shape(value: tf.Tensor, tensor: Tensor) -> tf.Tensor:
    """Refuse (`ValueError`) what is not of the recorded shape; an axis of 1 may be a batch."""
    if not tensor.shape or value.shape.rank is None:
        return value
    sizes = zip(tensor.shape, tensor.signature, strict=True)
    wanted = [None if i == 0 or s < 0 or n <= 1 else n for i, (n, s) in enumerate(sizes)]
    if not value.shape.is_compatible_with(wanted):
        raise ValueError(
            f"it gives {tuple(value.shape)}, the file says {tensor.shape} for {tensor.label}"
        )
    return value
