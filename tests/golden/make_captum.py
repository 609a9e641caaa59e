"""Makes `captum.npz`: what Captum answers for two small networks, in double precision.

    python3.11 -m venv ENVIRONMENT
    ENVIRONMENT/bin/pip install torch==2.13.0 captum==0.9.0
    ENVIRONMENT/bin/python tests/golden/make_captum.py

Run once, in an environment of its own: neither package is a dependency of the project. The file
holds weights in Keras' layout and order, inputs and maps with channels last, and no objects:

    <network>/weights/<i>           of `model.get_weights()`
    <network>/inputs, classes, baseline
    <network>/maps/<what>           one array of maps, see `explain`

Single and double precision disagree where a ReLU's input is next to zero or two values of a
pooling window are next to each other, so the seed is the first one with which none is, at any
point that any method visits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from captum import attr
from torch import nn

FILE = Path(__file__).with_name("captum.npz")
CLASSES, DENSE = 4, 10
POINTS = 32
SAMPLES, NOISE, NOISE_SEED = 8, 0.15, 5
CHANNEL = 2
MARGIN = 1e-5
"""Nearest that a ReLU's input may be to zero; single precision is off by about 1e-6 here."""

WINDOWS = {
    "plain": {"occlusion": (3, 3, 12, 2, 2, 1), "spectral_occlusion": (5, 5, 4, 1, 1, 2)},
    "pooled": {"occlusion": (4, 4, 3, 2, 2, 1), "spectral_occlusion": (8, 8, 2, 1, 1, 1)},
}
"""Rows, cols and channels of the window, then of its stride. Strides end at the border: there the
last window of Captum would reach out of the sample, ours ends with it."""


