"""The layers of a `.tflite` file, for the explanation methods that look into a network.

What `hsi.explain.keras_layers` is for Keras models: the same names where the converter left them,
the same maps in one evaluation, the same rules for what belongs to a convolution. A convolution
that the converter fused with its batch norm and ReLU has only the map behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import tensorflow as tf

from hsi.deploy.differentiable import load
from hsi.deploy.differentiable.call import ACTIVATIONS
from hsi.deploy.differentiable.flatbuffer import Operator
from hsi.deploy.differentiable.kinds import WEIGHTED
from hsi.deploy.differentiable.model import DifferentiableModel
from hsi.deploy.lite.input_axes import taken_axes
from hsi.deploy.lite.planes import rows_of
from hsi.deploy.lite.steps import FORMATS, Step, named, steps_of
from hsi.deploy.lite.windows import CONVOLUTIONS, Shapes, window_of
from hsi.explain.channel_axis import ChannelAxes
from hsi.explain.layered import LayerInfo, Relu
from hsi.explain.score import OUTPUT_ITSELF, Score

_ACTIVATIONS = (
    "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "LEAKY_RELU", "PRELU", "ELU", "GELU",
    "HARD_SWISH", "LOGISTIC", "TANH",
)  # fmt: skip
_SHOWN = (*_ACTIVATIONS, "SOFTMAX", "LOG_SOFTMAX", *WEIGHTED)
_AFTER = (*_ACTIVATIONS, "MUL", "ADD", "SUB", "DIV", *FORMATS)
"""What belongs to the convolution before it, if that is all it reads: a batch norm, for one."""

_MERGES = ("ADD", "ADD_N", "CONCATENATION")

_TRIED = 2
"""Samples that layers are traced with, to see which tensors hold a row for each of them."""

_FLOATS = ("float32", "float16")
"""Kinds of files that round nothing while they run."""


class LiteLayers:
    """`hsi.explain.layered.Layered` of a `.tflite` file, and itself a function to its logits.

    Args:
        model: the file.
        answers: give what the file answers, softmax included, in the place of the logits.
    """

    def __init__(self, model: DifferentiableModel, *, answers: bool = False) -> None:
        self._model, self._answers = model, answers
        self._through = frozenset[int]() if answers else model.through()
        self._steps = steps_of(model.graph, through=self._through)
        self._names = named(self._steps, model.names)
        self._tensors = {n: i for i, names in self._names.items() for n in names}
        self._rows = rows_of(model.graph)
        self._described: dict[tuple[int, ...], list[LayerInfo]] = {}

    @property
    def relus(self) -> int:
        """How many ReLUs `with_relu` replaces, fused ones included."""
        return self._model.relus

    @property
    def unreplaced(self) -> Sequence[str]:
        """None: every ReLU of a file is an operator or fused into one."""
        return ()

    @property
    def against_input(self) -> tuple[str, tuple[int, ...]] | None:
        """See `hsi.explain.channel_axis.ChannelAxes.against`."""
        taken = taken_axes(self._model.graph)
        return ChannelAxes(taken={self._names[i][0]: axes for i, axes in taken.items()}).against

    def with_relu(self, relu: Relu) -> LiteLayers:
        """The same network with `relu` for every ReLU; weights are shared."""
        return LiteLayers(self._model.with_relu(relu), answers=self._answers)

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """(n, ...) float32 -> (n, classes) logits, or what the file answers."""
        return self._model(inputs) if self._answers else self._model.logits(inputs)

    def forward(
        self, inputs: tf.Tensor, names: Sequence[str] = ()
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Logits and the outputs of these layers, in real units, of one evaluation.

        Raises:
            ModelError: no such layer, or samples of another shape.
        """
        wanted = [self._tensors.get(name, name) for name in names]
        return self._model.evaluate(inputs, wanted, answers=self._answers, rows=self._rows)

    def describe(self, sample_shape: tuple[int, ...]) -> list[LayerInfo]:
        """All layers in the order of execution, for samples of this shape.

        Tensors between the operators of one layer go by their own names. What has no row for each
        sample (sizes that the file computes) is left out.
        """
        if sample_shape not in self._described:
            self._described[sample_shape] = self._describe(sample_shape)
        return self._described[sample_shape]

    def _describe(self, sample_shape: tuple[int, ...]) -> list[LayerInfo]:
        graph, shapes = self._model.graph, self._shapes(sample_shape)
        followers = self._followers()
        infos = []
        for step in self._steps:
            if step.tensor not in shapes:
                continue
            for operator in step.operators:
                for i in operator.outputs:
                    if i != step.tensor and i in shapes:
                        infos.append(self._inner_info(operator, i, step, shapes))
            name, *aliases = self._names[step.tensor]
            convolution = any(op.kind in CONVOLUTIONS for op in step.operators)
            activated = _followed(step, followers, shapes, merges=False)
            merged = _followed(step, followers, shapes, merges=True)
            infos.append(
                LayerInfo(
                    name,
                    step.kind,
                    shapes[step.tensor],
                    convolution,
                    self._names[activated.tensor][0],
                    self._names[merged.tensor][0],
                    window_of(graph, step, shapes, self._rows) if convolution else None,
                    self._is_shown(step),
                    tuple(aliases),
                )
            )
        return infos

    def _inner_info(self, operator: Operator, tensor: int, step: Step, shapes: Shapes) -> LayerInfo:
        name, *aliases = self._names[tensor]
        whole = self._names[step.tensor][0]
        return LayerInfo(
            name,
            operator.kind,
            shapes[tensor],
            activated=whole,
            merged=whole,
            aliases=tuple(aliases),
        )

    def _is_shown(self, step: Step) -> bool:
        """Whether it has weights or is an activation."""
        constants = {
            i
            for op in step.operators
            if op.kind in ("MUL", "ADD", "SUB")
            for i in op.inputs
            if i >= 0 and self._model.graph.tensors[i].data is not None
        }
        return bool(constants) or any(
            op.kind in _SHOWN or _fused(op) != "NONE" for op in step.operators
        )

    def _shapes(self, sample_shape: tuple[int, ...]) -> Shapes:
        """Number of each tensor with a row for each sample -> its shape, by tracing them once."""
        tensors = self._model.graph.tensors
        wanted = [i for i in self._names if tensors[i].quantized or tensors[i].dtype in _FLOATS]
        graph = tf.function(
            lambda x: self._model.evaluate(x, wanted, answers=self._answers, rows=self._rows)[1],
            autograph=False,
        ).get_concrete_function(tf.TensorSpec((_TRIED, *sample_shape), tf.float32))
        return {self._model.graph.inputs[0]: sample_shape} | {
            i: tuple(t.shape[1:])
            for i, t in zip(wanted, graph.structured_outputs, strict=True)
            if t.shape.rank and t.shape[0] in (None, _TRIED)
        }

    def _followers(self) -> dict[int, Step]:
        """Tensor that one step alone reads -> that step."""
        readers: dict[int, list[Step]] = {}
        for step in self._steps:
            for i in set(step.inputs):
                readers.setdefault(i, []).append(step)
        return {i: found[0] for i, found in readers.items() if len(found) == 1}


