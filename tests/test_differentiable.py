"""The differentiable `.tflite`: against the interpreter, operator by operator and as networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_maker import Maker, interpreted

from hsi.deploy.differentiable import load, read
from hsi.errors import ModelError

BATCH = 3
RELU, RELU_N1_TO_1, RELU6 = 1, 2, 3


def values(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Uniform float32 numbers, the same for the same arguments."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def ints(*numbers: Any) -> np.ndarray:
    return np.array(numbers, np.int32)


@dataclass(frozen=True)
class Case:
    """One operator, alone in a file.

    Attributes:
        kind: its builtin name.
        x: shape of the input with a batch of 1, and its range.
        constants: the other inputs, in order: arrays.
        options: of the builtin, with `table`.
        place: where the input stands among the operator's inputs.
        weights: which of `constants` is a weight (its output axis), for integer forms.
        grid: of the output in integer forms: "own", "same" as the input, or fixed scales
            ((int8 scale, zero point), int16 scale).
        forms: integer forms that the interpreter has a kernel for.
        outputs: how many.
        steps: allowed in integer forms.
    """

    kind: str
    x: tuple[int, ...] = (1, 6, 7, 4)
    constants: tuple[np.ndarray, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    place: int = 0
    weights: int | None = None
    grid: Any = "own"
    forms: tuple[str, ...] = ("int8", "int16")
    outputs: int = 1
    low: float = -2.0
    high: float = 2.0
    steps: int = 1

    def __str__(self) -> str:
        return self.kind


def opts(table: str, **options: Any) -> dict[str, Any]:
    return {"table": table, **options}


def conv(**options: Any) -> dict[str, Any]:
    return opts("Conv2DOptions", **({"padding": 1, "strideH": 1, "strideW": 1} | options))


def pool(padding: int, **options: Any) -> dict[str, Any]:
    sizes = {"filterHeight": 3, "filterWidth": 2, "strideH": 2, "strideW": 1}
    return opts("Pool2DOptions", padding=padding, **(sizes | options))


def depthwise(**options: Any) -> dict[str, Any]:
    return opts(
        "DepthwiseConv2DOptions", **({"strideH": 1, "strideW": 1, "depthMultiplier": 2} | options)
    )


W33 = values(5, 3, 3, 4, seed=1)
B5 = values(5, seed=2)
NONE: tuple[str, ...] = ()
INT8 = ("int8",)
CASES = [
    Case("CONV_2D", constants=(W33, B5), options=conv(), weights=0),
    Case("CONV_2D", constants=(W33,), options=conv(padding=0, strideH=2), weights=0),
    Case("CONV_2D", constants=(W33, B5), weights=0,
         options=conv(dilationHFactor=2, dilationWFactor=2, fusedActivationFunction=RELU)),
    Case("CONV_2D", constants=(values(5, 1, 1, 4, seed=1), B5), weights=0,
         options=conv(fusedActivationFunction=RELU6)),
    Case("CONV_2D", constants=(values(6, 3, 3, 2, seed=1), values(6, seed=2)), weights=0,
         options=conv(), forms=INT8),
    Case("DEPTHWISE_CONV_2D", constants=(values(1, 3, 3, 8, seed=1), values(8, seed=2)), weights=3,
         options=depthwise(fusedActivationFunction=RELU6)),
    Case("DEPTHWISE_CONV_2D", constants=(values(1, 3, 3, 8, seed=1),), weights=3,
         options=depthwise(strideH=2, strideW=2, padding=1)),
    Case("DEPTHWISE_CONV_2D", constants=(values(1, 3, 3, 8, seed=1), values(8, seed=2)), weights=3,
         options=depthwise(strideH=2, strideW=1)),
    Case("CONV_3D", x=(1, 5, 5, 6, 2), constants=(values(3, 3, 2, 2, 4, seed=1), values(4, seed=2)),
         options=opts("Conv3DOptions", padding=1, strideD=1, strideH=1, strideW=2,
                      fusedActivationFunction=RELU), forms=NONE),
    Case("CONV_3D", x=(1, 5, 5, 6, 2), constants=(values(3, 3, 2, 2, 4, seed=1),),
         options=opts("Conv3DOptions", padding=0, strideD=2, strideH=1, strideW=1,
                      dilationHFactor=2), forms=NONE),
    Case("TRANSPOSE_CONV", x=(1, 4, 5, 3), place=2,
         constants=(ints(1, 8, 10, 5), values(5, 3, 3, 3, seed=1), B5),
         options=opts("TransposeConvOptions", padding=0, strideH=2, strideW=2), weights=0),
    Case("TRANSPOSE_CONV", x=(1, 4, 5, 3), place=2,
         constants=(ints(1, 9, 11, 5), values(5, 3, 3, 3, seed=1)),
         options=opts("TransposeConvOptions", padding=1, strideH=2, strideW=2), weights=0),
    Case("FULLY_CONNECTED", x=(1, 9), constants=(values(5, 9, seed=1), B5), weights=0,
         options=opts("FullyConnectedOptions", fusedActivationFunction=RELU)),
    Case("FULLY_CONNECTED", x=(1, 9), constants=(values(5, 9, seed=1),), weights=0,
         options=opts("FullyConnectedOptions")),
    Case("FULLY_CONNECTED", x=(1, 4, 9), constants=(values(5, 9, seed=1), B5), weights=0,
         options=opts("FullyConnectedOptions", keepNumDims=True)),
    Case("BATCH_MATMUL", x=(1, 4, 6), constants=(values(6, 5, seed=1),),
         options=opts("BatchMatMulOptions"), forms=NONE),
    Case("BATCH_MATMUL", x=(1, 4, 6), constants=(values(5, 6, seed=1),),
         options=opts("BatchMatMulOptions", adjY=True), forms=NONE),
    Case("MAX_POOL_2D", options=pool(0), grid="same"),
    Case("MAX_POOL_2D", options=pool(1, fusedActivationFunction=RELU), grid="same"),
    Case("AVERAGE_POOL_2D", options=pool(0), grid="same"),
    Case("AVERAGE_POOL_2D", options=pool(1), grid="same"),
    Case("AVERAGE_POOL_2D", x=(1, 8, 8, 4), grid="same", options=pool(
        1, filterHeight=2, filterWidth=2, strideH=2, strideW=2)),
    Case("L2_POOL_2D", options=pool(1), forms=NONE),
    Case("MEAN", constants=(ints(1, 2),), options=opts("ReducerOptions", keepDims=False)),
    Case("MEAN", constants=(ints(1, 2),), options=opts("ReducerOptions", keepDims=True),
         grid="same"),
    Case("MEAN", constants=(ints(3),), options=opts("ReducerOptions", keepDims=False)),
    Case("SUM", constants=(ints(2),), options=opts("ReducerOptions", keepDims=True)),
    Case("REDUCE_MAX", constants=(ints(1, 2),), options=opts("ReducerOptions"), grid="same"),
    Case("REDUCE_MIN", constants=(ints(3),), options=opts("ReducerOptions"), grid="same"),
    Case("REDUCE_PROD", constants=(ints(3),), options=opts("ReducerOptions"), forms=NONE),
    Case("RELU"), Case("RELU6", low=-4, high=9), Case("RELU_N1_TO_1", forms=NONE),
    Case("RELU_0_TO_1", forms=NONE),
    Case("LEAKY_RELU", options=opts("LeakyReluOptions", alpha=0.2)),
    Case("PRELU", constants=(values(1, 1, 4, seed=1),), forms=NONE),
    Case("ELU", forms=INT8), Case("HARD_SWISH", low=-5, high=5, forms=INT8),
    Case("GELU", options=opts("GeluOptions"), forms=INT8),
    Case("GELU", options=opts("GeluOptions", approximate=True), forms=INT8),
    Case("LOGISTIC", grid=((1 / 256, -128), 1 / 32768), low=-6, high=6),
    Case("TANH", grid=((1 / 128, 0), 1 / 32768), low=-3, high=3),
    Case("SOFTMAX", x=(1, 9), options=opts("SoftmaxOptions", beta=1.0),
         grid=((1 / 256, -128), 1 / 32768), low=-4, high=4),
    Case("SOFTMAX", x=(1, 9), options=opts("SoftmaxOptions", beta=0.5), forms=NONE),
    Case("LOG_SOFTMAX", x=(1, 9), grid=((16 / 256, 127), None), forms=INT8),
    Case("L2_NORMALIZATION", x=(1, 9), grid=((1 / 128, 0), None), forms=INT8,
         options=opts("L2NormOptions")),
    Case("ADD", constants=(values(1, 6, 7, 4, seed=3),), options=opts("AddOptions")),
    Case("ADD", constants=(values(4, seed=3),),
         options=opts("AddOptions", fusedActivationFunction=RELU)),
    Case("SUB", constants=(values(4, seed=3),), options=opts("SubOptions")),
    Case("MUL", constants=(values(4, seed=3),), options=opts("MulOptions")),
    Case("MUL", constants=(values(1, 6, 7, 4, seed=3),),
         options=opts("MulOptions", fusedActivationFunction=RELU6)),
    Case("DIV", constants=(values(4, seed=3, low=1),), options=opts("DivOptions"), forms=NONE),
    Case("POW", constants=(np.float32([2.0]),), low=0.1, forms=NONE),
    Case("MAXIMUM", constants=(values(4, seed=3),), grid="same"),
    Case("MINIMUM", constants=(values(4, seed=3),), grid="same"),
    Case("SQUARED_DIFFERENCE", constants=(values(4, seed=3),), forms=INT8),
    Case("ADD_N", constants=(values(1, 6, 7, 4, seed=3),), forms=NONE),
    Case("ABS", forms=INT8), Case("NEG", forms=NONE), Case("SQUARE", forms=NONE),
    Case("EXP", forms=NONE), Case("SIN", forms=NONE), Case("COS", forms=NONE),
    Case("LOG", low=0.2, forms=NONE), Case("SQRT", low=0.1, forms=NONE),
    Case("RSQRT", low=0.2, forms=INT8),
    Case("RESHAPE", constants=(ints(1, 42, 4),), grid="same"),
    Case("RESHAPE", constants=(ints(-1, 168),), grid="same"),
    Case("RESHAPE", constants=(ints(1, -1),), grid="same"),
    Case("SQUEEZE", x=(1, 1, 7, 1), options=opts("SqueezeOptions", squeezeDims=[1, 3]),
         grid="same"),
    Case("EXPAND_DIMS", constants=(ints(1),), grid="same"),
    Case("TRANSPOSE", constants=(ints(0, 3, 1, 2),), grid="same"),
    Case("CONCATENATION", constants=(values(1, 6, 7, 3, seed=3),), grid="same",
         options=opts("ConcatenationOptions", axis=3), forms=NONE),
    Case("UNPACK", x=(1, 3, 4), options=opts("UnpackOptions", num=3, axis=1), outputs=3,
         grid="same"),
    Case("SPLIT", place=1, constants=(ints(3),), options=opts("SplitOptions", numSplits=2),
         outputs=2, grid="same"),
    Case("SPLIT_V", constants=(ints(1, 3), np.array(3, np.int32)),
         options=opts("SplitVOptions", numSplits=2), outputs=2, grid="same"),
    Case("PAD", constants=(ints([0, 0], [1, 2], [0, 1], [0, 0]),), grid="same"),
    Case("PADV2", constants=(ints([0, 0], [1, 2], [0, 1], [0, 0]), np.float32([1.5])), forms=NONE),
    Case("MIRROR_PAD", constants=(ints([0, 0], [1, 2], [0, 1], [0, 0]),), grid="same",
         options=opts("MirrorPadOptions", mode=0), forms=INT8),
    Case("MIRROR_PAD", constants=(ints([0, 0], [1, 2], [0, 1], [0, 0]),), forms=NONE,
         options=opts("MirrorPadOptions", mode=1)),
    Case("STRIDED_SLICE", constants=(ints(0, 1, 6, 0), ints(1, 5, 0, 4), ints(1, 2, -2, 1)),
         options=opts("StridedSliceOptions"), grid="same"),
    Case("STRIDED_SLICE", constants=(ints(0, 2), ints(0, 3), ints(1, 1)), grid="same",
         options=opts("StridedSliceOptions", beginMask=1, endMask=1, shrinkAxisMask=2)),
    Case("SLICE", constants=(ints(0, 1, 0, 2), ints(1, 4, -1, 2)), grid="same"),
    Case("GATHER", constants=(ints(2, 0, 1),), options=opts("GatherOptions", axis=3), grid="same"),
    Case("TILE", constants=(ints(1, 2, 1, 3),), forms=NONE),
    Case("REVERSE_V2", constants=(ints(2),), forms=NONE),
    Case("SPACE_TO_BATCH_ND", x=(1, 4, 6, 3), constants=(ints(2, 2), ints([0, 0], [1, 1])),
         grid="same"),
    Case("SPACE_TO_DEPTH", x=(1, 4, 6, 3), options=opts("SpaceToDepthOptions", blockSize=2),
         grid="same", forms=INT8),
    Case("DEPTH_TO_SPACE", x=(1, 4, 6, 8), options=opts("DepthToSpaceOptions", blockSize=2),
         grid="same", forms=INT8),
    Case("RESIZE_BILINEAR", constants=(ints(9, 5),), grid="same",
         options=opts("ResizeBilinearOptions", halfPixelCenters=True)),
    Case("RESIZE_BILINEAR", constants=(ints(11, 13),), grid="same",
         options=opts("ResizeBilinearOptions", alignCorners=True)),
    Case("RESIZE_NEAREST_NEIGHBOR", constants=(ints(9, 5),), grid="same",
         options=opts("ResizeNearestNeighborOptions", halfPixelCenters=True)),
]  # fmt: skip


def quantized(data: np.ndarray, dtype: str, scale: Any, zero: int = 0) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.clip(np.round(data / scale) + zero, limits.min, limits.max).astype(dtype)


def grid_for(data: np.ndarray, dtype: str) -> tuple[float, int]:
    """Scale and zero point that hold the data; 16 bits are symmetric."""
    if dtype == "int16":
        return float(np.abs(data).max() / 32767) or 1.0, 0
    low, high = min(0.0, float(data.min())), max(0.0, float(data.max()))
    scale = (high - low) / 255 or 1.0
    return scale, round(-128 - low / scale)


def float_file(case: Case, path: Path) -> Path:
    """The operator in float."""
    maker = Maker()
    x = maker.tensor(case.x)
    others = [maker.constant(c) for c in case.constants]
    inputs = others[: case.place] + [x] + others[case.place :]
    outputs = [maker.tensor(()) for _ in range(case.outputs)]
    maker.operator(case.kind, inputs, outputs, **case.options)
    return maker.write(path, [x], outputs)


def integer_file(case: Case, path: Path, dtype: str, sample: np.ndarray, result: np.ndarray) -> Path:
    """The operator on 8 or 16 bits, weights 8 bits with a scale per output channel."""
    maker = Maker()
    scale, zero = grid_for(sample, dtype)
    x = maker.tensor(case.x, dtype, scales=scale, zeros=zero)
    others = []
    numbers = [i for i, c in enumerate(case.constants) if c.dtype == np.float32]
    for i, data in enumerate(case.constants):
        if data.dtype != np.float32:
            others.append(maker.constant(data))
        elif case.weights is None:
            own = (scale, zero) if case.grid == "same" else grid_for(data, dtype)
            stored = quantized(data, dtype, *own)
            others.append(maker.constant(stored, scales=own[0], zeros=own[1]))
        elif i == numbers[0]:
            rest = tuple(a for a in range(data.ndim) if a != case.weights)
            fit = np.abs(data).max(rest, keepdims=True) / 127
            weight_scales = fit.reshape(-1).astype(np.float32)
            stored = quantized(data, "int8", fit)
            others.append(maker.constant(stored, scales=weight_scales, axis=case.weights))
        else:
            kind = "int64" if dtype == "int16" else "int32"
            fine = weight_scales * scale
            stored = np.round(data / fine).astype(kind)
            others.append(maker.constant(stored, scales=fine))
    inputs = others[: case.place] + [x] + others[case.place :]
    if case.grid == "same":
        own = (scale, zero)
    elif case.grid == "own":
        own = grid_for(result, dtype)
    else:
        own = case.grid[0] if dtype == "int8" else (case.grid[1], 0)
    outputs = [maker.tensor((), dtype, scales=own[0], zeros=own[1]) for _ in range(case.outputs)]
    maker.operator(case.kind, inputs, outputs, **case.options)
    return maker.write(path, [x], outputs)


def number(i: int, case: Case) -> str:
    return f"{i}-{case.kind}"


@pytest.mark.parametrize("case", CASES, ids=[number(i, c) for i, c in enumerate(CASES)])
def test_operator_in_float_and_on_integers(case: Case, tmp_path: Path) -> None:
    x = values(BATCH, *case.x[1:], seed=7, low=case.low, high=case.high)
    path = float_file(case, tmp_path / "float.tflite")
    interpreter = interpreted(path, x)
    outputs = [d["index"] for d in interpreter.get_output_details()]
    model = load(path, output=outputs[0])
    found = model.activations(x, outputs)
    for index in outputs:
        wanted = interpreter.get_tensor(index)
        assert found[index].shape == wanted.shape
        np.testing.assert_allclose(found[index], wanted, rtol=2e-6, atol=2e-6)
    result = interpreter.get_tensor(outputs[0])
    for dtype in case.forms:
        check_integer(case, tmp_path / f"{dtype}.tflite", dtype, x, result)


def check_integer(case: Case, path: Path, dtype: str, x: np.ndarray, result: np.ndarray) -> None:
    integer_file(case, path, dtype, x, result)
    graph = read(path)
    grid = graph.tensors[graph.inputs[0]].quantization
    assert grid is not None
    levels = quantized(x, dtype, grid.scale, grid.zero_point)
    interpreter = interpreted(path, levels)
    outputs = [d["index"] for d in interpreter.get_output_details()]
    found = load(path, output=outputs[0]).activations(
        (levels.astype(np.float32) - grid.zero_point) * grid.scale, outputs
    )
    for index in outputs:
        own = graph.tensors[index].quantization
        assert own is not None
        wanted = interpreter.get_tensor(index).astype(np.int64)
        ours = np.round(found[index].numpy() / own.scale) + own.zero_point
        off = np.abs(ours - wanted)
        assert off.max() <= case.steps, f"{dtype}: {off.max()} steps, {np.mean(off > 0):.1%}"
        print(dtype, int(off.max()), f"{np.mean(off > 0):.2%}")
