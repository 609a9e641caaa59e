"""A `.tflite` file as a differentiable TensorFlow function.

    >>> from hsi.deploy.differentiable import load
    >>> model = load("quantized_model_int8.tflite")
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(inputs)
    ...     score = model.logits(inputs)[:, 3]
    >>> gradient = tape.gradient(score, inputs)

Forward it computes what the interpreter computes, rounding included; backward it passes straight
through the rounding. See `docs/differentiable_tflite.md`. Importing this loads no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi.deploy.differentiable.flatbuffer import Graph, Operator, Quantization, Tensor, read

if TYPE_CHECKING:
    from hsi.deploy.differentiable.model import DifferentiableModel

__all__ = ["Graph", "Operator", "Quantization", "Tensor", "load", "read"]


def load(
    path: str | Path,
    *,
    signature: str | None = None,
    output: str | int | None = None,
    relu: Callable[[Any], Any] | None = None,
    rounded: bool = True,
    exact: bool | None = None,
) -> DifferentiableModel:
    """Open a `.tflite` file as a differentiable model.

    Args:
        path: the file; float32, float16, dynamic-range, int8, int16x8 or uint8.
        signature: which signature, where the file has several.
        output: name or number of a tensor, where there are several outputs, or to stop earlier.
        relu: replaces every ReLU, fused ones included: a function that returns max(x, 0) with a
            gradient of its own, for guided backpropagation and deconvolution.
        rounded: compute what the file computes; without it the smooth form, which clips and does
            not round (see `DifferentiableModel.smooth`).
        exact: sum float products in the interpreter's order, to the last bit. By default what the
            file computes is summed so (`model(inputs)`, `activations`), and what is made to be
            differentiated (`logits`, `evaluate`) in TensorFlow's own order, which is quicker and as
            accurate; on a processor without AVX-512, where the order cannot be had, all of it.
            True or False says it for all. Whole numbers are exact in any order; dynamic-range files
            always keep the order, in the few small layers that they leave in float: there a last
            bit can decide a level.

    Raises:
        ModelError: missing, damaged, control flow, an operator that is not known (named, with
            those that are), or not one input.
    """
    graph = read(path, signature=signature)
    from hsi.deploy.differentiable.model import DifferentiableModel

    return DifferentiableModel(
        graph, name=str(path), output=output, relu=relu, rounded=rounded, exact=exact
    )
