"""torch_cka on stored activations, or on the same networks in PyTorch, in its own environment.

It answers the requests of `benchmarks/cka.py`, one JSON object a line.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Network, weights_of
from on_captum import torch_model
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_cka import CKA
from torch_cka_networks import CKA_NETWORKS

THREADS = torch.get_num_threads()
"""As the library has it."""


class Stored(nn.Module):
    """Stands for a network: its layers give what was stored, for samples by their numbers."""

    def __init__(self, layers: list[torch.Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Identity() for _ in layers)
        self._stored = layers

    def forward(self, numbers: torch.Tensor) -> None:
        here = slice(int(numbers[0]), int(numbers[-1]) + 1)
        for layer, stored in zip(self.layers, self._stored, strict=True):
            layer(stored[here].to(torch.get_default_dtype()))


def in_pytorch(network: Network, seed: int) -> tuple[nn.Module, list[str]]:
    """The network with the weights of that seed, and the modules whose output a layer answers."""
    model, _ = torch_model(network)
    weights, names = iter(weights_of(network, seed)), []
    modules = list(model)
    for place, module in enumerate(modules):
        if isinstance(module, nn.Conv2d | nn.Linear):
            kernel, bias = next(weights)
            kernel = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
            module.weight.data = torch.from_numpy(np.ascontiguousarray(kernel))
            module.bias.data = torch.from_numpy(bias)
            follows = modules[place + 1] if place + 1 < len(modules) else None
            names.append(str(place + 1 if isinstance(follows, nn.ReLU) else place))
    return model, names


def compared(models: list[nn.Module], names: list[list[str]], loader: DataLoader) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cka = CKA(
            *models, model1_name="first", model2_name="second", model1_layers=names[0],
            model2_layers=names[1], device="cpu",
        )  # fmt: skip
        with torch.no_grad():
            cka.compare(loader)
    return np.asarray(cka.export()["CKA"], np.float64)


def answer(folder: Path, name: str, request: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(request["threads"] or THREADS)
    torch.set_default_dtype(torch.float64 if request["double"] else torch.float32)
    inputs = np.load(folder / f"{name}_inputs.npy", mmap_mode="c", allow_pickle=False)
    layers = request["layers"]
    if request["stored"]:
        models = [
            Stored([
                torch.from_numpy(np.load(folder / f"{name}_{seed}_{i}.npy",
                                         mmap_mode="c", allow_pickle=False))
                for i in range(layers)
            ])
            for seed in (0, 1)
        ]  # fmt: skip
        names = [[f"layers.{i}" for i in range(layers)]] * 2
        samples = torch.arange(len(inputs))
    else:
        found = [in_pytorch(CKA_NETWORKS[name], seed) for seed in (0, 1)]
        models, names = [f[0] for f in found], [f[1] for f in found]
        samples = torch.from_numpy(np.ascontiguousarray(inputs.transpose(0, 3, 1, 2)))
    loader = DataLoader(TensorDataset(samples), batch_size=request["batch"], shuffle=False)
    start, cpu = time.perf_counter(), time.process_time()
    values = compared(models, names, loader)
    took = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    np.save(folder / "torch_cka.npy", values)
    return took


def main() -> None:
    """Answer the requests on standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the library prints goes to the log
    folder, name = Path(sys.argv[1]), sys.argv[2]
    versions = {p: importlib.metadata.version(p) for p in ("torch_cka", "torch")}
    print(json.dumps({"versions": versions}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            found = answer(folder, name, request)
        except Exception as error:  # whatever the library does, the others go on
            found = {"error": f"{type(error).__name__}: {str(error).splitlines()[:1]}"}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