def lite_score(path: str | Path, *, smooth: bool = False) -> Score:
    """The score of a `.tflite` file: its logits, differentiable with respect to the input.

    Args:
        path: the file; float32, float16, dynamic-range, int8, int16x8 or uint8.
        smooth: without the rounding of its activations; see `DifferentiableModel.smooth`.

    Raises:
        ModelError: missing, damaged, or an operator that has no differentiable form (named).
    """
    model = load(path)
    return _score(model.smooth() if smooth else model)


def _score(model: DifferentiableModel, *, answers: bool = False) -> Score:
    return Score(
        LiteLayers(model, answers=answers),
        input_shape=model.input_shape,
        notes=_notes(model),
        smooth=partial(_smooth, model) if model.rounded and model.kind not in _FLOATS else None,
        answers=None if answers else partial(_score, model, answers=True),
    )


def _smooth(model: DifferentiableModel) -> Score:
    return _score(model.smooth())


def _notes(model: DifferentiableModel) -> list[str]:
    """What a reader must know about the score."""
    notes = []
    if not model.through() and not _is_linear(model):
        notes.append(OUTPUT_ITSELF)
    if model.kind == "float16":
        notes.append("the weights are of 16 bits (float16)")
    elif model.kind not in _FLOATS and model.rounded:
        notes.append(
            f"the file computes with whole numbers ({model.kind}): scores are rounded as it "
            "rounds them, and gradients pass straight through"
        )
    elif not model.rounded:
        notes.append(f"the smooth form of a file that computes with whole numbers ({model.kind})")
    return notes


def _is_linear(model: DifferentiableModel) -> bool:
    """Whether the output comes from an operator with weights and no activation: a logit."""
    made_by = {i: op for op in model.graph.operators for i in op.outputs}
    index = model.output
    while index in made_by and made_by[index].kind in (*FORMATS, "RESHAPE", "SQUEEZE"):
        index = made_by[index].inputs[0]
    operator = made_by.get(index)
    return operator is not None and operator.kind in WEIGHTED and _fused(operator) == "NONE"


def _followed(
    step: Step,
    followers: dict[int, Step],
    shapes: Shapes,
    *,
    merges: bool,
) -> Step:
    """The last step of the chain that belongs to `step` and keeps the size of its map."""
    while step.tensor in followers:
        following = followers[step.tensor]
        kinds = {op.kind for op in following.operators}
        after = len(set(following.inputs)) == 1 and kinds <= set(_AFTER)
        merge = merges and bool(kinds & set(_MERGES)) and kinds <= {*_MERGES, *_AFTER}
        if not (after or merge) or following.tensor not in shapes:
            break
        if shapes[following.tensor][:-1] != shapes[step.tensor][:-1]:
            break
        step = following
    return step


def _fused(operator: Operator) -> str:
    """The activation fused into an operator, "NONE" without one."""
    return ACTIVATIONS.get(int(operator.options.get("fusedActivationFunction") or 0), "?")
