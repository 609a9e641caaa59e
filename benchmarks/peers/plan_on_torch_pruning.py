"""Torch-Pruning (Fang et al. 2023, DepGraph) on the same networks of torchvision."""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
import torch_pruning as tp
from plan_common import CLASSES, SIDE, Planner, serve

try:
    import torchvision
except RuntimeError:  # built for another PyTorch than the CPU one, its own operators do not load
    _OPERATORS = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):  # what the import looks for; only the networks are wanted
        _OPERATORS.define(f"{_name}(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision


def trained_weights(model: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def make(name: str) -> Planner:
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None, num_classes=CLASSES).eval()
    example = torch.zeros(1, 3, SIDE, SIDE)

    def one_round(share: float) -> dict[str, Any]:
        fresh = copy.deepcopy(model)  # pruning changes the network that it is given
        scores = [m for m in fresh.modules() if getattr(m, "out_features", 0) == CLASSES]
        start = time.perf_counter()
        pruner = tp.pruner.MagnitudePruner(
            fresh,
            example,
            importance=tp.importance.GroupMagnitudeImportance(p=1),
            global_pruning=False,
            pruning_ratio=share,
            ignored_layers=scores,
        )
        planned = time.perf_counter()
        pruner.step()
        applied = time.perf_counter()
        return {
            "plan_seconds": planned - start,
            "surgery_seconds": applied - planned,
            "parameters": trained_weights(fresh),
        }

    return Planner(
        one_round, None, trained_weights(model), ("torch", "torchvision", "torch-pruning")
    )


if __name__ == "__main__":
    serve(make)
