"""A map as DeepHyperX makes it, in PyTorch: a sliding window, cut patch by patch into batches.

Written anew after `sliding_window`, `grouper` and `test` of DeepHyperX (Audebert, Le Saux and
Lefevre 2019, github.com/nshaud/DeepHyperX), whose default is 100 patches a batch. It leaves the
borders of the scene without a class; here the scene is padded first, so that all pixels have one.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from map_networks import CLASSES, NETWORKS
from torch import nn

BATCH = 100


class FlattenChannelsLast(nn.Module):
    """Flatten in the order of Keras."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def build(name: str, weights: list[np.ndarray]) -> nn.Module:
    """The network with the weights of ours."""
    pooled = NETWORKS[name][0] == "cao_pooled"
    waiting = iter(weights)

    def filled(module: Any) -> Any:
        kernel, bias = next(waiting), next(waiting)
        kernel = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        module.weight.data = torch.from_numpy(np.ascontiguousarray(kernel))
        module.bias.data = torch.from_numpy(bias)
        return module

    modules: list[nn.Module] = []
    for before, after in ((200, 300), (300, 200)):
        modules += [filled(nn.Conv2d(before, after, 3)), nn.ReLU()]
        if pooled:
            modules.append(nn.MaxPool2d(2, ceil_mode=True))
    modules.append(FlattenChannelsLast())
    flat = weights[4].shape[0]
    for before, after in ((flat, 200), (200, 100)):
        modules += [filled(nn.Linear(before, after)), *([nn.ReLU()] if pooled else [])]
    modules += [filled(nn.Linear(100, CLASSES)), nn.Softmax(dim=1)]
    return nn.Sequential(*modules).eval()


def sliding_window(image: np.ndarray, side: int) -> Iterator[tuple[np.ndarray, int, int]]:
    """Every window of an image and its corner, with step 1."""
    rows, cols = image.shape[:2]
    for row in range(rows - side + 1):
        for col in range(cols - side + 1):
            yield image[row : row + side, col : col + side], row, col


def grouper(count: int, windows: Iterator[Any]) -> Iterator[tuple[Any, ...]]:
    """So many windows at a time."""
    while chunk := tuple(itertools.islice(windows, count)):
        yield chunk


def class_map(network: nn.Module, cube: np.ndarray, side: int) -> np.ndarray:
    half = side // 2
    image = np.pad(cube, ((half, half), (half, half), (0, 0)), mode="symmetric")
    scores = np.zeros((*cube.shape[:2], CLASSES), np.float32)
    for batch in grouper(BATCH, sliding_window(image, side)):
        with torch.no_grad():
            data = np.copy([window for window, _, _ in batch])
            found = network(torch.from_numpy(data.transpose(0, 3, 1, 2))).numpy()
        for (_, row, col), values in zip(batch, found, strict=True):
            scores[row, col] += values
    return scores.argmax(axis=-1)


def main() -> None:
    """Answer the requests on standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    folder, name = Path(sys.argv[1]), sys.argv[2]
    cube = np.load(folder / "cube.npy", allow_pickle=False)
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        network = build(name, [file[f"arr_{i}"] for i in range(len(file.files))])
    side = NETWORKS[name][1]
    class_map(network, cube[:20, :20], side)  # the first call of a library is slow
    versions = {"torch": importlib.metadata.version("torch")}
    print(json.dumps({"versions": versions}), file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        found = class_map(network, cube, side)
        seconds = time.perf_counter() - start
        np.save(folder / f"{name}_deephyperx.npy", found)
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