class FlattenChannelsLast(nn.Module):
    """Flatten in the order of Keras."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def plain() -> tuple[nn.Sequential, dict[str, int], tuple[int, int, int]]:
    """Two valid convolutions and two dense layers: modules, layers to show, shape of a sample."""
    network = nn.Sequential(
        nn.Conv2d(12, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(),
        FlattenChannelsLast(), nn.Linear(6, DENSE), nn.Linear(DENSE, CLASSES),
    )  # fmt: skip
    return network, {"conv_1": 1}, (5, 5, 12)


def pooled() -> tuple[nn.Sequential, dict[str, int], tuple[int, int, int]]:
    """Two blocks of same convolution, batch norm, max-pooling and ReLU, and two dense layers.

    The poolings come first: the maximum of four zeros, on which a deconvnet depends, is nowhere.
    """
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6, eps=1e-3), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8, eps=1e-3), nn.MaxPool2d(2), nn.ReLU(),
        FlattenChannelsLast(), nn.Linear(32, DENSE), nn.ReLU(), nn.Linear(DENSE, CLASSES),
    )  # fmt: skip
    return network, {"norm_1": 1, "relu_1": 3, "relu_2": 7}, (8, 8, 3)


def fill(network: nn.Sequential, rng: np.random.Generator) -> list[np.ndarray]:
    """Put random weights into the network; returns them as Keras lists them."""

    def draw(*shape: int, scale: float = 1.0, about: float = 0.0) -> np.ndarray:
        return (about + scale * rng.normal(size=shape)).astype(np.float32)

    given: list[np.ndarray] = []
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            fan_in = 9 * layer.in_channels
            kernel = draw(3, 3, layer.in_channels, layer.out_channels, scale=fan_in**-0.5)
            weights = {"weight": kernel.transpose(3, 2, 0, 1), "bias": draw(layer.out_channels)}
            given += [kernel, weights["bias"]]
        elif isinstance(layer, nn.Linear):
            kernel = draw(layer.in_features, layer.out_features, scale=layer.in_features**-0.5)
            weights = {"weight": kernel.T, "bias": draw(layer.out_features)}
            given += [kernel, weights["bias"]]
        elif isinstance(layer, nn.BatchNorm2d):
            size = layer.num_features
            weights = {
                "weight": draw(size, scale=0.2, about=1.0),
                "bias": draw(size, scale=0.3, about=0.8),
                "running_mean": draw(size, scale=0.3),
                "running_var": np.abs(draw(size, scale=0.2, about=1.0)),
            }
            given += list(weights.values())
        else:
            continue
        state = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        layer.load_state_dict(state, strict=False)
    return given


def watch_margins(network: nn.Sequential) -> list[float]:
    """The list that every pass adds to: distances of inputs of ReLUs and poolings from a kink."""
    margins: list[float] = []

    def at_relu(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        margins.append(inputs[0].detach().abs().min().item())

    def at_pooling(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if not inputs[0].requires_grad:  # equal values have one maximum, but two gradients
            return
        windows = nn.functional.unfold(inputs[0].detach().flatten(0, 1)[:, None], 2, stride=2)
        first, second = windows.topk(2, dim=1).values.unbind(1)
        margins.append((first - second).min().item())

    for layer in network:
        if isinstance(layer, nn.ReLU):
            layer.register_forward_pre_hook(at_relu)
        elif isinstance(layer, nn.MaxPool2d):
            layer.register_forward_pre_hook(at_pooling)
    return margins


def channels_last(maps: torch.Tensor) -> np.ndarray:
    """(n, channels, rows, cols) -> (n, rows, cols, channels) float32."""
    return np.ascontiguousarray(maps.detach().numpy().transpose(0, 2, 3, 1), np.float32)


def explain(
    network: nn.Sequential,
    shown: dict[str, int],
    name: str,
    inputs: np.ndarray,
    classes: np.ndarray,
    baseline: np.ndarray,
) -> dict[str, np.ndarray]:
    """What Captum answers, by the name of our method and, behind a point, the variant of it."""
    x = torch.from_numpy(inputs.transpose(0, 3, 1, 2).astype(np.float64))
    start = torch.from_numpy(baseline.transpose(2, 0, 1)[None].astype(np.float64))
    options = {"target": torch.from_numpy(classes)}
    path = {"n_steps": POINTS, "method": "gausslegendre"}
    found: dict[str, torch.Tensor] = {
        "gradient": attr.Saliency(network).attribute(x, abs=False, **options),
        "input_times_gradient": attr.InputXGradient(network).attribute(x, **options),
        "integrated_gradient.zero": attr.IntegratedGradients(network).attribute(
            x, **path, **options
        ),
        "integrated_gradient.given": attr.IntegratedGradients(network).attribute(
            x, baselines=start, **path, **options
        ),
        "guided_backprop": attr.GuidedBackprop(network).attribute(x, **options),
        "deconvnet": attr.Deconvolution(network).attribute(x, **options),
        **noisy(network, inputs, x, options),
        **layers(network, shown, x, options),
    }
    for method, numbers in WINDOWS[name].items():
        rows, cols, channels, row_step, col_step, channel_step = numbers
        occlusion: Callable[..., torch.Tensor] = attr.Occlusion(network).attribute
        for kind, value in {"zero": 0, "given": start}.items():
            found[f"{method}.{kind}"] = occlusion(
                x,
                sliding_window_shapes=(channels, rows, cols),
                strides=(channel_step, row_step, col_step),
                baselines=value,
                **options,
            )
    return {what: channels_last(maps) for what, maps in found.items()}


def noisy(
    network: nn.Sequential, inputs: np.ndarray, x: torch.Tensor, options: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Captum's NoiseTunnel, whose random numbers are replaced by our draws.

    It makes all copies of the first sample, then all of the second; every sample gets the same.
    """
    rng = np.random.default_rng(NOISE_SEED)
    draws = rng.standard_normal((SAMPLES, *inputs.shape[1:]), dtype=np.float32)
    draws = (draws * (NOISE * np.ptp(inputs, axis=(0, 1, 2)))).astype(np.float32)
    added = torch.from_numpy(np.tile(draws, (len(inputs), 1, 1, 1)).transpose(0, 3, 1, 2))

    def normal(mean: float, deviation: torch.Tensor) -> torch.Tensor:
        assert mean == 0
        assert deviation.shape == added.shape
        return added

    tunnel = attr.NoiseTunnel(attr.Saliency(network))
    kinds = {"smoothgrad": "smoothgrad", "smoothgrad_squared": "smoothgrad_sq"}
    kinds["vargrad"] = "vargrad"
    with mock.patch("torch.normal", normal):
        return {
            ours: tunnel.attribute(x, nt_type=theirs, nt_samples=SAMPLES, abs=False, **options)
            for ours, theirs in kinds.items()
        }


