"""What model files cost: parameters, multiply-accumulates, bytes, latency.

Of a `.tflite` file all is told by the file itself, without TensorFlow: what the converter folded
or left out does not count. All files are timed together, see `hsi.deploy.latency`.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsi.deploy.differentiable.flatbuffer import Graph, read
from hsi.deploy.differentiable.kinds import fold
from hsi.deploy.islands import macs_of
from hsi.deploy.latency import Latency, time_files
from hsi.deploy.variant import TFLITE, sizes
from hsi.errors import ModelError

BATCHES = (1, 256)

Facts = tuple[int | None, float | None, int | None]
"""Parameters, share of zeros and multiply-accumulates; None for what a network does not show."""


@dataclass(frozen=True)
class Cost:
    """What one model file costs.

    Attributes:
        file: as it was given.
        parameters: numbers of its weights, trainable or not; None where the file shows none.
        sparsity: share of them that is zero, 0..1; None where the file shows none.
        macs: multiply-accumulates for one sample, as of `hsi.compress.cost.known_macs`; None where
            the network shows no layers, has one that cannot be counted, or a free spatial size.
        bytes, bytes_gzip: of the file; of a folder, of all files in it.
        latency: at each batch size, the same sizes and threads for all files.
    """

    file: str
    parameters: int | None
    sparsity: float | None
    macs: int | None
    bytes: int
    bytes_gzip: int
    latency: tuple[Latency, ...] = ()


def costs_of(
    files: Sequence[str | Path],
    *,
    networks: Mapping[str, Any] | None = None,
    batches: Sequence[int] = BATCHES,
    threads: int = 1,
    rounds: int | None = None,
    trust: bool = False,
) -> list[Cost]:
    """What each of several files costs, timed against each other.

    Args:
        files: Keras models or `.tflite`.
        networks: file -> its Keras model, where it is open already.
        batches: sizes to time, in samples a call; none times nothing.
        threads: of the run time.
        rounds: of timing, by default as many as `time_files` takes.
        trust: run the code that a model file holds.

    Raises:
        ModelError: a file that cannot be opened or run.
    """
    names = [str(file) for file in files]
    timed = list(dict.fromkeys(names))
    measured = (
        time_files(timed, batches=batches, threads=threads, rounds=rounds, trust=trust)
        if batches
        else []
    )
    return [
        cost_of(
            name,
            network=(networks or {}).get(name),
            latency=[item for item in measured if item.file == name],
            trust=trust,
        )
        for name in names
    ]


def cost_of(
    path: str | Path, *, network: Any = None, latency: Sequence[Latency] = (), trust: bool = False
) -> Cost:
    """What one file costs; `network` is its Keras model, where it is open already.

    Raises:
        ModelError: missing or damaged.
    """
    path = Path(path)
    if path.suffix.lower() == TFLITE:
        found: Facts = _of_file(path)
    else:
        if network is None:
            from hsi.models.files import load_model

            network = load_model(path, trust=trust)
        found = _of_network(network)
    return Cost(str(path), *found, *_sizes(path), tuple(latency))


def _of_file(path: Path) -> Facts:
    """Of a `.tflite` file."""
    return *_weights_of(read(path)), _operations_of(path)


def _operations_of(path: Path) -> int | None:
    try:
        return sum(macs_of(path).values())
    except ModelError:  # of a free size, say
        return None


def _weights_of(graph: Graph) -> tuple[int, float | None]:
    graph = fold(graph)
    tensors = graph.tensors
    used = {
        i
        for operator in graph.operators
        if any(tensors[k].data is None for k in operator.outputs)
        for i in operator.inputs
        if i >= 0
    }
    total = zeros = 0
    for tensor in (tensors[i] for i in used):
        real = tensor.quantized or tensor.dtype.startswith("float")
        if tensor.data is None or not real:  # axes and shapes are plain integers
            continue
        values = tensor.data
        if tensor.quantized and tensor.quantization is not None:
            values = values - tensor.quantization.along(
                tensor.quantization.zero_points, values.ndim
            )
        total += values.size
        zeros += values.size - int(np.count_nonzero(values))
    return total, zeros / total if total else None


def _of_network(network: Any) -> Facts:
    """Of a Keras model, or of a graph without layers."""
    if not hasattr(network, "get_weights"):
        return None, None, None
    from hsi.compress.cost import known_macs, parameters

    weights = network.get_weights()
    zeros = sum(int(np.count_nonzero(w == 0)) for w in weights)
    total = sum(w.size for w in weights)
    try:
        operations = known_macs(network)
    except ModelError:  # no graph of layers, or a free size: the others can be told all the same
        operations = None
    return parameters(network), zeros / total if total else None, operations


def _sizes(path: Path) -> tuple[int, int]:
    """Bytes of a file, or of all files of a SavedModel folder, plain and gzipped."""
    if not path.is_dir():
        return sizes(path)
    contents = [file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()]
    packed = [len(gzip.compress(data, compresslevel=9, mtime=0)) for data in contents]
    return sum(map(len, contents)), sum(packed)
