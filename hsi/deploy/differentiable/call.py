"""What one operator sees while the graph is evaluated: its inputs, its options, its output's grid.

Every function in `operators/` takes a `Call` and returns the output's value (a list where there
are several). Values are float32 in real units, also for quantized tensors, which lie on their
grid; shapes, indices and other whole numbers are integer tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.deploy.differentiable import rounding
from hsi.deploy.differentiable.flatbuffer import Graph, Operator, Quantization, Tensor
from hsi.errors import ModelError

Relu = Callable[[tf.Tensor], tf.Tensor]

ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH"}
RELU_RANGES: dict[str, tuple[float, float]] = {
    "RELU": (0.0, np.inf),
    "RELU6": (0.0, 6.0),
    "RELU_0_TO_1": (0.0, 1.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


class Constants:
    """Constants as TensorFlow tensors, each made once and shared by all that is traced.

    They are made outside of the traced functions, so a function holds references to them and not
    copies (a traced function may not hold more than 2 GB).
    """

    def __init__(self) -> None:
        self._made: dict[tuple[int, str], tf.Tensor] = {}

    def get(self, index: int, form: str, make: Callable[[], np.ndarray]) -> tf.Tensor:
        """Tensor `index` in that form, from `make()` at its first use."""
        if (index, form) not in self._made:
            with tf.init_scope():
                self._made[index, form] = tf.constant(np.asarray(make(), order="C"))
        return self._made[index, form]


class Call:
    """One operator in one evaluation.

    Attributes:
        operator: what is computed.
        batch: samples in this evaluation (a scalar tensor).
        file_batch: samples that the file's shapes speak of, mostly 1.
        rounded: values are rounded to their grids; else only clipped to its range.
        exact: sums of float products run in the interpreter's order.

    Args:
        relu: replaces every ReLU.
        open_ended: let the gradient through where the output is clipped to its grid.
    """

    def __init__(
        self,
        operator: Operator,
        graph: Graph,
        values: dict[int, tf.Tensor],
        *,
        constants: Constants,
        batch: tf.Tensor,
        relu: Relu | None = None,
        open_ended: bool = False,
        rounded: bool = True,
        exact: bool = False,
    ) -> None:
        self.operator, self.batch = operator, batch
        self.rounded, self.exact = rounded, exact
        self._open_ended = open_ended
        self._graph, self._values, self._constants, self._relu = graph, values, constants, relu
        self.file_batch = max(1, (graph.tensors[graph.inputs[0]].shape or (1,))[0])

    def option(self, name: str, default: Any = 0) -> Any:
        """A builtin option by its name in the schema."""
        value = self.operator.options.get(name, default)
        return default if value is None else value

    def given(self, i: int) -> bool:
        """Whether input `i` is there; trailing and -1 inputs are left out."""
        return i < len(self.operator.inputs) and self.operator.inputs[i] >= 0

    def tensor(self, i: int = 0) -> Tensor:
        """Facts of input `i`."""
        if not self.given(i):
            raise ModelError(f"{self.operator.label} has no input {i}, which it needs.")
        return self._graph.tensors[self.operator.inputs[i]]

    def output(self, i: int = 0) -> Tensor:
        """Facts of output `i`."""
        return self._graph.tensors[self.operator.outputs[i]]

    def grid(self, i: int = 0) -> Quantization:
        """Scale and zero point of input `i`, which must be quantized."""
        return self._grid(self.tensor(i))

    @property
    def output_grid(self) -> Quantization:
        """Scale and zero point of the first output, which must be quantized."""
        return self._grid(self.output())

    def _grid(self, tensor: Tensor) -> Quantization:
        if tensor.quantization is None:
            raise ModelError(
                f"{self.operator.label}: expected tensor {tensor.label} to have a scale."
            )
        return tensor.quantization

    def value(self, i: int = 0) -> tf.Tensor:
        """Input `i`: float32 in real units, or an integer tensor."""
        tensor = self.tensor(i)
        if tensor.data is None:
            if tensor.index not in self._values:
                raise ModelError(f"{self.operator.label} reads tensor {tensor.label} too early.")
            return self._values[tensor.index]
        return self._constants.get(tensor.index, "real", lambda: real_data(tensor))

    @property
    def values(self) -> list[tf.Tensor]:
        """All inputs."""
        return [self.value(i) for i in range(len(self.operator.inputs)) if self.given(i)]

    def data(self, i: int) -> np.ndarray | None:
        """Input `i` as stored in the file, or None if it is computed or left out."""
        return self.tensor(i).data if self.given(i) else None

    def numbers(self, i: int) -> list[int]:
        """Input `i`, which must be constant whole numbers: axes, paddings, sizes."""
        data = self.data(i)
        if data is None:
            raise ModelError(
                f"{self.operator.label}: expected constant numbers as input {i}, "
                "got what is computed while running."
            )
        return [int(v) for v in data.reshape(-1)]

    def kept(self, i: int, form: str, make: Callable[[np.ndarray], np.ndarray]) -> tf.Tensor:
        """`make(stored data of input i)`, computed once; `form` tells the results apart."""
        tensor = self.tensor(i)
        assert tensor.data is not None
        data = tensor.data
        return self._constants.get(tensor.index, form, lambda: make(data))

    def levels(self, i: int = 0) -> tf.Tensor:
        """Input `i`, quantized with one scale, as levels minus zero point (whole floats)."""
        tensor, quantization = self.tensor(i), self.grid(i)
        if tensor.data is None:
            return rounding.levels(self.value(i), quantization, rounded=self.rounded)
        return self.kept(i, "centred", lambda data: rounding.centred(data, quantization))

    def activate(self, x: tf.Tensor) -> tf.Tensor:
        """The operator's fused activation, on real values."""
        code = int(self.option("fusedActivationFunction"))
        if code not in ACTIVATIONS:
            raise ModelError(f"{self.operator.label}: fused activation {code} is not known.")
        name = ACTIVATIONS[code]
        if name == "TANH":
            return tf.tanh(x)
        return x if name == "NONE" else self.relu(x, name)

    def relu(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """A ReLU of the ranges above; where there is a hook, with the hook's gradient."""
        low, high = RELU_RANGES[name]
        if name == "RELU":
            plain = tf.nn.relu
        elif name == "RELU6":
            plain = tf.nn.relu6
        else:

            def plain(v: tf.Tensor) -> tf.Tensor:
                return tf.clip_by_value(v, low, high)

        if self._relu is None or low < 0:
            return plain(x)
        # the hook stands for max(x, 0); what is beyond an upper limit stays there, with slope 0
        return tf.minimum(self._relu(x), tf.constant(high, x.dtype))

    def store(self, y: tf.Tensor, *, rounding_: rounding.Round = rounding.half_even) -> tf.Tensor:
        """Real values through the fused activation onto the grid of the output, if it has one."""
        y = self.activate(y)
        if not self.output().quantized:
            return y
        return rounding.snap(
            y,
            self.output(),
            rounding=rounding_,
            open_ended=self._open_ended,
            rounded=self.rounded,
        )

    def store_steps(
        self,
        steps: tf.Tensor,
        *,
        rounding_: rounding.Round,
        exact: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Like `store`, from unrounded steps of the output's grid (real value / scale).

        Args:
            steps: float32 or float64.
            rounding_: how ties go.
            exact: rounded steps, where the kernel rounds in a way of its own.
        """
        output, grid = self.output(), self.output_grid
        exact = rounding_(steps) if exact is None else tf.cast(exact, steps.dtype)
        name = ACTIVATIONS.get(int(self.option("fusedActivationFunction")), "NONE")
        if name != "NONE":
            scale = tf.constant(grid.scale, steps.dtype)
            steps = self.activate(steps * scale) / scale
        if name in RELU_RANGES:
            low, high = (v / grid.scale for v in RELU_RANGES[name])
            exact = tf.clip_by_value(exact, np.round(low), np.round(high))
        return rounding.to_grid(
            steps,
            output,
            rounding=rounding_,
            exact=exact,
            open_ended=self._open_ended,
            rounded=self.rounded,
        )

    def moved(self, y: tf.Tensor) -> tf.Tensor:
        """Values of input 0 that were only chosen or moved; snapped if the grid is another."""
        source, output = self.tensor(0), self.output()
        if not output.quantized:
            return y
        a, b = source.quantization, output.quantization
        if a and b and a.scale == b.scale and a.zero_point == b.zero_point:
            return y
        return rounding.snap(y, output, rounded=self.rounded)


Function = Callable[[Call], "tf.Tensor | Sequence[tf.Tensor]"]


def real_data(tensor: Tensor) -> np.ndarray:
    """A constant in real units (float32), or its whole numbers if they stand for themselves."""
    assert tensor.data is not None
    if tensor.quantized and tensor.quantization is not None:
        return rounding.real(tensor.data, tensor.quantization)
    if tensor.data.dtype in (np.float16, np.float64):
        return tensor.data.astype(np.float32)
    return tensor.data
