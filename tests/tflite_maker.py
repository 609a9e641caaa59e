"""Small `.tflite` files from schema objects, and what the interpreter says about them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = {
    "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7,
    "int8": 9, "int4": 17,
}  # fmt: skip


class Maker:
    """A graph that grows tensor by tensor and operator by operator."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes, self.model.subgraphs = [], [self.graph]
        self.graph.tensors, self.graph.operators = [], []
        self.graph.name = b"main"

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str = "float32",
        *,
        data: np.ndarray | None = None,
        scales: Any = None,
        zeros: Any = 0,
        axis: int = 0,
        name: str | None = None,
        sparsity: Any = None,
    ) -> int:
        """A tensor; `data` makes it a constant (bytes as they are, for packed formats)."""
        tensor = schema.TensorT()
        tensor.shape, tensor.type = list(shape), TYPES[dtype]
        tensor.name = (f"t{len(self.graph.tensors)}" if name is None else name).encode()
        tensor.sparsity = sparsity
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if scales is not None:
            grid = schema.QuantizationParametersT()
            grid.scale = np.atleast_1d(scales).astype(np.float32)
            grid.zeroPoint = np.broadcast_to(zeros, grid.scale.shape).astype(np.int64)
            grid.quantizedDimension = axis
            tensor.quantization = grid
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, data: np.ndarray, **options: Any) -> int:
        """A constant of the array's own shape and type."""
        return self.tensor(data.shape, str(data.dtype), data=data, **options)

    def operator(self, kind: str, inputs: list[int], outputs: list[int], **options: Any) -> None:
        """An operator by its name in the schema; `table` names its options' table."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = options.pop("version", 1)
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        table = options.pop("table", None)
        if table:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            operator.builtinOptions = getattr(schema, f"{table}T")()
            for key, value in options.items():
                assert hasattr(operator.builtinOptions, key), key
                setattr(operator.builtinOptions, key, value)
        self.graph.operators.append(operator)
        return operator

    def bytes(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The file."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def write(self, path: Path, inputs: list[int], outputs: list[int]) -> Path:
        """The file, on disk."""
        path.write_bytes(self.bytes(inputs, outputs))
        return path


def interpreted(path: Path, inputs: np.ndarray) -> Any:
    """An interpreter that has run on these inputs and kept every tensor."""
    from ai_edge_litert.interpreter import Interpreter

    from hsi.quiet import quiet

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = Interpreter(
            model_path=str(path), experimental_preserve_all_tensors=True, num_threads=1
        )
        index = interpreter.get_input_details()[0]["index"]
        if tuple(interpreter.get_input_details()[0]["shape"]) != inputs.shape:
            interpreter.resize_tensor_input(index, inputs.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(index, inputs)
        interpreter.invoke()
    return interpreter
