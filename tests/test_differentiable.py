"""The differentiable `.tflite`: against the interpreter, operator by operator and as networks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_maker import Maker, interpreted
from tflite_networks import MODES, convert, disagreement, values

from hsi.deploy.differentiable import load, read
from hsi.deploy.differentiable.evaluation import evaluate
from hsi.errors import ModelError

BATCH = 3
RELU, RELU_N1_TO_1, RELU6 = 1, 2, 3


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
        batch: of the interpreter, where the file holds a batch of 1 that it cannot widen.
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
    batch: int = BATCH


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
    Case("CONV_2D", constants=(W33, B5), options=conv(padding=0, strideH=2), weights=0),
    Case("CONV_2D", constants=(W33, B5), weights=0,
         options=conv(dilationHFactor=2, dilationWFactor=2, fusedActivationFunction=RELU)),
    Case("CONV_2D", constants=(values(5, 1, 1, 4, seed=1), B5), weights=0,
         options=conv(fusedActivationFunction=RELU6)),
    Case("CONV_2D", constants=(values(6, 3, 3, 2, seed=1), values(6, seed=2)), weights=0,
         options=conv(), forms=INT8),
    Case("DEPTHWISE_CONV_2D", constants=(values(1, 3, 3, 8, seed=1), values(8, seed=2)), weights=3,
         options=depthwise(fusedActivationFunction=RELU6)),
    Case("DEPTHWISE_CONV_2D", constants=(values(1, 3, 3, 8, seed=1), values(8, seed=2)), weights=3,
         options=depthwise(strideH=2, strideW=2, padding=1)),
    Case("DEPTHWISE_CONV_2D", constants=(values(1, 3, 3, 8, seed=1), values(8, seed=2)), weights=3,
         options=depthwise(strideH=2, strideW=1)),
    Case("CONV_3D", x=(1, 5, 5, 6, 2), constants=(values(3, 3, 2, 2, 4, seed=1), values(4, seed=2)),
         options=opts("Conv3DOptions", padding=1, strideD=1, strideH=1, strideW=2,
                      fusedActivationFunction=RELU), forms=NONE),
    Case("CONV_3D", x=(1, 5, 5, 6, 2), constants=(values(3, 3, 2, 2, 4, seed=1),),
         options=opts("Conv3DOptions", padding=0, strideD=2, strideH=1, strideW=1,
                      dilationHFactor=2), forms=NONE),
    Case("TRANSPOSE_CONV", x=(1, 4, 5, 3), place=2, batch=1,
         constants=(ints(1, 8, 10, 5), values(5, 3, 3, 3, seed=1), B5),
         options=opts("TransposeConvOptions", padding=0, strideH=2, strideW=2), weights=0),
    Case("TRANSPOSE_CONV", x=(1, 4, 5, 3), place=2, batch=1,
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
    Case("ADD_N", constants=(values(1, 6, 7, 4, seed=3),), forms=NONE, batch=1),
    Case("ABS", forms=INT8), Case("NEG", forms=NONE), Case("SQUARE", forms=NONE),
    Case("EXP", forms=NONE), Case("SIN", forms=NONE), Case("COS", forms=NONE),
    Case("LOG", low=0.2, forms=NONE), Case("SQRT", low=0.1, forms=NONE),
    Case("RSQRT", low=0.2, forms=INT8),
    Case("RESHAPE", constants=(ints(1, 42, 4),), grid="same", batch=1),
    Case("RESHAPE", constants=(ints(-1, 168),), grid="same"),
    Case("RESHAPE", constants=(ints(1, -1),), grid="same", batch=1),
    Case("SQUEEZE", x=(1, 1, 7, 1), options=opts("SqueezeOptions", squeezeDims=[1, 3]),
         grid="same"),
    Case("EXPAND_DIMS", constants=(ints(1),), grid="same"),
    Case("TRANSPOSE", constants=(ints(0, 3, 1, 2),), grid="same"),
    Case("CONCATENATION", constants=(values(1, 6, 7, 3, seed=3),), grid="same",
         options=opts("ConcatenationOptions", axis=3), batch=1),
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
         options=opts("StridedSliceOptions"), grid="same", batch=1),
    Case("STRIDED_SLICE", constants=(ints(0, 2), ints(0, 3), ints(1, 1)), grid="same",
         options=opts("StridedSliceOptions", beginMask=1, endMask=1, shrinkAxisMask=2)),
    Case("SLICE", constants=(ints(0, 1, 0, 2), ints(1, 4, -1, 2)), grid="same", batch=1),
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


def integer_file(
    case: Case, path: Path, dtype: str, sample: np.ndarray, result: np.ndarray
) -> Path:
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
    every = values(BATCH, *case.x[1:], seed=7, low=case.low, high=case.high)
    x = every[: case.batch]
    path = float_file(case, tmp_path / "float.tflite")
    interpreter = interpreted(path, x)
    outputs = [d["index"] for d in interpreter.get_output_details()]
    model = load(path, output=outputs[0])
    found = computed(model, x, outputs)
    for index in outputs:
        wanted = interpreter.get_tensor(index)
        assert found[index].shape == wanted.shape
        np.testing.assert_allclose(found[index], wanted, rtol=2e-6, atol=2e-6)
    apart = [model(every[i : i + 1]) for i in range(BATCH)]
    if case.kind != "SPACE_TO_BATCH_ND":
        np.testing.assert_allclose(model(every), np.concatenate(apart), rtol=2e-6, atol=2e-6)
    result = interpreter.get_tensor(outputs[0])
    for dtype in case.forms:
        check_integer(case, tmp_path / f"{dtype}.tflite", dtype, x, result)


def computed(model: Any, x: np.ndarray, outputs: list[int]) -> dict[int, Any]:
    """The outputs; one alone by calling the model, which spares a second tracing."""
    return {outputs[0]: model(x)} if len(outputs) == 1 else model.activations(x, outputs)


def check_integer(case: Case, path: Path, dtype: str, x: np.ndarray, result: np.ndarray) -> None:
    integer_file(case, path, dtype, x, result)
    graph = read(path)
    grid = graph.tensors[graph.inputs[0]].quantization
    assert grid is not None
    levels = quantized(x, dtype, grid.scale, grid.zero_point)
    interpreter = interpreted(path, levels)
    outputs = [d["index"] for d in interpreter.get_output_details()]
    reals = (levels.astype(np.float32) - grid.zero_point) * grid.scale
    found = computed(load(path, output=outputs[0]), reals, outputs)
    for index in outputs:
        own = graph.tensors[index].quantization
        assert own is not None
        wanted = interpreter.get_tensor(index).astype(np.int64)
        ours = np.round(found[index].numpy() / own.scale) + own.zero_point
        off = np.abs(ours - wanted)
        assert off.max() <= case.steps, f"{dtype}: {off.max()} steps, {np.mean(off > 0):.1%}"
        print(dtype, int(off.max()), f"{np.mean(off > 0):.2%}")


def one_operator(path: Path, kind: str, *, shape: tuple[int, ...] = (1, 4), **options: Any) -> Path:
    """A file of one operator on one input."""
    maker = Maker()
    x, y = maker.tensor(shape), maker.tensor(shape)
    maker.operator(kind, [x], [y], **options)
    return maker.write(path, [x], [y])


def test_flatten_with_a_computed_shape(tmp_path: Path) -> None:
    maker = Maker()
    x = maker.tensor((1, 3, 4, 2))
    shape, batch, target, y = (maker.tensor(s, "int32") for s in ((4,), (), (2,), ()))
    y = maker.tensor((1, 24))
    begin, end, step = (maker.constant(ints(v)) for v in (0, 1, 1))
    maker.operator("SHAPE", [x], [shape], table="ShapeOptions", outType=2)
    slicing = opts("StridedSliceOptions", shrinkAxisMask=1)
    maker.operator("STRIDED_SLICE", [shape, begin, end, step], [batch], **slicing)
    size = maker.constant(np.array(24, np.int32))
    maker.operator("PACK", [batch, size], [target], table="PackOptions", valuesCount=2)
    maker.operator("RESHAPE", [x, target], [y])
    model = load(maker.write(tmp_path / "a.tflite", [x], [y]))
    inputs = values(5, 3, 4, 2)
    np.testing.assert_array_equal(model(inputs), inputs.reshape(5, 24))


def test_fill_select_cast_and_broadcast(tmp_path: Path) -> None:
    maker = Maker()
    x, y = maker.tensor((1, 4)), maker.tensor((1, 4))
    zero, two, wide = maker.tensor((4,)), maker.tensor((1, 4)), maker.tensor((1, 4))
    above, number = maker.tensor((1, 4), "bool"), maker.tensor((1, 4))
    maker.operator("FILL", [maker.constant(ints(4)), maker.constant(np.float32(0))], [zero])
    maker.operator("GREATER", [x, zero], [above])
    maker.operator("CAST", [above], [number], table="CastOptions")
    maker.operator("BROADCAST_TO", [number, maker.constant(ints(1, 4))], [wide], version=2)
    maker.operator("MUL", [x, wide], [two], table="MulOptions")
    maker.operator("SELECT_V2", [above, two, x], [y])
    path = maker.write(tmp_path / "a.tflite", [x], [y])
    inputs = values(1, 4, seed=1)
    wanted = interpreted(path, inputs).get_tensor(y)
    np.testing.assert_array_equal(load(path)(inputs), wanted)
    np.testing.assert_array_equal(load(path)(values(6, 4)), values(6, 4))


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_from_one_grid_to_another_and_back_to_real(dtype: str, tmp_path: Path) -> None:
    maker = Maker()
    x, y = maker.tensor((1, 40)), maker.tensor((1, 40))
    zero = 0 if dtype == "int16" else -7
    fine = maker.tensor((1, 40), dtype, scales=0.013, zeros=zero)
    coarse = maker.tensor((1, 40), dtype, scales=0.031, zeros=zero * 2)
    maker.operator("QUANTIZE", [x], [fine])
    maker.operator("QUANTIZE", [fine], [coarse])
    maker.operator("DEQUANTIZE", [coarse], [y])
    path = maker.write(tmp_path / "a.tflite", [x], [y])
    inputs = values(2, 40)
    interpreter = interpreted(path, inputs)
    found = load(path).activations(inputs, [fine, coarse, y])
    for index, scale in ((fine, 0.013), (coarse, 0.031)):
        offset = zero if index == fine else zero * 2
        wanted = (interpreter.get_tensor(index).astype(float) - offset) * scale
        off = np.abs(found[index] - wanted) / scale
        assert off.max() < (0.01 if index == fine else 1.01)
    assert set(np.unique(np.round(found[y].numpy() / 0.031, 3) % 1)) == {0.0}


def test_unsigned_files_as_older_converters_wrote_them(tmp_path: Path) -> None:
    maker = Maker()
    x = maker.tensor((1, 6, 6, 3), "uint8", scales=0.02, zeros=117)
    y, z = (maker.tensor((), "uint8", scales=s, zeros=130) for s in (0.05, 0.08))
    rng = np.random.default_rng(1)
    kernel = maker.constant(rng.integers(0, 256, (4, 3, 3, 3), np.uint8), scales=0.01, zeros=121)
    bias = maker.constant(rng.integers(-900, 900, 4).astype(np.int32), scales=0.0002)
    dense = maker.constant(rng.integers(0, 256, (5, 64), np.uint8), scales=0.01, zeros=140)
    offset = maker.constant(rng.integers(-900, 900, 5).astype(np.int32), scales=0.0005)
    maker.operator("CONV_2D", [x, kernel, bias], [y], **conv(fusedActivationFunction=RELU))
    maker.operator("FULLY_CONNECTED", [y, dense, offset], [z], table="FullyConnectedOptions")
    path = maker.write(tmp_path / "a.tflite", [x], [z])
    levels = rng.integers(0, 256, (3, 6, 6, 3), np.uint8)
    interpreter = interpreted(path, levels)
    model = load(path)
    assert model.kind == "uint8"
    found = model.activations((levels.astype(np.float32) - 117) * np.float32(0.02), [y, z])
    for index, scale in ((y, 0.05), (z, 0.08)):
        ours = np.round(found[index] / np.float32(scale)) + 130
        assert np.abs(ours - interpreter.get_tensor(index).astype(float)).max() <= 1


def test_a_value_on_the_grid_passes_its_gradient_and_a_clipped_one_does_not(tmp_path: Path) -> None:
    import tensorflow as tf

    maker = Maker()
    x, y = maker.tensor((1, 3)), maker.tensor((1, 3))
    q = maker.tensor((1, 3), "int8", scales=0.01)
    maker.operator("QUANTIZE", [x], [q])
    maker.operator("DEQUANTIZE", [q], [y])
    model = load(maker.write(tmp_path / "a.tflite", [x], [y]))
    inputs = tf.constant([[0.514, -1.28, 1.9]])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = model(inputs)
    np.testing.assert_allclose(outputs, [[0.51, -1.28, 1.27]], atol=1e-6)
    np.testing.assert_array_equal(tape.gradient(outputs, inputs), [[1, 1, 0]])


SMOOTH = ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "TRANSPOSE_CONV", "FULLY_CONNECTED",
          "BATCH_MATMUL", "AVERAGE_POOL_2D", "MEAN", "GELU", "LOGISTIC", "TANH", "SOFTMAX",
          "LOG_SOFTMAX", "SQUARED_DIFFERENCE", "RSQRT", "RESIZE_BILINEAR"]  # fmt: skip


@pytest.mark.parametrize("kind", SMOOTH)
def test_gradient_is_that_of_finite_differences(kind: str, tmp_path: Path) -> None:
    import tensorflow as tf

    case = next(c for c in CASES if c.kind == kind)
    case = replace(case, options={k: v for k, v in case.options.items() if "fused" not in k})
    model = load(float_file(case, tmp_path / "a.tflite"))
    x = tf.constant(values(2, *case.x[1:], seed=7, low=max(case.low, -2), high=2))
    direction = values(*x.shape, seed=9, low=-1, high=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = model(x)
        weights = values(*outputs.shape, seed=11)
        score = tf.reduce_sum(outputs * weights)
    slope = np.sum(tape.gradient(score, x).numpy().astype(float) * direction)
    step = 1e-2
    ends = [
        np.sum(model(x + s * step * direction).numpy().astype(float) * weights) for s in (1, -1)
    ]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), rtol=5e-3, atol=5e-3)


def test_weights_packed_sparse_or_behind_the_flatbuffer(tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    weights = np.array([[1, 0, -2, 7], [0, 0, 0, 0], [-8, 3, 0, 5]], np.int8)
    scales = np.float32([0.5, 0.25, 0.125])
    maker = Maker()
    nibbles = (weights.reshape(-1, 2) & 0xF).astype(np.uint8)
    packed = (nibbles[:, 0] | nibbles[:, 1] << 4).astype(np.uint8)
    four = maker.tensor((3, 4), "int4", data=packed, scales=scales)
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder = [0, 1]
    rows, cols = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    rows.format, rows.denseSize = 0, 3
    cols.format = 1
    cols.arraySegmentsType = cols.arrayIndicesType = schema.SparseIndexVector.Int32Vector
    cols.arraySegments, cols.arrayIndices = schema.Int32VectorT(), schema.Int32VectorT()
    cols.arraySegments.values, cols.arrayIndices.values = [0, 3, 3, 6], [0, 2, 3, 0, 1, 3]
    sparsity.dimMetadata = [rows, cols]
    stored = weights[weights != 0].astype(np.float32)
    sparse = maker.tensor((3, 4), data=stored, sparsity=sparsity)
    x, y = maker.tensor((1, 4)), maker.tensor((1, 3))
    maker.operator("FULLY_CONNECTED", [x, sparse], [y], table="FullyConnectedOptions")
    data = maker.bytes([x], [y])
    (tmp_path / "a.tflite").write_bytes(data)
    graph = read(tmp_path / "a.tflite")
    np.testing.assert_array_equal(graph.tensors[four].data, weights)
    np.testing.assert_array_equal(graph.tensors[sparse].data, weights)

    # the same bytes behind the flatbuffer, as files over 2 GB have them
    outside = maker.model.buffers[maker.graph.tensors[four].buffer]
    outside.data, outside.offset, outside.size = None, 2, len(packed)
    length = len(maker.bytes([x], [y]))
    outside.offset = length
    (tmp_path / "b.tflite").write_bytes(maker.bytes([x], [y]) + packed.tobytes())
    np.testing.assert_array_equal(read(tmp_path / "b.tflite").tensors[four].data, weights)
    (tmp_path / "b.tflite").write_bytes(maker.bytes([x], [y]) + packed.tobytes()[:-1])
    with pytest.raises(ModelError, match="behind the file"):
        read(tmp_path / "b.tflite")


def test_what_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"CEIL \(operator 0\).*known are .*CONV_2D") as error:
        load(one_operator(tmp_path / "a.tflite", "CEIL"))
    assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match="WHILE: control flow"):
        load(one_operator(tmp_path / "b.tflite", "WHILE"))
    with pytest.raises(ModelError, match="no such model file"):
        load(tmp_path / "absent.tflite")
    (tmp_path / "c.tflite").write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ModelError, match="expected a TensorFlow Lite file"):
        load(tmp_path / "c.tflite")
    model = load(one_operator(tmp_path / "d.tflite", "RELU"))
    with pytest.raises(ModelError, match=r"no computed tensor 't9'; the closest of 2: 't"):
        model.activations(values(1, 4), ["t9"])
    with pytest.raises(ModelError, match=r"expected samples of shape \(4,\).*got \(5,\)"):
        model(values(1, 5))


def test_reading_needs_no_tensorflow() -> None:
    import subprocess
    import sys

    code = "import sys, hsi.deploy.differentiable as d; d.read; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Path]]:
    """A small network with most of what networks are made of, and its five files."""
    import tf_keras as keras
    from tf_keras import layers

    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 6))
    x = layers.Conv2D(24, 3, padding="same", name="first")(inputs)
    x = layers.BatchNormalization(name="norm", beta_initializer="glorot_uniform")(x)
    x = layers.ReLU(name="relu")(x)
    y = layers.DepthwiseConv2D(3, padding="same", name="depth")(x)
    y = layers.ReLU(6.0, name="relu6")(y)
    x = layers.Add(name="sum")([x, y])
    x = layers.Concatenate(name="both")([x, y])
    x = layers.Conv2D(40, 1, activation="relu", name="mixed")(x)
    x = layers.AveragePooling2D(2, name="average")(x)
    x = layers.MaxPooling2D(2, name="maximum")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(30, activation="relu", name="dense")(x)
    model = keras.Model(inputs, layers.Dense(5, activation="softmax", name="scores")(x))
    folder = tmp_path_factory.mktemp("small")
    return model, convert(model, folder, values(20, 8, 8, 6, seed=5))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch", [1, 7])
def test_every_intermediate_tensor_agrees(
    mode: str, batch: int, small: tuple[Any, dict[str, Path]]
) -> None:
    path = small[1][mode]
    assert load(path).kind == mode
    error, steps, tensors = disagreement(path, values(batch, 8, 8, 6, seed=6))
    assert tensors >= 11
    assert steps <= 1
    # float outputs of integer files are a step apart at most
    assert error <= (1e-5 if mode in ("float32", "float16", "dynamic") else 1.01 / 256)


@pytest.mark.parametrize("mode", ["float32", "float16"])
def test_gradient_is_that_of_the_keras_model(mode: str, small: tuple[Any, dict[str, Path]]) -> None:
    import tensorflow as tf

    keras_model, files = small
    model = load(files[mode])
    x = tf.constant(values(4, 8, 8, 6, seed=6))

    def gradient(function: Any) -> np.ndarray:
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = tf.reduce_sum(function(x)[:, 2])
        return tape.gradient(score, x).numpy()

    wanted, found = gradient(keras_model), gradient(model)
    limit = 1e-5 if mode == "float32" else 5e-2  # the weights themselves have 11 bits there
    assert np.abs(found - wanted).max() <= limit * np.abs(wanted).max()


@pytest.mark.parametrize("mode", ["dynamic", "int8", "int16x8"])
def test_straight_through_gradient_ranks_like_the_float_one(
    mode: str, small: tuple[Any, dict[str, Path]]
) -> None:
    import tensorflow as tf
    from scipy.stats import spearmanr

    x = tf.constant(values(4, 8, 8, 6, seed=6))
    maps = []
    for path in (small[1]["float32"], small[1][mode]):
        model = load(path)
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = tf.reduce_sum(model.logits(x)[:, 2])
        maps.append(tape.gradient(score, x).numpy().ravel())
    assert spearmanr(*maps).statistic > (0.9 if mode == "int8" else 0.95)


@pytest.mark.parametrize("mode", ["dynamic", "int8"])
def test_logits_are_what_the_softmax_takes(mode: str, small: tuple[Any, dict[str, Path]]) -> None:
    import tensorflow as tf

    model, x = load(small[1][mode]), values(4, 8, 8, 6, seed=6)
    softmax = next(layer for layer in model.layers if layer.kind == "SOFTMAX")
    graph = read(small[1][mode])
    before = graph.operators[softmax.operator].inputs[0]
    np.testing.assert_array_equal(model.logits(x), model.activations(x, [before])[before])
    close = 1e-6 if model.kind in ("float32", "float16", "dynamic") else 1 / 250
    np.testing.assert_allclose(tf.nn.softmax(model.logits(x)), model(x), atol=close)
    assert model.input_shape == (8, 8, 6)
    assert model.classes == 5


@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_relu_can_be_replaced_and_layers_have_their_keras_names(
    mode: str, small: tuple[Any, dict[str, Path]]
) -> None:
    import tensorflow as tf

    @tf.custom_gradient
    def guided(x: tf.Tensor) -> Any:
        y = tf.nn.relu(x)
        return y, lambda upstream: tf.where((x > 0) & (upstream > 0), upstream, 0.0)

    plain = load(small[1][mode])
    model = plain.with_relu(guided)
    assert plain.relus == 4  # ReLU, ReLU6, and two activations inside layers
    x = tf.constant(values(4, 8, 8, 6, seed=6))
    gradients = []
    for each in (plain, model, load(small[1][mode], relu=guided)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = each.logits(x)
            score = outputs[:, 2]
        gradients.append(tape.gradient(score, x).numpy())
        np.testing.assert_array_equal(outputs, plain.logits(x))
    assert np.abs(gradients[0] - gradients[1]).max() > 0.01 * np.abs(gradients[0]).max()
    np.testing.assert_array_equal(gradients[1], gradients[2])
    names = {name for layer in plain.layers for name in layer.keras_layers}
    assert {"first", "depth", "mixed", "dense", "scores"} <= names


def test_a_logit_beyond_its_range_keeps_its_gradient(tmp_path: Path) -> None:
    import tensorflow as tf

    maker = Maker()
    x, y = maker.tensor((1, 2)), maker.tensor((1, 2))
    q = maker.tensor((1, 2), "int8", scales=0.01)
    logits = maker.tensor((1, 2), "int8", scales=0.01)
    scores = maker.tensor((1, 2), "int8", scales=1 / 256, zeros=-128)
    weights = maker.constant(np.int8([[100, 0], [0, 10]]), scales=[0.1, 0.1])
    maker.operator("QUANTIZE", [x], [q])
    maker.operator("FULLY_CONNECTED", [q, weights], [logits], table="FullyConnectedOptions")
    maker.operator("SOFTMAX", [logits], [scores], table="SoftmaxOptions", beta=1.0)
    maker.operator("DEQUANTIZE", [scores], [y])
    model = load(maker.write(tmp_path / "a.tflite", [x], [y]))
    inputs = tf.constant([[0.5, 0.5]])
    gradients = []
    for function in (model.logits, model):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(inputs)
            score = outputs[:, 0]
        gradients.append(tape.gradient(score, inputs).numpy())
    np.testing.assert_allclose(model.logits(inputs), [[1.27, 0.5]], atol=1e-6)
    np.testing.assert_allclose(gradients[0], [[10, 0]], rtol=1e-5)
    assert gradients[1][0, 0] == 0


def test_opening_a_file_traces_what_its_logits_are_computed_with(
    small: tuple[Any, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file's trace takes seconds, and most of what is asked begins with the logits."""
    _, files = small
    traced = []

    def counted(*given: Any, **options: Any) -> Any:
        traced.append(options["open_ended"])
        return evaluate(*given, **options)

    monkeypatch.setattr("hsi.deploy.differentiable.model.evaluate", counted)
    model = load(files["int8"])
    for rows in (1, 4):
        model.logits(values(rows, *model.input_shape))
    assert len(traced) == 1


