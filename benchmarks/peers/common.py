"""What every contestant shares: the networks, their weights, and how it is asked to work.

This file and the ones beside it run in environments of their own, so NumPy is all that is imported
here. A contestant is a module that calls `serve` with a function: network and folder -> a
`Contestant`. It then reads one JSON object a line from its input and answers with one.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

NOISE = 0.15
"""Standard deviation of SmoothGrad's noise as a share of the range."""


@dataclass(frozen=True)
class Layer:
    """A layer with weights, a pooling (2 x 2) or the flattening between maps and units."""

    kind: str
    name: str = ""
    units: int = 0
    relu: bool = True


@dataclass(frozen=True)
class Network:
    """Layers in order, shape of a sample, padding of the convolutions, layer of Grad-CAM."""

    layers: tuple[Layer, ...]
    shape: tuple[int, int, int]
    padding: str
    layer: str

    @property
    def classes(self) -> int:
        return self.layers[-1].units


def _vgg16() -> tuple[Layer, ...]:
    layers = []
    for block, (filters, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        layers += [Layer("conv", f"block{block}_conv{i}", filters) for i in range(1, count + 1)]
        layers += [Layer("pool")]
    dense = (Layer("dense", "fc1", 4096), Layer("dense", "fc2", 4096))
    return (*layers, Layer("flatten"), *dense, Layer("dense", "predictions", 1000, relu=False))


NETWORKS = {
    "cao": Network(
        (
            Layer("conv", "conv_1", 300), Layer("conv", "conv_2", 200), Layer("flatten"),
            Layer("dense", "dense_1", 200, relu=False), Layer("dense", "dense_2", 100, relu=False),
            Layer("dense", "scores", 9, relu=False),
        ),
        (5, 5, 200), "valid", "conv_1",
    ),
    "vgg16": Network(_vgg16(), (224, 224, 3), "same", "block5_conv3"),
}  # fmt: skip


def weights_of(network: Network, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of each layer with weights, in Keras' layout; the same wherever it is called.

    Scaled as by He et al. 2015, so that a deep network keeps the size of its signal.
    """
    rng = np.random.default_rng(seed)
    rows, cols, channels = network.shape
    found = []
    for layer in network.layers:
        if layer.kind == "flatten":
            channels *= rows * cols
        elif layer.kind == "pool":
            rows, cols = rows // 2, cols // 2
        else:
            if layer.kind == "conv" and network.padding == "valid":
                rows, cols = rows - 2, cols - 2
            shape = (3, 3, channels) if layer.kind == "conv" else (channels,)
            scale = np.float32(np.sqrt((2 if layer.relu else 1) / np.prod(shape)))
            kernel = rng.standard_normal((*shape, layer.units), np.float32) * scale
            found.append((kernel, rng.standard_normal(layer.units, np.float32) * np.float32(0.1)))
            channels = layer.units
    return found


def keras_model(keras: Any, network: Network, *, head: str = "linear") -> Any:
    """The network in Keras 3 or `tf_keras`, whichever module is given; it has been called once."""
    x = inputs = keras.Input(network.shape)
    for layer in network.layers:
        named = {"name": layer.name, "activation": "relu" if layer.relu else "linear"}
        if layer is network.layers[-1]:
            named["activation"] = head
        if layer.kind == "conv":
            x = keras.layers.Conv2D(layer.units, 3, padding=network.padding, **named)(x)
        elif layer.kind == "dense":
            x = keras.layers.Dense(layer.units, **named)(x)
        else:
            x = (keras.layers.MaxPooling2D(2) if layer.kind == "pool" else keras.layers.Flatten())(
                x
            )
    model = keras.Model(inputs, x)
    model.set_weights([array for pair in weights_of(network) for array in pair])
    model(np.zeros((1, *network.shape), np.float32))
    return model


@dataclass(frozen=True)
class Job:
    """What is to be explained.

    Attributes:
        inputs: (n, rows, cols, channels) float32.
        classes: (n,) whose logit is the score.
        copies: noisy copies of SmoothGrad, points of integrated gradients.
        draws: (copies, rows, cols, channels) noise, for whoever lets it be given.
        spread: range that `NOISE` is a share of.
    """

    inputs: np.ndarray
    classes: np.ndarray
    copies: int
    draws: np.ndarray
    spread: float

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise."""
        return NOISE * self.spread

    def first(self, n: int) -> Job:
        """The same for the first n samples."""
        return Job(self.inputs[:n], self.classes[:n], self.copies, self.draws, self.spread)

    def share(self) -> float:
        """The deviation as a share of the range of one sample, the mean over the samples."""
        return float(self.deviation / np.ptp(self.inputs, axis=(1, 2, 3)).mean())


Method = Callable[[Job, int | None], np.ndarray]
"""A job and the rows at once (None: as the library has it by default) -> maps of the samples."""


MAGNITUDES, SCALED = "magnitudes", "scaled to 1"
"""How remarks begin where the answer of the reference must be brought to the same form."""


@dataclass(frozen=True)
class Contestant:
    """What can be asked, and what must be known of the answers.

    Attributes:
        methods: by name.
        packages: whose versions count.
        remarks: on the definitions of methods.
        same_noise: draws (copies, ...) -> a context in which SmoothGrad as the library has it by
            default takes these in the place of its own, so that its maps can be compared.
    """

    methods: dict[str, Method]
    packages: tuple[str, ...]
    remarks: dict[str, str]
    same_noise: Callable[[np.ndarray], AbstractContextManager[Any]] | None = None


def sliced(job: Job, rows: int | None, step: Callable[[Job], Any]) -> np.ndarray:
    """Apply `step` to so many samples at a time; to all of them where `rows` is None."""
    rows = rows or len(job.inputs)
    parts = []
    for start in range(0, len(job.inputs), rows):
        here = slice(start, start + rows)
        part = Job(job.inputs[here], job.classes[here], job.copies, job.draws, job.spread)
        parts.append(np.asarray(step(part)))
    return np.concatenate(parts)


class Draws:
    """The noise of a job, handed out piece by piece, from the start again after the last."""

    def __init__(self, draws: np.ndarray) -> None:
        self._draws, self._at = draws, 0

    def next(self, count: int) -> np.ndarray:
        """So many draws; a whole number of such pieces must make up all of them for each sample."""
        found = self._draws[self._at : self._at + count]
        assert len(found) == count
        self._at = (self._at + count) % len(self._draws)
        return found


def one_hot(classes: np.ndarray, count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[classes]


def _load_job(folder: Path, network: str, *, paths: bool) -> Job:
    """What the file of a network holds; for methods that walk paths, its first samples only."""
    with np.load(folder / f"{network}.npz", allow_pickle=False) as file:
        held = dict(file)
    job = Job(
        held["inputs"], held["classes"], len(held["draws"]), held["draws"], float(held["spread"])
    )
    return job.first(int(held["walked"])) if paths else job


METHODS = ("gradient", "smoothgrad", "integrated_gradient", "gradcam", "guided_backprop")
PATHS = ("smoothgrad", "integrated_gradient")
"""Methods that need many passes a sample."""


def serve(make: Callable[[str], Contestant]) -> None:
    """Answer the requests on standard input until it ends.

    Args:
        make: name of a network -> the contestant, ready to work.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log
    folder, network = Path(sys.argv[1]), sys.argv[2]
    contestant = make(network)
    versions = {name: importlib.metadata.version(name) for name in contestant.packages}
    ready = {"versions": versions, "methods": list(contestant.methods)}
    print(json.dumps(ready | {"remarks": contestant.remarks}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _answer(contestant, folder, network, request)
        except Exception as error:  # whatever a library does, the others go on
            text = str(error).strip().splitlines() or [""]
            answer = {"error": f"{type(error).__name__}: {text[0][:300]}"}
        print(json.dumps(answer), file=answers, flush=True)


def _answer(contestant: Contestant, folder: Path, network: str, request: dict[str, Any]) -> Any:
    name = request["method"]
    method = contestant.methods[name]
    job = _load_job(folder, network, paths=name in PATHS)
    if "candidates" in request:
        return _tune(method, job.first(request["samples"]), request["candidates"])
    _forget_peak()
    start = time.perf_counter()
    maps = method(job, request["rows"])
    seconds = time.perf_counter() - start
    answer = {"seconds": seconds, "peak_mb": _peak()}
    if request.get("save"):
        checked = request["checked"]
        if name == "smoothgrad" and contestant.same_noise:
            if Path(request["save"]).exists():
                return answer  # the maps with this noise have been saved at "default"
            with contestant.same_noise(job.draws):
                maps = method(job.first(checked), None)
        np.save(request["save"], np.asarray(maps, np.float32)[:checked])
    return answer


def _tune(method: Method, job: Job, candidates: Sequence[int]) -> dict[str, Any]:
    """The fastest rows at once; a call before the one that counts compiles what is compiled."""
    seconds = []
    for rows in candidates:
        method(job.first(rows), rows)
        start = time.perf_counter()
        method(job, rows)
        seconds.append(time.perf_counter() - start)
    return {"rows": candidates[int(np.argmin(seconds))], "tried": seconds}


def _forget_peak() -> None:
    """Give back what is free and start the peak of resident memory anew, where Linux lets us."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return  # the peak is then that of the whole process


def _peak() -> float:
    """Peak of resident memory, in MB."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