def layers(
    network: nn.Sequential,
    shown: dict[str, int],
    x: torch.Tensor,
    options: dict[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """What is asked of single layers, `<method>.<layer>` with the layer's name in our model."""
    found = {}
    for name, place in shown.items():
        layer, sizes = network[place], tuple(x.shape[2:])
        gradcam = attr.LayerGradCam(network, layer)
        for method, positive in {"gradcam": True, "gradcam_signed": False}.items():
            small = gradcam.attribute(x, relu_attributions=positive, **options)
            found[f"{method}.{name}"] = attr.LayerAttribution.interpolate(small, sizes, "bilinear")
        found[f"guided_gradcam.{name}"] = attr.GuidedGradCam(network, layer).attribute(
            x, interpolate_mode="bilinear", **options
        )
        found[f"activation_map.{name}"] = attr.LayerActivation(network, layer).attribute(x)
        found[f"layer_attention.{name}"] = attr.NeuronGuidedBackprop(network, layer).attribute(
            x, neuron_selector=lambda maps: maps[:, CHANNEL].mean(dim=(1, 2))
        )
    return found


def golden(name: str, seed: int) -> tuple[dict[str, np.ndarray], float]:
    """Everything that is stored of one network, and its distance from a kink."""
    rng = np.random.default_rng(seed)
    network, shown, shape = {"plain": plain, "pooled": pooled}[name]()
    weights = fill(network, rng)
    network.double().eval()
    inputs = rng.normal(size=(3, *shape)).astype(np.float32)
    baseline = rng.normal(scale=0.5, size=shape).astype(np.float32)
    x = torch.from_numpy(inputs.transpose(0, 3, 1, 2).astype(np.float64))
    logits = network(x).detach().numpy()
    order = np.argsort(-logits, axis=1)
    classes = np.array([order[0, 0], order[1, 0], order[2, 1]])  # not only what is predicted
    margins = watch_margins(network)
    maps = explain(network, shown, name, inputs, classes, baseline)
    dead = any(not array[i].any() for array in maps.values() for i in range(len(inputs)))
    margin = 0.0 if dead else min(margins)
    stored = {f"weights/{i}": array for i, array in enumerate(weights)}
    stored |= {"inputs": inputs, "classes": classes, "baseline": baseline}
    stored |= {"seed": np.array(seed), "logits": logits}
    stored |= {f"maps/{what}": array for what, array in maps.items()}
    return {f"{name}/{key}": array for key, array in stored.items()}, margin


def main() -> None:
    """Search the seeds, write the file."""
    stored: dict[str, np.ndarray] = {}
    for name in ("plain", "pooled"):
        for seed in range(500):
            found, margin = golden(name, seed)
            if margin > MARGIN:
                print(f"{name}: seed {seed}, nothing is nearer than {margin:.1e} to a kink")
                stored |= found
                break
        else:
            raise SystemExit(f"{name}: no seed keeps {MARGIN} from every kink")
    stored["settings"] = np.array([POINTS, SAMPLES, NOISE, NOISE_SEED, CHANNEL])
    for name, methods in WINDOWS.items():
        stored |= {f"{name}/windows/{what}": np.array(n) for what, n in methods.items()}
    np.savez_compressed(FILE, **stored)
    print(f"{FILE.name}: {FILE.stat().st_size / 1000:.0f} kB, {len(stored)} arrays")


if __name__ == "__main__":
    main()
