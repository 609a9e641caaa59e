"""The graph and the kernels of a `.tflite` file, whether or not its operators are all known.

What `hsi.explain.model_graph` and `hsi.explain.filters` are for Keras models. Layers are put
together and named as in `hsi.deploy.lite.layers`: by the Keras layers that they come from, where
the file says so.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsi.deploy.differentiable.flatbuffer import Graph, Operator, Tensor, read
from hsi.deploy.differentiable.kinds import fold, free_shape, unique_names
from hsi.deploy.lite.steps import Step, named, steps_of
from hsi.explain.layered import LayerInfo
from hsi.explain.model_graph import Node

_KERAS_AXES: dict[str, tuple[int, ...]] = {
    "CONV_2D": (1, 2, 3, 0),
    "CONV_3D": (0, 1, 2, 3, 4),
    "DEPTHWISE_CONV_2D": (1, 2, 3, 0),
    "FULLY_CONNECTED": (1, 0),
    "TRANSPOSE_CONV": (1, 2, 0, 3),
}
"""Operators with a kernel (their input 1), and its axes in the order that Keras has."""


def lite_graph(path: str | Path) -> list[Node]:
    """The nodes of a `.tflite` file, its inputs first, then its layers as they are executed.

    `kind` names the operators of a layer, `parameters` counts the numbers of its weights in
    whatever format, each with the first node that reads it.

    Raises:
        ModelError: missing, no TensorFlow Lite file, damaged, or with control flow.
    """
    graph, steps, names = _opened(path)
    tensors = graph.tensors
    inputs = {i: tensors[i].name or f"input {i}" for i in graph.inputs}
    found = [Node(name, "input", free_shape(tensors[i])[1:], 0, ()) for i, name in inputs.items()]
    made_by = dict(inputs)
    counted: set[int] = set()
    for step in steps:
        name = names[step.tensor][0]
        read_by_it = {i for op in step.operators for i in op.inputs if i >= 0}
        weights = [tensors[i] for i in sorted(read_by_it - counted) if _is_weight(tensors[i])]
        counted |= read_by_it
        found.append(
            Node(
                name,
                step.kind,
                free_shape(tensors[step.tensor])[1:],
                sum(tensor.data.size for tensor in weights if tensor.data is not None),
                tuple(dict.fromkeys(made_by[i] for i in step.inputs if i in made_by)),
            )
        )
        made_by.update({i: name for op in step.operators for i in op.outputs})
    return found


class LiteKernels:
    """`hsi.explain.filters.HasKernels` of a `.tflite` file, integers in real units.

    Args:
        path: the file.

    Raises:
        ModelError: missing, no TensorFlow Lite file, damaged, or with control flow.
    """

    def __init__(self, path: str | Path) -> None:
        self._graph, steps, self._names = _opened(path)
        self._steps = {self._names[step.tensor][0]: step for step in steps}

    def kernel_layers(self) -> list[LayerInfo]:
        """All layers in the order of execution."""
        return [
            LayerInfo(
                name,
                step.kind,
                free_shape(self._graph.tensors[step.tensor])[1:],
                convolution="CONV" in step.kind,
                aliases=tuple(self._names[step.tensor][1:]),
            )
            for name, step in self._steps.items()
        ]

    def kernel(self, name: str) -> np.ndarray | None:
        """The (first) kernel of a layer, float32 in Keras' order of axes; None without one."""
        for operator in self._steps[name].operators:
            tensor = self._kernel_of(operator)
            if tensor is not None and tensor.data is not None:
                values = tensor.data
                if tensor.quantized and tensor.quantization is not None:
                    values = tensor.quantization.real(values)
                return self._as_keras(operator, values.astype(np.float32))
        return None

    def _kernel_of(self, operator: Operator) -> Tensor | None:
        if operator.kind not in _KERAS_AXES or len(operator.inputs) < 2:
            return None
        tensor = self._graph.tensors[operator.inputs[1]]
        return tensor if len(tensor.shape) == len(_KERAS_AXES[operator.kind]) else None

    def _as_keras(self, operator: Operator, kernel: np.ndarray) -> np.ndarray:
        kernel = kernel.transpose(_KERAS_AXES[operator.kind])
        if operator.kind == "DEPTHWISE_CONV_2D":  # its channels and multiples lie on one axis
            channels = self._graph.tensors[operator.inputs[0]].shape[-1]
            kernel = kernel.reshape(*kernel.shape[:2], channels, -1)
        return kernel


def _opened(path: str | Path) -> tuple[Graph, list[Step], dict[int, list[str]]]:
    """The graph with its constants unfolded, its layers, and what their tensors are called."""
    graph = fold(read(path))
    steps = [step for step in steps_of(graph) if step.tensor >= 0]
    return graph, steps, named(steps, unique_names(graph))


def _is_weight(tensor: Tensor) -> bool:
    """Whether it holds numbers to compute with; axes and shapes are plain integers."""
    return tensor.data is not None and (tensor.quantized or tensor.dtype.startswith("float"))
