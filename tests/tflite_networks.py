"""How far a differentiable `.tflite` file is from the interpreter, network by network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from narrow import narrow
from tflite_maker import interpreted

from hsi.deploy.differentiable import Graph, load, read
from hsi.deploy.differentiable.call import Call, Constants
from hsi.deploy.differentiable.evaluation import evaluate
from hsi.deploy.differentiable.operators import OPERATORS
from hsi.errors import ModelError

MODES = ("float32", "float16", "dynamic", "int8", "int16x8")


def values(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Uniform float32 numbers, the same for the same arguments."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def disagreement(path: Path, x: np.ndarray) -> tuple[float, float, int]:
    """Over all tensors: float error over the tensor's largest value, steps, how many."""
    model = load(path)
    found = model.activations(x, [layer.tensor for layer in model.layers])
    return (*apart(read(path), found, interpreted(path, x)), len(model.layers))


def apart(graph: Graph, found: Mapping[Any, Any], interpreter: Any) -> tuple[float, float]:
    """Float error over the tensor's largest value (at least 1), and steps, of all `found`."""
    error = steps = 0.0
    for index, value in found.items():
        tensor, ours = graph.tensors[index], np.asarray(value)
        wanted = interpreter.get_tensor(index)
        assert ours.shape == wanted.shape, tensor
        if tensor.quantized and tensor.quantization is not None:
            grid = tensor.quantization
            levels = np.round(ours / (grid.scale or 1)) + grid.zero_point
            steps = max(steps, float(np.abs(levels - wanted.astype(float)).max()))
        elif wanted.dtype == np.float32:
            size = max(1.0, float(np.abs(wanted).max()))
            error = max(error, float(np.abs(ours - wanted).max()) / size)
        else:
            np.testing.assert_array_equal(ours, wanted)
    return error, steps


def operator_by_operator(graph: Graph, interpreter: Any, batch: int) -> tuple[float, float]:
    """Float error and steps of every operator that is given what the interpreter computed."""
    constants = Constants()
    error = steps = 0.0

    def real(index: int) -> np.ndarray:
        tensor, stored = graph.tensors[index], interpreter.get_tensor(index)
        if not tensor.quantized or tensor.quantization is None:
            return stored
        levels = stored.astype(np.int64) - tensor.quantization.zero_point
        return (levels * tensor.quantization.scale).astype(np.float32)

    for operator in graph.operators:
        tensor = graph.tensors[operator.outputs[0]]
        if tensor.data is not None:
            continue
        computed = [i for i in operator.inputs if i >= 0 and graph.tensors[i].data is None]
        given = {i: tf.constant(real(i)) for i in computed}
        call = Call(operator, graph, given, constants=constants, batch=tf.constant(batch))
        ours = OPERATORS[operator.kind](call)
        off = float(np.abs(np.asarray(ours, float) - real(tensor.index)).max())
        if tensor.quantized and tensor.quantization is not None:
            steps = max(steps, round(off / float(tensor.quantization.scale or 1), 2))
        else:
            error = max(error, off / max(1.0, float(np.abs(real(tensor.index)).max())))
    return error, steps


class Wide(Constants):
    """Constants in float64: what a float file says, without the rounding of any sum."""

    def get(self, index: int, form: str, make: Callable[[], np.ndarray]) -> Any:
        def wide() -> np.ndarray:
            data = np.asarray(make())
            return data.astype(np.float64) if data.dtype == np.float32 else data

        return super().get(index, form, wide)


@cache
def sums_in_order() -> bool:
    """Whether TensorFlow's matrix product adds one fused product after the other."""
    a, b = values(3, 300, seed=1), values(300, 5, seed=2)
    total = np.zeros((3, 5), np.float32)
    for k in range(300):  # a product of two float32 numbers is exact in float64
        total = (total + a[:, k : k + 1].astype(float) * b[k]).astype(np.float32)
    return bool((tf.matmul(a, b).numpy() == total).all())


