"""How far a differentiable `.tflite` file is from the interpreter, network by network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tflite_maker import interpreted

from hsi.deploy.differentiable import load, read
from hsi.errors import ModelError

MODES = ("float32", "float16", "dynamic", "int8", "int16x8")


def values(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Uniform float32 numbers, the same for the same arguments."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def disagreement(path: Path, x: np.ndarray) -> tuple[float, float, int]:
    """Over all tensors: float error over the tensor's largest value, steps, how many."""
    model, graph = load(path), read(path)
    interpreter = interpreted(path, x)
    found = model.activations(x, [layer.tensor for layer in model.layers])
    error = steps = 0.0
    for layer in model.layers:
        tensor, ours = graph.tensors[layer.tensor], found[layer.tensor].numpy()
        wanted = interpreter.get_tensor(layer.tensor)
        assert ours.shape == wanted.shape, layer
        if tensor.quantized and tensor.quantization is not None:
            grid = tensor.quantization
            levels = np.round(ours / (grid.scale or 1)) + grid.zero_point
            steps = max(steps, float(np.abs(levels - wanted.astype(float)).max()))
        elif wanted.dtype == np.float32:
            size = max(1.0, float(np.abs(wanted).max()))
            error = max(error, float(np.abs(ours - wanted).max()) / size)
        else:
            np.testing.assert_array_equal(ours, wanted)
    return error, steps, len(model.layers)


def operator_by_operator(path: Path, x: np.ndarray) -> tuple[float, float]:
    """Float error and steps of every operator that is given what the interpreter computed."""
    import tensorflow as tf

    from hsi.deploy.differentiable.call import Call, Constants
    from hsi.deploy.differentiable.kinds import fold
    from hsi.deploy.differentiable.operators import OPERATORS

    interpreter = interpreted(path, x)
    graph = fold(read(path))
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
        batch = tf.constant(len(x))
        call = Call(operator, graph, given, constants=constants, batch=batch)
        ours = OPERATORS[operator.kind](call)
        off = float(np.abs(np.asarray(ours, float) - real(tensor.index)).max())
        if tensor.quantized and tensor.quantization is not None:
            steps = max(steps, round(off / float(tensor.quantization.scale or 1), 3))
        else:
            error = max(error, off / max(1.0, float(np.abs(real(tensor.index)).max())))
    return error, steps


def grown(name: str) -> tuple[Any, tuple[int, ...]]:
    """A network with lively weights: batch norms that saw data, random gains and offsets."""
    import tf_keras as keras
    from tf_keras import layers

    from hsi.models import network

    shape = {"cao": (5, 5, 200), "cao_pooled": (9, 9, 60)}.get(name, (32, 32, 3))
    if name in ("cao", "cao_pooled", "vgg"):
        model = network(name).build(shape, 9, seed=1)
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


def check_network(name: str, folder: Path) -> None:
    """Every form of a network agrees with the interpreter, tensor by tensor."""
    from hsi.compress.quantize import quantize

    model, shape = grown(name)
    for mode in MODES:
        path = folder / f"{mode}.tflite"
        try:
            path.write_bytes(quantize(model, mode, calibration=values(24, *shape, seed=8)))
        except ModelError:
            assert (name, mode) == ("conv3d", "int16x8")  # the converter has no such CONV_3D
            continue
        expected = "mixed" if (name, mode) == ("conv3d", "int8") else mode
        assert load(path).kind == expected
        alone, apart = operator_by_operator(path, values(2, *shape, seed=6))
        print(f"{name} {mode}, each operator on the interpreter's inputs: {alone:.2g}, {apart:.0f}")
        assert alone <= 5e-6  # sums of up to 4,608 products
        assert apart <= 1
        for batch in (1, 7):
            error, steps, _ = disagreement(path, values(batch, *shape, seed=6))
            print(f"{name} {mode} batch {batch}: {error:.2g} float, {steps:.0f} steps")
            assert steps <= 1
            if (mode, name) == ("dynamic", "mobilenetv2"):
                continue  # float sums before layers that round while running: see the page
            # 160 layers of float32 sums, in another order: Keras is as far off
            assert error <= (3e-5 if not mode.startswith("int") else 1.01 / 256)
