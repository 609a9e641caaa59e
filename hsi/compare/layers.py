"""Layer by layer: what two forms of one network answer inside, where their layers correspond.

Layers correspond that have one name and one shape: every layer of a Keras model that its `.tflite`
file still computes as one. What the converter fused (a convolution with the batch norm and ReLU
behind it) has no map of its own there and is compared by what comes out of the step. Where two
layers without an activation follow each other the converter adds the first one's bias in the second
(W2 (W1 x + b1) + b2 = W2 W1 x + b); the first is then compared without its bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hsi.deploy.differentiable.flatbuffer import Graph, read
from hsi.deploy.differentiable.kinds import WEIGHTED, fold, unique_names
from hsi.deploy.lite.steps import FORMATS, Step, named, steps_of
from hsi.deploy.variant import TFLITE, Variant
from hsi.errors import ModelError

AT_ONCE = 64
"""Samples whose activations are in memory together."""


@dataclass(frozen=True)
class LayerDifference:
    """How far apart a layer of two networks is, over samples, positions and channels.

    Attributes:
        layer: its name in both.
        kind: its type in the first.
        largest, mean: of the magnitudes of second less first, in real units.
        range: largest less least value of the first.
        step: one quantization step of the layer, in real units, where one of the files rounds it
            to whole numbers; the coarser one's where both do. None where neither does.
    """

    layer: str
    kind: str
    largest: float
    mean: float
    range: float
    step: float | None = None

    @property
    def relative(self) -> float:
        """The largest difference as a share of the range; 0 where nothing differs."""
        return self.largest / self.range if self.range > 0 else float(self.largest > 0)

    @property
    def largest_steps(self) -> float | None:
        """The largest difference in quantization steps."""
        return self.largest / self.step if self.step else None

    @property
    def mean_steps(self) -> float | None:
        """The mean difference in quantization steps."""
        return self.mean / self.step if self.step else None


@dataclass(frozen=True)
class LayerDifferences:
    """The layers of two networks.

    Attributes:
        layers: those that correspond, in the order of execution.
        fused: layer of the first -> the layer of the second that computes it in one step with
            others.
        alone: layers of the first that the second does not have by that name and shape.
        unbiased: layers that are compared without a bias, which one of the files adds further on.
        samples: how many were compared.
    """

    layers: tuple[LayerDifference, ...]
    fused: Mapping[str, str]
    alone: tuple[str, ...]
    unbiased: tuple[str, ...]
    samples: int

    @property
    def worst(self) -> LayerDifference:
        """The layer with the largest difference, in steps where every layer has them."""
        if all(layer.step for layer in self.layers):
            return max(self.layers, key=lambda layer: layer.largest_steps or 0)
        return max(self.layers, key=lambda layer: layer.relative)


def layer_differences(
    first: Variant,
    second: Variant,
    inputs: np.ndarray,
    *,
    second_inputs: np.ndarray | None = None,
) -> LayerDifferences:
    """Compare the layers of two networks that have the same name and shape; loads TensorFlow.

    Args:
        first, second: two forms of one network.
        inputs: (n, rows, cols, channels), as the first takes them.
        second_inputs: the same samples as the second takes them, in the same shape; None where
            both take the same.

    Raises:
        ModelError: no layer corresponds, or a network that does not show its layers.
        SettingsError: no samples.
    """
    its_inputs = inputs if second_inputs is None else second_inputs
    kinds, fused, alone = _corresponding(first, second, inputs.shape[1:])
    if not kinds:
        raise ModelError(
            f"{second.path}: no layer has the name and the shape of one of {first.path}; layers "
            "are compared between a network and its own converted file."
        )
    largest, total, count = (np.zeros(len(kinds)) for _ in range(3))
    least, most = np.full(len(kinds), np.inf), np.full(len(kinds), -np.inf)
    moved = moved_biases(first, second), moved_biases(second, first)
    for start in range(0, len(inputs), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        pairs = zip(
            first.activations(inputs[some], list(kinds)),
            second.activations(its_inputs[some], list(kinds)),
            strict=True,
        )
        for i, (mine, its) in enumerate(pairs):
            apart = its.array.astype(np.float64) - mine.array
            apart = np.abs(apart + moved[0].get(mine.layer, 0) - moved[1].get(mine.layer, 0))
            largest[i] = max(largest[i], apart.max())
            total[i] += apart.sum()
            count[i] += apart.size
            least[i] = min(least[i], mine.array.min())
            most[i] = max(most[i], mine.array.max())
    steps = _coarser(first.path, second.path)
    rows = zip(kinds.items(), largest, total / count, most - least, strict=True)
    found = tuple(
        LayerDifference(name, kind, float(far), float(mean), float(span), steps.get(name))
        for (name, kind), far, mean, span in rows
    )
    unbiased = tuple(name for name in kinds if name in moved[0] or name in moved[1])
    return LayerDifferences(found, fused, alone, unbiased, len(inputs))


def moved_biases(network: Variant, converted: Variant) -> dict[str, np.ndarray]:
    """Layer of a Keras model -> its bias, where a converted file adds that further on.

    It does so where the layer has no activation, and the file computes it without a bias.
    """
    if network.path.suffix.lower() == TFLITE or converted.path.suffix.lower() != TFLITE:
        return {}
    from hsi.explain.walk import all_nodes

    bare = _without_bias(converted.path)
    found = {}
    for name, node in all_nodes(network.network):
        bias = getattr(node.layer, "bias", None)
        activation = getattr(getattr(node.layer, "activation", None), "__name__", "")
        if name in bare and bias is not None and activation == "linear":
            found[name] = bias.numpy().astype(np.float64)
    return found


def quantization_steps(path: str | Path) -> dict[str, float]:
    """Layer -> one step of the whole numbers that a `.tflite` file writes its output in.

    Layers in float are left out; TensorFlow is not needed.

    Raises:
        ModelError: missing, no TensorFlow Lite file, damaged, or with control flow.
    """
    graph = fold(read(path))
    steps = [step for step in steps_of(graph) if step.tensor >= 0]
    names = named(steps, unique_names(graph))
    found = {names[step.tensor][0]: _step_of(step, graph) for step in steps}
    return {name: size for name, size in found.items() if size is not None}


def output_step(path: str | Path) -> float | None:
    """One step of what a file answers, where it rounds that; None in float.

    Raises:
        ModelError: as `quantization_steps`.
    """
    if Path(path).suffix.lower() != TFLITE:
        return None
    graph = fold(read(path))
    made_by = {i: op for op in graph.operators for i in op.outputs}
    index = graph.outputs[0]
    while index in made_by and made_by[index].kind in FORMATS and made_by[index].inputs:
        tensor = graph.tensors[index]
        if tensor.quantized and tensor.quantization is not None:
            break
        index = made_by[index].inputs[0]
    grid = graph.tensors[index].quantization if graph.tensors[index].quantized else None
    return float(grid.scale) if grid is not None else None


_BIAS = {"TRANSPOSE_CONV": 3}
"""Which input of an operator with weights is its bias, where that is not its input 2."""


def _without_bias(path: Path) -> set[str]:
    """Layers of a `.tflite` file that are one operator with weights and no bias."""
    graph = fold(read(path))
    steps = [step for step in steps_of(graph) if step.tensor >= 0]
    names = named(steps, unique_names(graph))
    found = set()
    for step in steps:
        computing = [op for op in step.operators if op.kind not in FORMATS]
        if len(computing) != 1 or computing[0].kind not in WEIGHTED:
            continue
        place = _BIAS.get(computing[0].kind, 2)
        if not any(i >= 0 for i in computing[0].inputs[place:]):
            found.add(names[step.tensor][0])
    return found


def _step_of(step: Step, graph: Graph) -> float | None:
    """Of the tensor that a layer answers, before a change of number format at its end."""
    index = step.tensor
    for operator in reversed(step.operators):
        tensor = graph.tensors[index]
        if tensor.quantized and tensor.quantization is not None:
            return float(tensor.quantization.scale)
        if operator.kind not in FORMATS:
            return None
        index = operator.inputs[0]
    return None


def _coarser(*paths: Path) -> dict[str, float]:
    """Layer -> the largest step that one of the files has for it."""
    found: dict[str, float] = {}
    for path in paths:
        if path.suffix.lower() == TFLITE:
            for name, size in quantization_steps(path).items():
                found[name] = max(size, found.get(name, 0.0))
    return found


def _corresponding(
    first: Variant, second: Variant, sample_shape: tuple[int, ...]
) -> tuple[dict[str, str], dict[str, str], tuple[str, ...]]:
    """Layers of both -> their kind in the first; fused ones -> into which; those of the first."""
    from hsi.explain.keras_layers import layered_of
    from hsi.explain.score import answers_of

    mine, its = (
        layered_of(answers_of(variant.score), method="comparing layers").describe(sample_shape)
        for variant in (first, second)
    )
    shapes = {info.name: info.shape for info in its}
    inside = {alias: info.name for info in its for alias in info.aliases}
    kinds = {info.name: info.kind for info in mine if shapes.get(info.name) == info.shape}
    left = [info.name for info in mine if info.name not in kinds]
    fused = {name: inside[name] for name in left if inside.get(name) in kinds}
    return kinds, fused, tuple(name for name in left if name not in fused)
