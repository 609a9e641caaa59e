"""The graph of a `.tflite` file as a differentiable TensorFlow function."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from hsi.deploy.differentiable import rounding
from hsi.deploy.differentiable.call import ACTIVATIONS, Call, Constants, Relu
from hsi.deploy.differentiable.flatbuffer import Graph, Tensor
from hsi.deploy.differentiable.kinds import WEIGHTED, fold, keras_names, kind_of
from hsi.deploy.differentiable.operators import OPERATORS
from hsi.errors import ModelError

LOOKED_THROUGH = ("SOFTMAX", "LOGISTIC")
_AFTER_SCORES = ("DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CAST")
"""What may stand between a final softmax and the output."""
_RELUS = ("RELU", "RELU6", "RELU_0_TO_1")
_BUILD_ERRORS = (
    ValueError, TypeError, KeyError, IndexError, AssertionError, AttributeError, ArithmeticError,
    MemoryError, tf.errors.OpError,
)  # fmt: skip
"""What TensorFlow and NumPy raise for shapes and options that do not fit."""


@dataclass(frozen=True)
class Layer:
    """One output of one operator, in the order of execution.

    Attributes:
        name: of the tensor, as `DifferentiableModel.tensors` has it.
        kind: the operator's builtin name.
        shape: of the output; None for the batch and whatever else is free.
        keras_layers: the Keras layers whose names the converter left in the operator's weights
            and output, the weights' first; empty in files that name tensors otherwise.
        tensor: its number in the file.
        operator: the operator's number in the file.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    keras_layers: tuple[str, ...]
    tensor: int
    operator: int


