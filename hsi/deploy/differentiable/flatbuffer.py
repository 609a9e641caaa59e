"""A `.tflite` file as plain facts: tensors, operators, graph. TensorFlow is not needed.

The layout is that of TensorFlow's `schema.fbs` (version 3), read with the classes that ship in
ai-edge-litert. Those classes trust the file, so everything that is taken from it (indices,
lengths, shapes, scales) is checked here against the size of the file before it is used: a damaged
file is a `ModelError` of one line, never a crash and never an allocation larger than the file
can account for.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hsi.deploy.differentiable.unpack import DTYPES, Damaged, constant
from hsi.errors import ModelError

MAGIC = b"TFL3"
MAX_RANK = 8
MAX_ELEMENTS = 2**31
"""No tensor of a file may be declared larger; TFLite itself counts elements in 32 bits."""
CONTROL_FLOW = frozenset(
    {"IF", "WHILE", "CALL", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_CASE", "STABLEHLO_COMPOSITE"}
)
QUANTIZED_DTYPES = frozenset({"int4", "int8", "uint8", "int16", "int32", "int64"})

_ERRORS = (
    struct.error, IndexError, KeyError, TypeError, ValueError, OverflowError, AttributeError,
    UnicodeDecodeError, RecursionError, MemoryError,
)  # fmt: skip
"""What the schema's classes raise when they read damage."""


@dataclass(frozen=True, eq=False)
class Quantization:
    """real = scale * (level - zero_point); one scale for the tensor, or one per slice of `axis`."""

    scales: np.ndarray  # float32 (n,)
    zero_points: np.ndarray  # int64 (n,)
    axis: int

    @property
    def per_channel(self) -> bool:
        """Whether slices along `axis` have scales of their own."""
        return len(self.scales) > 1

    @property
    def scale(self) -> np.float32:
        """The scale of a tensor that has one."""
        return np.float32(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The level that stands for 0."""
        return int(self.zero_points[0])

    def along(self, values: np.ndarray, rank: int) -> np.ndarray:
        """`scales` or `zero_points`, shaped to broadcast over a tensor of that rank."""
        if len(values) == 1:
            return values.reshape(())
        shape = [1] * rank
        shape[self.axis] = len(values)
        return values.reshape(shape)

    def real(self, levels: np.ndarray) -> np.ndarray:
        """The float32 values that the levels of a constant stand for."""
        zeros = self.along(self.zero_points, levels.ndim)
        scales = self.along(self.scales, levels.ndim)
        return ((levels.astype(np.int64) - zeros) * scales).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of the graph.

    Attributes:
        index: its number in the file.
        name: as the converter wrote it; may be empty or occur twice.
        shape: recorded shape; a free batch is recorded as 1.
        signature: shape with -1 for what is free, or `shape` where the file does not say.
        dtype: NumPy's name, or int4 (constants are unpacked to int8).
        quantization: scales and zero points, or None.
        data: the values of a constant in `shape`, or None for what is computed.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    data: np.ndarray | None = None

    @property
    def quantized(self) -> bool:
        """Whether its integers stand for real numbers."""
        return self.quantization is not None and self.dtype in QUANTIZED_DTYPES

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.index} {self.name!r}"


@dataclass(frozen=True, eq=False)
class Operator:
    """One step: `kind` is the builtin's name in the schema, -1 stands for an input left out."""

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.kind} (operator {self.index})"


@dataclass(frozen=True, eq=False)
class Graph:
    """One subgraph, its operators in the order of execution."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    output_names: Mapping[int, str] = field(default_factory=dict)
    """What the file's signature calls the outputs: of Keras, the layers that make them."""

    def with_constants(self, values: Mapping[int, np.ndarray], like: Mapping[int, Tensor]) -> Graph:
        """The graph with some tensors known beforehand.

        Args:
            values: number of a tensor -> its real values.
            like: number of a tensor -> the constant whose values, type and grid it takes over.
        """
        tensors = list(self.tensors)
        for i, source in like.items():
            grid = source.quantization
            tensors[i] = replace(
                tensors[i], data=source.data, dtype=source.dtype, quantization=grid
            )
        for i, data in values.items():
            tensors[i] = replace(tensors[i], data=data, dtype="float32", quantization=None)
        return replace(self, tensors=tuple(tensors))


