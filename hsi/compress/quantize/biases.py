"""Biases of a file of integers: as they have to be stored, and stored again where they are not.

A kernel sums products of levels of the input and levels of the weights, so the bias that it adds
is read in steps of input scale x weight scale of the channel, whatever scale the file gives it
(TensorFlow Lite, "8-bit quantization specification").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hsi.deploy.differentiable.flatbuffer import Graph, Tensor, parse
from hsi.deploy.differentiable.kinds import WEIGHTED, keras_names
from hsi.errors import ModelError

_LARGEST = 2.0**30
"""Levels of a bias that we store; ai-edge-quantizer and most chips have 32 bits for it."""
_ROUNDING = 1e-3
"""By which part scales that should be equal may differ."""


@dataclass(frozen=True)
class _Sum:
    """A weighted operator of integers with a constant bias.

    Attributes:
        place: which one it is among the file's weighted operators.
        steps: scales of its input and kernel, multiplied: (channels,) or (1,).
    """

    place: int
    kernel: Tensor
    bias: Tensor
    steps: np.ndarray
    input_scale: float

    @property
    def layer(self) -> str:
        """How messages name it."""
        return ", ".join(keras_names([self.kernel.name])) or self.kernel.label


def check_bias_scales(content: bytes, *, what: str) -> None:
    """Refuse a file whose kernels would add other biases than it says.

    Args:
        content: bytes of a `.tflite` file in any mode; those of float have nothing to check.
        what: begins the message: what was converted, and how.

    Raises:
        ModelError: a bias that is not 0 has another scale than its kernel's sums.
    """
    for found in _sums(parse(content)):
        grid, levels = found.bias.quantization, found.bias.data
        if grid is None or levels is None:
            continue
        apart = np.abs(grid.scales / np.maximum(found.steps, np.finfo(np.float32).tiny) - 1)
        worst = np.max(apart * (levels.reshape(-1) != 0), initial=0)
        if worst > _ROUNDING:
            raise ModelError(
                f"{what}: expected the bias of {found.layer} in steps of its sums, but the "
                f"converter stored it in steps that are {100 * worst:.2g} % off, so the file would "
                "be another network; quantize in another mode, or without training for it."
            )


def keep_biases(content: bytes, original: bytes) -> bytes:
    """The file with the biases that its kernels' scales are too fine to hold.

    A channel whose weights are all (next to) zero gets a scale of about 1e-11 from
    ai-edge-quantizer, in which its bias is more levels than 32 bits hold. Its scale becomes as
    coarse as the bias needs: what the weights lose is under a step of the result.

    Args:
        content: bytes of a file of integers with one graph.
        original: bytes of the float32 file that it was made of.

    Raises:
        ModelError: a bias that cannot be stored.
    """
    wanted = _biases(parse(original))
    known = _sums(parse(content))
    found = [one for one in known if one.place in wanted and one.kernel.data is not None]
    scales = _coarser(found, wanted)
    if not scales:
        return content
    changed = bytearray(content)
    for index, values in scales.items():
        of_kernel = [s for s in found if s.kernel.index == index]
        _store_kernel(changed, of_kernel[0].kernel, values)
        for one in of_kernel:
            _store_bias(changed, one, values, wanted[one.place])
    _check_biases(bytes(changed), wanted)
    return bytes(changed)


def _operands(graph: Graph) -> Iterator[tuple[int, list[Tensor]]]:
    """Place, and [input, kernel, bias], of every weighted operator that has a constant bias."""
    weighted = [operator for operator in graph.operators if operator.kind in WEIGHTED]
    for place, operator in enumerate(weighted):
        order = (2, 1, 3) if operator.kind == "TRANSPOSE_CONV" else (0, 1, 2)
        if len(operator.inputs) > order[2] and operator.inputs[order[2]] >= 0:
            tensors = [graph.tensors[operator.inputs[i]] for i in order]
            if tensors[2].data is not None:
                yield place, tensors


def _sums(graph: Graph) -> Iterator[_Sum]:
    """The weighted operators of integers that add a constant bias."""
    for place, (x, kernel, bias) in _operands(graph):
        if x.quantization is not None and kernel.quantization is not None:
            scale = float(x.quantization.scale)
            yield _Sum(place, kernel, bias, scale * kernel.quantization.scales.astype(float), scale)


def _biases(graph: Graph) -> dict[int, np.ndarray]:
    """Place of a weighted operator of a float file -> its bias (channels,)."""
    return {
        place: bias.data.reshape(-1).astype(float)
        for place, (_, _, bias) in _operands(graph)
        if bias.data is not None
    }


def _coarser(sums: Sequence[_Sum], wanted: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Number of a kernel -> its scales, where they have to become coarser for a bias."""
    scales: dict[int, np.ndarray] = {}
    for one in sums:
        known = scales.get(one.kernel.index, one.steps / one.input_scale)
        needed = np.abs(wanted[one.place]) / (_LARGEST * one.input_scale)
        needed = needed.max(keepdims=True) if len(known) == 1 else needed
        if np.any(needed > known):
            scales[one.kernel.index] = np.maximum(known, needed)
    return scales


def _store_kernel(content: bytearray, kernel: Tensor, scales: np.ndarray) -> None:
    """Write the kernel in coarser steps; the levels of channels that keep theirs stay."""
    grid, levels = kernel.quantization, kernel.data
    assert grid is not None
    assert levels is not None
    shrink = grid.along(grid.scales / np.maximum(scales, grid.scales), levels.ndim)
    stored, steps = _views(content, kernel.index, np.int8)
    stored[:] = np.round(levels * shrink).reshape(-1)
    steps[:] = scales


def _store_bias(content: bytearray, one: _Sum, scales: np.ndarray, bias: np.ndarray) -> None:
    """Write the bias in the steps of the kernel's new scales, where these are new."""
    stored, steps = _views(content, one.bias.index, np.dtype(one.bias.dtype).type)
    exact = one.input_scale * scales.astype(np.float32)
    coarser = exact > one.steps * (1 + _ROUNDING)
    steps[:] = np.where(coarser, exact, steps)
    stored[:] = np.where(coarser, np.round(bias / exact), stored)


def _views(content: bytearray, index: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Values and scales of a constant, as arrays over the bytes of the file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    tensor = model.Subgraphs(0).Tensors(index)
    values = model.Buffers(tensor.Buffer()).DataAsNumpy()
    return values.view(dtype), tensor.Quantization().ScaleAsNumpy()


def _check_biases(content: bytes, wanted: Mapping[int, np.ndarray]) -> None:
    """Every bias must be there to a step: two kernels may have shared what was written."""
    for one in _sums(parse(content)):
        levels, bias = one.bias.data, wanted.get(one.place)
        if levels is None or bias is None:
            continue
        if np.any(np.abs(levels.reshape(-1) * one.steps - bias) > one.steps + 1e-5 * np.abs(bias)):
            raise ModelError(
                f"the bias of {one.layer} cannot be stored: its weights are next to zero, and it "
                "shares them or the bias with another layer; choose int8."
            )