def grown(name: str) -> tuple[Any, tuple[int, ...]]:
    """A network with lively weights: batch norms that saw data, random gains and offsets."""
    import tf_keras as keras
    from tf_keras import layers

    shape = {"cao": (5, 5, 200), "cao_pooled": (9, 9, 60)}.get(name, (32, 32, 3))
    if name in ("cao", "cao_pooled", "vgg", "densenet"):
        model = narrow(name, shape, 9, seed=1)
    elif name == "conv3d":
        shape = (5, 5, 40)
        inputs = keras.Input(shape)
        x = layers.Reshape((*shape, 1))(inputs)
        x = layers.Conv3D(8, 3, activation="relu")(x)
        x = layers.ReLU()(layers.Conv3D(8, (1, 1, 3), strides=(1, 1, 2), padding="same")(x))
        x = layers.Flatten()(layers.Conv3D(16, 3, activation="relu")(x))
        x = layers.Dense(32, activation="relu")(x)
        model = keras.Model(inputs, layers.Dense(9, activation="softmax")(x), name=name)
    else:
        keras.utils.set_random_seed(1)
        family = {"mobilenetv2": "MobileNetV2", "densenet169": "DenseNet169"}[name]
        model = getattr(keras.applications, family)(input_shape=shape, weights=None, classes=9)
    rng = np.random.default_rng(1)
    norms = [la for la in model.layers if isinstance(la, layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        model(values(32, *shape, seed=8), training=True)
    for norm in norms:
        norm.gamma.assign(rng.uniform(0.9, 1.1, norm.gamma.shape))
        norm.beta.assign(rng.normal(0, 0.2, norm.beta.shape))
    return model, shape


def check_network(name: str, folder: Path, *, modes: Sequence[str] = MODES) -> None:
    """These forms of a network agree with the interpreter, tensor by tensor."""
    model, shape = grown(name)
    for mode, path in convert(model, folder, values(8, *shape, seed=8), modes=modes).items():
        differentiable = load(path)
        assert differentiable.kind == mode
        for batch in (1, 7):
            x = values(batch, *shape, seed=6)
            check_file(f"{name} {mode} {batch}:", differentiable, x, interpreted(path, x))


def check_file(name: str, model: Any, x: np.ndarray, interpreter: Any) -> None:
    """One file on some inputs: each operator by itself, and all of them, end to end."""
    graph, kind = model.graph, model.kind
    alone, steps = operator_by_operator(graph, interpreter, len(x))
    print(f"{name} each operator on the interpreter's inputs {alone:.2g}, {steps:.0f} steps")
    assert alone <= 5e-6  # sums of up to 4,608 products
    assert steps <= 1
    found = model.activations(x, [layer.tensor for layer in model.layers])
    error, steps = apart(graph, found, interpreter)
    print(f"{name} {error:.2g} float, {steps:.0f} steps")
    assert steps <= 1
    if kind in ("float32", "float16"):
        assert error <= (1e-6 if sums_in_order() else 3e-5)
        check_float(name, graph, x, interpreter, list(found))
    elif kind == "dynamic":  # one last bit decides a level, and a level the rest
        assert error <= 1e-5 or not sums_in_order()
    else:  # float outputs of integer files
        assert error <= 1.01 / 256


def check_float(
    name: str, graph: Graph, x: np.ndarray, interpreter: Any, tensors: Sequence[Any]
) -> None:
    """In TensorFlow's order of sums it is as near to the float64 value as the interpreter."""
    quick = evaluate(graph, tf.constant(x), constants=Constants())
    wide = evaluate(graph, tf.constant(x, tf.float64), constants=Wide())
    ours = theirs = 0.0
    for index in tensors:
        exact, wanted = np.asarray(wide[index]), interpreter.get_tensor(index)
        if wanted.dtype == np.float32:
            assert exact.dtype == np.float64
            size = max(1.0, float(np.abs(exact).max()))
            ours = max(ours, float(np.abs(np.asarray(quick[index]) - exact).max()) / size)
            theirs = max(theirs, float(np.abs(wanted - exact).max()) / size)
    print(f"{name} quick, from the float64 value: {ours:.2g}, the interpreter {theirs:.2g}")
    assert ours <= 1e-6 + 2 * theirs


def convert(
    model: Any, folder: Path, calibration: np.ndarray, *, modes: Sequence[str] = MODES
) -> dict[str, Path]:
    """The files of a network by mode, without those that the converter refuses."""
    from hsi.compress.quantize import quantize

    files = {}
    for mode in modes:
        path = folder / f"{mode}.tflite"
        try:
            path.write_bytes(quantize(model, mode, calibration=calibration))
        except ModelError:
            assert (model.name, mode) == ("conv3d", "int16x8")  # there is no such CONV_3D
        else:
            files[mode] = path
    return files
