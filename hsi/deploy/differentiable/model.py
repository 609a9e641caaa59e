"""The graph of a `.tflite` file as a differentiable TensorFlow function."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from hsi.deploy.differentiable.call import ACTIVATIONS, Constants, Relu
from hsi.deploy.differentiable.evaluation import evaluate
from hsi.deploy.differentiable.flatbuffer import Graph, Tensor
from hsi.deploy.differentiable.kinds import fold, free_shape, kind_of, layers_of, unique_names
from hsi.deploy.differentiable.logits import logits_operator, looked_through
from hsi.deploy.differentiable.operators import OPERATORS, ordered
from hsi.errors import ModelError

_RELUS = ("RELU", "RELU6", "RELU_0_TO_1")


class DifferentiableModel:
    """A `.tflite` file that can be called and differentiated. Made by `load`.

    Args:
        graph: what the file holds.
        name: what messages call it.
        output: name or number of the output tensor, where the graph has several.
        relu: replaces every ReLU; it must return max(x, 0) and is free in its gradient.
        rounded: compute what the file computes; else its smooth form, see `smooth`.
        exact: sum float products in the interpreter's order, see `load`.
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
        exact: bool | None = None,
        constants: Constants | None = None,
    ) -> None:
        self._name, self._relu, self.rounded = name, relu, rounded
        _check_known(graph, name)
        self.kind = kind_of(graph)
        self._exact = True if self.kind == "dynamic" else exact
        self.graph = graph = fold(graph)
        self._constants = constants or Constants()
        self.names = unique_names(graph)
        self._input = graph.tensors[_only(graph.inputs, name, "input")]
        self._output = self._choose_output(output)
        self.output = self._output.index
        self.input_shape = free_shape(self._input)[1:]
        self.classes = (self._output.shape or (1,))[-1]
        self.layers = layers_of(graph, self.names)
        self.tensors = {self.names[self._input.index]: free_shape(self._input)} | {
            layer.name: layer.shape for layer in self.layers
        }
        self.relus = sum(_has_relu(op.kind, op.options) for op in graph.operators)
        self._functions: dict[Any, Callable[[tf.Tensor], Any]] = {}
        if constants is None:
            # traced now, so that a file that does not fit together is refused here and not later;
            # and the logits, since most of what is asked of a file begins with them
            self._function(("logits",)).get_concrete_function(self._spec)

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
        self,
        inputs: tf.Tensor,
        tensors: Sequence[str | int] = (),
        *,
        answers: bool = False,
        rows: Mapping[int, int] | None = None,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Logits (n, classes) and tensors of one evaluation that is not compiled.

        A tape can therefore differentiate the logits with respect to the tensors. In a function
        that is compiled around it nothing is computed twice.

        Args:
            inputs: (n, ...) float32.
            tensors: by name or number.
            answers: what the model answers instead of the logits, softmax included; otherwise a
                final softmax hands its input on, also where it is among the tensors.
            rows: tensor -> rows of a sample in its first axis, which gets an axis of its own.

        Raises:
            ModelError: no such tensor, or samples of another shape.
        """
        wanted = [self.tensor_index(name) for name in tensors]
        values = self._evaluate(
            self._checked(inputs), logits=not answers, rows=rows, exact=bool(self._exact)
        )
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
            exact=self._exact,
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
                exact = self._exact
                if exact is None:
                    exact = purpose in ("scores", "activations") and ordered.is_kept()
                values = self._evaluate(inputs, logits=purpose == "logits", exact=exact)
                if purpose == "activations":
                    return [self._value(values, index) for index in wanted]
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
        self,
        inputs: tf.Tensor,
        *,
        logits: bool = False,
        rows: Mapping[int, int] | None = None,
        exact: bool,
    ) -> dict[int, tf.Tensor]:
        """Every computed tensor; the output is the logits, or the scores."""
        return evaluate(
            self.graph,
            inputs,
            constants=self._constants,
            name=self._name,
            relu=self._relu,
            rounded=self.rounded,
            exact=exact and self.rounded,
            through=self.through() if logits else (),
            open_ended=logits_operator(self.graph, self.output) if logits else -1,
            rows=rows,
        )

    def through(self) -> frozenset[int]:
        """Numbers of the operators that `logits` looks through; none where there is no softmax."""
        return looked_through(self.graph, self.output)

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


def _has_relu(kind: str, options: Any) -> bool:
    return kind in _RELUS or ACTIVATIONS.get(options.get("fusedActivationFunction", 0)) in _RELUS
