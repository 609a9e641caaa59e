"""Running a `.tflite` file in batches, with ai-edge-litert and without TensorFlow."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import ModelError
from hsi.quiet import quiet

MAGIC = b"TFL3"
LARGEST_TENSOR = 2**30
"""Bytes at batch 1; the largest of VGG16, the largest network here, is 411 MB of weights."""


class TFLiteModel:
    """A `.tflite` classifier: call it with a batch, get scores.

    Args:
        path: the file.
        threads: of the interpreter.

    Raises:
        ModelError: missing, damaged, or not one input and one output.
    """

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        self.path = Path(path)
        self._interpreter = _open(self.path, threads)
        try:
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        except ValueError as error:  # names that are no text
            raise ModelError(f"{path}: damaged: {_first_line(error)}") from error
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(
                f"{path}: expected one input and one output, got {len(inputs)} and {len(outputs)}."
            )
        self._input, self._output = inputs[0], outputs[0]
        self._batch = 0

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample, without the batch."""
        return tuple(int(n) for n in self._input["shape"][1:])

    @cached_property
    def sample_bytes(self) -> int:
        """Of all that is computed for one sample: the interpreter keeps about that in memory."""
        return sum(
            math.prod(map(int, tensor["shape"][1:])) * np.dtype(tensor["dtype"]).itemsize
            for tensor in self._interpreter.get_tensor_details()
            if len(tensor["shape_signature"]) and tensor["shape_signature"][0] == -1
        )

    @property
    def classes(self) -> int:
        """How many scores a sample gets."""
        return int(self._output["shape"][-1])

    def set_batch(self, batch: int) -> None:
        """Resize the input to `batch` samples, if it has another size."""
        if batch == self._batch:
            return
        try:
            self._interpreter.resize_tensor_input(
                self._input["index"], [batch, *self.input_shape], strict=False
            )
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{self.path}: cannot run on {batch} samples at once: {_first_line(error)}"
            ) from error
        self._batch = batch

    def set_input(self, batch: np.ndarray) -> None:
        """Copy a batch of float inputs in, quantizing where the file's input is an integer.

        Raises:
            ModelError: samples of another shape than the file was made for.
        """
        if batch.shape[1:] != self.input_shape:
            raise ModelError(
                f"{self.path}: expected samples of shape {self.input_shape}, as the model was made "
                f"for, got {batch.shape[1:]}."
            )
        self.set_batch(len(batch))
        try:
            self._interpreter.set_tensor(self._input["index"], _quantized(batch, self._input))
        except ValueError as error:
            raise ModelError(f"{self.path}: cannot be run: {_first_line(error)}") from error

    def invoke(self) -> None:
        """Run what was copied in; this alone is what latency means."""
        try:
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{self.path}: cannot be run: {_first_line(error)}") from error

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """(n, rows, cols, channels) float32 -> (n, classes) float32."""
        self.set_input(batch)
        self.invoke()
        return _dequantized(self._interpreter.get_tensor(self._output["index"]), self._output)


def _open(path: Path, threads: int) -> Any:
    if not path.is_file():
        raise ModelError(f"{path}: no such model file.")
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] != MAGIC:
        raise ModelError(
            f"{path}: expected a TensorFlow Lite file; it is damaged or something else."
        )
    from ai_edge_litert.interpreter import Interpreter

    try:
        with quiet():
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            _check_tensors(interpreter)
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path}: cannot be opened as a TensorFlow Lite file: {_first_line(error)}"
        ) from error
    return interpreter


def _check_tensors(interpreter: Any) -> None:
    """Refuse what only damage writes (`ValueError`), since LiteRT crashes on it.

    That is negative scales, zero points outside their type (a scale of zero is written, for a
    channel of zero weights) and tensors larger than any image classifier has.
    """
    for tensor in interpreter.get_tensor_details():
        found, kind = tensor["quantization_parameters"], np.dtype(tensor["dtype"])
        zeros = found["zero_points"]
        outside = kind.kind in "iu" and (
            (zeros < np.iinfo(kind).min) | (zeros > np.iinfo(kind).max)
        )
        if (found["scales"] < 0).any() or np.any(outside):
            raise ValueError(f"tensor {tensor['index']} has an impossible scale or zero point")
        if math.prod(map(int, tensor["shape"])) * kind.itemsize > LARGEST_TENSOR:
            raise ValueError(f"tensor {tensor['index']} has an impossible shape {tensor['shape']}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["damaged"])[0]


def _quantized(batch: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    kind = detail["dtype"]
    if not np.issubdtype(kind, np.integer):
        return np.ascontiguousarray(batch, kind)
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(kind)
    return np.clip(np.round(batch / scale) + zero_point, limits.min, limits.max).astype(kind)


def _dequantized(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    if not np.issubdtype(detail["dtype"], np.integer):
        return values.astype(np.float32, copy=False)
    scale, zero_point = detail["quantization"]
    return ((values.astype(np.float32) - zero_point) * scale).astype(np.float32)