def test_what_logits_look_through_must_fit_all_the_same(tmp_path: Path) -> None:
    maker = Maker()
    given, logits, scores = (maker.tensor(shape) for shape in ((1, 4), (1, 4), (1, 5)))
    maker.operator("RELU", [given], [logits])
    maker.operator("SOFTMAX", [logits], [scores], table="SoftmaxOptions", beta=1.0)
    path = maker.write(tmp_path / "file.tflite", [given], [scores])
    with pytest.raises(ModelError, match=r"SOFTMAX.*does not fit its inputs"):
        load(path)


def test_inside_a_compiled_function(small: tuple[Any, dict[str, Path]]) -> None:
    import tensorflow as tf

    model, x = load(small[1]["int8"]), tf.constant(values(3, 8, 8, 6, seed=6))

    @tf.function
    def compiled(inputs: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            score = tf.reduce_sum(model(inputs)[:, 0])
        return model(inputs), tape.gradient(score, inputs)

    outputs, gradient = compiled(x)
    np.testing.assert_array_equal(outputs, model(x))
    assert np.abs(gradient).max() > 0


def test_damage_is_one_line_and_never_a_crash(
    small: tuple[Any, dict[str, Path]], tmp_path: Path
) -> None:
    whole = small[1]["int8"].read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.tflite"
    refused = 0
    for cut in [0, 3, 7, 8, 9, 50, *range(100, len(whole) - 64, len(whole) // 40)]:
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelError) as error:
            read(path)
        assert "\n" not in str(error.value)
    for number in range(150):
        data = bytearray(whole)
        at = rng.integers(8, len(whole), 1 + number % 30)
        for i in at:
            data[i] = rng.integers(256)
        path.write_bytes(bytes(data))
        refused += not _readable(path)
    for _ in range(50):
        path.write_bytes(whole[:8] + rng.bytes(4000))
        refused += not _readable(path)
    assert refused >= 40


def check_one_line(error: ModelError) -> None:
    assert "\n" not in str(error)


def _readable(path: Path) -> bool:
    try:
        graph = read(path)
    except ModelError as error:
        check_one_line(error)
        return False
    size = sum(t.data.nbytes for t in graph.tensors if t.data is not None)
    assert size <= 40 * path.stat().st_size
    return True


def test_damage_in_the_operators_is_refused_when_the_graph_is_built(
    small: tuple[Any, dict[str, Path]], tmp_path: Path
) -> None:
    whole = small[1]["int8"].read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "damaged.tflite"
    for _ in range(12):
        data = bytearray(whole)
        # the graph lies at the end, the weights before it
        for i in rng.integers(len(whole) - 6000, len(whole), 12):
            data[i] = rng.integers(256)
        path.write_bytes(bytes(data))
        try:
            load(path)
        except ModelError as error:
            check_one_line(error)
