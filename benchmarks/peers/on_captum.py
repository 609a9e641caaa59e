"""Captum on the same network in PyTorch, from an environment of its own; maps are channels last."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import numpy as np
import torch
from captum import attr
from common import NETWORKS, Contestant, Job, Network, serve, sliced, weights_of
from torch import nn


class FlattenChannelsLast(nn.Module):
    """Flatten in the order of Keras."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def torch_model(network: Network) -> tuple[nn.Sequential, nn.Module]:
    """The network, and the layer of Grad-CAM."""
    waiting, modules, chosen = iter(weights_of(network)), [], None
    for layer in network.layers:
        if layer.kind in ("pool", "flatten"):
            modules.append(nn.MaxPool2d(2) if layer.kind == "pool" else FlattenChannelsLast())
            continue
        kernel, bias = next(waiting)
        if layer.kind == "conv":
            padding = 1 if network.padding == "same" else 0
            module: Any = nn.Conv2d(kernel.shape[2], layer.units, 3, padding=padding)
            kernel = kernel.transpose(3, 2, 0, 1)
        else:
            module, kernel = nn.Linear(kernel.shape[0], layer.units), kernel.T
        module.weight.data = torch.from_numpy(np.ascontiguousarray(kernel))
        module.bias.data = torch.from_numpy(bias)
        modules += [module, nn.ReLU()] if layer.relu else [module]
        if layer.name == network.layer:
            chosen = modules[-1]
    model = nn.Sequential(*modules).eval()
    return model, chosen


def same_noise(draws: np.ndarray) -> AbstractContextManager[Callable[..., torch.Tensor]]:
    added = torch.from_numpy(np.ascontiguousarray(draws.transpose(0, 3, 1, 2)))

    def normal(mean: float, deviation: torch.Tensor) -> torch.Tensor:
        return added.repeat(len(deviation) // len(added), 1, 1, 1)

    return mock.patch("torch.normal", normal)


def make(name: str) -> Contestant:
    network = NETWORKS[name]
    model, layer = torch_model(network)
    model(torch.zeros(1, network.shape[-1], *network.shape[:2]))

    def maps(explainer: Any, job: Job, rows: int | None, **options: Any) -> np.ndarray:
        def one(part: Job) -> np.ndarray:
            x = torch.from_numpy(np.ascontiguousarray(part.inputs.transpose(0, 3, 1, 2)))
            found = explainer.attribute(x, target=torch.from_numpy(part.classes).long(), **options)
            if isinstance(explainer, attr.LayerGradCam):
                found = attr.LayerAttribution.interpolate(found, network.shape[:2], "bilinear")
            return found.detach().numpy().transpose(0, 2, 3, 1)

        return sliced(job, rows, one)

    def smoothgrad(job: Job, rows: int | None) -> np.ndarray:
        tunnel = attr.NoiseTunnel(attr.Saliency(model))
        options = {"nt_samples": job.copies, "stdevs": job.deviation, "abs": False}
        if rows is None:
            return maps(tunnel, job, None, **options)
        at_once = min(rows, job.copies)
        return maps(
            tunnel, job, max(1, rows // job.copies), nt_samples_batch_size=at_once, **options
        )

    def integrated_gradient(job: Job, rows: int | None) -> np.ndarray:
        along, options = attr.IntegratedGradients(model), {"n_steps": job.copies}
        if rows is None:
            return maps(along, job, None, **options)
        at_once = max(1, rows // job.copies)
        return maps(along, job, at_once, internal_batch_size=rows, **options)

    cam = attr.LayerGradCam(model, layer)
    guided = attr.GuidedBackprop(model)
    return Contestant(
        {
            "gradient": lambda job, rows: maps(attr.Saliency(model), job, rows, abs=False),
            "smoothgrad": smoothgrad,
            "integrated_gradient": integrated_gradient,
            "gradcam": lambda job, rows: maps(cam, job, rows, relu_attributions=True),
            "guided_backprop": lambda job, rows: maps(guided, job, rows),
        },
        ("captum", "torch"),
        {"smoothgrad": "noise given"},
        same_noise,
    )


if __name__ == "__main__":
    serve(make)