class DifferentiableModel:
    """A `.tflite` file that can be called and differentiated. Made by `load`.

    Args:
        graph: what the file holds.
        name: what messages call it.
        output: name or number of the output tensor, where the graph has several.
        relu: replaces every ReLU; it must return max(x, 0) and is free in its gradient.
        rounded: compute what the file computes; else its smooth form, see `smooth`.
        constants: share those of another model of the same graph, which has been tried before.

    Attributes:
        input_shape: of one sample; None where the file leaves an axis free.
        classes: scores per sample (the last axis of the output).
        kind: float32, float16, dynamic, int8, int16x8, uint8, or mixed: integers with weighted
            layers that compute in float.
        layers: the outputs of all operators.
        tensors: names of all computed tensors with their shapes, the input's first.
        relus: how many ReLUs there are, fused ones included; `relu` replaces them all.
        rounded: whether values are rounded as the file does it.
        graph: the file's facts, constants unfolded.
        names: of all the file's tensors, by their numbers, made unique.
        output: number of the output tensor.

    Raises:
        ModelError: an operator that is not known, several inputs, or a graph that does not fit
            together.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        name: str = "model",
        output: str | int | None = None,
        relu: Relu | None = None,
        rounded: bool = True,
        constants: Constants | None = None,
    ) -> None:
        self._name, self._relu, self.rounded = name, relu, rounded
        _check_known(graph, name)
        self.kind = kind_of(graph)
        self.graph = graph = fold(graph)
        self._constants = constants or Constants()
        self.names = _unique_names(graph)
        self._input = graph.tensors[_only(graph.inputs, name, "input")]
        self._output = self._choose_output(output)
        self.output = self._output.index
        self.input_shape = _free(self._input)[1:]
        self.classes = (self._output.shape or (1,))[-1]
        self.layers = self._layers()
        self.tensors = {self.names[self._input.index]: _free(self._input)} | {
            layer.name: layer.shape for layer in self.layers
        }
        self.relus = sum(_has_relu(op.kind, op.options) for op in graph.operators)
        self._functions: dict[Any, Callable[[tf.Tensor], Any]] = {}
        if constants is None:
            # traced now, so that a file that does not fit together is refused here and not later
            self._function(("scores",)).get_concrete_function(self._spec)

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """(n, ...) float32 -> (n, classes) scores in real units, differentiable.

        Raises:
            ModelError: samples of another shape.
        """
        return self._function(("scores",))(self._checked(inputs))

    def logits(self, inputs: tf.Tensor) -> tf.Tensor:
        """(n, ...) float32 -> what goes into the final softmax or sigmoid; else the scores.

        Logits beyond the range that the file was calibrated for are clipped, as the file does, but
        keep their gradient: the class that is surest would else have none.
        """
        return self._function(("logits",))(self._checked(inputs))

    def activations(
        self, inputs: tf.Tensor, names: Sequence[str | int]
    ) -> dict[str | int, tf.Tensor]:
        """Values of tensors in real units, by name or by number in the file.

        Raises:
            ModelError: no such tensor (the closest names are listed), or samples of another shape.
        """
        wanted = tuple(self.tensor_index(name) for name in names)
        found = self._function(("activations", *wanted))(self._checked(inputs))
        return dict(zip(names, found, strict=True))

    def evaluate(
        self, inputs: tf.Tensor, tensors: Sequence[str | int] = (), *, answers: bool = False
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Logits (n, classes) and tensors of one evaluation that is not compiled.

        A tape can therefore differentiate the logits with respect to the tensors. In a function
        that is compiled around it nothing is computed twice.

        Args:
            inputs: (n, ...) float32.
            tensors: by name or number.
            answers: what the model answers instead of the logits, softmax included; otherwise a
                final softmax hands its input on, also where it is among the tensors.

        Raises:
            ModelError: no such tensor, or samples of another shape.
        """
        wanted = [self.tensor_index(name) for name in tensors]
        through, last = (
            (frozenset[int](), -1) if answers else (self.through(), self._logits_operator())
        )
        values = self._evaluate(self._checked(inputs), through, last)
        return self._value(values, self.output), [self._value(values, i) for i in wanted]

    def with_relu(self, relu: Relu | None) -> DifferentiableModel:
        """The same model with another gradient of every ReLU; weights are shared."""
        return self._like(relu=relu, rounded=self.rounded)

    def smooth(self) -> DifferentiableModel:
        """The same file without the rounding of its activations; weights are shared.

        Weights stay as they are stored and values are clipped to the ranges that the file was
        calibrated for, but not rounded to their grids; the logits are not clipped either. This is
        the function whose gradient the model has, so it can be integrated.
        """
        return self._like(relu=self._relu, rounded=False)

    def _like(self, *, relu: Relu | None, rounded: bool) -> DifferentiableModel:
        return DifferentiableModel(
            self.graph,
            name=self._name,
            output=self.output,
            relu=relu,
            rounded=rounded,
            constants=self._constants,
        )._of_kind(self.kind)

    def _of_kind(self, kind: str) -> DifferentiableModel:
        self.kind = kind
        return self

    @property
    def _spec(self) -> tf.TensorSpec:
        return tf.TensorSpec((None, *self.input_shape), tf.float32)

    def _checked(self, inputs: tf.Tensor) -> tf.Tensor:
        inputs = tf.convert_to_tensor(inputs)
        inputs = inputs if inputs.dtype == tf.float32 else tf.cast(inputs, tf.float32)
        if not self._spec.shape.is_compatible_with(inputs.shape):
            raise ModelError(
                f"{self._name}: expected samples of shape {self.input_shape}, as the model was "
                f"made for, got {tuple(inputs.shape[1:])}."
            )
        return inputs

    def _function(self, key: tuple[Any, ...]) -> Any:
        """The compiled function of that purpose, traced once for all batch sizes."""
        if key not in self._functions:
            purpose, *wanted = key

            def function(inputs: tf.Tensor) -> Any:
                if purpose == "activations":
                    values = self._evaluate(inputs)
                    return [self._value(values, index) for index in wanted]
                if purpose == "logits":
                    values = self._evaluate(inputs, self.through(), self._logits_operator())
                else:
                    values = self._evaluate(inputs)
                return self._value(values, self._output.index)

            self._functions[key] = tf.function(
                function, input_signature=[self._spec], autograph=False
            )
        return self._functions[key]

    def _value(self, values: dict[int, tf.Tensor], index: int) -> tf.Tensor:
        if index not in values:
            raise ModelError(f"{self._name}: tensor {index} is never computed.")
        return values[index]

    def _evaluate(
        self, inputs: tf.Tensor, through: frozenset[int] = frozenset(), open_ended: int = -1
    ) -> dict[int, tf.Tensor]:
        """Every computed tensor; operators in `through` hand their first input on.

        The gradient of the operator `open_ended` is not cut where its output is clipped.
        """
        values = {self._input.index: _as_input(inputs, self._input, rounded=self.rounded)}
        batch = tf.shape(inputs)[0]
        for operator in self.graph.operators:
            call = Call(
                operator,
                self.graph,
                values,
                constants=self._constants,
                batch=batch,
                relu=self._relu,
                open_ended=operator.index == open_ended,
                rounded=self.rounded,
            )
            if all(self.graph.tensors[i].data is not None for i in operator.outputs):
                continue
            try:
                found = (
                    call.value(0) if operator.index in through else OPERATORS[operator.kind](call)
                )
                outputs = found if isinstance(found, list) else [found]
                for index, value in zip(operator.outputs, outputs, strict=True):
                    values[index] = _checked_shape(value, self.graph.tensors[index])
            except ModelError as error:
                raise ModelError(f"{self._name}: {error}") from error
            except _BUILD_ERRORS as error:
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise ModelError(
                    f"{self._name}: {operator.label} does not fit its inputs: {first}"
                ) from error
        return values

    def through(self) -> frozenset[int]:
        """Numbers of the operators that `logits` looks through; none where there is no softmax.

        They are a final softmax or sigmoid and the number formats behind it.
        """
        made_by = {i: op for op in self.graph.operators for i in op.outputs}
        passed: list[int] = []
        index = self._output.index
        while index in made_by:
            operator = made_by[index]
            if operator.kind in LOOKED_THROUGH:
                return frozenset([*passed, operator.index])
            if operator.kind not in _AFTER_SCORES:
                break
            if operator.kind in ("DEQUANTIZE", "QUANTIZE"):
                passed.append(operator.index)
            index = operator.inputs[0]
        return frozenset()

    def _logits_operator(self) -> int:
        """The operator that computes the logits: what stands behind it only passes them on."""
        made_by = {i: op for op in self.graph.operators for i in op.outputs}
        through, index = self.through(), self._output.index
        while index in made_by:
            operator = made_by[index]
            if operator.index not in through and operator.kind not in _AFTER_SCORES:
                return operator.index
            index = operator.inputs[0]
        return -1

    def _choose_output(self, output: str | int | None) -> Tensor:
        if output is not None:
            return self.graph.tensors[self.tensor_index(output)]
        if len(self.graph.outputs) != 1:
            names = ", ".join(repr(self.names[i]) for i in self.graph.outputs)
            raise ModelError(
                f"{self._name}: expected one output, got {len(self.graph.outputs)}; "
                f"choose with output=, one of {names or 'none'}."
            )
        return self.graph.tensors[self.graph.outputs[0]]

    def tensor_index(self, name: str | int) -> int:
        """The number of a computed tensor.

        Raises:
            ModelError: no such tensor; the closest names are listed.
        """
        computed = {self.names[t.index]: t.index for t in self.graph.tensors if t.data is None}
        if isinstance(name, int):
            if name in computed.values():
                return name
        elif name in computed:
            return computed[name]
        close = difflib.get_close_matches(str(name), computed, n=3, cutoff=0.3)
        raise ModelError(
            f"{self._name}: no computed tensor {name!r}; the closest of {len(computed)}: "
            f"{', '.join(map(repr, close)) or 'none'}."
        )

    def _layers(self) -> tuple[Layer, ...]:
        tensors, found = self.graph.tensors, []
        for operator in self.graph.operators:
            weights = [
                tensors[i].name
                for i in operator.inputs[1:]
                if i >= 0 and operator.kind in WEIGHTED and tensors[i].data is not None
            ]
            for index in operator.outputs:
                tensor = tensors[index]
                if tensor.data is None:
                    names = keras_names([*weights, tensor.name])
                    row = (self.names[index], operator.kind, _free(tensor), names)
                    found.append(Layer(*row, index, operator.index))
        return tuple(found)