def read(path: str | Path, *, signature: str | None = None) -> Graph:
    """Read a `.tflite` file.

    Args:
        path: the file.
        signature: which of the file's signatures; by default `serving_default`, else the first
            subgraph.

    Raises:
        ModelError: missing, no TensorFlow Lite file, damaged, or with control flow.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such model file.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse(data, name=str(path), signature=signature)


def parse(data: bytes, *, name: str = "model", signature: str | None = None) -> Graph:
    """The graph in a file's bytes; `name` is what messages call it (`ModelError`)."""
    if data[4:8] != MAGIC:
        raise ModelError(
            f"{name}: expected a TensorFlow Lite file; it is damaged or something else."
        )
    try:
        return _Reader(data).graph(signature)
    except Damaged as error:
        raise ModelError(f"{name}: damaged: {error}.") from error
    except _ERRORS as error:
        raise ModelError(f"{name}: damaged: it ends early or points outside itself.") from error


class _Reader:
    """The bytes of a file and the schema's classes over them."""

    def __init__(self, data: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.data = schema, data
        self.model = schema.Model.GetRootAs(data, 0)
        self.kinds = _names(schema.BuiltinOperator)
        self.types = _names(schema.TensorType)

    def count(self, value: int, what: str, *, size: int = 4) -> int:
        """A number of entries, each of at least `size` bytes, that the file can hold."""
        if not 0 <= value * size <= len(self.data):
            raise Damaged(f"it claims {value} {what}")
        return value

    def graph(self, signature: str | None) -> Graph:
        if self.model.Version() != 3:
            raise Damaged(f"schema version {self.model.Version()}, expected 3")
        self._check_buffers()
        number = self._subgraph(signature)
        subgraph = self.model.Subgraphs(number)
        tensors = tuple(
            self._tensor(subgraph.Tensors(i), i)
            for i in range(self.count(subgraph.TensorsLength(), "tensors"))
        )
        operators = tuple(
            self._operator(subgraph.Operators(i), i, len(tensors))
            for i in range(self.count(subgraph.OperatorsLength(), "operators"))
        )
        return Graph(
            _text(subgraph.Name()),
            tensors,
            operators,
            _indices(subgraph.InputsAsNumpy(), len(tensors)),
            _indices(subgraph.OutputsAsNumpy(), len(tensors)),
            self._output_names(number),
        )

    def _output_names(self, number: int) -> dict[int, str]:
        """Number of a tensor -> what a signature of this subgraph calls it."""
        found = {}
        for i in range(self.count(self.model.SignatureDefsLength(), "signatures")):
            entry = self.model.SignatureDefs(i)
            if entry.SubgraphIndex() != number:
                continue
            for k in range(self.count(entry.OutputsLength(), "outputs of a signature")):
                output = entry.Outputs(k)
                found[int(output.TensorIndex())] = _text(output.Name())
        return found

    def _subgraph(self, signature: str | None) -> int:
        count = self.count(self.model.SubgraphsLength(), "subgraphs")
        if count == 0:
            raise Damaged("it holds no graph")
        found = {}
        for i in range(self.count(self.model.SignatureDefsLength(), "signatures")):
            entry = self.model.SignatureDefs(i)
            found[_text(entry.SignatureKey())] = entry.SubgraphIndex()
        if signature is not None and signature not in found:
            raise ModelError(
                f"Unknown signature {signature!r}: the file has {', '.join(found) or 'none'}."
            )
        number = found.get(signature or "serving_default", 0)
        if not 0 <= number < count:
            raise Damaged(f"it points to graph {number} of {count}")
        return number

    def _check_buffers(self) -> None:
        for i in range(self.count(self.model.BuffersLength(), "buffers")):
            self._bytes(i)

    def _bytes(self, index: int) -> np.ndarray:
        """The bytes of a buffer, wherever they lie: inside the flatbuffer or behind it."""
        if not 0 <= index < self.model.BuffersLength():
            raise Damaged(f"it points to buffer {index} of {self.model.BuffersLength()}")
        buffer = self.model.Buffers(index)
        start, size = buffer.Offset(), buffer.Size()
        if start > 1:
            if start + size > len(self.data):
                raise Damaged(f"buffer {index} ends behind the file")
            return np.frombuffer(self.data, np.uint8, size, start)
        if buffer.DataIsNone():
            return np.zeros(0, np.uint8)
        return buffer.DataAsNumpy()

    def _tensor(self, entry: Any, index: int) -> Tensor:
        shape = _shape(entry.ShapeAsNumpy())
        signature = _shape(entry.ShapeSignatureAsNumpy())
        code = entry.Type()
        if code not in self.types:
            raise Damaged(f"tensor {index} is of unknown type {code}")
        dtype = self.types[code].lower()
        raw = self._bytes(entry.Buffer())
        sparsity = entry.Sparsity()
        if sparsity is not None:
            self.count(sparsity.DimMetadataLength(), "sparse dimensions")
            sparsity = self.schema.SparsityParametersT.InitFromObj(sparsity)
        name = _text(entry.Name())
        if not len(raw) or dtype not in DTYPES:
            data = None
        else:
            data = constant(raw, dtype, shape, sparsity, where=f"tensor {index} {name!r}")
        return Tensor(
            index=index,
            name=name,
            shape=shape,
            signature=signature if len(signature) == len(shape) else shape,
            dtype="int8" if dtype == "int4" and data is not None else dtype,
            quantization=_quantization(entry.Quantization(), shape, dtype, index),
            data=data,
        )

    def _operator(self, entry: Any, index: int, tensors: int) -> Operator:
        number = entry.OpcodeIndex()
        if not 0 <= number < self.count(self.model.OperatorCodesLength(), "operator codes"):
            raise Damaged(f"operator {index} has no code")
        code = self.model.OperatorCodes(number)
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = self.kinds.get(builtin, f"builtin {builtin}")
        if kind == "CUSTOM":
            kind = f"custom operator {_text(code.CustomCode())!r}"
        if kind in CONTROL_FLOW:
            raise ModelError(
                f"Operator {index} is {kind}: control flow has no differentiable form here; "
                "convert the model without loops and branches."
            )
        return Operator(
            index,
            kind,
            _indices(entry.InputsAsNumpy(), tensors, optional=True),
            _indices(entry.OutputsAsNumpy(), tensors),
            self._options(entry),
            code.Version(),
        )

    def _options(self, entry: Any) -> dict[str, Any]:
        table = entry.BuiltinOptions()
        if table is None:
            return {}
        found = self.schema.BuiltinOptionsCreator(entry.BuiltinOptionsType(), table)
        return {} if found is None else dict(vars(found))


def _names(enumeration: type) -> dict[int, str]:
    return {v: k for k, v in vars(enumeration).items() if isinstance(v, int)}


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", errors="replace")


def _integers(values: Any) -> Iterator[int]:
    # an absent vector comes as 0
    return (int(v) for v in (values if isinstance(values, np.ndarray) else ()))


def _shape(values: Any) -> tuple[int, ...]:
    shape = tuple(_integers(values))
    if len(shape) > MAX_RANK or any(n < -1 for n in shape):
        raise Damaged(f"a tensor has shape {shape[: MAX_RANK + 1]}")
    if math.prod(abs(n) for n in shape) > MAX_ELEMENTS:
        raise Damaged(f"a tensor claims {math.prod(abs(n) for n in shape)} elements")
    return shape


def _indices(values: Any, tensors: int, *, optional: bool = False) -> tuple[int, ...]:
    found = tuple(_integers(values))
    if any(not (-1 if optional else 0) <= i < tensors for i in found):
        raise Damaged(f"an operator or graph points to a tensor outside 0 to {tensors - 1}")
    return found


def _quantization(
    entry: Any, shape: tuple[int, ...], dtype: str, index: int
) -> Quantization | None:
    if entry is None or not isinstance(entry.ScaleAsNumpy(), np.ndarray):
        return None
    scales = np.array(entry.ScaleAsNumpy(), np.float32)
    if not len(scales) or dtype not in QUANTIZED_DTYPES:
        return None
    found = entry.ZeroPointAsNumpy()
    zeros = np.array(found, np.int64) if isinstance(found, np.ndarray) else np.zeros(0, np.int64)
    zeros = zeros if len(zeros) else np.zeros(len(scales), np.int64)
    zeros = np.full(len(scales), zeros[0]) if len(zeros) == 1 else zeros
    axis = entry.QuantizedDimension()
    fits = len(scales) == 1 or (0 <= axis < len(shape) and shape[axis] == len(scales))
    if len(zeros) != len(scales) or not fits:
        raise Damaged(f"tensor {index} has {len(scales)} scales for shape {shape}")
    if not np.isfinite(scales).all() or (scales < 0).any():
        raise Damaged(f"tensor {index} has an impossible scale")
    if dtype != "int64" and (np.abs(zeros) > 2 ** (8 * DTYPES[dtype].itemsize)).any():
        raise Damaged(f"tensor {index} has an impossible zero point")
    return Quantization(scales, zeros, axis)