def _check_known(graph: Graph, name: str) -> None:
    for operator in graph.operators:
        if operator.kind not in OPERATORS:
            raise ModelError(
                f"{name}: {operator.label} has no differentiable form; known are "
                f"{', '.join(sorted(OPERATORS))}."
            )


def _only(indices: tuple[int, ...], name: str, what: str) -> int:
    if len(indices) != 1:
        raise ModelError(f"{name}: expected one {what}, got {len(indices)}.")
    return indices[0]


def _free(tensor: Tensor) -> tuple[int | None, ...]:
    """A recorded shape with None for the batch and for what the file leaves free."""
    sizes = zip(tensor.shape, tensor.signature, strict=True)
    return tuple(None if i == 0 or s < 0 or n < 0 else n for i, (n, s) in enumerate(sizes))


def _unique_names(graph: Graph) -> tuple[str, ...]:
    """Names of all tensors; where one is empty or taken, its number is added."""
    taken: set[str] = set()
    found = []
    for tensor in graph.tensors:
        name = tensor.name
        if not name or name in taken:
            name = f"{name}#{tensor.index}"
        taken.add(name)
        found.append(name)
    return tuple(found)


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


def _has_relu(kind: str, options: Any) -> bool:
    return kind in _RELUS or ACTIVATIONS.get(options.get("fusedActivationFunction", 0)) in _RELUS
